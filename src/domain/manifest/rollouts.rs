//! Rollout policies as written: `rollouts` (policies by name), `rollout` (which stage and which devices follow which), and
//! `freezes`.
//!
//! What is left out has the default that `docs/rollouts.md` states. A policy with any error is left out as a whole, and then the commit
//! does not count: half a policy, or none, would let a change through that nobody meant to let through.

mod selectors;
mod step;
#[cfg(test)]
mod tests;

use super::near::nearest;
use super::problems::Problems;
use super::read::{self, Extensions, Keys};
use super::vars::read_window;
use super::yaml::{Kind, Node, Span, parse};
use crate::domain::filter::Filter;
use crate::domain::finding::{Severity, codes};
use crate::domain::ids::{LabelName, PolicyName, StageName};
use crate::domain::rollout::budget::Budget;
use crate::domain::rollout::freeze::{Freeze, FreezeTime, Freezes, MAX_FREEZES};
use crate::domain::rollout::policy::{
    Late, MAX_APPROVALS, MAX_BUDGETS, MAX_STEPS, OnError, Policy, Selector, StepPolicy, Supersede,
};
use crate::domain::rollout::ready::Ready;
use crate::domain::window::Window;
use std::collections::BTreeMap;
use step::{amount, rate, secs, selector, step};

/// How many policies a fleet may have.
pub const MAX_POLICIES: usize = 100;
/// How many rules may say which policy is followed. Each device of a commit is held against all of them.
pub const MAX_RULES: usize = 100;

/// What a fleet repo says about rollouts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollouts {
    /// Policies by name, those that every fleet has left out unless they are written anew.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// Which policy is followed: the first rule that matches counts.
    pub rules: Vec<Rule>,
    /// When nothing new is offered.
    pub freezes: Freezes,
    /// What the selectors of rules and steps mean.
    pub selectors: BTreeMap<Selector, Filter>,
}

/// Which devices of which stage follow which policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The stage; `None` for every one.
    pub stage: Option<StageName>,
    /// The devices.
    pub devices: Selector,
    /// The policy.
    pub policy: PolicyName,
    /// Where the rule is written.
    pub span: Span,
}

/// The longest step that is given by itself, in bytes.
pub const MAX_STEP_BYTES: usize = 16 << 10;

/// Reads one step that is given by itself, as a policy would have it; `Err` says what is wrong with it.
pub fn read_step(text: &str) -> Result<StepPolicy, String> {
    if text.len() > MAX_STEP_BYTES {
        return Err(format!("it is longer than {MAX_STEP_BYTES} bytes"));
    }
    let node = parse(text.as_bytes()).map_err(|error| error.message)?.ok_or("it says nothing")?;
    let mut problems = Problems::new(&"step".into());
    let read = step(&node, "step", &mut problems);
    let drafts = problems.finish();
    match drafts.into_iter().find(|draft| draft.severity == Severity::Error) {
        Some(draft) => Err(draft.hint.map_or(draft.message.clone(), |hint| format!("{}: {hint}", draft.message))),
        None => read.ok_or_else(|| "it is no step".to_owned()),
    }
}

impl Rollouts {
    /// Reads the three keys, as far as they are there.
    pub fn read(
        rollouts: Option<&Node>,
        rollout: Option<&Node>,
        freezes: Option<&Node>,
        problems: &mut Problems,
    ) -> Self {
        let [rollouts, rollout, freezes] = [rollouts, rollout, freezes].map(|node| node.filter(|node| !node.is_null()));
        let mut read = Self::default();
        if let Some(node) = rollouts {
            read.policies = policies(node, problems);
        }
        if let Some(node) = rollout {
            read.rules = read.rules(node, problems);
        }
        if let Some(node) = freezes {
            read.freezes = read_freezes(node, problems);
        }
        read
    }

