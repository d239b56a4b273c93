//! Waits until what is on disk is what is served.

use super::subject::Serving;
use crate::context::Context;
use crate::kube::serving::{Served, look};
use quorate_pki::inspect_pem;
use quorate_proto::v1::Problem;
use std::time::{Duration, Instant};

/// kube-apiserver notices a changed file at once, or at its look at all of them every 60 s. etcd reads its pair at each handshake.
const SERVED_WITHIN: Duration = Duration::from_secs(90);
/// One handshake on this machine.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Between two of them: most changes are taken up within that time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub async fn served(context: &Context, serving: &Serving) -> Result<(), Problem> {
    let (text, _) = serving.pair.read()?;
    let wanted = inspect_pem(&text)
        .ok()
        .and_then(|all| all.into_iter().next())
        .ok_or_else(|| super::missing(&serving.pair.certificate().display().to_string()))?;
    let host = serving.address.ip().to_string();
    let end = Instant::now() + SERVED_WITHIN.min(context.time_left());
    loop {
        let seen = look(serving.address, &host, HANDSHAKE).await;
        if seen
            .as_ref()
            .is_ok_and(|it| it.info.fingerprint == wanted.fingerprint)
        {
            return Ok(());
        }
        if Instant::now() + LOOK_EVERY >= end {
            return Err(unserved(serving, seen));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn unserved(serving: &Serving, seen: Result<Served, Problem>) -> Problem {
    let problem = Problem::new(
        "certificate-not-served",
        "the new certificate is on disk, and the server does not present it",
    )
    .at(serving.address.to_string());
    let problem = match seen {
        Err(silent) => problem.because(format!("{}; it may be down", silent.what)),
        Ok(served) => problem.because(format!(
            "it presents the one with serial {} still; its file watch may be stuck",
            served.info.serial
        )),
    };
    problem.next("look at the server's log on the node, restart it if it does not come to it, and order again")
}
