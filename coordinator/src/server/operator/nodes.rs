//! Nodes: who enrolled, who is connected, and where each belongs.

use crate::authority::NodeRecord;
use crate::server::Parts;
use crate::sessions::NodeView;
use quorate_proto::v1::*;
use std::collections::BTreeMap;

pub async fn list(parts: &Parts, who: &str) -> Result<ListNodesResponse, Problem> {
    let mut views = parts.sessions.snapshot();
    let places = places(parts, who).await;
    let mut nodes: Vec<NodeInfo> = parts
        .authority
        .nodes()?
        .into_iter()
        .map(|node| {
            let mine = views.get(&node.name).is_some_and(|view| view.id == node.id);
            let view = if mine { views.remove(&node.name) } else { None };
            let place = match node.revoked_unix {
                None => places.get(&node.name),
                Some(_) => None,
            };
            info(node, view, place)
        })
        .collect();
    nodes.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(ListNodesResponse { nodes })
}

pub async fn revoke(
    parts: &Parts,
    who: &str,
    request: &RevokeNodeRequest,
) -> Result<RevokeNodeResponse, Problem> {
    let node = parts.authority.revoke_node(who, &request.name).await?;
    parts.sessions.revoke(&node, "this node was revoked").await;
    Ok(RevokeNodeResponse {})
}

#[derive(Default)]
struct Place {
    cluster: String,
    roles: String,
    zone: String,
}

/// Where the engine has each node. Without its answer the list is still of use.
async fn places(parts: &Parts, who: &str) -> BTreeMap<String, Place> {
    let status = parts.engine.status(who, StatusRequest::default()).await;
    let clusters = status.map(|status| status.clusters).unwrap_or_default();
    let mut places = BTreeMap::new();
    for cluster in clusters {
        for node in cluster.nodes {
            let place = Place {
                cluster: cluster.name.clone(),
                roles: node.roles,
                zone: node.zone,
            };
            places.insert(node.name, place);
        }
    }
    places
}

fn info(node: NodeRecord, view: Option<NodeView>, place: Option<&Place>) -> NodeInfo {
    let unplaced = Place::default();
    let place = place.unwrap_or(&unplaced);
    let mut info = NodeInfo {
        id: node.id,
        name: node.name,
        cluster: place.cluster.clone(),
        roles: place.roles.clone(),
        zone: place.zone.clone(),
        certificate_expires_unix: node.certificate_expires_unix,
        revoked: node.revoked_unix.is_some(),
        ..NodeInfo::default()
    };
    if let Some(view) = view {
        info.connected = view.connected;
        info.last_seen_unix_ms = view.last_heard_unix_ms;
        info.peer_address = view.peer.to_string();
        info.agent_version = view.agent_version;
        info.clock_offset_ms = view.clock_offset_ms;
        info.host = view.report.and_then(|report| report.host.clone());
    }
    info
}
