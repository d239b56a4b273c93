//! Writes YAML that YAML 1.1 and 1.2 readers understand alike: whatever an older reader could take for a
//! boolean, a number or a date is quoted.

use super::escape::is_hostile;
use serde_json::Value;

pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut out, map, 0),
        Value::Array(list) if !list.is_empty() => write_list(&mut out, list, 0),
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            out.push_str(&scalar(value, 0));
            out.push('\n');
        }
    }
    out
}

fn write_map(out: &mut String, map: &serde_json::Map<String, Value>, indent: usize) {
    for (at, (key, value)) in map.iter().enumerate() {
        // The first key of a list's item stands behind its dash.
        if at > 0 || !out.ends_with("- ") {
            pad(out, indent);
        }
        out.push_str(&word(key));
        out.push(':');
        write_value(out, value, indent);
    }
}

fn write_value(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            write_map(out, map, indent + 2);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            write_list(out, list, indent);
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            out.push(' ');
            out.push_str(&scalar(value, indent + 2));
            out.push('\n');
        }
    }
}

fn write_list(out: &mut String, list: &[Value], indent: usize) {
    for item in list {
        pad(out, indent);
        match item {
            Value::Object(map) if !map.is_empty() => {
                out.push_str("- ");
                write_map(out, map, indent + 2);
            }
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => {
                out.push('-');
                write_value(out, item, indent + 2);
            }
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) if is_block(text) => block(text, indent),
        Value::String(text) => word(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// PEM and the like: several printable lines, each ended.
fn is_block(text: &str) -> bool {
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n', '\t'])
        && !text.chars().any(|c| c != '\n' && is_hostile(c))
}

fn block(text: &str, indent: usize) -> String {
    let mut out = String::from("|");
    for line in text.lines() {
        out.push('\n');
        if !line.is_empty() {
            pad(&mut out, indent);
            out.push_str(line);
        }
    }
    out
}

fn word(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-'));
    let lower = text.to_ascii_lowercase();
    let taken = matches!(
        lower.as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
    );
    if plain && !taken {
        return text.to_owned();
    }
    quoted(text)
}

/// A double-quoted scalar reads every escape of JSON but surrogate pairs.
fn quoted(text: &str) -> String {
    let json = Value::from(text).to_string();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match u32::from(c) {
            code @ 0x1_0000.. if is_hostile(c) => out.push_str(&format!("\\U{code:08x}")),
            code if is_hostile(c) => out.push_str(&format!("\\u{code:04x}")),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layout() {
        let value = json!({
            "clusters": [{"name": "prod", "tags": ["a", "1"], "empty": [], "deep": {"on": true}}, [], ["x"], [{"k": 1}]],
            "pem": "-----BEGIN\nab\n",
            "token": "no",
            "when": "2026-11-21",
        });
        let text = to_yaml(&value);
        assert_eq!(
            text,
            "clusters:\n\
             - deep:\n\
             \x20   \"on\": true\n\
             \x20 empty: []\n\
             \x20 name: prod\n\
             \x20 tags:\n\
             \x20 - a\n\
             \x20 - \"1\"\n\
             - []\n\
             -\n\
             \x20 - x\n\
             -\n\
             \x20 - k: 1\n\
             pem: |\n\
             \x20 -----BEGIN\n\
             \x20 ab\n\
             token: \"no\"\n\
             when: \"2026-11-21\"\n"
        );
    }

    #[test]
    fn reads_back_as_it_was() {
        for value in [
            json!({"a": {"b": [1, 2.5, null, true, "yes", "", " x", "a: b", "# c", "\u{1b}[2J", "ü\u{202e}\u{e0041}😀", "-", "~", "0x1f"]}}),
            json!({"pem": "line\n\n  indented\nend\n", "raw": "no end\nhere", "double": "x\n\n", "lead": "\nx\n", "tab": "\tx\n"}),
            json!([[["deep"]], {"": "empty key", "a b": {}}]),
            json!("one"),
            json!({}),
        ] {
            let text = to_yaml(&value);
            let back: Value =
                serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(back, value, "{text}");
            assert!(
                !text.chars().any(|c| c != '\n' && is_hostile(c)) || text.contains('\t'),
                "{text:?}"
            );
        }
    }
}
