//! `quorate plan`: what would be done, in which order, and what it does to the quorum.

use super::{Show, count};
use crate::cli::failure::problem_lines;
use crate::cli::text::{Column, Grid, Item, Look, Tone, clean};
use quorate_proto::v1::{PlanResponse, PlanStage, PlanStep, Problem, QuorumEffect, ZoneEffect};

/// More nodes than this with one and the same step share a line, unless `-o wide`.
pub(super) const NODES_A_LINE: usize = 5;

impl Show for PlanResponse {
    fn table(&self, look: &Look) -> String {
        let mut out = String::new();
        out.push_str(&heading(self, look));
        out.push_str(&stages(&self.stages, look));
        section(&mut out, "Quorum", &quorum(&self.quorum, look), look);
        section(
            &mut out,
            "If a zone is lost",
            &zones(&self.zones, look),
            look,
        );
        out.push_str(&remarks(&self.warnings, &self.refusals, look));
        out.push_str(&summary(self, look));
        out
    }

    fn names(&self) -> Vec<String> {
        nodes(&self.stages)
    }
}

/// Those with something to do, in the order of their first step.
pub(super) fn nodes(stages: &[PlanStage]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for step in stages.iter().flat_map(|stage| &stage.steps) {
        if !names.contains(&step.node) {
            names.push(step.node.clone());
        }
    }
    names
}

fn heading(plan: &PlanResponse, look: &Look) -> String {
    if plan.cluster.is_empty() {
        return String::new();
    }
    let name = look.paint(Tone::Strong, clean(&plan.cluster));
    match plan.revision {
        0 => format!("Plan for {name}, a new cluster\n"),
        revision => format!("Plan for {name}, now at revision {revision}\n"),
    }
}

pub(super) fn stages(stages: &[PlanStage], look: &Look) -> String {
    if stages.is_empty() {
        return String::new();
    }
    let lines: Vec<Vec<Line>> = stages.iter().map(|stage| lines(stage, look)).collect();
    let width = |of: fn(&Line) -> &str| {
        let cells = lines.iter().flatten().map(|line| of(line).chars().count());
        cells.max().unwrap_or_default()
    };
    let (nodes, actions) = (width(|line| &line.nodes), width(|line| &line.action));
    let numbers = stages.len().to_string().len();
    let mut out = String::from("\n");
    for (at, stage) in lines.iter().enumerate() {
        for (row, line) in stage.iter().enumerate() {
            let number = if row == 0 {
                (at + 1).to_string()
            } else {
                String::new()
            };
            let beside = if line.beside { "│" } else { " " };
            let change = if line.change { "!" } else { " " };
            let text = format!(
                "  {number:>numbers$} {beside}{} {:nodes$}  {:actions$}  {}",
                look.paint(Tone::Warn, change),
                line.nodes,
                line.action,
                look.paint(Tone::Dim, &line.detail),
            );
            out.push_str(text.trim_end());
            out.push('\n');
        }
    }
    let marks = legend(&lines);
    if !marks.is_empty() {
        out.push_str(&look.paint(Tone::Dim, format!("  {marks}")));
        out.push('\n');
    }
    out
}

struct Line {
    nodes: String,
    action: String,
    detail: String,
    beside: bool,
    change: bool,
}

fn legend(lines: &[Vec<Line>]) -> String {
    let any = |test: fn(&Line) -> bool| lines.iter().flatten().any(test);
    let mut marks = Vec::new();
    if any(|line| line.beside) {
        marks.push("│ side by side");
    }
    if any(|line| line.change) {
        marks.push("! changes the membership, one at a time");
    }
    marks.join("   ")
}

fn lines(stage: &PlanStage, look: &Look) -> Vec<Line> {
    let beside = stage.steps.len() > 1;
    groups(&stage.steps, look.wide)
        .into_iter()
        .filter_map(|group| {
            let first = group.first()?;
            Some(Line {
                nodes: node_names(&group),
                action: clean(&first.action).into_owned(),
                detail: clean(&first.detail).into_owned(),
                beside,
                change: first.membership_change,
            })
        })
        .collect()
}

