//! Dispatch of orders: one file an order, two distributions. Every pair of action and distribution is named, so that a new
//! action does not compile until each distribution has its answer.
//!
//! - [`preflight`], [`install`], [`check`], [`load_balancer`], [`membership`], [`sign_client`], [`serving`], [`probe`], [`renewal`], [`snapshot`], [`power`], [`storage`]: the same for both;
//! - [`kubeadm`], [`etcd`]: what makes, joins and takes apart a member of that distribution.

pub mod check;
pub mod etcd;
pub mod install;
pub mod kubeadm;
pub mod load_balancer;
pub mod membership;
pub mod power;
pub mod preflight;
pub mod probe;
pub mod renewal;
pub mod serving;
pub mod sign_client;
pub mod snapshot;
pub mod storage;

use crate::context::{Context, Done, Outcome};
use crate::host::pair;
use quorate_proto::v1::{Distribution, Problem, Reset, order::Action};

/// Carries out the order. Safe to call twice with the same order, whatever the first call got done.
pub async fn execute(context: &Context) -> Done {
    let action = context.order.action.as_ref().ok_or_else(unknown_action)?;
    complete_pairs(context, action)?;
    match action {
        Action::Preflight(order) => preflight::run(context, order).await,
        Action::Install(order) => install::run(context, order).await,
        Action::Check(order) => check::run(context, order).await,
        Action::ConfigureLoadBalancer(order) => load_balancer::run(context, order).await,
        Action::AddMember(order) => membership::add::run(context, order).await,
        Action::PromoteMember(order) => membership::promote::run(context, order).await,
        Action::RemoveMember(order) => membership::remove::run(context, order).await,
        Action::HandOver(order) => membership::hand_over::run(context, order).await,
        Action::SignClient(order) => sign_client::run(context, order).await,
        Action::SetServingNames(order) => serving::run(context, order).await,
        Action::ProbeEndpoint(order) => probe::run(context, order).await,
        Action::RenewCertificates(order) => renewal::run(context, order).await,
        Action::Reset(order) => reset(context, order, action).await,
        Action::TakeSnapshot(order) => snapshot::run(context, order).await,
        Action::SendSnapshot(order) => snapshot::send::run(context, order).await,
        Action::StopNode(order) => power::stop(context, order).await,
        Action::StartNode(_) => power::start(context).await,
        Action::CheckStorage(order) => storage::run(context, order).await,
        Action::CreateAuthority(_)
        | Action::Init(_)
        | Action::ExportJoinMaterial(_)
        | Action::PrepareMember(_)
        | Action::StartMember(_)
        | Action::FinishMember(_)
        | Action::JoinWorker(_)
        | Action::ApplyManifests(_)
        | Action::ConfigureNode(_)
        | Action::DeleteNode(_)
        | Action::SetClusterEndpoint(_)
        | Action::SetNodeEndpoint(_)
        | Action::RestartKubeProxy(_)
        | Action::DrainNode(_)
        | Action::StopServing(_)
        | Action::TaintNode(_)
        | Action::UntaintNode(_)
        | Action::RecoverMember(_)
        | Action::ApproveServing(_) => by_distribution(context, action).await,
    }
}

/// Every role that is to go, the load balancer first: nobody is led here any more.
async fn reset(context: &Context, order: &Reset, action: &Action) -> Done {
    if order.load_balancer {
        load_balancer::remove::run(context).await?;
    }
    let node = context.node()?;
    if node.load_balancer && !(node.member || node.worker) {
        return Ok(Outcome::done());
    }
    by_distribution(context, action).await
}

