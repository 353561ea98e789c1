//! Which branch a device follows and why it is held, put together from its layers.

use super::device::{Rendering, asked, lay};
use super::layers::{Layers, Written};
use super::world::Asked;
use super::{Branch, RepoHold};
use crate::domain::finding::codes;
use crate::domain::ids::StageName;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::vars::{BRANCH_FORM, BranchRule, HoldKey, HoldValue, TheDevice};
use std::collections::{BTreeMap, BTreeSet};

/// What was inherited of `{from: device, allowed: […]}`.
#[derive(Default)]
struct Choice {
    from: Option<Asked<TheDevice>>,
    allowed: Option<Asked<BTreeSet<StageName>>>,
}

/// A name replaces what was inherited. Keys are laid over inherited keys; over a name they begin anew (RFC 7396).
pub(super) fn branch(layers: &Layers<'_>, rendering: &mut Rendering<'_>) -> Branch {
    let mut branch = Branch::Unset;
    let mut choice: Option<Choice> = None;
    for Written { file, span: _, value } in layers.written(|keys| keys.branch.as_ref()) {
        match value {
            None => (branch, choice) = (Branch::Unset, None),
            Some(BranchRule::Stage(stage)) => (branch, choice) = (Branch::Stage(stage.clone()), None),
            Some(BranchRule::FromDevice { from, allowed }) => {
                let inherited = choice.get_or_insert_default();
                if let Some(said) = from {
                    inherited.from = asked(Written { file, span: said.span, value: said.value.as_ref() });
                }
                if let Some(said) = allowed {
                    inherited.allowed = asked(Written { file, span: said.span, value: said.value.as_ref() });
                }
            }
        }
    }
    // Half a choice is no choice: nobody can say whose the device is.
    let mut half = |Written { file, span, .. }: Written<'_, ()>, message: &str| {
        rendering.add(Draft::error(file, span, codes::BRANCH_FORM, message).hint(BRANCH_FORM));
        Branch::Unknown
    };
    match choice {
        None => branch,
        Some(Choice { from: Some(_), allowed: Some(allowed) }) => Branch::FromDevice { allowed: allowed.value },
        Some(Choice { from: Some(Asked { file, span, .. }), allowed: None }) => half(
            Written { file: &file, span, value: None },
            "`branch` is `from: device`, and nothing says what is `allowed`",
        ),
        Some(Choice { from: None, allowed: Some(Asked { file, span, .. }) }) => {
            half(Written { file: &file, span, value: None }, "`branch` has `allowed`, and nothing says `from: device`")
        }
        // All its keys were taken away.
        Some(Choice { from: None, allowed: None }) => Branch::Unset,
    }
}

/// `reason` and `until` are laid over each other one by one, so that a device can stay held for longer than its group.
pub(super) fn hold(layers: &Layers<'_>, rendering: &mut Rendering<'_>) -> Option<RepoHold> {
    let mut said: BTreeMap<HoldKey, Asked<HoldValue>> = BTreeMap::new();
    layers.entries(|keys| keys.hold.as_ref(), |key, written| lay(&mut said, key, asked(written)));
    let (mut reason, mut until) = (None, None);
    for Asked { value, file, span } in said.into_values() {
        match value {
            HoldValue::Reason(text) => reason = Some(text),
            HoldValue::Until(at) => until = Some((at, file, span)),
        }
    }
    match (reason, until) {
        (Some(reason), until) => Some(RepoHold { reason, until: until.map(|(at, _, _)| at) }),
        (None, None) => None,
        (None, Some((_, file, span))) => {
            rendering.add(Draft::error(&file, span, codes::MISSING_KEY, "`hold` has no `reason`"));
            None
        }
    }
}
