//! What `kubeadm certs renew all` renews on a control plane, made here: kubeadm writes a key and then its certificate, and a kill
//! in between would leave the API server with half a pair. The kubelet renews its own.

use super::{first, is_older, old, reissue, renew_pair, unreadable};
use crate::context::{Context, Done, Outcome};
use crate::host::files;
use crate::host::pair::Pair;
use crate::kube::kubeconfig::{Kubeconfig, with_pair};
use crate::orders::kubeadm::layout::{KUBECONFIGS, KUBELET_CONF, Layout, SUPER_ADMIN};
use crate::orders::kubeadm::{API_PORT, claim, due, ready};
use crate::orders::serving::prove;
use crate::orders::serving::subject::{Serving, load_authority};
use quorate_pki::Authority;
use quorate_proto::v1::Problem;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// An authority, and the pairs that it signs, below the pki folder.
const PAIRS: [(&str, &[&str]); 3] = [
    ("ca", &["apiserver", "apiserver-kubelet-client"]),
    ("front-proxy-ca", &["front-proxy-client"]),
    (
        "etcd/ca",
        &[
            "apiserver-etcd-client",
            "etcd/server",
            "etcd/peer",
            "etcd/healthcheck-client",
        ],
    ),
];
/// What serves, and on which port of the node's address.
const SERVING: [(&str, u16); 3] = [
    ("apiserver", API_PORT),
    ("etcd/server", 2379),
    ("etcd/peer", 2380),
];

pub async fn run(context: &Context, since: SystemTime) -> Done {
    claim::require(context)?;
    let layout = Layout::of(&context.paths);
    if !layout.pki().join("apiserver.crt").exists() {
        // A worker: its kubelet renews the only one it has.
        return Ok(Outcome::done());
    }
    for (authority, stems) in PAIRS {
        renew_pairs(context, authority, stems, since)?;
    }
    let changes = kubeconfigs(&layout, since)?;
    let due = due::record(context, changes.iter().map(|(file, _)| file.as_path()))?;
    for (file, text) in &changes {
        context.say(format!("renewing {}", file.display()));
        files::write_like(file, file, text.as_bytes())?;
    }
    due::settle(context, &due).await?;
    let address = address(context)?;
    for (stem, port) in SERVING {
        let serving = Serving {
            pair: pair(&layout, stem),
            address: SocketAddr::new(address, port),
        };
        prove::served(context, &serving).await?;
    }
    ready::api(context).await?;
    Ok(Outcome::done())
}

/// The authority's key is read only if something is to be signed: it may be kept elsewhere.
fn renew_pairs(
    context: &Context,
    authority: &str,
    stems: &[&str],
    since: SystemTime,
) -> Result<(), Problem> {
    let layout = Layout::of(&context.paths);
    let mut signer: Option<Authority> = None;
    for stem in stems {
        let pair = pair(&layout, stem);
        if old(&pair, since)?.is_none() {
            continue;
        }
        let signer = match &signer {
            Some(signer) => signer,
            None => signer.insert(load(&layout, authority)?),
        };
        renew_pair(context, signer, &pair, None, |_| Ok(()))?;
    }
    Ok(())
}

fn kubeconfigs(
    layout: &Layout<'_>,
    since: SystemTime,
) -> Result<Vec<(PathBuf, Zeroizing<String>)>, Problem> {
    let mut changes = Vec::new();
    let names = KUBECONFIGS.iter().filter(|name| **name != KUBELET_CONF);
    for name in names.chain([&SUPER_ADMIN]) {
        let file = layout.kubernetes(name);
        let Some(bytes) = files::read_optional(&file)?.map(Zeroizing::new) else {
            continue;
        };
        let config = Kubeconfig::read(&file)?;
        let info = first(&config.certificate_pem).ok_or_else(|| unreadable(&file))?;
        if !is_older(&info, since) {
            continue;
        }
        let signer = load(layout, "ca")?;
        let new = reissue(&signer, &config.certificate_pem, &config.key_pem, None)?;
        let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
        let changed = with_pair(&text, &new.issued.cert_pem, &new.key_pem).map_err(|reason| {
            Problem::new(
                "kubeconfig",
                format!("cannot change a kubeconfig: {reason}"),
            )
            .at(file.display().to_string())
            .because("not written by kubeadm, or edited by hand")
            .next("renew it with `kubeadm certs renew`")
        })?;
        changes.push((file, changed));
    }
    Ok(changes)
}

fn load(layout: &Layout<'_>, name: &str) -> Result<Authority, Problem> {
    let file = |ending: &str| layout.pki().join(format!("{name}.{ending}"));
    load_authority(&file("crt"), &file("key"))
}

