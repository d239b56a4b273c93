//! Takes this node out of its cluster on its own side. Its etcd member must be gone from the cluster already.

use super::remains;
use crate::context::{Context, Done, Outcome};
use crate::marks;
use quorate_proto::v1::{Marks, Reset};

pub async fn run(context: &Context, action: &Reset) -> Done {
    context.say(format!(
        "taking this node's Kubernetes back: {}",
        action.reason
    ));
    remains::take_back(context).await?;
    // Last, so that a reset that was cut short is still seen as a node with a cluster on it.
    marks::update(&context.paths, forget)?;
    Ok(Outcome::done())
}

/// What was installed is still installed, and the load balancer is a role of its own.
fn forget(marks: &mut Marks) {
    *marks = Marks {
        preflight: std::mem::take(&mut marks.preflight),
        install: std::mem::take(&mut marks.install),
        load_balancer: std::mem::take(&mut marks.load_balancer),
        ..Marks::default()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_cluster_and_keeps_what_is_installed() {
        let mut marks = Marks {
            cluster_id: "c".to_owned(),
            preflight: "p".to_owned(),
            install: "i".to_owned(),
            authority: "a".to_owned(),
            init: "n".to_owned(),
            prepared: "r".to_owned(),
            finished: "f".to_owned(),
            worker: "w".to_owned(),
            load_balancer: "l".to_owned(),
            manifests: "m".to_owned(),
            configured_nodes: [("n".to_owned(), "d".to_owned())].into(),
            stopped: "c".to_owned(),
        };
        forget(&mut marks);
        let expected = Marks {
            preflight: "p".to_owned(),
            install: "i".to_owned(),
            load_balancer: "l".to_owned(),
            ..Marks::default()
        };
        assert_eq!(marks, expected);
    }
}
