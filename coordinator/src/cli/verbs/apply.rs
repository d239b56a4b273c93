//! `quorate plan`, `quorate apply` and `quorate operation`.

use super::{Session, change};
use crate::cli::args::{ApplyArgs, Format, OperationCommand, PlanArgs};
use crate::cli::attachments::{self, MAX_FILE_BYTES};
use crate::cli::connect::{LONG, SHORT, call};
use crate::cli::console::Console;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::files;
use crate::cli::output::show;
use crate::cli::render::Show;
use crate::cli::text::clean;
use crate::cli::watch::{self, Follow};
use quorate_proto::v1::{ApplyRequest, ListOperationsRequest, PlanRequest, Problem};
use std::path::Path;

pub async fn plan(session: &Session<'_>, args: PlanArgs) -> Outcome<Exit> {
    let request = read(session.console, &args.file.file)?;
    let (context, mut client) = session.open().await?;
    let plan = call(&context, LONG, client.plan(request)).await?;
    show(session.console, args.output.output, &plan)?;
    if let Some(exit) = change::refused(&plan.refusals) {
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
    if let Some(exit) = change::refused(&plan.refusals) {
        console.say(shown.trim_end());
        return Ok(exit);
    }
    change::present(console, &shown, &args.change);
    if plan.nothing_to_do {
        return Ok(Exit::Ok);
    }
    change::ask(console, "\nApply this plan?", &args.change)?;
    let leave = watch::interrupt();
    let request = ApplyRequest {
        plan: Some(request),
        expected_revision: plan.revision,
    };
    let answer = call(&context, LONG, client.apply(request)).await?;
    change::follow(console, &context, client, answer, args.change, leave).await
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
