//! Starts the member that was just added: the manifests of etcd and API server dropped together, so that the API server is
//! as far as it can be when its etcd is promoted. Returns at once; promotion waits on the other side.

use super::config::Config;
use super::phase::phase;
use super::{claim, member};
use crate::context::{Context, Done, Outcome};
use quorate_proto::v1::{Problem, StartMember};

pub async fn run(context: &Context, action: &StartMember) -> Done {
    claim::require(context)?;
    let config = Config::build(context.cluster()?, context.node()?)?;
    let name = &context.node()?.name;
    if !action
        .initial_cluster
        .iter()
        .any(|member| member.name == *name)
    {
        return Err(Problem::new(
            "member-list",
            format!("the member list does not name {name}"),
        )
        .because("the member was removed meanwhile, or was never added"));
    }
    member::settle(context, &config, action.member_id).await?;
    let text = config.for_existing_etcd(&action.initial_cluster);
    tokio::try_join!(
        phase(context, &["etcd", "local"], &text),
        phase(context, &["control-plane", "apiserver"], &text),
    )?;
    Ok(Outcome::done())
}
