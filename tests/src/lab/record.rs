//! What a lab holds, on disk, so that another process can find the hosts of this one.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::network;
use super::place::{Place, check_name};

const FIRST_FREE: u8 = 11;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub hosts: BTreeMap<String, Ipv4Addr>,
    pub aliases: BTreeMap<String, Vec<IpAddr>>,
}

impl Record {
    pub(super) fn load(place: &Place) -> Result<Self> {
        let file = place.record_file();
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("cannot understand {}", file.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    pub(super) fn save(&self, place: &Place) -> Result<()> {
        let file = place.record_file();
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&unfinished, &file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Adds a host; without an address it gets the next free one.
    pub(super) fn add(&mut self, name: &str, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
        check_name(name)?;
        if self.hosts.contains_key(name) {
            bail!("the lab has a host {name} already");
        }
        let taken = |ip: &Ipv4Addr| self.hosts.values().any(|other| other == ip);
        let mut free = (FIRST_FREE..=254).map(|last| Ipv4Addr::new(10, 77, 0, last));
        let ip = match wanted {
            Some(ip) => ip,
            None => free
                .find(|ip| !taken(ip))
                .context("no address left in the lab")?,
        };
        network::check_address(ip)?;
        if taken(&ip) {
            bail!("another host of the lab has the address {ip}");
        }
        self.hosts.insert(name.to_owned(), ip);
        Ok(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_gets_an_address_of_its_own() {
        let mut record = Record::default();
        let fixed = Ipv4Addr::new(10, 77, 0, 11);
        assert_eq!(record.add("n1", Some(fixed)).unwrap(), fixed);
        assert_eq!(
            record.add("n2", None).unwrap(),
            Ipv4Addr::new(10, 77, 0, 12)
        );
        assert!(record.add("n2", None).is_err());
        assert!(record.add("n3", Some(fixed)).is_err());
    }
}
