//! A machine that an administrator prepared for kubeadm, without quorate: what it makes must serve those too.

use super::kubernetes;
use crate::lab::Host;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const CONTAINERD: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "SANDBOX"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"#;

const KUBELET: &str = "\
[Unit]
After=containerd.service
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
--kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
";

/// What a worker runs.
const IMAGES: [&str; 3] = ["pause", "kube-proxy", "coredns"];

pub fn prepare_worker(host: &Host, folder: &Path) -> Result<()> {
    host.install_debs(&files(&folder.join("debs"))?)?;
    for program in ["kubeadm", "kubelet", "kubectl"] {
        let local = folder.join("bin").join(program);
        host.push(&local, &format!("/usr/local/bin/{program}"), 0o755)?;
    }
    let config = CONTAINERD.replace("SANDBOX", &kubernetes::sandbox_image(folder)?);
    host.write("/etc/containerd/config.toml", config, 0o644)?;
    host.write("/etc/systemd/system/kubelet.service", KUBELET, 0o644)?;
    host.ok(["sysctl", "--write", "net.ipv4.ip_forward=1"])?;
    host.ok(["systemctl", "daemon-reload"])?;
    host.ok(["systemctl", "restart", "containerd"])?;
    host.ok(["systemctl", "enable", "kubelet"])?;
    for image in IMAGES {
        let (local, remote) = (format!("images/{image}.tar"), format!("/root/{image}.tar"));
        host.push(&folder.join(local), &remote, 0o600)?;
        host.ok(["ctr", "--namespace", "k8s.io", "images", "import", &remote])?;
        host.ok(["rm", &remote])?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect()
}
