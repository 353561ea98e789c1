//! The seeded simulation: a controller, a network and devices in one thread and in virtual time.
//!
//! Everything that decides is what the daemon and the agent call. Around it, a queue of events: messages are lost, doubled,
//! delayed and replayed; processes die at any effect and come back; stores fail and are restored from older backups; people
//! push, force, delete, hold and approve late; engines fail and are tampered with. After every event, what must always hold is
//! checked ([`oracle`]). Then nothing goes wrong any more, and everything must converge and rest ([`rest`]).
//!
//! A seed decides everything. A failing one says how to repeat it.

mod controller;
mod device;
mod fleet;
mod network;
mod oracle;
mod people;
mod planted;
mod rest;
mod rollouts;
mod scenario;
mod stream;
mod world;

use oracle::Broken;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use world::{Counts, World};

/// How many seeds run without being asked for more: a few seconds on a small machine.
const SEEDS: u64 = 200;
/// How many fleets with rollouts do.
const ROLLOUT_SEEDS: u64 = 200;
/// How long things go wrong, in milliseconds of virtual time.
const TROUBLE_MILLIS: i64 = 15 * 60_000;
/// What some seeds must have had, or their success would say little.
const EXERCISED: [&str; 10] = [
    "assignments",
    "actions failed",
    "commits approved",
    "envelopes forged",
    "hardware replaced",
    "late actions",
    "refusals",
    "reissues",
    "restores",
    "store failures",
];
/// How many lines of the log a failing seed shows.
const LOG_LINES: usize = 200;

/// One seed from its beginning to its rest.
fn run(world: &mut World) -> Result<(), Broken> {
    world.run_until(world.now + TROUBLE_MILLIS)?;
    world.calm_down();
    world.come_to_rest()
}

/// Runs a seed, twice if it fails: the second time with a log.
fn check(seed: u64) -> Result<Counts, (Broken, String)> {
    let mut world = World::new(seed, 0);
    match run(&mut world) {
        Ok(()) => Ok(world.counts),
        Err(broken) => {
            let mut world = World::new(seed, LOG_LINES);
            // The same again: a seed decides everything.
            let _ = run(&mut world);
            let mut text = format!(
                "seed {seed} ({} devices, {:?} polls): {}\n  {}\n",
                world.devices.len(),
                world.poll,
                broken.rule,
                broken.message
            );
            let _ = writeln!(text, "repeat: just sim-seed {seed}\n\nthe last {LOG_LINES} things that happened:");
            for line in &world.log {
                let _ = writeln!(text, "  {line}");
            }
            Err((broken, text))
        }
    }
}

/// Runs a fleet with rollouts, twice if it fails.
fn check_rollouts(seed: u64) -> Result<Counts, (Broken, String)> {
    let mut trial = rollouts::Trial::new(seed, 0);
    match trial.run() {
        Ok(()) => Ok(trial.counts),
        Err(broken) => {
            let mut trial = rollouts::Trial::new(seed, LOG_LINES);
            let _ = trial.run();
            let mut text = format!(
                "rollouts, seed {seed} ({} devices): {}\n  {}\n",
                trial.devices.len(),
                broken.rule,
                broken.message
            );
            let _ = writeln!(text, "repeat: just sim-seed {seed}\n\nthe last {LOG_LINES} things that happened:");
            for line in &trial.log {
                let _ = writeln!(text, "  {line}");
            }
            Err((broken, text))
        }
    }
}

/// A number from the environment: how the commands of the justfile ask for more.
fn asked(name: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods, reason = "a test has no configuration; cargo hands on nothing else")]
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What some fleets with rollouts must have had.
const ROLLED_OUT: [&str; 16] = [
    "rollouts: acts",
    "rollouts: catching up",
    "rollouts: controller killed",
    "rollouts: devices lost",
    "rollouts: done",
    "rollouts: errors",
    "rollouts: late ones stopped",
    "rollouts: lost",
    "rollouts: newcomers",
    "rollouts: paused",
    "rollouts: quarantines lifted",
    "rollouts: rolled back",
    "rollouts: sites waited for",
    "rollouts: steps blocked",
    "rollouts: store failures",
    "rollouts: superseded",
];

#[test]
fn every_seed_keeps_the_rules_and_converges() {
    every_seed(SEEDS, &EXERCISED, check);
}

#[test]
fn every_fleet_with_rollouts_keeps_the_rules_and_converges() {
    every_seed(ROLLOUT_SEEDS, &ROLLED_OUT, check_rollouts);
}

#[allow(clippy::print_stdout, reason = "long runs are looked at; the harness swallows it otherwise")]
fn every_seed(seeds: u64, exercised: &[&'static str], check: impl Fn(u64) -> Result<Counts, (Broken, String)> + Sync) {
    let first = asked("BELLWETHER_SIM_SEED");
    let count = if first.is_some() { 1 } else { asked("BELLWETHER_SIM_SEEDS").unwrap_or(seeds) };
    let next = AtomicU64::new(first.unwrap_or(0));
    let end = first.unwrap_or(0) + count;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (counts, failures) = std::thread::scope(|scope| {
        let work = || {
            let (mut counts, mut failures) = (Counts::default(), Vec::new());
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end || failures.len() > 3 {
                    return (counts, failures);
                }
                match check(seed) {
                    Ok(more) => {
                        more.0.into_iter().for_each(|(what, count)| *counts.0.entry(what).or_default() += count)
                    }
                    Err((_, text)) => failures.push(text),
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let (mut counts, mut failures) = (Counts::default(), Vec::new());
        for worker in workers {
            let (more, failed) = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            more.0.into_iter().for_each(|(what, count)| *counts.0.entry(what).or_default() += count);
            failures.extend(failed);
        }
        (counts, failures)
    });
    assert!(failures.is_empty(), "{} seeds failed\n\n{}", failures.len(), failures.join("\n\n"));
    if first.is_none() {
        for what in exercised {
            assert!(counts.0.contains_key(*what), "none of {count} seeds had any of this: {what}");
        }
    }
    let counts: Vec<String> = counts.0.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    println!("{count} seeds\n{}", counts.join("\n"));
}
