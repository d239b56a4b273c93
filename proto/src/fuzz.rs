//! What the fuzzed parsers share: how many cases, and inputs that are nearly right. A few seconds' worth each, in every run;
//! `PROPTEST_CASES=1000000 cargo test fuzz` for as long as one likes. The crates take this file in for their tests, by its path,
//! so that what is built for people needs no proptest.
#![allow(dead_code)] // no crate uses all of it

use proptest::prelude::*;
use proptest::test_runner::Config;

/// Of one parser in an everyday run: all of them together take seconds.
const CASES: u32 = 1_000;

pub fn config() -> Config {
    let default = Config::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    Config {
        cases: if asked { default.cases } else { CASES },
        // A case that fails is shown, and becomes a test of its own; nothing is written into the source tree.
        failure_persistence: None,
        ..default
    }
}

/// Text with what parsers stumble over: ends of lines, quotes, braces, other alphabets, nothing at all.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[ \\t\\n\\r:{}\\[\\]&*!|>'\"%@`#,\\\\/.0-9a-zA-Z=-]{0,60}",
        any::<String>(),
    ]
}

/// One of the originals with some of its bytes changed, removed, repeated or put in.
pub fn damaged(originals: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    let edits = prop::collection::vec(edit, 0..6);
    (prop::sample::select(originals), edits).prop_map(|(mut bytes, edits)| {
        for (at, byte, kind) in edits {
            if bytes.is_empty() {
                bytes.push(byte);
                continue;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at),
                _ => {
                    let tail = bytes[at..].to_vec();
                    bytes.extend(tail);
                }
            }
        }
        bytes
    })
}

/// The same for text.
pub fn damaged_text(originals: &[&str]) -> impl Strategy<Value = String> + use<> {
    let originals = originals.iter().map(|text| text.as_bytes().to_vec());
    damaged(originals.collect()).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
