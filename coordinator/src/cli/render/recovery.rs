//! What `quorate recover` would do.

use super::plan::remarks;
use super::{Show, count};
use crate::cli::text::units::rfc3339;
use crate::cli::text::{Look, Tone, clean};
use quorate_proto::v1::PlanRecoveryResponse;

impl Show for PlanRecoveryResponse {
    fn table(&self, look: &Look) -> String {
        let cluster = look.paint(Tone::Strong, clean(&self.cluster));
        let mut out = format!("Recovery of {cluster}, now at revision {}\n", self.revision);
        let mut line = |what: &str, names: &[String]| {
            if !names.is_empty() {
                out.push_str(&format!("  {what}: {}\n", clean(&names.join(", "))));
            }
        };
        if let Some(info) = &self.snapshot {
            let of = format!(
                "{} of {}, revision {}",
                info.id,
                rfc3339(info.taken_unix_ms),
                info.revision
            );
            let last = match self.last_revision {
                0 => of,
                last => format!("{of} (last known: {last})"),
            };
            line("back to snapshot", &[last]);
        }
        let source = match (self.applied_index, &self.snapshot) {
            (0, _) | (_, Some(_)) => self.source.clone(),
            (applied, None) => format!("{} (index {applied})", self.source),
        };
        let source = if self.source.is_empty() {
            Vec::new()
        } else {
            vec![source]
        };
        line("becomes the only member", &source);
        line("reset, then join again", &self.rejoin);
        line("taken out of the cluster", &self.lost);
        out.push_str(&remarks(&self.warnings, &self.refusals, look));
        if !self.refusals.is_empty() {
            let refused = count(self.refusals.len(), "reason", "reasons");
            out.push_str(&format!("\nThis cannot be done, for {refused} (×).\n"));
        }
        out
    }

    fn names(&self) -> Vec<String> {
        let source = Some(self.source.clone()).filter(|it| !it.is_empty());
        source.into_iter().collect()
    }
}
