//! What each command does.

pub mod access;
pub mod apply;
pub mod artifacts;
pub mod backup;
pub mod certificates;
mod change;
pub mod endpoint;
pub mod health;
pub mod leaving;
pub mod local;
pub mod nodes;
pub mod power;
pub mod recover;
mod secret_file;
pub mod snapshot;
pub mod tokens;
pub mod user;

use super::connect::{self, Client, SHORT, call};
use super::console::Console;
use super::context::{self, Context, Places};
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use quorate_proto::v1::{Problem, StatusRequest};

/// What every command that calls the coordinator needs.
pub struct Session<'a> {
    pub console: &'a Console,
    pub places: &'a Places,
}

impl Session<'_> {
    pub async fn open(&self) -> Outcome<(Context, Client)> {
        let context = context::load(self.places)?;
        let client = connect::connect(&context).await?;
        Ok((context, client))
    }
}

/// The cluster that was named, or the only one there is.
async fn cluster(context: &Context, client: &mut Client, named: Option<String>) -> Outcome<String> {
    if let Some(name) = named {
        return Ok(name);
    }
    let status = call(context, SHORT, client.status(StatusRequest::default())).await?;
    let mut names: Vec<String> = status.clusters.into_iter().map(|one| one.name).collect();
    match (names.pop(), names.as_slice()) {
        (Some(only), []) => Ok(only),
        (Some(last), others) => Err(Failure::new(
            Exit::Usage,
            Problem::new(
                "cluster-needed",
                "there are several clusters; say which one",
            )
            .because(format!("they are {} and {last}", others.join(", ")))
            .next(format!("add --cluster {last}, or another of them")),
        )),
        (None, _) => Err(Problem::new("not-found-cluster", "there is no cluster yet")
            .next("form one: quorate apply -f FILE")
            .into()),
    }
}
