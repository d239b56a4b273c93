//! Whether this node's pods may run (pure). Others take them over once the coordinator has neither heard the agent nor seen the node's
//! lease renewed for longer than `fence_ms`. So only what the coordinator is sure to have seen counts: a heartbeat that it has answered,
//! from when it was sent, and a renewal of the lease that the API server has taken, from when it was asked.

/// Within this part of the time silence is nothing unusual; after it the API is asked as well.
const QUIET: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    MayRun,
    Stopped,
}

#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub now_ms: u64,
    /// None: nobody takes over this node's pods.
    pub fence_ms: Option<u64>,
    /// When the last heartbeat was sent that was answered.
    pub coordinator_ms: Option<u64>,
    /// When the last renewal of the node's lease was begun that succeeded.
    pub api_ms: Option<u64>,
    pub pods: Pods,
    /// The kubelet or a container still runs though it was to stop.
    pub remains: bool,
    /// Whether static pods of a control plane run here.
    pub member: bool,
}

impl Known {
    /// Until running pods have to stop.
    pub fn left_ms(&self) -> Option<u64> {
        let last = self.coordinator_ms.max(self.api_ms)?;
        let silence = self.now_ms.saturating_sub(last);
        match self.pods {
            Pods::MayRun => Some(self.fence_ms?.saturating_sub(silence)),
            Pods::Stopped => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Renew the lease, if the kubelet is there to do so itself.
    AskApi,
    Stop,
    Start,
}

pub fn next(known: &Known) -> Act {
    let Some(fence_ms) = known.fence_ms else {
        return match known.pods {
            Pods::MayRun => Act::Nothing,
            Pods::Stopped => Act::Start,
        };
    };
    match known.pods {
        Pods::MayRun => running(known, fence_ms),
        Pods::Stopped => stopped(known, fence_ms),
    }
}

fn running(known: &Known, fence_ms: u64) -> Act {
    let Some(last) = known.coordinator_ms.max(known.api_ms) else {
        // Since the boot nobody was reached: without a quorum its API server does not start, and without that the kubelet of a control
        // plane runs static pods only, which form that quorum.
        return match known.member {
            true => Act::Nothing,
            false => Act::Stop,
        };
    };
    match known.now_ms.saturating_sub(last) {
        silence if silence >= fence_ms => Act::Stop,
        silence if silence >= fence_ms / QUIET => Act::AskApi,
        _ => Act::Nothing,
    }
}

/// The lease is renewed first: whoever is about to free the pods looks at it last, and stops then.
fn stopped(known: &Known, fence_ms: u64) -> Act {
    let fresh =
        |at: Option<u64>| at.is_some_and(|it| known.now_ms.saturating_sub(it) < fence_ms / QUIET);
    // The API server of a control plane may need its kubelet; without that server the kubelet runs static pods only.
    if fresh(known.api_ms) || (known.member && fresh(known.coordinator_ms)) {
        Act::Start
    } else if known.remains {
        Act::Stop
    } else {
        Act::AskApi
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Pods::{MayRun, Stopped};

    const NOW: u64 = 1_000_000;
    const FENCE: u64 = 12_000;

    /// A worker whose pods run, and that the coordinator has just answered.
    fn known() -> Known {
        Known {
            now_ms: NOW,
            fence_ms: Some(FENCE),
            coordinator_ms: Some(NOW - 100),
            api_ms: None,
            pods: MayRun,
            remains: false,
            member: false,
        }
    }

    type Change = fn(&mut Known);

    #[test]
    fn each_rule() {
        let rows: [(&str, Act, Change); 19] = [
            ("all is well", Act::Nothing, |_| {}),
            ("the coordinator is quiet", Act::AskApi, |k| {
                k.coordinator_ms = Some(NOW - FENCE / 4)
            }),
            ("and was for almost too long", Act::AskApi, |k| {
                k.coordinator_ms = Some(NOW - FENCE + 1)
            }),
            ("for too long", Act::Stop, |k| {
                k.coordinator_ms = Some(NOW - FENCE)
            }),
            ("but the lease was renewed", Act::Nothing, |k| {
                (k.coordinator_ms, k.api_ms) = (Some(NOW - FENCE), Some(NOW));
            }),
            ("the lease alone", Act::Nothing, |k| {
                (k.coordinator_ms, k.api_ms) = (None, Some(NOW))
            }),
            ("which was long ago", Act::Stop, |k| {
                (k.coordinator_ms, k.api_ms) = (None, Some(NOW - FENCE))
            }),
            ("a worker that has reached nobody", Act::Stop, |k| {
                k.coordinator_ms = None
            }),
            ("a control plane likewise", Act::Nothing, |k| {
                (k.coordinator_ms, k.member) = (None, true)
            }),
            ("a control plane that lost all", Act::Stop, |k| {
                (k.coordinator_ms, k.member) = (Some(NOW - FENCE), true);
            }),
            ("no policy", Act::Nothing, |k| {
                (k.fence_ms, k.coordinator_ms) = (None, None)
            }),
            ("no policy any more", Act::Start, |k| {
                (k.fence_ms, k.pods) = (None, Stopped)
            }),
            ("stopped, and nobody answers", Act::AskApi, |k| {
                (k.pods, k.coordinator_ms) = (Stopped, Some(NOW - FENCE));
            }),
            ("stopped, but not all of it", Act::Stop, |k| {
                (k.pods, k.coordinator_ms, k.remains) = (Stopped, Some(NOW - FENCE), true);
            }),
            ("the coordinator alone starts no worker", Act::AskApi, |k| {
                k.pods = Stopped
            }),
            ("but a control plane", Act::Start, |k| {
                (k.pods, k.member) = (Stopped, true)
            }),
            ("the lease was renewed", Act::Start, |k| {
                (k.pods, k.api_ms) = (Stopped, Some(NOW - 1))
            }),
            ("before it stopped", Act::AskApi, |k| {
                (k.pods, k.api_ms) = (Stopped, Some(NOW - FENCE))
            }),
            ("after a boot", Act::AskApi, |k| {
                (k.pods, k.coordinator_ms) = (Stopped, None)
            }),
        ];
        for (what, expected, change) in rows {
            let mut known = known();
            change(&mut known);
            assert_eq!(next(&known), expected, "{what}");
            let ends = known.left_ms() == Some(0);
            assert!(!ends || expected == Act::Stop, "{what}");
        }
    }
}
