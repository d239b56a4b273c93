use super::*;
use crate::facts::Running;
use crate::fixtures::{NOW, healthy, intent, name};

fn asked() -> Running {
    Running {
        on: name("n1"),
        kind: StepKind::CheckStorage,
        subject: name("n3"),
    }
}

fn told(verdict: Verdict, age: u64) -> Option<Answer> {
    Some(Answer {
        node: name("n3"),
        at: Time(NOW.0 - age),
        verdict,
    })
}

#[test]
fn one_row_a_rule() {
    let no = || Verdict::No("degraded".into());
    let silent = || Verdict::Unanswered("timeout".into());
    type Row = (&'static str, fn(&mut Facts), Option<Answer>, &'static str);
    let rows: Vec<Row> = vec![
        ("nobody was asked", |_| {}, None, "ask through n1"),
        ("being asked", |f| f.running.push(asked()), None, "asked"),
        ("a yes", |_| {}, told(Verdict::Yes, 0), "open"),
        (
            "a yes for another node",
            |_| {},
            told(Verdict::Yes, 0).map(|it| Answer {
                node: name("n2"),
                ..it
            }),
            "ask through n1",
        ),
        (
            "a yes that is old",
            |_| {},
            told(Verdict::Yes, HOLDS_MS),
            "ask through n1",
        ),
        ("a no", |_| {}, told(no(), AGAIN_MS - 1), "no: degraded"),
        (
            "a no, some time ago",
            |_| {},
            told(no(), AGAIN_MS),
            "ask through n1 no: degraded",
        ),
        (
            "a no, and asked again",
            |f| f.running.push(asked()),
            told(no(), AGAIN_MS),
            "no: degraded",
        ),
        (
            "no answer is a no",
            |_| {},
            told(silent(), 0),
            "silent: timeout",
        ),
        (
            "no answer, some time ago",
            |_| {},
            told(silent(), AGAIN_MS),
            "ask through n1 silent: timeout",
        ),
        (
            "the first member is away",
            |f| f.nodes.get_mut(&name("n1")).unwrap().connected = false,
            None,
            "ask through n2",
        ),
        (
            "nobody can be asked",
            |f| f.nodes.values_mut().for_each(|it| it.connected = false),
            None,
            "nobody",
        ),
    ];
    for (what, change, answer, expected) in rows {
        let (mut facts, mut wish) = (healthy(3), intent(3));
        wish.storage = true;
        facts.storage = answer;
        change(&mut facts);
        let said = match gate(&facts, &wish, &name("n3"), NOW) {
            Gate::Open => "open".to_owned(),
            Gate::Shut { step, waits } => {
                let step = step.map(|step| format!("ask through {}", step.nodes().0));
                let waits = waits.iter().filter_map(|wait| {
                    if let WaitingOn::StorageUnhealthy { detail, .. } = wait {
                        return Some(format!("no: {detail}"));
                    }
                    if let WaitingOn::StorageUnanswered { detail, .. } = wait {
                        return Some(format!("silent: {detail}"));
                    }
                    if matches!(wait, WaitingOn::StorageAsked(_)) {
                        return step.is_none().then(|| "asked".to_owned());
                    }
                    assert_eq!(wait, &WaitingOn::NoMemberToAsk);
                    Some("nobody".to_owned())
                });
                let waits: Vec<String> = waits.collect();
                step.into_iter().chain(waits).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(said, expected, "{what}");
        wish.storage = false;
        assert_eq!(gate(&facts, &wish, &name("n3"), NOW), Gate::Open, "{what}");
    }
}
