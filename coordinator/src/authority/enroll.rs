//! A machine with a join token becomes a node. The token is burnt in the transaction that records the certificate.

use super::tokens::{check_node_name, hash};
use super::verdict::{Verdict, denied, judge};
use super::{
    Authority, CertificateRecord, MAX_CONFLICTS, NodeRecord, TokenRecord, TokenUse, agent_identity,
    lock,
};
use crate::clock;
use crate::sessions::Node;
use crate::store::{Entry, Key, Transaction};
use quorate_pki::spki_pin_of_cert_pem;
use quorate_proto::v1::{EnrollRequest, EnrollResponse, Problem};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use ulid::Ulid;

/// Agents renew after two thirds of it; a revoked one is refused by name long before.
pub(super) const AGENT_VALIDITY: Duration = Duration::from_secs(24 * 3600);
const MAX_MACHINE_ID: usize = 64;

pub struct Enrolled {
    pub response: EnrollResponse,
    /// The identity that the node had before; its session is to be ended.
    pub replaced: Option<Node>,
}

impl Authority {
    pub async fn enroll(&self, peer: IpAddr, request: &EnrollRequest) -> Result<Enrolled, Problem> {
        if !lock(&self.failures).allows(peer, Instant::now()) {
            return Err(Problem::new(
                "exhausted-tries",
                "too many failed enrolments from this address",
            )
            .at(peer.to_string())
            .next("wait a minute, then check the token"));
        }
        for _ in 0..MAX_CONFLICTS {
            match self.try_enroll(request).await {
                Err(problem) if problem.code == "conflict-changed" => {}
                Err(problem) => {
                    self.refused(peer, request, &problem).await;
                    return Err(problem);
                }
                Ok(enrolled) => return Ok(enrolled),
            }
        }
        Err(Problem::new(
            "conflict-changed",
            "the node or its token changes all the time",
        )
        .next("try again"))
    }

    /// Counted and audited. Only what the caller is to blame for: a full disk is no attempt to break in.
    async fn refused(&self, peer: IpAddr, request: &EnrollRequest, problem: &Problem) {
        if !problem.code.starts_with("denied-") {
            return;
        }
        lock(&self.failures).failed(peer, Instant::now());
        let short = |text: &str| text.chars().take(64).collect::<String>();
        let detail = format!(
            "{} from {peer}: token {:?} for node {:?}",
            problem.code,
            short(&request.token_id),
            short(&request.node_name)
        );
        let audit = Transaction::new().audit("enrolment", "enroll-refused", detail);
        if let Err(error) = self.store.commit(audit).await {
            tracing::warn!(%error, "a refused enrolment could not be audited");
        }
    }

    async fn try_enroll(&self, request: &EnrollRequest) -> Result<Enrolled, Problem> {
        let token = self.matching_token(request)?;
        let name = wanted_name(&token.value, request)?;
        let holder = self.node_by_name(name)?;
        let id = Ulid::new().to_string().to_lowercase();
        let (issued, certificate) = self.sign(
            &request.csr_pem,
            &agent_identity(&id)?,
            name,
            AGENT_VALIDITY,
        )?;
        let key = spki_pin_of_cert_pem(&issued.cert_pem).map_err(super::problem)?;
        match judge(
            &token.value,
            name,
            request,
            &key,
            holder.as_ref().map(|one| &one.value),
            clock::unix(),
        ) {
            Verdict::Refuse(problem) => Err(problem),
            Verdict::Repeat(used) => Ok(Enrolled {
                response: self.response(used),
                replaced: None,
            }),
            Verdict::Enroll => {
                let node = NodeRecord {
                    id: id.clone(),
                    name: name.to_owned(),
                    machine_id: request.machine_id.clone(),
                    enrolled_unix: clock::unix(),
                    serial: certificate.serial.clone(),
                    certificate_expires_unix: certificate.expires_unix,
                    revoked_unix: None,
                };
                let used = TokenUse {
                    unix: clock::unix(),
                    key,
                    node_id: id,
                    node_name: name.to_owned(),
                    certificate_pem: issued.cert_pem,
                };
                self.record(token, used.clone(), &node, &certificate, holder.as_ref())
                    .await?;
                let replaced = holder.map(|old| old.value);
                if let Some(old) = &replaced {
                    self.deny_node(&old.id)?;
                }
                Ok(Enrolled {
                    response: self.response(used),
                    replaced: replaced.map(|old| Node {
                        id: old.id,
                        name: old.name,
                    }),
                })
            }
        }
    }

    /// The token of that id and secret. One answer for both, and the same work.
    fn matching_token(&self, request: &EnrollRequest) -> Result<Entry<TokenRecord>, Problem> {
        let found = self
            .store
            .entry::<TokenRecord>(&Key::token(&request.token_id))?;
        let given = hash(&request.token_secret);
        let stored = found
            .as_ref()
            .map(|entry| entry.value.secret_sha256.as_str());
        let nothing = "0".repeat(given.len());
        let same = given
            .as_bytes()
            .ct_eq(stored.unwrap_or(&nothing).as_bytes());
        found.filter(|_| bool::from(same)).ok_or_else(|| {
            denied("denied-token", "this token is not known here")
                .because("it was mistyped, or made by another coordinator")
        })
    }

    async fn record(
        &self,
        token: Entry<TokenRecord>,
        used: TokenUse,
        node: &NodeRecord,
        certificate: &CertificateRecord,
        holder: Option<&Entry<NodeRecord>>,
    ) -> Result<(), Problem> {
        let token_key = Key::token(&token.value.id);
        let burnt = TokenRecord {
            used: Some(used),
            ..token.value
        };
        let mut transaction = Transaction::new()
            .unchanged(token_key.clone(), token.revision)
            .put(token_key, &burnt)
            .put(Key::node(&node.id), node)
            .put(Key::node_name(&node.name), &node.id)
            .put(Key::certificate(&certificate.serial), certificate)
            .audit(
                &format!("agent/{}", node.id),
                "enroll",
                format!(
                    "node {} with token {} of {}",
                    node.name, burnt.id, burnt.created_by
                ),
            );
        transaction = match holder {
            None => transaction.absent(Key::node_name(&node.name)),
            Some(old) => {
                let key = Key::node(&old.value.id);
                self.revoking(transaction.unchanged(key, old.revision), &old.value)?
            }
        };
        self.store.commit(transaction).await?;
        Ok(())
    }

    fn response(&self, used: TokenUse) -> EnrollResponse {
        EnrollResponse {
            certificate_pem: used.certificate_pem,
            ca_bundle_pem: self.ca_pem().to_owned(),
            node_id: used.node_id,
            node_name: used.node_name,
        }
    }
}

/// The name in the token wins over none in the request.
fn wanted_name<'a>(token: &'a TokenRecord, request: &'a EnrollRequest) -> Result<&'a str, Problem> {
    let name = match request.node_name.is_empty() {
        true => &token.node,
        false => &request.node_name,
    };
    check_node_name(name)?;
    let machine = &request.machine_id;
    let plain = machine
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if machine.is_empty() || machine.len() > MAX_MACHINE_ID || !plain {
        return Err(
            Problem::new("invalid-machine-id", "the machine id is not as expected")
                .next("check /etc/machine-id on the node"),
        );
    }
    Ok(name)
}
