//! `quorate nodes`.

use super::Show;
use super::lists::or_none;
use crate::cli::text::units::{bytes, duration, ms, relative, rfc3339};
use crate::cli::text::{Column, Grid, Item, Look, Tone};
use quorate_proto::v1::{ListNodesResponse, NodeInfo};
use std::time::Duration;

/// Clock offset that etcd and certificates begin to mind.
const OFFSET_MS: u64 = 1_000;

const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("AGENT"),
    Column::new("SEEN"),
    Column::new("CLUSTER"),
    Column::new("ROLES"),
    Column::new("ZONE"),
    Column::new("ADDRESS"),
    Column::new("CPUS"),
    Column::new("MEMORY"),
    Column::new("DISK FREE"),
    Column::wide("SEEN AT"),
    Column::wide("VERSION"),
    Column::wide("CLOCK"),
    Column::wide("OS"),
    Column::wide("KERNEL"),
    Column::wide("CERTIFICATE ENDS"),
    Column::wide("ID"),
];

impl Show for ListNodesResponse {
    fn table(&self, look: &Look) -> String {
        let mut grid = Grid::new(COLUMNS);
        for node in &self.nodes {
            grid.row(row(node, look));
        }
        or_none(&grid, look, "No nodes. Enrol one: quorate token create")
    }

    fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }
}

fn row(node: &NodeInfo, look: &Look) -> [Item; 17] {
    let host = node.host.clone().unwrap_or_default();
    // Nothing is known of a node that never reported; 0 would be a claim.
    let known = |known: bool, text: String| if known { text } else { String::new() };
    let address = host.addresses.first().unwrap_or(&node.peer_address);
    [
        (&node.name).into(),
        agent(node),
        relative(look.now_ms, node.last_seen_unix_ms).into(),
        (&node.cluster).into(),
        (&node.roles).into(),
        (&node.zone).into(),
        address.into(),
        known(host.cpus > 0, host.cpus.to_string()).into(),
        known(host.memory_bytes > 0, bytes(host.memory_bytes)).into(),
        known(host.disk_bytes > 0, bytes(host.disk_free_bytes)).into(),
        rfc3339(node.last_seen_unix_ms).into(),
        (&node.agent_version).into(),
        clock(node),
        (&host.os).into(),
        (&host.kernel).into(),
        rfc3339(ms(node.certificate_expires_unix)).into(),
        (&node.id).into(),
    ]
}

fn agent(node: &NodeInfo) -> Item {
    Item::state(match (node.revoked, node.connected) {
        (true, _) => "revoked",
        (false, true) => "connected",
        (false, false) => "lost",
    })
}

fn clock(node: &NodeInfo) -> Item {
    if node.host.is_none() {
        return "".into();
    }
    let sign = if node.clock_offset_ms < 0 { "-" } else { "+" };
    let size = node.clock_offset_ms.unsigned_abs();
    let tone = if size < OFFSET_MS {
        Tone::Plain
    } else {
        Tone::Warn
    };
    Item::new(
        tone,
        format!("{sign}{}", duration(Duration::from_millis(size))),
    )
}
