//! Load balancers that are not quorate's: nothing is built on one before it is proven to lead to this cluster, and to all of it.

use crate::formation::{FORM, fleet, hosts};
use crate::rotation::{ANSWERED, CLUSTER, MEMBERS, SOME, move_clients};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::{Host, eventually};
use quorate_tests::product::haproxy::{self, Listener};
use quorate_tests::product::load::{Access, Load, Target, certificate, unharmed};
use quorate_tests::product::{Fleet, endpoint, etcd, file};
use std::net::SocketAddr;
use std::time::Duration;

/// A member that went or came, as its coordinator and the others see it.
const SEEN: Duration = Duration::from_secs(90);

const RIGHT: u16 = 2379;
const SILENT: u16 = 7001;
const WITHOUT_N3: u16 = 7002;
const ELSEWHERE: u16 = 7003;
const TERMINATING: u16 = 7004;
const UNCHECKED: u16 = 7005;
const SECOND: u16 = 7006;

struct Scene {
    fleet: Fleet,
    /// In no cluster file, without an agent.
    balancer: Host,
}

impl Scene {
    fn new() -> Result<Self> {
        let fleet = fleet(&["n1", "n2", "n3", "solo"])?;
        let balancer = fleet.lab.host("balancer")?;
        haproxy::install(&fleet.lab, &balancer)?;
        Ok(Scene { fleet, balancer })
    }

    fn at(&self, port: u16) -> Target {
        Target::ip(&self.balancer, port)
    }

    fn file(&self) -> Result<String> {
        let endpoint = self.at(RIGHT).to_string();
        let text = file::Etcd {
            name: CLUSTER,
            endpoint: Some(&endpoint),
            members: &hosts(&self.fleet, &MEMBERS)?,
            external: true,
            ..file::Etcd::default()
        };
        Ok(text.text())
    }

    /// Right at first sight and wrong in one way each, but for the first and the last.
    fn all_ports(&self) -> Result<()> {
        let members = hosts(&self.fleet, &MEMBERS)?;
        let solo = self.fleet.node("solo")?;
        let listeners = [
            Listener::right(RIGHT, &members),
            Listener::right(WITHOUT_N3, &members[..2]),
            Listener::right(ELSEWHERE, &[solo]),
            Listener {
                terminates: true,
                ..Listener::right(TERMINATING, &members)
            },
            Listener {
                checks: false,
                ..Listener::right(UNCHECKED, &members)
            },
            Listener::right(SECOND, &members),
        ];
        haproxy::serve(&self.balancer, &listeners)
    }

    /// What each of these members serves.
    fn certificates(&self, access: &Access, members: &[&str]) -> Result<Vec<Vec<u8>>> {
        let served = |member: &&Host| {
            let at = SocketAddr::from((member.ip(), 2379));
            certificate(&self.fleet.lab, access, at, member.name())
        };
        let members = hosts(&self.fleet, members)?;
        members.iter().map(served).collect()
    }

    /// Says why, and leaves everything as it was.
    fn refused(&self, access: &Access, members: &[&str], port: u16, why: &[&str]) -> Result<()> {
        let before = self.certificates(access, members)?;
        let said = endpoint::refused_external(&self.fleet, CLUSTER, &self.at(port))?;
        for words in why {
            ensure!(said.contains(words), "{port}: no {words:?} in: {said}");
        }
        println!("{port}: {said}");
        let shown = endpoint::show(&self.fleet, CLUSTER)?;
        ensure!(shown["rotation"].is_null(), "{port}: {shown:#}");
        let endpoint = &shown["endpoint"];
        ensure!(endpoint["port"] == RIGHT, "{port}: {shown:#}");
        ensure!(
            before == self.certificates(access, members)?,
            "{port}: a member serves another certificate"
        );
        Ok(())
    }
}

