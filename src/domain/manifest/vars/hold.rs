//! The typed key `hold`: `{reason: …, until: …}`, whose keys are inherited one by one.

use super::typed::words;
use super::{Base, Merge};
use crate::domain::manifest::problems::Problems;
use crate::domain::manifest::read::{self, Extensions, Keys, Setting, setting};
use crate::domain::manifest::yaml::Node;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// A key of `hold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldKey {
    /// `reason`.
    Reason,
    /// `until`.
    Until,
}

impl fmt::Display for HoldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reason => "reason",
            Self::Until => "until",
        })
    }
}

/// A value of `hold`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldValue {
    /// Of `reason`.
    Reason(String),
    /// Of `until`.
    Until(Timestamp),
}

impl fmt::Display for HoldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reason(reason) => f.write_str(reason),
            Self::Until(until) => write!(f, "{until}"),
        }
    }
}

pub(super) fn hold(node: &Node, problems: &mut Problems) -> Option<Merge<HoldKey, HoldValue>> {
    const KEYS: Keys =
        Keys { what: "`hold`", known: &["reason", "until"], later: &[], extensions: Extensions::Unknown };
    if node.is_null() {
        return Some(Merge { span: node.span, base: Base::Empty, entries: BTreeMap::new() });
    }
    let errors = problems.errors();
    let mut entries = BTreeMap::new();
    for field in read::fields(node, &KEYS, problems)? {
        let key = if &*field.key.text == "reason" { HoldKey::Reason } else { HoldKey::Until };
        let value = setting(&field.value, problems, |node, problems| match key {
            HoldKey::Reason => words(node, "`reason`", problems).map(HoldValue::Reason),
            HoldKey::Until => read::timestamp(node, "`until`", problems).map(HoldValue::Until),
        });
        if let Some(value) = value {
            entries.insert(key, Setting { span: field.key.span, ..value });
        }
    }
    // Whoever writes this wants a pause, and would have none.
    if entries.is_empty() && problems.errors() == errors {
        read::missing(node.span, "`hold`", "reason", problems);
    }
    Some(Merge { span: node.span, base: Base::Inherited, entries })
}
