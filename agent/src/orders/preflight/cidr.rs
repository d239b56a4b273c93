//! Blocks of addresses, and the routes that the kernel has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    bits: u32,
}

impl Block {
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.trim().split_once('/')?;
        Self::new(address.parse().ok()?, bits.parse().ok()?)
    }

    pub fn new(address: IpAddr, bits: u32) -> Option<Self> {
        (bits <= width(address)).then_some(Block { address, bits })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        Block::new(address, width(address)).is_some_and(|one| self.overlaps(&one))
    }

    /// Whether some address is in both: the shorter prefix is the longer one's beginning.
    pub fn overlaps(&self, other: &Block) -> bool {
        if self.address.is_ipv4() != other.address.is_ipv4() {
            return false;
        }
        let common = self.bits.min(other.bits);
        let shift = width(self.address) - common;
        number(self.address).checked_shr(shift) == number(other.address).checked_shr(shift)
    }

    pub fn holds(&self, other: &Block) -> bool {
        self.bits <= other.bits && self.overlaps(other)
    }

    pub fn is_everything(&self) -> bool {
        self.bits == 0
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => u32::BITS,
        IpAddr::V6(_) => u128::BITS,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(u32::from(four)),
        IpAddr::V6(six) => u128::from(six),
    }
}

/// A comma-separated list; the entry that is none is the error.
pub fn parse_list(text: &str) -> Result<Vec<Block>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| Block::parse(part).ok_or_else(|| part.to_owned()))
        .collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub block: Block,
    pub interface: String,
    /// Reached without a gateway: the machine's own network.
    pub direct: bool,
}

/// `/proc/net/route`: little-endian hexadecimal.
pub fn routes_v4(table: &str) -> Vec<Route> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
        let address = Ipv4Addr::from(word(1)?.swap_bytes());
        Some(Route {
            block: Block::new(address.into(), word(7)?.count_ones())?,
            interface: (*words.first()?).to_owned(),
            direct: word(2)? == 0,
        })
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// `/proc/net/ipv6_route`: destination, its prefix, source, its prefix, gateway, ..., interface.
pub fn routes_v6(table: &str) -> Vec<Route> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = u128::from_str_radix(words.first()?, 16).ok()?;
        let bits = u32::from_str_radix(words.get(1)?, 16).ok()?;
        let gateway = u128::from_str_radix(words.get(4)?, 16).ok()?;
        Some(Route {
            block: Block::new(Ipv6Addr::from(address).into(), bits)?,
            interface: (*words.last()?).to_owned(),
            direct: gateway == 0,
        })
    };
    table.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        Block::parse(text).expect(text)
    }

    #[test]
    fn blocks_overlap_when_one_holds_the_other() {
        for (one, other, overlap) in [
            ("10.244.0.0/16", "10.244.3.0/24", true),
            ("10.244.0.0/16", "10.245.0.0/16", false),
            ("10.0.0.0/8", "10.244.0.0/16", true),
            ("10.96.0.0/12", "10.111.255.255/32", true),
            ("10.96.0.0/12", "10.112.0.0/16", false),
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("0.0.0.0/0", "::/0", false),
            ("fd00::/8", "fd12:3456::/32", true),
            ("fd00:1::/32", "fd00:2::/32", false),
            ("::/0", "fe80::1/128", true),
        ] {
            assert_eq!(block(one).overlaps(&block(other)), overlap, "{one} {other}");
            assert_eq!(block(other).overlaps(&block(one)), overlap, "{other} {one}");
        }
        assert!(block("10.80.0.0/24").contains("10.80.0.9".parse().expect("address")));
    }

    #[test]
    fn lists_name_what_is_no_block() {
        assert_eq!(
            parse_list("10.244.0.0/16, fd00::/64").map(|list| list.len()),
            Ok(2)
        );
        assert_eq!(parse_list(""), Ok(vec![]));
        for wrong in ["10.244.0.0", "10.0.0.0/33", "x/8"] {
            assert_eq!(
                parse_list(&format!("10.0.0.0/8,{wrong}")),
                Err(wrong.to_owned())
            );
        }
    }

    #[test]
    fn reads_the_kernels_routes() {
        let four = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100500A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000500A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";
        let routes = routes_v4(four);
        assert_eq!(routes.len(), 2);
        assert!(routes[0].block.is_everything() && !routes[0].direct);
        assert_eq!(routes[1].block.to_string(), "10.80.0.0/24");
        assert!(routes[1].direct);
        let six = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 \
                   00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";
        let routes = routes_v6(six);
        assert_eq!(routes[0].block.to_string(), "fd00::/64");
        assert_eq!(routes[0].interface, "eth0");
    }
}
