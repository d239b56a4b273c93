//! `quorate endpoint show`: where a cluster is reached, and every place that says so.

use super::plan::short_list;
use super::rotation::{address, from_to};
use super::{Show, count};
use crate::cli::text::units::{relative, rfc3339};
use crate::cli::text::{Column, Grid, Item, Look, Tone, clean};
use quorate_proto::v1::{EndpointCarrier, MemberNames, RotationInfo, ShowEndpointResponse};

/// How an object of the cluster, which is on no node, is shown.
const NO_NODE: &str = "(cluster)";

impl Show for ShowEndpointResponse {
    fn table(&self, look: &Look) -> String {
        let mut out = format!(
            "{}  {}{}\n",
            look.paint(Tone::Strong, clean(&self.cluster)),
            address(self.endpoint.as_ref()),
            served_by(&self.served_by),
        );
        if let Some(rotation) = &self.rotation {
            out.push_str(&under_way(rotation, look));
        }
        section(&mut out, "Places", &carriers(&self.carriers, look), look);
        section(
            &mut out,
            "Serving names",
            &members(&self.members, look),
            look,
        );
        out.push_str(&left_to_you(&self.carriers, look));
        out.push_str(&summary(self, look));
        out
    }

    /// NODE:PLACE of each carrier.
    fn names(&self) -> Vec<String> {
        let name = |one: &EndpointCarrier| format!("{}:{}", node(one), one.place);
        self.carriers.iter().map(name).collect()
    }
}

/// What scripts ask: is everything known, and does nothing hold another address?
pub fn in_line(answer: &ShowEndpointResponse) -> bool {
    answer.carriers.iter().all(fine) && answer.members.iter().all(complete)
}

/// What a repair is about: the places that hold another address, and members that lack names.
pub fn strays(answer: &ShowEndpointResponse, look: &Look) -> String {
    let stray = answer.carriers.iter().filter(|one| one.state == "stray");
    let lacking = answer
        .members
        .iter()
        .filter(|one| one.known && !one.missing.is_empty());
    let mut out = String::new();
    let strays: Vec<EndpointCarrier> = stray.cloned().collect();
    out.push_str(&carriers(&strays, look));
    for member in lacking {
        let missing = member.missing.join(", ");
        out.push_str(&format!(
            "{} does not serve as {}\n",
            clean(&member.node),
            clean(&missing)
        ));
    }
    let cluster = clean(&answer.cluster);
    let endpoint = address(answer.endpoint.as_ref());
    match out.is_empty() {
        true => {
            format!("Nothing is known to be astray in {cluster}, whose endpoint is {endpoint}.\n")
        }
        false => format!("Astray in {cluster}, whose endpoint is {endpoint}:\n\n{out}"),
    }
}

/// Known states are listed: what a newer coordinator may say is not taken for well.
fn fine(carrier: &EndpointCarrier) -> bool {
    matches!(
        carrier.state.as_str(),
        "in-line" | "local" | "earlier" | "outside"
    )
}

fn complete(member: &MemberNames) -> bool {
    member.known && member.missing.is_empty()
}

fn node(carrier: &EndpointCarrier) -> &str {
    match carrier.node.as_str() {
        "" => NO_NODE,
        name => name,
    }
}

fn served_by(word: &str) -> String {
    match word {
        "" => String::new(),
        "first-member" => ", served by the first member".to_owned(),
        "managed" => ", served by load balancers of quorate".to_owned(),
        "external" => ", served by something outside of quorate".to_owned(),
        other => format!(", served by {}", clean(other)),
    }
}

fn under_way(rotation: &RotationInfo, look: &Look) -> String {
    let direction = if rotation.rolling_back {
        look.paint(Tone::Warn, ", rolling back")
    } else {
        String::new()
    };
    let mut out = format!(
        "  rotation: {}, stage {}{direction}\n",
        from_to(rotation.from.as_ref(), rotation.to.as_ref()),
        look.paint(Tone::Strong, clean(&rotation.stage)),
    );
    for reason in &rotation.waiting_on {
        out.push_str(&format!("  waits for: {}\n", clean(reason)));
    }
    if !rotation.behind.is_empty() {
        let nodes = clean(&rotation.behind.join(", ")).into_owned();
        let nodes = look.paint(Tone::Warn, nodes);
        out.push_str(&format!(
            "  behind: {nodes} (brought along when reachable)\n"
        ));
    }
    let end = rotation.soak_ends_unix_ms;
    if end != 0 {
        let when = relative(look.now_ms, end);
        out.push_str(&format!("  soak ends: {when} ({})\n", rfc3339(end)));
    }
    if !rotation.operation.is_empty() {
        let id = clean(&rotation.operation);
        out.push_str(&format!("  under way: quorate operation watch {id}\n"));
    }
    out
}

