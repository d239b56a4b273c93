//! Who holds what of a cluster that has no quorum, and what speaks against giving the rest up.

use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use quorate_planner::facts::{ChangeKind, Facts, MemberList, Observed};
use quorate_planner::intent::NodeName;
use quorate_planner::quorum;
use quorate_proto::v1::{EtcdView, Problem};
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

    /// The survivor that was named, or the one that has applied most.
    pub fn source(&self, named: &str) -> Option<&Survivor> {
        if !named.is_empty() {
            return self.candidates().find(|it| it.name == named);
        }
        let telling = self.candidates().filter(|it| it.applied.is_some());
        // The first of the file among equals.
        telling.reduce(|best, it| if it.applied > best.applied { it } else { best })
    }

    pub fn refusals(&self, named: &str) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.quorum().into_iter().collect();
        problems.extend(self.word());
        if problems.is_empty() {
            problems.extend(self.choice(named));
        }
        problems
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
    fn choice(&self, named: &str) -> Vec<Problem> {
        let cluster = &self.record.name;
        let by_hand = format!(
            "man quorate-recovery: from a snapshot, by hand; quorate snapshot list --cluster {cluster}"
        );
        let Some(source) = self.source(named) else {
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
                (_, None) => by_hand,
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
