//! The lab's network: one namespace with a bridge (the switch), one namespace and cable per host.
//!
//! Peers are cut off on the switch, not in the host: what the product itself does with a host's own
//! firewall then neither undoes a cut nor is disturbed by it.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};

use super::machine;
use super::place::Place;

const SWITCH: &str = "switch";
const BRIDGE: &str = "br0";
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const GATEWAY6: &str = "fd77::1";

const CUTS: &str = "\
table bridge lab {
    set cuts {
        type ifname . ifname
    }
    chain forward {
        type filter hook forward priority 0
        iifname . oifname @cuts drop
    }
}
";

/// The lab's one IPv4 network; the last number of an address also ends the IPv6 one.
pub(super) fn check_address(ip: Ipv4Addr) -> Result<()> {
    let [a, b, c, d] = ip.octets();
    ensure!(
        [a, b, c] == [10, 77, 0] && (2..=254).contains(&d),
        "{ip} is not an address for a host: use 10.77.0.2 to 10.77.0.254"
    );
    Ok(())
}

/// fd77::N for 10.77.0.N, with the same digits, so that logs are easy to read.
pub(super) fn ipv6_of(ip: Ipv4Addr) -> Ipv6Addr {
    let [.., last] = ip.octets();
    let digits = u16::from(last / 100) << 8 | u16::from(last / 10 % 10) << 4 | u16::from(last % 10);
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, digits)
}

/// Makes the switch unless it is there.
pub(super) fn make_switch(place: &Place) -> Result<()> {
    let switch = place.scoped(SWITCH);
    if exists(&switch)? {
        return Ok(());
    }
    ip(["netns", "add", &switch])?;
    let in_switch = |args: &[&str]| ip_in(&switch, args);
    in_switch(&["link", "set", "lo", "up"])?;
    // Without a querier on the network, snooping could lose the multicasts IPv6 finds its neighbours by.
    in_switch(&[
        "link",
        "add",
        BRIDGE,
        "type",
        "bridge",
        "mcast_snooping",
        "0",
    ])?;
    in_switch(&["addr", "add", &format!("{GATEWAY}/24"), "dev", BRIDGE])?;
    in_switch(&[
        "addr",
        "add",
        &format!("{GATEWAY6}/64"),
        "dev",
        BRIDGE,
        "nodad",
    ])?;
    in_switch(&["link", "set", BRIDGE, "up"])?;
    nft(place, CUTS).context("cannot prepare the cutting off of peers")
}