fn carriers(all: &[EndpointCarrier], look: &Look) -> String {
    const COLUMNS: &[Column] = &[
        Column::new("NODE"),
        Column::path("PLACE"),
        Column::new("VALUE"),
        Column::new("STATE"),
        Column::wide("NEXT"),
    ];
    let mut grid = Grid::new(COLUMNS);
    for (nodes, one) in grouped(all, look) {
        grid.row([
            nodes.into(),
            (&one.place).into(),
            (&one.value).into(),
            Item::state(&one.state),
            (&one.next).into(),
        ]);
    }
    grid.render(&indented(look))
}

/// Many nodes whose place says the same share a line, unless `-o wide`.
fn grouped<'a>(all: &'a [EndpointCarrier], look: &Look) -> Vec<(String, &'a EndpointCarrier)> {
    type Group<'a> = (Vec<&'a str>, &'a EndpointCarrier);
    let same = |a: &EndpointCarrier, b: &EndpointCarrier| {
        (&a.place, &a.value, &a.state, &a.next) == (&b.place, &b.value, &b.state, &b.next)
    };
    let mut groups: Vec<Group<'_>> = Vec::new();
    for one in all {
        match groups.iter_mut().find(|(_, first)| same(first, one)) {
            Some((nodes, _)) => nodes.push(node(one)),
            None => groups.push((vec![node(one)], one)),
        }
    }
    let many = |(nodes, _): &Group<'_>| nodes.len() > super::plan::NODES_A_LINE;
    if look.wide || !groups.iter().any(many) {
        return all.iter().map(|one| (node(one).to_owned(), one)).collect();
    }
    groups
        .into_iter()
        .map(|(nodes, one)| (short_list(&nodes), one))
        .collect()
}

fn members(all: &[MemberNames], look: &Look) -> String {
    const COLUMNS: &[Column] = &[
        Column::new("NODE"),
        Column::new("COUNT"),
        Column::text("MISSING"),
        Column::wide("NAMES"),
    ];
    let mut grid = Grid::new(COLUMNS);
    for member in all {
        let (number, missing) = match (member.known, member.missing.is_empty()) {
            (false, _) => (String::new(), Item::state("unknown")),
            (true, true) => (member.names.len().to_string(), "".into()),
            (true, false) => (
                member.names.len().to_string(),
                Item::new(Tone::Bad, member.missing.join(", ")),
            ),
        };
        grid.row([
            (&member.node).into(),
            number.into(),
            missing,
            member.names.join(", ").into(),
        ]);
    }
    grid.render(&indented(look))
}

/// What quorate does not do itself. Sentences, which would not fit into a column.
fn left_to_you(all: &[EndpointCarrier], look: &Look) -> String {
    let mut out = String::new();
    for (nodes, one) in grouped(all, look) {
        if one.next.is_empty() {
            continue;
        }
        let mark = look.paint(Tone::Warn, "‼");
        let (place, value) = (clean(&one.place), clean(&one.value));
        let next = look.paint(Tone::Dim, "next: ");
        out.push_str(&format!(
            "{mark} {}  {place}: {value}\n    {next}{}\n",
            clean(&nodes),
            clean(&one.next)
        ));
    }
    if out.is_empty() {
        return out;
    }
    format!("\n{out}")
}

fn summary(answer: &ShowEndpointResponse, look: &Look) -> String {
    let mut states: Vec<(&str, usize)> = Vec::new();
    for one in &answer.carriers {
        match states.iter_mut().find(|(state, _)| *state == one.state) {
            Some((_, number)) => *number += 1,
            None => states.push((&one.state, 1)),
        }
    }
    let mut parts: Vec<String> = states
        .iter()
        .map(|(state, number)| format!("{number} {}", clean(state)))
        .collect();
    let lacking = answer.members.iter().filter(|one| !complete(one)).count();
    if lacking > 0 {
        parts.push(format!(
            "{lacking} of {} without all names",
            count(answer.members.len(), "member", "members")
        ));
    }
    let mark = if in_line(answer) {
        look.paint(Tone::Good, "✓")
    } else {
        look.paint(Tone::Bad, "×")
    };
    if parts.is_empty() {
        // Of an etcd cluster only the certificates carry the address.
        let members = count(answer.members.len(), "member", "members");
        return format!("\n{mark} {members} with all names\n");
    }
    let places = count(answer.carriers.len(), "place", "places");
    format!("\n{mark} {places}: {}\n", parts.join(", "))
}

fn section(out: &mut String, title: &str, body: &str, look: &Look) {
    if body.is_empty() {
        return;
    }
    out.push_str(&format!("\n  {}\n", look.paint(Tone::Strong, title)));
    for row in body.lines() {
        out.push_str(&format!("  {row}\n"));
    }
}

/// Tables stand two columns in.
fn indented(look: &Look) -> Look {
    Look {
        width: look.width.map(|width| width.saturating_sub(2)),
        ..*look
    }
}
