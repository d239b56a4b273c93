//! A node belongs to one cluster: nothing of another one is taken over or written over.

use super::layout::{BOOTSTRAP_KUBELET, ETCD_DATA, Layout};
use crate::context::Context;
use crate::marks;
use quorate_proto::v1::Problem;

/// Marks this node as the order's cluster's, before anything is written for it.
pub fn claim(context: &Context) -> Result<(), Problem> {
    let wanted = context.cluster()?.id.clone();
    let marks = marks::load(&context.paths)?;
    decide(&marks.cluster_id, &wanted, &leftovers(context))?;
    if marks.cluster_id != wanted {
        marks::update(&context.paths, |marks| marks.cluster_id = wanted)?;
    }
    Ok(())
}

/// For orders that only go on with what an earlier one began.
pub fn require(context: &Context) -> Result<(), Problem> {
    let wanted = &context.cluster()?.id;
    let marks = marks::load(&context.paths)?;
    if marks.cluster_id == *wanted {
        return Ok(());
    }
    Err(Problem::new(
        "not-prepared",
        "this node has not been prepared for the cluster",
    )
    .because("an earlier step is missing, or the node was reset meanwhile"))
}

fn decide(present: &str, wanted: &str, leftovers: &[String]) -> Result<(), Problem> {
    let occupied = |what: String| {
        Problem::new("node-occupied", what)
            .next("reset the node first: `kubeadm reset`, or remove it from its cluster")
    };
    match (present.is_empty(), leftovers.is_empty()) {
        (false, _) if present == wanted => Ok(()),
        (false, _) => Err(occupied(format!("this node belongs to cluster {present}"))),
        (true, true) => Ok(()),
        (true, false) => Err(occupied(
            "this node holds files of a cluster that was not made here".to_owned(),
        )
        .at(leftovers.join(", "))),
    }
}

/// What tells that a node is, or was, part of a Kubernetes cluster.
fn leftovers(context: &Context) -> Vec<String> {
    let layout = Layout::of(&context.paths);
    [
        layout.pki().join("ca.crt"),
        layout.kubernetes("kubelet.conf"),
        layout.kubernetes(BOOTSTRAP_KUBELET),
        layout.etcd_manifest(),
        context.paths.at(ETCD_DATA).join("member"),
    ]
    .into_iter()
    .filter(|path| path.exists())
    .map(|path| path.display().to_string())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_one_cluster() {
        let left = vec!["/etc/kubernetes/pki/ca.crt".to_owned()];
        for (present, leftovers, expected) in [
            ("", &[][..], None),
            ("a", &[], None),
            ("a", &left[..], None),
            ("b", &[], Some("belongs to cluster b")),
            ("b", &left, Some("belongs to cluster b")),
            ("", &left, Some("not made here")),
        ] {
            let problem = decide(present, "a", leftovers).err();
            match expected {
                None => assert_eq!(problem, None),
                Some(text) => assert!(
                    problem.unwrap().what.contains(text),
                    "{present} {leftovers:?}"
                ),
            }
        }
    }
}
