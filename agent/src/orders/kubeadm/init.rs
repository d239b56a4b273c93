//! Forms a cluster of one control plane on the node that holds the authorities.
//!
//! The API server is called at this node's own address: the endpoint may lead nowhere yet.

use super::config::Config;
use super::layout::{Layout, SUPER_ADMIN};
use super::phase::phase;
use super::token::Token;
use super::{claim, kubelet, mark, member, ready};
use crate::context::{Context, Done, Outcome};
use crate::host::files;
use crate::kube::api::{self, Api};
use crate::kube::http::authority;
use crate::kube::kubeconfig::{Kubeconfig, with_server};
use crate::marks;
use quorate_proto::v1::{Init, Problem};
use serde_json::{Value, json};
use std::time::Duration;

/// Others write to a fresh Node too, and an API server that has just started turns calls away now and then.
const MARK_LIMIT: Duration = Duration::from_secs(60);
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

pub async fn run(context: &Context, action: &Init) -> Done {
    claim::require(context)?;
    let layout = Layout::of(&context.paths);
    // A cluster is formed once: other settings of a running one are not this order's business.
    if !marks::load(&context.paths)?.init.is_empty() && layout.etcd_manifest().exists() {
        return Ok(Outcome::done());
    }
    let config = Config::build(context.cluster()?, context.node()?)?;
    start(context, &config).await?;
    // The controllers start while the API server does, but leave the processor to etcd before that.
    tokio::try_join!(ready::api(context), async {
        member::healthy(context, &config).await?;
        start_controllers(context, &config).await
    })?;
    context.say("the first API server is ready");
    let through_endpoint = !calls_itself(config.version());
    if through_endpoint {
        point_admins(context, &local_url(context)?)?;
    }
    cluster_objects(context, &config).await?;
    if through_endpoint {
        let endpoint = endpoint_url(context)?;
        correct_cluster_info(context, &endpoint).await?;
        point_admins(context, &endpoint)?;
    }
    marks::update(&context.paths, |marks| marks.init = action.digest.clone())?;
    Ok(Outcome::done())
}

/// Everything that the kubelet needs, then the kubelet, once.
async fn start(context: &Context, config: &Config) -> Result<(), Problem> {
    let text = config.for_init();
    files::make_folder(&Layout::of(&context.paths).manifests(), 0o700)?;
    kubelet::kubeconfigs(context, config, true).await?;
    tokio::try_join!(
        phase(context, &["etcd", "local"], &text),
        phase(context, &["control-plane", "apiserver"], &text),
        kubelet::start(context, config),
    )?;
    Ok(())
}

/// The pods that can do nothing without an API server, and would only take processor time from etcd's and its start.
pub async fn start_controllers(context: &Context, config: &Config) -> Result<(), Problem> {
    let text = config.for_init();
    tokio::try_join!(
        phase(context, &["control-plane", "controller-manager"], &text),
        phase(context, &["control-plane", "scheduler"], &text),
    )?;
    Ok(())
}

/// What `kubeadm init` puts into the cluster. None of it depends on another but for the Node, which some wait for.
async fn cluster_objects(context: &Context, config: &Config) -> Result<(), Problem> {
    let token = Token::random();
    let text = config.for_cluster_objects(&token.full());
    // The first of them also lets the administrator's certificate in, which the others and we then use.
    phase(context, &["bootstrap-token", "--skip-token-print"], &text).await?;
    let node = async {
        kubelet::freshen(context).await?;
        ready::registered(context).await?;
        phase(context, &["upload-config", "all"], &text).await?;
        mark_member(context, config).await
    };
    tokio::try_join!(node, phase(context, &["addon", "all"], &text))?;
    if !config.has_user_tokens() {
        Api::new(&context.paths)?
            .delete(&token.secret_path())
            .await?;
    }
    Ok(())
}

