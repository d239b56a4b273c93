//! JSON of the coordinator's answers: the messages as they are, with a version of the form, times that can
//! be read and names in place of enum numbers.

use super::escape::is_hostile;
use super::units;
use quorate_proto::v1::{ArtifactKind, Distribution, Severity};
use serde::Serialize;
use serde_json::{Map, Value};

/// Raised when a field is renamed or changes its meaning; new fields do not raise it.
const SCHEMA_VERSION: u32 = 1;

/// A message as a value, decorated, with `schema_version` in front.
pub fn document<T: Serialize>(message: &T) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(message)?;
    decorate(&mut value);
    if let Value::Object(map) = &mut value {
        map.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
    }
    Ok(value)
}

/// Indented, with nothing in it that acts on a terminal.
pub fn pretty(value: &Value) -> String {
    escape(&format!("{value:#}")) + "\n"
}

/// On one line, ended.
pub fn line(value: &Value) -> String {
    escape(&value.to_string()) + "\n"
}

/// JSON itself leaves 0x7f, C1 controls and direction marks as they are. Such characters stand inside of
/// strings only, where their escape means the same.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_hostile(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn decorate(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(decorate),
        Value::Object(map) => {
            map.values_mut().for_each(decorate);
            name_enums(map);
            add_times(map);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn name_enums(map: &mut Map<String, Value>) {
    for (key, value) in map.iter_mut() {
        let Some(number) = value.as_i64().and_then(|n| i32::try_from(n).ok()) else {
            continue;
        };
        let name = match key.as_str() {
            "distribution" => Distribution::try_from(number).ok().map(distribution_name),
            "severity" => Severity::try_from(number).ok().map(severity_name),
            "kind" => ArtifactKind::try_from(number).ok().map(artifact_kind_name),
            _ => None,
        };
        if let Some(name) = name {
            *value = name.into();
        }
    }
}

/// `expires_unix: 1795225380` gets a sibling `expires: "2026-11-21T01:43:00Z"`.
fn add_times(map: &mut Map<String, Value>) {
    let mut times = Vec::new();
    for (key, value) in map.iter() {
        let Some(number) = value.as_i64().filter(|n| *n != 0) else {
            continue;
        };
        let found = match key.strip_suffix("_unix") {
            Some(stem) => Some((stem, units::ms(number))),
            None if key == "unix_ms" => Some(("time", number)),
            None => key.strip_suffix("_unix_ms").map(|stem| (stem, number)),
        };
        if let Some((stem, ms)) = found {
            times.push((stem.to_owned(), units::rfc3339(ms)));
        }
    }
    for (key, text) in times {
        map.entry(key).or_insert(text.into());
    }
}

pub fn distribution_name(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Unspecified => "unknown",
        Distribution::Kubeadm => "kubeadm",
        Distribution::Etcd => "etcd",
    }
}

pub fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Unspecified => "unknown",
        Severity::Ok => "ok",
        Severity::Warning => "warning",
        Severity::Fatal => "fatal",
        Severity::Ignored => "ignored",
    }
}

pub fn artifact_kind_name(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::Unspecified => "unknown",
        ArtifactKind::Deb => "deb",
        ArtifactKind::Binary => "binary",
        ArtifactKind::Image => "image",
        ArtifactKind::Manifest => "manifest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::{AuditEntry, ClusterStatus, StatusResponse, TokenInfo};

    #[test]
    fn times_names_and_version() {
        let token = document(&TokenInfo {
            expires_unix: 1_795_225_380,
            ..TokenInfo::default()
        })
        .unwrap();
        assert_eq!(token["expires"], "2026-11-21T01:43:00Z");
        assert_eq!(token["expires_unix"], 1_795_225_380);
        assert!(token.get("created").is_none(), "0 is unset");
        let entry = document(&AuditEntry {
            unix_ms: 1_795_225_380_000,
            ..AuditEntry::default()
        })
        .unwrap();
        assert_eq!(entry["time"], "2026-11-21T01:43:00Z");
        let status = document(&StatusResponse {
            version: "0.1.0".into(),
            clusters: vec![ClusterStatus {
                distribution: Distribution::Etcd as i32,
                ..ClusterStatus::default()
            }],
            ..StatusResponse::default()
        })
        .unwrap();
        assert_eq!(status["clusters"][0]["distribution"], "etcd");
        assert_eq!(status["version"], "0.1.0");
        assert_eq!(status["schema_version"], 1);
    }

    #[test]
    fn nothing_acts_on_a_terminal_and_all_reads_back() {
        let text = "\x1b[2J\u{9b}31m\u{7f}\u{202e}\u{e0041}é\n";
        let literal = line(&text.into());
        assert!(!literal.trim_end().contains(is_hostile), "{literal:?}");
        assert_eq!(serde_json::from_str::<String>(&literal).unwrap(), text);
    }
}
