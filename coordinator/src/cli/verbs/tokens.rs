//! `quorate token`.

use super::Session;
use crate::cli::args::TokenCommand;
use crate::cli::connect::{SHORT, call};
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::output::show;
use crate::cli::text::clean;
use crate::cli::text::units::{ms, relative, rfc3339};
use quorate_proto::v1::{CreateTokenRequest, ListTokensRequest, RevokeTokenRequest};
use std::time::Duration;

pub async fn run(session: &Session<'_>, command: TokenCommand) -> Outcome<Exit> {
    match command {
        TokenCommand::Create { node, ttl } => create(session, node, ttl).await,
        TokenCommand::List(output) => {
            let (context, mut client) = session.open().await?;
            let answer = call(&context, SHORT, client.list_tokens(ListTokensRequest {})).await?;
            show(session.console, output.output, &answer)?;
            Ok(Exit::Ok)
        }
        TokenCommand::Revoke { id } => {
            let (context, mut client) = session.open().await?;
            let request = RevokeTokenRequest { id: id.clone() };
            call(&context, SHORT, client.revoke_token(request)).await?;
            session
                .console
                .note(format!("token {} is revoked", clean(&id)));
            Ok(Exit::Ok)
        }
    }
}

async fn create(session: &Session<'_>, node: Option<String>, ttl: Duration) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let request = CreateTokenRequest {
        node: node.clone().unwrap_or_default(),
        ttl_seconds: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
    };
    let answer = call(&context, SHORT, client.create_token(request)).await?;
    let console = session.console;
    let who = match &node {
        Some(node) => format!("on {}", clean(node)),
        None => "on the new node".to_owned(),
    };
    console.note(format!("Run this {who}; it works once:"));
    console.data(&format!(
        "sudo quorate-agent enroll {}\n",
        clean(&answer.token)
    ))?;
    let end = ms(answer.expires_unix);
    console.note(format!(
        "token {} expires {} ({})\nsee it arrive: quorate nodes",
        clean(&answer.id),
        relative(console.err_look().now_ms, end),
        rfc3339(end)
    ));
    Ok(Exit::Ok)
}
