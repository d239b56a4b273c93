//! Steps from one wish to the next, each applied to what the one before left.

use super::super::documents::merge;
use super::*;

fn target(zone: &str, labels: &[(&str, &str)], taints: &[(&str, &str, &str)]) -> NodeConfig {
    NodeConfig {
        zone: zone.to_owned(),
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        taints: taints
            .iter()
            .map(|(key, value, effect)| Taint {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
                effect: (*effect).to_owned(),
            })
            .collect(),
        ..NodeConfig::default()
    }
}

/// As the API server applies a merge patch: null removes.
fn apply(node: &mut Value, patch: &Value) {
    merge(node, patch);
    if let Some(labels) = node["metadata"]["labels"].as_object_mut() {
        labels.retain(|_, value| !value.is_null());
    }
}

#[test]
fn follows_the_wish_and_leaves_others_alone() {
    let foreign = json!({"key": "other", "effect": "NoExecute", "timeAdded": "t"});
    let mut node = json!({
        "metadata": {"resourceVersion": "1", "labels": {"kubernetes.io/os": "linux"}},
        "spec": {"taints": [foreign]},
    });
    let steps = [
        target("a", &[("disk", "fast")], &[("gpu", "", "NoSchedule")]),
        target(
            "b",
            &[("disk", "fast"), ("x", "y")],
            &[("gpu", "big", "NoSchedule")],
        ),
        target("", &[], &[]),
    ];
    let expected = [
        (
            json!({"kubernetes.io/os": "linux", "disk": "fast", ZONE: "a"}),
            json!([foreign, {"key": "gpu", "effect": "NoSchedule"}]),
        ),
        (
            json!({"kubernetes.io/os": "linux", "disk": "fast", "x": "y", ZONE: "b"}),
            json!([foreign, {"key": "gpu", "value": "big", "effect": "NoSchedule"}]),
        ),
        (json!({"kubernetes.io/os": "linux"}), json!([foreign])),
    ];
    for (step, (labels, taints)) in steps.iter().zip(expected) {
        let patch = patch(&node, step).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "1");
        apply(&mut node, &patch);
        assert_eq!(node["metadata"]["labels"], labels);
        assert_eq!(node["spec"]["taints"], taints);
        assert_eq!(
            super::patch(&node, step),
            None,
            "a second time there is nothing to do"
        );
    }
}

#[test]
fn a_label_that_the_user_set_by_hand_stays_when_it_is_not_wished() {
    let node = json!({"metadata": {"resourceVersion": "1", "labels": {"mine": "1"}}, "spec": {}});
    assert_eq!(patch(&node, &target("", &[], &[])), None);
}

#[test]
fn a_remembered_label_that_is_gone_already_is_only_forgotten() {
    let node = json!({
        "metadata": {"resourceVersion": "1", "annotations": {APPLIED: "{\"labels\":[\"x\"],\"taints\":[]}"}},
        "spec": {},
    });
    let patch = patch(&node, &target("", &[], &[])).unwrap();
    assert_eq!(patch["metadata"]["labels"], json!({}));
    assert_eq!(
        patch["metadata"]["annotations"][APPLIED],
        "{\"labels\":[],\"taints\":[]}"
    );
}
