//! What `quorate endpoint` takes.

use super::{ChangeArgs, Format, OutputArgs};
use crate::cli::text::units::parse_duration;
use crate::spec::address;
use clap::{Args, Subcommand};
use quorate_proto::v1::Endpoint;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Ports that a cluster's endpoint has by default.
const USUAL_PORTS: [u16; 2] = [6443, 2379];

#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// The endpoint, every place that carries it, and the rotation under way
    Show(EndpointShowArgs),
    /// Move the cluster to another address, step by step and while it serves
    Rotate(RotateArgs),
    /// Go back to the earlier address, from any point before it is dropped
    Rollback(EndpointChangeArgs),
    /// Drop the earlier address now, without waiting for the rest of the soak
    Drop(DropArgs),
    /// Bring places that hold another address back in line
    Repair(EndpointChangeArgs),
}

/// Which cluster; the only one there is needs no name.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// The cluster [default: the only one]
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
}

#[derive(Debug, Args)]
pub struct EndpointShowArgs {
    /// The cluster [default: the only one]
    #[arg(value_name = "CLUSTER", conflicts_with = "cluster")]
    pub name: Option<String>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The new address; without a port the present one stays
    #[arg(value_name = "HOST[:PORT]", value_parser = parse_address)]
    pub to: Endpoint,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The new address is not a load balancer of quorate's
    #[arg(long)]
    pub external: bool,
    /// How long nothing may dial the old address before it is dropped; 0 drops it at once
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_soak)]
    pub soak: Duration,
    /// Only show what would be done
    #[arg(long, conflicts_with_all = ["yes", "no_wait", "timeout"])]
    pub dry_run: bool,
    /// Form of what --dry-run shows
    #[arg(short, long, value_enum, value_name = "FORM", requires = "dry_run")]
    pub output: Option<Format>,
    #[command(flatten)]
    pub change: ChangeArgs,
}

#[derive(Debug, Args)]
pub struct EndpointChangeArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub change: ChangeArgs,
}

#[derive(Debug, Args)]
pub struct DropArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Do not wait for nodes that are down; they are brought along when they are back
    #[arg(long)]
    pub without_absent: bool,
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Port 0: as now.
fn parse_address(text: &str) -> Result<Endpoint, String> {
    if let Some((_, rest)) = text.split_once("://") {
        let address = rest.split('/').next().unwrap_or(rest);
        return Err(format!(
            "an address is wanted, not a URL; leave out what is around it: {address}"
        ));
    }
    if text.contains('%') {
        return Err(format!(
            "'{text}' names one machine's network link; name an address that all machines can dial"
        ));
    }
    if let Some(port) = swallowed_port(text) {
        let (host, _) = text.rsplit_once(':').unwrap_or((text, ""));
        return Err(format!(
            "is {port} the port? Then write [{host}]:{port}; if it is part of the address, write [{text}]"
        ));
    }
    let endpoint = address::parse_endpoint(text, 0)?;
    match endpoint.host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => Err(format!(
            "{ip} is no address that a machine can dial; name the load balancer's or a member's own"
        )),
        Ok(_) | Err(_) => Ok(endpoint),
    }
}

/// `fd00::1:6443` is an address by itself, and hardly ever meant as one.
fn swallowed_port(text: &str) -> Option<u16> {
    text.parse::<Ipv6Addr>().ok()?;
    let port = text.rsplit(':').next()?.parse().ok()?;
    USUAL_PORTS.contains(&port).then_some(port)
}

fn parse_soak(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        _ => parse_duration(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port) in [
            ("10.0.0.20", "10.0.0.20", 0),
            ("10.0.0.20:7443", "10.0.0.20", 7443),
            ("fd00::2", "fd00::2", 0),
            ("[fd00::2]", "fd00::2", 0),
            ("[fd00::2]:6443", "fd00::2", 6443),
            ("[fd00::2:6443]", "fd00::2:6443", 0),
            ("API.example:6443", "api.example", 6443),
        ] {
            let got = parse_address(text).unwrap();
            assert_eq!((got.host.as_str(), got.port), (host, port), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            (
                "https://api.example:6443/",
                "leave out what is around it: api.example:6443",
            ),
            ("fd00::2:6443", "write [fd00::2]:6443"),
            ("0.0.0.0", "no address that a machine can dial"),
            ("[ff02::1]:6443", "no address that a machine can dial"),
            ("[fd00::2", "']' is missing"),
            ("[fd00::2]6443", "expected ':PORT'"),
            ("10.0.0.20:0", "'0' is not a port (1 to 65535)"),
            ("10.0.0.20:http", "'http' is not a port"),
            ("10.0.0.300", "neither an IP address nor a DNS name"),
            ("fe80::1%eth0", "one machine's network link"),
            ("api_1.example", "neither an IP address nor a DNS name"),
            ("", "neither an IP address nor a DNS name"),
        ] {
            let error = parse_address(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_soak_may_be_none() {
        for (text, want) in [("0", 0), ("0s", 0), ("5m", 300)] {
            assert_eq!(parse_soak(text).unwrap().as_secs(), want);
        }
        assert!(parse_soak("0m").is_err() && parse_soak("").is_err());
    }
}
