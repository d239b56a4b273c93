//! Every method of the descriptor, called over the wire by everybody: the table of roles is what holds there.

use super::super::bench::*;
use crate::server::authorize::rule;
use crate::server::problem;
use http::uri::PathAndQuery;
use prost::Message;
use prost_types::FileDescriptorSet;
use quorate_pki::{Role, TlsMaterial, client_config, pinned_client_config};
use quorate_proto::v1::Problem;
use tokio::time::timeout;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

fn methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(quorate_proto::DESCRIPTOR).unwrap();
    let mut methods = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let name = format!("/{}.{}", file.package(), service.name());
            let of_service = service.method.iter();
            methods.extend(of_service.map(|method| format!("{name}/{}", method.name())));
        }
    }
    assert!(methods.len() > 20, "the descriptor holds the services");
    methods
}

/// With an empty message, which every method can read. None: it was let in, whatever came of it.
async fn refusal(channel: &Channel, path: &str) -> Option<Problem> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(path).unwrap();
    let call = client.unary(Request::new(()), path, ProstCodec::<(), ()>::default());
    // A stream that stays open is as good as an answer.
    let answer = timeout(LIMIT / 5, call).await.ok()?;
    let problem = problem(&answer.err()?);
    let refused = problem.code.starts_with("denied-role") || problem.code == "denied-method";
    refused.then_some(problem)
}

async fn channel(bench: &Bench, who: &TlsMaterial) -> Channel {
    let config = client_config(who).unwrap();
    dial(bench.daemon.session_address, config).await.unwrap()
}

#[tokio::test]
async fn every_method_by_every_role() {
    let bench = Bench::new().await;
    let callers = [
        (Role::Viewer, bench.user("eve", "viewer").await),
        (Role::Operator, bench.user("otto", "operator").await),
        (Role::Admin, bench.admin.clone()),
        (Role::Agent, bench.node("n1").await.material),
    ];
    for (role, material) in &callers {
        let channel = channel(&bench, material).await;
        for path in methods().iter().filter(|path| !path.contains("Enrollment")) {
            let refused = refusal(&channel, path).await;
            let admitted = rule(path).is_some_and(|allowed| allowed.admits(Some(*role)));
            assert_eq!(refused.is_none(), admitted, "{role:?} {path}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn without_a_certificate_there_is_enrolment_and_nothing_else() {
    let bench = Bench::new().await;
    let pin = bench.token("").await.pin;
    let config = pinned_client_config(&pin).unwrap();
    let channel = dial(bench.daemon.enroll_address, config).await.unwrap();
    for path in methods() {
        let refused = refusal(&channel, &path).await;
        assert_eq!(refused.is_none(), path.ends_with("/Enroll"), "{path}");
    }
}

#[tokio::test]
async fn what_is_in_no_table_is_refused_to_everybody() {
    let bench = Bench::new().await;
    let channel = channel(&bench, &bench.admin).await;
    for path in [
        "/quorate.v1.Operator/NewOne",
        "/quorate.v1.Operator/listnodes",
        "/quorate.v1.Operator/ListNodes/",
        "//quorate.v1.Operator/ListNodes",
        "/quorate.v1.Operator/../Operator/ListNodes",
        "/quorate.v1.Operator/%4cistNodes",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/",
    ] {
        let refused = refusal(&channel, path).await;
        let code = refused.map(|problem| problem.code);
        assert_eq!(code.as_deref(), Some("denied-method"), "{path}");
    }
    // A question mark ends the path for the table as it does for the services.
    assert!(
        refusal(&channel, "/quorate.v1.Operator/ListNodes?x")
            .await
            .is_none()
    );
}
