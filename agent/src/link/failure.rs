//! Errors of the network by name: what the transport reports as "transport error" has its cause some levels down.

use quorate_pki::PkiError;
use quorate_proto::v1::Problem;
use rustls::{AlertDescription, CertificateError, Error as TlsError, OtherError};
use std::error::Error;
use std::io;
use std::time::Duration;
use tonic::{Code, Status};

/// Set by a coordinator that is busy.
pub const RETRY_AFTER: &str = "retry-after-ms";

#[derive(Debug)]
pub struct Failure {
    pub problem: Problem,
    pub retry_after: Option<Duration>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure {
            problem,
            retry_after: None,
        }
    }
}

impl Failure {
    pub fn of_transport(endpoint: &str, error: &tonic::transport::Error) -> Self {
        of_source(error)
            .unwrap_or_else(|| unreachable(&error.to_string()))
            .at(endpoint)
            .into()
    }

    pub fn of_status(endpoint: &str, status: &Status) -> Self {
        let below = status.source().and_then(of_source);
        let retry_after = status
            .metadata()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok())
            .map(Duration::from_millis);
        Failure {
            problem: below.unwrap_or_else(|| of_code(status)).at(endpoint),
            retry_after,
        }
    }

    /// Whether the same call may succeed a moment later.
    pub fn is_passing(status: &Status) -> bool {
        matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled
        )
    }
}

fn of_code(status: &Status) -> Problem {
    let code = match status.code() {
        Code::Unauthenticated => "not-authenticated",
        Code::PermissionDenied => "not-permitted",
        Code::Unavailable => "coordinator-unavailable",
        Code::ResourceExhausted => "coordinator-busy",
        Code::Unimplemented => "version-mismatch",
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => "coordinator-error",
    };
    Problem::new(
        code,
        format!("the coordinator answered: {}", status.message()),
    )
    .next("look at the coordinator's log: journalctl -u quorate")
}

fn of_source(error: &(dyn Error + 'static)) -> Option<Problem> {
    if let Some(tls) = find::<TlsError>(error) {
        return Some(of_tls(tls));
    }
    find::<io::Error>(error).map(|io| {
        let problem = unreachable(&io.to_string());
        let kind = io.kind();
        if kind == io::ErrorKind::ConnectionRefused {
            problem.because(
                "nothing listens there: the coordinator is not running, or the port is another",
            )
        } else if matches!(
            kind,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
        ) {
            problem.because("the connection was cut during or after the handshake")
        } else {
            problem
        }
    })
}

/// An io::Error hides what it wraps from `source`, so that it has to be asked for.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(current) = next {
        let inner = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(inner) = inner
            && let Some(found) = find::<T>(inner)
        {
            return Some(found);
        }
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        next = current.source();
    }
    None
}

fn of_tls(error: &TlsError) -> Problem {
    let problem = |code, what: &str| Problem::new(code, what).because(error.to_string());
    if let TlsError::AlertReceived(alert) = error {
        return if *alert == AlertDescription::CertificateExpired {
            problem(
                "certificate-expired",
                "this agent's certificate has expired",
            )
            .next("enrol again with a new token: quorate-agent enroll --force TOKEN")
        } else {
            problem(
                "certificate-refused",
                "the coordinator refuses this agent's certificate",
            )
            .next("if the node was not revoked on purpose: quorate-agent enroll --force TOKEN")
        };
    }
    let TlsError::InvalidCertificate(reason) = error else {
        return problem("tls-failed", "the TLS handshake failed")
            .next("check that the address is the coordinator's and not another service's");
    };
    if let CertificateError::Other(OtherError(inner)) = reason {
        let mismatch = matches!(
            inner.downcast_ref::<PkiError>(),
            Some(PkiError::PinMismatch { .. })
        );
        return Problem::new(
            if mismatch {
                "pin-mismatch"
            } else {
                "pin-unusable"
            },
            "the server is not the coordinator that made the token",
        )
        .because(inner.to_string())
        .next("nothing was sent; make a new token on the coordinator and check its address");
    }
    if is_wrong_name(reason) {
        return problem(
            "coordinator-wrong-name",
            "the server's certificate is for another name",
        )
        .next("use a name or address that the coordinator was set up with");
    }
    if is_about_time(reason) {
        return problem(
            "coordinator-certificate-dates",
            "the server's certificate is not valid now",
        )
        .next("check this machine's clock, then the coordinator's certificate");
    }
    problem(
        "coordinator-untrusted",
        "the server's certificate is not from a known authority",
    )
    .next("check that the address is the coordinator's; after a rebuilt coordinator enrol again")
}

fn is_wrong_name(reason: &CertificateError) -> bool {
    matches!(
        reason,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    )
}

fn is_about_time(reason: &CertificateError) -> bool {
    matches!(
        reason,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

fn unreachable(what: &str) -> Problem {
    Problem::new("coordinator-unreachable", what)
        .next("check the address and that its port is open from this node")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn wrapped(error: TlsError) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn the_cause_is_found_below() {
        let pin = PkiError::PinMismatch {
            pin: "a".to_owned(),
            seen: "b".to_owned(),
        };
        let table = [
            (
                TlsError::AlertReceived(AlertDescription::CertificateRevoked),
                "certificate-refused",
            ),
            (
                TlsError::AlertReceived(AlertDescription::CertificateExpired),
                "certificate-expired",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(pin)))),
                "pin-mismatch",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::UnknownIssuer),
                "coordinator-untrusted",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::NotValidForName),
                "coordinator-wrong-name",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::Expired),
                "coordinator-certificate-dates",
            ),
            (TlsError::HandshakeNotComplete, "tls-failed"),
        ];
        for (error, code) in table {
            let problem = of_source(&wrapped(error)).expect("found");
            assert_eq!(problem.code, code);
        }
    }

    #[test]
    fn a_refused_connection_is_named() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let problem = of_source(&refused).expect("found");
        assert_eq!(problem.code, "coordinator-unreachable");
        assert!(problem.cause.contains("nothing listens"));
    }

    #[test]
    fn retry_after_is_read() {
        let mut status = Status::resource_exhausted("later");
        status
            .metadata_mut()
            .insert(RETRY_AFTER, "1500".parse().expect("value"));
        let failure = Failure::of_status("x:1", &status);
        assert_eq!(failure.retry_after, Some(Duration::from_millis(1500)));
        assert_eq!(failure.problem.code, "coordinator-busy");
        status
            .metadata_mut()
            .insert(RETRY_AFTER, "soon".parse().expect("value"));
        assert_eq!(Failure::of_status("x:1", &status).retry_after, None);
    }
}