#[test]
fn a_foreign_load_balancer_is_proven_before_anything_depends_on_it() -> Result<()> {
    let scene = Scene::new()?;
    formed_only_behind_one_that_leads_to_all(&scene)?;
    let members = hosts(&scene.fleet, &MEMBERS)?;
    let solo = scene.fleet.node("solo")?;
    scene
        .fleet
        .apply(&file::etcd("other", &[solo], None), FORM)?;
    scene.all_ports()?;
    let access = Access::etcd(&scene.fleet, CLUSTER)?;
    wrong_ones_are_refused(&scene, &access)?;
    with_a_dead_member(&scene, &access, members[2])?;
    moves(&scene, &access, &scene.at(RIGHT), &scene.at(SECOND))
}

/// Applying fails and says who is missing; once that is corrected it can be applied again.
fn formed_only_behind_one_that_leads_to_all(scene: &Scene) -> Result<()> {
    let (fleet, text) = (&scene.fleet, scene.file()?);
    let members = hosts(fleet, &MEMBERS)?;
    haproxy::serve(&scene.balancer, &[Listener::right(RIGHT, &members[..2])])?;
    let output = fleet.try_apply(&text, FORM)?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(
        output.status == 1 && said.contains("never leads to n3"),
        "apply ended with {}: {said}",
        output.status
    );
    haproxy::serve(&scene.balancer, &[Listener::right(RIGHT, &members)])?;
    fleet.apply(&text, FORM)?;
    endpoint::wait_in_line(fleet, CLUSTER, &scene.at(RIGHT))?;
    let through = format!("https://{}", scene.at(RIGHT));
    etcd::put(members[0], Some(&through), "through", "somebody else's")?;
    ensure!(etcd::get(members[1], None, "through")? == "somebody else's");
    Ok(())
}

fn wrong_ones_are_refused(scene: &Scene, access: &Access) -> Result<()> {
    for (port, why) in [
        (SILENT, "nothing listens there"),
        (WITHOUT_N3, "never leads to n3"),
        (ELSEWHERE, "leads to another cluster"),
        (TERMINATING, "does not pass TLS through"),
    ] {
        scene.refused(access, &MEMBERS, port, &[why])?;
    }
    Ok(())
}

/// A load balancer that does not check its members goes on leading to one that is off.
fn with_a_dead_member(scene: &Scene, access: &Access, dead: &Host) -> Result<()> {
    let fleet = &scene.fleet;
    dead.power_cut()?;
    eventually(SEEN, &format!("{dead} to be missed"), || {
        let nodes = fleet.json(&["nodes"])?;
        let nodes = nodes["nodes"].as_array().context("no nodes")?.clone();
        let away =
            |one: &&serde_json::Value| one["name"] == dead.name() && one["connected"] == false;
        Ok(nodes.iter().find(away).map(|_| ()))
    })?;
    fleet.wait_health(CLUSTER, "degraded", SEEN)?;
    let failing = ["connections through the endpoint failed", "is let in"];
    scene.refused(access, &MEMBERS[..2], UNCHECKED, &failing)?;
    dead.boot()?;
    fleet.wait_health(CLUSTER, "healthy", SEEN).map(drop)
}

fn moves(scene: &Scene, access: &Access, from: &Target, to: &Target) -> Result<()> {
    let fleet = &scene.fleet;
    let load = Load::start(&fleet.lab, access.clone(), std::slice::from_ref(from))?;
    let operation = endpoint::begin_external(fleet, CLUSTER, to, endpoint::HELD)?;
    endpoint::reached(fleet, CLUSTER, "soak")?;
    move_clients(&load, from, to)?;
    endpoint::change(fleet, CLUSTER, &["drop"])?;
    endpoint::finish(fleet, &operation)?;
    endpoint::wait_in_line(fleet, CLUSTER, to)?;
    load.answered(SOME, ANSWERED)?;
    let counts = load.finish()?;
    println!("{from} -> {to}: {counts}");
    unharmed(&counts, SOME)
}