/// What a kill has left of certificates, before anything relies on them. An order inside the daemon may not write there; then the unit
/// that the daemon has started for it, or the next order in a unit, does it.
fn complete_pairs(context: &Context, action: &Action) -> Result<(), Problem> {
    match pair::complete_all(&context.paths) {
        Err(problem) if action.runs_in_unit() => Err(problem),
        Err(problem) => {
            tracing::warn!(%problem, "a pair of certificate and key is half installed");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The distribution of the order's cluster; one that this build does not know is refused.
pub fn distribution(context: &Context) -> Result<Distribution, Problem> {
    let value = context.cluster()?.distribution;
    Distribution::try_from(value)
        .ok()
        .filter(|known| *known != Distribution::Unspecified)
        .ok_or_else(|| {
            Problem::new(
                "distribution-unknown",
                format!("this agent knows no distribution number {value}"),
            )
            .because("coordinator and agent of different versions")
            .next("install the same version of both packages")
        })
}

async fn by_distribution(context: &Context, action: &Action) -> Done {
    match distribution(context)? {
        Distribution::Kubeadm => of_kubeadm(context, action).await,
        Distribution::Etcd => of_etcd(context, action).await,
        Distribution::Unspecified => Err(unknown_action()),
    }
}

async fn of_kubeadm(context: &Context, action: &Action) -> Done {
    match action {
        Action::CreateAuthority(order) => kubeadm::authority::run(context, order).await,
        Action::Init(order) => kubeadm::init::run(context, order).await,
        Action::ExportJoinMaterial(order) => kubeadm::export::run(context, order).await,
        Action::PrepareMember(order) => kubeadm::prepare::run(context, order).await,
        Action::StartMember(order) => kubeadm::start::run(context, order).await,
        Action::FinishMember(order) => kubeadm::finish::run(context, order).await,
        Action::JoinWorker(order) => kubeadm::worker::run(context, order).await,
        Action::ApplyManifests(order) => kubeadm::manifests::run(context, order).await,
        Action::ConfigureNode(order) => kubeadm::node::configure(context, order).await,
        Action::DeleteNode(order) => kubeadm::node::delete(context, order).await,
        Action::Reset(order) => kubeadm::reset::run(context, order).await,
        Action::DrainNode(order) => kubeadm::drain::run(context, order).await,
        Action::StopServing(order) => kubeadm::stop::run(context, order).await,
        Action::RecoverMember(order) => kubeadm::recover::run(context, order).await,
        Action::SetClusterEndpoint(order) => kubeadm::endpoint::cluster::run(context, order).await,
        Action::SetNodeEndpoint(order) => kubeadm::endpoint::node::run(context, order).await,
        Action::RestartKubeProxy(order) => kubeadm::endpoint::proxy::run(context, order).await,
        Action::ApproveServing(order) => kubeadm::approve::run(context, order).await,
        Action::TaintNode(order) => kubeadm::out_of_service::taint(context, order).await,
        Action::UntaintNode(order) => kubeadm::out_of_service::untaint(context, order).await,
        Action::Preflight(_)
        | Action::Install(_)
        | Action::Check(_)
        | Action::ConfigureLoadBalancer(_)
        | Action::AddMember(_)
        | Action::PromoteMember(_)
        | Action::RemoveMember(_)
        | Action::HandOver(_)
        | Action::SignClient(_)
        | Action::SetServingNames(_)
        | Action::ProbeEndpoint(_)
        | Action::TakeSnapshot(_)
        | Action::SendSnapshot(_)
        | Action::StopNode(_)
        | Action::StartNode(_)
        | Action::CheckStorage(_)
        | Action::RenewCertificates(_) => Err(misdirected(action)),
    }
}

async fn of_etcd(context: &Context, action: &Action) -> Done {
    match action {
        Action::CreateAuthority(order) => etcd::authority::run(context, order).await,
        Action::Init(order) => etcd::init::run(context, order).await,
        Action::ExportJoinMaterial(order) => etcd::export::run(context, order).await,
        Action::PrepareMember(order) => etcd::prepare::run(context, order).await,
        Action::StartMember(order) => etcd::start::run(context, order).await,
        Action::FinishMember(order) => etcd::finish::run(context, order).await,
        Action::Reset(order) => etcd::reset::run(context, order).await,
        Action::StopServing(order) => etcd::stop::run(context, order).await,
        Action::RecoverMember(order) => etcd::recover::run(context, order).await,
        Action::JoinWorker(_)
        | Action::ApplyManifests(_)
        | Action::ConfigureNode(_)
        | Action::DeleteNode(_)
        | Action::Preflight(_)
        | Action::Install(_)
        | Action::Check(_)
        | Action::ConfigureLoadBalancer(_)
        | Action::AddMember(_)
        | Action::PromoteMember(_)
        | Action::RemoveMember(_)
        | Action::HandOver(_)
        | Action::SignClient(_)
        | Action::SetServingNames(_)
        | Action::ProbeEndpoint(_)
        | Action::SetClusterEndpoint(_)
        | Action::SetNodeEndpoint(_)
        | Action::RestartKubeProxy(_)
        | Action::RenewCertificates(_)
        | Action::DrainNode(_)
        | Action::TakeSnapshot(_)
        | Action::SendSnapshot(_)
        | Action::TaintNode(_)
        | Action::UntaintNode(_)
        | Action::StopNode(_)
        | Action::StartNode(_)
        | Action::CheckStorage(_)
        | Action::ApproveServing(_) => Err(misdirected(action)),
    }
}

fn unknown_action() -> Problem {
    Problem::new("order-malformed", "the order carries no known action")
        .because("coordinator and agent of different versions")
        .next("install the same version of both packages")
}

fn misdirected(action: &Action) -> Problem {
    Problem::new(
        "order-misdirected",
        format!(
            "the action {} has no meaning for this cluster's distribution",
            action.kind()
        ),
    )
    .because("an etcd cluster of its own has no Kubernetes nodes")
}
