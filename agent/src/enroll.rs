//! Turns a join token into an identity. The key is made here and stays here; the server is checked before the token is sent.

use crate::daemon::not_enrolled;
use crate::host::{files, service};
use crate::identity::{AgentIdentity, Granted, merge_endpoints};
use crate::link::dial;
use crate::link::failure::Failure;
use crate::paths::Paths;
use quorate_pki::KeyRequest;
use quorate_proto::limits::MAX_ENROLL_BYTES;
use quorate_proto::token::{JoinToken, is_dns_name, parse_endpoint};
use quorate_proto::v1::enrollment_client::EnrollmentClient;
use quorate_proto::v1::{EnrollRequest, EnrollResponse, Problem};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tonic::{Code, Status};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Tries of one enrolment: a lost answer is asked for again with the same key.
const ATTEMPTS: u32 = 3;
/// Between them.
const PAUSE: Duration = Duration::from_secs(1);
/// One answer: signing takes milliseconds, a busy coordinator some seconds.
const TIMEOUT: Duration = Duration::from_secs(30);
const SERVICE: &str = "quorate-agent.service";

pub struct Options {
    pub name: Option<String>,
    /// Replace an identity that is there, with all that belonged to it.
    pub force: bool,
}

/// The key of an enrolment under way: the same token is good for the same key when the answer was lost.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Pending {
    token_id: String,
    key_pem: String,
    csr_pem: String,
}

pub async fn enroll(
    paths: &Paths,
    token: &JoinToken,
    options: Options,
) -> Result<AgentIdentity, Problem> {
    if !options.force && paths.identity().exists() {
        return Err(Problem::new("already-enrolled", "this node is enrolled already")
            .at(paths.identity().display().to_string())
            .next("see it with: quorate-agent status; replace it with: quorate-agent enroll --force TOKEN"));
    }
    let name = node_name(paths, token, options.name)?;
    let request = pending_key(paths, token)?;
    let answer = ask(paths, token, &name, &request.csr_pem).await?;
    let granted = Granted {
        certificate_pem: answer.certificate_pem,
        ca_bundle_pem: answer.ca_bundle_pem,
    };
    let identity = AgentIdentity::assemble(
        answer.node_id,
        answer.node_name,
        token.addresses().into_iter().map(|it| it.session).collect(),
        request.key_pem,
        granted,
    )?;
    if options.force {
        stop_daemon().await?;
        forget_earlier(paths)?;
    }
    identity.save(paths)?;
    files::remove(&pending_file(paths))?;
    Ok(identity)
}

/// Other addresses of the same coordinator: who is there still has to show a certificate of its authority. Returns all that are
/// known now, in the order in which they are dialled.
pub async fn lead_to(paths: &Paths, addresses: &[String]) -> Result<Vec<String>, Problem> {
    let mut identity = AgentIdentity::load(paths)?.ok_or_else(not_enrolled)?;
    for address in addresses {
        parse_endpoint(address)?;
    }
    identity.endpoints = merge_endpoints(&identity.endpoints, addresses);
    // The daemon writes the identity too.
    stop_daemon().await?;
    identity.save(paths)?;
    Ok(identity.endpoints)
}

/// Has the daemon take up the new identity, where systemd runs.
pub async fn restart_daemon() -> Result<bool, Problem> {
    if !sd_notify::booted().unwrap_or(false) {
        return Ok(false);
    }
    service::restart(SERVICE).await.map(|()| true)
}

/// So that nothing writes what is about to be forgotten.
async fn stop_daemon() -> Result<(), Problem> {
    if sd_notify::booted().unwrap_or(false) {
        service::stop(SERVICE).await?;
    }
    Ok(())
}

async fn ask(
    paths: &Paths,
    token: &JoinToken,
    name: &str,
    csr_pem: &str,
) -> Result<EnrollResponse, Problem> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let request = EnrollRequest {
            token_id: token.id.clone(),
            token_secret: token.secret.to_string(),
            csr_pem: csr_pem.to_owned(),
            node_name: name.to_owned(),
            machine_id: crate::observe::host::machine_id(paths),
        };
        // Whichever address answers: it is the same coordinator behind all of them.
        for address in token.addresses() {
            match ask_once(&token.pin, &address.enroll, request.clone()).await {
                Ok(answer) => return Ok(answer),
                Err((problem, false)) => return Err(problem),
                Err((problem, true)) => last = Some(problem),
            }
        }
    }
    Err(last.unwrap_or_else(|| Problem::new("enroll", "no attempt was made")))
}

