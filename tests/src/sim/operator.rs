//! An administrator's calls, over one connection: a thousand starts of the command line would measure those.

use super::coordinator::Coordinator;
use anyhow::{Context, Result, anyhow};
use quorate_agent::link::dial::Dialer;
use quorate_pki::Hot;
use quorate_proto::limits::MAX_MESSAGE_BYTES;
use quorate_proto::token::JoinToken;
use quorate_proto::v1::operator_client::OperatorClient;
use quorate_proto::v1::{
    AuditEntry, CreateTokenRequest, ListAuditRequest, ListNodesRequest, ListOperationsRequest,
    NodeInfo, OperationInfo,
};
use std::sync::Arc;
use tonic::transport::Channel;

/// More than one rotation writes.
const AUDIT: u32 = 100;

#[derive(Clone)]
pub struct Operator(OperatorClient<Channel>);

impl Operator {
    pub async fn connect(coordinator: &Coordinator) -> Result<Self> {
        let material = Arc::new(Hot::new(coordinator.access()?));
        let channel = Dialer::new(material).channel(&coordinator.address).await;
        let channel = channel.map_err(|failure| anyhow!("{}", failure.problem))?;
        Ok(Operator(
            OperatorClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        ))
    }

    pub async fn token(&self, node: &str) -> Result<JoinToken> {
        let request = CreateTokenRequest {
            node: node.to_owned(),
            ttl_seconds: 0,
        };
        let made = self.0.clone().create_token(request).await?.into_inner();
        JoinToken::decode(&made.token).map_err(|problem| anyhow!("{problem}"))
    }

    pub async fn nodes(&self) -> Result<Vec<NodeInfo>> {
        let listed = self.0.clone().list_nodes(ListNodesRequest {}).await?;
        Ok(listed.into_inner().nodes)
    }

    /// The newest one.
    pub async fn operation(&self) -> Result<OperationInfo> {
        let listed = self
            .0
            .clone()
            .list_operations(ListOperationsRequest {})
            .await?;
        let all = listed.into_inner().operations;
        all.into_iter()
            .max_by_key(|it| it.started_unix_ms)
            .context("no operation")
    }

    pub async fn audit(&self) -> Result<Vec<AuditEntry>> {
        let request = ListAuditRequest { limit: AUDIT };
        let listed = self.0.clone().list_audit(request).await?;
        Ok(listed.into_inner().entries)
    }
}
