//! kubeadm, kubelet and kubectl as plain programs, where they are not packaged, and the kubelet's unit.

use super::fetch::Fetches;
use super::packages::{PROGRAMS, program};
use crate::context::Context;
use crate::host::{files, service};
use crate::paths::Paths;
use quorate_proto::v1::{ArtifactRef, ClusterConfig, Install, Problem};
use sha2::{Digest, Sha256};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const KUBELET: &str = "kubelet.service";
const FOLDER: &str = "/usr/local/bin";
const UNIT: &str = "/etc/systemd/system/kubelet.service";
const UNIT_DROPIN: &str = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf";

/// As upstream's package ships it, but for the program's place.
const UNIT_TEXT: &str = "\
[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/local/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
";

const UNIT_DROPIN_TEXT: &str = r#"# Written by quorate as kubeadm's package ships it.
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# Written by kubeadm when the node joins.
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
# For the administrator.
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"#;

/// The delivered programs that this node takes as plain files: not those that come as packages.
pub fn chosen<'a>(
    action: &'a Install,
    cluster: &ClusterConfig,
    packaged: impl Fn(&str) -> bool,
) -> Vec<&'a ArtifactRef> {
    PROGRAMS
        .iter()
        .filter(|name| !packaged(name))
        .filter_map(|name| program(&action.artifacts, name, cluster))
        .collect()
}

/// Those of the chosen whose file is not there or another one.
pub async fn changed(paths: &Paths, chosen: &[&ArtifactRef]) -> Result<Vec<ArtifactRef>, Problem> {
    let all = chosen
        .iter()
        .map(|artifact| tokio::spawn(digest(place(paths, artifact))));
    // Collected, so that all are read side by side.
    let reads: Vec<_> = all.collect();
    let mut changed = Vec::new();
    for (artifact, read) in chosen.iter().zip(reads) {
        let there = read
            .await
            .map_err(|error| Problem::new("file", format!("cannot read a program: {error}")))??;
        if there.as_ref() != Some(&artifact.digest) {
            changed.push((*artifact).clone());
        }
    }
    Ok(changed)
}

fn place(paths: &Paths, artifact: &ArtifactRef) -> PathBuf {
    paths.at(FOLDER).join(&artifact.name)
}

/// `sha256:<hex>` of an executable file; absent if it is missing or not executable.
async fn digest(path: PathBuf) -> Result<Option<String>, Problem> {
    let place = path.display().to_string();
    let work = move || -> io::Result<Option<String>> {
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if file.metadata()?.permissions().mode() & 0o777 != 0o755 {
            return Ok(None);
        }
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash)?;
        Ok(Some(format!("sha256:{}", hex::encode(hash.finalize()))))
    };
    let joined = tokio::task::spawn_blocking(work).await;
    let failed = |error: io::Error| {
        Problem::new("file", format!("cannot read a program: {error}")).at(place)
    };
    match joined {
        Ok(result) => result.map_err(failed),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

pub async fn bring(
    context: &Context,
    changed: &[ArtifactRef],
    fetches: &mut Fetches,
) -> Result<(), Problem> {
    for artifact in changed {
        let cached = fetches.take(artifact).await?;
        let target = place(&context.paths, artifact);
        copy(&cached, &target)?;
        context.say(format!("installed {}", target.display()));
    }
    Ok(())
}

/// Whole or not at all: a running kubelet keeps the file that it was started from.
fn copy(from: &Path, to: &Path) -> Result<(), Problem> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    files::make_folder(folder, 0o755)?;
    let write = || -> io::Result<()> {
        let mut source = File::open(from)?;
        let mut file = tempfile::Builder::new()
            .prefix(".quorate-")
            .tempfile_in(folder)?;
        io::copy(&mut source, &mut file)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o755))?;
        file.as_file().sync_all()?;
        file.persist(to).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        Problem::new("file", format!("cannot install a program: {error}"))
            .at(to.display().to_string())
    })
}

/// The kubelet's unit: enabled, so that it runs after a reboot, but not started before it has a configuration.
pub async fn kubelet_unit(context: &Context, chosen: &[&ArtifactRef]) -> Result<(), Problem> {
    if !chosen.iter().any(|artifact| artifact.name == "kubelet") {
        return Ok(());
    }
    let mut wrote = false;
    for (path, text) in [(UNIT, UNIT_TEXT), (UNIT_DROPIN, UNIT_DROPIN_TEXT)] {
        let path = context.paths.at(path);
        if files::write_if_changed(&path, text.as_bytes(), 0o644)? {
            context.say(format!("wrote {}", path.display()));
            wrote = true;
        }
    }
    // Also when an earlier run was killed after it wrote.
    if wrote || service::property(KUBELET, "NeedDaemonReload").await? == "yes" {
        service::daemon_reload().await?;
    }
    enable(context, KUBELET).await
}

pub async fn enable(context: &Context, unit: &str) -> Result<(), Problem> {
    if service::property(unit, "UnitFileState").await? == "enabled" {
        return Ok(());
    }
    service::enable(unit).await?;
    context.say(format!("enabled {unit}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context_under};
    use quorate_proto::v1::ArtifactKind;
    use std::fs;

    fn binary(name: &str, version: &str, digest: &str) -> ArtifactRef {
        ArtifactRef {
            digest: digest.into(),
            name: name.into(),
            kind: ArtifactKind::Binary as i32,
            version: version.into(),
            ..ArtifactRef::default()
        }
    }

    #[test]
    fn only_known_programs_of_the_asked_version_that_are_not_packaged() {
        let action = Install {
            artifacts: vec![
                binary("kubeadm", "v1.34.0", "sha256:1"),
                binary("kubeadm", "v1.33.13", "sha256:2"),
                binary("kubelet", "", "sha256:3"),
                binary("kubectl", "1.33.13", "sha256:4"),
                binary("../../etc/passwd", "", "sha256:5"),
            ],
            ..Install::default()
        };
        let cluster = ClusterConfig {
            version: "v1.33.13".into(),
            ..ClusterConfig::default()
        };
        let digests = |packaged: &str| -> Vec<String> {
            chosen(&action, &cluster, |name| name == packaged)
                .iter()
                .map(|artifact| artifact.digest.clone())
                .collect()
        };
        assert_eq!(digests(""), ["sha256:2", "sha256:3", "sha256:4"]);
        assert_eq!(digests("kubelet"), ["sha256:2", "sha256:4"]);
    }

    #[tokio::test]
    async fn a_program_is_placed_once() {
        let root = tempfile::tempdir().expect("folder");
        let cached = root.path().join("cached");
        fs::write(&cached, "program").expect("write");
        let digest = format!("sha256:{}", hex::encode(Sha256::digest("program")));
        let path = cached.display().to_string();
        let folder = Folder::of(&[(digest.as_str(), path.as_str())]);
        let (context, _) = context_under(Paths::under(root.path()), folder);
        let artifact = binary("kubeadm", "", &digest);
        let chosen = [&artifact];
        let first = changed(&context.paths, &chosen).await.expect("compare");
        assert_eq!(first, std::slice::from_ref(&artifact));
        let mut fetches = Fetches::start(&context, &first);
        bring(&context, &first, &mut fetches).await.expect("placed");
        assert_eq!(changed(&context.paths, &chosen).await.expect("compare"), []);
        let placed = root.path().join("usr/local/bin/kubeadm");
        let mode = fs::metadata(&placed).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        fs::set_permissions(&placed, Permissions::from_mode(0o644)).expect("mode");
        assert_eq!(
            changed(&context.paths, &chosen)
                .await
                .expect("compare")
                .len(),
            1
        );
    }
}
