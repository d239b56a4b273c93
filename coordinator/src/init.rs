//! What `quorate init` does to a machine: authority, store, configuration, and access for root. The configuration is
//! written last, so that an init that was interrupted can be run again, and a finished one cannot.

use crate::authority::{Authority, Files, server_names};
use crate::cli::context::Context;
use crate::clock;
use crate::files::{self, hostname, make_folder, write_atomic};
use crate::serve::{Config, METRICS};
use crate::store::Store;
use nix::unistd::{User, chown, geteuid};
use quorate_pki::KeyRequest;
use quorate_proto::token::parse_endpoint;
use quorate_proto::v1::{CreateUserRequest, Problem};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The daemon's user, made by the package.
const DAEMON_USER: &str = "quorate";
const FIRST_ADMIN: &str = "root";
const ADMIN_VALIDITY_SECONDS: u32 = 365 * 24 * 3600;
/// There unless IPv6 is switched off.
const IPV6: &str = "/proc/net/if_inet6";

#[derive(Clone, Debug, PartialEq)]
pub struct InitReport {
    pub config: PathBuf,
    /// Root's access. Holds a key; 0600.
    pub context: PathBuf,
    pub state_dir: PathBuf,
    /// Whose state it is now; None if it stays that of the caller.
    pub owner: Option<String>,
    /// Of the new authority, as tokens carry it.
    pub pin: String,
}

/// `advertise` are host:port, the preferred one first. Refuses where there is a coordinator already.
pub async fn initialise(
    state_dir: &Path,
    config_dir: &Path,
    advertise: &[String],
) -> Result<InitReport, Problem> {
    let config = config_for(state_dir, advertise)?;
    let config_path = config_dir.join("coordinator.yaml");
    if config_path.exists() {
        return Err(Problem::new(
            "exists-coordinator",
            "this machine has a coordinator already",
        )
        .at(config_path.display().to_string())
        .next("quorate status; to start over, stop it and move its state and configuration away"));
    }
    make_folder(state_dir, 0o700)?;
    make_folder(config_dir, 0o755)?;
    let files = Files::new(state_dir);
    if !files.ca_key().exists() {
        files.create_ca(clock::now())?;
    }
    let store = Arc::new(Store::open(&state_dir.join("store"))?);
    let names = server_names(&config.hosts()?, &hostname())?;
    let authority = Authority::open(state_dir, names, Arc::clone(&store))?;
    let context = first_admin(&authority, "init", &config.advertise).await?;
    let pin = authority.pin();
    store.close().await;
    let context_path = config_dir.join("context.yaml");
    write_atomic(&context_path, context.to_file_text().as_bytes(), 0o600)?;
    let owner = hand_over(state_dir)?;
    write_atomic(&config_path, config_text(&config)?.as_bytes(), 0o644)?;
    Ok(InitReport {
        config: config_path,
        context: context_path,
        state_dir: state_dir.to_owned(),
        owner,
        pin,
    })
}

/// What `init` writes for these addresses.
pub(crate) fn config_for(state_dir: &Path, advertise: &[String]) -> Result<Config, Problem> {
    let (first, also) = advertise
        .split_first()
        .ok_or_else(|| Problem::new("endpoint-malformed", "there is no address to advertise"))?;
    let config = Config {
        advertise: first.clone(),
        advertise_also: also.to_vec(),
        listen: listen_address(&parse_endpoint(first)?)?,
        enroll_listen: None,
        enroll_advertise: None,
        metrics: Some(METRICS),
        state_dir: state_dir.to_owned(),
    };
    // Before anything is made: what the daemon would not take at its start.
    config_text(&config)?;
    Ok(config)
}

