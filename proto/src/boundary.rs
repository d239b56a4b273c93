//! What is read of strangers: join tokens and messages. And that no message with a secret can be printed with it.

use crate::fuzz;
use crate::token::{Address, JoinToken, is_dns_name, is_pin, parse_endpoint};
use crate::v1::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use prost::Message;
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;
use std::fmt::Debug;
use zeroize::Zeroizing;

const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";

fn token() -> JoinToken {
    JoinToken {
        id: "01jd".to_owned(),
        secret: Zeroizing::new(SECRET.to_owned()),
        pin: format!("sha256:{}", "0a".repeat(32)),
        enroll: "coordinator.example:7444".to_owned(),
        session: "[fd00::1]:7443".to_owned(),
        further: vec![Address {
            enroll: "10.0.0.1:7444".to_owned(),
            session: "10.0.0.1:7443".to_owned(),
        }],
        node: "cp-1".to_owned(),
    }
}

fn json() -> Vec<u8> {
    let text = token().encode().expect("valid");
    URL_SAFE_NO_PAD.decode(&text[3..]).expect("base64")
}

fn read<M: Message + Default + Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert!(!format!("{message:?}").is_empty());
        assert!(message.encoded_len() == message.encode_to_vec().len());
    }
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn fuzz_tokens(
        text in prop_oneof![fuzz::text(), fuzz::damaged_text(&[&token().encode().expect("valid")])],
        inside in fuzz::damaged(vec![json()]),
    ) {
        for text in [text, format!("q1.{}", URL_SAFE_NO_PAD.encode(inside))] {
            match JoinToken::decode(&text) {
                // What is taken can be passed on, and means the same then.
                Ok(token) => prop_assert_eq!(JoinToken::decode(&token.encode().expect("valid")), Ok(token)),
                Err(problem) => {
                    prop_assert!(!problem.what.is_empty());
                    let told = format!("{problem} {problem:?}");
                    prop_assert!(!told.contains(SECRET));
                }
            }
        }
    }

    #[test]
    fn fuzz_endpoints(text in fuzz::text()) {
        let _ = (is_pin(&text), is_dns_name(&text));
        if let Ok(endpoint) = parse_endpoint(&text) {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:".contains(&b);
            prop_assert!(endpoint.host.bytes().all(plain) && (1..=65_535).contains(&endpoint.port));
        }
    }

    #[test]
    fn fuzz_messages(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        fuzz::damaged(vec![done().encode_to_vec(), delivery().encode_to_vec()]),
    ]) {
        read::<AgentMessage>(&bytes);
        read::<CoordinatorMessage>(&bytes);
        read::<EnrollRequest>(&bytes);
        read::<PlanRequest>(&bytes);
        read::<AddArtifactRequest>(&bytes);
        read::<Order>(&bytes);
        read::<OrderResult>(&bytes);
        read::<JoinMaterial>(&bytes);
        read::<Problem>(&bytes);
    }
}

fn done() -> AgentMessage {
    let done = OrderDone {
        result: Some(OrderResult::default()),
        sealed: SECRET.into(),
        ..OrderDone::default()
    };
    AgentMessage {
        message: Some(agent_message::Message::Done(done)),
    }
}

fn delivery() -> CoordinatorMessage {
    let delivery = Delivery {
        order: Some(Order::default()),
        sealed: SECRET.into(),
    };
    CoordinatorMessage {
        message: Some(coordinator_message::Message::Delivery(delivery)),
    }
}

#[test]
fn what_carries_a_secret_is_printed_without_it() {
    let material = JoinMaterial {
        files: [("ca.key".to_owned(), SECRET.into())].into(),
        token: SECRET.to_owned(),
        ..JoinMaterial::default()
    };
    let enroll = EnrollRequest {
        token_secret: SECRET.to_owned(),
        ..EnrollRequest::default()
    };
    let made = CreateTokenResponse {
        token: SECRET.to_owned(),
        ..CreateTokenResponse::default()
    };
    let chunk = FileChunk {
        data: SECRET.into(),
    };
    let part = SnapshotPart {
        part: Some(snapshot_part::Part::Data(SECRET.into())),
    };
    let bytes = format!("{:?}", SECRET.as_bytes());
    let bytes = bytes.trim_matches(['[', ']']);
    for printed in [
        format!("{material:?} {material:#?}"),
        format!("{enroll:?} {enroll:#?}"),
        format!("{made:?} {made:#?}"),
        format!("{:?} {:#?}", done(), done()),
        format!("{:?} {:#?}", delivery(), delivery()),
        format!("{chunk:?} {part:?} {part:#?}"),
        format!("{:?}", token()),
    ] {
        assert!(
            !printed.contains(SECRET) && !printed.contains(bytes),
            "{printed}"
        );
    }
}

/// A field that sounds like a secret is in a message of `redacted`, or stands here with the reason why it is none.
#[test]
fn a_new_secret_field_needs_redaction() {
    const REDACTED: [&str; 5] = [
        "JoinMaterial",
        "Delivery",
        "OrderDone",
        "EnrollRequest",
        "CreateTokenResponse",
    ];
    const NO_SECRET: [(&str, &str); 2] = [
        ("ClusterConfig", "token_ttl"), // a length of time
        ("AptSource", "key_pem"),       // a public key
    ];
    const TELLING: [&str; 6] = [
        "secret",
        "token",
        "sealed",
        "key_pem",
        "password",
        "kubeconfig",
    ];
    let set = FileDescriptorSet::decode(crate::DESCRIPTOR).expect("the descriptor");
    let mut found = Vec::new();
    for message in set.file.iter().flat_map(|file| &file.message_type) {
        for field in &message.field {
            // Only what holds a value by itself; messages are looked at as such.
            let value = matches!(field.r#type(), Type::String | Type::Bytes);
            let telling = TELLING.iter().any(|word| field.name().contains(word));
            let public = field.name().ends_with("_id") || field.name().ends_with("_unix");
            if value && telling && !public && !NO_SECRET.contains(&(message.name(), field.name())) {
                assert!(
                    REDACTED.contains(&message.name()),
                    "{}.{} would be printed",
                    message.name(),
                    field.name()
                );
                found.push(message.name());
            }
        }
    }
    found.dedup();
    assert_eq!(found.len(), REDACTED.len(), "{found:?}");
}
