//! Hosts and ports: IPv4, IPv6 and DNS names.

use quorate_pki::Name;
use quorate_proto::v1::Endpoint;
use std::net::{IpAddr, Ipv6Addr};

/// `host:port`, `[v6]:port`, or a host alone with the default port.
pub fn parse_endpoint(text: &str, default_port: u16) -> Result<Endpoint, String> {
    let (host, port) = split(text)?;
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("'{port}' is not a port (1 to 65535)"))?,
    };
    Ok(Endpoint {
        host: parse_host(host)?,
        port: port.into(),
    })
}

fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| format!("'{text}': ']' is missing"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("'{text}': expected ':PORT' after ']'")),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// A host in its canonical form.
pub fn parse_host(text: &str) -> Result<String, String> {
    match Name::parse(text) {
        Ok(Name::Ip(ip)) => Ok(ip.to_string()),
        Ok(Name::Dns(name)) => Ok(name.to_ascii_lowercase()),
        Err(error) => Err(format!(
            "'{text}' is neither an IP address nor a DNS name: {error}"
        )),
    }
}

/// The host as it stands in a URL or in host:port.
pub fn bracketed(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host.to_owned(),
    }
}

pub fn host_port(endpoint: &Endpoint) -> String {
    format!("{}:{}", bracketed(&endpoint.host), endpoint.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, want) in [
            ("10.0.0.1", Some(("10.0.0.1", 6443))),
            ("10.0.0.1:7000", Some(("10.0.0.1", 7000))),
            ("LB.example:443", Some(("lb.example", 443))),
            ("fd00::1", Some(("fd00::1", 6443))),
            ("[fd00::1]", Some(("fd00::1", 6443))),
            ("[fd00:0::1]:2379", Some(("fd00::1", 2379))),
            ("[fd00::1]x", None),
            ("[fd00::1", None),
            ("10.0.0.1:0", None),
            ("10.0.0.1:70000", None),
            ("", None),
            ("a b:1", None),
            ("$(id):1", None),
        ] {
            let got = parse_endpoint(text, 6443);
            match want {
                Some((host, port)) => {
                    let got = got.unwrap_or_else(|e| panic!("{text}: {e}"));
                    assert_eq!((got.host.as_str(), got.port), (host, port), "{text}");
                }
                None => assert!(got.is_err(), "{text}: {got:?}"),
            }
        }
    }
}
