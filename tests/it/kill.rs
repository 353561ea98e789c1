//! `kill -9` of controller and agents at random moments: every run converges, nothing goes back, nothing is made twice.
//!
//! The demo's scenario, told by the real executables while somebody kills them. The moments come from a seed; `just kill 50`
//! runs fifty seeds, and a failure names the one to repeat.

mod chance;
mod containers;
mod fleet;
mod requests;
mod scenario;
mod witness;

use scenario::{Outcome, SCENES};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How many seeds are run where nobody asks for more.
const RUNS: u64 = 10;
/// How many runs go side by side: they mostly wait for timers and for the disk.
const SIDE_BY_SIDE: usize = 3;

#[test]
fn killed_at_random_moments_a_fleet_converges_and_makes_nothing_twice() {
    if let Some(seed) = setting("BELLWETHER_KILL_SEED") {
        run_seed(seed, &AtomicBool::new(false));
        return;
    }
    let runs = setting("BELLWETHER_KILL_RUNS").unwrap_or(RUNS);
    let next = AtomicU64::new(1);
    let failed = AtomicBool::new(false);
    let under_way: [AtomicU32; SCENES.len()] = Default::default();
    std::thread::scope(|scope| {
        let work = || {
            while !failed.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > runs {
                    return;
                }
                let outcome = run_seed(seed, &failed);
                for (sum, count) in under_way.iter().zip(outcome.under_way) {
                    sum.fetch_add(count, Ordering::Relaxed);
                }
            }
        };
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(work);
        }
    });
    for ((scene, _), sum) in SCENES.iter().zip(&under_way) {
        let sum = u64::from(sum.load(Ordering::Relaxed));
        say(&format!("{sum} kills during {scene}"));
        // Not one in each run: a fast machine may be through before somebody strikes.
        assert!(sum >= runs / 2, "{sum} kills in {runs} runs came during {scene}: too few to prove anything");
    }
}

#[test]
fn a_device_whose_ledger_was_lost_after_some_starts_is_still_heard() {
    scenario::lose_a_ledger();
}

fn run_seed(seed: u64, failed: &AtomicBool) -> Outcome {
    let _repeat = Repeat { seed, failed };
    let outcome = scenario::run(seed);
    let Outcome { strikes, under_way, sights, places, creates } = &outcome;
    say(&format!(
        "seed {seed}: {} kills of the controller and {} of agents; {} strikes while something was under way; \
         {sights} sights of {places} places; {creates} creates",
        strikes.controller,
        strikes.agents,
        under_way.iter().sum::<u32>(),
    ));
    outcome
}

/// Names the command that repeats a run, and stops the others, if it fails.
struct Repeat<'a> {
    seed: u64,
    failed: &'a AtomicBool,
}

impl Drop for Repeat<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failed.store(true, Ordering::Relaxed);
            let seed = self.seed;
            say(&format!(
                "repeat with: BELLWETHER_KILL_SEED={seed} cargo test --all-features --test it kill -- --nocapture"
            ));
        }
    }
}

/// For the person who reads a measurement or a failure: the harness would swallow what other threads print.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[allow(clippy::disallowed_methods, reason = "how many runs is asked for in the environment, as `just kill` does")]
pub fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value:?}")))
}
