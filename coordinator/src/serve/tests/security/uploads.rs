//! Artifacts that are not what they are said to be, and those who ask for more than their share of them.

use super::super::bench::*;
use crate::server::problem;
use quorate_proto::v1::add_artifact_request::Part;
use quorate_proto::v1::*;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::Code;

const CONTENT: &[u8] = b"\x7fELF some program";

fn header() -> ArtifactRef {
    ArtifactRef {
        digest: format!("sha256:{}", hex::encode(Sha256::digest(CONTENT))),
        name: "etcd".to_owned(),
        size: CONTENT.len() as u64,
        kind: ArtifactKind::Binary as i32,
        ..ArtifactRef::default()
    }
}

fn part(part: Part) -> AddArtifactRequest {
    AddArtifactRequest { part: Some(part) }
}

async fn add(bench: &Bench, header: ArtifactRef, content: &[u8]) -> Result<(), tonic::Status> {
    let parts = [
        part(Part::Header(header)),
        part(Part::Data(content.to_vec())),
    ];
    let mut admin = bench.operator(&bench.admin).await;
    admin
        .add_artifact(tokio_stream::iter(parts))
        .await
        .map(|_| ())
}

fn kept(bench: &Bench) -> Vec<String> {
    let entries = std::fs::read_dir(bench.state().join("artifacts")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn names_and_digests_lead_nowhere_else() {
    let bench = Bench::new().await;
    let names = [
        "../../etc/cron.d/x",
        "/etc/passwd",
        "a/b",
        "a\0b",
        "a\nb",
        "..",
        ".",
        ".hidden",
        "",
    ];
    let names = names
        .map(str::to_owned)
        .into_iter()
        .chain(["x".repeat(256)]);
    for name in names {
        let refused = add(
            &bench,
            ArtifactRef {
                name: name.clone(),
                ..header()
            },
            CONTENT,
        )
        .await;
        assert_eq!(
            problem(&refused.unwrap_err()).code,
            "invalid-artifact",
            "{name:?}"
        );
    }
    for digest in [
        "sha256:../../ca/ca.key",
        "",
        "sha256:",
        "../x",
        &format!("sha512:{}", "0".repeat(64)),
    ] {
        let refused = add(
            &bench,
            ArtifactRef {
                digest: digest.to_owned(),
                ..header()
            },
            CONTENT,
        )
        .await;
        assert_eq!(
            refused.unwrap_err().code(),
            Code::InvalidArgument,
            "{digest:?}"
        );
    }
    assert!(kept(&bench).is_empty());
    assert!(!bench.state().join("etcd").exists());
}

#[tokio::test]
async fn an_upload_that_is_cut_or_changed_leaves_nothing() {
    let bench = Bench::new().await;
    let other = b"\x7fELF some program!".len() as u64;
    for (header, content) in [
        (header(), &CONTENT[..9]),
        (header(), &b"\x7fELF same program"[..]),
        (
            ArtifactRef {
                size: other,
                ..header()
            },
            CONTENT,
        ),
        (header(), &b"\x7fELF some program and more"[..]),
    ] {
        let refused = add(&bench, header, content).await.unwrap_err();
        assert_eq!(problem(&refused).code, "invalid-content");
    }
    // One whose sender goes away in the middle.
    let (sender, parts) = tokio::sync::mpsc::channel(4);
    sender.send(part(Part::Header(header()))).await.unwrap();
    sender
        .send(part(Part::Data(CONTENT[..4].to_vec())))
        .await
        .unwrap();
    let mut admin = bench.operator(&bench.admin).await;
    let upload = tokio::spawn(async move {
        let parts = tokio_stream::wrappers::ReceiverStream::new(parts);
        admin.add_artifact(parts).await.map(|_| ())
    });
    until(|| async { !kept(&bench).is_empty() }).await;
    upload.abort();
    drop(sender);
    until(|| async { kept(&bench).is_empty() }).await;
    let mut admin = bench.operator(&bench.admin).await;
    let listed = admin
        .list_artifacts(ListArtifactsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(listed.artifacts.is_empty());
    add(&bench, header(), CONTENT).await.unwrap();
}

#[tokio::test]
async fn one_node_cannot_take_the_downloads_of_all() {
    let bench = Bench::new().await;
    // Larger than what a stream may have under way, so that a download that nobody reads stands still.
    let content = vec![7; 8 * 1024 * 1024];
    let header = ArtifactRef {
        digest: format!("sha256:{}", hex::encode(Sha256::digest(&content))),
        size: content.len() as u64,
        ..header()
    };
    let parts = content
        .chunks(1024 * 1024)
        .map(|chunk| part(Part::Data(chunk.to_vec())));
    let parts: Vec<_> = std::iter::once(part(Part::Header(header.clone())))
        .chain(parts)
        .collect();
    let mut admin = bench.operator(&bench.admin).await;
    admin.add_artifact(tokio_stream::iter(parts)).await.unwrap();

    let (greedy, other) = (bench.node("n1").await, bench.node("n2").await);
    let request = || FetchArtifactRequest {
        digest: header.digest.clone(),
        offset: 0,
    };
    let mut open = Vec::new();
    let refused = loop {
        // Over several connections, as the bound is the node's.
        let mut client = greedy.client().await.unwrap();
        match client.fetch_artifact(request()).await {
            Ok(stream) => open.push((client, stream)),
            Err(status) => break status,
        }
        assert!(open.len() < 64, "there is no bound");
    };
    assert_eq!(problem(&refused).code, "exhausted-downloads");
    let mut stream = other
        .client()
        .await
        .unwrap()
        .fetch_artifact(request())
        .await
        .unwrap()
        .into_inner();
    let mut got = 0;
    while let Some(chunk) = stream.next().await {
        got += chunk.unwrap().data.len();
    }
    assert_eq!(got, content.len());
    // What is given up is free again.
    open.clear();
    let again = || async {
        greedy
            .client()
            .await
            .unwrap()
            .fetch_artifact(request())
            .await
            .is_ok()
    };
    tokio::time::timeout(Duration::from_secs(10), async {
        while !again().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("its share is free again");
}
