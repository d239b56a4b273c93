//! Whose data lies in the data folder. etcd takes the data it finds without asking, and data of another member or cluster ruins it.

use super::environment::{self, Identity, Start};
use super::{data_folder, environment_file, unit};
use crate::context::Context;
use crate::host::{files, service};
use nix::unistd::{Gid, Group, Uid, User, chown, geteuid};
use quorate_proto::v1::Problem;
use std::path::Path;

/// The Debian package's user and group.
const ACCOUNT: &str = "etcd";

/// What to do with the data folder before etcd is started in it.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Empty, or of this very member.
    Use,
    /// Of a member of this cluster that is no more: its address has been given to the new one, and etcd takes each address once.
    Discard,
    /// Of another cluster, of a cluster formed here, or of nobody known.
    Refuse(&'static str),
}

pub fn decide(has_data: bool, owner: Option<&Identity>, cluster: &str, start: Start) -> Decision {
    if !has_data {
        return Decision::Use;
    }
    let Some(owner) = owner else {
        return Decision::Refuse("the folder holds data that quorate did not put there");
    };
    if owner.cluster != cluster {
        return Decision::Refuse("the folder holds data of another cluster");
    }
    if owner.member == start.identity() {
        return Decision::Use;
    }
    match start {
        Start::New => Decision::Refuse("this node has joined the cluster before"),
        Start::Join(_) if owner.member == Start::New.identity() => {
            Decision::Refuse("this node has formed the cluster before")
        }
        Start::Join(_) => Decision::Discard,
    }
}

/// Brings the data folder to where etcd may be started in it.
pub async fn settle(context: &Context, cluster: &str, start: Start) -> Result<(), Problem> {
    let folder = data_folder(&context.paths);
    let owner = files::read_optional(&environment_file(&context.paths))?
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| environment::identity(&text));
    let has_data = folder.join("member").exists();
    match decide(has_data, owner.as_ref(), cluster, start) {
        Decision::Use => {}
        Decision::Discard => {
            context.say("removing the data of this node's earlier membership");
            service::stop(unit::NAME).await?;
            files::remove_tree(&folder)?;
        }
        Decision::Refuse(why) => {
            return Err(Problem::new("etcd-data-in-the-way", why)
                .at(folder.display().to_string())
                .next("reset the node; this removes that data"));
        }
    }
    files::make_folder(&folder, 0o700)?;
    give_to_etcd(&folder)
}

/// Lets etcd's group read a file or folder that stays root's.
pub fn show_to_etcd(path: &Path) -> Result<(), Problem> {
    change_owner(path, false)
}

/// The folder with all in it.
pub fn give_tree_to_etcd(path: &Path) -> Result<(), Problem> {
    give_to_etcd(path)?;
    let fail = |error: std::io::Error| {
        let problem = Problem::new("file", format!("cannot read a folder: {error}"));
        problem.at(path.display().to_string())
    };
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?.path();
        match entry.is_dir() {
            true => give_tree_to_etcd(&entry)?,
            false => give_to_etcd(&entry)?,
        }
    }
    Ok(())
}

fn give_to_etcd(path: &Path) -> Result<(), Problem> {
    change_owner(path, true)
}

fn change_owner(path: &Path, user_too: bool) -> Result<(), Problem> {
    if !geteuid().is_root() {
        // Only root can give files away, and orders run as root: this is a test, whose files stay its own.
        return Ok(());
    }
    let (user, group) = account()?;
    chown(path, user_too.then_some(user), Some(group)).map_err(|error| {
        Problem::new("file", format!("cannot change a file's owner: {error}"))
            .at(path.display().to_string())
    })
}

fn account() -> Result<(Uid, Gid), Problem> {
    let user = User::from_name(ACCOUNT).ok().flatten();
    let group = Group::from_name(ACCOUNT).ok().flatten();
    match (user, group) {
        (Some(user), Some(group)) => Ok((user.uid, group.gid)),
        (None, _) | (_, None) => Err(Problem::new(
            "etcd-not-installed",
            "this machine has no user and group etcd",
        )
        .because("the package etcd-server is not installed")
        .next("install etcd-server, or list it among the cluster's packages")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_data() {
        let of = |cluster: &str, member: &str| {
            Some(Identity {
                cluster: cluster.into(),
                member: member.into(),
            })
        };
        let refused = |decision: &Decision| matches!(decision, Decision::Refuse(_));
        for (has_data, owner, start, expected) in [
            (false, None, Start::New, "use"),
            (false, of("other", "first"), Start::Join(7), "use"),
            (true, None, Start::New, "refuse"),
            (true, None, Start::Join(7), "refuse"),
            (true, of("other", "first"), Start::New, "refuse"),
            (true, of("other", "7"), Start::Join(7), "refuse"),
            (true, of("c", "first"), Start::New, "use"),
            (true, of("c", "first"), Start::Join(7), "refuse"),
            (true, of("c", "7"), Start::Join(7), "use"),
            (true, of("c", "7"), Start::New, "refuse"),
            (true, of("c", "6"), Start::Join(7), "discard"),
        ] {
            let decision = decide(has_data, owner.as_ref(), "c", start);
            let got = match &decision {
                Decision::Use => "use",
                Decision::Discard => "discard",
                Decision::Refuse(_) => "refuse",
            };
            assert_eq!(got, expected, "{has_data} {owner:?} {start:?}");
            assert_eq!(refused(&decision), expected == "refuse");
        }
    }
}
