//! `quorate nodes`, `quorate node`, and the audit trail.

use super::{Session, leaving};
use crate::cli::args::{AuditArgs, NodeCommand, OutputArgs};
use crate::cli::confirm;
use crate::cli::connect::{SHORT, call};
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::output::show;
use crate::cli::text::clean;
use quorate_proto::v1::{ListAuditRequest, ListNodesRequest, RevokeNodeRequest};

pub async fn list(session: &Session<'_>, output: OutputArgs) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let answer = call(&context, SHORT, client.list_nodes(ListNodesRequest {})).await?;
    show(session.console, output.output, &answer)?;
    Ok(Exit::Ok)
}

pub async fn act(session: &Session<'_>, command: NodeCommand) -> Outcome<Exit> {
    match command {
        NodeCommand::Remove(args) => leaving::remove(session, args).await,
        NodeCommand::Replace(args) => leaving::replace(session, args).await,
        NodeCommand::Revoke { name, yes } => revoke(session, name, yes).await,
    }
}

async fn revoke(session: &Session<'_>, name: String, yes: bool) -> Outcome<Exit> {
    let what = format!(
        "This shuts the agent of {} out for good: it takes no orders until it is enrolled again.\n\
         What runs on the node, its cluster membership included, stays as it is.",
        clean(&name)
    );
    confirm::typed(session.console, &what, &name, yes)?;
    let (context, mut client) = session.open().await?;
    let request = RevokeNodeRequest { name: name.clone() };
    call(&context, SHORT, client.revoke_node(request)).await?;
    session.console.note(format!("{} is revoked", clean(&name)));
    Ok(Exit::Ok)
}

pub async fn audit(session: &Session<'_>, args: AuditArgs) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let request = ListAuditRequest { limit: args.limit };
    let answer = call(&context, SHORT, client.list_audit(request)).await?;
    show(session.console, args.output.output, &answer)?;
    Ok(Exit::Ok)
}
