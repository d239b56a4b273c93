//! Exit codes, which scripts rely on.

use quorate_proto::v1::Problem;
use tonic::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    Failure,
    Usage,
    /// Changes are pending, or something is not healthy.
    Pending,
    Unreachable,
    /// A safety rule said no; nothing was changed.
    Refused,
    /// The time was up or the watcher left; the operation goes on.
    StillRunning,
    /// Refused: a removal would cost the quorum.
    Quorum,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Pending => 3,
            Exit::Unreachable => 4,
            Exit::Refused => 5,
            Exit::StillRunning => 6,
            Exit::Quorum => 7,
        }
    }

    /// From what the coordinator answered.
    pub fn of(code: Code, problem: &Problem) -> Exit {
        if is_quorum_loss(problem) {
            return Exit::Quorum;
        }
        // Aborted: somebody else was faster, and so nothing was done.
        if is_refusal(problem) || code == Code::Aborted {
            Exit::Refused
        } else if code == Code::Unavailable {
            Exit::Unreachable
        } else if code == Code::DeadlineExceeded {
            Exit::StillRunning
        } else {
            Exit::Failure
        }
    }
}

/// Problems of safety rules carry codes that begin so.
pub fn is_refusal(problem: &Problem) -> bool {
    problem.code.starts_with("refused")
}

/// A removal that the members left could not decide without.
pub fn is_quorum_loss(problem: &Problem) -> bool {
    problem.code == "refused-quorum-loss"
}

/// Part of `--help` and of the manual.
pub const HELP: &str = "\
Exit codes:
  0  done, or nothing to do
  1  failed
  2  wrong usage
  3  changes are pending, or something is not healthy
  4  the coordinator cannot be reached
  5  refused by a safety rule; nothing was changed
  6  not finished in time or detached; the operation goes on
  7  refused: without the node the cluster would lose its quorum

Environment:
  QUORATE_CONTEXT  file with the coordinator's address and your certificate
  NO_COLOR, CLICOLOR_FORCE, TERM=dumb  as usual";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_exit_codes() {
        for (code, problem, want) in [
            (Code::InvalidArgument, "file-invalid", 1),
            (Code::NotFound, "cluster-unknown", 1),
            (Code::PermissionDenied, "role-insufficient", 1),
            (Code::Internal, "store-failed", 1),
            (Code::Unavailable, "", 4),
            (Code::DeadlineExceeded, "", 6),
            (Code::FailedPrecondition, "refused-conflict", 5),
            (Code::FailedPrecondition, "cluster-not-ready", 1),
            (Code::Aborted, "conflict-changed", 5),
            (Code::InvalidArgument, "refused-omission", 5),
            (Code::Unavailable, "refused-quorum", 5),
            (Code::FailedPrecondition, "refused-quorum-loss", 7),
        ] {
            let exit = Exit::of(code, &Problem::new(problem, "x"));
            assert_eq!(exit.code(), want, "{code:?} {problem}");
        }
    }

    #[test]
    fn help_lists_every_code() {
        for exit in [
            Exit::Ok,
            Exit::Failure,
            Exit::Usage,
            Exit::Pending,
            Exit::Unreachable,
            Exit::Refused,
            Exit::StillRunning,
            Exit::Quorum,
        ] {
            assert!(HELP.contains(&format!("\n  {}  ", exit.code())));
        }
    }
}
