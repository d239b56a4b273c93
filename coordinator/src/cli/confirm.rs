//! Questions before something changes.

use super::console::Console;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::text::clean;
use quorate_proto::v1::Problem;

/// `[y/N]`; anything but yes is no.
pub fn yes(console: &Console, question: &str, assume_yes: bool) -> Outcome<bool> {
    if assume_yes {
        return Ok(true);
    }
    need_terminal(console)?;
    let answer = console.ask(&format!("{question} [y/N]"))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The name, typed in full, for what cannot be taken back.
pub fn typed(console: &Console, what: &str, name: &str, assume_yes: bool) -> Outcome<()> {
    if assume_yes {
        return Ok(());
    }
    need_terminal(console)?;
    let answer = console.ask(&format!("{what}\nType {} to go on:", clean(name)))?;
    if answer == name {
        return Ok(());
    }
    Err(Problem::new("not-confirmed", "not confirmed; nothing was changed").into())
}

fn need_terminal(console: &Console) -> Outcome<()> {
    if console.interactive {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        Problem::new(
            "confirmation-needed",
            "this needs a confirmation, and there is no terminal to ask on",
        )
        .next("add --yes to go on without the question"),
    ))
}
