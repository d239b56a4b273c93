//! A coordinator and those who call it.

use crate::backup::{RestoreReport, Restoring, restore};
use crate::cli::context::Context;
use crate::init::initialise;
use crate::serve::{Config, Daemon};
use hyper_util::rt::TokioIo;
use quorate_pki::{KeyRequest, TlsMaterial, client_config, pinned_client_config};
use quorate_proto::token::JoinToken;
use quorate_proto::v1::agent_client::AgentClient;
use quorate_proto::v1::agent_message::Message as FromAgent;
use quorate_proto::v1::coordinator_message::Message as ToAgent;
use quorate_proto::v1::enrollment_client::EnrollmentClient;
use quorate_proto::v1::operator_client::OperatorClient;
use quorate_proto::v1::*;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// Nothing here takes long; only a hang meets it.
pub const LIMIT: Duration = Duration::from_secs(10);

pub struct Bench {
    folder: tempfile::TempDir,
    pub daemon: Daemon,
    pub admin: TlsMaterial,
}

impl Bench {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (state, etc) = (folder.path().join("state"), folder.path().join("etc"));
        let report = initialise(&state, &etc, &["localhost:7443".to_owned()])
            .await
            .unwrap();
        let context = std::fs::read_to_string(report.context).unwrap();
        let context: Context = serde_saphyr::from_str(&context).unwrap();
        let daemon = Daemon::start(&config(&state)).await.unwrap();
        Bench {
            folder,
            daemon,
            admin: context.material(),
        }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub async fn restart(self) -> Self {
        self.daemon.stop().await;
        let daemon = Daemon::start(&config(&self.folder.path().join("state"))).await;
        Bench {
            daemon: daemon.unwrap(),
            ..self
        }
    }

    /// As the command line receives it.
    pub async fn backup(&self) -> PathBuf {
        let mut admin = self.operator(&self.admin).await;
        let answer = admin.backup(BackupRequest {}).await.unwrap();
        let mut chunks = answer.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await.unwrap() {
            bytes.extend(chunk.data);
        }
        let file = self.folder.path().join("backup");
        std::fs::write(&file, bytes).unwrap();
        file
    }

    /// Another machine, which a backup was brought to.
    pub async fn restored(backup: &Path) -> (Self, RestoreReport) {
        let folder = tempfile::tempdir().unwrap();
        let (state, etc) = (folder.path().join("state"), folder.path().join("etc"));
        let advertise = ["localhost:7443", "127.0.0.1:7443"].map(str::to_owned);
        let restored = restore(Restoring {
            file: backup,
            state_dir: &state,
            config_dir: &etc,
            advertise: &advertise,
            force: false,
        });
        let report = restored.await.unwrap();
        let context = std::fs::read_to_string(&report.context).unwrap();
        let context: Context = serde_saphyr::from_str(&context).unwrap();
        let daemon = Daemon::start(&config(&state)).await.unwrap();
        let bench = Bench {
            folder,
            daemon,
            admin: context.material(),
        };
        (bench, report)
    }

    pub async fn operator(&self, who: &TlsMaterial) -> OperatorClient<Channel> {
        let channel = dial(self.daemon.session_address, client_config(who).unwrap()).await;
        OperatorClient::new(channel.unwrap())
    }

    pub async fn user(&self, name: &str, role: &str) -> TlsMaterial {
        let key = KeyRequest::generate().unwrap();
        let request = CreateUserRequest {
            name: name.to_owned(),
            role: role.to_owned(),
            csr_pem: key.csr_pem.clone(),
            validity_seconds: 0,
        };
        let mut admin = self.operator(&self.admin).await;
        let granted = admin.create_user(request).await.unwrap().into_inner();
        material(key, granted.certificate_pem, granted.ca_bundle_pem)
    }

    pub async fn token(&self, node: &str) -> JoinToken {
        let request = CreateTokenRequest {
            node: node.to_owned(),
            ttl_seconds: 0,
        };
        let mut admin = self.operator(&self.admin).await;
        let made = admin.create_token(request).await.unwrap().into_inner();
        JoinToken::decode(&made.token).unwrap()
    }

