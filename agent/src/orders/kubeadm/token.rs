//! Bootstrap tokens: the Secret that lets one node join, for a short while (pure but for the random part).

use quorate_proto::v1::Problem;
use rand::Rng;
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
/// How the API lists only these.
pub const TOKENS: &str =
    "/api/v1/namespaces/kube-system/secrets?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken";

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

pub struct Token {
    pub id: String,
    secret: Zeroizing<String>,
}

impl Token {
    pub fn random() -> Self {
        Token {
            id: random_text(6),
            secret: Zeroizing::new(random_text(16)),
        }
    }

    /// `id.secret`, as kubeadm takes it.
    pub fn full(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", self.id, self.secret.as_str()))
    }

    pub fn secret_path(&self) -> String {
        format!("{SECRETS}/bootstrap-token-{}", self.id)
    }

    /// The Secret of a token that lets `node` join until `expires`. Signing is how the joiner checks cluster-info.
    pub fn secret(&self, node: &str, expires: jiff::Timestamp) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "bootstrap.kubernetes.io/token",
            "metadata": {
                "name": format!("bootstrap-token-{}", self.id),
                "namespace": "kube-system",
            },
            "stringData": {
                "token-id": self.id,
                "token-secret": self.secret.as_str(),
                "description": description(node),
                "expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "usage-bootstrap-authentication": "true",
                "usage-bootstrap-signing": "true",
                "auth-extra-groups": GROUP,
            },
        })
    }
}

fn random_text(length: usize) -> String {
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
        .collect()
}

fn description(node: &str) -> String {
    format!("made by quorate for the join of node {node}")
}

/// The names of those Secrets of a list that were made for `node`.
pub fn made_for(node: &str, list: &Value) -> Vec<String> {
    use base64::Engine;
    let wanted = base64::engine::general_purpose::STANDARD.encode(description(node));
    list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|secret| secret["data"]["description"] == wanted.as_str())
        .filter_map(|secret| secret["metadata"]["name"].as_str())
        .map(str::to_owned)
        .collect()
}

/// How long a token lives: kubeadm's form of a duration, or 15 minutes.
pub fn lifetime(text: &str) -> Result<jiff::SignedDuration, Problem> {
    if text.is_empty() {
        return Ok(jiff::SignedDuration::from_mins(15));
    }
    let parsed: Option<jiff::SignedDuration> = text.parse().ok();
    parsed
        .filter(jiff::SignedDuration::is_positive)
        .ok_or_else(|| {
            Problem::new("token-ttl", format!("{text:?} is no length of time"))
                .at("token_ttl")
                .next("write it as in 15m or 1h30m")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_kubeadm_wants_it() {
        let token = Token::random();
        let full = token.full();
        let (id, secret) = full.split_once('.').unwrap();
        assert_eq!((id.len(), secret.len()), (6, 16));
        assert!(
            id.chars()
                .chain(secret.chars())
                .all(|c| c.is_ascii_digit() || c.is_ascii_lowercase())
        );
        assert_ne!(*Token::random().full(), *full);
    }

    #[test]
    fn is_bound_in_time_and_to_joining() {
        let token = Token::random();
        let secret = token.secret("w1", "2026-11-21T01:02:03.9Z".parse().unwrap());
        let data = secret["stringData"].as_object().unwrap();
        assert_eq!(data["expiration"], "2026-11-21T01:02:03Z");
        assert_eq!(data["auth-extra-groups"], GROUP);
        assert_eq!(
            secret["metadata"]["name"],
            format!("bootstrap-token-{}", token.id)
        );
        assert_eq!(data.len(), 7);
    }

    #[test]
    fn finds_the_tokens_of_one_node() {
        use base64::Engine;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let secret = |name: &str, text: &str| json!({"metadata": {"name": name}, "data": {"description": encode(text)}});
        let list = json!({"items": [
            secret("a", &description("w1")),
            secret("b", &description("w10")),
            {"metadata": {"name": "c"}},
        ]});
        assert_eq!(made_for("w1", &list), ["a"]);
        assert!(made_for("w2", &list).is_empty());
    }

    #[test]
    fn reads_lengths_of_time() {
        for (text, minutes) in [
            ("", Some(15)),
            ("15m", Some(15)),
            ("1h30m0s", Some(90)),
            ("soon", None),
            ("-5m", None),
            ("0s", None),
        ] {
            let parsed = lifetime(text).ok().map(|it| it.as_mins());
            assert_eq!(parsed, minutes, "{text}");
        }
    }
}
