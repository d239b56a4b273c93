//! `quorate plan`, `quorate apply` and `quorate operation`.

use super::Session;
use crate::cli::args::{ApplyArgs, Format, OperationCommand, PlanArgs};
use crate::cli::attachments::{self, MAX_FILE_BYTES};
use crate::cli::connect::{LONG, SHORT, call};
use crate::cli::console::Console;
use crate::cli::exit::{self, Exit};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::show;
use crate::cli::render::Show;
use crate::cli::text::clean;
use crate::cli::watch::{self, Follow};
use crate::cli::{confirm, files};
use quorate_proto::v1::{ApplyRequest, ListOperationsRequest, PlanRequest, PlanResponse, Problem};
use std::path::Path;

pub async fn plan(session: &Session<'_>, args: PlanArgs) -> Outcome<Exit> {
    let request = read(session.console, &args.file.file)?;
    let (context, mut client) = session.open().await?;
    let plan = call(&context, LONG, client.plan(request)).await?;
    show(session.console, args.output.output, &plan)?;
    if let Some(exit) = refused(&plan) {
        return Ok(exit);
    }
    let human = matches!(args.output.output, Format::Table | Format::Wide);
    if human && !plan.nothing_to_do {
        let file = args.file.file.display().to_string();
        session
            .console
            .note(format!("Do it: quorate apply -f {}", clean(&file)));
    }
    if args.detailed_exitcode && !plan.nothing_to_do {
        return Ok(Exit::Pending);
    }
    Ok(Exit::Ok)
}

pub async fn apply(session: &Session<'_>, args: ApplyArgs) -> Outcome<Exit> {
    let console = session.console;
    let request = read(console, &args.file.file)?;
    let (context, mut client) = session.open().await?;
    let plan = call(&context, LONG, client.plan(request.clone())).await?;
    let shown = plan.table(&console.err_look());
    if let Some(exit) = refused(&plan) {
        console.say(shown.trim_end());
        return Ok(exit);
    }
    if args.yes {
        console.note(shown.trim_end());
    } else {
        console.say(shown.trim_end());
    }
    if plan.nothing_to_do {
        return Ok(Exit::Ok);
    }
    if !confirm::yes(console, "\nApply this plan?", args.yes)? {
        return Err(Problem::new("not-confirmed", "not applied; nothing was changed").into());
    }
    let leave = watch::interrupt();
    let request = ApplyRequest {
        plan: Some(request),
        expected_revision: plan.revision,
    };
    let answer = call(&context, LONG, client.apply(request)).await?;
    if answer.nothing_to_do {
        console.note("Nothing to do.");
        return Ok(Exit::Ok);
    }
    if args.no_wait {
        console.data(&format!("{}\n", clean(&answer.operation)))?;
        console.note(format!(
            "follow it: quorate operation watch {}",
            clean(&answer.operation)
        ));
        return Ok(Exit::Ok);
    }
    let follow = Follow {
        console,
        context: &context,
        client,
        id: answer.operation,
        args: args.watch,
        leave,
    };
    follow.until_it_ends().await
}

pub async fn operation(session: &Session<'_>, command: OperationCommand) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    match command {
        OperationCommand::List(output) => {
            let request = ListOperationsRequest {};
            let answer = call(&context, SHORT, client.list_operations(request)).await?;
            show(session.console, output.output, &answer)?;
            Ok(Exit::Ok)
        }
        OperationCommand::Watch { id, watch } => {
            let follow = Follow {
                console: session.console,
                context: &context,
                client,
                id,
                args: watch,
                leave: watch::interrupt(),
            };
            follow.until_it_ends().await
        }
    }
}

/// A plan that may not be carried out: by a safety rule, or because the file is wrong.
fn refused(plan: &PlanResponse) -> Option<Exit> {
    if plan.refusals.is_empty() {
        None
    } else if plan.refusals.iter().any(exit::is_refusal) {
        Some(Exit::Refused)
    } else {
        Some(Exit::Failure)
    }
}

fn read(console: &Console, path: &Path) -> Outcome<PlanRequest> {
    let from_input = path == Path::new("-");
    let label = if from_input {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let text = if from_input {
        let bytes = console
            .read_input(MAX_FILE_BYTES + 1)
            .map_err(|error| Problem::new("input-failed", error.to_string()).at(label.clone()))?;
        files::decode(bytes, MAX_FILE_BYTES).map_err(|problem| problem.at(label.clone()))?
    } else {
        files::read_text(path, MAX_FILE_BYTES)?
    };
    let folder = match path.parent() {
        Some(folder) if !from_input && !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    attachments::collect(text, folder, &label).map_err(|problems| Failure {
        exit: Exit::Failure,
        problems,
        detail: Vec::new(),
    })
}
