//! What came of each fault.

use super::scene::Operation;
use super::strike::Strike;
use std::fmt;
use std::time::Duration;

pub struct Row {
    pub fault: &'static str,
    pub place: String,
    pub converged: Option<Duration>,
    pub invariants: String,
    pub data: String,
    pub good: bool,
}

impl Row {
    pub fn failed(
        strike: Strike,
        operation: Operation,
        step: usize,
        error: &anyhow::Error,
    ) -> Self {
        let first = format!("{error:#}");
        let first = first.lines().next().unwrap_or_default().to_owned();
        Row {
            fault: strike.name(),
            place: place(operation, step, ""),
            converged: None,
            invariants: format!("NOT JUDGED: {first}"),
            data: String::new(),
            good: false,
        }
    }
}

pub fn place(operation: Operation, step: usize, event: &str) -> String {
    format!("{} {step} {event}", operation.name())
        .trim_end()
        .to_owned()
}

#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    pub fn push(&mut self, row: Row) {
        println!("{row}");
        self.0.push(row);
    }

    pub fn survived(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|row| row.good)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = match self.converged {
            Some(took) => format!("{:.1}", took.as_secs_f64()),
            None => "never".to_owned(),
        };
        write!(
            f,
            "{:<22} {:<44} {seconds:>8}  {:<24} {}",
            self.fault, self.place, self.invariants, self.data
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22} {:<44} {:>8}  {:<24} data",
            "fault", "where (operation, event)", "seconds", "invariants"
        )?;
        for row in &self.0 {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}
