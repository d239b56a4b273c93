//! One schedule, from its seed to its verdict.

use super::agent;
use super::broken::Missing;
use super::coordinator::Coordinator;
use super::faults;
use super::log::Log;
use super::machine::Machine;
use super::operator::{BALANCER, Leaver, Wish, address_of, name_of, operate, unmet, voters_of};
use super::random::Random;
use super::world::World;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Once the faults have stopped, everything wished is there within this time, without a hand.
pub const CONVERGES_WITHIN: Duration = Duration::from_secs(600);
/// Faults last for two minutes at the most; a schedule beyond this hangs.
const REST: Duration = Duration::from_secs(20);
/// Writing logs takes as long as all the rest.
const LOGGED_EVERY: u64 = 16;
const LOOK: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub keep_trace: bool,
    pub missing: Option<Missing>,
    /// Instead of what the seed would have.
    pub wishes: Option<Vec<Wish>>,
}

#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub hash: u64,
    pub events: u64,
    pub violations: Vec<String>,
    pub faults: BTreeMap<&'static str, u64>,
    /// From the end of the faults.
    pub converged_ms: u64,
    pub lines: Vec<String>,
}

/// Runs in a folder of its own, which is gone afterwards. The runtime has one thread, and time stands still while anything runs.
pub fn run(seed: u64, scratch: &Path, options: Options) -> std::io::Result<Report> {
    let folder = tempfile::Builder::new()
        .prefix("quorate-simulation-")
        .tempdir_in(scratch)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let log = Log::default();
    let logged = seed.is_multiple_of(LOGGED_EVERY);
    let subscriber = logged.then(|| log.subscriber());
    let told = subscriber.map(tracing::subscriber::set_default);
    let report = runtime.block_on(play(seed, folder.path(), &options, &log));
    drop(told);
    // Tasks of dead processes hold what they held.
    drop(runtime);
    Ok(report)
}

fn wishes_of(random: &mut Random) -> Vec<Wish> {
    let balancer = random.chance(400);
    let members = |count| Wish::Members { count, balancer };
    let mut wishes = match random.between(0, 9) {
        0 => vec![members(1)],
        1 | 2 => vec![members(1), members(3)],
        3..=5 => vec![members(3)],
        6..=8 => vec![members(3), members(5)],
        _ => vec![members(5)],
    };
    if balancer && random.chance(500) {
        wishes.push(Wish::Rotation);
    }
    let (members, rotated) = (voters_of(&wishes).len(), wishes.contains(&Wish::Rotation));
    if members > 1 && random.chance(500) {
        wishes.push(leave(random, members, rotated));
    }
    wishes
}

/// Somebody leaves whom the others can do without. The first node's own address is the endpoint until that is rotated.
fn leave(random: &mut Random, members: usize, rotated: bool) -> Wish {
    let first = if rotated { 1 } else { 2 };
    let node = random.between(first, members as u64) as usize;
    let other = Some(members + 1);
    let same = Some(node);
    let (state, successor) = *random.pick(&[
        (Leaver::Living, None),
        (Leaver::Living, other),
        (Leaver::Living, same),
        (Leaver::Dead, None),
        (Leaver::Dead, other),
        (Leaver::Dead, same),
        (Leaver::Reinstalled, same),
    ]);
    Wish::Leave {
        node,
        state,
        successor,
    }
}

async fn play(seed: u64, folder: &Path, options: &Options, log: &Log) -> Report {
    let wishes = options.wishes.clone();
    let wishes = wishes.unwrap_or_else(|| wishes_of(&mut Random::new(seed ^ 3)));
    let world = World::new(seed, folder.to_owned(), options.keep_trace);
    let most = wishes.iter().map(|wish| match wish {
        Wish::Members { count, .. } => *count,
        Wish::Rotation => 0,
        Wish::Leave { successor, .. } => successor.unwrap_or_default(),
    });
    let balancer = wishes
        .iter()
        .any(|wish| matches!(wish, Wish::Members { balancer: true, .. }));
    let mut machines: Vec<(String, String)> = (1..=most.max().unwrap_or_default())
        .map(|n| (name_of(n), address_of(n)))
        .collect();
    if balancer {
        machines.push((BALANCER.to_owned(), "10.0.0.99".to_owned()));
    }
    for (name, address) in &machines {
        let mut machine = Machine::new(name, address);
        machine.alive = true;
        world.lock().machines.insert(name.clone(), machine);
        agent::start(&world, name);
    }
    let decide = options.missing.map(Missing::decide);
    let coordinator = Coordinator::new(&world, decide);
    coordinator.start();
    let operator = operate(Arc::clone(&world), Arc::clone(&coordinator), wishes.clone());
    let mut operator = tokio::spawn(operator);
    let injected = faults::inject(Arc::clone(&world), Arc::clone(&coordinator), seed);
    tokio::select! {
        biased;
        () = violated(&world) => {}
        () = injected => {}
    }
    mend(&world, &coordinator);
    let over = world.elapsed_ms();
    let converged = tokio::select! {
        biased;
        () = violated(&world) => true,
        ended = &mut operator => ended.is_ok(),
        () = tokio::time::sleep(CONVERGES_WITHIN) => false,
    };
    let converged_ms = world.elapsed_ms().saturating_sub(over);
    if world.lock().checks.violations().is_empty() {
        match converged {
            true => settle(&world, &wishes).await,
            false => {
                let line = format!("no convergence: {}", stands(&world, &wishes));
                world.lock().checks.violated(line);
            }
        }
    }
    let contents = world.disk.contents();
    world.lock().checks.disk(&contents);
    files(&world, folder);
    world.lock().checks.public("the log", &log.bytes());
    operator.abort();
    coordinator.crash();
    let mut state = world.lock();
    Report {
        seed,
        hash: state.trace.hash(),
        events: state.trace.events(),
        violations: state.checks.violations().to_vec(),
        faults: state.faults.clone(),
        converged_ms,
        lines: state.trace.take_lines(),
    }
}

async fn violated(world: &World) {
    while world.lock().checks.violations().is_empty() {
        tokio::time::sleep(LOOK).await;
    }
}

/// The environment lets go. What died is started again, as it would be by systemd and by whoever owns the machines.
fn mend(world: &Arc<World>, coordinator: &Coordinator) {
    world.say("the faults are over");
    world.lock().faults_over = true;
    let names: Vec<String> = world.lock().machines.keys().cloned().collect();
    for name in names {
        let alive = world.lock().machines.get(&name).is_some_and(|it| it.alive);
        if !alive {
            world.power_on(&name);
        }
        agent::start(world, &name);
    }
    coordinator.start();
}

/// Nothing goes wrong at rest either, and all is as wished.
async fn settle(world: &World, wishes: &[Wish]) {
    tokio::time::sleep(REST).await;
    if let Some(why) = unmet(wishes, world) {
        let line = format!("{wishes:?} were met and are not: {why}");
        world.lock().checks.violated(line);
    }
}

fn stands(world: &World, wishes: &[Wish]) -> String {
    let unmet = unmet(wishes, world).unwrap_or_default();
    let state = world.lock();
    let members = state.clusters.iter().flat_map(|it| &it.members);
    let learners: Vec<&str> = members
        .filter(|it| it.learner)
        .map(|it| it.peer_url.as_str())
        .collect();
    format!("{}; learners {learners:?}", unmet)
}

/// No secret is on an agent's disk either: what lies in memory only is not looked at.
fn files(world: &World, folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("run") {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let place = path.display().to_string();
                world.lock().checks.public(&place, &bytes);
            }
        }
    }
}
