//! Rollout policies: in which steps a change goes out, and what must hold before it goes on.

use super::budget::Budget;
use super::gate::{AbortRule, Gate};
use super::rate::Rate;
use super::share::{Amount, Share};
use super::spread::Spread;
use crate::domain::ids::{LabelName, PolicyName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many steps a policy may have, the last one left out. People must be able to read it.
pub const MAX_STEPS: usize = 32;
/// How many reasons to stop a step may have.
pub const MAX_ABORT_RULES: usize = 16;
/// How many budgets a policy may have: each offer looks at all of them.
pub const MAX_BUDGETS: usize = 16;
/// The longest window, timeout, soak or back-off, in seconds: 400 days.
pub const MAX_SECS: u32 = 400 * 86_400;
/// How many people may have to approve something.
pub const MAX_APPROVALS: u8 = 5;
/// How often a device may be offered the same content again by itself.
pub const MAX_RETRIES: u8 = 10;

/// A rollout policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// The steps, in order. A device is in the first one that selects it.
    pub steps: Vec<StepPolicy>,
    /// The step of everybody else.
    pub last: StepPolicy,
    /// How many people must approve before it begins.
    #[serde(default)]
    pub approvals: u8,
    /// What happens when a step fails.
    #[serde(default)]
    pub on_error: OnError,
    /// When it takes the place of rollouts that are under way.
    #[serde(default)]
    pub supersede: Supersede,
    /// From how long a silence on a device that began is lost, in seconds.
    pub lost_after_secs: u32,
    /// Devices that come when their step is over.
    pub late: Late,
    /// What must stay available.
    #[serde(default)]
    pub budgets: Vec<Budget>,
}

/// One step of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPolicy {
    /// What people call it.
    pub name: String,
    /// Which devices.
    pub selector: Selector,
    /// How many of those, by rank: a share is of all devices of the rollout, rounded up. `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<Amount>,
    /// Over how long they are spread, in seconds.
    pub window_secs: u32,
    /// How long to wait for reports after the window, in seconds.
    pub timeout_secs: u32,
    /// What must have been reported.
    pub gate: Gate,
    /// How long a device must have been healthy to have succeeded, in seconds.
    pub soak_secs: u32,
    /// How many may start per minute; `None` for as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Reasons to stop at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abort: Vec<AbortRule>,
    /// How many people must approve before the step begins.
    #[serde(default)]
    pub approvals: u8,
    /// How often a device that failed is offered the same again by itself.
    #[serde(default)]
    pub retry: Retry,
    /// What happens when too few have reported in time.
    #[serde(default)]
    pub on_insufficient_reports: OnInsufficient,
    /// What happens when there is nobody in it.
    #[serde(default)]
    pub when_empty: WhenEmpty,
    /// How devices are spread over the window.
    #[serde(default)]
    pub spread: Spread,
    /// The label whose values are sites: devices of a site start together, and succeed together or go back together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<LabelName>,
}

impl StepPolicy {
    /// The window in milliseconds.
    pub fn window_ms(&self) -> u64 {
        u64::from(self.window_secs) * 1000
    }

    /// What the step's clock shows when reports are waited for no longer, in milliseconds.
    pub fn deadline_ms(&self) -> u64 {
        self.window_ms() + u64::from(self.timeout_secs) * 1000
    }
}

/// Which devices a step takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// All.
    All,
    /// Those of a group of the inventory.
    Group(String),
    /// Those that a filter matches.
    Filter(String),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all devices"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Filter(filter) => write!(f, "devices with {filter}"),
        }
    }
}

/// What happens when a step fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Nothing more is offered, and people look.
    #[default]
    Pause,
    /// Devices go back to what they had.
    Rollback,
}

/// When a commit takes the place of rollouts that are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Supersede {
    /// When their step is decided; at once if they stand still.
    #[default]
    Step,
    /// At once.
    Force,
}

/// What happens when too few devices have reported in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnInsufficient {
    /// The rollout pauses.
    #[default]
    Pause,
    /// The step fails.
    Error,
    /// The step passes if what was reported is good. Only the last step passes with no reports at all: nothing comes after it.
    Advance,
}

