//! `rollouts`, `rollout` and `freezes` of `fleet.yml`.

use super::text::{Amount, LabelText, Length, Mapping, Moment, Percentage, PolicyText, Stage, Text, Truth};
use super::vars::Window;
use schemars::JsonSchema;

/// Rollout policies by name.
pub(super) type Policies = Mapping<PolicyText, Policy>;

/// In which steps a change goes out, and what must hold before it goes on.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "RolloutPolicy")]
pub(super) struct Policy {
    /// The steps in order. A device is in the first one that selects it.
    #[schemars(default, length(max = 32))]
    steps: Vec<Step>,
    /// The step of everybody else.
    #[schemars(default, rename = "final")]
    last: Last,
    /// How many people must approve before it begins.
    #[schemars(default, range(min = 0, max = 5))]
    approvals: u8,
    /// What happens when a step fails: nothing more is offered, or devices go back to what they had.
    #[schemars(default)]
    on_error: OnError,
    /// When a commit that is rolled out like this takes the place of rollouts that are under way.
    #[schemars(default)]
    supersede: Supersede,
    /// From how long a silence on a device that began is lost. At least `1m`.
    #[schemars(default)]
    lost_after: Length,
    /// Devices that come when their step is over.
    #[schemars(default)]
    late: Late,
    /// What must stay available.
    #[schemars(default, length(max = 16))]
    budgets: Vec<Budget>,
}

/// One step.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("not" = {"required": ["group", "filter"]}))]
struct Step {
    /// What people call it.
    #[schemars(default)]
    name: Text,
    /// Devices of this group. Without it and `filter`, all.
    #[schemars(default)]
    group: Text,
    /// Devices that this filter in CEL matches.
    #[schemars(default)]
    filter: Text,
    /// How many of those, by rank: a number, or a share of all devices of the rollout.
    #[schemars(default)]
    take: Amount,
    /// Whether it passes without any device, or with none that is online.
    #[schemars(default)]
    allow_empty: Truth,
    /// What it has in common with `final`.
    #[schemars(flatten)]
    common: Common,
}

/// The step of everybody else.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Last {
    /// What it has in common with other steps.
    #[schemars(flatten)]
    common: Common,
}

/// What every step may say.
#[derive(Default, JsonSchema)]
struct Common {
    /// Over how long its devices are spread. `0s` if it says nothing.
    #[schemars(default)]
    window: Length,
    /// How long reports are waited for after the window. `30m` if it says nothing.
    #[schemars(default)]
    timeout: Length,
    /// How many must have reported: `80%` if it says nothing.
    #[schemars(default)]
    min_reports: Percentage,
    /// How many of those must have succeeded: `95%` if it says nothing.
    #[schemars(default)]
    min_success: Percentage,
    /// How long a device must be healthy: `1m` if it says nothing.
    #[schemars(default)]
    soak: Length,
    /// How many may start per minute.
    #[schemars(default)]
    rate: RateText,
    /// Reasons to stop at once.
    #[schemars(default, length(max = 16))]
    abort: Vec<AbortRule>,
    /// How many people must approve before the step begins.
    #[schemars(default, range(min = 0, max = 5))]
    approvals: u8,
    /// How often a device that failed is offered the same again.
    #[schemars(default)]
    retry: RetryText,
    /// What happens when too few have reported in time.
    #[schemars(default)]
    on_insufficient_reports: OnInsufficient,
    /// How devices are spread over the window.
    #[schemars(default)]
    spread: SpreadWord,
    /// A label: devices with the same value start together, and succeed together or go back together.
    #[schemars(default)]
    site: LabelText,
}

/// `pause` or `rollback`.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum OnError {
    /// Nothing more is offered.
    #[default]
    Pause,
    /// Devices go back to what they had.
    Rollback,
}

/// `step` or `force`.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Supersede {
    /// When their step is decided; at once if they stand still.
    #[default]
    Step,
    /// At once.
    Force,
}

/// `pause`, `error` or `advance`.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum OnInsufficient {
    /// The rollout pauses.
    #[default]
    Pause,
    /// The step fails.
    Error,
    /// The step passes if what was reported is good.
    Advance,
}

