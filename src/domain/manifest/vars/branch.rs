//! The typed key `branch`: a name, or `{from: device, allowed: [name, …]}`, whose keys are inherited one by one.

use super::typed::{name, value_text};
use crate::domain::finding::codes;
use crate::domain::ids::StageName;
use crate::domain::manifest::problems::Problems;
use crate::domain::manifest::read::{self, Extensions, Keys, Setting, setting};
use crate::domain::manifest::yaml::{Kind, Node};
use std::collections::BTreeSet;

/// What a source may write.
pub const BRANCH_FORM: &str = "write a branch name, or `{from: device, allowed: [main, canary]}`";

/// `branch` as one source writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum BranchRule {
    /// This one, whatever was inherited.
    Stage(StageName),
    /// The device chooses: each of the keys is laid over an inherited one.
    FromDevice {
        /// `from`, which can only be `device`.
        from: Option<Setting<TheDevice>>,
        /// `allowed`: at least one.
        allowed: Option<Setting<BTreeSet<StageName>>>,
    },
}

/// The only one who can choose a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TheDevice;

pub(super) fn branch(node: &Node, problems: &mut Problems) -> Option<BranchRule> {
    const KEYS: Keys =
        Keys { what: "`branch`", known: &["from", "allowed"], later: &[], extensions: Extensions::Unknown };
    match &node.kind {
        Kind::Scalar(_) => name(node, "`branch`", problems).map(BranchRule::Stage),
        Kind::List(_) => {
            problems.error_hint(node.span, codes::BRANCH_FORM, "`branch` is a list", BRANCH_FORM);
            None
        }
        Kind::Map(_) => {
            let errors = problems.errors();
            let (mut from, mut allowed) = (None, None);
            for field in read::fields(node, &KEYS, problems)? {
                let span = field.key.span;
                match &*field.key.text {
                    "from" => from = setting(&field.value, problems, the_device).map(|said| Setting { span, ..said }),
                    _ => allowed = setting(&field.value, problems, stages).map(|said| Setting { span, ..said }),
                }
            }
            if from.is_none() && allowed.is_none() && problems.errors() == errors {
                problems.error_hint(node.span, codes::BRANCH_FORM, "`branch` says nothing", BRANCH_FORM);
            }
            (problems.errors() == errors).then_some(BranchRule::FromDevice { from, allowed })
        }
    }
}

fn the_device(node: &Node, problems: &mut Problems) -> Option<TheDevice> {
    if value_text(node, "`from`", problems)? == "device" {
        return Some(TheDevice);
    }
    problems.error_hint(node.span, codes::BRANCH_FORM, "`from` must be `device`", BRANCH_FORM);
    None
}

fn stages(node: &Node, problems: &mut Problems) -> Option<BTreeSet<StageName>> {
    let names: BTreeSet<StageName> = read::list(node, "`allowed`", problems)?
        .iter()
        .filter_map(|stage| name::<StageName>(stage, "a stage", problems))
        .collect();
    if names.is_empty() {
        problems.error_hint(node.span, codes::BRANCH_FORM, "`allowed` names no branch", BRANCH_FORM);
        return None;
    }
    Some(names)
}
