//! Who may call what: one table, asked before any service sees a request. A method that is not in it is refused.

use super::connection::Peer;
use super::status::to_status;
use crate::authority::Authority;
use crate::clock;
use crate::tenure::Tenure;
use quorate_pki::Role;
use quorate_proto::v1::Problem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::{Layer, Service};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Without a certificate.
    Anybody,
    /// Only nodes.
    Agents,
    /// Viewers and above.
    Readers,
    /// Operators and above.
    Operators,
    Admins,
}

/// What a superseded coordinator still does, besides what readers may ask: its state is worth having, and its nodes' packages.
const WITHOUT_TENURE: [&str; 4] = [
    "/quorate.v1.Agent/Session",
    "/quorate.v1.Agent/FetchArtifact",
    "/quorate.v1.Operator/ListAudit",
    "/quorate.v1.Operator/Backup",
];

pub const METHODS: [(&str, Allowed); 42] = [
    ("/quorate.v1.Enrollment/Enroll", Allowed::Anybody),
    ("/quorate.v1.Agent/Session", Allowed::Agents),
    ("/quorate.v1.Agent/FetchArtifact", Allowed::Agents),
    ("/quorate.v1.Agent/Renew", Allowed::Agents),
    ("/quorate.v1.Agent/SendSnapshot", Allowed::Agents),
    ("/quorate.v1.Operator/ListNodes", Allowed::Readers),
    ("/quorate.v1.Operator/Status", Allowed::Readers),
    ("/quorate.v1.Operator/Plan", Allowed::Readers),
    ("/quorate.v1.Operator/ListOperations", Allowed::Readers),
    ("/quorate.v1.Operator/WatchOperation", Allowed::Readers),
    ("/quorate.v1.Operator/ListArtifacts", Allowed::Readers),
    ("/quorate.v1.Operator/ListCertificates", Allowed::Readers),
    ("/quorate.v1.Operator/Check", Allowed::Readers),
    ("/quorate.v1.Operator/ListTokens", Allowed::Readers),
    ("/quorate.v1.Operator/ShowEndpoint", Allowed::Readers),
    ("/quorate.v1.Operator/PlanRotation", Allowed::Readers),
    ("/quorate.v1.Operator/ShowCertificates", Allowed::Readers),
    ("/quorate.v1.Operator/PlanRemoval", Allowed::Readers),
    ("/quorate.v1.Operator/PlanRecovery", Allowed::Readers),
    ("/quorate.v1.Operator/PlanPower", Allowed::Readers),
    ("/quorate.v1.Operator/ListSnapshots", Allowed::Readers),
    ("/quorate.v1.Operator/Apply", Allowed::Operators),
    ("/quorate.v1.Operator/RemoveNode", Allowed::Operators),
    ("/quorate.v1.Operator/SetPower", Allowed::Operators),
    ("/quorate.v1.Operator/CreateSnapshot", Allowed::Operators),
    ("/quorate.v1.Operator/RotateEndpoint", Allowed::Operators),
    ("/quorate.v1.Operator/RollBackEndpoint", Allowed::Operators),
    ("/quorate.v1.Operator/DropEndpoint", Allowed::Operators),
    ("/quorate.v1.Operator/RepairEndpoint", Allowed::Operators),
    (
        "/quorate.v1.Operator/RenewClusterCertificates",
        Allowed::Operators,
    ),
    ("/quorate.v1.Operator/SetNames", Allowed::Operators),
    ("/quorate.v1.Operator/CreateToken", Allowed::Operators),
    ("/quorate.v1.Operator/RevokeToken", Allowed::Operators),
    ("/quorate.v1.Operator/AddArtifact", Allowed::Operators),
    ("/quorate.v1.Operator/SignUser", Allowed::Operators),
    ("/quorate.v1.Operator/RevokeNode", Allowed::Admins),
    ("/quorate.v1.Operator/CreateUser", Allowed::Admins),
    ("/quorate.v1.Operator/RevokeUser", Allowed::Admins),
    ("/quorate.v1.Operator/ListAudit", Allowed::Admins),
    // It holds every secret of a cluster.
    ("/quorate.v1.Operator/ExportSnapshot", Allowed::Admins),
    // It holds the authority's key.
    ("/quorate.v1.Operator/Backup", Allowed::Admins),
    // It gives up what other members may hold.
    ("/quorate.v1.Operator/Recover", Allowed::Admins),
];

impl Allowed {
    /// None: no certificate.
    pub fn admits(self, role: Option<Role>) -> bool {
        match self {
            Allowed::Anybody => true,
            Allowed::Agents => role == Some(Role::Agent),
            Allowed::Readers => matches!(role, Some(Role::Viewer | Role::Operator | Role::Admin)),
            Allowed::Operators => matches!(role, Some(Role::Operator | Role::Admin)),
            Allowed::Admins => role == Some(Role::Admin),
        }
    }
}

/// Whether a superseded coordinator refuses it.
pub fn needs_tenure(path: &str, allowed: Allowed) -> bool {
    allowed != Allowed::Readers && !WITHOUT_TENURE.contains(&path)
}

