//! How long an order takes on a simulated machine.

use quorate_proto::v1::order::Action;
use std::time::Duration;

/// From the wish for a report to the report: a real agent asks its kubelet and reads the table of sockets, on a control plane it asks
/// etcd and the API server too.
pub(super) const OBSERVING: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durations {
    /// As on real machines.
    Real,
    /// All of them the same: what is left is the coordinator's own time.
    Every(Duration),
}

impl Durations {
    pub fn of(self, action: &Action) -> Duration {
        match self {
            Durations::Real => Duration::from_millis(real_ms(action)),
            Durations::Every(time) => time,
        }
    }
}

/// Milliseconds: estimates of what orders take with everything installed, not measured. They show how waiting adds up over many nodes,
/// not how long a real cluster takes.
const fn real_ms(action: &Action) -> u64 {
    match action {
        Action::Preflight(_) => 1_000,
        Action::Install(_) => 500,
        Action::CreateAuthority(_) => 200,
        Action::Init(_) => 12_000,
        Action::ExportJoinMaterial(_) => 50,
        Action::PrepareMember(_) => 2_000,
        Action::AddMember(_) => 20,
        Action::StartMember(_) => 2_000,
        Action::PromoteMember(_) => 100,
        Action::RemoveMember(_) => 20,
        Action::FinishMember(_) => 8_000,
        Action::JoinWorker(_) => 4_000,
        Action::ConfigureLoadBalancer(_) => 300,
        Action::ApplyManifests(_) => 2_000,
        Action::ConfigureNode(_) => 50,
        Action::DeleteNode(_) => 50,
        Action::Reset(_) => 5_000,
        Action::SignClient(_) => 20,
        Action::Check(_) => 500,
        // The API server takes up a new pair by itself, proven by a handshake.
        Action::SetServingNames(_) => 500,
        Action::ProbeEndpoint(_) => 100,
        // Three objects, and the controller manager's signatures on one of them.
        Action::SetClusterEndpoint(_) => 500,
        // The kubelet starts anew and renews its Lease.
        Action::SetNodeEndpoint(_) => 1_500,
        // Ten pods end, are made anew and become ready.
        Action::RestartKubeProxy(_) => 4_000,
        Action::RenewCertificates(_) => 20_000,
        Action::ApproveServing(_) | Action::TaintNode(_) | Action::UntaintNode(_) => 50,
        Action::DrainNode(_) => 5_000,
        Action::HandOver(_) => 200,
        Action::StopServing(_)
        | Action::RecoverMember(_)
        | Action::StopNode(_)
        | Action::StartNode(_)
        | Action::CheckStorage(_) => 2_000,
        // Some hundred MiB.
        Action::TakeSnapshot(_) | Action::SendSnapshot(_) => 2_000,
    }
}
