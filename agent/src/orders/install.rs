//! Order install: brings host settings, packages, programs, the container runtime and images to what the role needs.
//! Everything that is right already is left alone; what is wanted but has no source refuses before anything changes.

mod apt;
mod binaries;
mod containerd;
mod containerd_config;
mod debs;
pub(crate) mod depends;
pub mod documents;
mod etcd_guard;
mod fetch;
mod images;
pub mod installed;
pub mod kernel;
mod lock;
mod merge;
pub mod packages;
mod source;
pub mod swap;
#[cfg(test)]
pub mod testing;
pub mod version;
pub mod wanted;

use crate::context::{Context, Done, Outcome};
use crate::marks;
use documents::Documents;
use fetch::Fetches;
use installed::Installed;
use packages::Offer;
use quorate_proto::v1::{ArtifactRef, ClusterConfig, Distribution, Install, NodeConfig, Problem};

pub async fn run(context: &Context, action: &Install) -> Done {
    let cluster = context.cluster()?;
    let node = context.node()?;
    let documents = Documents::of(cluster)?;
    let survey = Survey::make(context, action, cluster, node).await?;
    let mut fetches = Fetches::start(context, survey.artifacts());
    if action.containerd.is_some() && !documents.allow_swap() {
        swap::off(context).await?;
    }
    debs::bring(
        context,
        action,
        &survey.plan,
        &survey.installed,
        &mut fetches,
    )
    .await?;
    binaries::bring(context, &survey.changed_programs, &mut fetches).await?;
    binaries::kubelet_unit(context, &survey.programs).await?;
    if let Some(containerd) = &action.containerd {
        kernel::prepare(context, &cluster.ignore_preflight_errors).await?;
        containerd::configure(context, containerd).await?;
        // It may hold more than it could tell before it ran.
        let listed = images::listed().await;
        let needed = images::needed(&survey.images, node.member, &listed);
        images::bring(context, &needed, &mut fetches).await?;
        right_kubeadm(cluster).await?;
    }
    marks::update(&context.paths, |marks| {
        marks.install = action.digest.clone()
    })?;
    Ok(Outcome::done())
}

/// What is there, and so what is to be done.
struct Survey<'a> {
    installed: Installed,
    plan: debs::Plan,
    /// Programs that this node takes as plain files, and those of them that differ.
    programs: Vec<&'a ArtifactRef>,
    changed_programs: Vec<ArtifactRef>,
    images: Vec<ArtifactRef>,
}

impl<'a> Survey<'a> {
    async fn make(
        context: &Context,
        action: &'a Install,
        cluster: &ClusterConfig,
        node: &NodeConfig,
    ) -> Result<Self, Problem> {
        let installed = Installed::read().await?;
        let containers = action.containerd.is_some();
        let offer = Offer {
            installed: &installed,
            artifacts: &action.artifacts,
            apt: action.apt.is_some(),
        };
        let names = wanted::names(&action.packages, containers, cluster, &offer).await;
        let plan = debs::plan(&names, cluster, &offer)?;
        let (mut programs, mut changed_programs, mut images) = Default::default();
        // Only a node with a container runtime runs any of these.
        if containers {
            programs = binaries::chosen(action, cluster, |name| {
                plan.comes_as_package(name) || installed.version(name).is_some()
            });
            changed_programs = binaries::changed(&context.paths, &programs).await?;
            let listed = images::listed().await;
            images = images::needed(&action.artifacts, node.member, &listed);
        }
        Ok(Survey {
            installed,
            plan,
            programs,
            changed_programs,
            images,
        })
    }

    /// In the order in which they are needed.
    fn artifacts(&self) -> impl Iterator<Item = &ArtifactRef> {
        self.plan
            .files
            .iter()
            .chain(&self.changed_programs)
            .chain(&self.images)
    }
}

/// kubeadm makes a cluster of its own version.
async fn right_kubeadm(cluster: &ClusterConfig) -> Result<(), Problem> {
    match cluster.distribution() {
        Distribution::Kubeadm => {}
        Distribution::Etcd | Distribution::Unspecified => return Ok(()),
    }
    let there = wanted::version("kubeadm").await.ok_or_else(|| {
        Problem::new("kubeadm-missing", "kubeadm does not tell its version")
            .at("kubeadm")
            .because("the delivered file is no program of this machine's architecture")
            .next("quorate artifacts add kubeadm, kubelet and kubectl of the cluster's version")
    })?;
    if wanted::same(&there, &cluster.version) {
        return Ok(());
    }
    Err(Problem::new(
        "kubeadm-version",
        format!("kubeadm is {there}, the cluster is {}", cluster.version),
    )
    .at("kubeadm")
    .because("another kubeadm comes first in the path, or the artifact is mislabelled")
    .next(format!(
        "deliver kubeadm {} as a package or an artifact",
        cluster.version
    )))
}