/// Labels, taints and annotation of a control plane, as kubeadm sets them.
pub async fn mark_member(context: &Context, config: &Config) -> Result<(), Problem> {
    let path = ready::node_path(&context.node()?.name);
    let mut api = Api::new(&context.paths)?;
    ready::until(context, "the Node to be marked", MARK_LIMIT, async || {
        let node = api.get(&path).await?.unwrap_or_default();
        let Some(patch) = mark::patch(&node, &config.member_taints()) else {
            return Ok(());
        };
        match api.merge(&path, &patch).await? {
            Some(_) => Ok(()),
            None => Err(Problem::new("api-refused", "the Node was changed meanwhile").at(&path)),
        }
    })
    .await
}

/// Whether this kubeadm's init calls the API server beside it; older ones call it through the endpoint.
fn calls_itself(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches('v')
        .split(['.', '-', '+'])
        .map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    match (next(), next(), next()) {
        (0, ..) | (1, ..=32, _) => false,
        (1, 33, patch) => patch >= 12,
        (1, 34, patch) => patch >= 8,
        (1, 35, patch) => patch >= 5,
        (1, 36, patch) => patch >= 1,
        (1.., ..) => true,
    }
}

fn local_url(context: &Context) -> Result<String, Problem> {
    let (host, port) = api::local_endpoint(&context.paths)?;
    Ok(format!("https://{}", authority(&host, port)))
}

fn endpoint_url(context: &Context) -> Result<String, Problem> {
    match &context.cluster()?.endpoint {
        Some(endpoint) => {
            let port = u16::try_from(endpoint.port).unwrap_or(super::API_PORT);
            Ok(format!("https://{}", authority(&endpoint.host, port)))
        }
        None => local_url(context),
    }
}

/// Where the administrators' files lead; a run that was cut short is put right by the next.
fn point_admins(context: &Context, url: &str) -> Result<(), Problem> {
    let layout = Layout::of(&context.paths);
    for name in ["admin.conf", SUPER_ADMIN] {
        let file = layout.kubernetes(name);
        if Kubeconfig::read(&file)?.server != url {
            let text = files::read_text(&file)?;
            files::write_atomic(&file, with_server(&text, url).as_bytes(), 0o600)?;
        }
    }
    Ok(())
}

/// kubeadm copied the administrator's server into it.
async fn correct_cluster_info(context: &Context, url: &str) -> Result<(), Problem> {
    let mut api = Api::new(&context.paths)?;
    let info = api.get(CLUSTER_INFO).await?.unwrap_or_default();
    let patch = cluster_info_patch(&info, url);
    api.merge(CLUSTER_INFO, &patch).await?;
    Ok(())
}

/// Signatures are over the text, and are made anew for a text without them.
fn cluster_info_patch(info: &Value, url: &str) -> Value {
    let empty = serde_json::Map::new();
    let data = info["data"].as_object().unwrap_or(&empty);
    let mut changes: serde_json::Map<String, Value> = data
        .keys()
        .filter(|key| key.starts_with("jws-kubeconfig-"))
        .map(|key| (key.clone(), Value::Null))
        .collect();
    let text = info["data"]["kubeconfig"].as_str().unwrap_or_default();
    changes.insert("kubeconfig".to_owned(), json!(with_server(text, url)));
    json!({"data": changes})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_kubeadm_calls_the_api_server_beside_it() {
        for (version, expected) in [
            ("v1.31.13", false),
            ("v1.32.12", false),
            ("v1.33.11", false),
            ("v1.33.12", true),
            ("v1.33.13", true),
            ("v1.34.7", false),
            ("v1.34.8", true),
            ("v1.35.4", false),
            ("v1.35.5", true),
            ("v1.36.0", false),
            ("v1.36.1", true),
            ("v1.37.0-rc.0", true),
            ("v2.0.0", true),
            ("", false),
        ] {
            assert_eq!(calls_itself(version), expected, "{version}");
        }
    }

    #[test]
    fn a_corrected_cluster_info_is_signed_anew() {
        let info = json!({"data": {
            "kubeconfig": "clusters:\n- cluster:\n    server: https://10.0.0.1:6443\n",
            "jws-kubeconfig-abcdef": "signature",
        }});
        assert_eq!(
            cluster_info_patch(&info, "https://lb:6443"),
            json!({"data": {
                "kubeconfig": "clusters:\n- cluster:\n    server: https://lb:6443\n",
                "jws-kubeconfig-abcdef": null,
            }})
        );
    }
}
