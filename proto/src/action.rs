//! Properties of an order's action that both sides rely on.

use crate::v1::order::Action;

impl Action {
    /// One word for logs, progress and the audit trail.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Preflight(_) => "preflight",
            Action::Install(_) => "install",
            Action::CreateAuthority(_) => "create-authority",
            Action::Init(_) => "init",
            Action::ExportJoinMaterial(_) => "export-join-material",
            Action::PrepareMember(_) => "prepare-member",
            Action::AddMember(_) => "add-member",
            Action::StartMember(_) => "start-member",
            Action::PromoteMember(_) => "promote-member",
            Action::RemoveMember(_) => "remove-member",
            Action::FinishMember(_) => "finish-member",
            Action::JoinWorker(_) => "join-worker",
            Action::ConfigureLoadBalancer(_) => "configure-load-balancer",
            Action::ApplyManifests(_) => "apply-manifests",
            Action::ConfigureNode(_) => "configure-node",
            Action::DeleteNode(_) => "delete-node",
            Action::Reset(_) => "reset",
            Action::SignClient(_) => "sign-client",
            Action::Check(_) => "check",
            Action::SetServingNames(_) => "set-serving-names",
            Action::ProbeEndpoint(_) => "probe-endpoint",
            Action::SetClusterEndpoint(_) => "set-cluster-endpoint",
            Action::SetNodeEndpoint(_) => "set-node-endpoint",
            Action::RestartKubeProxy(_) => "restart-kube-proxy",
            Action::RenewCertificates(_) => "renew-certificates",
            Action::ApproveServing(_) => "approve-serving",
            Action::DrainNode(_) => "drain-node",
            Action::StopServing(_) => "stop-serving",
            Action::TakeSnapshot(_) => "take-snapshot",
            Action::SendSnapshot(_) => "send-snapshot",
            Action::TaintNode(_) => "taint-node",
            Action::UntaintNode(_) => "untaint-node",
            Action::StopNode(_) => "stop-node",
            Action::StartNode(_) => "start-node",
            Action::CheckStorage(_) => "check-storage",
            Action::RecoverMember(_) => "recover-member",
            Action::HandOver(_) => "hand-over",
        }
    }

    /// Whether the result carries a secret and must be computed anew on each delivery instead of being remembered.
    pub fn result_is_sealed(&self) -> bool {
        match self {
            Action::ExportJoinMaterial(_) => true,
            Action::Preflight(_)
            | Action::Install(_)
            | Action::CreateAuthority(_)
            | Action::Init(_)
            | Action::PrepareMember(_)
            | Action::AddMember(_)
            | Action::StartMember(_)
            | Action::PromoteMember(_)
            | Action::RemoveMember(_)
            | Action::FinishMember(_)
            | Action::JoinWorker(_)
            | Action::ConfigureLoadBalancer(_)
            | Action::ApplyManifests(_)
            | Action::ConfigureNode(_)
            | Action::DeleteNode(_)
            | Action::Reset(_)
            | Action::SignClient(_)
            | Action::Check(_)
            | Action::SetServingNames(_)
            | Action::ProbeEndpoint(_)
            | Action::SetClusterEndpoint(_)
            | Action::SetNodeEndpoint(_)
            | Action::RestartKubeProxy(_)
            | Action::RenewCertificates(_)
            | Action::DrainNode(_)
            | Action::StopServing(_)
            | Action::RecoverMember(_)
            | Action::StopNode(_)
            | Action::StartNode(_)
            | Action::CheckStorage(_)
            | Action::HandOver(_)
            | Action::TakeSnapshot(_)
            | Action::SendSnapshot(_)
            | Action::TaintNode(_)
            | Action::UntaintNode(_)
            | Action::ApproveServing(_) => false,
        }
    }

    /// Whether it runs as a transient systemd unit, which survives a restart of the agent.
    /// The others are short calls that the agent makes itself.
    pub fn runs_in_unit(&self) -> bool {
        match self {
            Action::Preflight(_)
            | Action::Install(_)
            | Action::CreateAuthority(_)
            | Action::Init(_)
            | Action::PrepareMember(_)
            | Action::StartMember(_)
            | Action::FinishMember(_)
            | Action::JoinWorker(_)
            | Action::ConfigureLoadBalancer(_)
            | Action::ApplyManifests(_)
            | Action::Reset(_)
            | Action::Check(_)
            | Action::SetServingNames(_)
            | Action::SetNodeEndpoint(_)
            | Action::RestartKubeProxy(_)
            | Action::DrainNode(_)
            | Action::StopServing(_)
            | Action::RecoverMember(_)
            | Action::StopNode(_)
            | Action::StartNode(_)
            | Action::CheckStorage(_)
            // Of the daemon's own rights none would do for a packet filter.
            | Action::HandOver(_)
            | Action::TakeSnapshot(_)
            | Action::RenewCertificates(_) => true,
            Action::ExportJoinMaterial(_)
            | Action::AddMember(_)
            | Action::PromoteMember(_)
            | Action::RemoveMember(_)
            | Action::ConfigureNode(_)
            | Action::DeleteNode(_)
            | Action::SignClient(_)
            | Action::ProbeEndpoint(_)
            | Action::SetClusterEndpoint(_)
            | Action::SendSnapshot(_)
            | Action::TaintNode(_)
            | Action::UntaintNode(_)
            | Action::ApproveServing(_) => false,
        }
    }
}
