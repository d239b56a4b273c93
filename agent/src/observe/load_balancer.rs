//! What HAProxy on this node says of itself and of its backends. Read only.
//!
//! - [`socket`]: its runtime socket; [`stats`]: the table that it prints there (pure).

pub mod socket;
pub mod stats;

use crate::host::files;
use crate::orders::load_balancer::render;
use crate::paths::Paths;
use quorate_proto::v1::{BackendState, FrontendState, LoadBalancerView, Marks, Problem};
use stats::Row;

/// `None` never: a node that was not made a load balancer is known not to be one.
pub async fn view(paths: &Paths, marks: &Marks) -> Option<LoadBalancerView> {
    if marks.load_balancer.is_empty() {
        return Some(LoadBalancerView::default());
    }
    let mut view = match socket::stats(paths).await {
        Ok(rows) => LoadBalancerView {
            running: true,
            backends: backends(&rows),
            frontends: frontends(&rows),
            ..LoadBalancerView::default()
        },
        Err(problem) => LoadBalancerView {
            problem: Some(problem),
            ..LoadBalancerView::default()
        },
    };
    match digest(paths, marks) {
        Ok(digest) => view.digest = digest,
        Err(problem) => {
            view.problem.get_or_insert(problem);
        }
    }
    Some(view)
}

/// The digest of what was asked, as long as the file is what was written for it.
fn digest(paths: &Paths, marks: &Marks) -> Result<String, Problem> {
    let file = paths.at(render::FILE);
    let text = files::read_text(&file)?;
    if render::intact_digest(&text) == Some(&marks.load_balancer) {
        return Ok(marks.load_balancer.clone());
    }
    Err(Problem::new(
        "load-balancer-changed",
        "HAProxy's configuration is not the one that was written for this cluster",
    )
    .at(file.display().to_string())
    .because("it was edited by hand, or its last change did not end")
    .next("apply the cluster file again; the file is then written anew"))
}

/// Those of the cluster; the page of statistics is none.
fn frontends(rows: &[Row]) -> Vec<FrontendState> {
    rows.iter()
        .filter(|row| row.is_frontend() && row.proxy != render::STATS)
        .map(|row| {
            let (current, total) = row.connections();
            FrontendState {
                name: row.proxy.clone(),
                current,
                total,
            }
        })
        .collect()
}

fn backends(rows: &[Row]) -> Vec<BackendState> {
    rows.iter()
        .filter(|row| row.is_server())
        .map(|row| BackendState {
            frontend: row.proxy.clone(),
            name: row.server.clone(),
            up: row.is_up(),
            detail: row.detail(),
        })
        .collect()
}