    pub async fn enroll(
        &self,
        token: &JoinToken,
        request: EnrollRequest,
    ) -> Result<EnrollResponse, Status> {
        let config = pinned_client_config(&token.pin).unwrap();
        let channel = dial(self.daemon.enroll_address, config).await.unwrap();
        let answer = EnrollmentClient::new(channel).enroll(request).await;
        answer.map(tonic::Response::into_inner)
    }

    /// An enrolled node.
    pub async fn node(&self, name: &str) -> TestNode {
        let token = self.token("").await;
        let key = KeyRequest::generate().unwrap();
        let request = enroll_request(&token, name, &key);
        let granted = self.enroll(&token, request).await.unwrap();
        TestNode {
            address: self.daemon.session_address,
            id: granted.node_id,
            material: material(key, granted.certificate_pem, granted.ca_bundle_pem),
        }
    }

    pub async fn listed(&self, name: &str) -> NodeInfo {
        let mut admin = self.operator(&self.admin).await;
        let nodes = admin
            .list_nodes(ListNodesRequest {})
            .await
            .unwrap()
            .into_inner()
            .nodes;
        nodes
            .into_iter()
            .find(|node| node.name == name && !node.revoked)
            .unwrap()
    }
}

fn config(state: &Path) -> Config {
    let text = format!(
        "advertise: localhost:7443\nlisten: 127.0.0.1:0\nstate_dir: {}\n\
         enroll_advertise: localhost:7444\nmetrics: 127.0.0.1:0\n",
        state.display()
    );
    Config::parse(&text).unwrap()
}

fn material(key: KeyRequest, certificate: String, ca: String) -> TlsMaterial {
    TlsMaterial {
        cert_chain_pem: certificate,
        key_pem: key.key_pem,
        ca_bundle_pem: ca,
    }
}

pub fn enroll_request(token: &JoinToken, name: &str, key: &KeyRequest) -> EnrollRequest {
    EnrollRequest {
        token_id: token.id.clone(),
        token_secret: token.secret.to_string(),
        csr_pem: key.csr_pem.clone(),
        node_name: name.to_owned(),
        machine_id: format!("machine-{name}"),
    }
}

pub async fn dial(
    address: SocketAddr,
    config: ClientConfig,
) -> Result<Channel, tonic::transport::Error> {
    let connector = TlsConnector::from(Arc::new(config));
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            let stream = TcpStream::connect(address).await?;
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connect)
        .await
}

pub struct TestNode {
    pub address: SocketAddr,
    pub id: String,
    pub material: TlsMaterial,
}

pub struct TestSession {
    pub say: mpsc::Sender<AgentMessage>,
    pub hear: Streaming<CoordinatorMessage>,
}

impl TestNode {
    pub async fn client(&self) -> Result<AgentClient<Channel>, tonic::transport::Error> {
        let channel = dial(self.address, client_config(&self.material).unwrap()).await?;
        Ok(AgentClient::new(channel))
    }

    pub async fn open(&self, hello_id: &str) -> TestSession {
        self.say_hello(Hello {
            node_id: hello_id.to_owned(),
            agent_version: "1.2.3".to_owned(),
            ..Hello::default()
        })
        .await
    }

    pub async fn say_hello(&self, hello: Hello) -> TestSession {
        let (say, messages) = mpsc::channel(16);
        say.send(message(FromAgent::Hello(hello))).await.unwrap();
        let mut client = self.client().await.unwrap();
        let hear = client
            .session(ReceiverStream::new(messages))
            .await
            .unwrap()
            .into_inner();
        TestSession { say, hear }
    }

    /// A session that has been welcomed.
    pub async fn session(&self) -> TestSession {
        let mut session = self.open(&self.id).await;
        assert!(matches!(session.next().await, Some(ToAgent::Welcome(_))));
        assert!(matches!(session.next().await, Some(ToAgent::Pace(_))));
        session
    }
}

impl TestSession {
    pub async fn say(&self, what: FromAgent) {
        self.say.send(message(what)).await.unwrap();
    }

    /// None: the stream has ended in any way.
    pub async fn next(&mut self) -> Option<ToAgent> {
        let heard = timeout(LIMIT, self.hear.message())
            .await
            .expect("nothing was said");
        heard.ok().flatten().and_then(|message| message.message)
    }
}

fn message(what: FromAgent) -> AgentMessage {
    AgentMessage {
        message: Some(what),
    }
}

/// Asks until it is so.
pub async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F) {
    timeout(LIMIT, async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it never became so");
}
