//! `quorate certificates`: every certificate of every node, and what is to be done about those that end.

use super::lists::or_none;
use super::{Show, count};
use crate::cli::text::units::{ms, relative, rfc3339};
use crate::cli::text::{Column, Grid, Item, Look, Tone, clean};
use quorate_proto::v1::{NodeCertificate, ShowCertificatesResponse};

/// Warnings below the table; the table has them all.
const WARNINGS_SHOWN: usize = 20;

const COLUMNS: &[Column] = &[
    Column::new("CLUSTER"),
    Column::new("NODE"),
    Column::new("KIND"),
    Column::path("PLACE"),
    Column::new("EXPIRES"),
    Column::spare("ISSUER"),
    Column::new("STATE"),
    Column::wide("EXPIRES AT"),
    Column::wide("SUBJECT"),
    Column::wide("NAMES"),
    Column::wide("SERIAL"),
];

impl Show for ShowCertificatesResponse {
    fn table(&self, look: &Look) -> String {
        let mut grid = Grid::new(COLUMNS);
        for one in &self.certificates {
            grid.row(row(one, look));
        }
        let mut out = or_none(
            &grid,
            look,
            "No certificates are known: no node has reported any.",
        );
        if !self.certificates.is_empty() {
            out.push_str(&warnings(&self.certificates, look));
            out.push_str(&summary(&self.certificates, look));
        }
        out
    }

    /// CLUSTER/NODE:PLACE of each.
    fn names(&self) -> Vec<String> {
        let name = |one: &NodeCertificate| {
            let place = one.certificate.as_ref().map(|info| info.place.as_str());
            let place = place.unwrap_or_default();
            match one.cluster.as_str() {
                "" => format!("{}:{place}", one.node),
                cluster => format!("{cluster}/{}:{place}", one.node),
            }
        };
        self.certificates.iter().map(name).collect()
    }
}

/// What scripts ask: does nothing need care?
pub fn all_ok(answer: &ShowCertificatesResponse) -> bool {
    answer.certificates.iter().all(is_ok)
}

fn is_ok(one: &NodeCertificate) -> bool {
    one.state == "ok"
}

fn tone(state: &str) -> Tone {
    match state {
        "ok" => Tone::Good,
        "ends-soon" => Tone::Warn,
        "ended" | "unreadable" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn row(one: &NodeCertificate, look: &Look) -> [Item; 11] {
    let info = one.certificate.clone().unwrap_or_default();
    let end = ms(info.not_after_unix);
    // What cannot be read has no end that is known.
    let expires = match info.not_after_unix {
        0 => String::new(),
        _ => relative(look.now_ms, end),
    };
    [
        (&one.cluster).into(),
        (&one.node).into(),
        (&info.kind).into(),
        (&info.place).into(),
        Item::new(
            if is_ok(one) {
                Tone::Plain
            } else {
                tone(&one.state)
            },
            expires,
        ),
        common_name(&info.issuer).into(),
        Item::new(tone(&one.state), &one.state),
        rfc3339(end).into(),
        (&info.subject).into(),
        info.names.join(", ").into(),
        (&info.serial).into(),
    ]
}

/// `kubernetes` of `CN=kubernetes`; other forms as they are.
fn common_name(name: &str) -> &str {
    let parts = name.split(',').map(str::trim);
    let mut common = parts.filter_map(|part| part.strip_prefix("CN="));
    common.next().unwrap_or(name)
}

fn warnings(all: &[NodeCertificate], look: &Look) -> String {
    let bad: Vec<&NodeCertificate> = all.iter().filter(|one| !is_ok(one)).collect();
    let mut out = String::new();
    for one in bad.iter().take(WARNINGS_SHOWN) {
        out.push_str(&warning(one, look));
    }
    if bad.len() > WARNINGS_SHOWN {
        let more = bad.len() - WARNINGS_SHOWN;
        out.push_str(&format!("and {more} more that are not ok\n"));
    }
    match out.is_empty() {
        true => out,
        false => format!("\n{out}"),
    }
}

fn warning(one: &NodeCertificate, look: &Look) -> String {
    let info = one.certificate.clone().unwrap_or_default();
    let end = ms(info.not_after_unix);
    let what = match (&info.problem, one.state.as_str()) {
        (Some(problem), _) => clean(&problem.what).into_owned(),
        (None, "ended") => format!("ended {}", relative(look.now_ms, end)),
        (None, "ends-soon") => format!("ends {}", relative(look.now_ms, end)),
        (None, other) => clean(other).into_owned(),
    };
    let mark = look.paint(
        tone(&one.state),
        if one.state == "ends-soon" {
            "‼"
        } else {
            "×"
        },
    );
    let mut out = format!(
        "{mark} {}  {}: {what}\n",
        clean(&one.node),
        clean(&info.place)
    );
    let next = match &info.problem {
        Some(problem) if one.next.is_empty() => &problem.next,
        Some(_) | None => &one.next,
    };
    if !next.is_empty() {
        let label = look.paint(Tone::Dim, "next: ");
        out.push_str(&format!("    {label}{}\n", clean(next)));
    }
    out
}

fn summary(all: &[NodeCertificate], look: &Look) -> String {
    let bad = all.iter().filter(|one| !is_ok(one)).count();
    let total = count(all.len(), "certificate", "certificates");
    let first = all
        .iter()
        .filter_map(|one| one.certificate.as_ref())
        .filter(|info| info.not_after_unix != 0)
        .map(|info| info.not_after_unix)
        .min();
    let first = match first {
        Some(end) => format!("; the first to end: {}", rfc3339(ms(end))),
        None => String::new(),
    };
    let (mark, needs) = match bad {
        0 => (look.paint(Tone::Good, "✓"), "all ok".to_owned()),
        bad => (look.paint(Tone::Bad, "×"), format!("{bad} not ok")),
    };
    format!("\n{mark} {total}, {needs}{first}\n")
}