/// The flag says whether another try makes sense.
async fn ask_once(
    pin: &str,
    endpoint: &str,
    request: EnrollRequest,
) -> Result<EnrollResponse, (Problem, bool)> {
    let config = quorate_pki::pinned_client_config(pin).map_err(|error| {
        let problem = Problem::new("token-malformed", "the token's pin cannot be used");
        (problem.because(error.to_string()), false)
    })?;
    // The handshake is complete, and with it the check of the pin, before anything is sent.
    let channel = dial::connect(endpoint, config).await.map_err(|failure| {
        let passing = failure.problem.code == "coordinator-unreachable";
        (failure.problem, passing)
    })?;
    let mut client = EnrollmentClient::new(channel)
        .max_encoding_message_size(MAX_ENROLL_BYTES)
        .max_decoding_message_size(MAX_ENROLL_BYTES);
    match tokio::time::timeout(TIMEOUT, client.enroll(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => {
            let passing = Failure::is_passing(&status);
            Err((refused(endpoint, &status), passing))
        }
        Err(_) => {
            let problem = Problem::new("coordinator-silent", "the coordinator did not answer");
            Err((problem.at(endpoint), true))
        }
    }
}

fn refused(endpoint: &str, status: &Status) -> Problem {
    let new_token = "make a new one on the coordinator: quorate token create";
    if matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied | Code::NotFound | Code::FailedPrecondition
    ) {
        return Problem::new("token-refused", "the coordinator refuses the token")
            .at(endpoint)
            .because(status.message())
            .next(format!("tokens expire and work once; {new_token}"));
    }
    Failure::of_status(endpoint, status).problem
}

fn node_name(paths: &Paths, token: &JoinToken, asked: Option<String>) -> Result<String, Problem> {
    let fixed = (!token.node.is_empty()).then(|| token.node.clone());
    if let (Some(fixed), Some(asked)) = (&fixed, &asked)
        && fixed != asked
    {
        return Err(Problem::new(
            "token-of-another-node",
            format!("the token is for the node {fixed}, not {asked}"),
        )
        .next(
            "leave out --name, or make a token for this node: quorate token create --node NAME",
        ));
    }
    let name = fixed
        .or(asked)
        .unwrap_or_else(|| crate::observe::host::hostname(paths).to_ascii_lowercase());
    if is_dns_name(&name) {
        return Ok(name);
    }
    Err(
        Problem::new("node-name", format!("{name:?} is no name for a node"))
            .because("a name consists of lower-case letters, digits, hyphens and dots")
            .next("give one with --name"),
    )
}

fn pending_key(paths: &Paths, token: &JoinToken) -> Result<KeyRequest, Problem> {
    let file = pending_file(paths);
    if let Some(bytes) = files::read_optional(&file)?.map(Zeroizing::new)
        && let Ok(pending) = serde_json::from_slice::<Pending>(&bytes)
        && pending.token_id == token.id
    {
        return Ok(KeyRequest {
            key_pem: Zeroizing::new(pending.key_pem.clone()),
            csr_pem: pending.csr_pem.clone(),
        });
    }
    let fail = |cause: String| Problem::new("key", "cannot make a key").because(cause);
    let request = KeyRequest::generate().map_err(|error| fail(error.to_string()))?;
    let pending = Pending {
        token_id: token.id.clone(),
        key_pem: request.key_pem.to_string(),
        csr_pem: request.csr_pem.clone(),
    };
    let bytes = serde_json::to_vec(&pending)
        .map(Zeroizing::new)
        .map_err(|_| fail("it cannot be written".to_owned()))?;
    files::write_atomic(&file, &bytes, 0o600)?;
    Ok(request)
}

/// Orders and fence of an earlier coordinator mean nothing to the next one.
fn forget_earlier(paths: &Paths) -> Result<(), Problem> {
    files::remove_tree(&paths.journal())?;
    files::remove(&paths.state().join("fence.json"))
}

fn pending_file(paths: &Paths) -> std::path::PathBuf {
    paths.state().join("enroll-pending.json")
}

#[cfg(test)]
mod tests;
