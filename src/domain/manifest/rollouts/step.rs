//! One step of a policy, and the small values that policies are made of.

use crate::domain::finding::codes;
use crate::domain::manifest::compose::units;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys};
use crate::domain::manifest::yaml::{Field, Kind, Node, Span};
use crate::domain::rollout::gate::{AbortRule, Failure};
use crate::domain::rollout::policy::{
    MAX_ABORT_RULES, MAX_APPROVALS, MAX_RETRIES, MAX_SECS, OnInsufficient, Retry, Selector, StepPolicy, WhenEmpty,
};
use crate::domain::rollout::rate::Rate;
use crate::domain::rollout::share::{Amount, Share};
use crate::domain::rollout::spread::Spread;

const NANOS_PER_SEC: u64 = 1_000_000_000;
/// More devices per minute than any fleet has.
const MAX_PER_MIN: u64 = 1_000_000;
const MAX_COUNT: u64 = 1_000_000_000;

/// The keys of a step.
pub(super) const KNOWN: &[&str] = &[
    "name",
    "group",
    "filter",
    "take",
    "window",
    "timeout",
    "min_reports",
    "min_success",
    "soak",
    "rate",
    "abort",
    "approvals",
    "retry",
    "on_insufficient_reports",
    "allow_empty",
    "spread",
    "site",
];
const STEP: Keys = Keys { what: "a step", known: KNOWN, later: &[], extensions: Extensions::Unknown };
/// The last step takes whoever is left, so it selects nobody.
const LAST: Keys = Keys {
    what: "`final`",
    known: &[
        "window",
        "timeout",
        "min_reports",
        "min_success",
        "soak",
        "rate",
        "abort",
        "approvals",
        "retry",
        "on_insufficient_reports",
        "spread",
        "site",
    ],
    later: &[],
    extensions: Extensions::Unknown,
};

/// A step, called `name` unless it says otherwise.
pub(super) fn step(node: &Node, name: &str, problems: &mut Problems) -> Option<StepPolicy> {
    let fields = read::fields(node, &STEP, problems)?;
    let devices = selector(node.span, &fields, problems)?;
    let mut step = StepPolicy::with_defaults(name, devices);
    fields.iter().for_each(|field| fill(&mut step, &field.key.text, &field.value, problems));
    Some(step)
}

/// The step of everybody else.
pub(super) fn last(node: &Node, problems: &mut Problems) -> Option<StepPolicy> {
    let mut step = StepPolicy::last();
    for field in read::fields(node, &LAST, problems)? {
        fill(&mut step, &field.key.text, &field.value, problems);
    }
    Some(step)
}

fn fill(step: &mut StepPolicy, key: &str, value: &Node, problems: &mut Problems) {
    // What cannot be read leaves the default; the finding keeps the policy out.
    match key {
        "name" => step.name = read::text(value, "`name`", problems).unwrap_or_default().to_owned(),
        "take" => step.take = amount(value, "`take`", problems).filter(|take| is_some(*take, value.span, problems)),
        "window" => step.window_secs = secs(value, "`window`", 0, problems).unwrap_or(step.window_secs),
        "timeout" => step.timeout_secs = secs(value, "`timeout`", 0, problems).unwrap_or(step.timeout_secs),
        "soak" => step.soak_secs = secs(value, "`soak`", 0, problems).unwrap_or(step.soak_secs),
        "min_reports" => {
            step.gate.min_reports = share(value, "`min_reports`", problems).unwrap_or(step.gate.min_reports);
        }
        "min_success" => {
            step.gate.min_success = share(value, "`min_success`", problems).unwrap_or(step.gate.min_success);
        }
        "rate" => step.rate = rate(value, "`rate`", problems),
        "abort" => step.abort = abort_rules(value, problems),
        "approvals" => step.approvals = small(value, "`approvals`", MAX_APPROVALS, problems).unwrap_or(0),
        "retry" => step.retry = retry(value, problems).unwrap_or_default(),
        "on_insufficient_reports" => {
            let words = [
                ("pause", OnInsufficient::Pause),
                ("error", OnInsufficient::Error),
                ("advance", OnInsufficient::Advance),
            ];
            let read = word(value, "`on_insufficient_reports`", &words, problems);
            step.on_insufficient_reports = read.unwrap_or(step.on_insufficient_reports);
        }
        "allow_empty" => {
            let passes = read::boolean(value, "`allow_empty`", problems) == Some(true);
            step.when_empty = if passes { WhenEmpty::Pass } else { WhenEmpty::Block };
        }
        "spread" => {
            let words = [("rank", Spread::Rank), ("hash", Spread::Hash)];
            step.spread = word(value, "`spread`", &words, problems).unwrap_or(step.spread);
        }
        "site" => step.site = read::name(value, "`site`", problems),
        // Read together, by `selector`.
        _ => {}
    }
}

