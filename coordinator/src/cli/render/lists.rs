//! Plain lists: tokens, certificates, the audit trail, artifacts.

use super::Show;
use crate::cli::text::units::{bytes, ms, relative, rfc3339};
use crate::cli::text::{Column, Grid, Item, Look, json};
use quorate_proto::v1::{
    ListArtifactsResponse, ListAuditResponse, ListCertificatesResponse, ListSnapshotsResponse,
    ListTokensResponse,
};

impl Show for ListTokensResponse {
    fn table(&self, look: &Look) -> String {
        const COLUMNS: &[Column] = &[
            Column::new("ID"),
            Column::new("STATE"),
            Column::new("NODE"),
            Column::new("EXPIRES"),
            Column::new("USED BY"),
            Column::wide("CREATED"),
            Column::wide("EXPIRES AT"),
        ];
        let mut grid = Grid::new(COLUMNS);
        for token in &self.tokens {
            let node = if token.node.is_empty() {
                "any"
            } else {
                &token.node
            };
            grid.row([
                (&token.id).into(),
                Item::state(&token.state),
                node.into(),
                relative(look.now_ms, ms(token.expires_unix)).into(),
                (&token.used_by).into(),
                rfc3339(ms(token.created_unix)).into(),
                rfc3339(ms(token.expires_unix)).into(),
            ]);
        }
        or_none(&grid, look, "No tokens. Make one: quorate token create")
    }

    fn names(&self) -> Vec<String> {
        self.tokens.iter().map(|token| token.id.clone()).collect()
    }
}

impl Show for ListSnapshotsResponse {
    fn table(&self, look: &Look) -> String {
        const COLUMNS: &[Column] = &[
            Column::new("CLUSTER"),
            Column::new("ID"),
            Column::new("TAKEN"),
            Column::new("NODE"),
            Column::new("SIZE"),
            Column::new("REVISION"),
            Column::path("FILE"),
            Column::wide("ETCD"),
            Column::wide("TAKEN AT"),
            Column::wide("SHA-256"),
        ];
        let mut grid = Grid::new(COLUMNS);
        for line in &self.snapshots {
            let info = line.snapshot.clone().unwrap_or_default();
            let node = match line.connected {
                true => line.node.clone(),
                false => format!("{} (away)", line.node),
            };
            grid.row([
                (&line.cluster).into(),
                (&info.id).into(),
                relative(look.now_ms, info.taken_unix_ms).into(),
                node.into(),
                bytes(info.bytes).into(),
                info.revision.to_string().into(),
                (&info.place).into(),
                (&info.etcd_version).into(),
                rfc3339(info.taken_unix_ms).into(),
                (&info.sha256).into(),
            ]);
        }
        or_none(
            &grid,
            look,
            "No snapshots. Take one: quorate snapshot create",
        )
    }

    fn names(&self) -> Vec<String> {
        let ids = self
            .snapshots
            .iter()
            .filter_map(|line| line.snapshot.as_ref());
        let mut names: Vec<String> = ids.map(|info| info.id.clone()).collect();
        names.dedup();
        names
    }
}

impl Show for ListCertificatesResponse {
    fn table(&self, look: &Look) -> String {
        const COLUMNS: &[Column] = &[
            Column::new("IDENTITY"),
            Column::new("STATE"),
            Column::new("EXPIRES"),
            Column::new("SERIAL"),
            Column::wide("ISSUED AT"),
            Column::wide("EXPIRES AT"),
        ];
        let mut grid = Grid::new(COLUMNS);
        for one in &self.certificates {
            let state = match (one.revoked, ms(one.expires_unix) <= look.now_ms) {
                (true, _) => "revoked",
                (false, true) => "expired",
                (false, false) => "live",
            };
            grid.row([
                (&one.identity).into(),
                Item::state(state),
                relative(look.now_ms, ms(one.expires_unix)).into(),
                (&one.serial).into(),
                rfc3339(ms(one.issued_unix)).into(),
                rfc3339(ms(one.expires_unix)).into(),
            ]);
        }
        or_none(&grid, look, "No certificates were issued.")
    }

    fn names(&self) -> Vec<String> {
        self.certificates
            .iter()
            .map(|one| one.serial.clone())
            .collect()
    }
}

impl Show for ListAuditResponse {
    fn table(&self, look: &Look) -> String {
        const COLUMNS: &[Column] = &[
            Column::new("TIME"),
            Column::new("WHO"),
            Column::new("WHAT"),
            Column::text("DETAIL"),
            Column::wide("SEQUENCE"),
        ];
        let mut grid = Grid::new(COLUMNS);
        for entry in &self.entries {
            grid.row([
                rfc3339(entry.unix_ms).into(),
                (&entry.who).into(),
                (&entry.what).into(),
                (&entry.detail).into(),
                entry.sequence.to_string().into(),
            ]);
        }
        or_none(&grid, look, "Nothing happened yet.")
    }

    fn names(&self) -> Vec<String> {
        self.entries
            .iter()
            .map(|entry| entry.sequence.to_string())
            .collect()
    }
}

impl Show for ListArtifactsResponse {
    fn table(&self, look: &Look) -> String {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("KIND"),
            Column::new("SIZE"),
            Column::text("PACKAGE OR IMAGES"),
            Column::new("VERSION"),
            Column::wide("DIGEST"),
        ];
        let mut grid = Grid::new(COLUMNS);
        for one in &self.artifacts {
            let content = if one.images.is_empty() {
                one.package.clone()
            } else {
                one.images.join(", ")
            };
            grid.row([
                (&one.name).into(),
                json::artifact_kind_name(one.kind()).into(),
                bytes(one.size).into(),
                content.into(),
                (&one.version).into(),
                (&one.digest).into(),
            ]);
        }
        or_none(
            &grid,
            look,
            "No artifacts. Add some: quorate artifacts add PATH",
        )
    }

    fn names(&self) -> Vec<String> {
        self.artifacts.iter().map(|one| one.name.clone()).collect()
    }
}

/// The table, or a sentence in place of an empty one.
pub fn or_none(grid: &Grid, look: &Look, none: &str) -> String {
    if grid.is_empty() {
        format!("{none}\n")
    } else {
        grid.render(look)
    }
}
