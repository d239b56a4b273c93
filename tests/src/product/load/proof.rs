//! What a server proves to be, exactly: one handshake under one name.

use super::access::{Access, server_name};
use crate::lab::Lab;
use anyhow::{Context, Result, anyhow, bail};
use rustls::{CertificateError, ClientConnection, Error};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the server's certificate, of the cluster's authority, is good for the name. Anything else that goes wrong is an error.
pub fn serves_as(lab: &Lab, access: &Access, at: SocketAddr, name: &str) -> Result<bool> {
    Ok(shaken(lab, access, at, name)?.is_some())
}

/// The certificate that is served now, byte by byte; it has to be good for the name.
pub fn certificate(lab: &Lab, access: &Access, at: SocketAddr, name: &str) -> Result<Vec<u8>> {
    shaken(lab, access, at, name)?.with_context(|| format!("{at} is not good for {name}"))
}

/// `None`: not good for the name.
fn shaken(lab: &Lab, access: &Access, at: SocketAddr, name: &str) -> Result<Option<Vec<u8>>> {
    let name = server_name(name)?;
    let shake = || -> Result<Option<Vec<u8>>> {
        let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = ClientConnection::new(Arc::clone(&access.tls), name)?;
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut stream) {
                return match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    Some(Error::InvalidCertificate(
                        CertificateError::NotValidForName
                        | CertificateError::NotValidForNameContext { .. },
                    )) => Ok(None),
                    _ => bail!("the handshake failed: {error}"),
                };
            }
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        let first = chain.first().context("no certificate")?;
        Ok(Some(first.to_vec()))
    };
    lab.beside_hosts(shake)
        .and_then(|shaken| shaken)
        .map_err(|error| anyhow!("{error:#}"))
        .with_context(|| format!("{at}"))
}
