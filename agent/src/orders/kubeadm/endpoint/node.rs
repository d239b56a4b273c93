//! Brings this node's kubeconfigs to an endpoint, and has what reads them only at its start started anew.
//!
//! What is to be started anew is recorded before the first file changes: a kill in between is made good by the next run.

use super::{files as rules, place, required};
use crate::context::{Context, Done, Outcome};
use crate::host::{files, service};
use crate::kube::carrier::{KUBECONFIGS, Place, USERS};
use crate::kube::http::{Call, Connection};
use crate::kube::kubeconfig::Kubeconfig;
use crate::kube::own;
use crate::orders::kubeadm::kubelet::UNIT;
use crate::orders::kubeadm::layout::{BOOTSTRAP_KUBELET, KUBELET_CONF, Layout};
use crate::orders::kubeadm::ready::{self, until};
use crate::orders::kubeadm::worker::kubelet_target;
use crate::orders::kubeadm::{API_PORT, claim, due};
use jiff::Timestamp;
use quorate_proto::v1::{Problem, SetNodeEndpoint};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The kubelet renews its Lease when it starts, and then every 10 s.
const RENEWED_WITHIN: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(5);
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// A file and its new text; `None`: it goes.
type Change = (PathBuf, Option<Zeroizing<String>>);

pub async fn run(context: &Context, order: &SetNodeEndpoint) -> Done {
    claim::require(context)?;
    let endpoint = required(order.endpoint.as_ref())?;
    let from = place(order.from.as_ref())?;
    let changes = plan(context, &endpoint, from.as_ref())?;
    let due = due::record(context, changes.iter().map(|(file, _)| file.as_path()))?;
    for (file, text) in &changes {
        context.say(format!("{}: now the new endpoint", file.display()));
        match text {
            Some(text) => files::write_like(file, file, text.as_bytes())?,
            None => files::remove(file)?,
        }
    }
    due::settle(context, &due).await?;
    Ok(Outcome::done())
}

fn plan(context: &Context, endpoint: &Place, from: Option<&Place>) -> Result<Vec<Change>, Problem> {
    let layout = Layout::of(&context.paths);
    let own = own::api_server(&context.paths).or_else(|| {
        let node = context.node().ok().filter(|node| node.member)?;
        Some((node.address.clone(), API_PORT))
    });
    let joined = Kubeconfig::read(&layout.kubernetes(KUBELET_CONF)).is_ok();
    let mut changes: Vec<Change> = Vec::new();
    for name in KUBECONFIGS {
        let file = layout.kubernetes(name);
        let Some(text) = read(&file)? else { continue };
        // Of a join that has gone through: the kubelet has its own file since.
        if name == BOOTSTRAP_KUBELET && joined {
            changes.push((file, None));
            continue;
        }
        let changed = rules::of_kubeadm(name, &text, endpoint, own.as_ref()).map_err(|reason| {
            Problem::new(
                "kubeconfig",
                format!("cannot change a kubeconfig: {reason}"),
            )
            .at(file.display().to_string())
            .because("not written by kubeadm, or edited by hand")
            .next("correct the file, or restore it with `kubeadm init phase kubeconfig`")
        })?;
        changes.extend(changed.map(|text| (file, Some(Zeroizing::new(text)))));
    }
    let file = context.paths.at(USERS);
    if let Some(text) = read(&file)? {
        let changed = rules::of_user(&text, endpoint, from);
        changes.extend(changed.map(|text| (file, Some(Zeroizing::new(text)))));
    }
    Ok(changes)
}

fn read(file: &Path) -> Result<Option<Zeroizing<String>>, Problem> {
    let bytes = files::read_optional(file)?.map(Zeroizing::new);
    Ok(bytes.map(|bytes| Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())))
}

