//! Endpoints, their rotation, and certificates.

use super::*;

#[test]
fn rotation_plan() {
    assert_eq!(
        samples::rotation_plan().table(&LOOK),
        "\
Rotation of the endpoint of prod, now at revision 3
  10.0.0.10:6443 → 10.0.0.20:6443

  1    cp1   accept  serves under both addresses
  2    cp2   accept  serves under both addresses
  3 │  cp1   switch  kubelet, controllers
    │  cp2   switch  kubelet, controllers
    │  w1    switch  kubelet
  4    prod  soak    1m without a call to the old one
  5    cp1   drop    the old name
  │ side by side

‼ w1 is away: it is brought along when it is back

7 steps in 5 stages.
"
    );
}

#[test]
fn refused_rotation_and_nothing_to_do() {
    let mut plan = PlanRotationResponse {
        refusals: vec![Problem::new("not-found-cluster", "there is no cluster x")],
        ..PlanRotationResponse::default()
    };
    assert_eq!(
        plan.table(&LOOK),
        "\n× there is no cluster x\n\nThis cannot be done, for 1 reason (×).\n"
    );
    (plan.refusals, plan.nothing_to_do) = (vec![], true);
    assert_eq!(plan.table(&LOOK), "✓ Nothing to do.\n");
}

#[test]
fn endpoint_while_it_rotates() {
    let text = samples::endpoint().table(&LOOK);
    assert!(
        text.starts_with(
            "\
prod  10.0.0.20:6443, served by something outside of quorate
  rotation: 10.0.0.10:6443 → 10.0.0.20:6443, stage soak
  waits for: 2 connections of cp2 to 10.0.0.10:6443 (kube-proxy)
  behind: w2 (brought along when reachable)
  soak ends: in 45s (2026-11-21T01:43:45Z)
  under way: quorate operation watch 01k9

  Places
"
        ),
        "{text}"
    );
    assert!(
        text.ends_with("\n✓ 5 places: 2 in-line, 1 local, 1 earlier, 1 outside\n"),
        "{text}"
    );
    let narrow = samples::endpoint().table(&Look {
        width: Some(60),
        ..LOOK
    });
    assert!(
        narrow.contains("  cp1        …ntroller-manager.conf  10.0.0.11:6443  local\n"),
        "{narrow}"
    );
}

#[test]
fn endpoint_that_is_astray() {
    assert_eq!(
        samples::astray().table(&LOOK),
        "\
prod  10.0.0.20:6443, served by something outside of quorate

  Places
  NODE       PLACE                                    VALUE           STATE
  (cluster)  kube-system/kubeadm-config               10.0.0.20:6443  in-line
  cp1        /etc/kubernetes/kubelet.conf             10.0.0.20:6443  in-line
  cp1        /etc/kubernetes/controller-manager.conf  10.0.0.11:6443  local
  cp2        /etc/kubernetes/kubelet.conf             10.0.0.10:6443  stray
  (cluster)  kube-system/cilium-config                10.0.0.10:6443  outside

  Serving names
  NODE  COUNT  MISSING
  cp1   3      10.0.0.20
  cp2   -      unknown

‼ cp2  /etc/kubernetes/kubelet.conf: 10.0.0.10:6443
    next: quorate endpoint repair --cluster prod
‼ (cluster)  kube-system/cilium-config: 10.0.0.10:6443
    next: set k8s-api-server in kube-system/cilium-config and restart its pods

× 5 places: 2 in-line, 1 local, 1 stray, 1 outside, 2 of 2 members without all names
"
    );
}

#[test]
fn many_nodes_share_a_line() {
    let mut answer = samples::endpoint();
    let template = answer.carriers[1].clone();
    answer.carriers = (1..=300)
        .map(|number| EndpointCarrier {
            node: format!("w{number:03}"),
            ..template.clone()
        })
        .collect();
    answer.carriers[7].state = "stray".into();
    let text = answer.table(&LOOK);
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("/etc/")).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[0].contains("w001 … w300 (299)"), "{text}");
    assert!(
        rows[1].contains("w008") && rows[1].ends_with("stray"),
        "{text}"
    );
    let wide = answer.table(&Look { wide: true, ..LOOK });
    assert!(wide.lines().count() > 300);
}

#[test]
fn certificates() {
    assert_eq!(
        samples::certificates().table(&Look {
            width: Some(120),
            ..LOOK
        }),
        "\
CLUSTER  NODE         KIND                PLACE                                       EXPIRES   ISSUER      STATE
prod     cp1          api-server          /etc/kubernetes/pki/apiserver.crt           in 3d     kubernetes  ends-soon
prod     cp1          front-proxy-client  /etc/kubernetes/pki/front-proxy-client.crt  in 300d   kubernetes  ok
prod     cp1          kubeconfig          /etc/kubernetes/admin.conf                  2d ago    kubernetes  ended
prod     cp2          etcd-peer           /etc/kubernetes/pki/etcd/peer.crt           -         -           unreadable
-        coordinator  ca                  /var/lib/quorate/ca/ca.crt                  in 3000d  kubernetes  ok

‼ cp1  /etc/kubernetes/pki/apiserver.crt: ends in 3d
    next: quorate certificates renew --cluster prod --node cp1
× cp1  /etc/kubernetes/admin.conf: ended 2d ago
× cp2  /etc/kubernetes/pki/etcd/peer.crt: it does not match its key
    next: look at the file

× 5 certificates, 3 not ok; the first to end: 2026-11-19T01:43:00Z
"
    );
    let narrow = samples::certificates().table(&Look {
        width: Some(80),
        ..LOOK
    });
    assert!(!narrow.contains("ISSUER"), "{narrow}");
    assert!(
        narrow.lines().all(|line| line.chars().count() <= 80),
        "{narrow}"
    );
    let wide = samples::certificates().table(&Look { wide: true, ..LOOK });
    assert!(wide.contains("2026-11-24T01:43:00Z") && wide.contains("CN=api-server"));
}

#[test]
fn many_warnings_are_counted() {
    let mut answer = samples::certificates();
    let soon = answer.certificates[0].clone();
    answer.certificates = vec![soon; 50];
    let text = answer.table(&LOOK);
    assert!(text.contains("and 30 more that are not ok\n"), "{text}");
}
