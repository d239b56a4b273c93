//! Everything of a join outside the membership change: the authority, the certificates, the unit. etcd itself stays down.

use super::claim::claim;
use super::export::{CA_CERTIFICATE, CA_KEY};
use super::{certificates, subject, unit};
use crate::context::{Context, Done, Outcome};
use crate::marks;
use quorate_pki::Authority;
use quorate_proto::v1::{ClusterConfig, JoinMaterial, PrepareMember, Problem};
use zeroize::Zeroizing;

pub async fn run(context: &Context, order: &PrepareMember) -> Done {
    let (cluster, node, address) = subject(context)?;
    claim(context)?;
    let authority = match certificates::load(&context.paths, cluster)? {
        Some(present) => present,
        None => {
            let received = received(context.material()?, cluster)?;
            certificates::store(&context.paths, &received)?;
            received
        }
    };
    context.say("signing this member's certificates");
    certificates::ensure(&context.paths, &authority, cluster, node, address)?;
    unit::place_drop_in(&context.paths).await?;
    marks::update(&context.paths, |marks| {
        marks.prepared.clone_from(&order.digest);
    })?;
    Ok(Outcome::done())
}

/// The authority from the sealed part, if it is whole and this cluster's.
fn received(material: &JoinMaterial, cluster: &ClusterConfig) -> Result<Authority, Problem> {
    let text = |name: &str| {
        let bytes = material.files.get(name).cloned().unwrap_or_default();
        Zeroizing::new(String::from_utf8(bytes).unwrap_or_default())
    };
    certificates::of_cluster(&text(CA_CERTIFICATE), &text(CA_KEY), cluster)
        .map_err(|problem| problem.at("sealed part of the order"))
}
