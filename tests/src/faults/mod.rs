//! Faults at every step of what changes a cluster, on real hosts with the etcd distribution: `tests/run faults`.
//!
//! Operations go round: join, rotate, replace, remove. Each time something is struck at the operation's first event, the next time
//! at its second, until the operation ends before there are as many. The product knows nothing of it: events are what
//! `quorate operation watch` tells anybody. After each fault nobody lends a hand, and it is judged: did the operation end well, did
//! etcd's member list stay in order all the time ([`crate::product::observer`]), is every write there that was acknowledged before and
//! meanwhile.
//!
//! - [`scene`]: the hosts, and the operations; [`strike`]: the faults; [`writer`]: the writes; [`table`]: what came of it.

pub mod scene;
pub mod strike;
pub mod table;
pub mod writer;

use anyhow::{Result, ensure};
use scene::{Operation, Scene};
use strike::Strike;
use table::{Row, Table};

/// An operation here has about a dozen events; more would be a loop.
const MAX_STEPS: usize = 40;

/// Which faults: those whose name contains the word; at how many steps at most.
pub struct Wanted {
    pub only: String,
    pub steps: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            only: String::new(),
            steps: MAX_STEPS,
        }
    }
}

/// Prints each row as it comes, and the table at the end; an error if any fault was not survived.
pub fn run(wanted: &Wanted) -> Result<()> {
    let mut scene = Scene::new()?;
    let mut table = Table::default();
    for strike in Strike::ALL {
        if strike.name().contains(&wanted.only) {
            every_step(&mut scene, strike, wanted.steps, &mut table)?;
        }
    }
    println!("\n{table}");
    ensure!(table.survived(), "not all faults were survived");
    Ok(())
}

fn every_step(scene: &mut Scene, strike: Strike, steps: usize, table: &mut Table) -> Result<()> {
    let mut over = Vec::new();
    for step in 1..=steps.min(MAX_STEPS) {
        for operation in Operation::ROUND {
            // Each of them leads to the next, so that one with fewer events is gone through without a fault.
            let at = (!over.contains(&operation)).then_some(step);
            let result = scene.go_through(operation, strike, at);
            let row = match result {
                Ok(scene::Came::Struck(row)) => row,
                Ok(scene::Came::Over) => {
                    over.push(operation);
                    continue;
                }
                Err(error) => {
                    table.push(Row::failed(strike, operation, step, &error));
                    println!("\n{table}");
                    return Err(error);
                }
            };
            table.push(row);
        }
        if over.len() == Operation::ROUND.len() {
            break;
        }
    }
    Ok(())
}
