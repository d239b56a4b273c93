//! The coordinator's state as one file, and back: see [`file`] for its form, [`restore`] for what becomes of it.
//!
//! It holds the private key of the coordinator's authority. Not in it: artifacts, which are large and can be added again,
//! and the serving certificate, which is made anew for the addresses of the new place.

mod file;
mod restore;

pub use file::{Backup, read, write};
pub use restore::{RestoreReport, Restoring, restore};

use crate::authority::Files;
use crate::files::{read_text, write_atomic};
use crate::serve::Config;
use crate::store::{Copy, Store};
use quorate_proto::v1::Problem;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::BufReader;
use std::path::Path;
use zeroize::Zeroizing;

/// Everything of a coordinator beside its records.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub config: Config,
    pub ca_cert_pem: String,
    ca_key_pem: String,
}

impl Place {
    pub fn of(config: &Config) -> Result<Self, Problem> {
        let files = Files::new(&config.state_dir);
        Ok(Place {
            config: config.clone(),
            ca_cert_pem: read_text(&files.ca_cert())?,
            ca_key_pem: read_text(&files.ca_key())?,
        })
    }

    pub fn ca_key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.ca_key_pem.clone())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({}, redacted)", self.config.advertise)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.ca_key_pem);
    }
}

/// Of a coordinator that does not run. Opening its store repairs what a crash has left.
pub async fn of_files(config: &Config) -> Result<(Place, Copy), Problem> {
    let store = Store::open(&config.state_dir.join("store"))?;
    let copy = store.copy();
    store.close().await;
    Ok((Place::of(config)?, copy))
}

/// Reads back what was written.
pub fn check(path: &Path) -> Result<Backup, Problem> {
    let opened =
        std::fs::File::open(path).map_err(|error| crate::files::problem("read", path, &error))?;
    read(BufReader::new(opened)).map_err(|problem| problem.at(path.display().to_string()))
}

/// The authority of a backup as files.
fn put_authority(state: &Path, place: &Place) -> Result<(), Problem> {
    let files = Files::new(state);
    crate::files::make_folder(&state.join("ca"), 0o700)?;
    write_atomic(&files.ca_key(), place.ca_key_pem().as_bytes(), 0o600)?;
    write_atomic(&files.ca_cert(), place.ca_cert_pem.as_bytes(), 0o644)
}
