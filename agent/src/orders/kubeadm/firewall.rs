//! What kube-proxy and network plugins leave in the kernel: their chains and interfaces go, every other rule stays.

use crate::context::Context;
use crate::host::tool::Tool;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
/// kube-proxy's, the kubelet's, and the port-mapping plugin's chains.
const PREFIXES: [&str; 3] = ["KUBE-", "CNI-", "FLANNEL-"];
/// Bridges and tunnels with the addresses of the old pod network; the next network's plugin would trip over them.
const INTERFACES: [&str; 4] = ["cni0", "flannel.1", "kube-ipvs0", "kube-bridge"];

/// Each part on its own: a host without one of the tools has nothing of it to clean.
pub async fn clean(context: &Context) {
    for (save, restore) in [
        ("iptables-save", "iptables-restore"),
        ("ip6tables-save", "ip6tables-restore"),
    ] {
        let Ok(saved) = Tool::new(save).timeout(LIMIT).ok().await else {
            continue;
        };
        let removal = removal(&saved.stdout);
        if removal.is_empty() {
            continue;
        }
        let done = Tool::new(restore)
            .args(["--noflush", "--wait"])
            .input(removal)
            .timeout(LIMIT)
            .ok()
            .await;
        if let Err(problem) = done {
            context.say(format!("packet filter rules of Kubernetes stay: {problem}"));
        }
    }
    for family in ["ip", "ip6"] {
        quietly("nft", &["delete", "table", family, "kube-proxy"]).await;
    }
    for interface in INTERFACES {
        quietly("ip", &["link", "delete", interface]).await;
    }
}

/// What is not there cannot be deleted, and is not missed.
async fn quietly(program: &str, arguments: &[&str]) {
    let _ = Tool::new(program)
        .args(arguments.iter().copied())
        .timeout(LIMIT)
        .run()
        .await;
}

/// Input for `iptables-restore --noflush` that removes the chains of Kubernetes and every jump into them, at once a table.
fn removal(saved: &str) -> String {
    let mut result = String::new();
    let mut table = "";
    let mut jumps: Vec<String> = Vec::new();
    let mut chains: Vec<&str> = Vec::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            (table, jumps, chains) = (name, Vec::new(), Vec::new());
        } else if let Some(chain) = line.strip_prefix(':') {
            chains.extend(chain.split(' ').next().filter(|name| is_ours(name)));
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let mut words = rule.split(' ');
            let from_ours = words.next().is_some_and(is_ours);
            let to_ours = target(rule).is_some_and(is_ours);
            if to_ours && !from_ours {
                jumps.push(format!("-D {rule}\n"));
            }
        } else if line == "COMMIT" && !chains.is_empty() {
            result += &format!("*{table}\n");
            // Naming a chain empties it; it can go once none of the others leads to it.
            result.extend(chains.iter().map(|chain| format!(":{chain} - [0:0]\n")));
            result.extend(jumps.drain(..));
            result.extend(chains.drain(..).map(|chain| format!("-X {chain}\n")));
            result += "COMMIT\n";
        }
    }
    result
}

fn target(rule: &str) -> Option<&str> {
    let mut words = rule.split(' ');
    words.find(|word| *word == "-j" || *word == "-g")?;
    words.next()
}

fn is_ours(chain: &str) -> bool {
    PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_chains_and_jumps_of_kubernetes_only() {
        let saved = "\
# Generated
*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X
-A OUTPUT -j CNI-HOSTPORT-DNAT
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
";
        let expected = "\
*nat
:KUBE-SERVICES - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-D OUTPUT -j CNI-HOSTPORT-DNAT
-X KUBE-SERVICES
-X CNI-HOSTPORT-DNAT
COMMIT
";
        assert_eq!(removal(saved), expected);
        assert_eq!(removal("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"), "");
        assert_eq!(removal(""), "");
    }
}
