//! What `quorate cluster stop` and `quorate cluster start` would do.

use super::plan::{nodes, remarks, stages};
use super::{Show, count};
use crate::cli::text::{Look, Tone, clean};
use quorate_proto::v1::PlanPowerResponse;

impl Show for PlanPowerResponse {
    fn table(&self, look: &Look) -> String {
        let cluster = look.paint(Tone::Strong, clean(&self.cluster));
        if self.nothing_to_do {
            let state = if self.on { "runs" } else { "is stopped" };
            return format!("{cluster} {state} already.\n");
        }
        let what = if self.on { "Start" } else { "Stop" };
        let mut out = format!("{what} of {cluster}, now at revision {}\n", self.revision);
        out.push_str(&stages(&self.stages, look));
        out.push_str(&remarks(&self.warnings, &self.refusals, look));
        if !self.refusals.is_empty() {
            let refused = count(self.refusals.len(), "reason", "reasons");
            out.push_str(&format!("\nThis cannot be done, for {refused} (×).\n"));
        }
        out
    }

    fn names(&self) -> Vec<String> {
        nodes(&self.stages)
    }
}
