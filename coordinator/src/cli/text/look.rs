//! How to draw: colour, width, how much, and which time is now.

use std::fmt::Display;

/// Everything a rendering depends on besides its data.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub color: bool,
    /// Columns of the terminal; none where lines may be as long as they are.
    pub width: Option<u16>,
    pub wide: bool,
    pub now_ms: i64,
}

/// What a piece of text means; the colour follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
    Strong,
}

impl Look {
    /// Wraps `text`, which must be clean, in the tone's colour.
    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        match (self.color, tone.sgr()) {
            (true, Some(sgr)) => format!("\x1b[{sgr}m{text}\x1b[0m"),
            (true, None) | (false, _) => text.to_string(),
        }
    }
}

impl Tone {
    fn sgr(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Warn => Some("33"),
            Tone::Bad => Some("31"),
            Tone::Dim => Some("2"),
            Tone::Strong => Some("1"),
        }
    }

    /// What the words of states mean, wherever they occur.
    pub fn of_state(state: &str) -> Tone {
        match state {
            "healthy" | "done" | "ready" | "live" | "up" | "yes" | "connected" | "in-line" => {
                Tone::Good
            }
            "degraded" | "forming" | "stopping" | "stopped" | "starting" | "unknown"
            | "running" | "syncing" | "waiting" | "expired" | "earlier" | "outside" => Tone::Warn,
            "unavailable" | "unhealthy" | "failed" | "revoked" | "lost" | "down" | "no"
            | "stray" => Tone::Bad,
            "used" => Tone::Dim,
            _ => Tone::Plain,
        }
    }
}

/// Whether to colour. `NO_COLOR` and `CLICOLOR_FORCE` as on no-color.org and bixense.com/clicolors.
pub fn wants_color(flag_off: bool, environment: &ColorVariables, terminal: bool) -> bool {
    let set = |value: &Option<String>| value.as_ref().is_some_and(|v| !v.is_empty());
    if flag_off || set(&environment.no_color) {
        return false;
    }
    if set(&environment.clicolor_force) && environment.clicolor_force.as_deref() != Some("0") {
        return true;
    }
    terminal && environment.term.as_deref() != Some("dumb")
}

#[derive(Clone, Debug, Default)]
pub struct ColorVariables {
    pub no_color: Option<String>,
    pub clicolor_force: Option<String>,
    pub term: Option<String>,
}

impl ColorVariables {
    pub fn from_process() -> Self {
        let get = |name| std::env::var(name).ok();
        ColorVariables {
            no_color: get("NO_COLOR"),
            clicolor_force: get("CLICOLOR_FORCE"),
            term: get("TERM"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_rules() {
        let text = |s: &str| (s != "-").then(|| s.to_owned());
        for (flag, no_color, force, term, terminal, want) in [
            (false, "-", "-", "xterm", true, true),
            (false, "-", "-", "xterm", false, false),
            (false, "-", "-", "dumb", true, false),
            (false, "-", "1", "dumb", false, true),
            (false, "-", "0", "xterm", false, false),
            (false, "1", "1", "xterm", true, false),
            (false, "", "-", "xterm", true, true),
            (true, "-", "1", "xterm", true, false),
        ] {
            let variables = ColorVariables {
                no_color: text(no_color),
                clicolor_force: text(force),
                term: text(term),
            };
            assert_eq!(
                wants_color(flag, &variables, terminal),
                want,
                "{variables:?} {terminal}"
            );
        }
    }
}
