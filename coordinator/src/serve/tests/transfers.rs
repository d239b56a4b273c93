//! Artifacts from an operator to a node.

use super::bench::*;
use crate::server::problem;
use quorate_proto::limits::ARTIFACT_CHUNK_BYTES;
use quorate_proto::v1::add_artifact_request::Part;
use quorate_proto::v1::*;
use sha2::{Digest, Sha256};
use tonic::Code;

fn content() -> Vec<u8> {
    (0..3 * ARTIFACT_CHUNK_BYTES + 17)
        .map(|at| (at % 251) as u8)
        .collect()
}

fn header(content: &[u8]) -> ArtifactRef {
    ArtifactRef {
        digest: format!("sha256:{}", hex::encode(Sha256::digest(content))),
        name: "images.tar".to_owned(),
        size: content.len() as u64,
        kind: ArtifactKind::Image as i32,
        images: vec!["registry.k8s.io/pause:3.10".to_owned()],
        ..ArtifactRef::default()
    }
}

async fn add(
    bench: &Bench,
    header: ArtifactRef,
    content: &[u8],
) -> Result<AddArtifactResponse, tonic::Status> {
    let mut parts = vec![AddArtifactRequest {
        part: Some(Part::Header(header)),
    }];
    for chunk in content.chunks(100_000) {
        parts.push(AddArtifactRequest {
            part: Some(Part::Data(chunk.to_vec())),
        });
    }
    let mut operator = bench.operator(&bench.admin).await;
    let answer = operator.add_artifact(tokio_stream::iter(parts)).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn what_was_added_is_fetched_from_any_offset() {
    let bench = Bench::new().await;
    let content = content();
    let header = header(&content);
    let digest = header.digest.clone();
    assert!(
        !add(&bench, header.clone(), &content)
            .await
            .unwrap()
            .already_there
    );
    assert!(
        add(&bench, header.clone(), &content)
            .await
            .unwrap()
            .already_there
    );
    let mut admin = bench.operator(&bench.admin).await;
    let listed = admin
        .list_artifacts(ListArtifactsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.artifacts, [header]);

    let node = bench.node("n1").await;
    let mut client = node.client().await.unwrap();
    for offset in [0, 5, ARTIFACT_CHUNK_BYTES, content.len()] {
        let request = FetchArtifactRequest {
            digest: digest.clone(),
            offset: offset as u64,
        };
        let mut chunks = client.fetch_artifact(request).await.unwrap().into_inner();
        let mut got = Vec::new();
        while let Some(chunk) = chunks.message().await.unwrap() {
            got.extend(chunk.data);
        }
        assert!(got == content[offset..], "offset {offset}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    let mut client = node.client().await.unwrap();
    for digest in ["sha256:../../ca/ca.key", "", &header(b"x").digest] {
        let request = FetchArtifactRequest {
            digest: digest.to_owned(),
            offset: 0,
        };
        let refused = client.fetch_artifact(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{digest}");
    }
}

#[tokio::test]
async fn a_wrong_upload_is_refused() {
    let bench = Bench::new().await;
    let content = content();
    let refused = add(&bench, header(b"other"), &content).await.unwrap_err();
    assert_eq!(problem(&refused).code, "invalid-content");
    let mut operator = bench.operator(&bench.admin).await;
    let headless = AddArtifactRequest {
        part: Some(Part::Data(content)),
    };
    let refused = operator
        .add_artifact(tokio_stream::iter([headless]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
