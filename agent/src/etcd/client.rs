//! The calls to one member, each bounded in time.

use super::{EtcdAccess, EtcdFailure, connect};
use quorate_proto::etcd::{
    AlarmMember, AlarmRequest, Member, MemberAddRequest, MemberAddResponse, MemberListRequest,
    MemberPromoteRequest, MemberRemoveRequest, MoveLeaderRequest, RangeRequest, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse, cluster_client::ClusterClient,
    kv_client::KvClient, maintenance_client::MaintenanceClient,
};
use std::future::Future;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// Any key serves to prove that reads are linearizable; it need not exist.
const PROBE_KEY: &[u8] = b"quorate/probe";

/// A connection to one member. Cheap to make: it dials on the first call.
#[derive(Clone, Debug)]
pub struct EtcdClient {
    channel: Channel,
    member: String,
    within: Duration,
}

impl EtcdClient {
    /// `within` bounds each single call, dialling included.
    pub fn new(access: &EtcdAccess, within: Duration) -> Self {
        EtcdClient {
            channel: connect::channel(access, within),
            member: access.authority().to_owned(),
            within,
        }
    }

    /// What this member says of itself; the one call that a learner and a member without a leader answer too.
    pub async fn status(&self) -> Result<StatusResponse, EtcdFailure> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        self.bounded(StatusRequest {}, |request| async move {
            client.status(request).await
        })
        .await
    }

    /// The members as this one knows them. `linearizable` asks for the leader's word, where etcd >= 3.5 can.
    pub async fn member_list(&self, linearizable: bool) -> Result<Vec<Member>, EtcdFailure> {
        let mut client = ClusterClient::new(self.channel.clone());
        self.bounded(MemberListRequest { linearizable }, |request| async move {
            client.member_list(request).await
        })
        .await
        .map(|response| response.members)
    }

    pub async fn alarms(&self) -> Result<Vec<AlarmMember>, EtcdFailure> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        self.bounded(AlarmRequest::default(), |request| async move {
            client.alarm(request).await
        })
        .await
        .map(|response| response.alarms)
    }

    /// Succeeds only while a quorum follows a leader, and once this member has applied all that was committed before.
    pub async fn linearizable_read(&self) -> Result<(), EtcdFailure> {
        let mut client = KvClient::new(self.channel.clone());
        let request = RangeRequest {
            key: PROBE_KEY.to_vec(),
            limit: 1,
            ..RangeRequest::default()
        };
        self.bounded(
            request,
            |request| async move { client.range(request).await },
        )
        .await
        .map(|_| ())
    }

    pub async fn add_learner(&self, peer_url: &str) -> Result<MemberAddResponse, EtcdFailure> {
        let mut client = ClusterClient::new(self.channel.clone());
        let request = MemberAddRequest {
            peer_ur_ls: vec![peer_url.to_owned()],
            is_learner: true,
        };
        self.bounded(request, |request| async move {
            client.member_add(request).await
        })
        .await
    }

    pub async fn promote(&self, id: u64) -> Result<(), EtcdFailure> {
        let mut client = ClusterClient::new(self.channel.clone());
        self.bounded(MemberPromoteRequest { id }, |request| async move {
            client.member_promote(request).await
        })
        .await
        .map(|_| ())
    }

    pub async fn remove(&self, id: u64) -> Result<(), EtcdFailure> {
        let mut client = ClusterClient::new(self.channel.clone());
        self.bounded(MemberRemoveRequest { id }, |request| async move {
            client.member_remove(request).await
        })
        .await
        .map(|_| ())
    }

    /// All that this member holds, as a file in pieces; the last 32 bytes are the SHA-256 of those before them. The time is for the
    /// first answer; each piece is bounded by who reads it.
    pub async fn snapshot(&self) -> Result<Streaming<SnapshotResponse>, EtcdFailure> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        self.bounded(SnapshotRequest {}, |request| async move {
            client.snapshot(request).await
        })
        .await
    }

    /// A failure in the middle of a stream.
    pub fn broken(&self, status: &Status) -> EtcdFailure {
        EtcdFailure::from_status(status, &self.member)
    }

    /// Only the leader itself can do this.
    pub async fn move_leader(&self, target: u64) -> Result<(), EtcdFailure> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        let request = MoveLeaderRequest { target_id: target };
        self.bounded(request, |request| async move {
            client.move_leader(request).await
        })
        .await
        .map(|_| ())
    }

    async fn bounded<Q, R, F>(
        &self,
        message: Q,
        call: impl FnOnce(Request<Q>) -> F,
    ) -> Result<R, EtcdFailure>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        // Giving up drops the call, which resets its stream: etcd stops waiting as well.
        match tokio::time::timeout(self.within, call(Request::new(message))).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(EtcdFailure::from_status(&status, &self.member)),
            Err(_) => Err(EtcdFailure::NoAnswer {
                within: self.within,
                member: self.member.clone(),
            }),
        }
    }
}
