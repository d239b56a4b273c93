use super::*;
use bytes::Bytes;
use quorate_proto::v1::ArtifactKind;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio_stream::StreamExt;

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

fn chunks(parts: &[&'static [u8]]) -> Chunks<'static> {
    let parts: Vec<_> = parts
        .iter()
        .map(|part| Ok(Bytes::from_static(part)))
        .collect();
    Box::pin(tokio_stream::iter(parts))
}

fn open(folder: &Path) -> Artifacts {
    Artifacts::open(folder.join("artifacts"), Arc::new(Store::in_memory())).unwrap()
}

fn files(artifacts: &Artifacts) -> usize {
    std::fs::read_dir(&artifacts.folder).unwrap().count()
}

#[tokio::test]
async fn comes_back_from_any_offset() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let (a, b) = CONTENT.split_at(5);
    let upload = artifacts
        .receive("admin/root", header(), chunks(&[a, b]))
        .await;
    assert_eq!(upload.unwrap(), Upload::Stored);
    let again = artifacts.receive("admin/root", header(), chunks(&[])).await;
    assert_eq!(again.unwrap(), Upload::AlreadyThere);
    assert_eq!(artifacts.list().unwrap(), [header()]);
    for offset in [0, 5, CONTENT.len()] {
        let (mut file, left) = artifacts
            .read(&header().digest, offset as u64)
            .await
            .unwrap();
        let mut got = Vec::new();
        file.read_to_end(&mut got).await.unwrap();
        assert_eq!(
            (got.as_slice(), left),
            (&CONTENT[offset..], got.len() as u64)
        );
    }
    let audit = artifacts.store.audit(10).unwrap();
    assert_eq!((audit.len(), audit[0].1.what.as_str()), (1, "add-artifact"));
}

#[tokio::test]
async fn other_content_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let wrong: [&[&'static [u8]]; 4] = [
        &[],
        &[b"short"],
        &[CONTENT, b"x"],
        &[b"\x7fELF some programm"],
    ];
    for parts in wrong {
        let error = artifacts
            .receive("a", header(), chunks(parts))
            .await
            .unwrap_err();
        assert_eq!(error.code, "invalid-content");
    }
    assert_eq!(files(&artifacts), 0);
    assert!(artifacts.list().unwrap().is_empty());
}

#[tokio::test]
async fn headers_that_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let changes: [fn(&mut ArtifactRef); 9] = [
        |h| h.digest = "sha256:../../etc/passwd".to_owned(),
        |h| h.digest = h.digest.to_uppercase(),
        |h| h.name = "../x".to_owned(),
        |h| h.name = String::new(),
        |h| h.name = ".hidden".to_owned(),
        |h| h.size = 0,
        |h| h.size = u64::MAX,
        |h| h.kind = 0,
        |h| h.kind = ArtifactKind::Deb as i32,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut wrong = header();
        change(&mut wrong);
        assert!(
            artifacts
                .receive("a", wrong, chunks(&[CONTENT]))
                .await
                .is_err(),
            "{at}"
        );
    }
    assert_eq!(files(&artifacts), 0);
}

#[tokio::test]
async fn only_known_digests_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    std::fs::write(artifacts.folder.join("0".repeat(64)), "stray").unwrap();
    for digest in [
        format!("sha256:{}", "0".repeat(64)),
        "sha256:../../etc/passwd".to_owned(),
        String::new(),
    ] {
        let error = artifacts.read(&digest, 0).await.unwrap_err();
        assert_eq!(error.code, "missing-artifact");
    }
    artifacts
        .receive("a", header(), chunks(&[CONTENT]))
        .await
        .unwrap();
    let beyond = artifacts.read(&header().digest, header().size + 1).await;
    assert_eq!(beyond.unwrap_err().code, "invalid-offset");
}

#[tokio::test]
async fn an_interrupted_upload_is_cleared_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    std::fs::write(artifacts.folder.join(".incoming-x"), "half").unwrap();
    drop(artifacts);
    assert_eq!(files(&open(folder.path())), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stands_still_gives_up_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let standing = || -> Chunks<'static> {
        let first = tokio_stream::iter([Ok(Bytes::from_static(&CONTENT[..4]))]);
        Box::pin(first.chain(tokio_stream::pending()))
    };
    let upload = || artifacts.receive("a", header(), standing());
    let fifth = async {
        // Once the others hold all slots.
        while files(&artifacts) < 4 {
            tokio::task::yield_now().await;
        }
        upload().await
    };
    let (one, two, three, four, fifth) =
        tokio::join!(upload(), upload(), upload(), upload(), fifth);
    assert_eq!(fifth.unwrap_err().code, "exhausted-uploads");
    for ended in [one, two, three, four] {
        assert_eq!(ended.unwrap_err().code, "timeout-upload");
    }
    assert_eq!(files(&artifacts), 0);
    let whole = artifacts.receive("a", header(), chunks(&[CONTENT])).await;
    assert_eq!(whole.unwrap(), Upload::Stored);
}
