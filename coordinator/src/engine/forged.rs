//! Agents that say what is not theirs to say, or not even what an agent would say.

use super::agents::AgentEvent;
use super::api::EngineApi;
use super::tests::{apply, end, start};
use super::world::World;
use crate::fuzz;
use crate::store::Store;
use proptest::test_runner::{TestCaseError, TestRunner};
use prost::Message;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;

const FILE: &str = "name: c\ndistribution: etcd\nnodes:\n  - {name: n1, address: 10.0.0.1, roles: [etcd]}\n  \
                    - {name: n2, address: 10.0.0.2, roles: [etcd]}\n  - {name: n3, address: 10.0.0.3, roles: [etcd]}\n";

fn forgery(id: &str) -> Box<OrderDone> {
    Box::new(OrderDone {
        result: Some(OrderResult {
            id: id.to_owned(),
            status: OrderStatus::Failed as i32,
            problem: Some(Problem::new("forged", "this is another node's order")),
            ..OrderResult::default()
        }),
        sealed: b"forged".to_vec(),
        ..OrderDone::default()
    })
}

#[tokio::test(start_paused = true)]
async fn only_the_node_that_was_asked_answers() {
    let world = World::new(&["n1", "n2"]);
    let engine = start(&world, &Arc::new(Store::in_memory()));
    let order = Order {
        id: "01JD0000000000000000000001".to_owned(),
        action: Some(Action::Check(Check {})),
        ..Order::default()
    };
    let id = order.id.clone();
    let shared = Arc::clone(&engine.shared);
    let asked = tokio::spawn(async move { shared.ask("n1", order, Duration::from_secs(10)).await });
    // Well before n1 can have answered.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let events = world.state().events.clone().expect("the engine listens");
    let forged = AgentEvent::Done("n2".to_owned(), forgery(&id), world.now_ms());
    events.send(forged).await.expect("the engine listens");
    let answer = asked.await.expect("no panic").expect("answered");
    let result = answer.result.expect("a result");
    assert_eq!(
        result.status(),
        OrderStatus::Succeeded,
        "{:?}",
        result.problem
    );
    assert!(answer.sealed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn results_of_other_nodes_orders_count_for_nothing() {
    let world = World::new(&["n1", "n2", "n3"]);
    let engine = start(&world, &Arc::new(Store::in_memory()));
    let (shared, liar) = (Arc::clone(&engine.shared), Arc::clone(&world));
    let lies = tokio::spawn(async move {
        let events = liar.state().events.clone().expect("the engine listens");
        let mut told = 0;
        loop {
            for pending in shared.pending("c").expect("store") {
                let other = if pending.on == "n1" { "n2" } else { "n1" };
                let lie = forgery(&pending.order.id);
                let event = AgentEvent::Done(other.to_owned(), lie, liar.now_ms());
                if events.send(event).await.is_err() || told == 1_000 {
                    return;
                }
                told += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let (operation, _) = apply(&engine, FILE.to_owned()).await.expect("applied");
    let record = end(&engine, &operation).await;
    lies.abort();
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    assert!(record.troubles.is_empty(), "{:?}", record.troubles);
}

/// A report with something in every view, as a member, load balancer and worker in one would send it.
fn report() -> NodeReport {
    let member = |id: u64| EtcdMember {
        id,
        name: format!("n{id}"),
        peer_urls: vec![format!("https://10.0.0.{id}:2380")],
        ..EtcdMember::default()
    };
    NodeReport {
        sequence: 1,
        unix_ms: 1,
        host: Some(HostFacts {
            hostname: "n1".into(),
            addresses: vec!["10.0.0.1".into()],
            ..HostFacts::default()
        }),
        marks: Some(Marks {
            cluster_id: "c".into(),
            init: "x".into(),
            finished: "y".into(),
            ..Marks::default()
        }),
        etcd: Some(EtcdView {
            running: true,
            cluster_id: 7,
            member_id: 1,
            leader: 1,
            term: 3,
            applied_index: 1 << 40,
            linearizable: true,
            members: vec![member(1), member(2), member(3)],
            alarms_known: true,
            ..EtcdView::default()
        }),
        kube: Some(KubeView {
            api_ready: true,
            nodes_known: true,
            nodes: vec![KubeNode {
                name: "n1".into(),
                ..KubeNode::default()
            }],
            ..KubeView::default()
        }),
        load_balancer: Some(LoadBalancerView {
            running: true,
            backends: vec![BackendState {
                frontend: "api".into(),
                name: "n1".into(),
                up: true,
                detail: "x".into(),
            }],
            ..LoadBalancerView::default()
        }),
        certificates: vec![CertificateInfo {
            not_before_unix: 1,
            not_after_unix: 2,
            ..CertificateInfo::default()
        }],
        endpoint: Some(EndpointView {
            serving: Some(ServingCertificate {
                names: vec!["n1".into()],
                ..ServingCertificate::default()
            }),
            ..EndpointView::default()
        }),
        ..NodeReport::default()
    }
}

/// Whatever an agent reports: the engine goes on, and answers what operators ask.
#[test]
fn fuzz_any_report_is_survived() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (world, engine) = runtime.block_on(async {
        let world = World::new(&["n1", "n2", "n3"]);
        let engine = start(&world, &Arc::new(Store::in_memory()));
        let (operation, _) = apply(&engine, FILE.to_owned()).await.expect("applied");
        assert_eq!(end(&engine, &operation).await.state.word(), "done");
        (world, engine)
    });
    let strategy = fuzz::damaged(vec![report().encode_to_vec()]);
    let outcome = TestRunner::new(fuzz::config()).run(&strategy, |bytes| {
        let Ok(report) = NodeReport::decode(bytes.as_slice()) else {
            return Ok(());
        };
        runtime.block_on(async {
            if let Some(node) = world.state().nodes.get_mut("n2") {
                node.report = Some(Arc::new(report));
            }
            let events = world.state().events.clone().expect("the engine listens");
            events
                .send(AgentEvent::Reported("n2".to_owned()))
                .await
                .map_err(|_| TestCaseError::fail("the engine has ended"))?;
            tokio::task::yield_now().await;
            let failed = |problem: Problem| TestCaseError::fail(problem.to_string());
            let status = engine
                .status("admin/test", StatusRequest::default())
                .await
                .map_err(failed)?;
            proptest::prop_assert_eq!(status.clusters.len(), 1);
            let certificates = ShowCertificatesRequest {
                cluster: "c".to_owned(),
            };
            engine
                .show_certificates("admin/test", certificates)
                .await
                .map_err(failed)?;
            let endpoint = ShowEndpointRequest {
                cluster: "c".to_owned(),
            };
            engine
                .show_endpoint("admin/test", endpoint)
                .await
                .map_err(failed)?;
            Ok(())
        })
    });
    outcome.expect("no report ends or misleads the engine");
    // And is right again with the next report.
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let status = engine
            .status("admin/test", StatusRequest::default())
            .await
            .expect("status");
        assert_eq!(
            status.clusters[0].health, "healthy",
            "{:#?}",
            status.clusters[0]
        );
    });
}
