//! The hosts, and the operations that go round on them.

use super::strike::Strike;
use super::table::{Row, place};
use super::writer::Writer;
use crate::lab::{Host, Lab, Output, eventually};
use crate::product::observer::Observer;
use crate::product::{Fleet, endpoint, etcd, file};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};

const CLUSTER: &str = "prod";
const PACKAGES: [&str; 3] = ["etcd-server", "etcd-client", "haproxy"];
const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
/// The one that joins and is replaced, and the one that takes its place.
const JOINER: &str = "n4";
const SUCCESSOR: &str = "n5";
const BALANCERS: [&str; 2] = ["lb1", "lb2"];
const FORM: Duration = Duration::from_secs(240);
const ANSWER: Duration = Duration::from_secs(90);
/// With a fault on the way that takes ten seconds, on a machine with two cores.
const CONVERGE: Duration = Duration::from_secs(240);

/// Of an event, in the table.
const SHOWN: usize = 34;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Join,
    Rotate,
    Replace,
    Remove,
}

impl Operation {
    /// Each begins where the one before has ended, and the first where the last has.
    pub const ROUND: [Operation; 4] = [
        Operation::Join,
        Operation::Rotate,
        Operation::Replace,
        Operation::Remove,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Operation::Join => "join",
            Operation::Rotate => "rotate",
            Operation::Replace => "replace",
            Operation::Remove => "remove",
        }
    }

    /// Whose machine it is about.
    fn subject(self) -> &'static str {
        match self {
            Operation::Join | Operation::Replace => JOINER,
            Operation::Rotate => MEMBERS[1],
            Operation::Remove => SUCCESSOR,
        }
    }

    fn voters_after(self) -> Vec<&'static str> {
        let mut voters = MEMBERS.to_vec();
        match self {
            Operation::Join | Operation::Rotate => voters.push(JOINER),
            Operation::Replace => voters.push(SUCCESSOR),
            Operation::Remove => {}
        }
        voters
    }
}

pub enum Came {
    Struck(Row),
    /// It ended before there were as many events.
    Over,
}

pub struct Scene {
    pub fleet: Fleet,
    writer: Writer,
    /// Which load balancer the endpoint is at.
    at: usize,
}

impl Scene {
    pub fn new() -> Result<Self> {
        let lab = Lab::open()?;
        let debs = lab.debs(&PACKAGES)?;
        let names: Vec<&str> = (MEMBERS.into_iter().chain([JOINER, SUCCESSOR]))
            .chain(BALANCERS)
            .collect();
        let fleet = Fleet::new(lab, &names)?;
        fleet.add_artifacts(&debs)?;
        let hosts = |fleet: &Fleet| -> Result<Vec<Host>> {
            MEMBERS.iter().map(|it| fleet.node(it).cloned()).collect()
        };
        let writer = Writer::start(hosts(&fleet)?);
        let scene = Scene {
            fleet,
            writer,
            at: 0,
        };
        scene.fleet.apply(&scene.text(&MEMBERS)?, FORM)?;
        Ok(scene)
    }

    pub fn leader(&self) -> Result<&Host> {
        self.by_role(true)
    }

    pub fn follower(&self) -> Result<&Host> {
        self.by_role(false)
    }

    fn by_role(&self, leads: bool) -> Result<&Host> {
        for name in MEMBERS {
            let host = self.fleet.node(name)?;
            let status = etcd::etcdctl(host, None, &["endpoint", "status", "-w", "json"])?;
            let status: Value = serde_json::from_str(&status).context("endpoint status")?;
            let status = &status[0]["Status"];
            if (status["leader"] == status["header"]["member_id"]) == leads {
                return Ok(host);
            }
        }
        self.fleet.node(MEMBERS[0])
    }

    fn text(&self, members: &[&str]) -> Result<String> {
        let hosts: Result<Vec<&Host>> = members.iter().map(|it| self.fleet.node(it)).collect();
        let balancers: Result<Vec<&Host>> =
            BALANCERS.iter().map(|it| self.fleet.node(it)).collect();
        let endpoint = self.balancer(self.at)?.to_string();
        Ok(file::etcd_at(
            CLUSTER,
            Some(&endpoint),
            &hosts?,
            &balancers?,
        ))
    }

    fn balancer(&self, which: usize) -> Result<crate::product::load::Target> {
        let host = self.fleet.node(BALANCERS[which])?;
        Ok(crate::product::load::Target::ip(host, 2379))
    }

