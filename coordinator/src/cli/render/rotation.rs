//! What `quorate endpoint rotate` would do: stages as those of a plan.

use super::plan::{nodes, nothing_to_do, remarks, stages};
use super::{Show, count};
use crate::cli::text::{Look, Tone, clean};
use crate::spec::address::host_port;
use quorate_proto::v1::{Endpoint, PlanRotationResponse};

impl Show for PlanRotationResponse {
    fn table(&self, look: &Look) -> String {
        let mut out = heading(self, look);
        out.push_str(&stages(&self.stages, look));
        out.push_str(&remarks(&self.warnings, &self.refusals, look));
        out.push_str(&summary(self, look));
        out
    }

    fn names(&self) -> Vec<String> {
        nodes(&self.stages)
    }
}

/// Nothing for a cluster that is not known: the refusal says so.
fn heading(plan: &PlanRotationResponse, look: &Look) -> String {
    if plan.cluster.is_empty() {
        return String::new();
    }
    format!(
        "Rotation of the endpoint of {}, now at revision {}\n  {}\n",
        look.paint(Tone::Strong, clean(&plan.cluster)),
        plan.revision,
        from_to(plan.from.as_ref(), plan.to.as_ref()),
    )
}

/// `10.0.0.10:6443 → 10.0.0.20:6443`.
pub fn from_to(from: Option<&Endpoint>, to: Option<&Endpoint>) -> String {
    format!("{} → {}", address(from), address(to))
}

pub fn address(endpoint: Option<&Endpoint>) -> String {
    match endpoint {
        Some(endpoint) => clean(&host_port(endpoint)).into_owned(),
        None => "?".to_owned(),
    }
}

fn summary(plan: &PlanRotationResponse, look: &Look) -> String {
    if !plan.refusals.is_empty() {
        let refused = count(plan.refusals.len(), "reason", "reasons");
        return format!("\nThis cannot be done, for {refused} (×).\n");
    }
    if plan.nothing_to_do {
        return nothing_to_do(look);
    }
    let steps = plan.stages.iter().map(|stage| stage.steps.len()).sum();
    format!(
        "\n{} in {}.\n",
        count(steps, "step", "steps"),
        count(plan.stages.len(), "stage", "stages"),
    )
}
