//! The gate at the end of a step: whether what the devices reported is good enough to go on.
//!
//! With `N` devices in the step, `ok` of which succeeded and `bad` of which failed for good:
//!
//! - `reported = ok + bad`, the share of reports is `reported / N`, the share of successes `ok / reported`.
//! - A step passes when both shares are reached, and its window is over or everybody has reported. No reports never pass.
//! - It fails at once when it cannot pass any more, whatever else is reported: when `bad > N − ⌈min_success · N⌉`. Each further
//!   success can only raise the share of successes, so the best that can still come is that all others succeed.
//!
//! Failures that somebody acknowledged count for nothing any more: the devices leave `N` as if they had not taken part, and only
//! further failures decide.

use super::share::Share;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a device failed for good, after whatever retries it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// It said that it could not do it.
    Failed,
    /// It refused.
    Rejected,
    /// It began and was not done when the step's time was over.
    TimedOut,
    /// It did it, was not healthy, and went back by itself or with its site.
    RolledBack,
    /// It began and was never heard of again.
    Lost,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Failed, Self::Rejected, Self::TimedOut, Self::RolledBack, Self::Lost];

    /// The word for people and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::TimedOut => "timed-out",
            Self::RolledBack => "rolled-back",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What has become of the devices that count in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// `N`: those that took part when the step began, less those that left unreported and those that were acknowledged.
    pub members: u32,
    /// Those that succeeded, soak included.
    pub ok: u32,
    /// [`Failure::Failed`].
    pub failed: u32,
    /// [`Failure::Rejected`].
    pub rejected: u32,
    /// [`Failure::TimedOut`].
    pub timed_out: u32,
    /// [`Failure::RolledBack`].
    pub rolled_back: u32,
    /// [`Failure::Lost`].
    pub lost: u32,
}

impl Counts {
    /// How many failed in one way.
    pub fn of(&self, failure: Failure) -> u32 {
        match failure {
            Failure::Failed => self.failed,
            Failure::Rejected => self.rejected,
            Failure::TimedOut => self.timed_out,
            Failure::RolledBack => self.rolled_back,
            Failure::Lost => self.lost,
        }
    }

    /// The counter of one way to fail.
    pub fn of_mut(&mut self, failure: Failure) -> &mut u32 {
        match failure {
            Failure::Failed => &mut self.failed,
            Failure::Rejected => &mut self.rejected,
            Failure::TimedOut => &mut self.timed_out,
            Failure::RolledBack => &mut self.rolled_back,
            Failure::Lost => &mut self.lost,
        }
    }

    /// Those that failed for good.
    pub fn bad(&self) -> u32 {
        Failure::ALL.into_iter().map(|failure| self.of(failure)).sum()
    }

    /// Those of which the outcome is known.
    pub fn reported(&self) -> u32 {
        self.ok + self.bad()
    }
}

/// What a step asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The share of the step's devices that must have reported.
    pub min_reports: Share,
    /// The share of those that must have succeeded.
    pub min_success: Share,
}

/// How a step stands at its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Enough reports, enough successes.
    Passing,
    /// So many reports are missing.
    TooFewReports {
        /// How many more it needs; at least 1.
        missing: u32,
    },
    /// Enough reports, too few successes so far; further reports can still turn it.
    TooFewSuccesses {
        /// How many more successes it needs, if nothing else fails; at least 1.
        missing: u32,
    },
    /// Whatever else is reported, it cannot pass any more.
    Hopeless {
        /// How many failed.
        bad: u32,
        /// How many may.
        allowed: u32,
    },
}

impl Gate {
    /// How many of `members` may fail: one more, and nothing can pass.
    pub fn allowed_failures(&self, members: u32) -> u32 {
        members - self.min_success.ceil_of(members)
    }

    /// The smallest share of failing devices that the gate can see in a step of so many: anything less passes.
    pub fn smallest_visible(&self, members: u32) -> Share {
        Share::reached_by(self.allowed_failures(members).saturating_add(1), members)
    }

