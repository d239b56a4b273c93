//! Keys, certificates and TLS configurations: the one place in quorate that makes them.
//!
//! Nothing here opens a socket, reads a file or asks the clock: callers hand in PEM and the
//! current time, so every rule can be tested with the dates it is about.

mod asked;
mod authority;
mod crl;
mod der;
mod error;
mod hot;
mod identity;
mod inspect;
mod key;
mod leaf;
mod look;
mod name;
mod pem;
mod pinned;
mod reissue;
mod request;
mod seal;
mod slots;
mod tls;

pub use asked::{Asked, inspect_request};
pub use authority::{Authority, SKEW, spki_pin_of_cert_der, spki_pin_of_cert_pem};
pub use error::{PkiError, Result};
pub use hot::Hot;
pub use identity::{Identity, Role};
pub use inspect::{CertificateInfo, inspect_der, inspect_pem, pair_matches, signed_by};
pub use leaf::{Issued, IssuedWithKey, Leaf, Usage};
pub use look::{Presented, der_signed_by, look_config};
pub use name::Name;
pub use request::KeyRequest;
pub use slots::{is_due, renew_at};
pub use tls::{
    TlsMaterial, anonymous_client_config, client_config, enroll_server_config,
    mutual_server_config, pinned_client_config, plain_https_client_config, provider,
};
