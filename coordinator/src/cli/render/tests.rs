//! Renderings as they are to look, and that nothing in an answer can act on a terminal.

mod rotation;

use super::Show;
use crate::cli::samples;
use crate::cli::text::Look;
use quorate_proto::v1::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const LOOK: Look = Look {
    color: false,
    width: Some(100),
    wide: false,
    now_ms: samples::NOW_MS,
};

#[test]
fn plan() {
    assert_eq!(
        samples::plan().table(&LOOK),
        "\
Plan for prod, a new cluster

  1 │  cp1  preflight    ports, packages, clock
    │  cp2  preflight    ports, packages, clock
  2 │  cp1  install      kubeadm, kubelet, containerd
    │  cp2  install      kubeadm, kubelet, containerd
  3  ! cp1  init         forms a cluster of one
  4  ! cp2  add-learner  adds it as a learner through cp1
  5  ! cp2  promote      makes it a voter through cp1
  │ side by side   ! changes the membership, one at a time

Quorum
  CHANGE     VOTERS  QUORUM  TOLERATES
  cp1 votes  1       1       no failure
  cp2 votes  2       2       no failure

If a zone is lost
  ZONE  VOTERS LOST  VOTERS LEFT  QUORUM KEPT
  a     1            1            no
  b     1            1            no

‼ 2 voters tolerate no more failures than 1

7 steps in 5 stages, 3 membership changes.
"
    );
}

#[test]
fn plan_of_nothing() {
    let plan = PlanResponse {
        cluster: "prod".into(),
        revision: 3,
        nothing_to_do: true,
        ..PlanResponse::default()
    };
    assert_eq!(
        plan.table(&LOOK),
        "Plan for prod, now at revision 3\n✓ Nothing to do.\n"
    );
}

#[test]
fn refused_plan() {
    let plan = PlanResponse {
        cluster: "prod".into(),
        revision: 3,
        refusals: vec![
            Problem::new("refused-omission", "cp3 is not in the file")
                .at("cluster file, nodes")
                .next("put it back"),
        ],
        ..PlanResponse::default()
    };
    assert_eq!(
        plan.table(&LOOK),
        "\
Plan for prod, now at revision 3

× cp3 is not in the file
    where: cluster file, nodes
    next:  put it back

This cannot be applied, for 1 reason (×).
"
    );
}

