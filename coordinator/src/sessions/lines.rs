//! Lines of progress that were passed on already. An agent that restarts reads the lines of its running orders anew
//! and sends them under their old numbers; people are to see each once.

use quorate_proto::v1::OrderProgress;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Of one node; it runs a few at a time.
const ORDERS: usize = 8;
/// Of one order, the newest: a line that was said before all of these may be seen twice.
const LINES: usize = 512;

/// Order -> number -> hash of the line.
#[derive(Default)]
pub struct Heard(BTreeMap<String, BTreeMap<u64, u64>>);

impl Heard {
    /// The same number with another text is new: an order that is run again may count from one.
    pub fn is_new(&mut self, line: &OrderProgress) -> bool {
        if !self.0.contains_key(&line.id) && self.0.len() >= ORDERS {
            // Identifiers grow with time.
            self.0.pop_first();
        }
        let lines = self.0.entry(line.id.clone()).or_default();
        let hash = hash(&line.line);
        if lines.insert(line.sequence, hash) == Some(hash) {
            return false;
        }
        if lines.len() > LINES {
            lines.pop_first();
        }
        true
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, sequence: u64, text: &str) -> OrderProgress {
        OrderProgress {
            id: id.into(),
            sequence,
            line: text.into(),
        }
    }

    #[test]
    fn each_line_once() {
        let mut heard = Heard::default();
        for (id, sequence, text, new) in [
            ("a", 1, "unpacks", true),
            ("a", 2, "unpacks", true),
            ("b", 1, "unpacks", true),
            ("a", 1, "unpacks", false),
            ("a", 2, "unpacks", false),
            ("a", 3, "starts", true),
            ("a", 1, "fetches", true),
            ("a", 1, "fetches", false),
        ] {
            assert_eq!(
                heard.is_new(&line(id, sequence, text)),
                new,
                "{id} {sequence} {text}"
            );
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut heard = Heard::default();
        for sequence in 0..2 * LINES as u64 {
            assert!(heard.is_new(&line("a", sequence, "x")));
        }
        assert_eq!(heard.0["a"].len(), LINES);
        for order in 0..2 * ORDERS {
            heard.is_new(&line(&format!("o{order:02}"), 1, "x"));
        }
        assert_eq!(heard.0.len(), ORDERS);
        assert!(!heard.is_new(&line("o15", 1, "x")), "the newest stay");
    }
}
