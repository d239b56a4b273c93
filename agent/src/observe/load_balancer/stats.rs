//! HAProxy's table of proxies and servers ("show stat"): CSV with the names of its columns in the first line. Pure.

use std::collections::HashMap;

/// One proxy or one server of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub proxy: String,
    /// "FRONTEND", "BACKEND", or the server's name.
    pub server: String,
    status: String,
    check_status: String,
    check_detail: String,
    kind: String,
    current: u32,
    total: u64,
}

/// HAProxy's number for rows that are servers.
const SERVER: &str = "2";
/// And for front ends.
const FRONTEND: &str = "0";

impl Row {
    pub fn is_server(&self) -> bool {
        self.kind == SERVER
    }

    pub fn is_frontend(&self) -> bool {
        self.kind == FRONTEND
    }

    /// Connections now, and since the process started.
    pub fn connections(&self) -> (u32, u64) {
        (self.current, self.total)
    }

    /// Takes traffic, and a check has said so: a server counts as up from its start to its first check.
    pub fn is_up(&self) -> bool {
        let checked = !matches!(self.check_status.as_str(), "" | "INI" | "UNK");
        (self.status.starts_with("UP") && checked) || self.status == "no check"
    }

    /// "DOWN: L4CON Connection refused".
    pub fn detail(&self) -> String {
        let check = [self.check_status.as_str(), self.check_detail.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        match check.as_str() {
            "" => self.status.clone(),
            check => format!("{}: {check}", self.status),
        }
    }
}

pub fn parse(table: &str) -> Option<Vec<Row>> {
    let mut lines = table.lines();
    let header = lines.next()?.strip_prefix("# ")?;
    let columns: HashMap<&str, usize> = header
        .split(',')
        .enumerate()
        .map(|(index, name)| (name, index))
        .collect();
    let needed = ["pxname", "svname", "status", "type", "check_status"];
    if !needed.iter().all(|name| columns.contains_key(name)) {
        return None;
    }
    let rows = lines.filter(|line| !line.is_empty()).map(|line| {
        let fields = fields(line);
        let get = |name: &str| {
            let index = columns.get(name).copied().unwrap_or(usize::MAX);
            fields.get(index).cloned().unwrap_or_default()
        };
        let last = match get("last_chk") {
            text if text.is_empty() => get("check_desc"),
            text => text,
        };
        Row {
            proxy: get("pxname"),
            server: get("svname"),
            status: get("status"),
            // A star marks a check that is under way.
            check_status: get("check_status").trim_start_matches("* ").to_owned(),
            check_detail: last,
            kind: get("type"),
            // Absent for rows that count nothing.
            current: get("scur").parse().unwrap_or_default(),
            total: get("stot").parse().unwrap_or_default(),
        }
    });
    Some(rows.collect())
}

/// Splits at commas; a field in quotes may hold commas, and quotes as pairs.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let field = match fields.last_mut() {
            Some(field) => field,
            None => return fields,
        };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortened from HAProxy 2.6.
    const TABLE: &str = "\
# pxname,svname,qcur,status,type,check_status,check_code,last_chk,addr,
api,FRONTEND,,OPEN,0,,,,,
api,n1,0,UP,2,L7OK,200,HTTP status check returned code <200>,10.0.0.1:6443,
api,n2,0,DOWN,2,L4CON,,\"Connection refused, at \"\"connect\"\"\",10.0.0.2:6443,
api,n3,0,UP 1/2,2,* L7OK,200,,10.0.0.3:6443,
api,n4,0,UP,2,INI,,,10.0.0.4:6443,
api,n5,0,MAINT,2,L7OK,200,,10.0.0.5:6443,
api,n6,0,no check,2,,,,10.0.0.6:6443,
api,BACKEND,0,UP,1,,,,,

";

    #[test]
    fn servers_with_their_state() {
        let rows = parse(TABLE).unwrap();
        assert_eq!(rows.len(), 8);
        let servers: Vec<(&str, bool, String)> = rows
            .iter()
            .filter(|row| row.is_server())
            .map(|row| (row.server.as_str(), row.is_up(), row.detail()))
            .collect();
        let expected = [
            ("n1", true, "UP: L7OK HTTP status check returned code <200>"),
            (
                "n2",
                false,
                "DOWN: L4CON Connection refused, at \"connect\"",
            ),
            ("n3", true, "UP 1/2: L7OK"),
            ("n4", false, "UP: INI"),
            ("n5", false, "MAINT: L7OK"),
            ("n6", true, "no check"),
        ]
        .map(|(name, up, detail)| (name, up, detail.to_owned()));
        assert_eq!(servers, expected);
    }

    #[test]
    fn front_ends_with_their_connections() {
        let table = "# pxname,svname,scur,stot,status,type,check_status\napi,FRONTEND,3,4000000000000,OPEN,0,\napi,n1,2,9,UP,2,L7OK\napi,BACKEND,2,9,UP,1,\n";
        let rows = parse(table).unwrap();
        let fronts: Vec<_> = rows.iter().filter(|row| row.is_frontend()).collect();
        assert_eq!(fronts.len(), 1);
        assert_eq!(fronts[0].connections(), (3, 4_000_000_000_000));
    }

    #[test]
    fn anything_else_is_no_table() {
        for text in [
            "",
            "Unknown command.",
            "# pxname,svname",
            "pxname,svname,status,type,check_status",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
