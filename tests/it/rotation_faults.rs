//! Rotations that are taken back, that miss a member, and whose coordinator and agents die.

use crate::formation::{FORM, fleet};
use crate::rotation::{ANSWERED, CLUSTER, MEMBERS, SOME, balancer, behind, move_clients, names};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::{Host, eventually};
use quorate_tests::product::load::{Access, Load, Target, unharmed};
use quorate_tests::product::{Fleet, endpoint, etcd};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Health checks of a load balancer, and a daemon's return.
const BACK: Duration = Duration::from_secs(90);
/// Longer than a load balancer takes to leave out a member that fails its checks, so that none of an election shows later.
const STEADY: Duration = Duration::from_secs(5);

/// Three members, formed behind the first of two load balancers.
pub struct Scene {
    pub fleet: Fleet,
    pub access: Access,
    pub one: Target,
    pub two: Target,
}

impl Scene {
    fn new() -> Result<Self> {
        let fleet = fleet(&["n1", "n2", "n3", "lb1", "lb2"])?;
        let (one, two) = (balancer(&fleet, "lb1")?, balancer(&fleet, "lb2")?);
        fleet.apply(&behind(&fleet, &one)?, FORM)?;
        let access = Access::etcd(&fleet, CLUSTER)?;
        Ok(Scene {
            fleet,
            access,
            one,
            two,
        })
    }

    fn load(&self, through: &Target) -> Result<Load> {
        Load::start(
            &self.fleet.lab,
            self.access.clone(),
            std::slice::from_ref(through),
        )
    }

    /// All in line with `now`, nothing left of `gone`.
    fn settled(&self, now: &Target, gone: &Target) -> Result<()> {
        endpoint::wait_in_line(&self.fleet, CLUSTER, now)?;
        names(&self.fleet, &self.access, now, gone)
    }
}

#[test]
fn a_rotation_is_rolled_back_from_every_stage() -> Result<()> {
    rolled_back_from_every_stage(&Scene::new()?)
}

pub fn rolled_back_from_every_stage(scene: &Scene) -> Result<()> {
    let (fleet, one, two) = (&scene.fleet, &scene.one, &scene.two);
    let load = scene.load(one)?;
    for stage in ["accept", "switch", "soak"] {
        endpoint::begin(fleet, CLUSTER, two, endpoint::HELD)?;
        let seen = endpoint::reached(fleet, CLUSTER, stage)?;
        let moved = seen == "soak";
        if moved {
            // Some clients have moved already, and move back only once they can.
            load.through(two)?;
            load.answered(SOME, ANSWERED)?;
        }
        endpoint::change(fleet, CLUSTER, &["rollback", "--no-wait"])?;
        let soaks = endpoint::rolled_back_or_soaks(fleet, CLUSTER)?;
        if moved {
            load.answered(SOME, ANSWERED)?;
            load.not_through(two)?;
        }
        if soaks {
            endpoint::change(fleet, CLUSTER, &["drop"])?;
        }
        scene
            .settled(one, two)
            .with_context(|| format!("after a rollback from {seen}"))?;
        load.answered(SOME, ANSWERED)?;
        unharmed(&load.counts(), SOME).with_context(|| format!("rolling back from {seen}"))?;
    }
    let counts = load.finish()?;
    println!("{counts}");
    unharmed(&counts, SOME)
}

/// Off, the others have a leader again, and load balancers send everything to these: while they elected one, they were left out too.
fn power_off(fleet: &Fleet, host: &Host) -> Result<()> {
    host.power_cut()?;
    let mut others: Vec<&str> = MEMBERS.into_iter().filter(|m| *m != host.name()).collect();
    others.sort_unstable();
    for other in &others {
        let other = fleet.node(other)?;
        eventually(BACK, &format!("a leader behind {other}"), || {
            etcd::etcdctl(other, None, &["endpoint", "health"]).map(Some)
        })?;
    }
    let mut since = None;
    eventually(BACK, &format!("only {others:?} to be called"), || {
        if let Err(error) = called(fleet, &others) {
            since = None;
            return Err(error);
        }
        let steady = since.get_or_insert_with(Instant::now).elapsed() >= STEADY;
        Ok(steady.then_some(()))
    })
}

fn called(fleet: &Fleet, members: &[&str]) -> Result<()> {
    let status = fleet.status(CLUSTER)?;
    let balancers = status["load_balancers"].as_array().context("none")?;
    let serves = |balancer: &&Value| {
        let backends = balancer["backends"].as_array();
        backends.is_some_and(|all| all.iter().any(|one| one["frontend"] == "api"))
    };
    // One that the endpoint has left serves nothing any more.
    let serving: Vec<&Value> = balancers.iter().filter(serves).collect();
    ensure!(!serving.is_empty(), "{balancers:?}");
    for balancer in serving {
        let backends = balancer["backends"].as_array().context("no backends")?;
        let mut up: Vec<&str> = backends
            .iter()
            .filter(|one| one["frontend"] == "api" && one["up"] == true)
            .filter_map(|one| one["name"].as_str())
            .collect();
        up.sort_unstable();
        ensure!(up == members, "up: {up:?}");
    }
    Ok(())
}

