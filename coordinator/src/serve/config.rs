//! The daemon's configuration, `/etc/quorate/coordinator.yaml`. Written by `quorate init`.

use crate::files;
use quorate_proto::token::{Address, MAX_ADDRESSES, parse_endpoint};
use quorate_proto::v1::Problem;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The enrolment port is this far above the other one, unless it is given.
const ENROLL_OFFSET: u16 = 1;
/// What `quorate init` sets: only this machine may ask.
pub const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7446);
const MAX_CONFIG_BYTES: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// host:port under which agents and operators reach this coordinator.
    pub advertise: String,
    /// Where else it is reached: agents dial all of them in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertise_also: Vec<String>,
    pub listen: SocketAddr,
    /// Of the enrolment; by default the port above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll_listen: Option<SocketAddr>,
    /// host:port under which new nodes reach the enrolment first; by default the advertised host and the enrolment's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll_advertise: Option<String>,
    /// Where monitoring asks, over plain HTTP; none: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    pub state_dir: PathBuf,
}

impl Config {
    pub fn load(path: &Path) -> Result<Self, Problem> {
        let text = files::read_text(path).map_err(|problem| problem.next("quorate init"))?;
        Config::parse(&text).map_err(|problem| problem.at(path.display().to_string()))
    }

    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |cause: String| {
            Problem::new(
                "invalid-config",
                "the coordinator's configuration is not usable",
            )
            .because(cause)
        };
        if text.len() > MAX_CONFIG_BYTES {
            return Err(wrong("it is too long".to_owned()));
        }
        let config: Config =
            serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for address in config.addresses()? {
            parse_endpoint(&address.session)?;
            parse_endpoint(&address.enroll)?;
        }
        if config.advertise_also.len() >= MAX_ADDRESSES {
            return Err(wrong(format!(
                "it has more than {MAX_ADDRESSES} addresses to advertise"
            )));
        }
        if !config.state_dir.is_absolute() {
            return Err(wrong("state_dir is not an absolute path".to_owned()));
        }
        Ok(config)
    }

    pub fn enroll_listen(&self) -> Result<SocketAddr, Problem> {
        if let Some(address) = self.enroll_listen {
            return Ok(address);
        }
        // Port 0 asks the system for any port.
        let port = match self.listen.port() {
            0 => Some(0),
            port => port.checked_add(ENROLL_OFFSET),
        };
        let port = port.ok_or_else(|| {
            Problem::new("invalid-config", "there is no port above that of `listen`")
                .next("set enroll_listen")
        })?;
        Ok(SocketAddr::new(self.listen.ip(), port))
    }

    /// Every advertised address, the preferred one first.
    pub fn advertised(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.advertise).chain(&self.advertise_also)
    }

    /// The same with the enrolment's beside each.
    pub fn addresses(&self) -> Result<Vec<Address>, Problem> {
        let port = self.enroll_listen()?.port();
        let beside = |session: &String| {
            let (host, _) = session.rsplit_once(':').unwrap_or((session, ""));
            Address {
                enroll: format!("{host}:{port}"),
                session: session.clone(),
            }
        };
        let mut addresses: Vec<Address> = self.advertised().map(beside).collect();
        if let (Some(enroll), Some(first)) = (&self.enroll_advertise, addresses.first_mut()) {
            first.enroll.clone_from(enroll);
        }
        Ok(addresses)
    }

    /// Their hosts: the names of the serving certificate.
    pub fn hosts(&self) -> Result<Vec<String>, Problem> {
        self.advertised()
            .map(|address| Ok(parse_endpoint(address)?.host))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str =
        "advertise: '[fd00::1]:7443'\nlisten: '[::]:7443'\nstate_dir: /var/lib/quorate\n";

    #[test]
    fn the_enrolment_is_one_port_above() {
        let config = Config::parse(FULL).unwrap();
        assert_eq!(config.enroll_listen().unwrap().to_string(), "[::]:7444");
        let enrolment = |config: &Config| config.addresses().unwrap()[0].enroll.clone();
        assert_eq!(enrolment(&config), "[fd00::1]:7444");
        let other = format!("{FULL}enroll_listen: 10.0.0.1:9000\n");
        let config = Config::parse(&other).unwrap();
        assert_eq!(enrolment(&config), "[fd00::1]:9000");
        let mapped = format!("{other}enroll_advertise: join.example:443\n");
        let config = Config::parse(&mapped).unwrap();
        assert_eq!(enrolment(&config), "join.example:443");
    }

    #[test]
    fn several_addresses() {
        let text = format!("{FULL}advertise_also: ['q.example:443', '10.0.0.5:7443']\n");
        let config = Config::parse(&text).unwrap();
        let addresses = config.addresses().unwrap();
        let enrolments: Vec<&str> = addresses.iter().map(|it| it.enroll.as_str()).collect();
        assert_eq!(
            enrolments,
            ["[fd00::1]:7444", "q.example:7444", "10.0.0.5:7444"]
        );
        assert_eq!(addresses[1].session, "q.example:443");
        assert_eq!(
            config.hosts().unwrap(),
            ["fd00::1", "q.example", "10.0.0.5"]
        );
    }

    #[test]
    fn metrics_are_served_where_it_says_so() {
        assert_eq!(Config::parse(FULL).unwrap().metrics, None);
        let config = Config::parse(&format!("{FULL}metrics: '[::1]:9000'\n")).unwrap();
        assert_eq!(config.metrics.unwrap().to_string(), "[::1]:9000");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            "",
            "advertise: a",
            &FULL.replace("7443'\nlisten", "99999'\nlisten"),
            &FULL.replace("/var", "var"),
            &FULL.replace("[::]:7443", "[::]:65535"),
            &format!("{FULL}listne: 10.0.0.1:1\n"),
            &format!("{FULL}metrics: 7446\n"),
            &format!("{FULL}advertise_also: [a]\n"),
            &format!("{FULL}advertise_also: ['a:1', 'b:1', 'c:1', 'd:1']\n"),
        ] {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }
}