/// The folder's part of a stem belongs to the folder.
fn pair(layout: &Layout<'_>, stem: &str) -> Pair {
    match stem.split_once('/') {
        Some((folder, stem)) => Pair::new(layout.pki().join(folder), stem),
        None => Pair::new(layout.pki(), stem),
    }
}

fn address(context: &Context) -> Result<IpAddr, Problem> {
    let node = context.node()?;
    node.address.parse().map_err(|_| {
        Problem::new(
            "address-invalid",
            format!("{:?} is no IP address", node.address),
        )
        .at(format!("node {}", node.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context_under};
    use crate::paths::Paths;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use quorate_pki::{Leaf, Usage, pair_matches};
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn leaf(name: &str, usage: Usage) -> Leaf {
        Leaf {
            common_name: name.into(),
            organization: vec!["o".into()],
            names: vec![],
            uri: None,
            usage,
            validity: 300 * DAY,
        }
    }

    #[test]
    fn renews_the_old_and_leaves_the_new() {
        let root = tempfile::tempdir().unwrap();
        let (context, _) = context_under(Paths::under(root.path()), Folder::of(&[]));
        let layout = Layout::of(&context.paths);
        let (now, then) = (SystemTime::now(), SystemTime::now() - 30 * DAY);
        let ca = Authority::create("kubernetes", 3650 * DAY, then).unwrap();
        let write = |name: &str, text: &str| {
            files::write_atomic(&layout.pki().join(name), text.as_bytes(), 0o600).unwrap();
        };
        write("ca.crt", ca.cert_pem());
        write("ca.key", ca.key_pem());
        for (stem, at) in [("apiserver", then), ("apiserver-kubelet-client", now)] {
            let issued = ca.issue(&leaf(stem, Usage::Both), at).unwrap();
            write(&format!("{stem}.crt"), &issued.issued.cert_pem);
            write(&format!("{stem}.key"), &issued.key_pem);
        }
        let read = |stem: &str| pair(&layout, stem).read().unwrap();
        let before = (read("apiserver").0, read("apiserver-kubelet-client").0);
        let since = now - DAY;
        renew_pairs(&context, "ca", PAIRS[0].1, since).unwrap();
        let (certificate, key) = read("apiserver");
        assert_ne!(certificate, before.0);
        assert!(pair_matches(&certificate, &key));
        assert_eq!(read("apiserver-kubelet-client").0, before.1);
        let life = |pem: &str| {
            let info = first(pem).unwrap();
            info.not_after.duration_since(info.not_before).unwrap()
        };
        let (old, new) = (life(&before.0), life(&certificate));
        assert!(
            old.abs_diff(new) < Duration::from_secs(5),
            "{old:?} {new:?}"
        );
        // Again, with the same order: nothing.
        renew_pairs(&context, "ca", PAIRS[0].1, since).unwrap();
        assert_eq!(read("apiserver").0, certificate);
        // And just ordered: what was issued after the order was made is new enough.
        let seconds = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let ordered = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        renew_pairs(&context, "ca", PAIRS[0].1, ordered).unwrap();
        assert_eq!(read("apiserver").0, certificate);
    }

    #[test]
    fn renews_inside_kubeconfigs_but_the_kubelets() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let layout = Layout::of(&paths);
        let then = SystemTime::now() - 30 * DAY;
        let ca = Authority::create("kubernetes", 3650 * DAY, then).unwrap();
        let write = |file: PathBuf, text: &str| {
            files::write_atomic(&file, text.as_bytes(), 0o600).unwrap();
        };
        write(layout.pki().join("ca.crt"), ca.cert_pem());
        write(layout.pki().join("ca.key"), ca.key_pem());
        for name in ["admin.conf", "kubelet.conf"] {
            let issued = ca.issue(&leaf("admin", Usage::Client), then).unwrap();
            let encode = |text: &str| STANDARD.encode(text);
            let text = format!(
                "clusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://lb:6443\n  name: c\ncontexts:\n- context: {{cluster: c, user: u}}\n  name: x\ncurrent-context: x\nusers:\n- name: u\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
                encode(ca.cert_pem()),
                encode(&issued.issued.cert_pem),
                encode(&issued.key_pem),
            );
            write(layout.kubernetes(name), &text);
        }
        let changes = kubeconfigs(&layout, SystemTime::now()).unwrap();
        assert_eq!(changes.len(), 1);
        let (file, text) = &changes[0];
        assert_eq!(*file, layout.kubernetes("admin.conf"));
        write(file.clone(), text);
        let config = Kubeconfig::read(file).unwrap();
        assert!(pair_matches(&config.certificate_pem, &config.key_pem));
        let info = first(&config.certificate_pem).unwrap();
        assert_eq!(info.subject, "O=o, CN=admin");
        assert!(
            kubeconfigs(&layout, SystemTime::now() - DAY)
                .unwrap()
                .is_empty()
        );
    }
}
