//! What many runs come to.

use super::{Odds, Outcome, Run};
use serde::{Deserialize, Serialize};

/// How many moments the exposure is given at: as many as a picture can show.
const MOMENTS: i64 = 120;

/// Many runs with the same odds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// How devices were supposed to fare.
    pub odds: Odds,
    /// What the runs have in common.
    pub summary: Summary,
    /// A run in the middle of the others of its kind.
    pub typical: Run,
    /// Devices that were offered the change by then, over all runs.
    pub exposure: Vec<Moment>,
}

/// How many devices were offered a change at a moment: in one run of twenty no more than `low`, in half of them no more than
/// `median`, in nineteen of twenty no more than `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds after the beginning.
    pub secs: i64,
    /// The smallest of the middle.
    pub low: u32,
    /// The middle.
    pub median: u32,
    /// The largest of the middle.
    pub high: u32,
}

/// What several runs have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u32,
    /// How many went through.
    pub done: u32,
    /// How many a gate stopped.
    pub stopped: u32,
    /// How many paused because too few devices reported.
    pub paused: u32,
    /// How many did not go on by themselves for another reason.
    pub stuck: u32,
    /// Devices exposed when a gate stopped it: half of those runs had no more.
    pub exposed_median: Option<u32>,
    /// Devices exposed when a gate stopped it: nineteen in twenty of those runs had no more.
    pub exposed_95: Option<u32>,
    /// How long it took until a gate stopped it, in seconds: half of those runs no longer.
    pub stopped_median_secs: Option<i64>,
    /// How long the runs took that went through, in seconds: half of them no longer.
    pub done_median_secs: Option<i64>,
    /// The same of nineteen in twenty.
    pub done_95_secs: Option<i64>,
}

impl Case {
    /// What runs come to; `None` if there are none.
    pub fn of(odds: Odds, runs: &[Run]) -> Option<Self> {
        let summary = sum_up(runs);
        Some(Self { odds, typical: typical(runs, &summary)?.clone(), exposure: exposure(runs), summary })
    }
}

/// Sums runs up.
pub fn sum_up(runs: &[Run]) -> Summary {
    let count = |outcome| number(runs.iter().filter(|run| run.outcome == outcome).count());
    let mut exposed: Vec<u32> = runs.iter().filter_map(|run| Some(run.stopped?.exposed)).collect();
    let mut stopped: Vec<i64> = runs.iter().filter_map(|run| Some(run.stopped?.secs)).collect();
    let mut done: Vec<i64> = runs.iter().filter(|run| run.outcome == Outcome::Done).map(|run| run.secs).collect();
    exposed.sort_unstable();
    stopped.sort_unstable();
    done.sort_unstable();
    Summary {
        runs: number(runs.len()),
        done: count(Outcome::Done),
        stopped: count(Outcome::Stopped),
        paused: count(Outcome::Paused),
        stuck: count(Outcome::Stuck),
        exposed_median: quantile(&exposed, 50),
        exposed_95: quantile(&exposed, 95),
        stopped_median_secs: quantile(&stopped, 50),
        done_median_secs: quantile(&done, 50),
        done_95_secs: quantile(&done, 95),
    }
}

/// Of the runs that came out as most did, the one in the middle by exposure and then by time.
fn typical<'a>(runs: &'a [Run], summary: &Summary) -> Option<&'a Run> {
    let Summary { done, stopped, paused, stuck, .. } = *summary;
    let outcomes =
        [(done, Outcome::Done), (stopped, Outcome::Stopped), (paused, Outcome::Paused), (stuck, Outcome::Stuck)];
    let (_, most) = outcomes.into_iter().max_by_key(|(count, _)| *count)?;
    let mut alike: Vec<&Run> = runs.iter().filter(|run| run.outcome == most).collect();
    alike.sort_by_key(|run| (run.exposed, run.secs, run.seed));
    quantile(&alike, 50)
}

fn exposure(runs: &[Run]) -> Vec<Moment> {
    let last = runs.iter().map(|run| run.secs).max().unwrap_or(0).max(1);
    let mut moments: Vec<i64> = (0..=MOMENTS).map(|number| last * number / MOMENTS).collect();
    moments.dedup();
    let at = |secs: i64| {
        let exposed = |run: &Run| {
            let known = run.exposure.partition_point(|(at, _)| *at <= secs);
            known.checked_sub(1).and_then(|at| run.exposure.get(at)).map_or(0, |(_, exposed)| *exposed)
        };
        let mut all: Vec<u32> = runs.iter().map(exposed).collect();
        all.sort_unstable();
        let of = |percent| quantile(&all, percent).unwrap_or(0);
        Moment { secs, low: of(5), median: of(50), high: of(95) }
    };
    moments.into_iter().map(at).collect()
}

/// The smallest of some sorted numbers that so many percent of them do not exceed.
fn quantile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
