//! A problem on the wire: a status with the whole problem in its details, and back.

use prost::Message;
use quorate_proto::v1::Problem;
use std::error::Error;
use tonic::{Code, Status};

/// Statuses travel in headers, which are bounded; nothing that helps a person is longer.
const MAX_PART: usize = 1500;

/// What a code that begins with a word means to the protocol. A code without such a word is a refusal.
const CODES: [(&str, Code); 17] = [
    ("conflict-", Code::Aborted),
    ("denied-", Code::PermissionDenied),
    ("exhausted-", Code::ResourceExhausted),
    ("exists-", Code::AlreadyExists),
    ("invalid-", Code::InvalidArgument),
    ("missing-", Code::NotFound),
    ("refused-", Code::FailedPrecondition),
    ("unauthenticated-", Code::Unauthenticated),
    ("unavailable-", Code::Unavailable),
    ("timeout-", Code::DeadlineExceeded),
    ("endpoint-malformed", Code::InvalidArgument),
    ("token-malformed", Code::InvalidArgument),
    ("store-locked", Code::Unavailable),
    ("store-", Code::Internal),
    ("file", Code::Internal),
    ("authority", Code::Internal),
    ("internal", Code::Internal),
];

pub fn to_status(problem: Problem) -> Status {
    let problem = shorten(problem);
    let found = CODES
        .iter()
        .find(|(word, _)| problem.code.starts_with(word));
    let code = found.map_or(Code::FailedPrecondition, |(_, code)| *code);
    let details = problem.encode_to_vec();
    Status::with_details(code, problem.what, details.into())
}

/// What a caller shows of a status: the coordinator's own problem, or the cause that the transport met.
pub fn problem(status: &Status) -> Problem {
    match Problem::decode(status.details()) {
        Ok(problem) if !problem.code.is_empty() => problem,
        Ok(_) | Err(_) => without_details(status),
    }
}

fn without_details(status: &Status) -> Problem {
    let mut causes = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = next {
        causes.push(error.to_string());
        next = error.source();
    }
    // The alert of the TLS layer is the last link of the chain, and what matters.
    let alert = causes.iter().find_map(|cause| known_alert(cause));
    if let Some((code, what, hint)) = alert {
        return Problem::new(code, what)
            .because(causes.pop().unwrap_or_default())
            .next(hint);
    }
    let cause = causes.pop().unwrap_or_default();
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled => Problem::new(
            "unavailable-coordinator",
            "the coordinator cannot be reached",
        )
        .because(if cause.is_empty() {
            status.message().to_owned()
        } else {
            cause
        })
        .next("systemctl status quorate-coordinator on the coordinator; check its address and the network"),
        Code::DeadlineExceeded => Problem::new(
            "timeout-coordinator",
            "the coordinator did not answer in time",
        ),
        Code::Unimplemented => Problem::new(
            "version-mismatch",
            "the coordinator does not know this call",
        )
        .next("install the same version of quorate on both sides"),
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Problem::new(
            "internal",
            format!("{:?}: {}", status.code(), status.message()),
        ),
    }
}

fn known_alert(cause: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let known = [
        (
            "CertificateRevoked",
            "unauthenticated-revoked",
            "your certificate was revoked",
            "ask an admin for a new one: quorate user create",
        ),
        (
            "CertificateExpired",
            "unauthenticated-expired",
            "your certificate has expired",
            "ask an admin for a new one: quorate user create",
        ),
        (
            "CertificateRequired",
            "unauthenticated-certificate",
            "the coordinator asks for a certificate",
            "check the context file",
        ),
        (
            "UnknownCA",
            "unauthenticated-authority",
            "the coordinator does not know the authority of your certificate",
            "check that the context file belongs to this coordinator",
        ),
        (
            "UnknownIssuer",
            "unauthenticated-coordinator",
            "the coordinator's certificate is of another authority",
            "check that the context file belongs to this coordinator",
        ),
    ];
    known
        .into_iter()
        .find(|(alert, ..)| cause.contains(alert))
        .map(|(_, code, what, next)| (code, what, next))
}

fn shorten(mut problem: Problem) -> Problem {
    let parts = [
        &mut problem.code,
        &mut problem.what,
        &mut problem.r#where,
        &mut problem.cause,
        &mut problem.next,
    ];
    for part in parts {
        if part.len() > MAX_PART {
            let end = (0..=MAX_PART).rev().find(|at| part.is_char_boundary(*at));
            part.truncate(end.unwrap_or_default());
            part.push_str(" ...");
        }
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole() {
        let sent = Problem::new("conflict-changed", "somebody was faster")
            .at("cluster/a")
            .because("ü")
            .next("try again");
        let status = to_status(sent.clone());
        assert_eq!(
            (status.code(), status.message()),
            (Code::Aborted, "somebody was faster")
        );
        assert_eq!(problem(&status), sent);
    }

    #[test]
    fn codes_by_their_first_word() {
        for (code, expected) in [
            ("denied-token", Code::PermissionDenied),
            ("missing-node", Code::NotFound),
            ("exhausted-disk", Code::ResourceExhausted),
            ("store-corrupt", Code::Internal),
            ("store-locked", Code::Unavailable),
            ("quorum-at-risk", Code::FailedPrecondition),
        ] {
            assert_eq!(to_status(Problem::new(code, "")).code(), expected, "{code}");
        }
    }

    #[test]
    fn headers_stay_small() {
        let status = to_status(Problem::new("x", "ü".repeat(100_000)).because("y".repeat(100_000)));
        assert!(status.details().len() < 4 * MAX_PART);
        assert!(problem(&status).what.ends_with("ü ..."));
    }

    #[test]
    fn a_status_of_the_transport_gets_a_next_step() {
        let away = problem(&Status::unavailable("connection refused"));
        assert_eq!(away.code, "unavailable-coordinator");
        assert_eq!(away.cause, "connection refused");
        assert!(
            away.next
                .starts_with("systemctl status quorate-coordinator "),
            "the unit's own name: {away}"
        );
        assert_eq!(problem(&Status::unimplemented("")).code, "version-mismatch");
    }
}
