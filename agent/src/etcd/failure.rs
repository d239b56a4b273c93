//! Every way a call to etcd can fail, and how it is told to a person.

use super::EtcdRefusal;
use quorate_proto::v1::Problem;
use std::error::Error;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdFailure {
    /// etcd answered with a refusal.
    Refused {
        refusal: EtcdRefusal,
        text: String,
        member: String,
    },
    /// The connection failed or broke: a call on its way may have had its effect.
    Unreachable { text: String, member: String },
    /// No answer in time: the call may have had its effect.
    NoAnswer { within: Duration, member: String },
}

impl EtcdFailure {
    pub fn from_status(status: &tonic::Status, member: &str) -> Self {
        let text = with_causes(status);
        match EtcdRefusal::classify(status.message()) {
            Some(refusal) => EtcdFailure::Refused {
                refusal,
                text: status.message().to_owned(),
                member: member.to_owned(),
            },
            None => EtcdFailure::Unreachable {
                text,
                member: member.to_owned(),
            },
        }
    }

    pub fn refusal(&self) -> Option<EtcdRefusal> {
        match self {
            EtcdFailure::Refused { refusal, .. } => Some(*refusal),
            EtcdFailure::Unreachable { .. } | EtcdFailure::NoAnswer { .. } => None,
        }
    }

    /// Whether the same call may succeed in a moment, with nothing done by anybody.
    pub fn passes(&self) -> bool {
        match self {
            EtcdFailure::Refused { refusal, .. } => refusal.passes(),
            EtcdFailure::Unreachable { .. } | EtcdFailure::NoAnswer { .. } => true,
        }
    }

    pub fn problem(&self) -> Problem {
        match self {
            EtcdFailure::Refused {
                refusal,
                text,
                member,
            } => refused(*refusal, text).at(member),
            EtcdFailure::Unreachable { text, member } => {
                Problem::new("etcd-unreachable", format!("etcd does not answer: {text}"))
                    .at(member)
                    .because(unreachable_cause(text))
                    .next("look at etcd's log on that node")
            }
            EtcdFailure::NoAnswer { within, member } => Problem::new(
                "etcd-no-answer",
                format!("etcd did not answer within {} ms", within.as_millis()),
            )
            .at(member)
            .because("the cluster has no quorum, or the disk is slow")
            .next("check that a majority of the members run and reach each other"),
        }
    }
}

fn refused(refusal: EtcdRefusal, text: &str) -> Problem {
    let (cause, next) = match refusal {
        EtcdRefusal::NotEnoughStarted => (
            "a member that was added has not started",
            "start that member or remove it",
        ),
        EtcdRefusal::Unhealthy => (
            "a voter is down, or became active less than 5 s ago",
            "bring every voter up, then try again",
        ),
        EtcdRefusal::TooManyLearners => (
            "a learner of an earlier join is still there",
            "let that join end, or remove the learner",
        ),
        EtcdRefusal::LearnerNotReady => (
            "the learner still receives the data",
            "wait, or look at the learner's log",
        ),
        EtcdRefusal::LearnerCannotServe => (
            "the member that was asked is a learner",
            "ask a voter instead",
        ),
        EtcdRefusal::NoLeader | EtcdRefusal::OutcomeUnknown | EtcdRefusal::NotLeader => (
            "the members elect a leader, or have no quorum",
            "check that a majority of the members run and reach each other",
        ),
        EtcdRefusal::NoSpace => (
            "the database reached its quota",
            "compact, defragment and disarm the alarm",
        ),
        EtcdRefusal::Corrupt => (
            "members hold different data",
            "replace the member that the alarm names",
        ),
        EtcdRefusal::NotALearner
        | EtcdRefusal::PeerUrlExists
        | EtcdRefusal::MemberExists
        | EtcdRefusal::MemberNotFound
        | EtcdRefusal::Other => ("", "look at the members as they are now"),
    };
    Problem::new("etcd-refused", format!("etcd refused: {text}"))
        .because(cause)
        .next(next)
}

/// tonic says "transport error" and keeps what happened in the chain below.
fn with_causes(status: &tonic::Status) -> String {
    let mut parts = vec![status.message().to_owned()];
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        cause = error.source();
    }
    parts.retain(|part| !part.is_empty() && part != "transport error");
    if parts.is_empty() {
        return status.code().to_string();
    }
    parts.join(": ")
}

fn unreachable_cause(text: &str) -> &'static str {
    for (part, cause) in [
        ("Connection refused", "etcd does not run there"),
        ("No route to host", "the host is down or cut off"),
        (
            "UnknownIssuer",
            "etcd shows a certificate of another cluster",
        ),
        (
            "NotValidForName",
            "etcd's certificate does not name this address",
        ),
        ("Expired", "a certificate has expired, or a clock is wrong"),
        (
            "BadCertificate",
            "etcd does not accept our client certificate",
        ),
        ("UnknownCA", "etcd does not accept our client certificate"),
        (
            "CertificateRequired",
            "etcd does not accept our client certificate",
        ),
        ("connection timed out", "the host is down or drops packets"),
        ("deadline has elapsed", "the host is down or drops packets"),
    ] {
        if text.contains(part) {
            return cause;
        }
    }
    "the member is down, restarts, or cannot be reached"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_and_transport_are_told_apart() {
        let refused = EtcdFailure::from_status(
            &tonic::Status::unavailable("etcdserver: unhealthy cluster"),
            "10.0.0.1:2379",
        );
        assert_eq!(refused.refusal(), Some(EtcdRefusal::Unhealthy));
        assert!(!refused.passes());
        let problem = refused.problem();
        assert_eq!(problem.code, "etcd-refused");
        assert_eq!(problem.r#where, "10.0.0.1:2379");
        assert!(problem.what.contains("unhealthy cluster"), "{problem}");

        let broken = std::io::Error::other("Connection refused (os error 111)");
        let status = tonic::Status::from_error(Box::new(broken));
        let down = EtcdFailure::from_status(&status, "10.0.0.1:2379");
        assert_eq!(down.refusal(), None);
        assert!(down.passes());
        let problem = down.problem();
        assert_eq!(problem.code, "etcd-unreachable");
        assert_eq!(problem.cause, "etcd does not run there", "{problem}");
    }
}
