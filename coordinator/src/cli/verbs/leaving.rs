//! `quorate node remove` and `quorate node replace`.

use super::{Session, change};
use crate::cli::args::{Format, LeavingArgs, RemoveArgs, ReplaceArgs};
use crate::cli::confirm;
use crate::cli::connect::{LONG, call};
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::text::clean;
use crate::cli::watch;
use quorate_proto::v1::RemovalRequest;

pub async fn remove(session: &Session<'_>, args: RemoveArgs) -> Outcome<Exit> {
    let request = RemovalRequest {
        node: args.name,
        dead: args.leaving.dead,
        without_storage: args.leaving.without_storage_check,
        ..RemovalRequest::default()
    };
    leave(session, request, args.leaving).await
}

pub async fn replace(session: &Session<'_>, args: ReplaceArgs) -> Outcome<Exit> {
    let request = RemovalRequest {
        node: args.old,
        dead: args.leaving.dead,
        without_storage: args.leaving.without_storage_check,
        replace: true,
        successor: args.new.unwrap_or_default(),
        address: args.address.map(|it| it.to_string()).unwrap_or_default(),
    };
    leave(session, request, args.leaving).await
}

async fn leave(session: &Session<'_>, request: RemovalRequest, args: LeavingArgs) -> Outcome<Exit> {
    let console = session.console;
    let (context, mut client) = session.open().await?;
    let plan = call(&context, LONG, client.plan_removal(request.clone())).await?;
    let dry = args.dry_run.then(|| args.output.unwrap_or(Format::Table));
    if let Some(exit) = change::planned(console, &plan, &plan.refusals, dry, &args.change)? {
        return Ok(exit);
    }
    if request.dead {
        let what = format!(
            "\nYou say that {} is gone for good. If it comes back as it was, it is not let in again.",
            clean(&request.node)
        );
        confirm::typed(console, &what, &request.node, args.change.yes)?;
    } else {
        let verb = if request.replace { "Replace" } else { "Remove" };
        let question = format!("\n{verb} {}?", clean(&request.node));
        change::ask(console, &question, &args.change)?;
    }
    let leave = watch::interrupt();
    let answer = call(&context, LONG, client.remove_node(request.clone())).await?;
    let waits = !args.change.no_wait;
    let exit = change::follow(console, &context, client, answer, args.change, leave).await?;
    if exit == Exit::Ok && waits {
        console.note(afterwards(&request));
    }
    Ok(exit)
}

/// The cluster file is the operator's.
fn afterwards(request: &RemovalRequest) -> String {
    let node = clean(&request.node);
    match (request.replace, request.successor.as_str()) {
        (false, _) => format!(
            "Left to you: take {node} out of the cluster file; with it in, an apply adds it again"
        ),
        (true, "") => format!("{node} is a member again; the cluster file stays as it is"),
        (true, new) => format!(
            "Left to you: {} takes the place of {node} in the cluster file too",
            clean(new)
        ),
    }
}
