//! `quorate cluster stop` and `quorate cluster start`.

use super::snapshot::TAKING;
use super::{Session, change};
use crate::cli::args::{ClusterCommand, Format, PowerArgs};
use crate::cli::connect::{LONG, call};
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::text::clean;
use crate::cli::watch;
use quorate_proto::v1::PowerRequest;

pub async fn run(session: &Session<'_>, command: ClusterCommand) -> Outcome<Exit> {
    match command {
        ClusterCommand::Stop(args) => {
            let request = PowerRequest {
                cluster: args.cluster,
                on: false,
                without_snapshot: args.no_snapshot,
            };
            set(session, request, args.power).await
        }
        ClusterCommand::Start(args) => {
            let request = PowerRequest {
                cluster: args.cluster,
                on: true,
                without_snapshot: false,
            };
            set(session, request, args.power).await
        }
    }
}

async fn set(session: &Session<'_>, request: PowerRequest, args: PowerArgs) -> Outcome<Exit> {
    let console = session.console;
    let (context, mut client) = session.open().await?;
    let plan = call(&context, LONG, client.plan_power(request.clone())).await?;
    let dry = args.dry_run.then(|| args.output.unwrap_or(Format::Table));
    if let Some(exit) = change::planned(console, &plan, &plan.refusals, dry, &args.change)? {
        return Ok(exit);
    }
    if plan.nothing_to_do {
        return Ok(Exit::Ok);
    }
    let verb = if request.on { "Start" } else { "Stop" };
    let question = format!("\n{verb} {}?", clean(&plan.cluster));
    change::ask(console, &question, &args.change)?;
    let leave = watch::interrupt();
    let answer = call(&context, TAKING, client.set_power(request)).await?;
    change::follow(console, &context, client, answer, args.change, leave).await
}
