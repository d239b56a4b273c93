//! Showing events: rows that redraw themselves on a terminal, one line a change elsewhere, or JSON.

use super::changes::Changes;
use super::rows::{Row, State, rows};
use crate::cli::args::ProgressMode;
use crate::cli::console::Console;
use crate::cli::failure::Outcome;
use crate::cli::render::operations::took;
use crate::cli::text::units::rfc3339;
use crate::cli::text::{clean, flat, json};
use crate::clock;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use quorate_proto::v1::{NodeProgress, OperationEvent, Problem};
use std::time::Duration;

/// Redraws of the spinners.
const TICK: Duration = Duration::from_millis(120);

pub struct View<'a> {
    console: &'a Console,
    changes: Changes,
    form: Form,
    events: u64,
}

enum Form {
    Live(Live),
    Plain,
    Json,
}

impl<'a> View<'a> {
    pub fn new(console: &'a Console, mode: ProgressMode) -> Self {
        let form = match mode {
            ProgressMode::Auto if console.live && !console.quiet => Form::Live(Live::new()),
            ProgressMode::Auto | ProgressMode::Plain => Form::Plain,
            ProgressMode::Json => Form::Json,
        };
        View {
            console,
            changes: Changes::default(),
            form,
            events: 0,
        }
    }

    /// Events shown so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn show(&mut self, event: &OperationEvent) -> Outcome<()> {
        self.events += 1;
        let changed = self.changes.take(event);
        match &mut self.form {
            Form::Live(live) => {
                if self.console.verbose && !event.line.is_empty() {
                    live.say(&log_line(event));
                }
                live.head(event);
                live.draw(&rows(self.changes.nodes(), &self.console.err_look()));
            }
            Form::Plain => {
                let now = clock::unix_ms();
                for node in &changed {
                    self.console.note(change_line(node, now));
                }
                if self.console.verbose && !event.line.is_empty() {
                    self.console
                        .note(format!("{}  {}", rfc3339(now), log_line(event)));
                }
            }
            Form::Json => {
                let document = json::document(event)
                    .map_err(|error| Problem::new("output-failed", error.to_string()))?;
                self.console.data(&json::line(&document))?;
            }
        }
        Ok(())
    }

    /// A remark about watching itself.
    pub fn say(&self, text: &str) {
        match &self.form {
            Form::Live(live) => live.say(text),
            Form::Plain | Form::Json => self.console.note(text),
        }
    }
}

fn log_line(event: &OperationEvent) -> String {
    format!("{}: {}", clean(&event.line_node), flat(&event.line))
}

fn change_line(node: &NodeProgress, now_ms: i64) -> String {
    let detail = match &node.problem {
        Some(problem) => flat(&problem.what),
        None => flat(&node.detail),
    };
    let line = format!(
        "{}  {}  {}  {detail}",
        rfc3339(now_ms),
        clean(&node.node),
        clean(&node.phase)
    );
    line.trim_end().to_owned()
}

/// The rows of [`rows`] under a headline.
struct Live {
    all: MultiProgress,
    head: ProgressBar,
    titled: bool,
    bars: Vec<(ProgressBar, Option<State>)>,
}

impl Live {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let head = all.add(ProgressBar::new_spinner());
        head.set_style(style("{msg}"));
        head.enable_steady_tick(TICK);
        Live {
            all,
            head,
            titled: false,
            bars: Vec::new(),
        }
    }

    /// The headline counts the time on its own between events.
    fn head(&mut self, event: &OperationEvent) {
        let Some(operation) = event.operation.as_ref().filter(|_| !self.titled) else {
            return;
        };
        self.titled = true;
        let title = format!("{} {}", clean(&operation.kind), clean(&operation.cluster));
        let operation = operation.clone();
        let since = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A headline without its time is no harm.
            let _ = write!(out, "{}", took(&operation, clock::unix_ms()));
        };
        let style = style("{msg}, {since}").with_key("since", since);
        self.head.set_style(style);
        self.head.set_message(title);
    }

    fn draw(&mut self, rows: &[Row]) {
        while self.bars.len() < rows.len() {
            let bar = self.all.add(ProgressBar::new_spinner());
            bar.enable_steady_tick(TICK);
            self.bars.push((bar, None));
        }
        for (row, (bar, shown)) in rows.iter().zip(&mut self.bars) {
            if *shown != Some(row.state) {
                bar.set_style(style(template(row.state)));
                *shown = Some(row.state);
            }
            bar.set_message(row.text.clone());
        }
    }

    fn say(&self, text: &str) {
        // Where standard error is gone nothing can be said.
        let _ = self.all.println(text);
    }
}

impl Drop for Live {
    /// The last state stays on the screen.
    fn drop(&mut self) {
        self.head.finish_and_clear();
        for (bar, state) in &self.bars {
            if *state == Some(State::Working) {
                bar.set_style(style(template(State::Waiting)));
            }
            bar.abandon();
        }
    }
}

fn template(state: State) -> &'static str {
    match state {
        State::Failed => "× {wide_msg}",
        State::Working => "{spinner} {wide_msg}",
        State::Waiting => "  {wide_msg}",
        State::Ready => "✓ {wide_msg}",
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; one that does not parse would show as bare messages.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_parse() {
        for state in [State::Failed, State::Working, State::Waiting, State::Ready] {
            assert!(ProgressStyle::with_template(template(state)).is_ok());
        }
    }

    #[test]
    fn plain_lines() {
        let node = NodeProgress {
            node: "cp2".into(),
            phase: "join".into(),
            detail: "waits for cp1\x1b[K".into(),
            problem: None,
        };
        assert_eq!(
            change_line(&node, 1_795_225_380_000),
            "2026-11-21T01:43:00Z  cp2  join  waits for cp1\\u{1b}[K"
        );
    }

    #[test]
    fn live_rows_follow_the_states() {
        let mut live = Live::new();
        let row = |state| Row {
            state,
            text: "x".into(),
        };
        live.draw(&[row(State::Working), row(State::Waiting)]);
        live.draw(&[row(State::Ready), row(State::Waiting)]);
        let states: Vec<_> = live.bars.iter().map(|(_, state)| *state).collect();
        assert_eq!(states, [Some(State::Ready), Some(State::Waiting)]);
    }
}
