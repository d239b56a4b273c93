//! Which of a node's files are to hold the endpoint, and what they become. Pure.

use super::url;
use crate::kube::carrier::{Place, kind};
use crate::kube::kubeconfig::{current_server, split_url, with_endpoint};
use quorate_proto::v1::CarrierKind;

/// The new text of a kubeconfig of kubeadm's; `None`: it stays as it is. `own`: where this node's API server listens, if it has one.
pub fn of_kubeadm(
    name: &str,
    text: &str,
    endpoint: &Place,
    own: Option<&Place>,
) -> Result<Option<String>, String> {
    let server = split_url(&current_server(text)?).ok_or("its server is no https://host:port")?;
    match kind(name, &server, own) {
        CarrierKind::Follows => with_endpoint(text, &url(endpoint)),
        CarrierKind::Local
        | CarrierKind::User
        | CarrierKind::Outside
        | CarrierKind::Unspecified => Ok(None),
    }
}

/// A user's file may lead anywhere: only one that leads to the earlier endpoint moves.
pub fn of_user(text: &str, endpoint: &Place, from: Option<&Place>) -> Option<String> {
    let server = split_url(&current_server(text).ok()?)?;
    match from.is_some_and(|from| *from == server) {
        true => with_endpoint(text, &url(endpoint)).ok().flatten(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server: &str) -> String {
        format!(
            "clusters:\n- cluster:\n    server: {server}\n  name: c\ncontexts:\n- context: {{cluster: c, user: u}}\n  name: x\ncurrent-context: x\n"
        )
    }

    #[test]
    fn what_moves_and_what_stays() {
        let place = |host: &str| (host.to_owned(), 6443);
        let (lb, own, first) = (place("lb"), place("10.0.0.1"), "https://10.0.0.1:6443");
        let old = "https://old:6443";
        for (name, server, own, moves) in [
            ("admin.conf", old, Some(&own), true),
            ("admin.conf", first, Some(&own), true),
            ("super-admin.conf", first, Some(&own), true),
            ("kubelet.conf", first, Some(&own), false),
            ("kubelet.conf", "https://127.0.0.1:6443", Some(&own), false),
            ("kubelet.conf", first, None, true),
            ("kubelet.conf", old, Some(&own), true),
            ("controller-manager.conf", first, Some(&own), false),
            ("scheduler.conf", old, Some(&own), true),
            ("bootstrap-kubelet.conf", old, None, true),
            ("admin.conf", "https://lb:6443", None, false),
        ] {
            let text = config(server);
            let changed = of_kubeadm(name, &text, &lb, own).unwrap();
            let expected = moves.then(|| config("https://lb:6443"));
            assert_eq!(changed, expected, "{name} {server}");
        }
        assert!(of_kubeadm("admin.conf", "users: []", &lb, None).is_err());
    }

    #[test]
    fn users_files_move_with_the_endpoint_only() {
        let place = |host: &str| (host.to_owned(), 6443);
        let (lb, old) = (place("lb"), place("old"));
        let moved = Some(config("https://lb:6443"));
        assert_eq!(of_user(&config("https://old:6443"), &lb, Some(&old)), moved);
        for (text, from) in [
            (config("https://old:6443"), None),
            (config("https://older:6443"), Some(&old)),
            (config("https://old:443"), Some(&old)),
            ("nonsense".to_owned(), Some(&old)),
        ] {
            assert_eq!(of_user(&text, &lb, from), None, "{text}");
        }
    }
}
