//! `quorate status`: each cluster's health, what may still fail, and what it waits for.

use super::Show;
use super::plan::failures;
use crate::cli::text::units::{bytes, ms, relative, rfc3339};
use crate::cli::text::{Column, Grid, Item, Look, Tone, clean, json};
use crate::spec::address::host_port;
use quorate_proto::v1::{
    BackendState, CertificateStatus, ClusterNodeStatus, ClusterStatus, EtcdRow, EtcdStatus,
    LoadBalancerStatus, StatusResponse,
};

/// Certificates that end next; all of them with `-o wide`.
const CERTIFICATES_SHOWN: usize = 5;
/// From here on a certificate's end is a warning.
const SOON_MS: i64 = 7 * 24 * 3600 * 1000;

impl Show for StatusResponse {
    fn table(&self, look: &Look) -> String {
        let mut out = String::new();
        for notice in &self.notices {
            out.push_str(&format!(
                "{} {}\n",
                look.paint(Tone::Warn, "‼"),
                clean(notice)
            ));
        }
        if !self.notices.is_empty() {
            out.push('\n');
        }
        if self.clusters.is_empty() {
            out.push_str("No clusters. Form one: quorate apply -f FILE\n");
        }
        let clusters: Vec<String> = self.clusters.iter().map(|one| cluster(one, look)).collect();
        out.push_str(&clusters.join("\n"));
        out
    }

    fn names(&self) -> Vec<String> {
        self.clusters.iter().map(|one| one.name.clone()).collect()
    }
}

/// What scripts ask: is everything as it should be?
pub fn all_healthy(status: &StatusResponse) -> bool {
    let as_wished = ["healthy", "stopped"];
    let mut clusters = status.clusters.iter();
    clusters.all(|one| as_wished.contains(&one.health.as_str()))
}

fn cluster(status: &ClusterStatus, look: &Look) -> String {
    let etcd = status.etcd.clone().unwrap_or_default();
    let mut out = heading(status, &etcd, look);
    section(&mut out, "Nodes", "", &nodes(&status.nodes, look), look);
    let members = etcd_table(&etcd.members, look);
    section(&mut out, "etcd", &etcd_line(&etcd), &members, look);
    let balancers = load_balancers(&status.load_balancers, look);
    section(&mut out, "Load balancers", "", &balancers, look);
    let (line, table) = certificates(&status.certificates, look);
    section(&mut out, "Certificates", &line, &table, look);
    out
}

fn heading(status: &ClusterStatus, etcd: &EtcdStatus, look: &Look) -> String {
    let kind = json::distribution_name(status.distribution());
    let endpoint = status.endpoint.as_ref().map(host_port).unwrap_or_default();
    let mut out = format!(
        "{}  {kind} {}  {}  {}, {}\n",
        look.paint(Tone::Strong, clean(&status.name)),
        clean(&status.version),
        clean(&endpoint),
        look.paint(Tone::of_state(&status.health), clean(&status.health)),
        match status.shutdown_unix {
            0 => tolerance(etcd),
            since => since_when(ms(since), look),
        },
    );
    if !status.membership.is_empty() {
        out.push_str(&format!("  membership: {}\n", clean(&status.membership)));
    }
    for reason in &status.waiting_on {
        out.push_str(&format!("  waits for: {}\n", clean(reason)));
    }
    if !status.operation.is_empty() {
        let id = clean(&status.operation);
        out.push_str(&format!("  under way: quorate operation watch {id}\n"));
    }
    out
}

/// The word stands for as long as nobody gives another one.
fn since_when(then_ms: i64, look: &Look) -> String {
    let ago = relative(look.now_ms, then_ms);
    format!("since {} ({ago})", rfc3339(then_ms))
}

/// What may still fail: the number that matters.
fn tolerance(etcd: &EtcdStatus) -> String {
    match (etcd.known, u32::try_from(etcd.failure_tolerance)) {
        (false, _) => "failure tolerance unknown".to_owned(),
        (true, Ok(number)) => format!("tolerates {}", failures(number)),
        (true, Err(_)) => {
            let missing = etcd.failure_tolerance.unsigned_abs();
            format!(
                "quorum lost: {missing} more healthy {} needed",
                if missing == 1 { "voter" } else { "voters" }
            )
        }
    }
}

fn section(out: &mut String, title: &str, line: &str, body: &str, look: &Look) {
    if body.is_empty() {
        return;
    }
    let line = if line.is_empty() {
        String::new()
    } else {
        format!("  {line}")
    };
    out.push_str(&format!("\n  {}{line}\n", look.paint(Tone::Strong, title)));
    for row in body.lines() {
        out.push_str(&format!("  {row}\n"));
    }
}

fn nodes(nodes: &[ClusterNodeStatus], look: &Look) -> String {
    const COLUMNS: &[Column] = &[
        Column::new("NAME"),
        Column::new("ROLES"),
        Column::new("ADDRESS"),
        Column::new("ZONE"),
        Column::new("AGENT"),
        Column::new("READY"),
        Column::new("PHASE"),
        Column::new("VERSION"),
        Column::text("DETAIL"),
    ];
    let mut grid = Grid::new(COLUMNS);
    for node in nodes {
        grid.row([
            (&node.name).into(),
            (&node.roles).into(),
            (&node.address).into(),
            (&node.zone).into(),
            Item::state(if node.connected { "connected" } else { "lost" }),
            Item::state(if node.ready { "yes" } else { "no" }),
            Item::state(&node.phase),
            (&node.version).into(),
            (&node.detail).into(),
        ]);
    }
    grid.render(&indented(look))
}

