//! Which bootstrap tokens sign cluster-info now.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

/// Ids of the tokens of a list of Secrets that are alive and sign. The secret halves are not looked at.
pub fn signing(list: &Value, now: Timestamp) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter(|secret| secret["type"] == "bootstrap.kubernetes.io/token")
        .filter(|secret| secret["metadata"]["deletionTimestamp"].is_null())
        .filter(|secret| field(secret, "usage-bootstrap-signing").as_deref() == Some("true"))
        .filter(|secret| is_alive(secret, now))
        .filter_map(|secret| field(secret, "token-id"))
        .collect()
}

/// The controller manager skips a token whose end it cannot read.
fn is_alive(secret: &Value, now: Timestamp) -> bool {
    match field(secret, "expiration") {
        None => true,
        Some(text) => text.parse().is_ok_and(|end: Timestamp| end > now),
    }
}

fn field(secret: &Value, name: &str) -> Option<String> {
    let bytes = STANDARD.decode(secret["data"][name].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_live_tokens_that_sign() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let secret = |id: &str, signs: &str, end: Option<&str>| {
            let encode = |text: &str| json!(STANDARD.encode(text));
            json!({"type": "bootstrap.kubernetes.io/token", "data": {
                "token-id": encode(id),
                "usage-bootstrap-signing": encode(signs),
                "expiration": end.map_or(Value::Null, encode),
            }})
        };
        let mut other = secret("other1", "true", None);
        other["type"] = json!("Opaque");
        let list = json!({"items": [
            secret("alive1", "true", Some("2026-11-21T12:00:01Z")),
            secret("ended1", "true", Some("2026-11-21T11:59:59Z")),
            secret("silent", "false", None),
            secret("always", "true", None),
            secret("broken", "true", Some("soon")),
            other,
        ]});
        assert_eq!(signing(&list, now), ["alive1", "always"]);
        assert!(signing(&json!({}), now).is_empty());
    }
}