fn is_some(take: Amount, span: Span, problems: &mut Problems) -> bool {
    let some = !matches!(take, Amount::Count(0) | Amount::Share(Share::NONE));
    if !some {
        problems.error_hint(span, codes::BAD_ROLLOUT, "a step that takes nobody blocks for ever", "leave the step out");
    }
    some
}

/// `group` or `filter`, not both; neither is all devices.
pub(super) fn selector(span: Span, fields: &[&Field], problems: &mut Problems) -> Option<Selector> {
    let written = |key: &str| fields.iter().find(|field| &*field.key.text == key).map(|field| &field.value);
    match (written("group"), written("filter")) {
        (None, None) => Some(Selector::All),
        (Some(group), None) => Some(Selector::Group(read::text(group, "`group`", problems)?.to_owned())),
        (None, Some(filter)) => Some(Selector::Filter(read::text(filter, "`filter`", problems)?.to_owned())),
        (Some(_), Some(_)) => {
            let hint = "write the group into the filter: `\"canaries\" in groups && …`";
            problems.error_hint(span, codes::BAD_ROLLOUT, "both `group` and `filter` say which devices", hint);
            None
        }
    }
}

/// A duration in whole seconds.
pub(super) fn secs(node: &Node, what: &str, least: u32, problems: &mut Problems) -> Option<u32> {
    let text = read::text(node, what, problems)?;
    let nanos = units::nanos(text).filter(|nanos| nanos.is_multiple_of(NANOS_PER_SEC));
    let secs = nanos.and_then(|nanos| u32::try_from(nanos / NANOS_PER_SEC).ok());
    let fits = secs.filter(|secs| (least..=MAX_SECS).contains(secs));
    if fits.is_none() {
        let days = MAX_SECS / 86_400;
        let message = format!("{what} cannot be `{}`", show(text));
        let hint = format!("write a duration from {least}s to {days}d, such as `90s`, `30m`, `1h30m` or `2d`");
        problems.error_hint(node.span, codes::BAD_ROLLOUT, message, hint);
    }
    fits
}

/// `99.5%`.
pub(super) fn share(node: &Node, what: &str, problems: &mut Problems) -> Option<Share> {
    let text = read::text(node, what, problems)?;
    match text.parse() {
        Ok(share) => Some(share),
        Err(_) => {
            let message = format!("{what} cannot be `{}`", show(text));
            let hint = "write a percentage from 0% to 100% with at most two decimals, such as `99.5%`";
            problems.error_hint(node.span, codes::BAD_ROLLOUT, message, hint);
            None
        }
    }
}

/// `5` or `10%`.
pub(super) fn amount(node: &Node, what: &str, problems: &mut Problems) -> Option<Amount> {
    let text = read::text(node, what, problems)?;
    if text.ends_with('%') {
        return share(node, what, problems).map(Amount::Share);
    }
    let number = read::number(node, what, 0..=MAX_COUNT, problems)?;
    u32::try_from(number).ok().map(Amount::Count)
}

/// A small whole number.
pub(super) fn small(node: &Node, what: &str, most: u8, problems: &mut Problems) -> Option<u8> {
    let number = read::number(node, what, 0..=most.into(), problems)?;
    u8::try_from(number).ok()
}

/// One of some words.
pub(super) fn word<T: Copy>(node: &Node, what: &str, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
    let text = read::text(node, what, problems)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let known = words.iter().map(|(word, _)| *word);
    let hint = match nearest(text, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", known.collect::<Vec<_>>().join(", ")),
    };
    problems.error_hint(node.span, codes::BAD_VALUE, format!("{what} cannot be `{}`", show(text)), hint);
    None
}

