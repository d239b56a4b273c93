//! Artifacts on their way to this node: all start at once, a few at a time, and are waited for only where they are needed.

use crate::context::Context;
use quorate_proto::v1::{ArtifactRef, Problem};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Downloads side by side: enough to fill a link, few enough not to crowd out other nodes.
const AT_ONCE: usize = 4;

type Download = AbortOnDropHandle<Result<PathBuf, Problem>>;

/// Downloads under way, by digest. Dropping it stops them.
#[derive(Default)]
pub struct Fetches(BTreeMap<String, Download>);

impl Fetches {
    pub fn start<'a>(
        context: &Context,
        artifacts: impl IntoIterator<Item = &'a ArtifactRef>,
    ) -> Self {
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        let mut fetches = BTreeMap::new();
        let mut bytes = 0;
        for artifact in artifacts {
            if fetches.contains_key(&artifact.digest) {
                continue;
            }
            bytes += artifact.size;
            let (gate, source) = (gate.clone(), context.artifacts.clone());
            let wanted = artifact.clone();
            let download = tokio::spawn(async move {
                let _turn = gate.acquire_owned().await.map_err(stopped)?;
                source.fetch(&wanted).await
            });
            fetches.insert(artifact.digest.clone(), AbortOnDropHandle::new(download));
        }
        if !fetches.is_empty() {
            let mebibytes = bytes.div_ceil(1024 * 1024);
            context.say(format!(
                "fetching {} artifacts, {mebibytes} MiB",
                fetches.len()
            ));
        }
        Fetches(fetches)
    }

    /// Waits for one of the artifacts that were started.
    pub async fn take(&mut self, artifact: &ArtifactRef) -> Result<PathBuf, Problem> {
        match self.0.remove(&artifact.digest) {
            Some(download) => download.await.map_err(stopped)?,
            None => Err(stopped("it was not asked for")),
        }
        .map_err(|problem| match problem.r#where.is_empty() {
            true => problem.at(artifact.name.clone()),
            false => problem,
        })
    }
}

fn stopped(reason: impl std::fmt::Display) -> Problem {
    Problem::new(
        "artifact-fetch",
        format!("the download was stopped: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context};

    #[tokio::test]
    async fn each_artifact_is_fetched_once_and_failures_name_it() {
        let (context, said) = context(Folder::of(&[("sha256:a", "/cache/a")]));
        let good = ArtifactRef {
            digest: "sha256:a".into(),
            name: "a".into(),
            size: 1,
            ..ArtifactRef::default()
        };
        let bad = ArtifactRef {
            digest: "sha256:b".into(),
            name: "b".into(),
            ..ArtifactRef::default()
        };
        let mut fetches = Fetches::start(&context, [&good, &bad, &good]);
        assert_eq!(
            fetches.take(&good).await.expect("there"),
            PathBuf::from("/cache/a")
        );
        assert_eq!(fetches.take(&bad).await.expect_err("absent").r#where, "b");
        assert!(
            fetches.take(&good).await.is_err(),
            "taken once is taken away"
        );
        assert_eq!(said.lines(), ["fetching 2 artifacts, 1 MiB"]);
    }
}
