//! The certificate that a server presents, by a handshake.

use super::http::authority;
use quorate_pki::{CertificateInfo, inspect_der, look_config};
use quorate_proto::v1::{Problem, ServingCertificate};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// What was presented, judged by nobody yet.
#[derive(Clone, Debug)]
pub struct Served {
    pub der: Vec<u8>,
    pub info: CertificateInfo,
}

/// Whoever answers there and whatever it presents; a client certificate is not shown. `name` goes into the handshake only.
pub async fn look(address: SocketAddr, name: &str, within: Duration) -> Result<Served, Problem> {
    let place = authority(&address.ip().to_string(), address.port());
    let fail = |cause: String| {
        Problem::new("no-handshake", format!("no TLS handshake: {cause}")).at(&place)
    };
    let (config, presented) = look_config().map_err(|error| fail(error.to_string()))?;
    let server = ServerName::try_from(name.to_owned()).map_err(|error| fail(error.to_string()))?;
    let work = async {
        let tcp = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config))
            .connect(server, tcp)
            .await
            .map(|_| ())
    };
    let outcome = match timeout(within, work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", within.as_millis())),
    };
    // A server that wants a certificate of ours ends the handshake only after it has shown its own.
    match (presented.certificate(), outcome) {
        (Some(der), _) => {
            let info = inspect_der(&der).map_err(|error| fail(error.to_string()))?;
            Ok(Served { der, info })
        }
        (None, Err(cause)) => Err(fail(cause)),
        (None, Ok(())) => Err(fail("no certificate was presented".to_owned())),
    }
}

/// As it is reported.
pub fn reported(info: &CertificateInfo) -> ServingCertificate {
    ServingCertificate {
        names: info.names.iter().map(ToString::to_string).collect(),
        fingerprint: info.fingerprint.clone(),
        not_before_unix: unix(info.not_before),
        not_after_unix: unix(info.not_after),
        serial: info.serial.clone(),
    }
}

/// Whole seconds; what is before 1970 is 1970.
pub fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
