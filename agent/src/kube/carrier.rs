//! Which of a node's files follow the cluster's endpoint, and which lead to the node's own API server. Pure.

use super::http::authority;
use quorate_proto::v1::CarrierKind;
use std::net::IpAddr;

/// The kubeconfigs of a node below /etc/kubernetes that kubeadm knows.
pub const KUBECONFIGS: [&str; 6] = [
    "admin.conf",
    "super-admin.conf",
    "kubelet.conf",
    "controller-manager.conf",
    "scheduler.conf",
    "bootstrap-kubelet.conf",
];
/// The administrator's own copy.
pub const USERS: &str = "/root/.kube/config";

/// Host and port.
pub type Place = (String, u16);

/// `own`: where this node's API server listens, if it has one.
pub fn kind(file: &str, server: &Place, own: Option<&Place>) -> CarrierKind {
    match file {
        // kubeadm gives these the endpoint. The first control plane's own address in them was the endpoint, and has to move with it.
        "admin.conf" | "super-admin.conf" | "bootstrap-kubelet.conf" => CarrierKind::Follows,
        "kubelet.conf" | "controller-manager.conf" | "scheduler.conf" => {
            if own.is_some_and(|own| is_own(server, own)) {
                CarrierKind::Local
            } else {
                CarrierKind::Follows
            }
        }
        _ => CarrierKind::Outside,
    }
}

fn is_own(server: &Place, own: &Place) -> bool {
    server.1 == own.1 && (same_host(&server.0, &own.0) || is_loopback(&server.0))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Addresses compare as such: IPv6 has many spellings.
pub fn same_host(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        (Err(_), Err(_)) => one.eq_ignore_ascii_case(other),
    }
}

/// Whether a text, such as a static pod's manifest, names the place: its host as a whole word, followed by its port or by none.
pub fn names(text: &str, place: &Place) -> bool {
    let host = place.0.as_str();
    if host.is_empty() {
        return false;
    }
    let mut from = 0;
    while let Some(at) = text[from..].find(host).map(|at| at + from) {
        let end = at + host.len();
        let before = text[..at].chars().next_back();
        if !before.is_some_and(is_of_host) && fits_behind(&text[end..], place.1) {
            return true;
        }
        from = end;
    }
    false
}

fn is_of_host(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_')
}

/// A dot at the end of a sentence is none of a host's.
fn fits_behind(rest: &str, port: u16) -> bool {
    let rest = rest.strip_prefix(']').unwrap_or(rest);
    let mut characters = rest.chars();
    match characters.next() {
        Some(':') => {
            let digits: String = characters.take_while(char::is_ascii_digit).collect();
            digits.is_empty() || digits.parse() == Ok(port)
        }
        // A netmask makes it a network, which names no server.
        Some('/') => !characters.next().is_some_and(|it| it.is_ascii_digit()),
        Some('.') => !characters
            .next()
            .is_some_and(|it| it.is_ascii_alphanumeric()),
        Some(other) => !is_of_host(other),
        None => true,
    }
}

pub fn text(place: &Place) -> String {
    authority(&place.0, place.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CarrierKind::{Follows, Local, Outside};

    #[test]
    fn what_follows_and_what_is_local() {
        let place = |host: &str, port| (host.to_owned(), port);
        let own = place("10.0.0.11", 6443);
        for (file, server, member, expected) in [
            ("admin.conf", place("10.0.0.50", 6443), true, Follows),
            // The endpoint was the first control plane's address.
            ("admin.conf", own.clone(), true, Follows),
            ("super-admin.conf", own.clone(), true, Follows),
            ("kubelet.conf", own.clone(), true, Local),
            ("kubelet.conf", own.clone(), false, Follows),
            ("kubelet.conf", place("127.0.0.1", 6443), true, Local),
            ("kubelet.conf", place("::1", 6443), true, Local),
            ("kubelet.conf", place("10.0.0.1", 6443), true, Follows),
            ("kubelet.conf", place("10.0.0.11", 8443), true, Follows),
            ("scheduler.conf", place("10.0.0.50", 6443), true, Follows),
            ("controller-manager.conf", own.clone(), true, Local),
            ("bootstrap-kubelet.conf", own.clone(), true, Follows),
            ("mine.conf", own.clone(), true, Outside),
        ] {
            let own = member.then_some(&own);
            assert_eq!(kind(file, &server, own), expected, "{file} {server:?}");
        }
        let long = place("fd00:0::1", 6443);
        assert_eq!(
            kind("kubelet.conf", &long, Some(&place("fd00::1", 6443))),
            Local
        );
    }

    #[test]
    fn finds_a_place_by_whole_words() {
        let place = ("10.0.0.1".to_owned(), 6443);
        for (text, found) in [
            ("--endpoint=https://10.0.0.1:6443", true),
            ("--external-hostname=10.0.0.1", true),
            ("value: 127.0.0.1,10.0.0.1,.svc", true),
            ("https://10.0.0.1/", true),
            ("see 10.0.0.1.", true),
            ("10.0.0.10:6443", false),
            ("110.0.0.1:6443", false),
            ("10.0.0.1.5", false),
            ("--initial-cluster=n1=https://10.0.0.1:2380", false),
            ("10.0.0.1/12", false),
            ("10.0.0.1:2380 and 10.0.0.1:6443", true),
            ("", false),
        ] {
            assert_eq!(names(text, &place), found, "{text}");
        }
        let host = ("api.example".to_owned(), 6443);
        assert!(names("https://api.example:6443/x", &host));
        assert!(!names("https://my-api.example:6443", &host));
        assert!(!names("https://api.example.org:6443", &host));
        let six = ("fd00::1".to_owned(), 6443);
        assert!(names("https://[fd00::1]:6443", &six));
        assert!(!names("https://[fd00::1]:2379", &six));
    }
}
