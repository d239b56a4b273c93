//! What the authority keeps in the store.

use serde::{Deserialize, Serialize};

/// Of every certificate that was issued, until a while after it has expired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateRecord {
    pub serial: String,
    /// "agent/<node id>", "admin/root"
    pub identity: String,
    pub issued_unix: i64,
    pub expires_unix: i64,
    pub revoked_unix: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Minted at enrolment; in the certificate.
    pub id: String,
    /// What people use. Unique among the nodes that are not revoked.
    pub name: String,
    pub machine_id: String,
    pub enrolled_unix: i64,
    /// Of the newest certificate.
    pub serial: String,
    pub certificate_expires_unix: i64,
    pub revoked_unix: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRecord {
    pub id: String,
    /// The secret has 256 bits, so a plain hash of it can be kept.
    pub secret_sha256: String,
    /// The only node name that may use it; empty: any.
    pub node: String,
    pub created_by: String,
    pub created_unix: i64,
    pub expires_unix: i64,
    pub revoked_unix: Option<i64>,
    pub used: Option<TokenUse>,
}

/// Enough to give the same answer again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenUse {
    pub unix: i64,
    /// Hash of the public key that got the certificate.
    pub key: String,
    pub node_id: String,
    pub node_name: String,
    pub certificate_pem: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserRecord {
    pub name: String,
    pub role: String,
    pub created_by: String,
    pub created_unix: i64,
}

impl TokenRecord {
    pub fn state(&self, now_unix: i64) -> &'static str {
        if self.used.is_some() {
            "used"
        } else if self.revoked_unix.is_some() {
            "revoked"
        } else if now_unix >= self.expires_unix {
            "expired"
        } else {
            "live"
        }
    }
}
