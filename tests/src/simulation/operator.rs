//! What is asked of the coordinator, by somebody patient: who asks again when no answer came, and again when an operation failed.

use super::coordinator::Coordinator;
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
        };
        Ok(match answer.nothing_to_do {
            true => Asked::NothingToDo,
            false => Asked::Operation(answer.operation),
        })
    }

    /// Whether the world is as wished: judged by its truth, not by what anybody says.
    pub fn unmet(&self, world: &World) -> Option<String> {
        world.refresh();
        let state = world.lock();
        let cluster = state.clusters.first();
        match self {
            Wish::Members { count, .. } => {
                let wanted: BTreeSet<String> = (1..=*count).map(|n| format!("n{n}")).collect();
                let voters: BTreeSet<String> = cluster
                    .map(|it| it.voters().map(|voter| voter.name.clone()).collect())
                    .unwrap_or_default();
                (!wanted.is_subset(&voters)).then(|| format!("the voters are {voters:?}"))
            }
            Wish::Rotation => {
                let lacks = state.machines.values().find(|machine| {
                    machine.process.is_some() && !machine.serving.contains(BALANCER_ADDRESS)
                });
                lacks.map(|machine| format!("{} does not serve the new endpoint", machine.name))
            }
        }
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
        text.push_str(&format!(
            "  - {{name: n{n}, address: 10.0.0.{n}, roles: [etcd]}}\n"
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
    for wish in wishes {
        world.say(&format!("wish: {wish:?}"));
        loop {
            match ask(&world, &coordinator, &wish).await {
                Asked::Again => tokio::time::sleep(PAUSE).await,
                Asked::NothingToDo => break,
                Asked::Operation(id) => {
                    world.say(&format!("operation {id} is acknowledged"));
                    world.lock().checks.acknowledged(&id);
                    let how = ended(&world, &coordinator, &id).await;
                    world.say(&format!("operation {id}: {how}"));
                    world.lock().checks.operation_ended(&id, &how);
                    if how == "done" {
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        if let Some(why) = wish.unmet(&world) {
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

async fn ended(world: &World, coordinator: &Coordinator, id: &str) -> String {
    loop {
        tokio::time::sleep(LOOK).await;
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
