//! One fresh connection through the endpoint, and what came of it.

use super::caller::{Caller, Credentials, KUBE_SYSTEM, Questions};
use super::verdict::{Certificate, Seen};
use crate::kube::http::{Answer, Call, Connection, authority};
use crate::kube::serving::look;
use quorate_pki::{Name, der_signed_by, inspect_der};
use quorate_proto::v1::Problem;
use rustls_pki_types::ServerName;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// For a connection, and for each answer over it. A member that takes longer would fail its clients as well.
const WITHIN: Duration = Duration::from_secs(5);
/// etcd's own check: a read that a majority has confirmed.
const ETCD_HEALTH: &str = "/health";

/// The connection is handed out too, for the caller to hold it open.
pub async fn dial(caller: &Caller, address: SocketAddr) -> (Seen, Option<Connection>) {
    let tcp = match timeout(WITHIN, TcpStream::connect(address)).await {
        Err(_) => return (Seen::Unreachable(silence()), None),
        Ok(Err(error)) => return (Seen::Unreachable(refusal(&error)), None),
        Ok(Ok(tcp)) => tcp,
    };
    let Some((credentials, questions)) = &caller.as_client else {
        return (Seen::Answers, None);
    };
    match secure(caller, credentials, tcp).await {
        Err(error) => (untrusted(caller, credentials, address, &error).await, None),
        Ok(tls) => ask(caller, questions, address, tls).await,
    }
}

async fn secure(
    caller: &Caller,
    credentials: &Credentials,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, Error> {
    let name = ServerName::try_from(caller.expected.clone())
        .map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    let handshake = TlsConnector::from(credentials.tls.clone()).connect(name, tcp);
    match timeout(WITHIN, handshake).await {
        Ok(ended) => ended,
        Err(_) => Err(Error::new(ErrorKind::TimedOut, silence())),
    }
}

/// Looks at what is presented there, to say why it was not good enough.
async fn untrusted(
    caller: &Caller,
    credentials: &Credentials,
    address: SocketAddr,
    error: &Error,
) -> Seen {
    let of_certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
    if !of_certificate {
        return Seen::NoTls(error.to_string());
    }
    let Ok(served) = look(address, &caller.host, WITHIN).await else {
        return Seen::NoTls(error.to_string());
    };
    let info = served.info;
    let ours = der_signed_by(&served.der, &credentials.authority_pem).unwrap_or(false);
    let covered = Name::parse(&caller.expected).is_ok_and(|name| info.covers(&name));
    let now = SystemTime::now();
    Seen::Untrusted(Certificate {
        ours,
        covered,
        ended: now > info.not_after || now < info.not_before,
        of_a_cluster: is_of_a_cluster(&info.issuer, &info.common_name, &info.names),
        subject: info.subject,
        issuer: info.issuer,
        names: info.names.iter().map(ToString::to_string).collect(),
        error: error.to_string(),
    })
}

/// Looks like what kubeadm, k3s, RKE2 or quorate make, and not like a load balancer's own.
fn is_of_a_cluster(issuer: &str, common_name: &str, names: &[Name]) -> bool {
    let issuers = [
        "CN=kubernetes",
        "CN=etcd-ca",
        "CN=quorate etcd ",
        "CN=k3s-",
        "CN=rke2-",
    ];
    let service = Name::Dns("kubernetes.default".to_owned());
    issuers.iter().any(|it| issuer.starts_with(it))
        || common_name == "kube-apiserver"
        || names.contains(&service)
}

async fn ask(
    caller: &Caller,
    questions: &Questions,
    address: SocketAddr,
    tls: TlsStream<TcpStream>,
) -> (Seen, Option<Connection>) {
    let presented = tls.get_ref().1.peer_certificates();
    let first = presented.and_then(|chain| chain.first());
    let fingerprint = first
        .and_then(|der| inspect_der(der).ok())
        .map(|info| info.fingerprint)
        .unwrap_or_default();
    let host = authority(&caller.host, address.port());
    let mut connection = match Connection::over(tls, host).await {
        Ok(connection) => connection,
        Err(problem) => return (Seen::NoTls(problem.what), None),
    };
    let seen = match questioned(questions, &mut connection).await {
        Ok(None) => Seen::Member(fingerprint),
        Ok(Some(seen)) => seen,
        // A server that refuses the client certificate says so only now: the handshake was over for us.
        Err(problem) => Seen::Broken(problem.what),
    };
    (seen, Some(connection))
}

/// `None`: this cluster's, and healthy.
async fn questioned(
    questions: &Questions,
    connection: &mut Connection,
) -> Result<Option<Seen>, Problem> {
    let mut get = async |path: &str| connection.call(Call::get(path), WITHIN).await;
    match questions {
        Questions::Etcd => Ok(unready(&get(ETCD_HEALTH).await?)),
        Questions::Node { path } => {
            let ready = unready(&get("/readyz").await?);
            // Its Node may be gone; it is known all the same.
            Ok(anonymous(&get(path).await?).or(ready))
        }
        Questions::Cluster { uid } => {
            let ready = unready(&get("/readyz").await?);
            if ready.is_some() {
                return Ok(ready);
            }
            let answer = get(KUBE_SYSTEM).await?;
            Ok(anonymous(&answer).or_else(|| other(&answer, uid)))
        }
    }
}

fn unready(answer: &Answer) -> Option<Seen> {
    match answer.status {
        200 => None,
        401 | 403 => Some(Seen::Anonymous(answer.status)),
        status => Some(Seen::Unready(status)),
    }
}

fn anonymous(answer: &Answer) -> Option<Seen> {
    matches!(answer.status, 401 | 403).then_some(Seen::Anonymous(answer.status))
}

fn other(answer: &Answer, uid: &str) -> Option<Seen> {
    if !answer.success() {
        return Some(Seen::Unready(answer.status));
    }
    let namespace: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (namespace["metadata"]["uid"] != uid).then_some(Seen::OtherCluster)
}

fn silence() -> String {
    format!("no answer within {} s", WITHIN.as_secs())
}

fn refusal(error: &Error) -> String {
    let kind = error.kind();
    if kind == ErrorKind::ConnectionRefused {
        return "nothing listens there, or a firewall rejects it".to_owned();
    }
    if matches!(
        kind,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
    ) {
        return format!("there is no way to it from here: {error}");
    }
    error.to_string()
}
