//! Join tokens: made for an operator, shown once, kept as a hash.

use super::{Authority, TokenRecord};
use crate::clock;
use crate::store::{Key, Kind, Prefix, StoreError, Transaction};
use data_encoding::BASE64URL_NOPAD;
use quorate_proto::token::{Address, JoinToken, is_dns_name};
use quorate_proto::v1::Problem;
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use std::time::Duration;
use ulid::Ulid;
use zeroize::Zeroizing;

const DEFAULT_TTL: Duration = Duration::from_secs(3600);
/// A token is a claim to be a node; a week covers delivery of machines.
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
const SECRET_BYTES: usize = 32;

/// Shown to the operator; only its record stays.
pub struct NewToken {
    pub text: Zeroizing<String>,
    pub record: TokenRecord,
}

impl Authority {
    /// `addresses` are those that the token leads to, the preferred one first. No `ttl` is an hour.
    pub async fn create_token(
        &self,
        who: &str,
        node: &str,
        ttl: Option<Duration>,
        addresses: &[Address],
    ) -> Result<NewToken, Problem> {
        let (first, further) = addresses
            .split_first()
            .ok_or_else(|| Problem::new("internal", "the coordinator has no address"))?;
        if !node.is_empty() {
            check_node_name(node)?;
        }
        let ttl = ttl.unwrap_or(DEFAULT_TTL);
        if ttl.is_zero() || ttl > MAX_TTL {
            return Err(Problem::new(
                "invalid-ttl",
                "a token lives between a second and 7 days",
            ));
        }
        let secret = new_secret()?;
        let now = clock::unix();
        let record = TokenRecord {
            id: Ulid::new().to_string().to_lowercase(),
            secret_sha256: hash(&secret),
            node: node.to_owned(),
            created_by: who.to_owned(),
            created_unix: now,
            expires_unix: now.saturating_add(super::seconds(ttl)),
            revoked_unix: None,
            used: None,
        };
        let token = JoinToken {
            id: record.id.clone(),
            secret,
            pin: self.pin(),
            enroll: first.enroll.clone(),
            session: first.session.clone(),
            further: further.to_vec(),
            node: record.node.clone(),
        };
        let text = Zeroizing::new(token.encode()?);
        let key = Key::token(&record.id);
        let transaction = Transaction::new()
            .absent(key.clone())
            .put(key, &record)
            .audit(
                who,
                "create-token",
                format!("{} node {:?}", record.id, record.node),
            );
        self.store.commit(transaction).await?;
        Ok(NewToken { text, record })
    }

    /// Oldest first.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let found = self.store.scan(&Prefix::all(Kind::Token))?;
        Ok(found.into_iter().map(|(_, token)| token).collect())
    }

    pub async fn revoke_token(&self, who: &str, id: &str) -> Result<(), Problem> {
        let key = Key::token(id);
        let Some(entry) = self.store.entry::<TokenRecord>(&key)? else {
            return Err(Problem::new("missing-token", "there is no such token")
                .at(id.chars().take(80).collect::<String>())
                .next("quorate token list"));
        };
        let mut token = entry.value;
        if token.used.is_some() {
            return Err(Problem::new("refused-token", "the token was used already")
                .at(id)
                .next("quorate node revoke, if the node is not to stay"));
        }
        token.revoked_unix.get_or_insert(clock::unix());
        let transaction = Transaction::new()
            .unchanged(key.clone(), entry.revision)
            .put(key, &token)
            .audit(who, "revoke-token", id);
        self.store.commit(transaction).await?;
        Ok(())
    }
}

fn new_secret() -> Result<Zeroizing<String>, Problem> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    OsRng
        .try_fill_bytes(bytes.as_mut_slice())
        .map_err(|error| Problem::new("authority", format!("no randomness: {error}")))?;
    Ok(Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_slice())))
}

pub(super) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}

pub(super) fn check_node_name(name: &str) -> Result<(), Problem> {
    // As Kubernetes names nodes; 63 bytes so that it fits a label as well.
    if name.len() <= 63 && is_dns_name(name) {
        return Ok(());
    }
    Err(Problem::new(
        "invalid-node-name",
        "a node name is a lower-case DNS name of at most 63 characters",
    )
    .at(name.chars().take(80).collect::<String>()))
}
