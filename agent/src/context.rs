//! What an order's code gets, and what it gives back.

use crate::paths::Paths;
use quorate_proto::v1::{
    ClusterConfig, JoinMaterial, NodeConfig, Order, OrderResult, OrderStatus, Problem,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where lines of progress go. Lines never carry secrets.
pub trait Progress: Send + Sync {
    fn line(&self, text: &str);
}

/// Where artifacts come from: the coordinator over mTLS, or a folder in a test.
/// Returns the path of the verified file in the local cache.
#[allow(async_fn_in_trait)]
pub trait Artifacts: Send + Sync {
    fn fetch<'a>(
        &'a self,
        artifact: &'a quorate_proto::v1::ArtifactRef,
    ) -> std::pin::Pin<
        Box<dyn std::future::Future<Output = Result<std::path::PathBuf, Problem>> + Send + 'a>,
    >;
}

#[derive(Clone)]
pub struct Context {
    pub paths: Paths,
    pub order: Arc<Order>,
    pub material: Option<Arc<JoinMaterial>>,
    pub progress: Arc<dyn Progress>,
    pub artifacts: Arc<dyn Artifacts>,
    pub deadline: Instant,
}

impl Context {
    pub fn cluster(&self) -> Result<&ClusterConfig, Problem> {
        self.order
            .cluster
            .as_ref()
            .ok_or_else(|| malformed("cluster"))
    }

    pub fn node(&self) -> Result<&NodeConfig, Problem> {
        self.order.node.as_ref().ok_or_else(|| malformed("node"))
    }

    pub fn material(&self) -> Result<&JoinMaterial, Problem> {
        self.material
            .as_deref()
            .ok_or_else(|| malformed("sealed part"))
    }

    pub fn say(&self, line: impl AsRef<str>) {
        self.progress.line(line.as_ref());
    }

    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

fn malformed(part: &str) -> Problem {
    Problem::new("order-malformed", format!("the order carries no {part}"))
        .because("coordinator and agent of different versions")
        .next("install the same version of both packages")
}

/// What an order came to. `result.id`, `status` and `duration_ms` are filled in by the runner.
#[derive(Default)]
pub struct Outcome {
    pub result: OrderResult,
    pub sealed: Option<JoinMaterial>,
}

pub type Done = Result<Outcome, Problem>;

impl Outcome {
    pub fn done() -> Self {
        Outcome {
            result: OrderResult {
                status: OrderStatus::Succeeded as i32,
                ..OrderResult::default()
            },
            sealed: None,
        }
    }
}
