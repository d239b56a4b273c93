//! Proof among holders of one authority's key: a keyed hash that nobody else can make.

use crate::Authority;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};

impl Authority {
    /// `purpose` keeps seals for one use from being good for another.
    pub fn seal(&self, purpose: &str, data: &[u8]) -> Vec<u8> {
        sign(&self.seal_key(), &message(purpose, data))
            .as_ref()
            .to_vec()
    }

    /// In constant time.
    pub fn is_sealed(&self, purpose: &str, data: &[u8], seal: &[u8]) -> bool {
        verify(&self.seal_key(), &message(purpose, data), seal).is_ok()
    }

    fn seal_key(&self) -> Key {
        Key::new(HMAC_SHA256, self.key_pem().trim().as_bytes())
    }
}

fn message(purpose: &str, data: &[u8]) -> Vec<u8> {
    let mut message = (purpose.len() as u64).to_be_bytes().to_vec();
    message.extend_from_slice(purpose.as_bytes());
    message.extend_from_slice(data);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn only_a_holder_of_the_key_makes_it() {
        let make = |name| Authority::create(name, Duration::from_secs(60), SystemTime::now());
        let (one, other) = (make("one").unwrap(), make("other").unwrap());
        let seal = one.seal("epoch", b"7");
        let loaded = Authority::load(one.cert_pem(), one.key_pem()).unwrap();
        assert!(loaded.is_sealed("epoch", b"7", &seal));
        assert!(!other.is_sealed("epoch", b"7", &seal));
        assert!(!one.is_sealed("epoch", b"8", &seal));
        assert!(!one.is_sealed("epoc", b"h7", &seal));
        assert!(!one.is_sealed("epoch", b"7", &seal[1..]));
        assert!(!one.is_sealed("epoch", b"7", b""));
    }
}
