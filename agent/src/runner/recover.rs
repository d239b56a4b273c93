//! What becomes of an order that was under way when the agent stopped: pure, tested by a table.

use crate::journal::{Entry, State};
use quorate_proto::v1::Problem;
use std::time::Duration;

/// Starts of one order: one that takes the machine down with it must not do so for ever.
const MAX_ATTEMPTS: u32 = 3;

#[derive(Clone, Debug, PartialEq)]
pub enum Recovery {
    /// It still runs.
    Attach,
    Rerun,
    Interrupted(Problem),
    /// Its result carries a secret: the coordinator delivers it again.
    Forget,
    Nothing,
}

/// What is known of the machine when the agent comes back.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub unit_active: bool,
    /// The sealed part is still in memory; a reboot takes it away.
    pub sealed_there: bool,
    pub now_ms: i64,
}

pub fn recover(entry: &Entry, timeout: Duration, found: Found) -> Recovery {
    let (in_unit, sealed_result) = entry
        .order
        .action
        .as_ref()
        .map_or((false, false), |action| {
            (action.runs_in_unit(), action.result_is_sealed())
        });
    let started = match &entry.state {
        State::Finished { .. } => return Recovery::Nothing,
        State::Accepted => false,
        State::Running { .. } => true,
    };
    if started && in_unit && found.unit_active {
        return Recovery::Attach;
    }
    if sealed_result {
        return Recovery::Forget;
    }
    if started && !in_unit {
        // Membership changes are among these: what they did is to be observed before the next one.
        return interrupted("the agent stopped while it ran");
    }
    let age = u64::try_from(found.now_ms - entry.at).unwrap_or(0);
    if Duration::from_millis(age) > timeout {
        return interrupted("its time was over when the agent came back");
    }
    if entry.attempts >= MAX_ATTEMPTS {
        return interrupted("it was started several times and never came to an end");
    }
    if entry.sealed && !found.sealed_there {
        return interrupted(
            "the secrets that came with it are gone, as they are kept in memory only",
        );
    }
    Recovery::Rerun
}

fn interrupted(cause: &str) -> Recovery {
    Recovery::Interrupted(
        Problem::new("order-interrupted", "the order was interrupted")
            .because(cause)
            .next("none: the coordinator looks at the node and orders anew"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::order::Action;
    use quorate_proto::v1::{AddMember, ExportJoinMaterial, Install, Order, OrderResult};

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn entry(action: Action, state: State) -> Entry {
        let order = Order {
            action: Some(action),
            ..Order::default()
        };
        let mut entry = Entry::new(order, state);
        entry.at = 1_000_000;
        entry
    }

    fn name(recovery: &Recovery) -> &str {
        match recovery {
            Recovery::Attach => "attach",
            Recovery::Rerun => "rerun",
            Recovery::Interrupted(problem) => &problem.cause,
            Recovery::Forget => "forget",
            Recovery::Nothing => "nothing",
        }
    }

    #[test]
    fn table() {
        let running = || State::Running {
            unit: "u".to_owned(),
        };
        let install = |state| entry(Action::Install(Install::default()), state);
        let add = |state| entry(Action::AddMember(AddMember::default()), state);
        let export = |state| {
            entry(
                Action::ExportJoinMaterial(ExportJoinMaterial::default()),
                state,
            )
        };
        let finished = State::Finished {
            result: Box::new(OrderResult::default()),
        };
        let sealed = |mut entry: Entry| {
            entry.sealed = true;
            entry
        };
        let tried = |mut entry: Entry| {
            entry.attempts = MAX_ATTEMPTS;
            entry
        };
        let gone = Found {
            unit_active: false,
            sealed_there: false,
            now_ms: 1_010_000,
        };
        let active = Found {
            unit_active: true,
            ..gone
        };
        let kept = Found {
            sealed_there: true,
            ..gone
        };
        let late = Found {
            now_ms: 1_000_000 + 60_001,
            ..gone
        };
        let clock_back = Found { now_ms: 0, ..gone };
        let table = [
            (install(finished), gone, "nothing"),
            (install(running()), active, "attach"),
            (
                tried(install(running())),
                Found {
                    now_ms: i64::MAX,
                    ..active
                },
                "attach",
            ),
            (install(running()), gone, "rerun"),
            (install(running()), clock_back, "rerun"),
            (install(State::Accepted), gone, "rerun"),
            (install(running()), late, "its time was over"),
            (
                tried(install(running())),
                gone,
                "it was started several times",
            ),
            (
                sealed(install(running())),
                gone,
                "the secrets that came with it",
            ),
            (sealed(install(running())), kept, "rerun"),
            (add(State::Accepted), gone, "rerun"),
            (add(State::Accepted), late, "its time was over"),
            (add(running()), gone, "the agent stopped"),
            (export(State::Accepted), gone, "forget"),
            (export(running()), gone, "forget"),
        ];
        for (entry, found, expected) in table {
            let recovery = recover(&entry, TIMEOUT, found);
            assert!(
                name(&recovery).starts_with(expected),
                "{entry:?} {found:?}: {recovery:?}"
            );
        }
    }
}