/// Steps that share a line: many nodes with the same to do.
fn groups(steps: &[PlanStep], wide: bool) -> Vec<Vec<&PlanStep>> {
    let same = |a: &PlanStep, b: &PlanStep| {
        (&a.action, &a.detail, a.membership_change) == (&b.action, &b.detail, b.membership_change)
    };
    let mut groups: Vec<Vec<&PlanStep>> = Vec::new();
    for step in steps {
        match groups
            .iter_mut()
            .find(|group| group.first().is_some_and(|first| same(first, step)))
        {
            Some(group) => group.push(step),
            None => groups.push(vec![step]),
        }
    }
    if wide || groups.iter().all(|group| group.len() <= NODES_A_LINE) {
        return steps.iter().map(|step| vec![step]).collect();
    }
    groups
}

fn node_names(group: &[&PlanStep]) -> String {
    let names: Vec<_> = group.iter().map(|step| step.node.as_str()).collect();
    short_list(&names)
}

/// Many names by the first, the last and their number.
pub(super) fn short_list(names: &[&str]) -> String {
    match names {
        [first, _, .., last] if names.len() > NODES_A_LINE => {
            format!("{} … {} ({})", clean(first), clean(last), names.len())
        }
        _ => clean(&names.join(", ")).into_owned(),
    }
}

pub(super) fn quorum(effects: &[QuorumEffect], look: &Look) -> String {
    const COLUMNS: &[Column] = &[
        Column::new("CHANGE"),
        Column::new("VOTERS"),
        Column::new("QUORUM"),
        Column::new("TOLERATES"),
    ];
    let mut grid = Grid::new(COLUMNS);
    for effect in effects {
        grid.row([
            (&effect.change).into(),
            effect.voters.to_string().into(),
            effect.quorum.to_string().into(),
            failures(effect.tolerance).into(),
        ]);
    }
    grid.render(look)
}

pub fn failures(tolerance: u32) -> String {
    match tolerance {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        more => format!("{more} failures"),
    }
}

fn zones(zones: &[ZoneEffect], look: &Look) -> String {
    const COLUMNS: &[Column] = &[
        Column::new("ZONE"),
        Column::new("VOTERS LOST"),
        Column::new("VOTERS LEFT"),
        Column::new("QUORUM KEPT"),
    ];
    let mut grid = Grid::new(COLUMNS);
    for zone in zones {
        grid.row([
            (&zone.zone).into(),
            zone.voters_lost.to_string().into(),
            zone.voters_left.to_string().into(),
            Item::state(if zone.quorum_kept { "yes" } else { "no" }),
        ]);
    }
    grid.render(look)
}

pub(super) fn section(out: &mut String, title: &str, body: &str, look: &Look) {
    if body.is_empty() {
        return;
    }
    out.push_str(&format!("\n{}\n", look.paint(Tone::Strong, title)));
    for line in body.lines() {
        out.push_str(&format!("  {line}\n"));
    }
}

/// What is doubtful about a plan, and what forbids it.
pub(super) fn remarks(warnings: &[String], refusals: &[Problem], look: &Look) -> String {
    let mut out = String::new();
    if !warnings.is_empty() {
        out.push('\n');
    }
    for warning in warnings {
        let mark = look.paint(Tone::Warn, "‼");
        out.push_str(&format!("{mark} {}\n", clean(warning)));
    }
    if !refusals.is_empty() {
        out.push('\n');
    }
    for refusal in refusals {
        let mark = look.paint(Tone::Bad, "×");
        out.push_str(&format!("{mark} {}", problem_lines(refusal, "    ", look)));
    }
    out
}

pub(super) fn nothing_to_do(look: &Look) -> String {
    format!("{} Nothing to do.\n", look.paint(Tone::Good, "✓"))
}

fn summary(plan: &PlanResponse, look: &Look) -> String {
    if !plan.refusals.is_empty() {
        let refused = count(plan.refusals.len(), "reason", "reasons");
        return format!("\nThis cannot be applied, for {refused} (×).\n");
    }
    if plan.nothing_to_do {
        return nothing_to_do(look);
    }
    let steps = || plan.stages.iter().flat_map(|stage| &stage.steps);
    let changes = steps().filter(|step| step.membership_change).count();
    format!(
        "\n{} in {}, {}.\n",
        count(steps().count(), "step", "steps"),
        count(plan.stages.len(), "stage", "stages"),
        count(changes, "membership change", "membership changes"),
    )
}
