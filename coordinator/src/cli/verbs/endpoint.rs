//! `quorate endpoint`: where a cluster is reached, and how it moves to another address.

use super::{Session, change, cluster};
use crate::cli::args::{
    DropArgs, EndpointChangeArgs, EndpointCommand, EndpointShowArgs, Format, RotateArgs,
};
use crate::cli::connect::{Client, LONG, SHORT, call};
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::output::show;
use crate::cli::render::endpoint;
use crate::cli::render::rotation::{address, from_to};
use crate::cli::text::clean;
use crate::cli::watch;
use quorate_proto::v1::{
    DropEndpointRequest, PlanRotationResponse, RepairEndpointRequest, RollBackEndpointRequest,
    RotateEndpointRequest, ShowEndpointRequest, ShowEndpointResponse,
};

pub async fn run(session: &Session<'_>, command: EndpointCommand) -> Outcome<Exit> {
    match command {
        EndpointCommand::Show(args) => show_endpoint(session, args).await,
        EndpointCommand::Rotate(args) => rotate(session, args).await,
        EndpointCommand::Rollback(args) => roll_back(session, args).await,
        EndpointCommand::Drop(args) => drop_old(session, args).await,
        EndpointCommand::Repair(args) => repair(session, args).await,
    }
}

async fn show_endpoint(session: &Session<'_>, args: EndpointShowArgs) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let named = args.name.or(args.cluster.cluster);
    let cluster = cluster(&context, &mut client, named).await?;
    let answer = look(&context, &mut client, &cluster).await?;
    show(session.console, args.output.output, &answer)?;
    Ok(if endpoint::in_line(&answer) {
        Exit::Ok
    } else {
        Exit::Pending
    })
}

async fn look(
    context: &Context,
    client: &mut Client,
    cluster: &str,
) -> Outcome<ShowEndpointResponse> {
    let request = ShowEndpointRequest {
        cluster: cluster.to_owned(),
    };
    call(context, SHORT, client.show_endpoint(request)).await
}

async fn rotate(session: &Session<'_>, args: RotateArgs) -> Outcome<Exit> {
    let console = session.console;
    let (context, mut client) = session.open().await?;
    let mut request = RotateEndpointRequest {
        cluster: cluster(&context, &mut client, args.cluster.cluster).await?,
        to: Some(args.to),
        external: args.external,
        soak_seconds: u32::try_from(args.soak.as_secs()).unwrap_or(u32::MAX),
        expected_revision: 0,
    };
    let plan = call(&context, LONG, client.plan_rotation(request.clone())).await?;
    let dry = args.dry_run.then(|| args.output.unwrap_or(Format::Table));
    if let Some(exit) = change::planned(console, &plan, &plan.refusals, dry, &args.change)? {
        return Ok(exit);
    }
    if plan.nothing_to_do {
        return Ok(Exit::Ok);
    }
    change::ask(console, "\nRotate the endpoint?", &args.change)?;
    request.expected_revision = plan.revision;
    let leave = watch::interrupt();
    let answer = call(&context, LONG, client.rotate_endpoint(request)).await?;
    let waits = !args.change.no_wait && !answer.nothing_to_do;
    let exit = change::follow(console, &context, client, answer, args.change, leave).await?;
    if exit == Exit::Ok && waits {
        afterwards(console, &plan);
    }
    Ok(exit)
}

/// What quorate cannot do: it is in files that it does not have.
fn afterwards(console: &Console, plan: &PlanRotationResponse) {
    let cluster = clean(&plan.cluster);
    console.note(format!(
        "Left to you:\n\
         \x20 the cluster file           endpoint: {}\n\
         \x20 what people connect with   quorate kubeconfig {cluster}\n\
         \x20 what is outside            quorate endpoint show {cluster}",
        address(plan.to.as_ref())
    ));
}

async fn roll_back(session: &Session<'_>, args: EndpointChangeArgs) -> Outcome<Exit> {
    let console = session.console;
    let (context, mut client) = session.open().await?;
    let cluster = cluster(&context, &mut client, args.cluster.cluster).await?;
    let answer = look(&context, &mut client, &cluster).await?;
    let mut shown = rotation_of(&answer);
    if let Some(rotation) = &answer.rotation {
        shown.push_str(&format!(
            "This goes back to {}, in the same careful order.\n",
            address(rotation.from.as_ref())
        ));
    }
    change::present(console, &shown, &args.change);
    change::ask(console, "\nRoll back?", &args.change)?;
    let leave = watch::interrupt();
    let request = RollBackEndpointRequest { cluster };
    let answer = call(&context, LONG, client.roll_back_endpoint(request)).await?;
    change::follow(console, &context, client, answer, args.change, leave).await
}

async fn drop_old(session: &Session<'_>, args: DropArgs) -> Outcome<Exit> {
    let console = session.console;
    let (context, mut client) = session.open().await?;
    let cluster = cluster(&context, &mut client, args.cluster.cluster).await?;
    let answer = look(&context, &mut client, &cluster).await?;
    let mut shown = rotation_of(&answer);
    if let Some(rotation) = &answer.rotation {
        // What a rollback is on its way from is the new address.
        let old = if rotation.rolling_back {
            &rotation.to
        } else {
            &rotation.from
        };
        shown.push_str(&format!(
            "This drops {} without the rest of the soak: who still dials it is not served, and there is no way back.\n",
            address(old.as_ref())
        ));
        if !rotation.behind.is_empty() {
            let nodes = rotation.behind.join(", ");
            shown.push_str(&format!(
                "{}: {}\n",
                if args.without_absent {
                    "It does not wait for"
                } else {
                    "It waits for (--without-absent does not)"
                },
                clean(&nodes)
            ));
        }
    }
    change::present(console, &shown, &args.change);
    change::ask(console, "\nDrop it now?", &args.change)?;
    let leave = watch::interrupt();
    let request = DropEndpointRequest {
        cluster,
        without_absent: args.without_absent,
    };
    let answer = call(&context, LONG, client.drop_endpoint(request)).await?;
    change::follow(console, &context, client, answer, args.change, leave).await
}

async fn repair(session: &Session<'_>, args: EndpointChangeArgs) -> Outcome<Exit> {
    let console = session.console;
    let (context, mut client) = session.open().await?;
    let cluster = cluster(&context, &mut client, args.cluster.cluster).await?;
    let answer = look(&context, &mut client, &cluster).await?;
    change::present(
        console,
        &endpoint::strays(&answer, &console.err_look()),
        &args.change,
    );
    change::ask(console, "\nBring them back in line?", &args.change)?;
    let leave = watch::interrupt();
    let request = RepairEndpointRequest { cluster };
    let answer = call(&context, LONG, client.repair_endpoint(request)).await?;
    change::follow(console, &context, client, answer, args.change, leave).await
}

/// Without one the coordinator refuses, and says why.
fn rotation_of(answer: &ShowEndpointResponse) -> String {
    let cluster = clean(&answer.cluster);
    match &answer.rotation {
        None => format!("No rotation is under way in {cluster}.\n"),
        Some(rotation) => format!(
            "The endpoint of {cluster} moves: {}, stage {}.\n",
            from_to(rotation.from.as_ref(), rotation.to.as_ref()),
            clean(&rotation.stage)
        ),
    }
}
