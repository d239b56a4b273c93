//! Everything of a control plane's join outside etcd's membership change: certificates, kubeconfigs, a running kubelet.
//! Leaves no static pod behind: the next order drops them all at once.

use super::config::Config;
use super::layout::{Layout, SUPER_ADMIN};
use super::{claim, kubelet, pki};
use crate::context::{Context, Done, Outcome};
use crate::host::files;
use crate::marks;
use quorate_proto::v1::PrepareMember;

pub async fn run(context: &Context, action: &PrepareMember) -> Done {
    let layout = Layout::of(&context.paths);
    claim::claim(context)?;
    let done = marks::load(&context.paths)?.prepared == action.digest;
    // A member that has been started is past this step, and its certificates are in use.
    if !done && !layout.etcd_manifest().exists() {
        let config = Config::build(context.cluster()?, context.node()?)?;
        let shared = pki::received(&context.material()?.files)?;
        // Those of another try may be signed by other authorities.
        for name in super::layout::KUBECONFIGS.iter().chain([&SUPER_ADMIN]) {
            files::remove(&layout.kubernetes(name))?;
        }
        pki::make(context, &config, Some(&shared)).await?;
        kubelet::kubeconfigs(context, &config, false).await?;
        kubelet::start(context, &config).await?;
    }
    marks::update(&context.paths, |marks| {
        marks.prepared = action.digest.clone();
    })?;
    Ok(Outcome::done())
}