/// What happens to a step without devices, or with none that is online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenEmpty {
    /// It blocks: nobody has tried anything.
    #[default]
    Block,
    /// It passes.
    Pass,
}

/// How often a device that failed is offered the same again by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How often.
    pub max: u8,
    /// How long after the failure, in seconds.
    pub backoff_secs: u32,
}

/// Devices that come when their step is over: they were away, or their window was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// How many may start per minute; `None` for as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catchup_rate: Option<Rate>,
    /// How many of them may fail before no further one is offered anything: a share is of those that have reported late.
    pub max_failures: Amount,
}

/// Fifteen minutes: three polls of a device that polls every five, which is the slowest that is usual.
pub const LOST_AFTER_SECS: u32 = 15 * 60;
/// Half an hour for a device to fetch, apply and report, unless a policy says otherwise.
pub const TIMEOUT_SECS: u32 = 30 * 60;
/// One minute of health before a success counts.
pub const SOAK_SECS: u32 = 60;

impl Late {
    /// Sixty per minute; one in twenty may fail.
    pub const DEFAULT: Self = Self {
        catchup_rate: Some(Rate { base_per_min: 60, factor_hundredths: 100, after: 1, max_per_min: 60 }),
        max_failures: Amount::Share(Share::percent(5)),
    };
}

impl StepPolicy {
    /// A step with the defaults that the documentation states.
    pub fn with_defaults(name: &str, selector: Selector) -> Self {
        Self {
            name: name.to_owned(),
            selector,
            take: None,
            window_secs: 0,
            timeout_secs: TIMEOUT_SECS,
            gate: Gate { min_reports: Share::percent(80), min_success: Share::percent(95) },
            soak_secs: SOAK_SECS,
            rate: None,
            abort: Vec::new(),
            approvals: 0,
            retry: Retry::default(),
            on_insufficient_reports: OnInsufficient::Pause,
            when_empty: WhenEmpty::Block,
            spread: Spread::Rank,
            site: None,
        }
    }

    /// The step of everybody else, with its defaults: it waits for nobody who does not report, and there may be nobody left.
    pub fn last() -> Self {
        Self {
            on_insufficient_reports: OnInsufficient::Advance,
            when_empty: WhenEmpty::Pass,
            ..Self::with_defaults("final", Selector::All)
        }
    }
}

impl Policy {
    /// How many devices get it at once: nothing is learned from anybody before, and nobody has to agree. `members` says how many each
    /// step has, the last one included.
    pub fn at_once(&self, members: &[u32]) -> u32 {
        if self.approvals > 0 || !self.budgets.is_empty() {
            return 0;
        }
        let steps = (0..self.count()).map(|number| (self.step(number), members.get(number).copied().unwrap_or(0)));
        // A step without devices is passed over, or lets nothing happen.
        let is_first = |(step, members): &(&StepPolicy, u32)| {
            *members > 0 || step.when_empty == WhenEmpty::Block || step.approvals > 0
        };
        let first = steps.into_iter().find(is_first);
        let spreads = |step: &StepPolicy| step.window_secs > 0 || step.rate.is_some() || step.approvals > 0;
        first.filter(|(step, _)| !spreads(step)).map_or(0, |(_, members)| members)
    }

    /// Everybody at once.
    pub fn new(name: PolicyName) -> Self {
        Self {
            name,
            steps: Vec::new(),
            last: StepPolicy::last(),
            approvals: 0,
            on_error: OnError::Pause,
            supersede: Supersede::Step,
            lost_after_secs: LOST_AFTER_SECS,
            late: Late::DEFAULT,
            budgets: Vec::new(),
        }
    }

    /// The step of a number, from 0; the last one is the step of everybody else.
    pub fn step(&self, number: usize) -> &StepPolicy {
        self.steps.get(number).unwrap_or(&self.last)
    }

    /// How many steps there are, the last one included.
    pub fn count(&self) -> usize {
        self.steps.len() + 1
    }
}
