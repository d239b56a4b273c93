//! A certificate authority: its own, or one kubeadm or OpenSSL made.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use zeroize::Zeroizing;

use crate::{
    CertificateInfo, Issued, IssuedWithKey, Leaf, PkiError, Result, Usage, der, inspect_der, key,
    pem, tls,
};

/// How far a certificate is dated back, for peers whose clock is behind.
pub const SKEW: Duration = Duration::from_secs(5 * 60);
/// A request with a 4096 bit RSA key is below 2 KiB.
const MAX_REQUEST: usize = 16 * 1024;

/// A CA certificate with its key.
pub struct Authority {
    cert_pem: String,
    key_pem: Zeroizing<String>,
    cert: CertificateDer<'static>,
    info: CertificateInfo,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("subject", &self.info.subject)
            .field("fingerprint", &self.info.fingerprint)
            .field("key", &"[redacted]")
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a self-signed CA that signs leaves only.
    ///
    /// Give each generation of a CA its own name: with two CAs of one name in a bundle, a
    /// verifier tries the wrong key and reports a bad signature instead of an unknown issuer.
    pub fn create(common_name: &str, validity: Duration, now: SystemTime) -> Result<Self> {
        if common_name.is_empty()
            || common_name.len() > 64
            || common_name.chars().any(char::is_control)
        {
            return Err(PkiError::certificate(
                common_name.chars().take(100).collect::<String>(),
                "the name of a CA is 1 to 64 printable bytes",
            ));
        }
        let end = later(now, validity)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(random_serial()?);
        let begin = now.checked_sub(SKEW).unwrap_or(now);
        params.not_before = der::calendar_time("begin of the CA's validity", begin)?;
        params.not_after = der::calendar_time("end of the CA's validity", end)?;
        let key = key::generate()?;
        let cert = params
            .self_signed(&key)
            .map_err(|e| PkiError::crypto("signing the CA certificate", e))?;
        let key_pem = key::to_pem(&key);
        Self::assemble(cert.pem(), cert.der().clone(), key_pem, key)
    }

    /// Takes over an existing CA. `cert_pem` may be a bundle: the certificate that belongs to
    /// the key is picked. Keys in PKCS#8, PKCS#1 and SEC1 form are read.
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self> {
        let key = key::load("CA key", key_pem)?;
        for (index, cert) in pem::certificates("CA certificate", cert_pem)?
            .into_iter()
            .enumerate()
        {
            if !has_key(&cert, &key)? {
                continue;
            }
            let text = pem::certificate_text(cert_pem, index)
                .ok_or_else(|| PkiError::pem("CA certificate", "damaged PEM"))?;
            let authority = Self::assemble(text, cert, Zeroizing::new(key_pem.to_owned()), key)?;
            authority.check_signs()?;
            return Ok(authority);
        }
        let first = crate::inspect_pem(cert_pem)?.into_iter().next();
        Err(PkiError::KeyMismatch {
            what: first.map(|info| info.subject).unwrap_or_default(),
        })
    }

    fn assemble(
        cert_pem: String,
        cert: CertificateDer<'static>,
        key_pem: Zeroizing<String>,
        key: KeyPair,
    ) -> Result<Self> {
        let info = inspect_der(&cert)?;
        if !der::may_sign_certificates(&der::certificate(&cert)?) {
            return Err(PkiError::certificate(
                info.subject,
                "is not a CA that may sign certificates",
            ));
        }
        let issuer = Issuer::from_ca_cert_der(&cert, key)
            .map_err(|e| PkiError::certificate(info.subject.as_str(), e.to_string()))?;
        Ok(Self {
            cert_pem,
            key_pem,
            cert,
            info,
            issuer,
        })
    }

    /// Signs once for nothing. The library writes the issuer's name anew, and a name it cannot
    /// reproduce (two organizational units, say) gives certificates no verifier can chain; better
    /// to learn that when the CA is taken over.
    fn check_signs(&self) -> Result<()> {
        let key = key::generate()?;
        let leaf = Leaf {
            common_name: "self test".to_owned(),
            organization: Vec::new(),
            names: Vec::new(),
            uri: None,
            usage: Usage::Client,
            validity: Duration::from_secs(1),
        };
        let mut params = leaf.params(&key)?;
        params.serial_number = Some(random_serial()?);
        let signed = params
            .signed_by(&key, &self.issuer)
            .map_err(|e| PkiError::crypto("signing with the CA key", e))?;
        if crate::inspect::is_signed_by(signed.der(), &self.cert)? {
            Ok(())
        } else {
            Err(PkiError::certificate(
                self.info.subject.as_str(),
                "has a subject that cannot be used as issuer: each attribute may occur once",
            ))
        }
    }

    /// The CA certificate alone.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The CA key, in the form it was loaded in.
    pub fn key_pem(&self) -> &Zeroizing<String> {
        &self.key_pem
    }

    /// What the CA certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// `sha256:<hex>` of the public key, the same as kubeadm's discovery hash. It survives a
    /// renewal of the CA certificate with the same key.
    pub fn spki_pin(&self) -> String {
        // The certificate was parsed when the authority was made.
        spki_pin_of_cert_der(&self.cert).unwrap_or_default()
    }

