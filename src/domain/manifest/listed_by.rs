//! Where the devices of a commit are listed: in the commit, or with somebody who knows them better.

use super::inventory::INVENTORY_FILE;
use super::problems::{Draft, Problems, show};
use super::read::{self, Extensions, Keys};
use super::yaml::{Kind, Node, Span};
use crate::domain::finding::codes;
use crate::domain::ids::AttributeName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The longest address of a list, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// Where the devices of a commit are listed. Groups' variables are in the commit in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListedBy {
    /// `inventory.yml` of the commit.
    #[default]
    Commit,
    /// The controller's registry: devices that were enrolled or registered there.
    Registry(RegistryRules),
    /// A JSON list of the shape of `ansible-inventory --list` at this address, which the controller's configuration must know.
    Http(String),
}

/// What of the registry a fleet repo lets count.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RegistryRules {
    /// Attributes that are variables of their device, besides `branch`. All others change nothing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub vars: BTreeSet<AttributeName>,
}

impl std::fmt::Display for ListedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Commit => f.write_str("inventory.yml"),
            Self::Registry(_) => f.write_str("the controller's registry"),
            Self::Http(url) => f.write_str(url),
        }
    }
}

impl ListedBy {
    /// Reads `inventory` of `fleet.yml`.
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        const KEYS: Keys =
            Keys { what: "`inventory`", known: &["http", "registry"], later: &[], extensions: Extensions::Unknown };
        if let Kind::Scalar(scalar) = &node.kind {
            return match &*scalar.text {
                "registry" => Some(Self::Registry(RegistryRules::default())),
                "commit" => Some(Self::Commit),
                other => {
                    let message = format!("`{}` is no place where devices are listed", show(other));
                    let hint = "write `registry`, or `{http: https://…}`, or leave `inventory` out for inventory.yml";
                    problems.error_hint(node.span, codes::BAD_VALUE, message, hint);
                    None
                }
            };
        }
        let fields = read::fields(node, &KEYS, problems)?;
        let [field] = fields.as_slice() else {
            let message = "`inventory` must name one place";
            problems.error_hint(node.span, codes::BAD_VALUE, message, "write either `http` or `registry`");
            return None;
        };
        match &*field.key.text {
            "http" => address(&field.value, problems).map(Self::Http),
            _ => rules(&field.value, problems).map(Self::Registry),
        }
    }

    /// What places in the list are called.
    pub fn file(&self) -> Arc<str> {
        match self {
            Self::Commit => INVENTORY_FILE.into(),
            Self::Registry(_) => "registry".into(),
            Self::Http(url) => url.as_str().into(),
        }
    }

    /// The finding of a commit whose devices are listed elsewhere while that list is not at hand.
    pub fn missing(&self, why: &str) -> Draft {
        let message = format!("the devices are listed by {self}, and that list is not at hand: {why}");
        Draft::error(&self.file(), Span::default(), codes::INVENTORY_UNAVAILABLE, message)
    }
}

fn address(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = read::text(node, "`http`", problems)?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    let host = text.strip_prefix("https://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let fits = plain && text.len() <= MAX_URL_BYTES && host.is_some_and(|host| !host.is_empty() && !host.contains('@'));
    if !fits {
        // Not shown: somebody may have written a password there.
        let message = "this is not an address that a list can be fetched from";
        let hint = "write `https://…`; credentials belong into the controller's configuration";
        problems.error_hint(node.span, codes::BAD_VALUE, message, hint);
        return None;
    }
    Some(text.to_owned())
}

fn rules(node: &Node, problems: &mut Problems) -> Option<RegistryRules> {
    const KEYS: Keys = Keys { what: "`registry`", known: &["vars"], later: &[], extensions: Extensions::Unknown };
    let mut rules = RegistryRules::default();
    if node.is_null() {
        return Some(rules);
    }
    for field in read::fields(node, &KEYS, problems)? {
        for item in read::list(&field.value, "`vars`", problems)? {
            rules.vars.insert(read::name(item, "an attribute", problems)?);
        }
    }
    Some(rules)
}
