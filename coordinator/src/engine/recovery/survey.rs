//! Who holds what of a cluster that has no quorum, and what speaks against giving the rest up.

use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use quorate_planner::facts::{ChangeKind, Facts, MemberList, Observed};
use quorate_planner::intent::NodeName;
use quorate_planner::quorum;
use quorate_proto::v1::{EtcdView, Problem, SnapshotInfo};
use std::collections::BTreeSet;

/// One member, as its agent shows it.
pub struct Survivor {
    pub name: String,
    pub connected: bool,
    /// Whether etcd runs; none: not told.
    pub runs: Option<bool>,
    /// What it has applied; none while its etcd does not tell.
    pub applied: Option<u64>,
    /// It has nothing that a quorum agreed on: it never joined, or is on the way.
    pub holds_nothing: bool,
    /// Of the key space, when it told it last.
    revision: u64,
    snapshots: Vec<SnapshotInfo>,
}

impl Survivor {
    pub fn snapshot(&self, id: &str) -> Option<&SnapshotInfo> {
        self.snapshots.iter().find(|it| it.id == id)
    }
}

/// What the operator has named; empty: nothing.
pub struct Wanted<'a> {
    pub member: &'a str,
    pub snapshot: &'a str,
}

pub struct Survey<'a> {
    pub record: &'a ClusterRecord,
    pub facts: &'a Facts,
    pub members: Vec<Survivor>,
    /// Voters that etcd's own members list, or else the file.
    pub voters: usize,
    pub without: &'a BTreeSet<NodeName>,
}

pub fn survey<'a>(
    shared: &Shared,
    record: &'a ClusterRecord,
    facts: &'a Facts,
    without: &'a BTreeSet<NodeName>,
) -> Survey<'a> {
    let agents = shared.agents_of(record);
    let mut listed = 0;
    let members: Vec<Survivor> = record
        .spec
        .members()
        .map(|member| {
            let name = member.config.name.clone();
            let known = facts.node(&NodeName(name.clone()));
            let report = agents.get(&name).and_then(|agent| agent.report.as_ref());
            let etcd: Option<&EtcdView> = report.and_then(|report| report.etcd.as_ref());
            let revision = etcd.map_or(0, |etcd| etcd.revision);
            let snapshots = report.map(|report| report.snapshots.clone());
            let etcd = etcd.filter(|etcd| known.etcd_running.is(&true) && etcd.running);
            let voters = etcd.map_or(0, |it| it.members.iter().filter(|m| !m.learner).count());
            listed = listed.max(voters);
            let clean = known.marks.known().is_some_and(|marks| {
                !(marks.authority || marks.founded || marks.prepared || marks.finished)
            });
            let change = facts.change.as_ref();
            let joins = change.is_some_and(|it| it.kind == ChangeKind::Join && it.node.0 == name);
            Survivor {
                connected: known.connected,
                runs: match known.etcd_running {
                    Observed::Unknown => None,
                    Observed::Known(runs) => Some(runs),
                },
                applied: etcd.map(|etcd| etcd.applied_index),
                holds_nothing: clean || joins || etcd.is_some_and(|etcd| etcd.learner),
                revision,
                snapshots: snapshots.unwrap_or_default(),
                name,
            }
        })
        .collect();
    let in_file = members.iter().filter(|it| !it.holds_nothing).count();
    Survey {
        record,
        facts,
        voters: if listed > 0 { listed } else { in_file },
        members,
        without,
    }
}

