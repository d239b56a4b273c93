//! Stops this node's pods when nobody can see the node any more, before others take them over; and lets them run again. Only in a
//! cluster whose policy asks for it (`deadNodes.policy: fence`).
//!
//! - [`decide`]: whether pods may run (pure); [`terms`]: the duty, and what is kept of it;
//! - [`lease`]: asks the API, by renewing the node's lease; [`workload`]: stops pods and starts them.
//!
//! In a thread and a runtime of its own: whatever the agent is busy with, this goes on.

pub mod decide;
mod lease;
pub mod terms;
mod workload;

use crate::host::boot_clock;
use crate::kube::own;
use crate::paths::Paths;
use decide::{Act, Known, Pods};
use quorate_proto::v1::{self, Problem};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use terms::Terms;
use tokio_util::sync::CancellationToken;

/// A small part of the time that the pods have to end in.
const TICK: Duration = Duration::from_millis(500);
/// Between two notes of when somebody was reached: an agent that starts again believes the older one, which is safe.
const NOTE_MS: u64 = 1_000;
/// Between two tries of the same: to reach the API, and to look whether all has stopped.
const PAUSE_MS: u64 = 1_500;
/// For the API: several tries fit in before the pods have to stop.
const ANSWER_MS: u64 = 2_000;

/// What the session learns, and what reports tell.
pub struct Isolation {
    paths: Paths,
    /// When the last answered heartbeat was sent; 0: none was.
    proven_ms: AtomicU64,
}

impl Isolation {
    pub fn new(paths: Paths) -> Self {
        Isolation {
            paths,
            proven_ms: AtomicU64::new(0),
        }
    }

    /// The coordinator has heard what was sent at that time.
    pub fn proven(&self, sent_ms: u64) {
        self.proven_ms.fetch_max(sent_ms, Ordering::Relaxed);
    }

    pub fn take(&self, told: &v1::Isolation) {
        if let Err(problem) = terms::take(&self.paths, told) {
            tracing::error!(%problem, "the duty to stop pods was not recorded");
        }
    }

    pub(crate) fn coordinator_ms(&self) -> Option<u64> {
        let at = self.proven_ms.load(Ordering::Relaxed);
        (at > 0).then_some(at)
    }
}

/// What the node reports: the duty, once it was taken on.
pub fn view(paths: &Paths) -> Option<v1::Isolation> {
    let terms = terms::load(paths).ok()??;
    terms.armed.then(|| v1::Isolation {
        fence_ms: terms.fence_ms,
        generation: terms.generation,
        stopped: terms::pods(paths) == Pods::Stopped,
    })
}

