//! Simulated agents before their coordinator: enrolled by real tokens, connected by the agent's own link.

use super::agent::Agent;
use super::coordinator::Coordinator;
use super::durations::Durations;
use super::operator::Operator;
use super::world::{Role, World};
use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use quorate_agent::enroll::{self, Options};
use quorate_agent::host::files;
use quorate_agent::identity::AgentIdentity;
use quorate_agent::link::Link;
use quorate_agent::link::dial::Dialer;
use quorate_agent::link::outbox::Outbox;
use quorate_agent::paths::Paths;
use quorate_pki::Hot;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Half-open connections that the enrolment's port takes from one address, with room to spare.
const ENROL_AT_ONCE: usize = 32;
/// From the start of the process to its first answer.
const ANSWERS: Duration = Duration::from_secs(20);
/// A thousand sessions and first reports, on two cores.
const CONNECTED: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// For the agents' goodbyes.
const GOODBYE: Duration = Duration::from_secs(10);
/// Beside the sockets: store, logs, libraries.
const OTHER_FILES: u64 = 200;

pub struct Fleet {
    runtime: Option<Runtime>,
    pub coordinator: Coordinator,
    pub world: Arc<World>,
    pub operator: Operator,
    stop: CancellationToken,
    folder: TempDir,
    agents: usize,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub address: String,
    pub role: Role,
}

impl Fleet {
    /// All of them enrolled and connected.
    pub fn new(program: &Path, nodes: &[Node], durations: Durations) -> Result<Self> {
        allow_files(nodes.len() as u64 + OTHER_FILES)?;
        let folder = tempfile::tempdir()?;
        let coordinator = Coordinator::start(program, folder.path())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let operator = runtime.block_on(first_answer(&coordinator))?;
        let mut fleet = Fleet {
            runtime: Some(runtime),
            coordinator,
            world: Arc::new(World::new(durations)),
            operator,
            stop: CancellationToken::new(),
            folder,
            agents: 0,
        };
        fleet.add(nodes)?;
        Ok(fleet)
    }

    fn add(&mut self, nodes: &[Node]) -> Result<()> {
        for node in nodes {
            self.world.add(&node.name, &node.address, node.role);
        }
        let identities = self.block_on(enrol_all(
            self.operator.clone(),
            self.folder.path().join("agents"),
            nodes.to_vec(),
        ))??;
        let runtime = self.runtime.as_ref().context("the fleet has ended")?;
        let _inside = runtime.enter();
        for identity in identities {
            let link = link(identity, &self.world);
            tokio::spawn(link.run(self.stop.clone()));
        }
        self.agents += nodes.len();
        let expected = self.agents;
        self.block_on(connected(self.operator.clone(), expected))?
    }

    pub fn block_on<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let runtime = self.runtime.as_ref().context("the fleet has ended")?;
        Ok(runtime.block_on(runtime.spawn(work))?)
    }

    pub fn write_file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(GOODBYE);
        }
    }
}

async fn first_answer(coordinator: &Coordinator) -> Result<Operator> {
    let begun = Instant::now();
    loop {
        let connected = Operator::connect(coordinator).await;
        match connected {
            Ok(operator) => return Ok(operator),
            Err(error) if begun.elapsed() > ANSWERS => {
                return Err(error.context(coordinator.log_tail()));
            }
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn enrol_all(
    operator: Operator,
    folder: PathBuf,
    nodes: Vec<Node>,
) -> Result<Vec<AgentIdentity>> {
    let places = Arc::new(Semaphore::new(ENROL_AT_ONCE));
    let mut tasks = JoinSet::new();
    for node in nodes {
        let (operator, places) = (operator.clone(), Arc::clone(&places));
        let paths = Paths::under(folder.join(&node.name));
        tasks.spawn(async move {
            let _place = places.acquire_owned().await?;
            enrol(&operator, &paths, node.name).await
        });
    }
    let mut identities = Vec::new();
    while let Some(done) = tasks.join_next().await {
        identities.push(done??);
    }
    Ok(identities)
}

/// As the line does that `quorate token create` prints, on a machine whose root is a folder.
async fn enrol(operator: &Operator, paths: &Paths, name: String) -> Result<AgentIdentity> {
    let token = operator.token(&name).await?;
    let made = files::make_folder(&paths.state(), 0o700);
    made.map_err(|problem| anyhow!("{problem}"))?;
    std::fs::create_dir_all(paths.at("/etc"))?;
    // Each machine has an id of its own; the token's will do.
    let id: String = token.id.bytes().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(paths.at("/etc/machine-id"), format!("{id:0<32.32}\n"))?;
    let options = Options {
        name: Some(name),
        force: false,
    };
    let enrolled = enroll::enroll(paths, &token, options).await;
    enrolled.map_err(|problem| anyhow!("{problem}"))
}

fn link(identity: AgentIdentity, world: &Arc<World>) -> Link<Agent> {
    let outbox = Arc::new(Outbox::default());
    let handler = Agent::new(
        identity.node_name,
        identity.node_id,
        Arc::clone(world),
        Arc::clone(&outbox),
    );
    Link {
        dialer: Dialer::new(Arc::new(Hot::new(identity.material))),
        endpoints: identity.endpoints,
        handler,
        outbox,
        // Certificates are good for longer than the simulation.
        redial: watch::channel(()).1,
    }
}

async fn connected(operator: Operator, expected: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let nodes = operator.nodes().await?;
        let there = nodes.iter().filter(|it| it.connected && it.host.is_some());
        let there = there.count();
        if there == expected {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < CONNECTED,
            "{there} of {expected} agents are connected and have reported"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Sockets count as files, and the usual bound is 1,024; the coordinator inherits this.
fn allow_files(wanted: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        wanted <= hard,
        "{wanted} open files are needed and {hard} allowed: raise the hard limit (ulimit -Hn)"
    );
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard), hard)?;
    Ok(())
}
