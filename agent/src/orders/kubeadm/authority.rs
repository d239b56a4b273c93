//! Makes the authorities of a new cluster, and the certificates of its first member.

use super::config::Config;
use super::layout::Layout;
use super::{claim, pki};
use crate::context::{Context, Done, Outcome};
use crate::marks;
use quorate_proto::v1::CreateAuthority;

pub async fn run(context: &Context, action: &CreateAuthority) -> Done {
    let layout = Layout::of(&context.paths);
    claim::claim(context)?;
    let present = pki::shared(&layout)?;
    let done = marks::load(&context.paths)?.authority == action.digest;
    // A running control plane keeps its certificates: changing them is an order of its own.
    if present.is_none() || !(done || layout.etcd_manifest().exists()) {
        let config = Config::build(context.cluster()?, context.node()?)?;
        pki::make(context, &config, present.as_ref()).await?;
    }
    marks::update(&context.paths, |marks| {
        marks.authority = action.digest.clone();
    })?;
    Ok(Outcome::done())
}