    /// Whether nothing is said: then everything is assigned at once.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.freezes.0.is_empty()
    }

    /// The policy of a name: a written one, or one that every fleet has.
    pub fn policy(&self, name: &PolicyName) -> Option<Policy> {
        let written = self.policies.get(name).cloned();
        written.or_else(|| Ready::named(name.as_str()).map(Ready::policy))
    }

    fn rules(&self, node: &Node, problems: &mut Problems) -> Vec<Rule> {
        // `rollout: cautious` is every device of every stage.
        if let Kind::Scalar(_) = &node.kind {
            let policy = self.known(node, problems);
            let all = |policy| Rule { stage: None, devices: Selector::All, policy, span: node.span };
            return policy.map(all).into_iter().collect();
        }
        let Some(items) = read::list(node, "`rollout`", problems) else { return Vec::new() };
        if items.len() > MAX_RULES {
            problems.error(node.span, codes::TOO_LARGE, format!("`rollout` has more than {MAX_RULES} rules"));
            return Vec::new();
        }
        items.iter().filter_map(|item| self.rule(item, problems)).collect()
    }

    fn rule(&self, node: &Node, problems: &mut Problems) -> Option<Rule> {
        const KEYS: Keys = Keys {
            what: "a rule of `rollout`",
            known: &["stage", "group", "filter", "policy"],
            later: &[],
            extensions: Extensions::Unknown,
        };
        let errors = problems.errors();
        let (mut stage, mut policy) = (None, None);
        let fields = read::fields(node, &KEYS, problems)?;
        for field in &fields {
            match &*field.key.text {
                "stage" => stage = read::name(&field.value, "`stage`", problems),
                "policy" => policy = self.known(&field.value, problems),
                _ => {}
            }
        }
        let devices = selector(node.span, &fields, problems);
        if !fields.iter().any(|field| &*field.key.text == "policy") {
            read::missing(node.span, KEYS.what, "policy", problems);
        }
        let rule = Rule { stage, devices: devices?, policy: policy?, span: node.span };
        (problems.errors() == errors).then_some(rule)
    }

    fn known(&self, node: &Node, problems: &mut Problems) -> Option<PolicyName> {
        let name: PolicyName = read::name(node, "`policy`", problems)?;
        if self.policy(&name).is_some() {
            return Some(name);
        }
        let ready: [&str; 4] = Ready::ALL.map(Ready::name);
        let hint = match nearest(name.as_str(), self.policies.keys().map(PolicyName::as_str).chain(ready)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name one of `rollouts`, or `immediate`, `cautious`, `canary-first` or `weekend`".to_owned(),
        };
        problems.error_hint(node.span, codes::BAD_ROLLOUT, format!("there is no rollout policy `{name}`"), hint);
        None
    }
}

fn policies(node: &Node, problems: &mut Problems) -> BTreeMap<PolicyName, Policy> {
    let mut policies = BTreeMap::new();
    let Some(map) = read::map(node, "`rollouts`", problems) else { return policies };
    if map.entries.len() > MAX_POLICIES {
        problems.error(node.span, codes::TOO_LARGE, format!("there are more than {MAX_POLICIES} rollout policies"));
        return policies;
    }
    for field in &map.entries {
        let errors = problems.errors();
        let Some(name) = read::parse_name::<PolicyName>(&field.key.text, field.key.span, problems) else { continue };
        let policy = policy(name.clone(), &field.value, problems);
        if let Some(policy) = policy.filter(|_| problems.errors() == errors) {
            policies.insert(name, policy);
        }
    }
    policies
}

/// The keys of a policy.
const KNOWN: &[&str] = &["steps", "final", "approvals", "on_error", "supersede", "lost_after", "late", "budgets"];

fn policy(name: PolicyName, node: &Node, problems: &mut Problems) -> Option<Policy> {
    const KEYS: Keys = Keys { what: "a rollout policy", known: KNOWN, later: &[], extensions: Extensions::Unknown };
    let mut policy = Policy::new(name);
    for field in read::fields(node, &KEYS, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "steps" => {
                let items = read::list(value, "`steps`", problems).unwrap_or_default();
                if items.len() > MAX_STEPS {
                    problems.error(value.span, codes::TOO_LARGE, format!("`steps` has more than {MAX_STEPS} items"));
                    continue;
                }
                policy.steps = items
                    .iter()
                    .enumerate()
                    .filter_map(|(at, item)| step(item, &format!("step {}", at + 1), problems))
                    .collect();
            }
            "final" => policy.last = step::last(value, problems).unwrap_or(policy.last),
            "approvals" => {
                policy.approvals = step::small(value, "`approvals`", MAX_APPROVALS, problems).unwrap_or(0);
            }
            "on_error" => policy.on_error = on_error(value, problems).unwrap_or_default(),
            "supersede" => policy.supersede = supersede(value, problems).unwrap_or_default(),
            "lost_after" => {
                policy.lost_after_secs = secs(value, "`lost_after`", 60, problems).unwrap_or(policy.lost_after_secs);
            }
            "late" => policy.late = late(value, problems).unwrap_or(policy.late),
            _ => policy.budgets = budgets(value, problems),
        }
    }
    Some(policy)
}

fn supersede(node: &Node, problems: &mut Problems) -> Option<Supersede> {
    step::word(node, "`supersede`", &[("step", Supersede::Step), ("force", Supersede::Force)], problems)
}

fn on_error(node: &Node, problems: &mut Problems) -> Option<OnError> {
    step::word(node, "`on_error`", &[("pause", OnError::Pause), ("rollback", OnError::Rollback)], problems)
}

