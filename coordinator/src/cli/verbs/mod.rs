//! What each command does.

pub mod access;
pub mod apply;
pub mod artifacts;
pub mod health;
pub mod local;
pub mod nodes;
pub mod tokens;
pub mod user;

use super::connect::{self, Client};
use super::console::Console;
use super::context::{self, Context, Places};
use super::failure::Outcome;

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