/// The rotation has come as far as it can without this node, and says so.
fn held_up_by(fleet: &Fleet, host: &Host) -> Result<()> {
    eventually(BACK, &format!("the drop to wait for {host}"), || {
        let rotation = endpoint::show(fleet, CLUSTER)?["rotation"].take();
        let lists = |key: &str| {
            let list = rotation[key].as_array().cloned().unwrap_or_default();
            list.iter()
                .any(|one| one.as_str().is_some_and(|text| text.contains(host.name())))
        };
        ensure!(
            lists("behind") && lists("waiting_on"),
            "not waiting for it: {rotation}"
        );
        Ok(Some(()))
    })
}

#[test]
fn a_member_that_is_off_holds_up_the_drop_and_nothing_else() -> Result<()> {
    members_are_off(&Scene::new()?)
}

pub fn members_are_off(scene: &Scene) -> Result<()> {
    let (fleet, one, two) = (&scene.fleet, &scene.one, &scene.two);
    let (n2, n3) = (fleet.node("n2")?, fleet.node("n3")?);

    // The operator's word: not waited for, brought along when it is back.
    power_off(fleet, n3)?;
    let load = scene.load(one)?;
    let operation = endpoint::begin(fleet, CLUSTER, two, "1s")?;
    endpoint::reached(fleet, CLUSTER, "soak")?;
    move_clients(&load, one, two)?;
    held_up_by(fleet, n3)?;
    endpoint::change(fleet, CLUSTER, &["drop", "--without-absent"])?;
    endpoint::finish(fleet, &operation)?;
    n3.boot()?;
    fleet.wait_health(CLUSTER, "healthy", BACK)?;
    scene.settled(two, one).context("after n3 came back")?;
    unharmed(&load.finish()?, SOME)?;

    // Without it: the drop goes on by itself once the member is back.
    power_off(fleet, n2)?;
    let load = scene.load(two)?;
    let operation = endpoint::begin(fleet, CLUSTER, one, "1s")?;
    endpoint::reached(fleet, CLUSTER, "soak")?;
    move_clients(&load, two, one)?;
    held_up_by(fleet, n2)?;
    n2.boot()?;
    endpoint::finish(fleet, &operation)?;
    fleet.wait_health(CLUSTER, "healthy", BACK)?;
    scene.settled(one, two).context("after n2 came back")?;
    let counts = load.finish()?;
    println!("{counts}");
    unharmed(&counts, SOME)
}

fn kill(host: &Host, unit: &str) -> Result<()> {
    host.ok(["systemctl", "kill", "--signal", "KILL", unit])
        .map(drop)
}

fn kill_agents(fleet: &Fleet) -> Result<()> {
    fleet
        .nodes
        .iter()
        .try_for_each(|host| kill(host, "quorate-agent.service"))
}

#[test]
fn coordinator_and_agents_die_in_every_stage() -> Result<()> {
    both_die_in_every_stage(&Scene::new()?)
}

/// Once with the coordinator killed in every stage, once with all agents killed in every stage.
pub fn both_die_in_every_stage(scene: &Scene) -> Result<()> {
    let fleet = &scene.fleet;
    let victims: [(&str, &dyn Fn() -> Result<()>); 2] = [
        ("coordinator", &|| {
            kill(&fleet.coordinator, "quorate-coordinator.service")
        }),
        ("agents", &|| kill_agents(fleet)),
    ];
    let (mut from, mut to) = (&scene.one, &scene.two);
    for (victim, kill) in victims {
        let load = scene.load(from)?;
        let operation = endpoint::begin(fleet, CLUSTER, to, endpoint::HELD)?;
        for stage in ["accept", "switch", "soak"] {
            let seen = endpoint::reached(fleet, CLUSTER, stage)?;
            kill()?;
            println!("killed: {victim} in {seen}");
        }
        move_clients(&load, from, to)?;
        // Its answer may be lost with the coordinator; the word itself is not.
        let background = [
            "quorate",
            "endpoint",
            "drop",
            "--cluster",
            CLUSTER,
            "--yes",
            "--no-wait",
        ];
        let dropped = eventually(BACK, "the drop to be taken", || {
            fleet.coordinator.ok(background).map(Some)
        });
        dropped?;
        kill()?;
        eventually(BACK, "the coordinator to be back", || {
            fleet.quorate(&["nodes"]).map(Some)
        })?;
        endpoint::finish(fleet, &operation)?;
        scene
            .settled(to, from)
            .with_context(|| format!("after kills of {victim}"))?;
        let counts = load.finish()?;
        println!("{victim}: {counts}");
        unharmed(&counts, SOME)?;
        (from, to) = (to, from);
    }
    let voters = etcd::voters(fleet.node("n1")?)?;
    ensure!(voters == MEMBERS, "{voters:?}");
    Ok(())
}
