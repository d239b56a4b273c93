//! Schedules as part of the ordinary tests, and proof that the checks bite.

use super::broken::Missing;
use super::checks::{Checks, Voter};
use super::command::{run_all, scratch};
use super::operator::Wish;
use super::schedule::{Options, run};

/// What an ordinary test run has time for: under a minute on two idle cores, unoptimized. More: `tests/run simulate`.
const ORDINARY: u64 = 500;
const JOBS: usize = 2;

#[test]
fn schedules_keep_the_invariants() {
    let sum = run_all(1..=ORDINARY, JOBS, false).expect("run");
    assert_eq!(sum.failed, vec![], "of {} schedules", sum.schedules);
    assert_eq!(sum.schedules, ORDINARY);
    assert!(sum.faults.len() >= 8, "{:?}", sum.faults);
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in [1, 7, 42, 1_234] {
        let again = || {
            let report = run(seed, &scratch(), Options::default()).expect("run");
            (report.hash, report.events, report.converged_ms)
        };
        assert_eq!(again(), again(), "seed {seed}");
    }
}

fn members(count: usize) -> Wish {
    Wish::Members {
        count,
        balancer: false,
    }
}

/// The first seed at which a coordinator without this rule is caught.
fn caught(missing: Missing, wishes: &[Wish], expected: &str) -> u64 {
    let found = (1..=SEEDS).find(|seed| {
        let options = Options {
            missing: Some(missing),
            wishes: Some(wishes.to_vec()),
            ..Options::default()
        };
        let report = run(*seed, &scratch(), options).expect("run");
        report.violations.iter().any(|it| it.contains(expected))
    });
    found.unwrap_or_else(|| panic!("{missing:?} is not caught within {SEEDS} seeds"))
}

/// A coordinator without a rule is caught within this many.
const SEEDS: u64 = 200;

#[test]
fn joins_that_are_not_serialized_are_caught() {
    let seed = caught(Missing::Serialization, &[members(3)], "in flight");
    println!("caught by seed {seed}");
}

#[test]
fn ghosts_that_stay_are_caught() {
    let seed = caught(Missing::GhostCleanup, &[members(3)], "no convergence");
    println!("caught by seed {seed}");
}

#[test]
fn a_target_that_is_not_looked_at_is_caught() {
    let seed = caught(Missing::Target, &[members(3), members(5)], "is added to");
    println!("caught by seed {seed}");
}

/// Three voters, the second down for this long: whether removing the third, and stopping it ahead of that, is held against us.
#[test]
fn the_checks_know_an_unsafe_removal() {
    let voter = |member, down_for_ms| Voter {
        member,
        up: down_for_ms == 0,
        down_for_ms,
        excused: false,
    };
    for (down_for_ms, bad) in [(0, false), (60_000, true)] {
        let voters = [voter(1, 0), voter(2, down_for_ms), voter(3, 0)];
        let mut removed = Checks::default();
        removed.removal(3, &voters, "is removed");
        assert_eq!(!removed.violations().is_empty(), bad, "{down_for_ms}");
        let mut stopped = Checks::default();
        stopped.stop(3, &voters);
        assert_eq!(!stopped.violations().is_empty(), bad, "{down_for_ms}");
        let mut own = Checks::default();
        own.removal(2, &voters, "is removed");
        assert_eq!(own.violations(), &[] as &[String], "{down_for_ms}");
    }
}
