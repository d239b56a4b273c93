//! What the texts of a cluster file may look like. They end up in YAML, units, configurations, arguments and on terminals, and are
//! to mean the same everywhere.

use quorate_proto::token::is_dns_name;
use std::net::IpAddr;

/// Names of front ends that every load balancer has for itself: the API's, one more a port, and the page of statistics.
pub fn is_reserved(name: &str) -> bool {
    let api = name.strip_prefix("api").is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('-')
                .is_some_and(|port| port.parse::<u16>().is_ok())
    });
    api || name == "quorate-stats"
}

/// Letters, digits and the given further characters; begins with a letter or digit. Such a text means the same wherever it is
/// written down: in YAML, in a unit, on a command line.
pub fn is_word(text: &str, further: &[u8]) -> bool {
    text.len() <= 253
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || further.contains(&b))
}

/// As Kubernetes has them: `[DOMAIN/]NAME`.
pub fn is_label_key(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    domain.is_none_or(is_dns_name) && !name.is_empty() && is_label_value(name)
}

pub fn is_label_value(text: &str) -> bool {
    text.is_empty()
        || (text.len() <= 63
            && is_word(text, b"-_.")
            && text.ends_with(|c: char| c.is_ascii_alphanumeric()))
}

/// One subnet, or one of each family.
pub fn is_subnets(text: &str) -> bool {
    let subnet = |text: &str| {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let digits = bits.bytes().all(|b| b.is_ascii_digit());
        let bits: u8 = bits.parse().ok()?;
        (digits && bits > 0 && bits <= width).then_some(address.is_ipv4())
    };
    let families: Vec<Option<bool>> = text.split(',').map(subnet).collect();
    match families.as_slice() {
        [Some(_)] => true,
        [Some(one), Some(other)] => one != other,
        _ => false,
    }
}
