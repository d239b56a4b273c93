//! Files of this node that name an API server.

use crate::host::files;
use crate::kube::carrier::{KUBECONFIGS, Place, USERS, kind, names, text};
use crate::kube::kubeconfig::{current_server, split_url};
use crate::paths::Paths;
use quorate_proto::v1::{Carrier, CarrierKind, Problem};
use std::fs;
use std::path::{Path, PathBuf};

/// Files looked at in one folder: kubeadm has five static pods and as many kubeconfigs.
const MAX_FILES: usize = 64;
/// Larger ones are neither kubeconfigs nor manifests.
const MAX_BYTES: u64 = 1024 * 1024;

/// Also the first file that could not be read. `watched`: what to look for in manifests, beside what the kubeconfigs hold.
pub fn find(
    paths: &Paths,
    own: Option<&Place>,
    watched: &[Place],
) -> (Vec<Carrier>, Option<Problem>) {
    let mut found = Vec::new();
    let mut problem = None;
    for file in kubeconfigs(paths) {
        match of_kubeconfig(paths, &file, own) {
            Ok(carrier) => found.extend(carrier),
            Err(unreadable) => {
                problem.get_or_insert(unreadable);
            }
        }
    }
    let mut wanted: Vec<Place> = watched.to_vec();
    let follows = found.iter().filter(|it| it.kind() == CarrierKind::Follows);
    wanted.extend(follows.filter_map(|it| split_url(&format!("https://{}", it.value))));
    // The node's own address stands all over its own manifests, rightly so.
    wanted.retain(|place| Some(place) != own);
    wanted.sort_unstable();
    wanted.dedup();
    found.extend(in_manifests(paths, &wanted));
    (found, problem)
}

fn kubeconfigs(paths: &Paths) -> Vec<PathBuf> {
    let folder = paths.kubernetes();
    let mut files: Vec<PathBuf> = KUBECONFIGS.iter().map(|name| folder.join(name)).collect();
    for file in listed(&folder, "conf") {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files.push(paths.at(USERS));
    files
}

fn of_kubeconfig(
    paths: &Paths,
    file: &Path,
    own: Option<&Place>,
) -> Result<Option<Carrier>, Problem> {
    let place = format!("/{}", relative(paths, file));
    let Some(bytes) = files::read_optional(file)? else {
        return Ok(None);
    };
    let bytes = zeroize::Zeroizing::new(bytes);
    let name = file
        .file_name()
        .and_then(|it| it.to_str())
        .unwrap_or_default();
    let user = place == USERS;
    let server = std::str::from_utf8(&bytes)
        .map_err(|_| "not text".to_owned())
        .and_then(current_server);
    let server = match server {
        Ok(url) => split_url(&url),
        // A file of another purpose that ends in .conf.
        Err(_) if !user && !KUBECONFIGS.contains(&name) => return Ok(None),
        Err(reason) => {
            return Err(
                Problem::new("kubeconfig", format!("cannot use a kubeconfig: {reason}"))
                    .at(place)
                    .because("it was edited by hand, or cut short"),
            );
        }
    };
    Ok(server.map(|server| Carrier {
        place,
        kind: match user {
            true => CarrierKind::User,
            false => kind(name, &server, own),
        } as i32,
        value: text(&server),
    }))
}

fn in_manifests(paths: &Paths, wanted: &[Place]) -> Vec<Carrier> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for file in listed(&paths.kubernetes().join("manifests"), "yaml") {
        let Ok(manifest) = fs::read_to_string(&file) else {
            continue;
        };
        for place in wanted.iter().filter(|place| names(&manifest, place)) {
            found.push(Carrier {
                place: format!("/{}", relative(paths, &file)),
                value: text(place),
                kind: CarrierKind::Outside as i32,
            });
        }
    }
    found
}

/// Plain files with this ending, in order, and no hidden ones.
fn listed(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == ending))
        .filter(|path| {
            fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_BYTES)
        })
        .take(MAX_FILES)
        .collect();
    files.sort_unstable();
    files
}

fn relative(paths: &Paths, file: &Path) -> String {
    let inside = file.strip_prefix(paths.root()).unwrap_or(file);
    inside.display().to_string()
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
    fn everything_that_names_an_api_server() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let write = |path: &str, text: &str| {
            files::write_atomic(&paths.at(path), text.as_bytes(), 0o600).unwrap();
        };
        let (lb, local) = ("https://lb.example:6443", "https://10.0.0.11:6443");
        write("/etc/kubernetes/admin.conf", &config(lb));
        write("/etc/kubernetes/kubelet.conf", &config(local));
        write("/etc/kubernetes/scheduler.conf", &config(lb));
        write("/etc/kubernetes/monitor.conf", &config(lb));
        write("/etc/kubernetes/kube-vip.conf", "interval = 5");
        write("/etc/kubernetes/bootstrap-kubelet.conf", "clusters: [");
        write("/root/.kube/config", &config("https://[fd00::1]:6443"));
        let manifests = "/etc/kubernetes/manifests";
        write(
            &format!("{manifests}/a.yaml"),
            "- --external=lb.example\n- 10.0.0.11:6443\n",
        );
        write(&format!("{manifests}/b.yaml"), "- https://10.0.0.12:2380\n");
        write(&format!("{manifests}/.b.yaml.swp"), "lb.example");
        let own = ("10.0.0.11".to_owned(), 6443);
        let watched = [("10.0.0.12".to_owned(), 6443), own.clone()];
        let (found, problem) = find(&paths, Some(&own), &watched);
        let problem = problem.unwrap();
        assert_eq!(problem.r#where, "/etc/kubernetes/bootstrap-kubelet.conf");
        let seen: Vec<_> = found
            .iter()
            .map(|it| (it.place.as_str(), it.value.as_str(), it.kind()))
            .collect();
        let expected = [
            (
                "/etc/kubernetes/admin.conf",
                "lb.example:6443",
                CarrierKind::Follows,
            ),
            (
                "/etc/kubernetes/kubelet.conf",
                "10.0.0.11:6443",
                CarrierKind::Local,
            ),
            (
                "/etc/kubernetes/scheduler.conf",
                "lb.example:6443",
                CarrierKind::Follows,
            ),
            (
                "/etc/kubernetes/monitor.conf",
                "lb.example:6443",
                CarrierKind::Outside,
            ),
            ("/root/.kube/config", "[fd00::1]:6443", CarrierKind::User),
            (
                "/etc/kubernetes/manifests/a.yaml",
                "lb.example:6443",
                CarrierKind::Outside,
            ),
        ];
        assert_eq!(seen, expected);
        let nothing = Paths::under(root.path().join("empty"));
        assert_eq!(find(&nothing, None, &watched), (vec![], None));
    }
}
