//! Makes this member the only one of its cluster: etcd's quorum is lost for good or its data is bad, and an operator has said that
//! what this member, or the snapshot that it holds, lacks is given up.
//!
//! The member's own options file says how far that has come ([`environment::recovered`]), so that a second delivery never makes a
//! cluster anew that others may have joined meanwhile. Nothing is deleted: the data is copied aside before etcd may touch it.

use super::environment::{self, Recovered};
use super::{claim, data, data_folder, environment_file, health, subject, unit};
use crate::context::{Context, Done, Outcome};
use crate::etcd::EtcdClient;
use crate::host::{files, service};
use crate::orders::snapshot::restore::{self, Member, Restorer};
use crate::paths::Paths;
use quorate_proto::v1::{Problem, RecoverMember};
use std::path::{Path, PathBuf};

pub async fn run(context: &Context, order: &RecoverMember) -> Done {
    let (cluster, node, address) = subject(context)?;
    claim::require(context)?;
    let recovery = checked(&order.recovery)?;
    let paths = &context.paths;
    let text = files::read_text(&environment_file(paths))?;
    let own_url = environment::peer_url(address);
    match environment::recovered(&text, recovery) {
        Recovered::Done => {}
        Recovered::Forced => context.say("going on with the cluster of one"),
        Recovered::No if order.snapshot.is_empty() => {
            service::stop(unit::NAME).await?;
            context.say(format!(
                "keeping a copy of this member's data in {}",
                aside(paths, recovery).display()
            ));
            begin(paths, recovery)?;
        }
        Recovered::No => {
            let subject = (cluster.id.as_str(), node.name.as_str(), own_url.as_str());
            put_back(context, subject, order).await?;
        }
    }
    context.say("starting etcd as the only member of its cluster");
    unit::start(paths).await?;
    let client = health::client(context)?;
    health::serves(context, &client).await?;
    if environment::recovered(&text, recovery) != Recovered::Done {
        alone(&client, &own_url).await?;
        end(paths)?;
    }
    Ok(Outcome::done())
}

/// It names a folder.
pub fn checked(recovery: &str) -> Result<&str, Problem> {
    let plain = recovery.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain && !recovery.is_empty() {
        return Ok(recovery);
    }
    Err(
        Problem::new("order-malformed", "the order carries no recovery's id")
            .because("coordinator and agent of different versions")
            .next("install the same version of both packages"),
    )
}

fn aside(paths: &Paths, recovery: &str) -> PathBuf {
    paths.at(&format!("{}.before-{recovery}", environment::DATA_FOLDER))
}

/// etcd is stopped. From here on each of its starts makes a cluster of one.
pub(super) fn begin(paths: &Paths, recovery: &str) -> Result<(), Problem> {
    let data = data_folder(paths);
    if !data.join("member").exists() {
        return Err(
            Problem::new("etcd-data-missing", "this member holds no data of etcd")
                .at(data.display().to_string())
                .because("it was removed, or another disk is mounted there")
                .next("recover from another member: quorate recover --from-member NODE"),
        );
    }
    let copy = aside(paths, recovery);
    if !copy.exists() {
        let part = copy.with_extension(format!("before-{recovery}-part"));
        files::remove_tree(&part)?;
        files::copy_tree(&data, &part)?;
        files::rename(&part, &copy)?;
    }
    let file = environment_file(paths);
    let text = environment::forced(&files::read_text(&file)?, recovery);
    files::write_atomic(&file, text.as_bytes(), 0o644)
}

async fn put_back(
    context: &Context,
    (cluster, name, peer_url): (&str, &str, &str),
    order: &RecoverMember,
) -> Result<(), Problem> {
    let restorer = Restorer::find(&restore::programs()).await?;
    let info = restore::of_shelf(&context.paths, cluster, &order.snapshot)?;
    context.say(format!(
        "restoring snapshot {} at revision {}",
        info.id, info.revision
    ));
    if !restorer.bumps {
        context.say(
            "this version of etcd cannot raise the revision: clients that watch have to be started anew",
        );
    }
    service::stop(unit::NAME).await?;
    let member = Member {
        name,
        peer_url,
        token: &format!("{cluster}-{}", order.recovery),
    };
    from_snapshot(&context.paths, &order.recovery, async |folder: &Path| {
        restorer
            .restore(Path::new(&info.place), &member, folder)
            .await
    })
    .await
}

/// etcd is stopped.
pub(super) async fn from_snapshot(
    paths: &Paths,
    recovery: &str,
    restored: impl AsyncFnOnce(&Path) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let data = data_folder(paths);
    restore::swap(&data, &aside(paths, recovery), restored).await?;
    data::give_tree_to_etcd(&data)?;
    let file = environment_file(paths);
    let text = environment::restored(&files::read_text(&file)?, recovery);
    files::write_atomic(&file, text.as_bytes(), 0o644)
}

/// Some versions of etcd leave learners in the list when they make a cluster of one: of a join that went down with the quorum.
pub async fn alone(client: &EtcdClient, own_url: &str) -> Result<(), Problem> {
    let list = || async {
        let members = client.member_list(true).await;
        members.map_err(|failure| failure.problem())
    };
    let is_other = |urls: &[String]| !urls.iter().any(|url| url == own_url);
    for member in list().await?.iter().filter(|it| is_other(&it.peer_ur_ls)) {
        if member.is_learner {
            let removed = client.remove(member.id).await;
            removed.map_err(|failure| failure.problem())?;
        }
    }
    let members = list().await?;
    if members.len() == 1 && !is_other(&members[0].peer_ur_ls) {
        return Ok(());
    }
    Err(Problem::new(
        "not-alone",
        format!("etcd lists {} members after the recovery", members.len()),
    )
    .at(own_url)
    .because("another member has joined, or the old quorum is back")
    .next("quorate status; etcdctl member list on this node"))
}

/// Nobody has joined yet: from here on it starts as any member does.
pub(super) fn end(paths: &Paths) -> Result<(), Problem> {
    let file = environment_file(paths);
    let text = environment::unforced(&files::read_text(&file)?);
    files::write_atomic(&file, text.as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recoverys_id_is_no_path() {
        for (id, good) in [("01K9", true), ("", false), ("../x", false), ("a/b", false)] {
            assert_eq!(checked(id).is_ok(), good, "{id:?}");
        }
    }
}