/// `rank` or `hash`.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum SpreadWord {
    /// Evenly.
    #[default]
    Rank,
    /// A device's place does not depend on who else takes part.
    Hash,
}

/// Devices that come when their step is over.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Late {
    /// How many may start per minute; `null` for as many as come.
    #[schemars(default)]
    catchup_rate: Option<RateText>,
    /// How many of them may fail before no other is offered the change.
    #[schemars(default)]
    max_failures: Amount,
}

/// A number per minute, or one that grows.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum RateText {
    /// As many per minute.
    Steady(#[schemars(range(min = 1, max = 1_000_000))] u32),
    /// More after so many successes.
    Growing(GrowingRate),
}

impl Default for RateText {
    fn default() -> Self {
        Self::Steady(60)
    }
}

/// A rate that grows.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GrowingRate {
    /// How many per minute at first.
    #[schemars(range(min = 1, max = 1_000_000))]
    per_minute: u32,
    /// By what it grows.
    #[schemars(default, range(min = 1, max = 5))]
    factor: f64,
    /// After how many successes.
    #[schemars(default, range(min = 1, max = 1_000_000))]
    after: u32,
    /// How many per minute at most.
    #[schemars(default, range(min = 1, max = 1_000_000))]
    max_per_minute: u32,
}

/// How often, or with how long to wait.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum RetryText {
    /// How often.
    Often(#[schemars(range(min = 0, max = 10))] u8),
    /// How often, and how long after the failure.
    Whole(WholeRetry),
}

impl Default for RetryText {
    fn default() -> Self {
        Self::Often(0)
    }
}

/// How often, and how long after the failure.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WholeRetry {
    /// How often.
    #[schemars(default, range(min = 0, max = 10))]
    max: u8,
    /// How long after the failure.
    #[schemars(default)]
    backoff: Length,
}

/// A reason to stop at once.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AbortRule {
    /// Which failures.
    #[schemars(default)]
    failure: FailureWord,
    /// Which share of all reports.
    threshold: Percentage,
    /// From how many reports on.
    #[schemars(default, range(min = 1, max = 1_000_000_000))]
    min_executed: u32,
}

/// A way to fail.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum FailureWord {
    /// Any.
    #[default]
    All,
    /// It could not.
    Failed,
    /// It would not.
    Rejected,
    /// It was not done in time.
    TimedOut,
    /// It went back.
    RolledBack,
    /// It was not heard of any more.
    Lost,
}

/// What must stay available among devices with the same value of a label.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [{"required": ["max_unavailable"]}, {"required": ["min_available"]}]))]
struct Budget {
    /// The label.
    label: LabelText,
    /// How many rollouts may have taken at once.
    #[schemars(default)]
    max_unavailable: Amount,
    /// How many must stay available, whoever is away and why.
    #[schemars(default)]
    min_available: Amount,
}

/// Which devices follow which policy.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Rules {
    /// All follow this one.
    All(PolicyText),
    /// The first rule that matches counts; devices that none matches get everything at once.
    List(#[schemars(length(max = 100))] Vec<Rule>),
}

impl Default for Rules {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// Which devices follow which policy.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("not" = {"required": ["group", "filter"]}), rename = "RolloutRule")]
pub(super) struct Rule {
    /// Of this stage only.
    #[schemars(default)]
    stage: Stage,
    /// Devices of this group.
    #[schemars(default)]
    group: Text,
    /// Devices that this filter in CEL matches.
    #[schemars(default)]
    filter: Text,
    /// One of `rollouts`, or `immediate`, `cautious`, `canary-first` or `weekend`.
    policy: PolicyText,
}

/// A time in which nothing new is offered: once, or again and again.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("oneOf" = [{"required": ["from", "until"]}, {"required": ["window"]}])
)]
pub(super) struct Freeze {
    /// Why.
    reason: Text,
    /// The first moment.
    #[schemars(default)]
    from: Moment,
    /// The first moment after it.
    #[schemars(default)]
    until: Moment,
    /// Again and again.
    #[schemars(default)]
    window: Window,
}