#[test]
fn many_workers_share_a_line() {
    let mut steps: Vec<PlanStep> = (1..=300)
        .map(|i| samples::step(&format!("w{i:03}"), "join", "as a worker", false))
        .collect();
    steps.push(samples::step("cp2", "promote", "", true));
    let plan = PlanResponse {
        stages: vec![PlanStage { steps }],
        ..PlanResponse::default()
    };
    let text = plan.table(&LOOK);
    assert!(
        text.contains(
            "  1 │  w001 … w300 (300)  join     as a worker\n    │! cp2                promote\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("301 steps in 1 stage, 1 membership change."),
        "{text}"
    );
    let wide = plan.table(&Look { wide: true, ..LOOK });
    assert!(wide.contains("w150") && wide.lines().count() > 300);
}

#[test]
fn status() {
    assert_eq!(
        samples::status().table(&LOOK),
        "\
prod  kubeadm v1.33.13  10.0.0.10:6443  degraded, tolerates no failure
  membership: promote of cp3 holds the slot
  waits for: cp3 to be in sync
  under way: quorate operation watch 01k9

  Nodes
  NAME  ROLES   ADDRESS    ZONE  AGENT      READY  PHASE  VERSION   DETAIL
  cp1   member  10.0.0.11  a     connected  yes    ready  v1.33.13  -
  cp2   member  10.0.0.12  a     connected  yes    ready  v1.33.13  -
  cp3   member  10.0.0.13  a     connected  no     join   v1.33.13  in sync in about 2 s

  etcd  2 of 2 voters healthy, quorum 2, learners 1
  NAME  ROLE     HEALTH   TERM  LAG  DB SIZE   ALARMS  VERSION  DETAIL
  cp1   leader   healthy  3     0    20.5 MiB  -       3.5.24   -
  cp2   voter    healthy  3     0    20.5 MiB  -       3.5.24   -
  cp3   learner  syncing  3     14   20.5 MiB  -       3.5.24   -

  Load balancers
  NODE  STATE  FRONT END       BACK ENDS UP  DETAIL
  lb1   up     kube-apiserver  2/3           cp3 is down (L4CON)

  Certificates
  OWNER  NAME       ENDS
  cp1    agent      in 3d
  cp2    apiserver  in 300d
"
    );
}

#[test]
fn tolerance_is_said_in_words() {
    for (known, tolerance, want) in [
        (false, 0, "failure tolerance unknown"),
        (true, 0, "tolerates no failure"),
        (true, 1, "tolerates 1 failure"),
        (true, 2, "tolerates 2 failures"),
        (true, -1, "quorum lost: 1 more healthy voter needed"),
        (true, -2, "quorum lost: 2 more healthy voters needed"),
    ] {
        let mut status = samples::status();
        let etcd = status.clusters[0].etcd.as_mut().unwrap();
        (etcd.known, etcd.failure_tolerance) = (known, tolerance);
        let text = status.table(&LOOK);
        assert!(text.lines().next().unwrap().ends_with(want), "{text}");
    }
}

#[test]
fn no_clusters_and_notices() {
    let status = StatusResponse {
        notices: vec!["restored from an export".into()],
        ..StatusResponse::default()
    };
    assert_eq!(
        status.table(&LOOK),
        "‼ restored from an export\n\nNo clusters. Form one: quorate apply -f FILE\n"
    );
}

#[test]
fn check() {
    assert_eq!(
        samples::check().table(&LOOK),
        "\
cluster
  ✓ prod  EtcdQuorum

node
  ✓ cp1  Agent
  ‼ cp2  ClockOffset: the clock is 3s ahead
      cause: no time synchronisation runs
      next:  on cp2: timedatectl set-ntp true
  × cp3  Port-6443: port 6443 is taken
      where: cp3
  ○ cp3  Swap: swap is on

5 checks: 2 passed, 1 with warnings, 1 failed, 1 ignored
"
    );
}

#[test]
fn nodes() {
    assert_eq!(
        samples::nodes().table(&LOOK),
        "\
NAME  AGENT      SEEN    CLUSTER  ROLES   ZONE  ADDRESS         CPUS  MEMORY  DISK FREE
cp1   connected  4s ago  prod     member  a     10.0.0.11       2     4 GiB   31 GiB
new   lost       never   -        -       -     192.0.2.2:4000  -     -       -
"
    );
    let wide = samples::nodes().table(&Look {
        wide: true,
        width: None,
        ..LOOK
    });
    assert!(
        wide.contains("2026-11-21T01:42:56Z") && wide.contains("-1s"),
        "{wide}"
    );
}

#[test]
fn operations() {
    assert_eq!(
        samples::operations().table(&LOOK),
        "\
ID    CLUSTER  KIND   STATE    STARTED  TOOK  BY          PROBLEM
01k9  prod     apply  running  46s ago  46s   admin/root  -
01k9  prod     apply  failed   46s ago  46s   admin/root  cp3 did not start
"
    );
}

#[test]
fn endings() {
    use super::operations::ending;
    assert_eq!(
        ending(&samples::operation("done"), &LOOK),
        "✓ prod is as its file says, after 46s (membership changes: 5s)\n"
    );
    assert_eq!(
        ending(&samples::operation("failed"), &LOOK),
        "× prod: failed after 46s\n  cp3 did not start\n    where: cp3\n    next:  journalctl -u kubelet\n"
    );
}

/// The same message with `text` in every string.
fn poisoned<T: Serialize + DeserializeOwned>(message: &T, text: &str) -> T {
    fn fill(value: &mut Value, text: &str) {
        match value {
            Value::String(string) => *string = text.to_owned(),
            Value::Array(list) => list.iter_mut().for_each(|one| fill(one, text)),
            Value::Object(map) => map.values_mut().for_each(|one| fill(one, text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut value = serde_json::to_value(message).unwrap();
    fill(&mut value, text);
    serde_json::from_value(value).unwrap()
}

#[test]
fn nothing_in_an_answer_acts_on_the_terminal() {
    const HOSTILE: &str = "a\x1b[2J\x07\r\u{9b}1m\u{202e}b";
    let tokens = ListTokensResponse {
        tokens: vec![TokenInfo::default()],
    };
    let certificates = ListCertificatesResponse {
        certificates: vec![IssuedCertificate::default()],
    };
    let audit = ListAuditResponse {
        entries: vec![AuditEntry::default()],
    };
    let artifacts = ListArtifactsResponse {
        artifacts: vec![ArtifactRef {
            images: vec![String::new()],
            ..ArtifactRef::default()
        }],
    };
    let mut refused = samples::plan();
    refused.refusals.push(Problem::default());
    let mut noticed = samples::status();
    noticed.notices.push(String::new());
    let mut rotation = samples::rotation_plan();
    rotation.refusals.push(Problem::default());
    let named = samples::astray();
    let wide = Look { wide: true, ..LOOK };
    let texts = [LOOK, wide].map(|look| {
        [
            poisoned(&refused, HOSTILE).table(&look),
            poisoned(&noticed, HOSTILE).table(&look),
            poisoned(&samples::check(), HOSTILE).table(&look),
            poisoned(&samples::nodes(), HOSTILE).table(&look),
            poisoned(&samples::operations(), HOSTILE).table(&look),
            poisoned(&tokens, HOSTILE).table(&look),
            poisoned(&certificates, HOSTILE).table(&look),
            poisoned(&audit, HOSTILE).table(&look),
            poisoned(&artifacts, HOSTILE).table(&look),
            poisoned(&rotation, HOSTILE).table(&look),
            poisoned(&samples::astray(), HOSTILE).table(&look),
            poisoned(&samples::endpoint(), HOSTILE).table(&look),
            poisoned(&samples::certificates(), HOSTILE).table(&look),
            super::endpoint::strays(&poisoned(&named, HOSTILE), &look),
        ]
    });
    for text in texts.iter().flatten() {
        assert!(text.contains("\\u{1b}[2J"), "the text is shown: {text}");
        let bad = text
            .chars()
            .find(|c| *c != '\n' && crate::cli::text::escape::is_hostile(*c));
        assert_eq!(bad, None, "{text:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: crate::fuzz::config().cases / 10, ..crate::fuzz::config() })]

    /// Facts, host names and problems come from machines: whatever they hold, tables stay text and JSON stays JSON.
    #[test]
    fn fuzz_answers(text in crate::fuzz::text()) {
        let status = poisoned(&samples::status(), &text);
        let wide = Look { wide: true, ..LOOK };
        let check = poisoned(&samples::check(), &text);
        let nodes = poisoned(&samples::nodes(), &text);
        let plan = poisoned(&samples::plan(), &text);
        for shown in [status.table(&LOOK), status.table(&wide), check.table(&LOOK), nodes.table(&wide), plan.table(&LOOK)] {
            let bad = shown.chars().find(|c| *c != '\n' && crate::cli::text::escape::is_hostile(*c));
            proptest::prop_assert_eq!(bad, None, "{:?}", shown);
        }
        let document = crate::cli::text::json::document(&status).expect("JSON");
        for json in [crate::cli::text::json::pretty(&document), crate::cli::text::json::line(&document)] {
            let bad = json.chars().find(|c| *c != '\n' && crate::cli::text::escape::is_hostile(*c));
            proptest::prop_assert_eq!(bad, None, "{:?}", json);
            let read: Value = serde_json::from_str(&json).expect("JSON");
            proptest::prop_assert_eq!(&read["clusters"][0]["name"], &Value::String(text.clone()));
        }
    }
}