/// Access for root on this machine.
pub(crate) async fn first_admin(
    authority: &Authority,
    who: &str,
    advertise: &str,
) -> Result<Context, Problem> {
    let key = KeyRequest::generate().map_err(crate::authority::problem)?;
    let request = CreateUserRequest {
        name: FIRST_ADMIN.to_owned(),
        role: "admin".to_owned(),
        csr_pem: key.csr_pem.clone(),
        validity_seconds: ADMIN_VALIDITY_SECONDS,
    };
    let granted = authority.create_user(who, &request).await?;
    Ok(Context {
        name: "local".to_owned(),
        server: advertise.to_owned(),
        ca_pem: granted.ca_bundle_pem,
        cert_pem: granted.certificate_pem,
        key_pem: key.key_pem,
    })
}

/// All addresses of the machine, with the advertised port.
fn listen_address(endpoint: &quorate_proto::v1::Endpoint) -> Result<SocketAddr, Problem> {
    let port = u16::try_from(endpoint.port)
        .map_err(|_| Problem::new("endpoint-malformed", "the port is no port"))?;
    let any: IpAddr = match Path::new(IPV6).exists() {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    Ok(SocketAddr::new(any, port))
}

pub(crate) fn config_text(config: &Config) -> Result<String, Problem> {
    let body = serde_saphyr::to_string(config)
        .map_err(|error| Problem::new("internal", format!("cannot write YAML: {error}")))?;
    // Read back now rather than at the daemon's start.
    Config::parse(&body)?;
    Ok(format!(
        "# Made by `quorate init`. Restart the coordinator after a change.\n{body}"
    ))
}

/// Gives the state to the daemon's user. Only root can, and only root needs to.
pub(crate) fn hand_over(state_dir: &Path) -> Result<Option<String>, Problem> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let user = User::from_name(DAEMON_USER).map_err(|errno| {
        Problem::new("user-unknown", format!("cannot look up a user: {errno}")).at(DAEMON_USER)
    })?;
    let Some(user) = user else {
        return Ok(None);
    };
    give(state_dir, &user)?;
    Ok(Some(user.name))
}

fn give(path: &Path, user: &User) -> Result<(), Problem> {
    let fail = |error: std::io::Error| files::problem("hand over", path, &error);
    chown(path, Some(user.uid), Some(user.gid)).map_err(|errno| fail(errno.into()))?;
    if !path.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        // All of it is ours; a link to elsewhere is not followed.
        if !entry.file_type().map_err(fail)?.is_symlink() {
            give(&entry.path(), user)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn once_and_not_again() {
        let folder = tempfile::tempdir().unwrap();
        let (state, config) = (folder.path().join("state"), folder.path().join("etc"));
        let report = initialise(&state, &config, &["10.0.0.1:7443".to_owned()])
            .await
            .unwrap();
        let read = Config::load(&report.config).unwrap();
        assert_eq!(
            (read.advertise.as_str(), read.listen.port()),
            ("10.0.0.1:7443", 7443)
        );
        assert_eq!(read.state_dir, state);
        let text = std::fs::read_to_string(&report.config).unwrap();
        assert!(text.contains("\nmetrics: 127.0.0.1:7446\n"), "{text}");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&report.context), 0o600);
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join("ca/ca.key")), 0o600);

        let before = std::fs::read(state.join("ca/ca.crt")).unwrap();
        let again = initialise(&state, &config, &["10.0.0.2:7443".to_owned()])
            .await
            .unwrap_err();
        assert_eq!(again.code, "exists-coordinator");
        assert_eq!(std::fs::read(state.join("ca/ca.crt")).unwrap(), before);
    }

    #[tokio::test]
    async fn an_interrupted_one_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let (state, config) = (folder.path().join("state"), folder.path().join("etc"));
        let first = initialise(&state, &config, &["a.example:7443".to_owned()])
            .await
            .unwrap();
        std::fs::remove_file(&first.config).unwrap();
        let second = initialise(&state, &config, &["a.example:7443".to_owned()])
            .await
            .unwrap();
        assert_eq!(first.pin, second.pin);
    }

    #[tokio::test]
    async fn a_wrong_address_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in ["", "host", "host:0", "http://host:1", "host:65535"] {
            let refused = initialise(folder.path(), folder.path(), &[wrong.to_owned()]).await;
            assert!(refused.is_err(), "{wrong}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