/// Pods go on; the node stays Ready, as its controller waits for longer than this takes.
pub async fn restart_kubelet(context: &Context) -> Result<(), Problem> {
    context.say("starting the kubelet anew");
    service::restart(UNIT).await?;
    // The earlier process has ended: what is renewed from here on is the new one's.
    let since = Timestamp::now();
    ready::kubelet(context).await?;
    renewed(context, since).await
}

/// Asked as the kubelet, with its own file, and so through the endpoint.
async fn renewed(context: &Context, since: Timestamp) -> Result<(), Problem> {
    let layout = Layout::of(&context.paths);
    let path = format!("{LEASES}/{}", context.node()?.name);
    until(
        context,
        "the kubelet to reach its API server",
        RENEWED_WITHIN,
        async || {
            let target = kubelet_target(&layout).ok_or_else(|| {
                Problem::new("kubeconfig", "the kubelet's file cannot be used")
                    .at(layout.kubernetes(KUBELET_CONF).display().to_string())
            })?;
            let mut connection = Connection::open(&target, ANSWER).await?;
            let answer = connection.call(Call::get(&path), ANSWER).await?;
            let lease: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            match answer.success() && is_newer(&lease, since) {
                true => Ok(()),
                false => Err(Problem::new(
                    "lease-not-renewed",
                    format!(
                        "the kubelet has not renewed its Lease since; asked for it: {}",
                        answer.status
                    ),
                )
                .at(target.url())),
            }
        },
    )
    .await
}

fn is_newer(lease: &Value, since: Timestamp) -> bool {
    let renewed = lease["spec"]["renewTime"].as_str();
    renewed.is_some_and(|text| text.parse().is_ok_and(|time: Timestamp| time > since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context_under};
    use crate::paths::Paths;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn config(server: &str) -> String {
        format!(
            "clusters:\n- cluster:\n    server: {server}\n  name: c\ncontexts:\n- context: {{cluster: c, user: u}}\n  name: x\ncurrent-context: x\n"
        )
    }

    #[test]
    fn plans_and_keeps_modes() {
        let root = tempfile::tempdir().unwrap();
        let (mut context, _) = context_under(Paths::under(root.path()), Folder::of(&[]));
        context.order = std::sync::Arc::new(quorate_proto::v1::Order {
            node: Some(quorate_proto::v1::NodeConfig {
                member: true,
                address: "10.0.0.1".into(),
                ..Default::default()
            }),
            ..Default::default()
        });
        let layout = Layout::of(&context.paths);
        let own = "https://10.0.0.1:6443";
        for name in ["admin.conf", "kubelet.conf", "scheduler.conf"] {
            files::write_atomic(&layout.kubernetes(name), config(own).as_bytes(), 0o600).unwrap();
        }
        let user = context.paths.at(USERS);
        files::write_atomic(&user, config(own).as_bytes(), 0o640).unwrap();
        let endpoint = ("lb".to_owned(), 6443);
        let from = ("10.0.0.1".to_owned(), 6443);
        let changes = plan(&context, &endpoint, Some(&from)).unwrap();
        let names: Vec<&Path> = changes.iter().map(|(file, _)| file.as_path()).collect();
        assert_eq!(names, [layout.kubernetes("admin.conf"), user.clone()]);
        for (file, text) in &changes {
            files::write_like(file, file, text.as_ref().unwrap().as_bytes()).unwrap();
        }
        let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&layout.kubernetes("admin.conf")), mode(&user)),
            (0o600, 0o640)
        );
        assert!(plan(&context, &endpoint, Some(&from)).unwrap().is_empty());
    }

    #[test]
    fn a_lease_of_the_new_kubelet() {
        let since: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (time, newer) in [
            (json!("2026-11-21T12:00:00.000001Z"), true),
            (json!("2026-11-21T11:59:59.999999Z"), false),
            (json!(null), false),
        ] {
            let lease = json!({"spec": {"renewTime": time}});
            assert_eq!(is_newer(&lease, since), newer, "{lease}");
        }
    }
}
