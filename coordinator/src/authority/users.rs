//! People and scripts. They make their key themselves; a user may hold several certificates of one role.

use super::{Authority, UserRecord};
use crate::clock;
use crate::store::{Key, Transaction};
use quorate_pki::{Identity, Role};
use quorate_proto::v1::{CreateUserRequest, CreateUserResponse, Problem};
use std::time::Duration;

const DEFAULT_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
/// Longest life of a user's certificate.
pub const MAX_USER_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

impl Authority {
    /// A certificate for a new user, or a further one for a user that exists. Another role than before takes the
    /// certificates of the old one back.
    pub async fn create_user(
        &self,
        who: &str,
        request: &CreateUserRequest,
    ) -> Result<CreateUserResponse, Problem> {
        let role = user_role(&request.role)?;
        let identity = Identity::new(role, request.name.as_str()).map_err(super::problem)?;
        let validity = validity(request.validity_seconds)?;
        let key = Key::user(&request.name);
        let present = self.store.entry::<UserRecord>(&key)?;
        let (issued, certificate) =
            self.sign(&request.csr_pem, &identity, &request.name, validity)?;
        let expires_ms = certificate.expires_unix.saturating_mul(1000);
        let mut transaction = Transaction::new()
            .put(Key::certificate(&certificate.serial), &certificate)
            .audit(
                who,
                "create-user",
                format!("{identity} until {}", clock::rfc3339(expires_ms)),
            );
        let mut role_changed = false;
        match present {
            Some(entry) if entry.value.role == request.role => {
                transaction = transaction.unchanged(key, entry.revision);
            }
            other => {
                let user = UserRecord {
                    name: request.name.clone(),
                    role: request.role.clone(),
                    created_by: who.to_owned(),
                    created_unix: clock::unix(),
                };
                transaction = match other {
                    Some(entry) => {
                        role_changed = true;
                        let old = format!("{}/{}", entry.value.role, entry.value.name);
                        refuse_own_role(who, &old)?;
                        self.revoking_identity(
                            transaction.unchanged(key.clone(), entry.revision),
                            &old,
                        )?
                    }
                    None => transaction.absent(key.clone()),
                }
                .put(key, &user);
            }
        }
        self.store.commit(transaction).await?;
        if role_changed {
            self.deny_stored()?;
        }
        Ok(CreateUserResponse {
            certificate_pem: issued.cert_pem,
            ca_bundle_pem: self.ca_pem().to_owned(),
        })
    }
}

/// The last admin could lock everybody out.
fn refuse_own_role(who: &str, old: &str) -> Result<(), Problem> {
    if who != old {
        return Ok(());
    }
    Err(
        Problem::new("refused-own-user", "nobody changes their own role")
            .next("let another admin do it"),
    )
}

fn user_role(text: &str) -> Result<Role, Problem> {
    match text.parse::<Role>() {
        Ok(role @ (Role::Admin | Role::Operator | Role::Viewer)) => Ok(role),
        Ok(Role::Agent | Role::Coordinator) | Err(_) => Err(Problem::new(
            "invalid-role",
            "a user's role is admin, operator or viewer",
        )
        .at(text.chars().take(80).collect::<String>())),
    }
}

fn validity(seconds: u32) -> Result<Duration, Problem> {
    let wanted = match seconds {
        0 => DEFAULT_VALIDITY,
        seconds => Duration::from_secs(u64::from(seconds)),
    };
    if wanted > MAX_USER_VALIDITY {
        return Err(Problem::new(
            "invalid-validity",
            "a user's certificate lives a year at most",
        ));
    }
    Ok(wanted)
}
