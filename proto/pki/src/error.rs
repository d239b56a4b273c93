//! One error type for the crate.

/// What went wrong and with which input.
///
/// Messages may be logged and sent to a peer, so no variant carries key material: errors of the
/// key parsers are replaced by fixed text, because they may quote the line they tripped over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A PEM text that should hold certificates, a request or a revocation list.
    #[error("{what}: {reason}")]
    Pem { what: String, reason: String },
    /// A private key that cannot be read.
    #[error("{what}: {reason}")]
    Key { what: String, reason: &'static str },
    /// A certificate that cannot be read or does not fit its purpose.
    #[error("certificate {what}: {reason}")]
    Certificate { what: String, reason: String },
    /// Key and certificate are not a pair.
    #[error("the private key does not belong to certificate {what}")]
    KeyMismatch { what: String },
    /// A signing request that is refused.
    #[error("certificate request: {reason}")]
    Request { reason: String },
    /// A description of a certificate to issue that is refused.
    #[error("certificate for {name:?}: {reason}")]
    Leaf { name: String, reason: String },
    /// A role or an identity that does not follow the naming rules.
    #[error("identity {value:?}: {reason}")]
    Identity { value: String, reason: String },
    /// Neither a host name nor an address.
    #[error("name {value:?}: {reason}")]
    Name { value: String, reason: &'static str },
    /// A point in time or a duration that cannot be used.
    #[error("{what}: {reason}")]
    Time {
        what: &'static str,
        reason: &'static str,
    },
    /// A revocation list that cannot be made or used.
    #[error("revocation list: {reason}")]
    RevocationList { reason: String },
    /// A pin that is not `sha256:` and 64 hex digits.
    #[error("CA pin {value:?}: expected \"sha256:\" and 64 hex digits")]
    Pin { value: String },
    /// The server's chain has no certificate with the pinned key.
    #[error(
        "no certificate of the server's chain has the pinned key {pin} (seen: {seen}); \
         this is another cluster's server, or its CA was replaced since the token was made"
    )]
    PinMismatch { pin: String, seen: String },
    /// The pinned key is there, but not on a CA certificate that may sign now.
    #[error("the certificate with the pinned key {pin} {reason}")]
    PinUnusable { pin: String, reason: &'static str },
    /// The TLS library refuses the material for a configuration.
    #[error("TLS configuration, {what}: {reason}")]
    Tls { what: &'static str, reason: String },
    /// The cryptographic library failed.
    #[error("{what}: {reason}")]
    Crypto { what: &'static str, reason: String },
}

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, PkiError>;

impl PkiError {
    pub(crate) fn certificate(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Certificate {
            what: what.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn pem(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Pem {
            what: what.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn request(reason: impl Into<String>) -> Self {
        Self::Request {
            reason: reason.into(),
        }
    }

    pub(crate) fn tls(what: &'static str, reason: impl ToString) -> Self {
        Self::Tls {
            what,
            reason: reason.to_string(),
        }
    }

    pub(crate) fn crypto(what: &'static str, reason: impl ToString) -> Self {
        Self::Crypto {
            what,
            reason: reason.to_string(),
        }
    }
}
