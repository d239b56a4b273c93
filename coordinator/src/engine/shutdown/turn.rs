//! The ends: a stop's word stays in the record, a start's goes.

use crate::engine::cluster::ClusterLoop;
use crate::engine::records::{ClusterRecord, OperationState};
use crate::engine::view::View;
use quorate_planner::shutdown::{Shutdown, Standstill, Wanted};
use quorate_proto::v1::Problem;

impl ClusterLoop {
    /// Returns whether the record changed.
    pub(in crate::engine) async fn stands(
        &mut self,
        view: &View,
        shutdown: &Shutdown,
        standstill: &Standstill,
    ) -> Result<bool, Problem> {
        if !standstill.complete {
            return Ok(false);
        }
        let mut record = ClusterRecord::clone(&view.record);
        match (shutdown.wanted, &view.operation) {
            (Wanted::Stopped, None) => Ok(false),
            (Wanted::Stopped, Some(_)) => {
                self.say(view, "", "the cluster is stopped");
                self.end_operation(view, OperationState::Done, None).await?;
                Ok(true)
            }
            (Wanted::Running, operation) => {
                record.shutdown = None;
                self.troubles.clear();
                self.say(view, "", "the cluster runs again");
                match operation {
                    Some(_) => {
                        self.end_operation_with(view, record, OperationState::Done, None)
                            .await?;
                    }
                    None => self.write(view, &record, "cluster-started").await?,
                }
                Ok(true)
            }
        }
    }
}
