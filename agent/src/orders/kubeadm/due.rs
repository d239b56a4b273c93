//! What is to be started anew because a file that it reads only at its start has changed. Recorded before the file changes, so that
//! a kill in between is made good by the next order that looks.

use super::endpoint::node::restart_kubelet;
use super::layout::KUBELET_CONF;
use super::static_pod::{self, Component};
use crate::context::Context;
use crate::host::files;
use quorate_proto::v1::Problem;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names of kubeconfigs.
pub type Due = BTreeSet<String>;

/// The file's name, if something reads it at its start only. A user's own copy of that name is read by people.
pub fn reader_of(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let read = name == KUBELET_CONF || Component::ALL.iter().any(|it| it.kubeconfig() == name);
    (read && file.parent()?.ends_with("kubernetes")).then(|| name.to_owned())
}

/// Adds what these files will call for; returns that with what was due before.
pub fn record<'a>(
    context: &Context,
    files: impl Iterator<Item = &'a Path>,
) -> Result<Due, Problem> {
    let mut due = load(context)?;
    let before = due.len();
    due.extend(files.filter_map(reader_of));
    if due.len() > before {
        let bytes =
            serde_json::to_vec(&due).map_err(|error| Problem::new("file", error.to_string()))?;
        files::write_atomic(&place(context), &bytes, 0o600)?;
    }
    Ok(due)
}

/// Starts all of it anew, waits until it runs, and forgets it.
pub async fn settle(context: &Context, due: &Due) -> Result<(), Problem> {
    if due.contains(KUBELET_CONF) {
        restart_kubelet(context).await?;
    }
    let mut components = Component::ALL.to_vec();
    components.retain(|it| due.contains(it.kubeconfig()));
    static_pod::restart(context, &components).await?;
    files::remove(&place(context))
}

fn load(context: &Context) -> Result<Due, Problem> {
    let Some(bytes) = files::read_optional(&place(context))? else {
        return Ok(Due::new());
    };
    // One that cannot be read is taken for everything: a restart too many does no harm.
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        let components = Component::ALL.map(Component::kubeconfig);
        let all = components.into_iter().chain([KUBELET_CONF]);
        all.map(str::to_owned).collect()
    }))
}

fn place(context: &Context) -> PathBuf {
    context.paths.state().join("restarts-due.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context_under};
    use crate::paths::Paths;

    #[test]
    fn what_is_due_outlives_a_kill() {
        let root = tempfile::tempdir().unwrap();
        let (context, _) = context_under(Paths::under(root.path()), Folder::of(&[]));
        assert!(load(&context).unwrap().is_empty());
        let files = [
            "/etc/kubernetes/kubelet.conf",
            "/etc/kubernetes/admin.conf",
            "/root/.kube/scheduler.conf",
        ];
        let due = record(&context, files.iter().map(Path::new)).unwrap();
        assert_eq!(due.iter().collect::<Vec<_>>(), ["kubelet.conf"]);
        let more = ["/etc/kubernetes/scheduler.conf"];
        let due = record(&context, more.iter().map(Path::new)).unwrap();
        assert_eq!(due.len(), 2);
        assert_eq!(load(&context).unwrap(), due);
        files::write_atomic(&place(&context), b"[", 0o600).unwrap();
        assert_eq!(load(&context).unwrap().len(), 3);
    }
}
