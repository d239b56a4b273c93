//! A member of an etcd cluster of its own: etcd reads its pairs at each handshake, and the agent its own at each connection.

use super::{old, renew_pair};
use crate::context::{Context, Done, Outcome};
use crate::host::pair::Pair;
use crate::orders::etcd::{certificates, claim, health};
use crate::orders::serving::prove;
use crate::orders::serving::subject::Subject;
use quorate_proto::v1::Distribution;
use std::time::SystemTime;

pub async fn run(context: &Context, since: SystemTime) -> Done {
    claim::require(context)?;
    let subject = Subject::of(context, Distribution::Etcd)?;
    let validity = Some(certificates::LEAF_VALIDITY);
    let client = Pair::new(context.paths.etcd_pki(), "client");
    if old(&client, since)?.is_some() {
        renew_pair(context, &subject.authority, &client, validity, |_| Ok(()))?;
    }
    for serving in &subject.serving {
        if old(&serving.pair, since)?.is_some() {
            let own = subject.own_key;
            renew_pair(context, &subject.authority, &serving.pair, validity, own)?;
        }
    }
    for serving in &subject.serving {
        prove::served(context, serving).await?;
    }
    // With the new client certificate.
    health::serves(context, &health::client(context)?).await?;
    Ok(Outcome::done())
}
