//! Why a connection failed, in words that lead on: walks the error's sources for what TLS and the kernel said.

use super::text::clean;
use quorate_proto::v1::Problem;
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io::{self, ErrorKind};

/// Sources of one error that are looked at; real chains have about six.
const MAX_DEPTH: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    Refused,
    TimedOut,
    NoSuchHost(String),
    Network(String),
    UnknownAuthority,
    ServerExpired,
    ServerNotYetValid,
    WrongName,
    /// The coordinator does not accept our certificate.
    Rejected(String),
    /// Closed without a word: in TLS 1.3 a refused certificate can look like this.
    Closed,
    Other(String),
}

/// The first link of the chain that says something definite.
pub fn classify(error: &(dyn Error + 'static)) -> Cause {
    let mut last = error.to_string();
    let mut next = Some(error);
    for _ in 0..MAX_DEPTH {
        let Some(link) = next else { break };
        if let Some(cause) = of_link(link) {
            return cause;
        }
        last = link.to_string();
        next = link.source();
    }
    Cause::Other(last)
}

fn of_link(link: &(dyn Error + 'static)) -> Option<Cause> {
    if let Some(tls) = link.downcast_ref::<rustls::Error>() {
        return Some(of_tls(tls));
    }
    let Some(error) = link.downcast_ref::<io::Error>() else {
        return of_text(&link.to_string());
    };
    // The error inside of an io::Error is no link of the chain of its own.
    if let Some(tls) = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>())
    {
        return Some(of_tls(tls));
    }
    of_io(error)
}

/// HTTP/2 keeps no more of an error under it than its text.
fn of_text(text: &str) -> Option<Cause> {
    let (_, name) = text.split_once("received fatal alert: ")?;
    let alert = ALERTS
        .iter()
        .find(|alert| name.starts_with(&format!("{alert:?}")));
    alert.map(|alert| of_alert(*alert))
}

fn of_io(error: &io::Error) -> Option<Cause> {
    if let Some(cause) = of_text(&error.to_string()) {
        return Some(cause);
    }
    let kind = error.kind();
    if kind == ErrorKind::ConnectionRefused {
        Some(Cause::Refused)
    } else if kind == ErrorKind::TimedOut {
        Some(Cause::TimedOut)
    } else if matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    ) {
        Some(Cause::Closed)
    } else if error.to_string().contains("lookup address information") {
        // The only sign of a failed name lookup that the standard library gives.
        Some(Cause::NoSuchHost(error.to_string()))
    } else {
        error
            .raw_os_error()
            .map(|_| Cause::Network(error.to_string()))
    }
}

fn of_tls(error: &rustls::Error) -> Cause {
    if let rustls::Error::InvalidCertificate(reason) = error {
        return of_certificate(reason);
    }
    if let rustls::Error::AlertReceived(alert) = error {
        return of_alert(*alert);
    }
    Cause::Other(error.to_string())
}

fn of_certificate(reason: &CertificateError) -> Cause {
    use CertificateError as E;
    if matches!(reason, E::Expired | E::ExpiredContext { .. }) {
        Cause::ServerExpired
    } else if matches!(reason, E::NotValidYet | E::NotValidYetContext { .. }) {
        Cause::ServerNotYetValid
    } else if matches!(
        reason,
        E::NotValidForName | E::NotValidForNameContext { .. }
    ) {
        Cause::WrongName
    } else if matches!(reason, E::UnknownIssuer | E::BadSignature) {
        // Two authorities of one name show as a bad signature.
        Cause::UnknownAuthority
    } else {
        Cause::Other(reason.to_string())
    }
}

/// What a server sends that does not like a certificate.
const ALERTS: [AlertDescription; 7] = [
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::AccessDenied,
    AlertDescription::UnknownCA,
];

fn of_alert(alert: AlertDescription) -> Cause {
    let reason = if alert == AlertDescription::CertificateRevoked {
        "it was revoked"
    } else if alert == AlertDescription::CertificateExpired {
        "it has ended"
    } else if alert == AlertDescription::UnknownCA {
        "its authority is not one of the coordinator's"
    } else if ALERTS.contains(&alert) {
        "the coordinator gives no reason"
    } else {
        return Cause::Other(format!("TLS alert {alert:?}"));
    };
    Cause::Rejected(reason.to_owned())
}

const LOOK_AT_SERVICE: &str = "on the coordinator's machine: systemctl status quorate-coordinator";
const NEW_CONTEXT: &str =
    "let an administrator make a new context: quorate user create NAME --role ROLE -o context.yaml";

