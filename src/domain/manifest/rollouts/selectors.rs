//! Which devices rules and steps select: each `group` and `filter` as a checked filter.

use super::{Node, Problems, Rollouts};
use crate::domain::filter::{DynamicGroups, Filter};
use crate::domain::manifest::saved::filter_error;
use crate::domain::manifest::yaml::Kind;
use crate::domain::rollout::policy::{Policy, Selector};
use crate::domain::rollout::ready::Ready;
use std::collections::BTreeMap;

impl Rollouts {
    /// Checks every selector, and keeps what each means. `bytes` is the whole file, in which findings point into the expressions.
    pub fn compile(
        &mut self,
        rollouts: Option<&Node>,
        rollout: Option<&Node>,
        groups: &DynamicGroups,
        bytes: &[u8],
        problems: &mut Problems,
    ) {
        for node in rollout.into_iter().flat_map(items).chain(rollouts.into_iter().flat_map(steps)) {
            check(node, groups, bytes, problems);
        }
        let ready = Ready::ALL.map(Ready::policy);
        let steps = |policy: &Policy| policy.steps.iter().map(|step| step.selector.clone()).collect::<Vec<_>>();
        let of_policies = self.policies.values().chain(&ready).flat_map(steps);
        let selectors = of_policies.chain(self.rules.iter().map(|rule| rule.devices.clone()));
        let compiled: BTreeMap<Selector, Filter> = selectors
            .filter_map(|selector| Some((selector.clone(), Filter::new(&text(&selector)?, groups).ok()?)))
            .collect();
        self.selectors = compiled;
    }
}

/// The filter that a selector stands for; `None` for all devices.
fn text(selector: &Selector) -> Option<String> {
    match selector {
        Selector::All => None,
        Selector::Group(group) => Some(format!("{group:?} in groups")),
        Selector::Filter(filter) => Some(filter.clone()),
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::List(items) => items,
        Kind::Map(_) | Kind::Scalar(_) => &[],
    }
}

/// The steps of every policy.
fn steps(node: &Node) -> Vec<&Node> {
    let Kind::Map(policies) = &node.kind else { return Vec::new() };
    let steps = policies.entries.iter().filter_map(|field| match &field.value.kind {
        Kind::Map(policy) => policy.value("steps"),
        Kind::List(_) | Kind::Scalar(_) => None,
    });
    steps.flat_map(items).collect()
}

fn check(node: &Node, groups: &DynamicGroups, bytes: &[u8], problems: &mut Problems) {
    let Kind::Map(map) = &node.kind else { return };
    for (key, selector) in [("filter", Selector::Filter as fn(String) -> Selector), ("group", Selector::Group)] {
        let Some(value) = map.value(key) else { continue };
        // What is no text was told when it was read.
        let Kind::Scalar(scalar) = &value.kind else { continue };
        let Some(filter) = text(&selector(scalar.text.to_string())) else { continue };
        if let Err(error) = Filter::new(&filter, groups) {
            filter_error(value, &filter, &error, bytes, problems);
        }
    }
}
