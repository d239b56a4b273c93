//! `quorate check`: a line for every check, by category, with cause and next step for what is wrong.

use super::Show;
use crate::cli::failure::problem_lines;
use crate::cli::text::{Look, Tone, clean};
use quorate_proto::v1::{CheckLine, CheckResponse, Finding, Severity};

impl Show for CheckResponse {
    fn table(&self, look: &Look) -> String {
        if self.lines.is_empty() {
            return "Nothing to check: there is no cluster.\n".to_owned();
        }
        let mut out = String::new();
        for category in categories(&self.lines) {
            out.push_str(&look.paint(Tone::Strong, clean(category)));
            out.push('\n');
            for line in self.lines.iter().filter(|line| line.category == category) {
                out.push_str(&one(line, look));
            }
            out.push('\n');
        }
        out.push_str(&summary(&self.lines));
        out
    }

    fn names(&self) -> Vec<String> {
        let finding = |line: &CheckLine| line.finding.clone().unwrap_or_default().name;
        let name = |line: &CheckLine| format!("{}/{}/{}", line.category, line.node, finding(line));
        self.lines.iter().map(name).collect()
    }
}

/// Whether everything was well; what the user chose to ignore is.
pub fn all_well(lines: &[CheckLine]) -> bool {
    lines.iter().all(|line| match severity(line) {
        Severity::Ok | Severity::Ignored => true,
        Severity::Warning | Severity::Fatal | Severity::Unspecified => false,
    })
}

fn severity(line: &CheckLine) -> Severity {
    line.finding
        .as_ref()
        .map_or(Severity::Unspecified, Finding::severity)
}

/// In the order in which they first occur.
fn categories(lines: &[CheckLine]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for line in lines {
        if !found.contains(&line.category.as_str()) {
            found.push(&line.category);
        }
    }
    found
}

fn one(line: &CheckLine, look: &Look) -> String {
    let (mark, tone) = match severity(line) {
        Severity::Ok => ("✓", Tone::Good),
        Severity::Warning => ("‼", Tone::Warn),
        Severity::Fatal => ("×", Tone::Bad),
        Severity::Ignored => ("○", Tone::Dim),
        Severity::Unspecified => ("?", Tone::Warn),
    };
    let finding = line.finding.clone().unwrap_or_default();
    let mark = look.paint(tone, mark);
    let mut out = format!("  {mark} {}  {}", clean(&line.node), clean(&finding.name));
    match &finding.problem {
        None => out.push('\n'),
        Some(problem) => {
            out.push_str(": ");
            out.push_str(&problem_lines(problem, "      ", look));
        }
    }
    out
}

fn summary(lines: &[CheckLine]) -> String {
    let number = |wanted| lines.iter().filter(|line| severity(line) == wanted).count();
    let mut parts = vec![format!("{} passed", number(Severity::Ok))];
    for (severity, word) in [
        (Severity::Warning, "with warnings"),
        (Severity::Fatal, "failed"),
        (Severity::Ignored, "ignored"),
        (Severity::Unspecified, "unknown"),
    ] {
        match number(severity) {
            0 => {}
            some => parts.push(format!("{some} {word}")),
        }
    }
    format!(
        "{}: {}\n",
        super::count(lines.len(), "check", "checks"),
        parts.join(", ")
    )
}
