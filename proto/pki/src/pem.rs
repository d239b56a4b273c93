//! PEM in, DER out.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::{PkiError, Result};

/// Every certificate of a PEM text, at least one. Other sections are skipped, so a file that
/// holds key and certificate works; a broken section is an error and not a shorter list.
pub(crate) fn certificates(what: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    sections(what, "certificate", pem)
}

/// Every revocation list of a PEM text, at least one.
pub(crate) fn revocation_lists(
    what: &str,
    pem: &str,
) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    sections(what, "revocation list", pem)
}

fn sections<T: PemObject>(what: &str, kind: &str, pem: &str) -> Result<Vec<T>> {
    let found = T::pem_slice_iter(pem.as_bytes())
        .collect::<std::result::Result<Vec<T>, _>>()
        // The parser's error may quote a line, and the text may hold a key as well.
        .map_err(|_| PkiError::pem(what, "damaged PEM"))?;
    if found.is_empty() {
        return Err(PkiError::pem(what, format!("has no {kind} in PEM form")));
    }
    Ok(found)
}

/// The text of the `index`-th certificate section, ending in one newline.
pub(crate) fn certificate_text(pem: &str, index: usize) -> Option<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let (start, _) = pem.match_indices(BEGIN).nth(index)?;
    let section = &pem[start..];
    let end = section.find(END)? + END.len();
    Some(format!("{}\n", &section[..end]))
}
