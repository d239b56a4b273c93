//! The kubelet: started once, with its final files.
//!
//! kubeadm starts it with a certificate inside kubelet.conf, and later moves that certificate into a file that the kubelet
//! can rotate and starts it again. Here the file is there before the first start, and the second start is saved.

use super::config::Config;
use super::layout::{KUBECONFIGS, KUBELET, Layout, SUPER_ADMIN};
use super::phase::phase;
use crate::context::Context;
use crate::host::{files, service};
use crate::kube::kubeconfig::{Kubeconfig, with_pair_file};
use quorate_proto::v1::Problem;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

pub const UNIT: &str = "kubelet.service";
const CURRENT: &str = "kubelet-client-current.pem";
/// The kubelet doubles the time between its tries from 0.8 s to 30 s: after 5 s it waits longer than a start takes.
const PATIENT_FOR: Duration = Duration::from_secs(5);

/// The kubeconfigs of a control plane. Files that are there and whole are kept, as kubeadm keeps them.
pub async fn kubeconfigs(context: &Context, config: &Config, first: bool) -> Result<(), Problem> {
    let layout = Layout::of(&context.paths);
    for name in KUBECONFIGS.iter().chain([&SUPER_ADMIN]) {
        let file = layout.kubernetes(name);
        if file.exists() && Kubeconfig::read(&file).is_err() {
            files::remove(&file)?;
        }
    }
    let text = config.for_init();
    if first {
        phase(context, &["kubeconfig", "all"], &text).await?;
    } else {
        let one = |name: &'static str| {
            let text = &text;
            async move { phase(context, &["kubeconfig", name], text).await }
        };
        tokio::try_join!(
            one("admin"),
            one("kubelet"),
            one("controller-manager"),
            one("scheduler")
        )?;
    }
    own_pair(&layout)
}

/// Moves the pair inside kubelet.conf to where the kubelet rotates it; does nothing once that is done.
fn own_pair(layout: &Layout<'_>) -> Result<(), Problem> {
    let file = layout.kubernetes("kubelet.conf");
    let text = files::read_text(&file)?;
    if !text.contains("client-key-data:") {
        return Ok(());
    }
    let pair = Kubeconfig::read(&file)?;
    let folder = layout.kubelet("pki");
    files::make_folder(&folder, 0o755)?;
    let stamp = jiff::Zoned::now().strftime("%Y-%m-%d-%H-%M-%S");
    let pem = folder.join(format!("kubelet-client-{stamp}.pem"));
    let both =
        zeroize::Zeroizing::new(format!("{}{}", pair.certificate_pem, pair.key_pem.as_str()));
    files::write_atomic(&pem, both.as_bytes(), 0o600)?;
    point(&folder.join(CURRENT), &pem)?;
    let final_path = format!("{KUBELET}/pki/{CURRENT}");
    files::write_atomic(&file, with_pair_file(&text, &final_path).as_bytes(), 0o600)
}

/// Makes or moves a symbolic link at once.
fn point(link: &Path, target: &Path) -> Result<(), Problem> {
    let fresh = link.with_extension("new");
    files::remove(&fresh)?;
    symlink(target, &fresh)
        .and_then(|()| fs::rename(&fresh, link))
        .map_err(|error| {
            Problem::new("file", format!("cannot make a link: {error}"))
                .at(link.display().to_string())
        })
}

/// Writes the kubelet's settings and starts it, also at the next boot.
pub async fn start(context: &Context, config: &Config) -> Result<(), Problem> {
    let layout = Layout::of(&context.paths);
    // A kubelet that finds no such folder looks for it again only every 20 s.
    files::make_folder(&layout.manifests(), 0o700)?;
    phase(context, &["kubelet-start"], &config.for_init()).await?;
    if service::property(UNIT, "UnitFileState").await? != "enabled" {
        service::enable(UNIT).await?;
    }
    Ok(())
}

/// Starts a kubelet anew that has had no API server for so long that its next tries are far apart: it would see its pods only
/// half a minute after the API server is there. The pods that run are not touched.
pub async fn freshen(context: &Context) -> Result<(), Problem> {
    let since = service::property(UNIT, "ActiveEnterTimestampMonotonic").await?;
    if age(&since, now()?).is_some_and(|age| age < PATIENT_FOR) {
        return Ok(());
    }
    context.say("starting the kubelet anew, as it has waited for its API server for long");
    service::restart(UNIT).await
}

/// From systemd's microseconds since boot; nothing for a unit that is not active.
fn age(since: &str, now: Duration) -> Option<Duration> {
    let since = since.parse().ok().filter(|since| *since > 0)?;
    Some(now.saturating_sub(Duration::from_micros(since)))
}

fn now() -> Result<Duration, Problem> {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .map_err(|error| Problem::new("clock", error.to_string()))
}

pub async fn stop() -> Result<(), Problem> {
    service::stop(UNIT).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;
    use std::os::unix::fs::PermissionsExt;

    const CONF: &str = "clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://10.0.0.1:6443
  name: kubernetes
contexts:
- context: {cluster: kubernetes, user: system:node:cp1}
  name: c
current-context: c
users:
- name: system:node:cp1
  user:
    client-certificate-data: Y3J0Cg==
    client-key-data: a2V5Cg==
";

    #[test]
    fn reads_how_long_a_unit_has_run() {
        let now = Duration::from_secs(10);
        for (since, expected) in [
            ("4000000", Some(6)),
            ("11000000", Some(0)),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(
                age(since, now),
                expected.map(Duration::from_secs),
                "{since}"
            );
        }
    }

    #[test]
    fn moves_the_pair_out_of_the_file_once() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let layout = Layout::of(&paths);
        files::write_atomic(&layout.kubernetes("kubelet.conf"), CONF.as_bytes(), 0o600).unwrap();

        own_pair(&layout).unwrap();
        let link = layout.kubelet("pki").join(CURRENT);
        assert_eq!(fs::read_to_string(&link).unwrap(), "crt\nkey\n");
        let mode = fs::metadata(&link).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let conf = fs::read_to_string(layout.kubernetes("kubelet.conf")).unwrap();
        assert!(conf.contains("client-key: /var/lib/kubelet/pki/kubelet-client-current.pem"));
        assert!(!conf.contains("a2V5"));

        own_pair(&layout).unwrap();
        assert_eq!(fs::read_dir(layout.kubelet("pki")).unwrap().count(), 2);
    }
}
