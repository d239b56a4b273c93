//! `quorate user`. The key of a new one is made here and stays here.

use super::Session;
use crate::cli::args::{UserCommand, UserRole};
use crate::cli::connect::{SHORT, call};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::text::{clean, units};
use crate::cli::{confirm, files};
use quorate_pki::KeyRequest;
use quorate_proto::v1::{CreateUserRequest, Problem, RevokeUserRequest};
use std::path::Path;
use std::time::Duration;

pub async fn run(session: &Session<'_>, command: UserCommand) -> Outcome<Exit> {
    match command {
        UserCommand::Create {
            name,
            role,
            ttl,
            output,
            force,
        } => {
            // Before a certificate is issued that could not be kept.
            if output.exists() && !force {
                return Err(files::exists(&output).into());
            }
            create(session, &name, role, ttl, &output, force).await
        }
        UserCommand::Revoke { name, yes } => revoke(session, name, yes).await,
    }
}

async fn revoke(session: &Session<'_>, name: String, yes: bool) -> Outcome<Exit> {
    let what = format!(
        "This shuts {} out, with every certificate of that name.",
        clean(&name)
    );
    confirm::typed(session.console, &what, &name, yes)?;
    let (context, mut client) = session.open().await?;
    let request = RevokeUserRequest { name: name.clone() };
    call(&context, SHORT, client.revoke_user(request)).await?;
    session.console.note(format!("{} is revoked", clean(&name)));
    Ok(Exit::Ok)
}

async fn create(
    session: &Session<'_>,
    name: &str,
    role: UserRole,
    ttl: Duration,
    output: &Path,
    force: bool,
) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let key = make_key()?;
    let request = CreateUserRequest {
        name: name.to_owned(),
        role: role.name().to_owned(),
        csr_pem: key.csr_pem.clone(),
        validity_seconds: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
    };
    let answer = call(&context, SHORT, client.create_user(request)).await?;
    let made = Context {
        name: name.to_owned(),
        server: context.server.clone(),
        ca_pem: answer.ca_bundle_pem,
        cert_pem: answer.certificate_pem,
        key_pem: key.key_pem,
    };
    files::write_private(output, made.to_file_text().as_bytes(), force)?;
    let path = output.display().to_string();
    session.console.note(format!(
        "{} may act as {} for {}\nuse it: quorate --context {} status, or as ~/.config/quorate/context.yaml",
        clean(name),
        role.name(),
        units::duration(ttl),
        clean(&path),
    ));
    Ok(Exit::Ok)
}

pub fn make_key() -> Result<KeyRequest, Problem> {
    KeyRequest::generate().map_err(|error| Problem::new("key-failed", error.to_string()))
}
