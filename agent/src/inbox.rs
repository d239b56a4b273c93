//! What to do with a delivered order: pure, so that redelivery, reordering and stale coordinators are tested by a table.

use crate::journal::{Entry, State};
use quorate_proto::v1::{Order, OrderResult, Problem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The highest epoch and generations seen. Never goes down, so that a coordinator restored from an old copy can order nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    pub epoch: u64,
    /// That the epoch was really given out, as its coordinator's welcome said: for one that was superseded and does not know.
    #[serde(default)]
    pub proof: Vec<u8>,
    /// Cluster -> revision of its file.
    pub generations: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Start,
    AlreadyRunning,
    ReturnRecorded(Box<OrderResult>),
    /// The result carries a secret that is not kept.
    Recompute,
    Refuse(Problem),
}

/// A known order is answered whoever asks, as that has no effect; everything that acts has to pass the fence.
pub fn decide(entry: Option<&Entry>, order: &Order, fence: &Fence) -> Decision {
    let Some(action) = order.action.as_ref().filter(|_| is_order_id(&order.id)) else {
        return Decision::Refuse(malformed());
    };
    let Some(entry) = entry else {
        return match fence.admit(order) {
            Ok(()) => Decision::Start,
            Err(problem) => Decision::Refuse(problem),
        };
    };
    if !is_same(&entry.order, order) {
        return Decision::Refuse(reused(&order.id));
    }
    match &entry.state {
        State::Accepted | State::Running { .. } => Decision::AlreadyRunning,
        State::Finished { result } if !action.result_is_sealed() => {
            Decision::ReturnRecorded(result.clone())
        }
        State::Finished { .. } => match fence.admit(order) {
            Ok(()) => Decision::Recompute,
            Err(problem) => Decision::Refuse(problem),
        },
    }
}

impl Fence {
    pub fn admit_epoch(&self, epoch: u64) -> Result<(), Problem> {
        if epoch >= self.epoch {
            return Ok(());
        }
        Err(Problem::new(
            "stale-coordinator",
            format!(
                "the coordinator's epoch {epoch} is lower than {}, which was seen before",
                self.epoch
            ),
        )
        .because("stale coordinator: an old copy of its state runs somewhere")
        .next("stop the old coordinator; one that was brought back on purpose is brought back with: quorate restore"))
    }

    /// Raises to what was seen; returns whether anything changed and has to be stored.
    pub fn raise_epoch(&mut self, epoch: u64) -> bool {
        let higher = epoch > self.epoch;
        if higher {
            self.epoch = epoch;
            self.proof.clear();
        }
        higher
    }

    /// The same, by a welcome that carries the proof.
    pub fn raise_proven(&mut self, epoch: u64, proof: &[u8]) -> bool {
        let higher = self.raise_epoch(epoch);
        let news = epoch == self.epoch && self.proof != proof;
        if news {
            self.proof = proof.to_vec();
        }
        higher || news
    }

    pub fn raise(&mut self, order: &Order) -> bool {
        let mut higher = self.raise_epoch(order.epoch);
        if let Some(cluster) = &order.cluster {
            let seen = self.generations.entry(cluster.id.clone()).or_default();
            higher |= order.generation > *seen;
            *seen = order.generation.max(*seen);
        }
        higher
    }

    /// The higher of both, epoch and each generation.
    pub fn merge(&mut self, other: Fence) {
        self.raise_epoch(other.epoch);
        for (cluster, generation) in other.generations {
            let seen = self.generations.entry(cluster).or_default();
            *seen = generation.max(*seen);
        }
    }

    fn admit(&self, order: &Order) -> Result<(), Problem> {
        self.admit_epoch(order.epoch)?;
        let Some(cluster) = &order.cluster else {
            return Ok(());
        };
        let seen = self.generations.get(&cluster.id).copied().unwrap_or(0);
        if order.generation >= seen {
            return Ok(());
        }
        Err(Problem::new(
            "stale-generation",
            format!(
                "the order belongs to revision {} of cluster {}; revision {seen} was seen before",
                order.generation, cluster.name
            ),
        )
        .because("the cluster's file has changed since the order was made")
        .next("none: the coordinator orders anew from the current file"))
    }
}