    /// How these counts stand.
    pub fn standing(&self, counts: &Counts) -> Standing {
        let (bad, reported) = (counts.bad(), counts.reported());
        let allowed = self.allowed_failures(counts.members.max(reported));
        if bad > allowed {
            return Standing::Hopeless { bad, allowed };
        }
        // No reports never pass, however few are asked for.
        let needed = self.min_reports.ceil_of(counts.members).max(1);
        if reported < needed {
            return Standing::TooFewReports { missing: needed - reported };
        }
        if self.min_success.is_reached(counts.ok, reported) {
            return Standing::Passing;
        }
        Standing::TooFewSuccesses { missing: self.successes_missing(counts.ok, bad) }
    }

    /// The fewest further successes with which `ok` of `ok + bad` are enough.
    fn successes_missing(&self, ok: u32, bad: u32) -> u32 {
        // ok' / (ok' + bad) ≥ s, so ok' ≥ s · bad / (1 − s). With s = 1 and a failure nothing is enough, and that is hopeless.
        let share = u64::from(self.min_success.count());
        let rest = u64::from(Share::WHOLE).saturating_sub(share).max(1);
        let needed = (share * u64::from(bad)).div_ceil(rest);
        u32::try_from(needed.saturating_sub(u64::from(ok))).unwrap_or(u32::MAX).max(1)
    }
}

/// A reason to stop at once: too large a share of what has reported failed in one way, once enough has reported to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortRule {
    /// In which way; `None` for all of them together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// From which share of the reports on.
    pub threshold: Share,
    /// From how many reports on; of fewer, shares say nothing.
    pub min_executed: u32,
}

impl AbortRule {
    /// Whether these counts meet it.
    pub fn is_met(&self, counts: &Counts) -> bool {
        let (executed, count) = (counts.reported(), self.count(counts));
        count > 0 && executed >= self.min_executed && self.threshold.is_reached(count, executed)
    }

    /// How many failed in its way.
    pub fn count(&self, counts: &Counts) -> u32 {
        self.failure.map_or_else(|| counts.bad(), |failure| counts.of(failure))
    }
}

