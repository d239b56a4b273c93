//! What is asked of the coordinator, by somebody patient: who asks again when no answer came, and again when an operation failed.

use super::agent;
use super::coordinator::Coordinator;
use super::faults;
use super::world::World;
use quorate::engine::Engine;
use quorate::engine::api::EngineApi;
use quorate_proto::v1::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const WHO: &str = "admin/simulated";
const CLUSTER: &str = "c";
const LOOK: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_secs(2);
pub const BALANCER: &str = "lb";
const BALANCER_ADDRESS: &str = "10.0.0.99";
const SOAK_SECONDS: u32 = 5;

/// One thing that an operator wants. Another operation of quorate is another variant, with how it is asked for and when it is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A file with this many members.
    Members { count: usize, balancer: bool },
    /// The endpoint at the load balancer.
    Rotation,
    /// A member leaves; another takes its place, if there is one: of the same name, a new machine.
    Leave {
        node: usize,
        state: Leaver,
        successor: Option<usize>,
    },
}

/// The machine that is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaver {
    Living,
    /// Gone for good, and said to be.
    Dead,
    /// It runs again, with an empty disk and an identity of its own.
    Reinstalled,
}

/// The voters that there are once these are met.
pub fn voters_of(wishes: &[Wish]) -> BTreeSet<String> {
    let mut voters = BTreeSet::new();
    for wish in wishes {
        match wish {
            Wish::Members { count, .. } => voters.extend((1..=*count).map(name_of)),
            Wish::Rotation => {}
            Wish::Leave {
                node, successor, ..
            } => {
                voters.remove(&name_of(*node));
                voters.extend(successor.map(name_of));
            }
        }
    }
    voters
}

pub fn name_of(number: usize) -> String {
    format!("n{number}")
}

pub fn address_of(number: usize) -> String {
    format!("10.0.0.{number}")
}

/// What came of asking.
enum Asked {
    Operation(String),
    NothingToDo,
    /// No answer, or a refusal that time may change.
    Again,
}

impl Wish {
    async fn ask(&self, engine: &Engine) -> Result<Asked, Problem> {
        let answer = match self {
            Wish::Members { count, balancer } => apply(engine, file(*count, *balancer)).await?,
            Wish::Rotation => {
                let request = RotateEndpointRequest {
                    cluster: CLUSTER.to_owned(),
                    to: Some(Endpoint {
                        host: BALANCER_ADDRESS.to_owned(),
                        port: 0,
                    }),
                    soak_seconds: SOAK_SECONDS,
                    ..RotateEndpointRequest::default()
                };
                engine.rotate_endpoint(WHO, request).await?
            }
            Wish::Leave { .. } => match engine.remove_node(WHO, self.removal()).await {
                // It has left with an operation whose answer was lost.
                Err(problem) if problem.code == "not-found-node" => return Ok(Asked::NothingToDo),
                answer => answer?,
            },
        };
        Ok(match answer.nothing_to_do {
            true => Asked::NothingToDo,
            false => Asked::Operation(answer.operation),
        })
    }

    fn removal(&self) -> RemovalRequest {
        let Wish::Leave {
            node,
            state,
            successor,
        } = self
        else {
            return RemovalRequest::default();
        };
        let other = successor.filter(|it| it != node);
        RemovalRequest {
            node: name_of(*node),
            without_storage: false,
            dead: *state == Leaver::Dead,
            replace: successor.is_some(),
            successor: other.map(name_of).unwrap_or_default(),
            address: other.map(address_of).unwrap_or_default(),
        }
    }
}

/// Whether the world is as these wishes, one after the other, would have it: judged by its truth, not by what anybody says.
pub fn unmet(wishes: &[Wish], world: &World) -> Option<String> {
    world.refresh();
    let state = world.lock();
    let cluster = state.clusters.first();
    let wanted = voters_of(wishes);
    let voters: BTreeSet<String> = cluster
        .map(|it| it.voters().map(|voter| voter.name.clone()).collect())
        .unwrap_or_default();
    if voters != wanted {
        return Some(format!("the voters are {voters:?}, not {wanted:?}"));
    }
    let rotated = wishes.contains(&Wish::Rotation);
    let lacks = state.machines.values().find(|machine| {
        rotated && machine.process.is_some() && !machine.serving.contains(BALANCER_ADDRESS)
    });
    if let Some(machine) = lacks {
        return Some(format!("{} does not serve the new endpoint", machine.name));
    }
    let left = wishes.iter().find_map(|wish| match wish {
        Wish::Leave { node, .. } if !wanted.contains(&name_of(*node)) => Some(name_of(*node)),
        Wish::Leave { .. } | Wish::Members { .. } | Wish::Rotation => None,
    });
    let remains = |name: &String| {
        let machine = state.machines.get(name)?;
        let clean = machine.data.is_none() && machine.marks.cluster_id.is_empty();
        (!machine.gone && !clean).then(|| format!("{name} was not reset"))
    };
    left.as_ref().and_then(remains)
}