fn etcd_line(etcd: &EtcdStatus) -> String {
    if !etcd.known {
        return "no member gives a list that can be trusted".to_owned();
    }
    format!(
        "{} of {} voters healthy, quorum {}, learners {}",
        etcd.healthy_voters, etcd.voters, etcd.quorum, etcd.learners
    )
}

fn etcd_table(members: &[EtcdRow], look: &Look) -> String {
    const COLUMNS: &[Column] = &[
        Column::new("NAME"),
        Column::new("ROLE"),
        Column::new("HEALTH"),
        Column::new("TERM"),
        Column::new("LAG"),
        Column::new("DB SIZE"),
        Column::new("ALARMS"),
        Column::new("VERSION"),
        Column::text("DETAIL"),
        Column::wide("APPLIED"),
        Column::wide("ID"),
        Column::wide("PEER URL"),
    ];
    let mut grid = Grid::new(COLUMNS);
    for member in members {
        let role = match (member.learner, member.leader) {
            (true, _) => "learner",
            (false, true) => "leader",
            (false, false) => "voter",
        };
        let alarms = if member.alarms.is_empty() {
            Tone::Plain
        } else {
            Tone::Bad
        };
        grid.row([
            (&member.name).into(),
            role.into(),
            Item::state(member_health(member)),
            member.term.to_string().into(),
            member.lag.to_string().into(),
            bytes(member.db_size).into(),
            Item::new(alarms, &member.alarms),
            (&member.version).into(),
            (&member.detail).into(),
            member.applied_index.to_string().into(),
            format!("{:x}", member.id).into(),
            (&member.peer_url).into(),
        ]);
    }
    grid.render(&indented(look))
}

/// Health is a voter's; a learner has yet to become one.
fn member_health(member: &EtcdRow) -> &'static str {
    match (member.healthy, member.learner) {
        (true, _) => "healthy",
        (false, true) => "syncing",
        (false, false) => "unhealthy",
    }
}

fn load_balancers(balancers: &[LoadBalancerStatus], look: &Look) -> String {
    const COLUMNS: &[Column] = &[
        Column::new("NODE"),
        Column::new("STATE"),
        Column::new("FRONT END"),
        Column::new("BACK ENDS UP"),
        Column::text("DETAIL"),
    ];
    let mut grid = Grid::new(COLUMNS);
    for balancer in balancers {
        let state = if balancer.running { "up" } else { "down" };
        let mut names: Vec<&str> = balancer
            .backends
            .iter()
            .map(|b| b.frontend.as_str())
            .collect();
        names.dedup();
        if names.is_empty() {
            names.push("");
        }
        for name in names {
            let mine = || balancer.backends.iter().filter(|b| b.frontend == name);
            let (up, all) = (mine().filter(|b| b.up).count(), mine().count());
            let detail = match balancer.detail.is_empty() {
                true => down(mine()),
                false => balancer.detail.clone(),
            };
            let tone = match up {
                0 => Tone::Bad,
                _ if up < all => Tone::Warn,
                _ => Tone::Good,
            };
            grid.row([
                (&balancer.node).into(),
                Item::state(state),
                name.into(),
                Item::new(tone, format!("{up}/{all}")),
                detail.into(),
            ]);
        }
    }
    grid.render(&indented(look))
}

fn down<'a>(backends: impl Iterator<Item = &'a BackendState>) -> String {
    let line = |backend: &BackendState| match backend.detail.as_str() {
        "" => format!("{} is down", backend.name),
        detail => format!("{} is down ({detail})", backend.name),
    };
    let down: Vec<String> = backends.filter(|one| !one.up).map(line).collect();
    down.join(", ")
}

/// Those that end first.
fn certificates(all: &[CertificateStatus], look: &Look) -> (String, String) {
    const COLUMNS: &[Column] = &[
        Column::new("OWNER"),
        Column::new("NAME"),
        Column::new("ENDS"),
        Column::wide("ENDS AT"),
    ];
    let mut sorted: Vec<&CertificateStatus> = all.iter().collect();
    sorted.sort_by_key(|one| one.expires_unix);
    let shown = if look.wide {
        sorted.len()
    } else {
        CERTIFICATES_SHOWN
    };
    let mut grid = Grid::new(COLUMNS);
    for one in sorted.iter().take(shown) {
        let left = ms(one.expires_unix).saturating_sub(look.now_ms);
        let tone = match left {
            ..=0 => Tone::Bad,
            1..=SOON_MS => Tone::Warn,
            _ => Tone::Plain,
        };
        grid.row([
            (&one.owner).into(),
            (&one.name).into(),
            Item::new(tone, relative(look.now_ms, ms(one.expires_unix))),
            rfc3339(ms(one.expires_unix)).into(),
        ]);
    }
    let line = match sorted.len() {
        more if more > shown => format!("the {shown} of {more} that end first"),
        _ => String::new(),
    };
    (line, grid.render(&indented(look)))
}

/// Tables stand two columns in.
fn indented(look: &Look) -> Look {
    Look {
        width: look.width.map(|width| width.saturating_sub(2)),
        ..*look
    }
}
