//! A coordinator in the test's own process, over real mTLS with certificates made on the spot.

mod wire;

use crate::identity::{AgentIdentity, Granted};
use quorate_pki::{Authority, Identity, KeyRequest, Leaf, Name, Role, TlsMaterial, Usage};
use quorate_proto::v1::agent_message::Message as FromAgent;
use quorate_proto::v1::agent_server::{Agent, AgentServer};
use quorate_proto::v1::coordinator_message::Message as ToAgent;
use quorate_proto::v1::enrollment_server::{Enrollment, EnrollmentServer};
use quorate_proto::v1::{
    Acknowledge, AgentMessage, ArtifactChunk, CoordinatorMessage, Delivery, EnrollRequest,
    EnrollResponse, FetchArtifactRequest, Goodbye, Hello, Order, OrderDone, RenewRequest,
    RenewResponse, SendSnapshotResponse, SnapshotPart, Welcome,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use wire::accept;

/// Longer than anything takes on a busy machine; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub fn authority() -> Authority {
    Authority::create("test authority", 10 * DAY, SystemTime::now()).expect("authority")
}

fn leaf(usage: Usage, role: Role, id: &str, validity: Duration) -> Leaf {
    Leaf {
        common_name: id.to_owned(),
        organization: Vec::new(),
        names: match usage {
            Usage::Client => Vec::new(),
            Usage::Server | Usage::Both => vec![Name::parse("127.0.0.1").expect("name")],
        },
        uri: Some(Identity::new(role, id).expect("identity").to_uri()),
        usage,
        validity,
    }
}

pub fn sign(authority: &Authority, csr_pem: &str, id: &str, validity: Duration) -> Granted {
    let leaf = leaf(Usage::Client, Role::Agent, id, validity);
    let issued = authority
        .sign_request(csr_pem, &leaf, SystemTime::now())
        .expect("issued");
    Granted {
        certificate_pem: issued.cert_pem,
        ca_bundle_pem: authority.cert_pem().to_owned(),
    }
}

pub fn agent_identity(authority: &Authority, id: &str, endpoints: &[&str]) -> AgentIdentity {
    identity_for(authority, id, endpoints, DAY)
}

pub fn identity_for(
    authority: &Authority,
    id: &str,
    endpoints: &[&str],
    validity: Duration,
) -> AgentIdentity {
    let request = KeyRequest::generate().expect("key");
    let granted = sign(authority, &request.csr_pem, id, validity);
    let endpoints = endpoints.iter().map(|e| (*e).to_owned()).collect();
    AgentIdentity::assemble(
        id.to_owned(),
        id.to_owned(),
        endpoints,
        request.key_pem,
        granted,
    )
    .expect("identity")
}

pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("not in time: {what}"),
    }
}

/// What the server answers besides sessions, which go to the test.
pub type Fetch = Arc<dyn Fn(FetchArtifactRequest) -> Vec<Result<Vec<u8>, Status>> + Send + Sync>;

pub struct Coordinator {
    pub endpoint: String,
    pub renewals: Arc<Mutex<Vec<String>>>,
    pub enrolments: Arc<Mutex<Vec<(String, String)>>>,
    sessions: mpsc::Receiver<Session>,
    server: JoinHandle<()>,
}

/// One agent's session as the coordinator sees it.
pub struct Session {
    pub hello: Hello,
    from_agent: Streaming<AgentMessage>,
    to_agent: mpsc::Sender<Result<CoordinatorMessage, Status>>,
}

#[derive(Default)]
pub struct Answers {
    pub fetch: Option<Fetch>,
    pub enroll: Option<Status>,
    /// Enrolment without a client certificate instead of sessions with one.
    pub enrolment: bool,
    /// How many answers to enrolments are lost after they were given.
    pub lost: usize,
    /// Answer sessions with this instead of taking them.
    pub busy: Arc<Mutex<Vec<Status>>>,
    pub listen: Option<TcpListener>,
}

impl Coordinator {
    pub async fn start(authority: Arc<Authority>, answers: Answers) -> Self {
        let mut answers = answers;
        let listener = match answers.listen.take() {
            Some(listener) => listener,
            None => TcpListener::bind("127.0.0.1:0").await.expect("bind"),
        };
        let endpoint = listener.local_addr().expect("address").to_string();
        let issued = authority
            .issue(
                &leaf(Usage::Server, Role::Coordinator, "c1", DAY),
                SystemTime::now(),
            )
            .expect("server certificate");
        let material = TlsMaterial {
            cert_chain_pem: issued.issued.cert_pem,
            key_pem: issued.key_pem,
            ca_bundle_pem: authority.cert_pem().to_owned(),
        };
        let config = if answers.enrolment {
            quorate_pki::enroll_server_config(&material)
        } else {
            quorate_pki::mutual_server_config(&material, None)
        };
        let (sender, sessions) = mpsc::channel(16);
        let renewals = Arc::new(Mutex::new(Vec::new()));
        let enrolments = Arc::new(Mutex::new(Vec::new()));
        let service = Arc::new(Service {
            authority: authority.clone(),
            answers: Mutex::new(answers),
            sessions: sender,
            renewals: renewals.clone(),
            enrolments: enrolments.clone(),
        });
        let incoming = accept(listener, config.expect("configuration"));
        let server = tokio::spawn(async move {
            let _ = Server::builder()
                .add_service(AgentServer::from_arc(service.clone()))
                .add_service(EnrollmentServer::from_arc(service))
                .serve_with_incoming(incoming)
                .await;
        });
        Coordinator {
            endpoint,
            renewals,
            enrolments,
            sessions,
            server,
        }
    }

