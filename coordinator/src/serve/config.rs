//! The daemon's configuration, `/etc/quorate/coordinator.yaml`. Written by `quorate init`.

use crate::files;
use quorate_proto::token::parse_endpoint;
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
    pub listen: SocketAddr,
    /// Of the enrolment; by default the port above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll_listen: Option<SocketAddr>,
    /// host:port under which new nodes reach the enrolment; by default the advertised host and the enrolment's port.
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
        parse_endpoint(&config.advertise)?;
        parse_endpoint(&config.enroll_advertise()?)?;
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

    pub fn enroll_advertise(&self) -> Result<String, Problem> {
        if let Some(address) = &self.enroll_advertise {
            return Ok(address.clone());
        }
        let (host, _) = self
            .advertise
            .rsplit_once(':')
            .unwrap_or((&self.advertise, ""));
        Ok(format!("{host}:{}", self.enroll_listen()?.port()))
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
        assert_eq!(config.enroll_advertise().unwrap(), "[fd00::1]:7444");
        let other = format!("{FULL}enroll_listen: 10.0.0.1:9000\n");
        let config = Config::parse(&other).unwrap();
        assert_eq!(config.enroll_advertise().unwrap(), "[fd00::1]:9000");
        let mapped = format!("{other}enroll_advertise: join.example:443\n");
        let config = Config::parse(&mapped).unwrap();
        assert_eq!(config.enroll_advertise().unwrap(), "join.example:443");
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
        ] {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }
}
