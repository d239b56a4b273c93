//! Runs orders inside the agent: short ones always, and all of them where there is no systemd.

use super::executor::Executor;
use super::progress::ToOutbox;
use super::{Ending, Job, Launcher, sealed};
use crate::link::outbox::Outbox;
use std::sync::Arc;

pub struct InPlace {
    pub executor: Arc<Executor>,
    pub outbox: Arc<Outbox>,
}

#[tonic::async_trait]
impl Launcher for InPlace {
    async fn run(&self, job: &Job) -> Ending {
        let order = job.order.clone();
        let material = match sealed::take(&self.executor.paths, &order.id) {
            Ok(material) => material,
            Err(problem) => return Ending::NotStarted(problem),
        };
        let progress = Arc::new(ToOutbox::new(&order.id, self.outbox.clone()));
        let (result, material) = self.executor.run(order, material, progress).await;
        Ending::Finished(Box::new(result), material)
    }

    async fn attach(&self, job: &Job) -> Ending {
        // Never asked for, as nothing of an earlier life is active; running again is right all the same.
        self.run(job).await
    }

    async fn is_active(&self, _unit: &str) -> bool {
        false
    }
}