pub fn problem(cause: &Cause, server: &str) -> Problem {
    let server = clean(server);
    let unreachable =
        |what: String| Problem::new("coordinator-unreachable", what).at(server.to_string());
    match cause {
        Cause::Refused => unreachable("nothing listens at the coordinator's address".into())
            .because("the coordinator is not running, or listens elsewhere")
            .next(LOOK_AT_SERVICE),
        Cause::TimedOut => unreachable("the coordinator does not answer".into())
            .because("its machine is down, or a firewall drops the packets")
            .next(LOOK_AT_SERVICE),
        Cause::NoSuchHost(text) => unreachable("the coordinator's name has no address".into())
            .because(text.clone())
            .next("check `server` in the context file, and DNS"),
        Cause::Network(text) => unreachable(format!("no connection to the coordinator: {text}"))
            .next("check the network, and `server` in the context file"),
        Cause::UnknownAuthority => untrusted("the server's certificate is not from the context's authority", &server)
            .because("the context belongs to another coordinator, or this coordinator was initialised anew")
            .next(NEW_CONTEXT),
        Cause::ServerExpired => untrusted("the coordinator's certificate has ended", &server)
            .because("the coordinator was off for long, or this machine's clock is ahead")
            .next(format!("compare the clocks (date); then {LOOK_AT_SERVICE}")),
        Cause::ServerNotYetValid => untrusted("the coordinator's certificate is not valid yet", &server)
            .because("this machine's clock is behind")
            .next("set the clock (timedatectl)"),
        Cause::WrongName => untrusted("the coordinator's certificate is for another name", &server)
            .because("the context's `server` is not an address that the coordinator was told to advertise")
            .next("use the advertised address, or have the coordinator advertise this one too"),
        Cause::Rejected(reason) => rejected(&server).because(reason.clone()).next(NEW_CONTEXT),
        Cause::Closed => unreachable("the coordinator closed the connection".into())
            .because("it is stopping, or it does not accept your certificate (ended or revoked)")
            .next(format!("try again; then {LOOK_AT_SERVICE}")),
        Cause::Other(text) => unreachable(format!("no connection to the coordinator: {}", clean(text)))
            .next(LOOK_AT_SERVICE),
    }
}

fn untrusted(what: &str, server: &str) -> Problem {
    Problem::new("coordinator-untrusted", what).at(server)
}

fn rejected(server: &str) -> Problem {
    Problem::new(
        "certificate-rejected",
        "the coordinator does not accept your certificate",
    )
    .at(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, error)
    }

    #[test]
    fn causes() {
        let alert = |a| wrapped(rustls::Error::AlertReceived(a));
        let cert = |c| wrapped(rustls::Error::InvalidCertificate(c));
        for (error, want) in [
            (
                io::Error::from(ErrorKind::ConnectionRefused),
                Cause::Refused,
            ),
            (io::Error::from(ErrorKind::TimedOut), Cause::TimedOut),
            (io::Error::from(ErrorKind::UnexpectedEof), Cause::Closed),
            (
                io::Error::other("failed to lookup address information: Name or service not known"),
                Cause::NoSuchHost(
                    "failed to lookup address information: Name or service not known".into(),
                ),
            ),
            (
                io::Error::from_raw_os_error(113),
                Cause::Network("No route to host (os error 113)".into()),
            ),
            (cert(CertificateError::Expired), Cause::ServerExpired),
            (
                cert(CertificateError::NotValidYet),
                Cause::ServerNotYetValid,
            ),
            (cert(CertificateError::NotValidForName), Cause::WrongName),
            (
                cert(CertificateError::UnknownIssuer),
                Cause::UnknownAuthority,
            ),
            (
                cert(CertificateError::BadSignature),
                Cause::UnknownAuthority,
            ),
            (
                alert(AlertDescription::CertificateRevoked),
                Cause::Rejected("it was revoked".into()),
            ),
            (
                alert(AlertDescription::CertificateExpired),
                Cause::Rejected("it has ended".into()),
            ),
            (
                io::Error::other("connection error: received fatal alert: CertificateRevoked"),
                Cause::Rejected("it was revoked".into()),
            ),
            (io::Error::other("odd"), Cause::Other("odd".into())),
        ] {
            let outer = Outer(error);
            assert_eq!(classify(&outer), want);
            let shown = problem(&want, "c.example:7443");
            assert!(!shown.next.is_empty(), "{shown}");
            assert_eq!(shown.r#where, "c.example:7443");
        }
    }

    #[derive(Debug)]
    struct Outer(io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "transport error")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
}
