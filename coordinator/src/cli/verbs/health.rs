//! `quorate status` and `quorate check`.

use super::Session;
use crate::cli::args::{CheckArgs, StatusArgs};
use crate::cli::connect::{LONG, SHORT, call};
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::output;
use crate::cli::render::{check, status};
use crate::cli::text::units::rfc3339;
use crate::cli::watch;
use crate::clock;
use quorate_proto::v1::{CheckRequest, StatusRequest};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Between two drawings: status has no stream, and people read no faster.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Home, then clear what is below: no flicker as with clearing first.
const HOME: &str = "\x1b[H";
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_LINE_END: &str = "\x1b[K\n";

pub async fn status(session: &Session<'_>, args: StatusArgs) -> Outcome<Exit> {
    let request = StatusRequest {
        cluster: args.cluster.clone().unwrap_or_default(),
    };
    if args.watch {
        return watch_status(session, &args, request).await;
    }
    let (context, mut client) = session.open().await?;
    let answer = call(&context, SHORT, client.status(request)).await?;
    output::show(session.console, args.output.output, &answer)?;
    Ok(if status::all_healthy(&answer) {
        Exit::Ok
    } else {
        Exit::Pending
    })
}

/// Until Ctrl-C. A coordinator that is away for a moment does not end it.
async fn watch_status(
    session: &Session<'_>,
    args: &StatusArgs,
    request: StatusRequest,
) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let console = session.console;
    let mut leave = watch::interrupt();
    let mut ticks = interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut healthy = true;
    loop {
        let answer = tokio::select! {
            answer = async {
                ticks.tick().await;
                call(&context, SHORT, client.status(request.clone())).await
            } => answer,
            () = &mut leave => break,
        };
        match answer {
            Ok(answer) => {
                healthy = status::all_healthy(&answer);
                let text = output::text(console, args.output.output, &answer)?;
                console.data(&frame(&text, console.redraws, clock::unix_ms()))?;
            }
            Err(failure) if failure.exit == Exit::Unreachable => console.complain(&failure),
            Err(failure) => return Err(failure),
        }
    }
    Ok(if healthy { Exit::Ok } else { Exit::Pending })
}

fn frame(text: &str, redraw: bool, now_ms: i64) -> String {
    let time = rfc3339(now_ms);
    if redraw {
        let lines = format!("{time}\n\n{text}").replace('\n', CLEAR_LINE_END);
        format!("{HOME}{lines}{CLEAR_BELOW}")
    } else {
        format!("{time}\n{text}\n")
    }
}

pub async fn check(session: &Session<'_>, args: CheckArgs) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let request = CheckRequest {
        cluster: args.cluster.unwrap_or_default(),
    };
    let answer = call(&context, LONG, client.check(request)).await?;
    output::show(session.console, args.output.output, &answer)?;
    Ok(if check::all_well(&answer.lines) {
        Exit::Ok
    } else {
        Exit::Pending
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(
            frame("a\nb\n", false, 1_795_225_380_000),
            "2026-11-21T01:43:00Z\na\nb\n\n"
        );
        let drawn = frame("a\n", true, 1_795_225_380_000);
        assert_eq!(
            drawn,
            "\x1b[H2026-11-21T01:43:00Z\x1b[K\n\x1b[K\na\x1b[K\n\x1b[J"
        );
    }
}
