//! Storage that has a quorum of its own, as the cluster file names it: what is asked, by whose word, and what it said.

use super::cluster::ClusterLoop;
use super::lower::Ground;
use super::records::{ClusterRecord, OrderRecord};
use super::shared::Shared;
use super::view::Durable;
use super::wants;
use crate::spec::storage::{Check, Storage};
use quorate_planner::facts::Facts;
use quorate_planner::intent::NodeName;
use quorate_planner::side;
use quorate_planner::storage::{Answer, Verdict};
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The agent's code for a no.
const NO: &str = "storage-unhealthy";
/// Rook's toolbox is asked thrice.
const QUESTIONS: u32 = 3;

/// What storage said last, of each cluster, for the loop and for those who only look.
#[derive(Default)]
pub struct Sayings(Mutex<BTreeMap<String, Answer>>);

impl Sayings {
    pub fn said(&self, cluster: &str) -> Option<Answer> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(cluster).cloned()
    }

    fn keep(&self, cluster: &str, answer: Answer) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(cluster.to_owned(), answer);
    }
}

pub fn action(storage: &Storage, node: &str) -> CheckStorage {
    CheckStorage {
        node: node.to_owned(),
        within_seconds: storage.seconds,
        by: Some(match &storage.check {
            Check::Command(words) => check_storage::By::Command(StorageCommand {
                words: words.clone(),
            }),
            Check::RookCeph(namespace) => check_storage::By::RookNamespace(namespace.clone()),
        }),
    }
}

fn verdict(result: &OrderResult) -> Verdict {
    let problem = result.problem.clone().unwrap_or_default();
    match result.status() {
        OrderStatus::Succeeded => Verdict::Yes,
        OrderStatus::Failed if problem.code == NO => Verdict::No(problem.what),
        OrderStatus::Failed
        | OrderStatus::Refused
        | OrderStatus::Interrupted
        | OrderStatus::Unspecified => Verdict::Unanswered(problem.what),
    }
}

impl ClusterLoop {
    /// A no is no failure of the order: it is asked again for as long as the node is to go.
    pub(super) fn storage_said(
        &mut self,
        view: &Durable,
        pending: &OrderRecord,
        result: &OrderResult,
    ) {
        let answer = Answer {
            node: NodeName(pending.subject.clone()),
            at: view.now,
            verdict: verdict(result),
        };
        let line = match &answer.verdict {
            Verdict::Yes => "storage can do without it".to_owned(),
            Verdict::No(why) => format!("storage cannot do without it: {why}"),
            Verdict::Unanswered(why) => format!("storage does not answer: {why}"),
        };
        let before = self.shared.storage.said(&self.cluster);
        if before.map(|it| (it.node, it.verdict))
            != Some((answer.node.clone(), answer.verdict.clone()))
        {
            self.say(view, &pending.subject, &line);
        }
        self.shared.storage.keep(&self.cluster, answer);
    }
}

/// Before all nodes stop: once, and waited for.
pub async fn against_stopping(
    shared: &Arc<Shared>,
    record: &ClusterRecord,
    facts: &Facts,
) -> Option<Problem> {
    let storage = record.spec.storage.as_ref()?;
    let intent = wants::intent(record);
    let refused = |what: String| {
        Problem::new("refused-storage", what)
            .at(record.name.clone())
            .because("the cluster file asks storage first (storage)")
            .next("heal it, or apply the file without `storage`")
    };
    let Some(via) = side::api_member(facts, &intent) else {
        let what = "nobody serves through whom storage could be asked";
        return Some(refused(what.to_owned()));
    };
    let seconds = storage.seconds * QUESTIONS;
    let order = {
        let ground = Ground {
            record,
            intent: &intent,
            epoch: shared.epoch,
            ids: &shared.ids,
            now_ms: shared.now_ms(),
            operation: "",
            artifacts: &|_, _| Vec::new(),
            servers: Vec::new(),
            leases: BTreeMap::new(),
        };
        ground.order(&via.0, seconds, Action::CheckStorage(action(storage, "")))
    };
    let patience = Duration::from_secs(u64::from(seconds) + 5);
    let answer = shared.ask(&via.0, order, patience).await;
    let said = match answer {
        Ok(done) => verdict(&done.result.unwrap_or_default()),
        Err(problem) => Verdict::Unanswered(problem.what),
    };
    match said {
        Verdict::Yes => None,
        Verdict::No(why) => Some(refused(format!("storage is not well: {why}"))),
        Verdict::Unanswered(why) => Some(refused(format!("storage does not answer: {why}"))),
    }
}

/// The command is root's on a control plane: only an admin may set it, or let it go on in a file that changes it.
pub fn denied(caller: &str, before: Option<&Storage>, wanted: Option<&Storage>) -> Option<Problem> {
    let commands = |it: Option<&Storage>| match it.map(|it| &it.check) {
        Some(Check::Command(words)) => Some(words.clone()),
        Some(Check::RookCeph(_)) | None => None,
    };
    let (before, wanted) = (commands(before), commands(wanted));
    let admin = caller.starts_with("admin/");
    (wanted.is_some() && wanted != before && !admin).then(|| {
        Problem::new(
            "denied-storage-command",
            "only an admin may set the command that asks storage",
        )
        .at("cluster file, storage.check.command")
        .because("it runs as root on control planes")
        .next("let an admin apply the file once")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_admin_sets_the_command() {
        let command = |word: &str| Storage {
            check: Check::Command(vec![word.to_owned()]),
            seconds: 30,
        };
        let rook = Storage {
            check: Check::RookCeph("rook-ceph".into()),
            seconds: 30,
        };
        let (a, b) = (command("/a"), command("/b"));
        for (caller, before, wanted, denies) in [
            ("admin/eve", None, Some(&a), false),
            ("operator/bob", None, Some(&a), true),
            ("operator/bob", Some(&a), Some(&a), false),
            ("operator/bob", Some(&a), Some(&b), true),
            ("operator/bob", Some(&rook), Some(&a), true),
            ("operator/bob", Some(&a), None, false),
            ("operator/bob", None, Some(&rook), false),
            ("operator/admin/", None, Some(&a), true),
        ] {
            let problem = denied(caller, before, wanted);
            assert_eq!(problem.is_some(), denies, "{caller} {before:?} {wanted:?}");
        }
    }
}
