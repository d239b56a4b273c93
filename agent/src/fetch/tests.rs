//! Fetches over real mTLS from a coordinator that breaks off, lies, or counts.

use super::*;
use crate::testing::{self, Answers, Coordinator, Fetch, soon};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::sync::{Arc, Mutex};
use tonic::Status;

type Asked = Arc<Mutex<Vec<u64>>>;

struct Place {
    _folder: tempfile::TempDir,
    artifacts: FromCoordinator,
    coordinator: Coordinator,
}

async fn place(fetch: Fetch) -> Place {
    let folder = tempfile::tempdir().expect("folder");
    let paths = Paths::under(folder.path());
    let authority = Arc::new(testing::authority());
    let answers = Answers {
        fetch: Some(fetch),
        ..Answers::default()
    };
    let coordinator = Coordinator::start(authority.clone(), answers).await;
    testing::agent_identity(&authority, "n1", &[&coordinator.endpoint])
        .save(&paths)
        .expect("saved");
    Place {
        _folder: folder,
        artifacts: FromCoordinator::new(paths),
        coordinator,
    }
}

fn content() -> Vec<u8> {
    (0..200_000u32).flat_map(u32::to_le_bytes).collect()
}

fn artifact(content: &[u8]) -> ArtifactRef {
    ArtifactRef {
        digest: format!("sha256:{}", hex::encode(Sha256::digest(content))),
        name: "tool_1.0_amd64.deb".to_owned(),
        size: content.len() as u64,
        ..ArtifactRef::default()
    }
}

fn chunks(content: &[u8]) -> Vec<Result<Vec<u8>, Status>> {
    content.chunks(50_000).map(|c| Ok(c.to_vec())).collect()
}

fn offset(request: &FetchArtifactRequest, asked: &Asked) -> usize {
    asked.lock().expect("lock").push(request.offset);
    usize::try_from(request.offset).expect("small")
}

#[tokio::test]
async fn goes_on_where_it_broke_off() {
    let asked = Asked::default();
    let seen = asked.clone();
    let place = place(Arc::new(move |request| {
        let from = offset(&request, &seen);
        let mut answers = chunks(&content()[from..]);
        if from == 0 {
            answers.truncate(3);
            answers.push(Err(Status::unavailable("restart")));
        }
        answers
    }))
    .await;
    let wanted = artifact(&content());
    let file = soon("the artifact", place.artifacts.fetch(&wanted))
        .await
        .expect("fetched");
    assert_eq!(fs::read(&file).expect("read"), content());
    assert!(file.ends_with("files/tool_1.0_amd64.deb"));
    assert_eq!(*asked.lock().expect("lock"), [0, 150_000]);
    // From the cache.
    place.artifacts.fetch(&wanted).await.expect("fetched");
    assert_eq!(asked.lock().expect("lock").len(), 2);
    place.coordinator.stop();
}

#[tokio::test]
async fn a_wrong_digest_is_fetched_anew_once() {
    let asked = Asked::default();
    let seen = asked.clone();
    let place = place(Arc::new(move |request| {
        let from = offset(&request, &seen);
        let mut answer = content();
        if seen.lock().expect("lock").len() == 1 {
            answer[7] ^= 1;
        }
        chunks(&answer[from..])
    }))
    .await;
    let fetched = soon("the artifact", place.artifacts.fetch(&artifact(&content()))).await;
    assert_eq!(
        fs::read(fetched.expect("fetched")).expect("read"),
        content()
    );
    assert_eq!(*asked.lock().expect("lock"), [0, 0]);
}

#[tokio::test]
async fn a_digest_that_stays_wrong_is_an_error_and_leaves_nothing() {
    let asked = Asked::default();
    let seen = asked.clone();
    let place = place(Arc::new(move |request| {
        let from = offset(&request, &seen);
        let mut answer = content();
        answer[7] ^= 1;
        chunks(&answer[from..])
    }))
    .await;
    let wanted = artifact(&content());
    let problem = soon("the answer", place.artifacts.fetch(&wanted))
        .await
        .expect_err("fetched");
    assert_eq!(problem.code, "artifact-digest");
    assert_eq!(asked.lock().expect("lock").len(), 2);
    let hex = wanted.digest.trim_start_matches("sha256:");
    let folder = place.artifacts.paths.artifacts().join(hex);
    assert!(!folder.join("data").exists() && !folder.join("data.part").exists());
}

#[tokio::test]
async fn more_than_promised_is_refused() {
    let place = place(Arc::new(|_| {
        let mut answers = chunks(&content());
        answers.push(Ok(vec![0; 10]));
        answers
    }))
    .await;
    let fetched = soon("the answer", place.artifacts.fetch(&artifact(&content()))).await;
    assert_eq!(fetched.expect_err("fetched").code, "artifact-long");
}

#[tokio::test]
async fn fetches_of_one_digest_share() {
    let asked = Asked::default();
    let seen = asked.clone();
    let place = place(Arc::new(move |request| {
        chunks(&content()[offset(&request, &seen)..])
    }))
    .await;
    let wanted = artifact(&content());
    let both = async {
        tokio::join!(
            place.artifacts.fetch(&wanted),
            place.artifacts.fetch(&wanted)
        )
    };
    let (one, other) = soon("both", both).await;
    assert_eq!(one.expect("fetched"), other.expect("fetched"));
    assert_eq!(*asked.lock().expect("lock"), [0]);
}

#[tokio::test]
async fn what_the_coordinator_does_not_have_is_not_asked_for_again() {
    let asked = Asked::default();
    let seen = asked.clone();
    let place = place(Arc::new(move |request| {
        offset(&request, &seen);
        vec![Err(Status::not_found("no such artifact"))]
    }))
    .await;
    let fetched = soon("the answer", place.artifacts.fetch(&artifact(&content()))).await;
    assert!(
        fetched
            .expect_err("fetched")
            .what
            .contains("no such artifact")
    );
    assert_eq!(asked.lock().expect("lock").len(), 1);
}

#[tokio::test]
async fn only_digests_and_plain_names_get_anywhere() {
    let place = place(Arc::new(|_| chunks(&content()))).await;
    let mut wrong_digest = artifact(&content());
    wrong_digest.digest = "sha256:../../../../etc".to_owned();
    let mut wrong_name = artifact(&content());
    wrong_name.name = "../../x".to_owned();
    for wrong in [wrong_digest, wrong_name] {
        let problem = place.artifacts.fetch(&wrong).await.expect_err("fetched");
        assert_eq!(problem.code, "artifact-malformed");
    }
}