/// Ends with `stop`; the duty stands while the agent is away, and its restart looks at it first.
pub fn start(
    isolation: Arc<Isolation>,
    node: String,
    stop: CancellationToken,
) -> Result<(), Problem> {
    let fail = |error: std::io::Error| Problem::new("isolation", error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(fail)?;
    let keeper = Keeper::new(isolation, node);
    std::thread::Builder::new()
        .name("isolation".to_owned())
        .spawn(move || runtime.block_on(keeper.run(stop)))
        .map_err(fail)
        .map(drop)
}

struct Keeper {
    isolation: Arc<Isolation>,
    node: String,
    api_ms: Option<u64>,
    noted_ms: u64,
    /// From an earlier life of the agent since the same boot.
    before_ms: Option<u64>,
    asked_ms: u64,
    looked_ms: u64,
    remains: bool,
    /// The last error, said once.
    said: String,
}

impl Keeper {
    fn new(isolation: Arc<Isolation>, node: String) -> Self {
        let before_ms = terms::last_reached(&isolation.paths);
        Keeper {
            isolation,
            node,
            api_ms: None,
            noted_ms: 0,
            before_ms,
            asked_ms: 0,
            looked_ms: 0,
            remains: true,
            said: String::new(),
        }
    }

    fn paths(&self) -> &Paths {
        &self.isolation.paths
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(problem) = self.once().await {
                self.say(&problem);
            } else {
                self.said.clear();
            }
        }
    }

    fn say(&mut self, problem: &Problem) {
        let text = problem.to_string();
        if text != self.said {
            tracing::warn!(%problem, "this node's isolation");
            self.said = text;
        }
    }

    async fn once(&mut self) -> Result<(), Problem> {
        let terms = terms::load(self.paths())?;
        let member = own::api_server(self.paths()).is_some();
        if let Some(terms) = terms.as_ref().filter(|it| !it.armed) {
            return self.arm(terms, member);
        }
        if terms.is_none() {
            terms::open_gate(self.paths())?;
            if self.before_ms.is_none() && self.noted_ms == 0 {
                return Ok(()); // never had the duty since the boot
            }
        }
        if member && self.before_ms.is_none() && self.noted_ms == 0 {
            // After a boot: see `decide`.
            terms::allow(self.paths())?;
        }
        self.note()?;
        let known = self.known(terms.as_ref(), member).await;
        match decide::next(&known) {
            Act::Nothing => Ok(()),
            Act::AskApi => self.ask(&known).await,
            Act::Start => self.start().await,
            Act::Stop => {
                let stopped = self.stop(known.pods).await;
                // Unless that is tried as well, what cannot be stopped would keep the node away for good.
                let pods = Pods::Stopped;
                self.ask(&Known { pods, ..known }).await?;
                stopped
            }
        }
    }

    /// While the coordinator answers.
    fn arm(&mut self, terms: &Terms, member: bool) -> Result<(), Problem> {
        let Some(at) = self.isolation.coordinator_ms() else {
            return Ok(());
        };
        if boot_clock::now_ms().saturating_sub(at) >= terms.fence_ms / 2 {
            return Ok(());
        }
        self.noted_ms = at;
        terms::arm(self.paths(), terms, !member, at)?;
        tracing::info!(
            fence_ms = terms.fence_ms,
            "this node stops its pods when nobody can see it"
        );
        Ok(())
    }

    fn last_ms(&self) -> Option<u64> {
        let now = self.isolation.coordinator_ms().max(self.api_ms);
        now.max(self.before_ms)
    }

    fn note(&mut self) -> Result<(), Problem> {
        match self.last_ms() {
            Some(at) if at >= self.noted_ms + NOTE_MS => {
                terms::reached(self.paths(), at)?;
                self.noted_ms = at;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn known(&mut self, terms: Option<&Terms>, member: bool) -> Known {
        let now_ms = boot_clock::now_ms();
        let pods = terms::pods(self.paths());
        if pods == Pods::Stopped && now_ms.saturating_sub(self.looked_ms) >= PAUSE_MS {
            self.remains = workload::remains(self.paths(), &self.node).await;
            self.looked_ms = now_ms;
        }
        Known {
            now_ms,
            fence_ms: terms.map(|it| it.fence_ms),
            coordinator_ms: self.isolation.coordinator_ms().max(self.before_ms),
            api_ms: self.api_ms,
            pods,
            remains: self.remains,
            member,
        }
    }

    async fn ask(&mut self, known: &Known) -> Result<(), Problem> {
        let now_ms = boot_clock::now_ms();
        if now_ms.saturating_sub(self.asked_ms) < PAUSE_MS {
            return Ok(());
        }
        self.asked_ms = now_ms;
        let with_kubelet = known.pods == Pods::MayRun;
        // Whoever waits for an answer does not stop pods.
        let left_ms = known.left_ms().unwrap_or(ANSWER_MS).min(ANSWER_MS);
        let within = Duration::from_millis(left_ms);
        let renewed = lease::renew(self.paths(), &self.node, with_kubelet, within).await?;
        self.api_ms = Some(renewed);
        Ok(())
    }

    async fn stop(&mut self, pods: Pods) -> Result<(), Problem> {
        let begun_ms = boot_clock::now_ms();
        if pods == Pods::MayRun {
            tracing::warn!(
                "neither the coordinator nor the API has seen this node for too long: its pods are stopped, as others may run them soon"
            );
        }
        let stopped = workload::stop(self.paths(), &self.node).await;
        self.remains = workload::remains(self.paths(), &self.node).await;
        self.looked_ms = boot_clock::now_ms();
        if !self.remains {
            let took_ms = self.looked_ms.saturating_sub(begun_ms);
            tracing::warn!(took_ms, "the pods of this node are stopped");
            return Ok(());
        }
        stopped
    }

    async fn start(&mut self) -> Result<(), Problem> {
        workload::start(self.paths()).await?;
        tracing::info!("this node is seen again: its kubelet runs");
        self.remains = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;
    use crate::marks;

    fn told(fence_ms: u64) -> v1::Isolation {
        v1::Isolation {
            fence_ms,
            generation: 1,
            stopped: false,
        }
    }

    /// A worker that has joined.
    fn worker() -> (tempfile::TempDir, Arc<Isolation>) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        files::make_folder(&paths.runtime(), 0o700).unwrap();
        marks::update(&paths, |marks| {
            marks.cluster_id = "c".into();
            marks.worker = "x".into();
        })
        .unwrap();
        (root, Arc::new(Isolation::new(paths)))
    }

    fn gate(isolation: &Isolation) -> bool {
        isolation.paths.state().join("kubelet-gate").exists()
    }

    #[tokio::test]
    async fn the_duty_begins_with_an_answer_and_ends_with_the_terms() {
        let (_root, isolation) = worker();
        let mut keeper = Keeper::new(isolation.clone(), "w1".into());
        isolation.take(&told(12_000));
        keeper.once().await.unwrap();
        assert_eq!(view(&isolation.paths), None, "nobody has answered yet");
        assert!(!gate(&isolation), "so the kubelet may start");
        isolation.proven(boot_clock::now_ms());
        // Killed ahead of its last effect: a gate that stands is opened for what runs already.
        terms::allow(&isolation.paths).unwrap();
        for _ in 0..2 {
            keeper.once().await.unwrap();
            assert_eq!(view(&isolation.paths), Some(told(12_000)));
            assert!(gate(&isolation));
            assert_eq!(terms::pods(&isolation.paths), Pods::MayRun);
        }
        isolation.take(&told(0));
        keeper.once().await.unwrap();
        assert_eq!((view(&isolation.paths), gate(&isolation)), (None, false));
    }

    /// What runs goes on running while the agent is replaced, and for no longer than it would have.
    #[tokio::test]
    async fn an_agent_that_starts_again_knows_when_somebody_was_reached() {
        let (_root, isolation) = worker();
        isolation.take(&told(12_000));
        let at = boot_clock::now_ms();
        isolation.proven(at);
        let mut keeper = Keeper::new(isolation.clone(), "w1".into());
        keeper.once().await.unwrap();
        let again = Arc::new(Isolation::new(isolation.paths.clone()));
        let mut keeper = Keeper::new(again, "w1".into());
        let terms = terms::load(&isolation.paths).unwrap().unwrap();
        let known = keeper.known(Some(&terms), false).await;
        assert_eq!((known.coordinator_ms, known.pods), (Some(at), Pods::MayRun));
        let later = Known {
            now_ms: at + terms.fence_ms,
            ..known
        };
        assert_eq!(decide::next(&later), Act::Stop);
    }
}