pub fn rule(path: &str) -> Option<Allowed> {
    METHODS
        .iter()
        .find(|(method, _)| *method == path)
        .map(|(_, allowed)| *allowed)
}

/// The layer in front of all services of a listener.
#[derive(Clone)]
pub struct Authorize {
    authority: Arc<Authority>,
    tenure: Arc<Tenure>,
}

impl Authorize {
    pub fn new(authority: Arc<Authority>, tenure: Arc<Tenure>) -> Self {
        Authorize { authority, tenure }
    }

    fn check(&self, request: &http::Request<Body>) -> Result<(), Problem> {
        let path = request.uri().path();
        let caller = request
            .extensions()
            .get::<Peer>()
            .and_then(|peer| peer.caller.as_deref());
        let unknown = || {
            Problem::new("denied-method", "this call is not known here")
                .next("install the same version of quorate on both sides")
        };
        let allowed = rule(path).ok_or_else(unknown)?;
        if let Some(caller) = caller {
            // A connection may live on after its certificate has expired or was revoked.
            if caller.expires <= clock::now() {
                return Err(Problem::new(
                    "unauthenticated-expired",
                    "your certificate has expired",
                ));
            }
            if self.authority.is_denied(&caller.identity, &caller.serial) {
                return Err(Problem::new(
                    "unauthenticated-revoked",
                    "your certificate was revoked",
                ));
            }
        }
        if allowed.admits(caller.map(|caller| caller.identity.role)) {
            return match self.tenure.refusal() {
                Some(refusal) if needs_tenure(path, allowed) => Err(refusal),
                Some(_) | None => Ok(()),
            };
        }
        let who = caller.map_or("a caller without certificate".to_owned(), |caller| {
            caller.identity.to_string()
        });
        Err(
            Problem::new("denied-role", format!("{who} may not do this"))
                .at(path.rsplit('/').next().unwrap_or_default())
                .next("use a context of a user with the needed role"),
        )
    }
}

impl<S> Layer<S> for Authorize {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        Authorized {
            rules: self.clone(),
            inner,
        }
    }
}

#[derive(Clone)]
pub struct Authorized<S> {
    rules: Authorize,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Authorized<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.rules.check(&request) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(problem) => {
                tracing::info!(
                    path = request.uri().path(),
                    code = problem.code,
                    "refused a call"
                );
                Box::pin(async { Ok(to_status(problem).into_http()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use std::collections::BTreeSet;

    fn described() -> BTreeSet<String> {
        let set = FileDescriptorSet::decode(quorate_proto::DESCRIPTOR).unwrap();
        let mut methods = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    methods.insert(format!(
                        "/{}.{}/{}",
                        file.package(),
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_is_listed_once_and_no_other() {
        let listed: BTreeSet<String> = METHODS.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed.len(), METHODS.len());
        assert_eq!(listed, described());
        assert_eq!(rule("/quorate.v1.Operator/NewOne"), None);
    }

    /// By what each does, apart from the table.
    #[test]
    fn who_was_superseded_changes_nothing() {
        let changes = [
            "Enroll", "Renew", "Apply", "Create", "Revoke", "Add", "Sign", "Rotate", "RollBack",
            "Drop", "Repair", "Set", "Send", "Export", "Remove", "Recover",
        ];
        for path in described() {
            let method = path.rsplit('/').next().unwrap();
            let change = changes.iter().any(|word| method.starts_with(word));
            assert_eq!(needs_tenure(&path, rule(&path).unwrap()), change, "{path}");
        }
    }

    /// The matrix as it was decided, method by method, apart from the table.
    #[test]
    fn every_role_on_every_method() {
        let reads = [
            "ListNodes",
            "Status",
            "Plan",
            "ListOperations",
            "WatchOperation",
            "ListArtifacts",
            "ListCertificates",
            "Check",
            "ListTokens",
            "ShowEndpoint",
            "PlanRotation",
            "ShowCertificates",
            "PlanRemoval",
            "PlanRecovery",
            "PlanPower",
            "ListSnapshots",
        ];
        let operates = [
            "Apply",
            "CreateToken",
            "RevokeToken",
            "AddArtifact",
            "SignUser",
            "RotateEndpoint",
            "RollBackEndpoint",
            "DropEndpoint",
            "RepairEndpoint",
            "RenewClusterCertificates",
            "SetNames",
            "RemoveNode",
            "SetPower",
            "CreateSnapshot",
        ];
        for path in described() {
            let allowed = rule(&path).unwrap();
            let (service, method) = path.rsplit_once('/').unwrap();
            for role in Role::ALL.into_iter().map(Some).chain([None]) {
                let expected = match (service, role) {
                    ("/quorate.v1.Enrollment", _) => true,
                    ("/quorate.v1.Agent", role) => role == Some(Role::Agent),
                    (_, Some(Role::Viewer)) => reads.contains(&method),
                    (_, Some(Role::Operator)) => {
                        reads.contains(&method) || operates.contains(&method)
                    }
                    (_, Some(Role::Admin)) => true,
                    (_, Some(Role::Agent | Role::Coordinator) | None) => false,
                };
                assert_eq!(allowed.admits(role), expected, "{path} {role:?}");
            }
        }
    }
}
