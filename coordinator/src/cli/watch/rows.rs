//! Which nodes a live view shows. A terminal has few rows: those at work come first.

use crate::cli::text::{Look, Tone, clean, flat};
use quorate_proto::v1::NodeProgress;

/// Rows that leave room for what stands above on a small terminal.
pub const ROWS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Failed,
    Working,
    Waiting,
    Ready,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub state: State,
    pub text: String,
}

fn state(node: &NodeProgress) -> State {
    match node.phase.as_str() {
        "failed" => State::Failed,
        "ready" => State::Ready,
        "waiting" => State::Waiting,
        _ => State::Working,
    }
}

/// One row a node, in the order of names, while all fit; otherwise the most urgent ones and a count of the rest.
pub fn rows<'a>(nodes: impl Iterator<Item = &'a NodeProgress>, look: &Look) -> Vec<Row> {
    let mut all: Vec<(State, &NodeProgress)> = nodes.map(|node| (state(node), node)).collect();
    let hidden = all.len().saturating_sub(ROWS);
    if hidden > 0 {
        all.sort_by_key(|(state, node)| (*state, &node.node));
    }
    let rest = all.split_off(all.len().min(ROWS));
    let shown: Vec<_> = all.iter().map(|(_, node)| clean(&node.node)).collect();
    let width = shown
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or_default();
    let mut rows: Vec<Row> = all
        .iter()
        .zip(&shown)
        .map(|((state, node), name)| Row {
            state: *state,
            text: text(*state, node, name, width, look),
        })
        .collect();
    if hidden > 0 {
        rows.push(others(&rest));
    }
    rows
}

fn text(state: State, node: &NodeProgress, name: &str, width: usize, look: &Look) -> String {
    let tone = match state {
        State::Failed => Tone::Bad,
        State::Working => Tone::Strong,
        State::Waiting => Tone::Dim,
        State::Ready => Tone::Good,
    };
    let phase = look.paint(tone, format!("{:9}", clean(&node.phase)));
    let detail = match &node.problem {
        Some(problem) => flat(&problem.what),
        None => flat(&node.detail),
    };
    format!("{name:width$}  {phase}  {detail}")
        .trim_end()
        .to_owned()
}

fn others(rest: &[(State, &NodeProgress)]) -> Row {
    let number = |wanted: State| rest.iter().filter(|(state, _)| *state == wanted).count();
    let parts: Vec<String> = [
        (State::Failed, "failed"),
        (State::Working, "at work"),
        (State::Waiting, "waiting"),
        (State::Ready, "ready"),
    ]
    .into_iter()
    .map(|(state, word)| (number(state), word))
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    let state = rest
        .iter()
        .map(|(state, _)| *state)
        .min()
        .unwrap_or(State::Ready);
    Row {
        state,
        text: format!("and {} more: {}", rest.len(), parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Problem;

    const LOOK: Look = Look {
        color: false,
        width: None,
        wide: false,
        now_ms: 0,
    };

    fn node(name: &str, phase: &str, detail: &str) -> NodeProgress {
        NodeProgress {
            node: name.into(),
            phase: phase.into(),
            detail: detail.into(),
            problem: None,
        }
    }

    #[test]
    fn few_nodes_keep_their_places() {
        let mut failed = node("w1", "failed", "ignored");
        failed.problem = Some(Problem::new("x", "disk\x07 full"));
        let nodes = [
            node("cp1", "ready", ""),
            node("cp-22", "join", "promotes"),
            failed,
        ];
        let rows = rows(nodes.iter(), &LOOK);
        let shown: Vec<(State, &str)> = rows.iter().map(|r| (r.state, r.text.as_str())).collect();
        assert_eq!(
            shown,
            [
                (State::Ready, "cp1    ready"),
                (State::Working, "cp-22  join       promotes"),
                (State::Failed, "w1     failed     disk\\u{7} full"),
            ]
        );
    }

    #[test]
    fn many_nodes_show_the_urgent_ones() {
        let mut nodes: Vec<NodeProgress> = (0..100)
            .map(|i| node(&format!("w{i:03}"), "ready", ""))
            .collect();
        nodes[70].phase = "install".into();
        nodes[80].phase = "failed".into();
        nodes[99].phase = "waiting".into();
        let rows = rows(nodes.iter(), &LOOK);
        assert_eq!(rows.len(), ROWS + 1);
        assert!(rows[0].text.starts_with("w080"), "{:?}", rows[0]);
        assert!(rows[1].text.starts_with("w070"), "{:?}", rows[1]);
        assert!(rows[2].text.starts_with("w099"), "{:?}", rows[2]);
        assert_eq!(rows[ROWS].text, "and 84 more: 84 ready");
        assert_eq!(rows[ROWS].state, State::Ready);
    }
}
