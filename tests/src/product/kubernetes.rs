//! Real Kubernetes: a folder of binaries, images, packages and manifests that the user of the tests names.

use std::path::PathBuf;

/// `QUORATE_KUBERNETES`: holds bin/{kubeadm,kubelet,kubectl}, images/*.tar, debs/*.deb, manifests/cni.yaml.
/// Says that it skips when there is none.
pub fn folder(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("QUORATE_KUBERNETES").map(PathBuf::from);
    match folder {
        Some(folder) if folder.join("bin/kubeadm").is_file() => Some(folder),
        Some(folder) => panic!(
            "QUORATE_KUBERNETES={}: no bin/kubeadm there",
            folder.display()
        ),
        None => {
            eprintln!(
                "SKIPPED {test}: QUORATE_KUBERNETES names no folder of Kubernetes binaries and images"
            );
            None
        }
    }
}
