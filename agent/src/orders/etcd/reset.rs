//! Takes this node's etcd member down and removes its data, options and certificates. The drop-in stays: without options the unit
//! does nothing, and so the package cannot start an etcd of its own here.

use super::{data_folder, environment_file, unit};
use crate::context::{Context, Done, Outcome};
use crate::host::{files, service};
use crate::marks;
use quorate_proto::v1::{Marks, Reset};

pub async fn run(context: &Context, order: &Reset) -> Done {
    context.say(format!("taking this node's etcd down: {}", order.reason));
    let paths = &context.paths;
    service::stop(unit::NAME).await?;
    if service::property(unit::NAME, "LoadState").await? == "loaded" {
        service::disable(unit::NAME).await?;
    }
    // Without options first: whatever comes next, etcd does not start again.
    files::remove(&environment_file(paths))?;
    files::remove_tree(&data_folder(paths))?;
    files::remove_tree(&paths.etcd_pki())?;
    // Last, so that a reset that was cut short is still seen as a node with a cluster on it.
    marks::update(paths, forget)?;
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
        let kept = Marks {
            preflight: "p".into(),
            install: "i".into(),
            load_balancer: "l".into(),
            ..Marks::default()
        };
        let mut marks = Marks {
            cluster_id: "c".into(),
            authority: "a".into(),
            init: "n".into(),
            prepared: "r".into(),
            finished: "f".into(),
            ..kept.clone()
        };
        forget(&mut marks);
        assert_eq!(marks, kept);
    }
}
