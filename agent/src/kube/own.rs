//! Where the API server of this very node listens, as kubeadm wrote it into the static pod's manifest.

use super::api::local_endpoint;
use super::kubeconfig::split_authority;
use crate::paths::Paths;

const MANIFEST: &str = "manifests/kube-apiserver.yaml";
const ANNOTATION: &str = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint:";

/// `None` on a node without an API server. Not from the machine's addresses: a virtual one among them is the endpoint, not the node.
pub fn api_server(paths: &Paths) -> Option<(String, u16)> {
    let manifest = std::fs::read_to_string(paths.kubernetes().join(MANIFEST)).ok()?;
    advertised(&manifest).or_else(|| local_endpoint(paths).ok())
}

fn advertised(manifest: &str) -> Option<(String, u16)> {
    let value = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix(ANNOTATION))?;
    split_authority(value.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kubeadms_annotation() {
        for (line, expected) in [
            ("10.77.0.11:6443", Some(("10.77.0.11", 6443))),
            ("'[fd00::1]:6443'", Some(("fd00::1", 6443))),
            ("nonsense", None),
        ] {
            let text = format!("metadata:\n  annotations:\n    {ANNOTATION} {line}\n");
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(advertised(&text), expected, "{line}");
        }
        assert_eq!(advertised("kind: Pod"), None);
    }
}
