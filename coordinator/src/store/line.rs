//! One line of a text file with its checksum: "<16 hex digits> <JSON>".

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(value)?;
    Ok(format!("{} {json}\n", checksum(&json)))
}

/// None for a line that is damaged or cut short.
pub(crate) fn decode<T: DeserializeOwned>(line: &str) -> Option<T> {
    let (stated, json) = line.strip_suffix('\n')?.split_once(' ')?;
    (stated == checksum(json))
        .then(|| serde_json::from_str(json).ok())
        .flatten()
}

fn checksum(json: &str) -> String {
    hex::encode(&Sha256::digest(json)[..8])
}
