//! Prometheus' text format 0.0.4. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names of labels are ours, values come from anywhere.
pub type Labels = Vec<(&'static str, String)>;

/// One metric. A set of labels occurs once, as a scrape with a repeated one is refused as a whole.
pub struct Gauge {
    pub name: &'static str,
    pub help: &'static str,
    pub samples: BTreeMap<Labels, i64>,
}

impl Gauge {
    pub fn new(name: &'static str, help: &'static str) -> Self {
        Gauge {
            name,
            help,
            samples: BTreeMap::new(),
        }
    }

    /// Without labels.
    pub fn single(name: &'static str, help: &'static str, value: i64) -> Self {
        let mut gauge = Gauge::new(name, help);
        gauge.samples.insert(Labels::new(), value);
        gauge
    }

    /// Of two values for the same labels the lower one stays: of two ends the earlier.
    pub fn lower(&mut self, labels: Labels, value: i64) {
        let present = self.samples.entry(labels).or_insert(value);
        *present = value.min(*present);
    }
}

/// A metric without samples is left out.
pub fn text(gauges: &[Gauge]) -> String {
    let mut out = String::new();
    for gauge in gauges.iter().filter(|gauge| !gauge.samples.is_empty()) {
        let (name, help) = (gauge.name, escape(gauge.help, false));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in &gauge.samples {
            let _ = writeln!(out, "{name}{} {value}", braces(labels));
        }
    }
    out
}

fn braces(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let label = |(name, value): &(&str, String)| format!("{name}=\"{}\"", escape(value, true));
    let all: Vec<String> = labels.iter().map(label).collect();
    format!("{{{}}}", all.join(","))
}

fn escape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_format_wants_it() {
        let mut ends = Gauge::new("ends_seconds", "When it \"ends\" \\ is over\nas Unix time.");
        let labels = |node: &str| vec![("cluster", "prod".to_owned()), ("node", node.to_owned())];
        ends.lower(labels("b"), 20);
        ends.lower(labels("a\"b\\c\nd"), 10);
        ends.lower(labels("b"), 15);
        ends.lower(labels("b"), 30);
        let gauges = [
            Gauge::single("up", "Whether it is.", 1),
            Gauge::new("nothing", "Has no samples."),
            ends,
        ];
        assert_eq!(
            text(&gauges),
            "# HELP up Whether it is.\n\
             # TYPE up gauge\n\
             up 1\n\
             # HELP ends_seconds When it \"ends\" \\\\ is over\\nas Unix time.\n\
             # TYPE ends_seconds gauge\n\
             ends_seconds{cluster=\"prod\",node=\"a\\\"b\\\\c\\nd\"} 10\n\
             ends_seconds{cluster=\"prod\",node=\"b\"} 15\n"
        );
    }
}
