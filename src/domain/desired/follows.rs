//! Which branch a device follows and why it is held, put together from its layers.

use super::device::{Rendering, asked, lay};
use super::layers::{Layers, Written};
use super::world::Asked;
use super::{Branch, RepoHold};
use crate::domain::finding::codes;
use crate::domain::ids::StageName;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::vars::{BRANCH_FORM, Base, BranchRule, Health, HoldKey, HoldValue, TheDevice};
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
        (None, None) => {
            // Whoever writes a hold without anything in it wants a pause, and would have none.
            if let Some(Written { file, span, .. }) = empty_hold(layers) {
                let draft = Draft::error(file, span, codes::MISSING_KEY, "`hold` has no `reason`");
                rendering.add(draft.hint("give a `reason`, or write `hold: null` where nothing is to hold the device"));
            }
            None
        }
        (None, Some((_, file, span))) => {
            rendering.add(Draft::error(&file, span, codes::MISSING_KEY, "`hold` has no `reason`"));
            None
        }
    }
}

/// The place of the last `hold` that says nothing and takes nothing away; `None` if the last one does either.
fn empty_hold<'a>(layers: &Layers<'a>) -> Option<Written<'a, ()>> {
    let mut given = BTreeSet::new();
    let mut empty = None;
    for (vars, merge) in layers.sources().filter_map(|vars| Some((vars, vars.typed.hold.as_ref()?))) {
        if merge.base == Base::Empty {
            given.clear();
        }
        let says = merge.entries.iter().any(|(key, said)| said.value.is_some() || given.contains(key));
        // What is wrong in a file was told there.
        let is_empty = vars.health == Health::Sound && merge.base == Base::Inherited && !says;
        empty = is_empty.then_some(Written { file: &vars.file, span: merge.span, value: None });
        for (key, said) in &merge.entries {
            match said.value {
                Some(_) => given.insert(*key),
                None => given.remove(key),
            };
        }
    }
    empty
}
