//! Health checks.

use super::forms::{bad, parsed, text, texts};
use super::table::HEALTHCHECK;
use super::units::nanos;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Kind, Node};
use crate::domain::spec::{HealthCheck, HealthTest};

pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<HealthCheck> {
    let mut check = HealthCheck::default();
    let mut is_disabled = false;
    for field in HEALTHCHECK.fields(node, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "test" => check.test = test(value, problems),
            "disable" => is_disabled = read::boolean(value, "`disable`", problems) == Some(true),
            "interval" => check.interval_nanos = duration(value, "`interval`", problems),
            "timeout" => check.timeout_nanos = duration(value, "`timeout`", problems),
            "start_period" => check.start_period_nanos = duration(value, "`start_period`", problems),
            "start_interval" => check.start_interval_nanos = duration(value, "`start_interval`", problems),
            _ => {
                let retries = read::number(value, "`retries`", 0..=10_000, problems);
                check.retries = retries.and_then(|retries| u32::try_from(retries).ok());
            }
        }
    }
    if is_disabled {
        check = HealthCheck { test: Some(HealthTest::Off), ..HealthCheck::default() };
    }
    Some(check)
}

/// Zero, or at least a millisecond: engines refuse what is between.
fn duration(node: &Node, what: &str, problems: &mut Problems) -> Option<u64> {
    let hint = "write a duration such as 1m30s, of at least a millisecond";
    parsed(node, what, hint, problems, |text| nanos(text).filter(|nanos| *nanos == 0 || *nanos >= 1_000_000))
}

fn test(node: &Node, problems: &mut Problems) -> Option<HealthTest> {
    if let Kind::Scalar(_) = node.kind {
        return text(node, "`test`", problems).map(HealthTest::Shell);
    }
    let words: Vec<String> = texts(node, "`test`", problems).into_iter().map(|(word, _)| word).collect();
    match words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("NONE", [])) => Some(HealthTest::Off),
        Some(("CMD", rest @ [_, ..])) => Some(HealthTest::Command(rest.to_vec())),
        Some(("CMD-SHELL", [line])) => Some(HealthTest::Shell(line.clone())),
        first => {
            let shown = first.map_or("", |(first, _)| first);
            let message = format!("a test that begins with `{}` cannot be run", show(shown));
            let hint = "write a line for the shell, `[CMD, program, …]`, `[CMD-SHELL, line]` or `[NONE]`";
            bad(node.span, message, hint, problems);
            None
        }
    }
}
