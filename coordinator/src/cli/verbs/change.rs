//! What commands that start an operation share: they show what they are about to do, ask, and follow it.

use crate::cli::args::{ChangeArgs, Format};
use crate::cli::confirm;
use crate::cli::connect::Client;
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::exit::{self, Exit};
use crate::cli::failure::Outcome;
use crate::cli::output::show;
use crate::cli::render::Show;
use crate::cli::text::clean;
use crate::cli::watch::{Follow, Leave};
use quorate_proto::v1::{ApplyResponse, Problem};

/// Whoever is asked has to see what about; `--yes` with `--quiet` leaves it out.
pub fn present(console: &Console, shown: &str, args: &ChangeArgs) {
    if args.yes {
        console.note(shown.trim_end());
    } else {
        console.say(shown.trim_end());
    }
}

/// Shows a plan. How the command ends with that: on a dry run (`dry`: in which format), or as it is refused.
pub fn planned(
    console: &Console,
    plan: &impl Show,
    refusals: &[Problem],
    dry: Option<Format>,
    args: &ChangeArgs,
) -> Outcome<Option<Exit>> {
    let refused = refused(refusals);
    if let Some(format) = dry {
        show(console, format, plan)?;
        return Ok(Some(refused.unwrap_or(Exit::Ok)));
    }
    let shown = plan.table(&console.err_look());
    match refused {
        Some(_) => console.say(shown.trim_end()),
        None => present(console, &shown, args),
    }
    Ok(refused)
}

pub fn ask(console: &Console, question: &str, args: &ChangeArgs) -> Outcome<()> {
    if confirm::yes(console, question, args.yes)? {
        return Ok(());
    }
    Err(Problem::new("not-confirmed", "not confirmed; nothing was changed").into())
}

/// A plan that may not be carried out: by a safety rule, or because what was asked is wrong.
pub fn refused(refusals: &[Problem]) -> Option<Exit> {
    if refusals.is_empty() {
        None
    } else if refusals.iter().any(exit::is_quorum_loss) {
        Some(Exit::Quorum)
    } else if refusals.iter().any(exit::is_refusal) {
        Some(Exit::Refused)
    } else {
        Some(Exit::Failure)
    }
}

/// Watches what the answer has started, or says how to. `leave` is made before the call, so that Ctrl-C from then on
/// leaves the operation alone.
pub async fn follow(
    console: &Console,
    context: &Context,
    client: Client,
    answer: ApplyResponse,
    args: ChangeArgs,
    leave: Leave,
) -> Outcome<Exit> {
    if answer.nothing_to_do {
        console.note("Nothing to do.");
        return Ok(Exit::Ok);
    }
    if args.no_wait {
        let id = clean(&answer.operation);
        console.data(&format!("{id}\n"))?;
        console.note(format!("follow it: quorate operation watch {id}"));
        return Ok(Exit::Ok);
    }
    let follow = Follow {
        console,
        context,
        client,
        id: answer.operation,
        args: args.watch,
        leave,
    };
    follow.until_it_ends().await
}
