//! Brings HAProxy to the ordered configuration without dropping a connection, and proves that the running process has it.
//!
//! - [`render`]: the configuration (pure); [`retire`]: which servers leave first (pure); [`backups`]: earlier files.

mod backups;
pub mod remove;
pub mod render;
mod retire;
#[cfg(test)]
mod tests;

use crate::context::{Context, Done, Outcome};
use crate::host::tool::Tool;
use crate::host::{files, service};
use crate::marks;
use crate::observe::load_balancer::socket;
use crate::paths::Paths;
use quorate_proto::v1::{ConfigureLoadBalancer, Problem};
use std::path::Path;
use std::time::{Duration, Instant};

pub const UNIT: &str = "haproxy.service";
const PROGRAM: &str = "/usr/sbin/haproxy";
/// Checking reads one file and resolves names.
const CHECK_WITHIN: Duration = Duration::from_secs(30);
/// A new process takes over within a second; a busy machine needs longer.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
/// Lines of HAProxy's own message that are worth showing.
const MESSAGE_LINES: usize = 8;

pub async fn run(context: &Context, order: &ConfigureLoadBalancer) -> Done {
    let paths = &context.paths;
    let text = render::render(order, render::Family::of(paths))?;
    let file = paths.at(render::FILE);
    let present = files::read_optional(&file)?;
    let same = present.as_deref() == Some(text.as_bytes());
    let known = marks::load(paths)?.load_balancer == order.digest;
    if same && known && serves(paths, order).await {
        return Ok(Outcome::done());
    }
    if !same {
        check(&file, &text).await?;
        take_out_retired(context, order).await;
        if let Some(present) = &present {
            backups::keep(&file, present)?;
        }
        files::write_atomic(&file, text.as_bytes(), 0o644)?;
    }
    if let Err(problem) = activate(context, order).await {
        restore(context, &file, present.as_deref()).await;
        return Err(problem);
    }
    marks::update(paths, |marks| marks.load_balancer.clone_from(&order.digest))?;
    Ok(Outcome::done())
}

/// HAProxy's own judgement, on a file beside the real one.
async fn check(file: &Path, text: &str) -> Result<(), Problem> {
    let draft = file.with_extension("cfg.quorate-draft");
    files::write_atomic(&draft, text.as_bytes(), 0o644)?;
    let output = Tool::new(PROGRAM)
        .args(["-c", "-f"])
        .arg(draft.display().to_string())
        .timeout(CHECK_WITHIN)
        .run()
        .await;
    files::remove(&draft)?;
    let output = output?;
    if output.success() {
        return Ok(());
    }
    Err(Problem::new(
        "load-balancer-invalid",
        "HAProxy does not accept the configuration; the old one stays",
    )
    .at(file.display().to_string())
    .because(output.tail(MESSAGE_LINES).join(" | "))
    .next("correct the load balancer's section of the cluster file"))
}

/// Servers that are to go get no new connection from here on, before their machines are touched; those that they have may end by
/// themselves. Best effort: without a running process there is nothing to take them out of.
async fn take_out_retired(context: &Context, order: &ConfigureLoadBalancer) {
    let Ok(rows) = socket::stats(&context.paths).await else {
        return;
    };
    for (proxy, server) in retire::retired(&rows, order) {
        context.say(format!("taking {server} out of {proxy}"));
        let command = format!("set server {proxy}/{server} state drain");
        if let Err(problem) = socket::ask(&context.paths, &command).await {
            tracing::warn!(%problem, "a server stays in until the reload");
        }
    }
}

/// Has the file taken over, and waits until the process that answers serves what it says.
async fn activate(context: &Context, order: &ConfigureLoadBalancer) -> Result<(), Problem> {
    let paths = &context.paths;
    let old = socket::process(paths).await.ok();
    service::enable(UNIT).await?;
    if service::active_state(UNIT).await? == "active" {
        context.say("reloading HAProxy");
        service::reload(UNIT).await?;
    } else {
        context.say("starting HAProxy");
        service::reset_failed(UNIT).await?;
        service::start(UNIT).await?;
    }
    let since = Instant::now();
    loop {
        let new = socket::process(paths).await.ok();
        if new.is_some() && new != old && serves(paths, order).await {
            return Ok(());
        }
        if since.elapsed() > TAKES_OVER_WITHIN || context.time_left() < POLL {
            return Err(not_taken_over().await);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether the running process has exactly the ordered servers.
async fn serves(paths: &Paths, order: &ConfigureLoadBalancer) -> bool {
    socket::stats(paths)
        .await
        .is_ok_and(|rows| retire::serves_exactly(&rows, order))
}

/// The old file again, so that HAProxy comes back with it after a reboot; the old process has never stopped.
async fn restore(context: &Context, file: &Path, present: Option<&[u8]>) {
    let restored = match present {
        Some(bytes) => files::write_atomic(file, bytes, 0o644),
        None => files::remove(file),
    };
    let reloaded = match service::active_state(UNIT).await {
        Ok(state) if state == "active" && present.is_some() => service::reload(UNIT).await,
        Ok(_) => Ok(()),
        Err(problem) => Err(problem),
    };
    for problem in [restored.err(), reloaded.err()].into_iter().flatten() {
        context.say(format!("the old configuration is not back: {problem}"));
    }
}

async fn not_taken_over() -> Problem {
    let log = Tool::new("journalctl")
        .args(["--unit", UNIT, "--lines", "8", "--no-pager", "--quiet"])
        .args(["--output", "cat"])
        .timeout(Duration::from_secs(10))
        .run()
        .await
        .map(|output| output.stdout)
        .unwrap_or_default();
    Problem::new(
        "load-balancer-not-taken-over",
        "HAProxy does not run with the new configuration; the old one is back",
    )
    .at(UNIT)
    .because(log.trim())
    .next("journalctl -u haproxy; a port that something else uses is the usual reason")
}
