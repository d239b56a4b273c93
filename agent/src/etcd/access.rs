//! Where the local member of either distribution answers, and with which client certificate.

use crate::host::files;
use crate::paths::Paths;
use quorate_pki::plain_https_client_config;
use quorate_proto::v1::Problem;
use rustls::ClientConfig;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Both distributions serve clients there.
pub const CLIENT_PORT: u16 = 2379;

/// One member's address and the credentials that every member of its cluster accepts.
#[derive(Clone, Debug)]
pub struct EtcdAccess {
    authority: String,
    tls: Arc<ClientConfig>,
    /// The address of this machine that calls come from; unset: the kernel's choice.
    from: Option<IpAddr>,
}

/// The files of one client certificate.
struct Credentials {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl EtcdAccess {
    /// The local member's; `None` on a node that holds no client certificate, which is no member's node.
    pub fn locate(paths: &Paths) -> Result<Option<Self>, Problem> {
        candidates(paths)
            .iter()
            .find(|files| files.all_there())
            .map(|files| Self::with_files(format!("127.0.0.1:{CLIENT_PORT}"), files))
            .transpose()
    }

    /// [`Self::locate`] for orders that only make sense on a member.
    pub fn required(paths: &Paths) -> Result<Self, Problem> {
        Self::locate(paths)?.ok_or_else(|| {
            Problem::new(
                "etcd-credentials-missing",
                "this node has no client certificate for etcd",
            )
            .at(paths.etcd_pki().display().to_string())
            .because("the node is no member, or it was reset")
            .next("send the order to a node that is a member")
        })
    }

    /// The same credentials for another member, by one of its client URLs ("https://10.0.0.2:2379").
    pub fn at(&self, client_url: &str) -> Option<Self> {
        let authority = authority_of(client_url)?;
        Some(EtcdAccess {
            authority: authority.to_owned(),
            tls: self.tls.clone(),
            from: None,
        })
    }

    /// The same member, called from this address of the machine.
    pub fn from(&self, address: IpAddr) -> Self {
        EtcdAccess {
            from: Some(address),
            ..self.clone()
        }
    }

    /// Host and port, IPv6 in brackets.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn source(&self) -> Option<IpAddr> {
        self.from
    }

    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    pub fn with_pem(
        authority: String,
        ca_pem: &str,
        certificate_pem: &str,
        key_pem: &str,
    ) -> Result<Self, quorate_pki::PkiError> {
        let mut tls = plain_https_client_config(ca_pem, Some((certificate_pem, key_pem)))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(EtcdAccess {
            authority,
            tls: Arc::new(tls),
            from: None,
        })
    }

    fn with_files(authority: String, files: &Credentials) -> Result<Self, Problem> {
        let ca = files::read_text(&files.ca)?;
        let certificate = files::read_text(&files.certificate)?;
        let key = Zeroizing::new(files::read_text(&files.key)?);
        Self::with_pem(authority, &ca, &certificate, &key).map_err(|error| {
            Problem::new(
                "etcd-credentials-unusable",
                format!("cannot use the client certificate for etcd: {error}"),
            )
            .at(files.certificate.display().to_string())
            .because("a half-written or hand-edited file")
            .next("reset the node and join it again")
        })
    }
}

impl Credentials {
    fn new(ca: PathBuf, folder: &Path, name: &str) -> Self {
        Credentials {
            ca,
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        }
    }

    fn all_there(&self) -> bool {
        [&self.ca, &self.certificate, &self.key]
            .iter()
            .all(|file| file.is_file())
    }
}

/// In the order of preference. A node is in one cluster at most, so that the first complete set is the right one.
fn candidates(paths: &Paths) -> [Credentials; 3] {
    let own = paths.etcd_pki();
    let kubernetes = paths.kubernetes().join("pki");
    let ca = kubernetes.join("etcd/ca.crt");
    [
        Credentials::new(own.join("ca.crt"), &own, "client"),
        Credentials::new(ca.clone(), &kubernetes, "apiserver-etcd-client"),
        Credentials::new(ca, &kubernetes.join("etcd"), "healthcheck-client"),
    ]
}

/// "https://host:port" with an optional slash at the end; anything else is no client URL of ours.
fn authority_of(client_url: &str) -> Option<&str> {
    let authority = client_url.strip_prefix("https://")?.trim_end_matches('/');
    let uri: http::Uri = format!("https://{authority}").parse().ok()?;
    let whole = uri.authority()?.as_str() == authority && uri.port().is_some();
    (whole && !authority.contains('@')).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn client_urls() {
        for (url, expected) in [
            ("https://10.0.0.1:2379", Some("10.0.0.1:2379")),
            ("https://10.0.0.1:2379/", Some("10.0.0.1:2379")),
            ("https://[2001:db8::1]:2379", Some("[2001:db8::1]:2379")),
            ("http://10.0.0.1:2379", None),
            ("https://10.0.0.1", None),
            ("https://10.0.0.1:2379/path", None),
            ("https://user@10.0.0.1:2379", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(authority_of(url), expected, "{url:?}");
        }
    }

    #[test]
    fn finds_the_credentials_of_either_distribution() {
        let year = Duration::from_secs(365 * 24 * 3600);
        let ca = quorate_pki::Authority::create("ca", year, SystemTime::now()).unwrap();
        let leaf = quorate_pki::Leaf {
            common_name: "client".into(),
            organization: vec![],
            names: vec![],
            uri: None,
            usage: quorate_pki::Usage::Client,
            validity: year,
        };
        let pair = ca.issue(&leaf, SystemTime::now()).unwrap();
        for (ca_file, stem) in [
            (
                "/etc/quorate/etcd/pki/ca.crt",
                "/etc/quorate/etcd/pki/client",
            ),
            (
                "/etc/kubernetes/pki/etcd/ca.crt",
                "/etc/kubernetes/pki/apiserver-etcd-client",
            ),
            (
                "/etc/kubernetes/pki/etcd/ca.crt",
                "/etc/kubernetes/pki/etcd/healthcheck-client",
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            let paths = Paths::under(root.path());
            let write = |name: String, text: &str| {
                files::write_atomic(&paths.at(&name), text.as_bytes(), 0o600).unwrap();
            };
            assert!(EtcdAccess::locate(&paths).unwrap().is_none());
            write(ca_file.to_owned(), ca.cert_pem());
            write(format!("{stem}.crt"), &pair.issued.cert_pem);
            assert_eq!(
                EtcdAccess::required(&paths).unwrap_err().code,
                "etcd-credentials-missing"
            );
            write(format!("{stem}.key"), &pair.key_pem);
            let access = EtcdAccess::required(&paths).unwrap();
            assert_eq!(access.authority(), "127.0.0.1:2379");
            write(format!("{stem}.key"), "nonsense");
            assert_eq!(
                EtcdAccess::locate(&paths).unwrap_err().code,
                "etcd-credentials-unusable"
            );
        }
    }
}
