//! What the local member presents to whoever calls it: one handshake with its own address.

use crate::kube::carrier::Place;
use crate::kube::serving::{look, reported};
use quorate_proto::v1::{Problem, ServingCertificate};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// On the same machine; one that takes longer is as good as silent.
const WITHIN: Duration = Duration::from_millis(1500);

/// Nothing where nothing of the cluster is served.
pub async fn view(member: Option<&Place>) -> Result<Option<ServingCertificate>, Problem> {
    let Some((host, port)) = member else {
        return Ok(None);
    };
    let address: IpAddr = host.parse().map_err(|_| {
        Problem::new("no-handshake", format!("{host:?} is no address"))
            .because("the member's settings were edited by hand")
    })?;
    let served = look(SocketAddr::new(address, *port), host, WITHIN).await?;
    Ok(Some(reported(&served.info)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::TestCluster;

    #[tokio::test]
    async fn a_member_that_asks_for_a_client_certificate() {
        let cluster = TestCluster::start().await;
        let access = cluster.access(1);
        let (host, port) = access.authority().rsplit_once(':').unwrap();
        let place = (host.to_owned(), port.parse().unwrap());
        let serving = view(Some(&place)).await.unwrap().unwrap();
        assert_eq!(serving.names, [host, "127.0.0.1"]);
        assert_eq!(serving.fingerprint.len(), 64);
        assert!(serving.not_before_unix < serving.not_after_unix);
        assert_eq!(view(None).await.unwrap(), None);
        let silent = view(Some(&(host.to_owned(), 1))).await.unwrap_err();
        assert_eq!(silent.code, "no-handshake");
    }
}
