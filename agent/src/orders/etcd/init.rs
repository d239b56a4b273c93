//! Forms a cluster of one on the node that holds the authority.

use super::environment::{self, Start};
use super::{certificates, claim, data, health, subject, unit};
use crate::context::{Context, Done, Outcome};
use crate::marks;
use quorate_proto::v1::{Init, MemberAddress};

pub async fn run(context: &Context, order: &Init) -> Done {
    let (cluster, node, address) = subject(context)?;
    claim::require(context)?;
    let authority = certificates::required(&context.paths, cluster)?;
    let itself = MemberAddress {
        name: node.name.clone(),
        peer_url: environment::peer_url(address),
    };
    let options = environment::render(cluster, node, address, Start::New, &[itself])?;
    certificates::ensure(&context.paths, &authority, cluster, node, address)?;
    data::settle(context, &cluster.id, Start::New).await?;
    context.say("starting the cluster's first etcd member");
    unit::run(&context.paths, &options).await?;
    health::serves(context, &health::client(context)?).await?;
    unit::settle(&context.paths)?;
    marks::update(&context.paths, |marks| marks.init.clone_from(&order.digest))?;
    Ok(Outcome::done())
}