    pub(crate) fn cert_der(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// Signs the key of a request. The requester must hold the key (the request is signed with
    /// it); every name and extension it asks for is ignored.
    pub fn sign_request(&self, csr_pem: &str, leaf: &Leaf, now: SystemTime) -> Result<Issued> {
        let key = requested_key(csr_pem)?;
        self.sign(&key, leaf, now)
    }

    /// Makes a P-256 key and signs it.
    pub fn issue(&self, leaf: &Leaf, now: SystemTime) -> Result<IssuedWithKey> {
        let key = key::generate()?;
        Ok(IssuedWithKey {
            issued: self.sign(&key, leaf, now)?,
            key_pem: key::to_pem(&key),
        })
    }

    fn sign(&self, key: &impl PublicKeyData, leaf: &Leaf, now: SystemTime) -> Result<Issued> {
        self.sign_with(key, leaf, &[], now)
    }

    /// With key usages beside those that the leaf's key calls for.
    pub(crate) fn sign_with(
        &self,
        key: &impl PublicKeyData,
        leaf: &Leaf,
        further: &[KeyUsagePurpose],
        now: SystemTime,
    ) -> Result<Issued> {
        let begin = now
            .checked_sub(SKEW)
            .unwrap_or(now)
            .max(self.info.not_before);
        let end = later(now, leaf.validity)?.min(self.info.not_after);
        if end <= now || end <= begin {
            return Err(PkiError::certificate(
                self.info.subject.as_str(),
                "the CA is not valid for the time of the new certificate",
            ));
        }
        let mut params = leaf.params(key)?;
        for usage in further {
            if !params.key_usages.contains(usage) {
                params.key_usages.push(*usage);
            }
        }
        params.serial_number = Some(random_serial()?);
        params.not_before = der::calendar_time("begin of validity", begin)?;
        params.not_after = der::calendar_time("end of validity", end)?;
        let cert = params
            .signed_by(key, &self.issuer)
            .map_err(|e| PkiError::crypto("signing a certificate", e))?;
        let info = inspect_der(cert.der())?;
        Ok(Issued {
            cert_pem: cert.pem(),
            serial: info.serial,
            fingerprint: info.fingerprint,
            not_before: info.not_before,
            not_after: info.not_after,
        })
    }
}

fn later(now: SystemTime, validity: Duration) -> Result<SystemTime> {
    if validity < Duration::from_secs(1) {
        return Err(PkiError::Time {
            what: "validity",
            reason: "shorter than a second",
        });
    }
    now.checked_add(validity).ok_or(PkiError::Time {
        what: "validity",
        reason: "out of the range a certificate can express",
    })
}

/// 126 random bits. The library's default is a hash of the key, which would repeat when the same
/// key is signed twice, and a revocation would then hit both certificates.
fn random_serial() -> Result<SerialNumber> {
    let mut serial = [0; 16];
    tls::provider()
        .secure_random
        .fill(&mut serial)
        .map_err(|_| PkiError::crypto("making a serial number", "no randomness"))?;
    // Positive, and never with a leading zero, so that its hex has one length.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&serial))
}

/// The public key of a request, after its signature was checked.
fn requested_key(csr_pem: &str) -> Result<SubjectPublicKeyInfo> {
    if csr_pem.len() > MAX_REQUEST {
        return Err(PkiError::request("larger than 16 KiB"));
    }
    let request = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|_| PkiError::request("not a certificate request in PEM form"))?;
    let Ok(([], request)) = X509CertificationRequest::from_der(&request) else {
        return Err(PkiError::request("unreadable"));
    };
    let spki = &request.certification_request_info.subject_pki;
    let signature = &request.signature_algorithm.algorithm;
    // The parser picks the verification by the signature's type alone; it has to be the key's.
    let fits = match spki.parsed() {
        Ok(PublicKey::EC(_)) => {
            *signature == oid::OID_SIG_ECDSA_WITH_SHA256
                || *signature == oid::OID_SIG_ECDSA_WITH_SHA384
        }
        Ok(PublicKey::RSA(rsa)) => {
            (2048..=4096).contains(&rsa.key_size())
                && [
                    oid::OID_PKCS1_SHA256WITHRSA,
                    oid::OID_PKCS1_SHA384WITHRSA,
                    oid::OID_PKCS1_SHA512WITHRSA,
                ]
                .contains(signature)
        }
        _ => false,
    };
    let key = SubjectPublicKeyInfo::from_der(spki.raw);
    let (true, Ok(key)) = (fits, key) else {
        return Err(PkiError::request(
            "unsupported key: P-256, P-384 or RSA of 2048 to 4096 bits with SHA-2 expected",
        ));
    };
    request
        .verify_signature()
        .map_err(|_| PkiError::request("not signed by the key it asks a certificate for"))?;
    Ok(key)
}

/// Whether `key` is the private half of the certificate's key.
pub(crate) fn has_key(cert: &[u8], key: &KeyPair) -> Result<bool> {
    let cert = der::certificate(cert)?;
    // The bare key: the parameters next to it have more than one valid encoding.
    Ok(cert.public_key().subject_public_key.data.as_ref() == key.public_key_raw())
}

/// [`Authority::spki_pin`] of a certificate.
pub fn spki_pin_of_cert_der(cert: &[u8]) -> Result<String> {
    let cert = der::certificate(cert)?;
    Ok(der::format_pin(&der::sha256(cert.public_key().raw)))
}

/// [`Authority::spki_pin`] of the only certificate in a PEM text.
pub fn spki_pin_of_cert_pem(cert_pem: &str) -> Result<String> {
    match pem::certificates("certificate to pin", cert_pem)?.as_slice() {
        [cert] => spki_pin_of_cert_der(cert),
        several => Err(PkiError::pem(
            "certificate to pin",
            format!("has {} certificates, expected one", several.len()),
        )),
    }
}
