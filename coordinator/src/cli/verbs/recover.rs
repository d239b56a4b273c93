//! `quorate recover`.

use super::{Session, change};
use crate::cli::args::{Format, RecoverArgs};
use crate::cli::confirm;
use crate::cli::connect::{LONG, call};
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::text::clean;
use crate::cli::text::units::rfc3339;
use crate::cli::watch;
use quorate_proto::v1::RecoveryRequest;

pub async fn run(session: &Session<'_>, args: RecoverArgs) -> Outcome<Exit> {
    let console = session.console;
    let mut request = RecoveryRequest {
        cluster: args.cluster,
        from_member: args.from_member.unwrap_or_default(),
        without: args.without,
        snapshot: args.snapshot.unwrap_or_default(),
    };
    let (context, mut client) = session.open().await?;
    let plan = call(&context, LONG, client.plan_recovery(request.clone())).await?;
    let dry = args.dry_run.then(|| args.output.unwrap_or(Format::Table));
    if let Some(exit) = change::planned(console, &plan, &plan.refusals, dry, &args.change)? {
        return Ok(exit);
    }
    let what = match &plan.snapshot {
        Some(snapshot) => format!(
            "\nYou take {} back to {}, and give up all that was written since.",
            clean(&plan.cluster),
            rfc3339(snapshot.taken_unix_ms)
        ),
        None => format!(
            "\nYou give up the quorum of {}, and what {} does not hold.",
            clean(&plan.cluster),
            clean(&plan.source)
        ),
    };
    confirm::typed(console, &what, &plan.cluster, args.change.yes)?;
    // What was confirmed, not what is best by now.
    request.from_member.clone_from(&plan.source);
    let leave = watch::interrupt();
    let answer = call(&context, LONG, client.recover(request)).await?;
    let waits = !args.change.no_wait;
    let exit = change::follow(console, &context, client, answer, args.change, leave).await?;
    if exit == Exit::Ok && waits && !plan.lost.is_empty() {
        console.note(format!(
            "Left to you: take {} out of the cluster file, and put new machines in; then apply it",
            clean(&plan.lost.join(", "))
        ));
        if plan.kubernetes {
            console.note(format!(
                "Their Node objects are left as well: kubectl delete node {}",
                clean(&plan.lost.join(" "))
            ));
        }
    }
    Ok(exit)
}