impl fmt::Display for AbortRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.failure.map_or("failed in any way", Failure::as_str);
        write!(f, "at least {} {what}, of at least {} reports", self.threshold, self.min_executed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(members: u32, ok: u32, bad: u32) -> Counts {
        Counts { members, ok, failed: bad, ..Counts::default() }
    }

    /// The definition, in fractions.
    fn passes(gate: &Gate, members: u32, ok: u32, bad: u32) -> bool {
        let whole = u32::from(Share::WHOLE);
        let reported = ok + bad;
        reported > 0
            && reported * whole >= members * u32::from(gate.min_reports.count())
            && ok * whole >= reported * u32::from(gate.min_success.count())
    }

    /// Shares at which rounding shows for small numbers, and some others.
    fn shares() -> impl Iterator<Item = Share> {
        [0, 1, 2500, 3333, 3334, 5000, 6667, 8000, 9500, 9667, 9950, 10_000]
            .into_iter()
            .filter_map(Share::per_ten_thousand)
    }

    #[test]
    fn fail_fast_equals_the_definition_by_brute_force_for_all_n_up_to_30() {
        for (min_success, members) in shares().flat_map(|share| (1..=30_u32).map(move |n| (share, n))) {
            for min_reports in [Share::NONE, Share::percent(80)] {
                let gate = Gate { min_reports, min_success };
                let pairs = || (0..=members).flat_map(|ok| (0..=members - ok).map(move |bad| (ok, bad)));
                let passing: Vec<_> = pairs().filter(|(ok, bad)| passes(&gate, members, *ok, *bad)).collect();
                for (ok, bad) in pairs() {
                    let can_pass = passing.iter().any(|(more_ok, more_bad)| *more_ok >= ok && *more_bad >= bad);
                    let standing = gate.standing(&counts(members, ok, bad));
                    let hopeless = matches!(standing, Standing::Hopeless { .. });
                    assert_eq!(hopeless, !can_pass, "{gate:?} of {members}: {ok} ok, {bad} bad");
                    let now = standing == Standing::Passing;
                    assert_eq!(now, passing.contains(&(ok, bad)), "{gate:?} of {members}: {ok} ok, {bad} bad");
                }
            }
        }
    }

    #[test]
    fn no_reports_never_pass() {
        for min_success in shares() {
            let gate = Gate { min_reports: Share::NONE, min_success };
            assert_eq!(gate.standing(&counts(10, 0, 0)), Standing::TooFewReports { missing: 1 });
            assert_ne!(gate.standing(&Counts::default()), Standing::Passing, "an empty step");
        }
    }

    #[test]
    fn a_complete_group_below_its_threshold_does_not_pass() {
        let gate = Gate { min_reports: Share::percent(80), min_success: Share::percent(90) };
        assert_eq!(gate.standing(&counts(10, 8, 2)), Standing::Hopeless { bad: 2, allowed: 1 });
    }

    #[test]
    fn the_smallest_failure_rate_that_a_gate_sees_depends_on_how_many_there_are() {
        let gate = Gate { min_reports: Share::ALL, min_success: Share::per_ten_thousand(9950).expect("in range") };
        let shown = [1, 23, 200, 1000, 100_000]
            .map(|n| format!("{n}: {} may fail, {} is seen", gate.allowed_failures(n), gate.smallest_visible(n)));
        insta::assert_snapshot!(shown.join("\n"), @r"
        1: 0 may fail, 100% is seen
        23: 0 may fail, 4.35% is seen
        200: 1 may fail, 1% is seen
        1000: 5 may fail, 0.6% is seen
        100000: 500 may fail, 0.51% is seen
        ");
    }

    #[test]
    fn a_share_of_failures_means_nothing_before_enough_was_reported() {
        let rule = AbortRule { failure: Some(Failure::Lost), threshold: Share::percent(20), min_executed: 10 };
        let lost = |ok, lost| Counts { members: 100, ok, lost, ..Counts::default() };
        assert!(!rule.is_met(&lost(0, 9)), "nine reports are too few to tell");
        assert!(rule.is_met(&lost(8, 2)));
        assert!(!rule.is_met(&lost(9, 2)), "two of eleven are less than a fifth");
        assert!(!rule.is_met(&counts(100, 5, 5)), "these failed in another way");
        let any = AbortRule { failure: None, threshold: Share::NONE, min_executed: 0 };
        assert!(!any.is_met(&lost(50, 0)), "no failure is no reason to stop");
    }

    proptest! {
        #[test]
        fn what_is_said_to_be_missing_is_exactly_what_is_missing(
            members in 1_u32..5000, ok in 0_u32..5000, bad in 0_u32..100, reports in 0..=10_000_u16, success in 0..=10_000_u16,
        ) {
            prop_assume!(ok + bad <= members);
            let share = |number| Share::per_ten_thousand(number).expect("in range");
            let gate = Gate { min_reports: share(reports), min_success: share(success) };
            match gate.standing(&counts(members, ok, bad)) {
                Standing::TooFewReports { missing } => {
                    let enough = |ok: u32| !matches!(gate.standing(&counts(members, ok, bad)), Standing::TooFewReports { .. });
                    prop_assert!(ok + bad + missing <= members);
                    prop_assert!(enough(ok + missing) && !enough(ok + missing - 1));
                }
                Standing::TooFewSuccesses { missing } => {
                    prop_assert!(ok + bad + missing <= members);
                    prop_assert_eq!(gate.standing(&counts(members, ok + missing, bad)), Standing::Passing);
                    prop_assert_ne!(gate.standing(&counts(members, ok + missing - 1, bad)), Standing::Passing);
                }
                Standing::Passing | Standing::Hopeless { .. } => {}
            }
        }
    }
}