fn late(node: &Node, problems: &mut Problems) -> Option<Late> {
    const KEYS: Keys =
        Keys { what: "`late`", known: &["catchup_rate", "max_failures"], later: &[], extensions: Extensions::Unknown };
    let mut late = Late::DEFAULT;
    for field in read::fields(node, &KEYS, problems)? {
        match &*field.key.text {
            "catchup_rate" if field.value.is_null() => late.catchup_rate = None,
            "catchup_rate" => late.catchup_rate = rate(&field.value, "`catchup_rate`", problems),
            _ => late.max_failures = amount(&field.value, "`max_failures`", problems).unwrap_or(late.max_failures),
        }
    }
    Some(late)
}

fn budgets(node: &Node, problems: &mut Problems) -> Vec<Budget> {
    let items = read::list(node, "`budgets`", problems).unwrap_or_default();
    if items.len() > MAX_BUDGETS {
        problems.error(node.span, codes::TOO_LARGE, format!("`budgets` has more than {MAX_BUDGETS} items"));
        return Vec::new();
    }
    items.iter().filter_map(|item| budget(item, problems)).collect()
}

fn budget(node: &Node, problems: &mut Problems) -> Option<Budget> {
    const KEYS: Keys = Keys {
        what: "a budget",
        known: &["label", "max_unavailable", "min_available"],
        later: &[],
        extensions: Extensions::Unknown,
    };
    let (mut label, mut max_unavailable, mut min_available) = (None, None, None);
    let fields = read::fields(node, &KEYS, problems)?;
    for field in &fields {
        match &*field.key.text {
            "label" => label = read::name::<LabelName>(&field.value, "`label`", problems),
            "max_unavailable" => max_unavailable = amount(&field.value, "`max_unavailable`", problems),
            _ => min_available = amount(&field.value, "`min_available`", problems),
        }
    }
    if !fields.iter().any(|field| &*field.key.text == "label") {
        read::missing(node.span, KEYS.what, "label", problems);
    }
    if fields.iter().all(|field| &*field.key.text == "label") {
        let message = "a budget has neither `max_unavailable` nor `min_available`, so it allows anything";
        problems.error_hint(node.span, codes::BAD_ROLLOUT, message, "write `max_unavailable: 1`");
        return None;
    }
    if max_unavailable.is_some_and(|most| most.floor_of(u32::MAX) == 0) {
        let hint = "use `hold`, or a freeze, to keep devices from changing";
        problems.error_hint(node.span, codes::BAD_ROLLOUT, "with `max_unavailable: 0` no device ever changes", hint);
    }
    Some(Budget { label: label?, max_unavailable, min_available })
}

fn read_freezes(node: &Node, problems: &mut Problems) -> Freezes {
    let items = read::list(node, "`freezes`", problems).unwrap_or_default();
    if items.len() > MAX_FREEZES {
        problems.error(node.span, codes::TOO_LARGE, format!("`freezes` has more than {MAX_FREEZES} items"));
        return Freezes::default();
    }
    Freezes(items.iter().filter_map(|item| freeze(item, problems)).collect())
}

/// `{reason: …, from: …, until: …}`, or `{reason: …, window: {…}}`.
fn freeze(node: &Node, problems: &mut Problems) -> Option<Freeze> {
    const KEYS: Keys = Keys {
        what: "a freeze",
        known: &["reason", "from", "until", "window"],
        later: &[],
        extensions: Extensions::Unknown,
    };
    const FORM: &str = "write `{reason: …, from: 2026-12-18T00:00:00Z, until: 2027-01-04T00:00:00Z}`, or `window: {days: fri, \
                        time: 12:00, duration: 36h, zone: Europe/Zurich}` in the place of the two";
    let errors = problems.errors();
    let (mut reason, mut from, mut until, mut again) = (None, None, None, None);
    for field in read::fields(node, &KEYS, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "reason" => reason = read::text(value, "`reason`", problems).map(str::to_owned),
            "from" => from = read::timestamp(value, "`from`", problems),
            "until" => until = read::timestamp(value, "`until`", problems),
            _ => again = read_window(value, problems).map(|window| (window, value.span)),
        }
    }
    if problems.errors() > errors {
        return None;
    }
    let when = match (from, until, again) {
        (Some(from), Some(until), None) if from < until => FreezeTime::Between { from, until },
        (None, None, Some((written, span))) => {
            let Some(zone) = written.zone else {
                let hint = "add `zone: Europe/Zurich`, or `zone: UTC`";
                problems.error_hint(span, codes::NO_TIME_ZONE, "the window of a freeze names no time zone", hint);
                return None;
            };
            let window = Window { opens: written.opens, minutes: written.minutes, zone: zone.rule };
            FreezeTime::Windows([window].into_iter().collect())
        }
        _ => {
            problems.error_hint(node.span, codes::BAD_ROLLOUT, "a freeze does not say when it is", FORM);
            return None;
        }
    };
    if reason.is_none() {
        read::missing(node.span, KEYS.what, "reason", problems);
    }
    Some(Freeze { reason: reason?, when })
}