    pub async fn session(&mut self) -> Session {
        soon("a session", self.sessions.recv())
            .await
            .expect("server")
    }

    pub fn stop(self) {
        self.server.abort();
    }
}

impl Session {
    pub async fn send(&self, message: ToAgent) {
        let message = CoordinatorMessage {
            message: Some(message),
        };
        self.to_agent
            .send(Ok(message))
            .await
            .expect("agent is there");
    }

    pub async fn welcome(&self, epoch: u64) {
        self.send(ToAgent::Welcome(Welcome {
            epoch,
            heartbeat_seconds: 1,
            ..Welcome::default()
        }))
        .await;
    }

    pub async fn deliver(&self, order: &Order, sealed: &[u8]) {
        self.send(ToAgent::Delivery(Delivery {
            order: Some(order.clone()),
            sealed: sealed.to_vec(),
        }))
        .await;
    }

    /// An order to an agent that may have ended the session already.
    pub async fn to_agent_ignored(&self, order: &Order) {
        let delivery = Delivery {
            order: Some(order.clone()),
            sealed: Vec::new(),
        };
        let message = CoordinatorMessage {
            message: Some(ToAgent::Delivery(delivery)),
        };
        let _ = self.to_agent.send(Ok(message)).await;
    }

    pub async fn acknowledge(&self, id: &str) {
        self.send(ToAgent::Acknowledge(Acknowledge { id: id.to_owned() }))
            .await;
    }

    pub async fn goodbye(&self, reason: &str) {
        self.send(ToAgent::Goodbye(Goodbye {
            reason: reason.to_owned(),
        }))
        .await;
    }

    /// The next message that `pick` wants; others are skipped. `None`: the agent ended the stream.
    pub async fn next<T>(&mut self, pick: impl Fn(FromAgent) -> Option<T>) -> Option<T> {
        let wanted = async {
            loop {
                let message = self.from_agent.message().await.ok()??;
                if let Some(wanted) = message.message.and_then(&pick) {
                    return Some(wanted);
                }
            }
        };
        soon("a message", wanted).await
    }

    pub async fn done(&mut self) -> OrderDone {
        self.next(|message| match message {
            FromAgent::Done(done) => Some(done),
            FromAgent::Hello(_)
            | FromAgent::Report(_)
            | FromAgent::Heartbeat(_)
            | FromAgent::Accepted(_)
            | FromAgent::Progress(_)
            | FromAgent::Goodbye(_) => None,
        })
        .await
        .expect("a result")
    }
}

struct Service {
    authority: Arc<Authority>,
    answers: Mutex<Answers>,
    sessions: mpsc::Sender<Session>,
    renewals: Arc<Mutex<Vec<String>>>,
    enrolments: Arc<Mutex<Vec<(String, String)>>>,
}

#[tonic::async_trait]
impl Agent for Service {
    type SessionStream = ReceiverStream<Result<CoordinatorMessage, Status>>;
    type FetchArtifactStream = ReceiverStream<Result<ArtifactChunk, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let busy = self
            .answers
            .lock()
            .expect("lock")
            .busy
            .lock()
            .expect("lock")
            .pop();
        if let Some(status) = busy {
            return Err(status);
        }
        let mut from_agent = request.into_inner();
        let Some(FromAgent::Hello(hello)) = from_agent.message().await?.and_then(|m| m.message)
        else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (to_agent, answers) = mpsc::channel(16);
        let session = Session {
            hello,
            from_agent,
            to_agent,
        };
        self.sessions
            .send(session)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn fetch_artifact(
        &self,
        request: Request<FetchArtifactRequest>,
    ) -> Result<Response<Self::FetchArtifactStream>, Status> {
        let fetch = self.answers.lock().expect("lock").fetch.clone();
        let fetch = fetch.ok_or_else(|| Status::not_found("no such artifact"))?;
        let (sender, chunks) = mpsc::channel(4);
        let answers = fetch(request.into_inner());
        tokio::spawn(async move {
            for answer in answers {
                let chunk = answer.map(|data| ArtifactChunk { data });
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(chunks)))
    }

    async fn send_snapshot(
        &self,
        _request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<SendSnapshotResponse>, Status> {
        Err(Status::not_found("no such transfer"))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let csr = request.into_inner().csr_pem;
        self.renewals.lock().expect("lock").push(csr.clone());
        let granted = sign(&self.authority, &csr, "n1", DAY);
        Ok(Response::new(RenewResponse {
            certificate_pem: granted.certificate_pem,
            ca_bundle_pem: granted.ca_bundle_pem,
        }))
    }
}

#[tonic::async_trait]
impl Enrollment for Service {
    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        let request = request.into_inner();
        let csr = request.csr_pem.clone();
        self.enrolments
            .lock()
            .expect("lock")
            .push((request.token_secret.clone(), csr));
        let mut answers = self.answers.lock().expect("lock");
        if let Some(status) = &answers.enroll {
            return Err(status.clone());
        }
        if answers.lost > 0 {
            answers.lost -= 1;
            return Err(Status::unavailable("lost"));
        }
        let granted = sign(&self.authority, &request.csr_pem, "n1", DAY);
        Ok(Response::new(EnrollResponse {
            certificate_pem: granted.certificate_pem,
            ca_bundle_pem: granted.ca_bundle_pem,
            node_id: "n1".to_owned(),
            node_name: request.node_name,
        }))
    }
}