/// `60`, or `{per_minute: 50, factor: 2, after: 1000, max_per_minute: 1000}`.
pub(super) fn rate(node: &Node, what: &'static str, problems: &mut Problems) -> Option<Rate> {
    let keys = Keys {
        what,
        known: &["per_minute", "factor", "after", "max_per_minute"],
        later: &[],
        extensions: Extensions::Unknown,
    };
    let count = |node: &Node, what: &str, problems: &mut Problems| {
        let number = read::number(node, what, 1..=MAX_PER_MIN, problems)?;
        u32::try_from(number).ok()
    };
    if let Kind::Scalar(_) = &node.kind {
        return count(node, what, problems).map(Rate::steady);
    }
    let errors = problems.errors();
    let (mut base, mut factor, mut after, mut most) = (None, None, None, None);
    for field in read::fields(node, &keys, problems)? {
        match &*field.key.text {
            "per_minute" => base = count(&field.value, "`per_minute`", problems),
            "factor" => factor = hundredths(&field.value, problems),
            "after" => after = count(&field.value, "`after`", problems),
            _ => most = count(&field.value, "`max_per_minute`", problems),
        }
    }
    if problems.errors() > errors {
        return None;
    }
    let Some(base_per_min) = base else {
        read::missing(node.span, what, "per_minute", problems);
        return None;
    };
    match (factor, after, most) {
        (None, None, None) => Some(Rate::steady(base_per_min)),
        (Some(factor_hundredths), Some(after), Some(max_per_min)) if max_per_min >= base_per_min => {
            Some(Rate { base_per_min, factor_hundredths, after, max_per_min })
        }
        _ => {
            let message = format!(
                "{what} grows only with `factor`, `after` and a `max_per_minute` that is no less than `per_minute`"
            );
            problems.error(node.span, codes::BAD_ROLLOUT, message);
            None
        }
    }
}

/// `2`, `1.5`: from 1 to 5, with at most two decimals.
fn hundredths(node: &Node, problems: &mut Problems) -> Option<u32> {
    let text = read::text(node, "`factor`", problems)?;
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let parsed = (digits(whole, 1) && digits(part, 2)).then(|| {
        let part: u32 = part.parse::<u32>().unwrap_or(0) * if part.len() == 1 { 10 } else { 1 };
        whole.parse::<u32>().unwrap_or(0) * 100 + part
    });
    let fits = parsed.filter(|factor| (100..=500).contains(factor));
    if fits.is_none() {
        let message = format!("`factor` cannot be `{}`", show(text));
        problems.error_hint(node.span, codes::BAD_ROLLOUT, message, "write a number from 1 to 5, such as `2` or `1.5`");
    }
    fits
}

fn abort_rules(node: &Node, problems: &mut Problems) -> Vec<AbortRule> {
    let items = read::list(node, "`abort`", problems).unwrap_or_default();
    if items.len() > MAX_ABORT_RULES {
        problems.error(node.span, codes::TOO_LARGE, format!("`abort` has more than {MAX_ABORT_RULES} items"));
        return Vec::new();
    }
    items.iter().filter_map(|item| abort_rule(item, problems)).collect()
}

fn abort_rule(node: &Node, problems: &mut Problems) -> Option<AbortRule> {
    const KEYS: Keys = Keys {
        what: "a rule of `abort`",
        known: &["failure", "threshold", "min_executed"],
        later: &[],
        extensions: Extensions::Unknown,
    };
    let (mut failure, mut threshold, mut min_executed) = (None, None, 1);
    let fields = read::fields(node, &KEYS, problems)?;
    for field in &fields {
        let value = &field.value;
        match &*field.key.text {
            "failure" => {
                let words = Failure::ALL.map(|failure| (failure.as_str(), Some(failure)));
                let words: Vec<_> = words.into_iter().chain([("all", None)]).collect();
                failure = word(value, "`failure`", &words, problems)?;
            }
            "threshold" => threshold = share(value, "`threshold`", problems),
            _ => {
                let number = read::number(value, "`min_executed`", 1..=MAX_COUNT, problems)?;
                min_executed = u32::try_from(number).ok()?;
            }
        }
    }
    if !fields.iter().any(|field| &*field.key.text == "threshold") {
        read::missing(node.span, KEYS.what, "threshold", problems);
    }
    Some(AbortRule { failure, threshold: threshold?, min_executed })
}

/// `2`, or `{max: 2, backoff: 10m}`.
fn retry(node: &Node, problems: &mut Problems) -> Option<Retry> {
    const KEYS: Keys =
        Keys { what: "`retry`", known: &["max", "backoff"], later: &[], extensions: Extensions::Unknown };
    /// Long enough for a device to restart, short enough for nobody to notice.
    const BACKOFF_SECS: u32 = 300;
    if let Kind::Scalar(_) = &node.kind {
        let max = small(node, "`retry`", MAX_RETRIES, problems)?;
        return Some(Retry { max, backoff_secs: BACKOFF_SECS });
    }
    let mut retry = Retry { max: 1, backoff_secs: BACKOFF_SECS };
    for field in read::fields(node, &KEYS, problems)? {
        match &*field.key.text {
            "max" => retry.max = small(&field.value, "`max`", MAX_RETRIES, problems)?,
            _ => retry.backoff_secs = secs(&field.value, "`backoff`", 0, problems)?,
        }
    }
    Some(retry)
}
