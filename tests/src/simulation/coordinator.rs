//! The coordinator's process: the real engine on the real store's transactions, over a disk and a network that are simulated.

use super::world::World;
use quorate::engine::Engine;
use quorate::engine::agents::AgentEvent;
use quorate::engine::shared::{ArtifactChoice, Decide, Shared};
use quorate::store::Store;
use quorate_proto::v1::ArtifactRef;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use ulid::Ulid;

/// Events on their way to the engine, as in the daemon.
const EVENTS: usize = 1_024;

pub struct Coordinator {
    world: Arc<World>,
    decide: Option<Decide>,
    engine: Mutex<Option<Arc<Engine>>>,
}

struct NoArtifacts;

impl ArtifactChoice for NoArtifacts {
    fn choose(&self, _: &[&str], _: &[&str], _: bool) -> Vec<ArtifactRef> {
        Vec::new()
    }
}

impl Coordinator {
    pub fn new(world: &Arc<World>, decide: Option<Decide>) -> Arc<Self> {
        Arc::new(Coordinator {
            world: Arc::clone(world),
            decide,
            engine: Mutex::default(),
        })
    }

    pub fn engine(&self) -> Option<Arc<Engine>> {
        let engine = self.engine.lock();
        engine.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, engine: Option<Arc<Engine>>) -> Option<Arc<Engine>> {
        let mut held = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut held, engine)
    }

    pub fn start(&self) {
        if self.engine().is_some() {
            return;
        }
        let world = &self.world;
        let store = Arc::new(Store::simulated(&world.disk));
        let (sender, events) = mpsc::channel::<AgentEvent>(EVENTS);
        // Epochs grow with each start; in the daemon they are counted on disk.
        let epoch = *world.coordinator.borrow() + 1;
        {
            let now = world.now_ms();
            let mut state = world.lock();
            state.sessions.events = Some(sender);
            state.sessions.started_ms = now;
        }
        let (clock, ids) = (Arc::clone(world), Arc::clone(world));
        let shared = Shared::new(
            store,
            Arc::clone(world) as _,
            Arc::new(NoArtifacts),
            epoch,
            "simulated",
            Arc::new(move || clock.now_ms()),
        )
        .with_ids(Arc::new(move || {
            let now = ids.now_ms();
            let mut state = ids.lock();
            let random = u128::from(state.random.next()) << 16 | u128::from(state.id() & 0xffff);
            Ulid::from_parts(now, random)
        }));
        let shared = match &self.decide {
            Some(decide) => shared.with_decide(Arc::clone(decide)),
            None => shared,
        };
        match Engine::start_with(shared, events) {
            Ok(engine) => {
                self.set(Some(engine));
                world.coordinator.send_replace(epoch);
                world.say("the coordinator starts");
            }
            Err(problem) => {
                let mut state = world.lock();
                state
                    .checks
                    .violated(format!("no coordinator from its own state: {problem}"));
            }
        }
    }

    /// As SIGKILL or a power cut does it.
    pub fn crash(&self) {
        let Some(engine) = self.set(None) else {
            return;
        };
        let world = &self.world;
        world.disk.crash();
        engine.stop();
        world.coordinator.send_modify(|number| *number += 1);
        let contents = world.disk.contents();
        let mut state = world.lock();
        state.sessions.forget();
        state.checks.disk(&contents);
    }
}