    /// Goes through it, struck at its event of that number.
    pub fn go_through(
        &mut self,
        operation: Operation,
        strike: Strike,
        step: Option<usize>,
    ) -> Result<Came> {
        let subject = self.fleet.node(operation.subject())?.clone();
        let members: Result<Vec<Host>> = MEMBERS
            .iter()
            .map(|it| self.fleet.node(it).cloned())
            .collect();
        let observer = Observer::start(members?);
        let id = self.begin(operation)?;
        let event = match step {
            Some(step) => self.reached(&id, step)?,
            None => None,
        };
        let since = Instant::now();
        if event.is_some() {
            strike.strike(self, &subject)?;
        }
        self.converged(&id, operation)?;
        let took = since.elapsed();
        if operation == Operation::Rotate {
            self.at = 1 - self.at;
        }
        self.tidied(operation)?;
        let (looks, wrong) = observer.finish();
        let data = self.writer.all_there(self.fleet.node(MEMBERS[0])?);
        let (Some(event), Some(step)) = (event, step) else {
            data?;
            ensure!(wrong.is_empty(), "{wrong:?}");
            return Ok(Came::Over);
        };
        Ok(Came::Struck(Row {
            fault: strike.name(),
            place: place(operation, step, &event),
            converged: Some(took),
            good: wrong.is_empty() && looks > 0 && data.is_ok(),
            invariants: match wrong.first() {
                None => format!("kept ({looks} looks)"),
                Some(first) => format!("BROKEN: {first}"),
            },
            data: match data {
                Ok(count) => format!("all of {count} writes"),
                Err(error) => format!("{error:#}"),
            },
        }))
    }

    /// Returns its id.
    fn begin(&self, operation: Operation) -> Result<String> {
        let fleet = &self.fleet;
        match operation {
            Operation::Join => {
                let members: Vec<&str> = MEMBERS.into_iter().chain([JOINER]).collect();
                let path = fleet.write_file("faults.yaml", &self.text(&members)?)?;
                self.begun(&["apply", "-f", &path, "--yes", "--no-wait"])
            }
            Operation::Rotate => {
                endpoint::begin(fleet, CLUSTER, &self.balancer(1 - self.at)?, "1s")
            }
            Operation::Replace => {
                let address = fleet.node(SUCCESSOR)?.ip().to_string();
                let words = ["node", "replace", JOINER, SUCCESSOR, "--address", &address];
                self.begun(&[&words[..], &["--yes", "--no-wait"]].concat())
            }
            Operation::Remove => self.begun(&["node", "remove", SUCCESSOR, "--yes", "--no-wait"]),
        }
    }

    fn begun(&self, words: &[&str]) -> Result<String> {
        let output: Output = eventually(ANSWER, &format!("{words:?} to be taken"), || {
            let output = self.fleet.quorate_output(words, ANSWER)?;
            ensure!(output.success(), "{}{}", output.stdout, output.stderr);
            Ok(Some(output))
        })?;
        drop(output);
        let operations = self.fleet.json(&["operation", "list"])?;
        let id = operations["operations"][0]["id"].as_str();
        Ok(id.context("no operation")?.to_owned())
    }

    /// What the event of that number says; none: it ended before.
    fn reached(&self, id: &str, step: usize) -> Result<Option<String>> {
        let words = ["quorate", "operation", "watch", id, "--progress", "json"];
        let mut watch = self.fleet.coordinator.spawn(words)?;
        eventually(CONVERGE, &format!("event {step}"), || {
            let said = watch.said()?;
            let events = said.lines().filter(|line| line.starts_with('{'));
            if let Some(line) = events.into_iter().nth(step - 1) {
                return Ok(Some(Some(told(line))));
            }
            Ok(watch.ended()?.map(|_| None))
        })
    }

    /// Nobody lends a hand: it is only looked at.
    fn converged(&self, id: &str, operation: Operation) -> Result<()> {
        let watched = eventually(CONVERGE, "the operation's good end", || {
            let watch = ["operation", "watch", id, "--progress", "plain"];
            let output = self.fleet.quorate_output(&watch, CONVERGE)?;
            ensure!(output.success(), "{}{}", output.stdout, output.stderr);
            Ok(Some(()))
        });
        watched.with_context(|| self.fleet.journals())?;
        let wanted = operation.voters_after();
        let host = self.fleet.node(MEMBERS[0])?;
        eventually(ANSWER, &format!("the voters {wanted:?}"), || {
            let voters = etcd::voters(host)?;
            ensure!(voters == wanted, "{voters:?}");
            Ok(Some(()))
        })?;
        self.fleet
            .wait_health(CLUSTER, "healthy", CONVERGE)
            .map(drop)
    }

    /// Machines that have left are enrolled again, as their owner would: ready for the next round.
    fn tidied(&self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Join | Operation::Rotate => Ok(()),
            Operation::Replace => self.fleet.enroll_again(self.fleet.node(JOINER)?),
            Operation::Remove => self.fleet.enroll_again(self.fleet.node(SUCCESSOR)?),
        }
    }
}

/// Of an event: its log line, or whoever is not ready yet and why.
fn told(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let said = text(&event["line"]);
    let at_work = |node: &&Value| node["phase"] != "ready";
    let nodes = event["nodes"].as_array().cloned().unwrap_or_default();
    let nodes = nodes.iter().filter(at_work);
    let nodes = nodes.map(|node| format!("{} {}", text(&node["node"]), text(&node["phase"])));
    let nodes: Vec<String> = nodes.collect();
    let all = match said.as_str() {
        "" => nodes.join(", "),
        said => format!("{} {said}", text(&event["line_node"])),
    };
    all.trim().chars().take(SHOWN).collect()
}