/// What happens to the machine before its removal is asked for.
async fn prepare(world: &Arc<World>, wish: &Wish) {
    let Wish::Leave { node, state, .. } = wish else {
        return;
    };
    let name = name_of(*node);
    match state {
        Leaver::Living => {}
        Leaver::Dead => {
            world.power_off(&name);
            if let Some(machine) = world.lock().machines.get_mut(&name) {
                machine.gone = true;
            }
        }
        Leaver::Reinstalled => renew(world, &name).await,
    }
    world.say(&format!("{name} is to leave: {state:?}"));
}

/// A new machine of the same name, or the same one with a new system; it enrols.
async fn renew(world: &Arc<World>, name: &str) {
    world.power_off(name);
    world.sleep(500, 5_000).await;
    if let Some(machine) = world.lock().machines.get_mut(name) {
        machine.lose_disk();
        machine.gone = false;
        machine.lost_voter = true;
    }
    world.power_on(name);
    agent::start(world, name);
    world.say(&format!("{name} is a new machine"));
}

/// Whose place a new machine of the same name takes is shut out first.
async fn come_back(world: &Arc<World>, wish: &Wish) {
    let Wish::Leave {
        node,
        successor: Some(successor),
        ..
    } = wish
    else {
        return;
    };
    let name = name_of(*node);
    let out = |world: &World| {
        world
            .lock()
            .machines
            .get(&name)
            .is_some_and(|it| it.shut_out())
    };
    if node == successor && out(world) {
        renew(world, &name).await;
    }
}

async fn apply(engine: &Engine, file: String) -> Result<ApplyResponse, Problem> {
    let plan = PlanRequest {
        file,
        ..PlanRequest::default()
    };
    let shown = engine.plan(WHO, plan.clone()).await?;
    let request = ApplyRequest {
        plan: Some(plan),
        expected_revision: shown.revision,
    };
    engine.apply(WHO, request).await
}

fn file(members: usize, balancer: bool) -> String {
    let mut text = format!("name: {CLUSTER}\ndistribution: etcd\n");
    if balancer {
        text.push_str("endpoint: 10.0.0.1:2379\nloadBalancer: {mode: managed}\n");
    }
    text.push_str("nodes:\n");
    for n in 1..=members {
        let (name, address) = (name_of(n), address_of(n));
        text.push_str(&format!(
            "  - {{name: {name}, address: {address}, roles: [etcd]}}\n"
        ));
    }
    if balancer {
        text.push_str(&format!(
            "  - {{name: {BALANCER}, address: {BALANCER_ADDRESS}, roles: [load-balancer]}}\n"
        ));
    }
    text
}

/// One wish after the other; ends when the last is met.
pub async fn operate(world: Arc<World>, coordinator: Arc<Coordinator>, wishes: Vec<Wish>) {
    for (at, wish) in wishes.iter().enumerate() {
        world.say(&format!("wish: {wish:?}"));
        prepare(&world, wish).await;
        loop {
            match ask(&world, &coordinator, wish).await {
                Asked::Again => tokio::time::sleep(PAUSE).await,
                Asked::NothingToDo => break,
                Asked::Operation(id) => {
                    world.say(&format!("operation {id} is acknowledged"));
                    world.lock().checks.acknowledged(&id);
                    if let Wish::Leave { node, .. } = wish {
                        tokio::spawn(faults::neighbour_dies(Arc::clone(&world), name_of(*node)));
                    }
                    let how = ended(&world, &coordinator, wish, &id).await;
                    world.say(&format!("operation {id}: {how}"));
                    world.lock().checks.operation_ended(&id, &how);
                    if how == "done" {
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        if let Some(why) = unmet(&wishes[..=at], &world) {
            let mut state = world.lock();
            state
                .checks
                .violated(format!("{wish:?} is said to be done: {why}"));
        }
    }
}

/// A call ends without an answer when the coordinator dies.
async fn ask(world: &World, coordinator: &Coordinator, wish: &Wish) -> Asked {
    let mut life = world.coordinator.subscribe();
    let Some(engine) = coordinator.engine() else {
        return Asked::Again;
    };
    let answer = tokio::select! {
        biased;
        _ = life.changed() => return Asked::Again,
        answer = wish.ask(&engine) => answer,
    };
    match answer {
        Ok(asked) => asked,
        Err(problem) => {
            let shown = problem.to_string();
            world.lock().checks.public("a refusal", shown.as_bytes());
            world.say(&format!("refused: {} {}", problem.code, problem.what));
            Asked::Again
        }
    }
}

async fn ended(world: &Arc<World>, coordinator: &Coordinator, wish: &Wish, id: &str) -> String {
    loop {
        tokio::time::sleep(LOOK).await;
        come_back(world, wish).await;
        let Some(engine) = coordinator.engine() else {
            continue;
        };
        let request = ListOperationsRequest::default();
        let Ok(listed) = engine.list_operations(WHO, request).await else {
            continue;
        };
        let Some(operation) = listed.operations.into_iter().find(|it| it.id == id) else {
            let mut state = world.lock();
            let line = format!("the acknowledged operation {id} is unknown");
            state.checks.violated(line);
            return "lost".to_owned();
        };
        if let Some(problem) = &operation.problem {
            let shown = problem.to_string();
            world.lock().checks.public("a problem", shown.as_bytes());
        }
        if operation.state != "running" {
            return operation.state;
        }
    }
}