/// Gives a host a fresh network namespace with one cable to the switch (still out), as a machine has after
/// power-on.
pub(super) fn plug(place: &Place, name: &str, address: Ipv4Addr) -> Result<()> {
    let (switch, netns, cable) = (place.scoped(SWITCH), place.scoped(name), cable(name));
    let [_, _, _, last] = address.octets();
    // The same after each boot: peers' neighbour tables stay right.
    let mac = format!("02:77:00:00:00:{last:02x}");
    ip(["netns", "add", &netns])?;
    #[rustfmt::skip]
    ip_in(&switch, &["link", "add", &cable, "type", "veth",
        "peer", "name", "eth0", "address", &mac, "netns", &netns])?;
    ip_in(&switch, &["link", "set", &cable, "master", BRIDGE])?;
    let in_host = |args: &[&str]| ip_in(&netns, args);
    in_host(&["link", "set", "lo", "up"])?;
    in_host(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    let address6 = format!("{}/64", ipv6_of(address));
    in_host(&["addr", "add", &address6, "dev", "eth0", "nodad"])?;
    in_host(&["link", "set", "eth0", "up"])?;
    in_host(&["route", "add", "default", "via", &GATEWAY.to_string()])?;
    in_host(&["-6", "route", "add", "default", "via", GATEWAY6])
}

/// Takes cable and namespace away, with all connections, routes and firewall rules in it.
pub(super) fn unplug(place: &Place, name: &str) -> Result<()> {
    let (switch, netns, cable) = (place.scoped(SWITCH), place.scoped(name), cable(name));
    if exists(&switch)? && ip_in(&switch, &["link", "show", "dev", &cable]).is_ok() {
        ip_in(&switch, &["link", "del", "dev", &cable])?;
    }
    if exists(&netns)? {
        ip(["netns", "del", &netns])?;
    }
    Ok(())
}

/// The cable of a host, in or out.
pub(super) fn set_link(place: &Place, name: &str, up: bool) -> Result<()> {
    let state = if up { "up" } else { "down" };
    let switch = place.scoped(SWITCH);
    ip_in(&switch, &["link", "set", "dev", &cable(name), state])
}

/// Drops all traffic between two hosts, both ways; `blocked == false` lets it through again.
pub(super) fn set_blocked(place: &Place, one: &str, other: &str, blocked: bool) -> Result<()> {
    let (one, other) = (cable(one), cable(other));
    let pairs = format!("{{ \"{one}\" . \"{other}\", \"{other}\" . \"{one}\" }}");
    // Added first in any case: deleting what is not there would be an error.
    let mut rules = format!("add element bridge lab cuts {pairs}\n");
    if !blocked {
        rules.push_str(&format!("delete element bridge lab cuts {pairs}\n"));
    }
    nft(place, &rules)
}

/// Deletes every network namespace of the lab.
pub(super) fn remove_all(place: &Place) -> Result<()> {
    let prefix = place.prefix();
    for netns in list()?.iter().filter(|netns| netns.starts_with(&prefix)) {
        ip(["netns", "del", netns])?;
    }
    Ok(())
}

/// Runs a command of the machine on the switch, beside the hosts.
pub(super) fn run_on_switch(place: &Place, args: &[&str]) -> Result<String> {
    let switch = place.scoped(SWITCH);
    machine::run("ip", ["netns", "exec", &switch].iter().chain(args))
}

/// Runs on a thread of its own, as a thread's network is for life.
pub(super) fn on_switch<T: Send>(place: &Place, work: impl FnOnce() -> T + Send) -> Result<T> {
    let path = netns_path(place, SWITCH);
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    thread::scope(|scope| {
        let worker = scope.spawn(|| -> Result<T> {
            setns(&namespace, CloneFlags::CLONE_NEWNET)
                .context("cannot enter the lab's network")?;
            Ok(work())
        });
        worker
            .join()
            .map_err(|_| anyhow!("work in the lab's network panicked"))?
    })
}

/// The path by which a process joins a host's network.
pub(super) fn netns_path(place: &Place, name: &str) -> String {
    format!("/run/netns/{}", place.scoped(name))
}

fn cable(name: &str) -> String {
    format!("v-{name}")
}

fn exists(netns: &str) -> Result<bool> {
    Ok(list()?.iter().any(|other| other == netns))
}

fn list() -> Result<Vec<String>> {
    let output = ip(["netns", "list"])?;
    let first_word = |line: &str| line.split_whitespace().next().map(str::to_owned);
    Ok(output.lines().filter_map(first_word).collect())
}

fn nft(place: &Place, rules: &str) -> Result<()> {
    let switch = place.scoped(SWITCH);
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &switch, "nft", "-f", "-"]);
    machine::finish(&mut command, rules.as_bytes()).map(drop)
}

fn ip<const N: usize>(args: [&str; N]) -> Result<String> {
    machine::run("ip", args)
}

fn ip_in(netns: &str, args: &[&str]) -> Result<()> {
    machine::run("ip", ["-n", netns].iter().chain(args)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_end_in_the_same_digits() {
        let ip = Ipv4Addr::new(10, 77, 0, 211);
        assert_eq!(ipv6_of(ip).to_string(), "fd77::211");
        assert_eq!(
            ipv6_of(Ipv4Addr::new(10, 77, 0, 12)).to_string(),
            "fd77::12"
        );
    }

    #[test]
    fn only_addresses_of_the_lab_are_taken() {
        check_address(Ipv4Addr::new(10, 77, 0, 2)).unwrap();
        assert!(check_address(GATEWAY).is_err());
        assert!(check_address(Ipv4Addr::new(10, 78, 0, 2)).is_err());
    }
}
