//! The cluster's own objects, read through this node's API server and kept for a while.

use crate::kube::api::Api;
use crate::kube::carrier;
use crate::kube::objects::{
    cluster_info, kube_proxy, kubeadm_config, outside, serving_requests, tokens,
};
use crate::orders::kubeadm::token::TOKENS;
use crate::paths::Paths;
use jiff::Timestamp;
use quorate_proto::v1::{ClusterObjects, Pace, Problem};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Of all of them together.
const WITHIN: Duration = Duration::from_secs(2);
/// At rest nothing waits for them.
const KEPT_AT_REST: Duration = Duration::from_secs(60);
/// Reports that come faster than this belong to an operation.
const QUICK_MS: u32 = 5_000;
/// At work they are read as often as reports go out, but for at most this part of the time: the list of kube-proxy's pods is as long
/// as the cluster is large.
const SHARE: u32 = 4;

#[derive(Debug, Default)]
pub struct Objects {
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    began: Instant,
    took: Duration,
    view: ClusterObjects,
}

impl Objects {
    /// Nothing where there is no API server or it does not answer: what is not known is not what was known.
    pub async fn view(
        &mut self,
        paths: &Paths,
        member: bool,
        pace: &Pace,
    ) -> (Option<ClusterObjects>, Option<Problem>) {
        if !member {
            self.kept = None;
            return (None, None);
        }
        if let Some(kept) = self.kept.as_ref().filter(|kept| is_fresh(kept, pace)) {
            return (Some(kept.told()), None);
        }
        let began = Instant::now();
        let read = match timeout(WITHIN, read(paths)).await {
            Ok(read) => read,
            Err(_) => Err(Problem::new(
                "no-answer",
                "the API server did not tell the cluster's objects within 2 s",
            )),
        };
        match read {
            Ok(view) => {
                let kept = Kept {
                    began,
                    took: began.elapsed(),
                    view,
                };
                let told = kept.told();
                self.kept = Some(kept);
                (Some(told), None)
            }
            Err(problem) => {
                self.kept = None;
                (None, Some(problem))
            }
        }
    }
}

fn is_fresh(kept: &Kept, pace: &Pace) -> bool {
    let kept_for = match pace.report_ms < QUICK_MS {
        true => kept.took.saturating_mul(SHARE).min(KEPT_AT_REST),
        false => KEPT_AT_REST,
    };
    kept.began.elapsed() < kept_for.saturating_add(kept.took)
}

impl Kept {
    /// With how old it is: whoever has written the objects since is not to take it for what came of that.
    fn told(&self) -> ClusterObjects {
        let age = u32::try_from(self.began.elapsed().as_millis());
        ClusterObjects {
            age_ms: age.unwrap_or(u32::MAX),
            ..self.view.clone()
        }
    }
}

async fn read(paths: &Paths) -> Result<ClusterObjects, Problem> {
    let mut api = Api::new(paths)?;
    let mut view = ClusterObjects::default();
    if let Some(object) = api.get(kubeadm_config::PATH).await? {
        let config = kubeadm_config::read(&object)?;
        view.kubeadm_endpoint = config.endpoint;
        view.kubeadm_names = config.names;
    }
    if let Some(info) = api.get(cluster_info::PATH).await? {
        let tokens = api.get(TOKENS).await?.unwrap_or_default();
        view.info_endpoint = text(cluster_info::endpoint(&info));
        view.info_signed = is_signed(&info, &tokens);
    }
    if let Some(object) = api.get(kube_proxy::PATH).await? {
        view.proxy_endpoint = text(kube_proxy::endpoint(&object));
        // From the API server's memory, as nothing here has to be newer.
        let list = format!("{}&resourceVersion=0", kube_proxy::PODS);
        let pods = kube_proxy::pods(&api.get(&list).await?.unwrap_or_default());
        view.proxies = kube_proxy::ready_by_node(&pods);
    }
    for path in outside::PATHS {
        if let Some(object) = api.get(path).await? {
            view.outside.extend(outside::find(path, &object));
        }
    }
    let requests = api.get(serving_requests::LIST).await?.unwrap_or_default();
    view.serving_requests = serving_requests::nodes(&requests);
    Ok(view)
}

fn is_signed(info: &Value, tokens: &Value) -> bool {
    let signed = cluster_info::signed(info);
    let wanted = tokens::signing(tokens, Timestamp::now());
    wanted.iter().all(|id| signed.contains(id))
}

fn text(place: Option<(String, u16)>) -> String {
    place.map(|it| carrier::text(&it)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_again_when_it_is_worth_it() {
        let second = Duration::from_secs(1);
        let now = Instant::now();
        for (age, took_ms, report_ms, fresh) in [
            (0, 20, 500, true),
            (1, 20, 500, false),
            (1, 400, 500, true),
            (3, 400, 500, false),
            (3, 20, 15_000, true),
            (59, 20, 15_000, true),
            (61, 20, 15_000, false),
            (61, 9_000, 500, false),
        ] {
            let Some(began) = now.checked_sub(second * age) else {
                continue;
            };
            let kept = Kept {
                began,
                took: Duration::from_millis(took_ms),
                view: ClusterObjects::default(),
            };
            let pace = Pace {
                report_ms,
                ..Pace::default()
            };
            assert_eq!(
                is_fresh(&kept, &pace),
                fresh,
                "{age} s, {took_ms}, {report_ms}"
            );
            let told = u64::from(kept.told().age_ms);
            assert!(told >= u64::from(age) * 1_000, "{age} s: told {told}");
        }
    }
}
