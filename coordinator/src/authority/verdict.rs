//! Whether a machine may enrol: by its token, the name that it asks for, and who has that name. Pure.

use super::{NodeRecord, TokenRecord, TokenUse};
use quorate_proto::v1::{EnrollRequest, Problem};
use std::time::Duration;

/// For so long the same token and key get the same answer again: a reply may be lost, and the agent tries once more.
const REPEAT: Duration = Duration::from_secs(10 * 60);

/// What is to be done with a request, by what the token and the name are at this moment.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Enroll,
    Repeat(TokenUse),
    Refuse(Problem),
}

pub fn judge(
    token: &TokenRecord,
    name: &str,
    request: &EnrollRequest,
    key: &str,
    holder: Option<&NodeRecord>,
    now: i64,
) -> Verdict {
    if let Some(used) = &token.used {
        let repeated =
            used.key == key && used.node_name == name && now - used.unix < super::seconds(REPEAT);
        return match repeated {
            true => Verdict::Repeat(used.clone()),
            false => Verdict::Refuse(
                denied("denied-token-used", "this token was used already")
                    .because(format!("node {} enrolled with it", used.node_name)),
            ),
        };
    }
    if token.revoked_unix.is_some() {
        return Verdict::Refuse(denied("denied-token-revoked", "this token was revoked"));
    }
    if now >= token.expires_unix {
        return Verdict::Refuse(denied("denied-token-expired", "this token has expired"));
    }
    if !token.node.is_empty() && token.node != name {
        return Verdict::Refuse(
            denied("denied-node-name", "this token is for another node").at(name),
        );
    }
    match holder {
        // The same machine comes back, or the operator has said that this name changes hands.
        Some(old) if old.machine_id == request.machine_id || token.node == name => Verdict::Enroll,
        Some(_) => Verdict::Refuse(
            Problem::new("denied-name-taken", "another machine has this node name")
                .at(name)
                .next(format!(
                    "choose another name; or make a token for it to replace the other machine: quorate token create --node {name}"
                )),
        ),
        None => Verdict::Enroll,
    }
}

pub fn denied(code: &str, what: &str) -> Problem {
    Problem::new(code, what).next("make a new one with: quorate token create")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> TokenRecord {
        TokenRecord {
            id: "t".to_owned(),
            secret_sha256: String::new(),
            node: String::new(),
            created_by: "admin/root".to_owned(),
            created_unix: 0,
            expires_unix: 1000,
            revoked_unix: None,
            used: None,
        }
    }

    fn used(unix: i64) -> TokenUse {
        TokenUse {
            unix,
            key: "key".to_owned(),
            node_id: "id".to_owned(),
            node_name: "n1".to_owned(),
            certificate_pem: "pem".to_owned(),
        }
    }

    fn holder(machine: &str) -> NodeRecord {
        NodeRecord {
            id: "old".to_owned(),
            name: "n1".to_owned(),
            machine_id: machine.to_owned(),
            enrolled_unix: 0,
            serial: String::new(),
            certificate_expires_unix: 0,
            revoked_unix: None,
        }
    }

    #[test]
    fn the_verdicts() {
        let request = EnrollRequest {
            machine_id: "m1".to_owned(),
            ..EnrollRequest::default()
        };
        let code = |token: &TokenRecord, key: &str, holder: Option<&NodeRecord>, now| match judge(
            token, "n1", &request, key, holder, now,
        ) {
            Verdict::Enroll => "enroll".to_owned(),
            Verdict::Repeat(_) => "repeat".to_owned(),
            Verdict::Refuse(problem) => problem.code,
        };
        let live = token();
        let named = |node: &str| TokenRecord {
            node: node.to_owned(),
            ..token()
        };
        let burnt = TokenRecord {
            used: Some(used(100)),
            ..token()
        };
        let revoked = TokenRecord {
            revoked_unix: Some(1),
            ..token()
        };
        let (same, other) = (holder("m1"), holder("m2"));
        let cases = [
            (&live, "key", None, 999, "enroll"),
            (&live, "key", None, 1000, "denied-token-expired"),
            (&revoked, "key", None, 10, "denied-token-revoked"),
            (&named("n1"), "key", None, 10, "enroll"),
            (&named("n2"), "key", None, 10, "denied-node-name"),
            (&burnt, "key", Some(&same), 699, "repeat"),
            (&burnt, "key", Some(&same), 700, "denied-token-used"),
            (&burnt, "other", None, 101, "denied-token-used"),
            (&live, "key", Some(&same), 10, "enroll"),
            (&live, "key", Some(&other), 10, "denied-name-taken"),
            (&named("n1"), "key", Some(&other), 10, "enroll"),
        ];
        for (at, (token, key, holder, now, expected)) in cases.into_iter().enumerate() {
            assert_eq!(code(token, key, holder, now), expected, "case {at}");
        }
    }
}