impl Survey<'_> {
    fn is_without(&self, member: &Survivor) -> bool {
        self.without.contains(&NodeName(member.name.clone()))
    }

    /// Those whose data could become the cluster's.
    fn candidates(&self) -> impl Iterator<Item = &Survivor> {
        let whole = |it: &&Survivor| it.connected && !it.holds_nothing && !self.is_without(it);
        self.members.iter().filter(whole)
    }

    /// The newest that is known of, snapshots included; 0: none.
    pub fn last_revision(&self) -> u64 {
        let told = self.members.iter().map(|it| it.revision);
        let saved = self.members.iter().flat_map(|it| &it.snapshots);
        let all = told.chain(saved.map(|it| it.revision));
        all.max().unwrap_or_default()
    }

    /// Who is named or holds the snapshot; else the survivor that has applied most.
    pub fn source(&self, wanted: &Wanted<'_>) -> Option<&Survivor> {
        let named = |it: &&Survivor| wanted.member.is_empty() || it.name == wanted.member;
        if !wanted.snapshot.is_empty() {
            let holds = |it: &&Survivor| it.snapshot(wanted.snapshot).is_some();
            return self.candidates().filter(named).find(holds);
        }
        if !wanted.member.is_empty() {
            return self.candidates().find(named);
        }
        let telling = self.candidates().filter(|it| it.applied.is_some());
        // The first of the file among equals.
        telling.reduce(|best, it| if it.applied > best.applied { it } else { best })
    }

    pub fn refusals(&self, wanted: &Wanted<'_>) -> Vec<Problem> {
        let back = !wanted.snapshot.is_empty();
        // Data that is bad is bad on all of them.
        let quorum = self.quorum().filter(|_| !back);
        let mut problems: Vec<Problem> = quorum.into_iter().collect();
        problems.extend(self.word());
        if problems.is_empty() {
            problems.extend(match back {
                true => self.holder(wanted).into_iter().collect(),
                false => self.choice(wanted),
            });
        }
        problems
    }

    /// A member that holds the snapshot.
    fn holder(&self, wanted: &Wanted<'_>) -> Option<Problem> {
        if self.source(wanted).is_some() {
            return None;
        }
        let holds = |it: &&Survivor| it.snapshot(wanted.snapshot).is_some();
        let holders: Vec<&str> = (self.members.iter().filter(holds))
            .map(|it| it.name.as_str())
            .collect();
        let because = match holders.as_slice() {
            [] => "no member has reported it".to_owned(),
            names => format!("{} holds it: away, or not to be used", names.join(", ")),
        };
        let what = match wanted.member {
            "" => "no member that is left holds this snapshot".to_owned(),
            member => format!("{member} does not hold this snapshot, or is no member that is left"),
        };
        Some(
            Problem::new("missing-snapshot", what)
                .at(wanted.snapshot)
                .because(because)
                .next(format!(
                    "quorate snapshot list --cluster {}",
                    self.record.name
                )),
        )
    }

    fn refused(&self, code: &str, what: String) -> Problem {
        Problem::new(code, what).at(self.record.name.clone())
    }

    /// Only what is lost may be given up.
    fn quorum(&self) -> Option<Problem> {
        let name = &self.record.name;
        match &self.facts.etcd.list {
            MemberList::Known(_) => {
                let what = "etcd has its quorum: its members agree on who they are".to_owned();
                return Some(
                    self.refused("refused-quorum", what)
                        .next("take dead members out: quorate node remove NODE --dead"),
                );
            }
            MemberList::Conflict(detail) => {
                let what = format!("etcd members disagree, and some have a quorum: {detail}");
                return Some(
                    self.refused("refused-quorum", what)
                        .next(format!("quorate check {name}")),
                );
            }
            MemberList::Unknown => {}
        }
        let running = |it: &&Survivor| it.runs == Some(true) && !it.holds_nothing;
        let running = self.members.iter().filter(running).count();
        let needed = quorum::quorum(self.voters);
        (running >= needed).then(|| {
            self.refused(
                "refused-quorum",
                format!(
                    "{running} of {} voters run, and {needed} are a quorum",
                    self.voters
                ),
            )
            .because("they do not reach each other, or elect a leader just now")
            .next(format!(
                "quorate check {name}; then mend the network between them"
            ))
        })
    }

    /// Every copy is looked at, or given up by the operator's word, which has to be so.
    fn word(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for named in self.without {
            if !self.members.iter().any(|it| it.name == named.0) {
                let what = format!("{named} is no member of {}", self.record.name);
                problems.push(Problem::new("not-found-node", what).at(named.to_string()));
            }
        }
        for member in &self.members {
            let name = &member.name;
            let because = "what it holds may be newer than what others hold";
            let gone = format!("if it is lost for good: --without {name}");
            match (self.is_without(member), member.connected, member.runs) {
                (true, true, Some(true) | None) => problems.push(
                    Problem::new("refused-alive", format!("{name} is alive: its etcd may run"))
                        .at(name.clone())
                        .because(because)
                        .next(format!(
                            "leave it out of --without; if its data is bad, on {name}: systemctl stop etcd"
                        )),
                ),
                (false, false, _) => problems.push(
                    Problem::new("refused-away", format!("{name} cannot be reached"))
                        .at(name.clone())
                        .because(because)
                        .next(format!("bring it up and wait for its agent; {gone}")),
                ),
                (false, true, None) => problems.push(
                    Problem::new("refused-unknown", format!("{name} has not told what it runs"))
                        .at(name.clone())
                        .next("ask again in a moment"),
                ),
                (true, ..) | (false, true, Some(_)) => {}
            }
        }
        problems
    }

    /// Whether nobody else may hold more.
    fn choice(&self, wanted: &Wanted<'_>) -> Vec<Problem> {
        let (cluster, named) = (&self.record.name, wanted.member);
        let from_snapshot = format!(
            "quorate snapshot list --cluster {cluster}; quorate recover --cluster {cluster} --snapshot ID"
        );
        let Some(source) = self.source(wanted) else {
            let what = match (named, self.candidates().count()) {
                ("", 0) => "no member is left whose data could be used".to_owned(),
                ("", _) => "no member that is left tells what it has applied".to_owned(),
                (named, _) => format!("{named} is no member whose data could be used"),
            };
            let next = match (named, self.candidates().next()) {
                ("", Some(first)) => format!(
                    "name one, and the others with --without: quorate recover --cluster {cluster} --from-member {}",
                    first.name
                ),
                (_, Some(first)) => format!("one that could: {}", first.name),
                (_, None) => from_snapshot,
            };
            return vec![self.refused("refused-no-survivor", what).next(next)];
        };
        let mut problems = Vec::new();
        for other in self.candidates().filter(|it| it.name != source.name) {
            let name = &other.name;
            match (source.applied, other.applied) {
                (Some(own), Some(more)) if more > own => problems.push(
                    self.refused(
                        "refused-better-copy",
                        format!(
                            "{name} holds more: it has applied {more}, {} {own}",
                            source.name
                        ),
                    )
                    .next(format!("recover from it: --from-member {name}")),
                ),
                (None, Some(_)) => problems.push(
                    self.refused(
                        "refused-better-copy",
                        format!("{} does not tell what it has applied, {name} does", source.name),
                    )
                    .next(format!("recover from it: --from-member {name}")),
                ),
                (_, None) => problems.push(
                    self.refused(
                        "refused-better-copy",
                        format!("{name} may hold more: its etcd does not tell"),
                    )
                    .next(format!(
                        "on {name}: systemctl restart etcd; if what it holds is lost: --without {name}"
                    )),
                ),
                (Some(_), Some(_)) => {}
            }
        }
        problems
    }
}
