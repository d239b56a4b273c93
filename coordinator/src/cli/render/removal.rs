//! What `quorate node remove` and `quorate node replace` would do: stages as those of a plan, and what they do to the quorum.

use super::plan::{nodes, quorum, remarks, section, stages};
use super::{Show, count};
use crate::cli::text::{Look, Tone, clean};
use quorate_proto::v1::PlanRemovalResponse;

impl Show for PlanRemovalResponse {
    fn table(&self, look: &Look) -> String {
        let mut out = heading(self, look);
        out.push_str(&stages(&self.stages, look));
        section(&mut out, "Quorum", &quorum(&self.quorum, look), look);
        out.push_str(&remarks(&self.warnings, &self.refusals, look));
        out.push_str(&summary(self));
        out
    }

    fn names(&self) -> Vec<String> {
        nodes(&self.stages)
    }
}

/// Nothing for a node that no cluster has: the refusal says so.
fn heading(plan: &PlanRemovalResponse, look: &Look) -> String {
    if plan.cluster.is_empty() {
        return String::new();
    }
    let node = look.paint(Tone::Strong, clean(&plan.node));
    let what = match plan.successor.as_str() {
        "" => format!("Removal of {node}"),
        same if same == plan.node => format!("Replacement of {node} by a machine of the same name"),
        new => format!("Replacement of {node} by {}", clean(new)),
    };
    let (cluster, revision) = (clean(&plan.cluster), plan.revision);
    format!("{what}, in {cluster}, now at revision {revision}\n")
}

fn summary(plan: &PlanRemovalResponse) -> String {
    if !plan.refusals.is_empty() {
        let refused = count(plan.refusals.len(), "reason", "reasons");
        return format!("\nThis cannot be done, for {refused} (×).\n");
    }
    let steps = plan.stages.iter().map(|stage| stage.steps.len()).sum();
    format!(
        "\n{} in {}; then its certificate is taken back.\n",
        count(steps, "step", "steps"),
        count(plan.stages.len(), "stage", "stages"),
    )
}
