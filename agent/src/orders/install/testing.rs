//! Stand-ins for the tests of this order: artifacts from a table, progress into a list, a host below a temporary folder.

use crate::context::{Artifacts, Context, Progress};
use crate::paths::Paths;
use quorate_proto::v1::{ArtifactRef, Order, Problem};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Digest -> path.
pub struct Folder(BTreeMap<String, PathBuf>);

impl Folder {
    pub fn of(files: &[(&str, &str)]) -> Self {
        let entry = |(digest, path): &(&str, &str)| ((*digest).to_owned(), PathBuf::from(path));
        Folder(files.iter().map(entry).collect())
    }
}

impl Artifacts for Folder {
    fn fetch<'a>(
        &'a self,
        artifact: &'a ArtifactRef,
    ) -> Pin<Box<dyn Future<Output = Result<PathBuf, Problem>> + Send + 'a>> {
        let found = self.0.get(&artifact.digest).cloned();
        Box::pin(async move { found.ok_or_else(|| Problem::new("absent", "not in the folder")) })
    }
}

#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl Progress for Said {
    fn line(&self, text: &str) {
        self.0.lock().expect("not poisoned").push(text.to_owned());
    }
}

pub fn context(folder: Folder) -> (Context, Said) {
    context_under(Paths::under("/nonexistent"), folder)
}

pub fn context_under(paths: Paths, folder: Folder) -> (Context, Said) {
    let said = Said::default();
    let context = Context {
        paths,
        order: Arc::new(Order::default()),
        material: None,
        progress: Arc::new(said.clone()),
        artifacts: Arc::new(folder),
        deadline: Instant::now() + Duration::from_secs(60),
    };
    (context, said)
}