/// A ULID. Ids become file and unit names, so nothing else gets that far.
pub fn is_order_id(id: &str) -> bool {
    id.len() == 26
        && id
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

/// The epoch may differ: a coordinator that was restarted delivers again under its new one.
fn is_same(known: &Order, delivered: &Order) -> bool {
    known.generation == delivered.generation
        && known.cluster == delivered.cluster
        && known.node == delivered.node
        && known.action == delivered.action
}

fn malformed() -> Problem {
    Problem::new(
        "order-malformed",
        "the order carries no known action or no proper id",
    )
    .because("coordinator and agent of different versions")
    .next("install the same version of both packages")
}

fn reused(id: &str) -> Problem {
    Problem::new(
        "order-id-reused",
        "an order with this id and another content is known",
    )
    .at(id)
    .because("a coordinator restored from an old copy of its state")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::order::Action;
    use quorate_proto::v1::{Check, ClusterConfig, ExportJoinMaterial, OrderStatus, PromoteMember};

    const ID: &str = "01JD0000000000000000000001";

    fn order(action: Action, generation: u64, epoch: u64) -> Order {
        Order {
            id: ID.to_owned(),
            generation,
            epoch,
            cluster: Some(ClusterConfig {
                id: "c1".to_owned(),
                ..ClusterConfig::default()
            }),
            action: Some(action),
            ..Order::default()
        }
    }

    fn check(generation: u64, epoch: u64) -> Order {
        order(Action::Check(Check {}), generation, epoch)
    }

    fn export(generation: u64, epoch: u64) -> Order {
        let action = ExportJoinMaterial {
            for_node: "n2".to_owned(),
            member: true,
        };
        order(Action::ExportJoinMaterial(action), generation, epoch)
    }

    fn finished() -> State {
        State::Finished {
            result: Box::new(OrderResult {
                id: ID.to_owned(),
                status: OrderStatus::Succeeded as i32,
                ..OrderResult::default()
            }),
        }
    }

    fn known(order: Order, state: State) -> Option<Entry> {
        Some(Entry::new(order, state))
    }

    fn name(decision: &Decision) -> String {
        match decision {
            Decision::Start => "start".to_owned(),
            Decision::AlreadyRunning => "running".to_owned(),
            Decision::ReturnRecorded(result) => format!("recorded {}", result.id),
            Decision::Recompute => "recompute".to_owned(),
            Decision::Refuse(problem) => problem.code.clone(),
        }
    }

    #[test]
    fn table() {
        let fence = Fence {
            epoch: 5,
            proof: Vec::new(),
            generations: BTreeMap::from([("c1".to_owned(), 7)]),
        };
        let running = || State::Running {
            unit: "u".to_owned(),
        };
        let recorded = format!("recorded {ID}");
        let mut no_action = check(7, 5);
        no_action.action = None;
        let mut bad_id = check(7, 5);
        bad_id.id = "../../etc/passwd".to_owned();
        let mut other_cluster = check(1, 5);
        other_cluster.cluster = Some(ClusterConfig {
            id: "c2".to_owned(),
            ..ClusterConfig::default()
        });
        let mut no_cluster = check(0, 5);
        no_cluster.cluster = None;
        let promote = order(Action::PromoteMember(PromoteMember::default()), 7, 5);
        let table: Vec<(&str, Option<Entry>, Order, &str)> = vec![
            ("new", None, check(7, 5), "start"),
            ("new, next revision", None, check(8, 5), "start"),
            ("new, next epoch", None, check(7, 6), "start"),
            ("old revision", None, check(6, 5), "stale-generation"),
            ("old epoch", None, check(7, 4), "stale-coordinator"),
            ("other cluster", None, other_cluster, "start"),
            ("no cluster", None, no_cluster, "start"),
            ("no action", None, no_action, "order-malformed"),
            ("bad id", None, bad_id, "order-malformed"),
            (
                "twice, waiting",
                known(check(7, 5), State::Accepted),
                check(7, 5),
                "running",
            ),
            (
                "twice, running",
                known(check(7, 5), running()),
                check(7, 5),
                "running",
            ),
            (
                "running, new epoch",
                known(check(7, 5), running()),
                check(7, 6),
                "running",
            ),
            (
                "twice, finished",
                known(check(7, 5), finished()),
                check(7, 5),
                &recorded,
            ),
            (
                "finished, old epoch",
                known(check(7, 4), finished()),
                check(7, 4),
                &recorded,
            ),
            (
                "finished, old revision",
                known(check(3, 5), finished()),
                check(3, 5),
                &recorded,
            ),
            (
                "sealed, finished",
                known(export(7, 5), finished()),
                export(7, 5),
                "recompute",
            ),
            (
                "sealed, running",
                known(export(7, 5), running()),
                export(7, 5),
                "running",
            ),
            (
                "sealed, old epoch",
                known(export(7, 4), finished()),
                export(7, 4),
                "stale-coordinator",
            ),
            (
                "sealed, old revision",
                known(export(6, 5), finished()),
                export(6, 5),
                "stale-generation",
            ),
            (
                "id reused",
                known(check(7, 5), finished()),
                promote,
                "order-id-reused",
            ),
            (
                "id reused, revision",
                known(check(7, 5), running()),
                check(8, 5),
                "order-id-reused",
            ),
        ];
        for (case, entry, order, expected) in table {
            let decision = decide(entry.as_ref(), &order, &fence);
            assert_eq!(name(&decision), expected, "{case}");
        }
    }

    #[test]
    fn the_fence_only_rises() {
        let mut fence = Fence::default();
        assert!(fence.raise(&check(3, 2)));
        assert!(!fence.raise(&check(2, 1)));
        assert!(fence.raise(&check(4, 1)));
        assert_eq!(fence.epoch, 2);
        assert_eq!(fence.generations["c1"], 4);
        assert!(!fence.raise_epoch(2));
        assert!(fence.raise_epoch(3));
    }

    #[test]
    fn a_proof_belongs_to_its_epoch() {
        let mut fence = Fence::default();
        assert!(fence.raise_proven(2, b"two"));
        assert!(!fence.raise_proven(2, b"two"));
        assert!(!fence.raise_proven(1, b"one"));
        assert_eq!(fence.proof, b"two");
        assert!(fence.raise(&check(1, 3)));
        assert!(fence.proof.is_empty());
        assert!(fence.raise_proven(3, b"three"));
        assert_eq!((fence.epoch, fence.proof.as_slice()), (3, &b"three"[..]));
    }
}
