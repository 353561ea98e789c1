//! Hosts: Linux, a simulated one, and none.

pub mod folder;
mod hooks;
mod journal;
pub mod linux;
pub mod simulated;
#[cfg(test)]
mod tests;

use crate::domain::device::action::Failure;
use crate::domain::device::host::{Change, FoundHost, HookEnd, HookFailure, HostAsk};
use crate::domain::ids::HookName;
use crate::domain::spec::Subject;
use crate::ports::host::{Host, Told};
use std::collections::{BTreeMap, BTreeSet};

/// A host that the agent leaves alone: nobody said that it may do otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

fn not_allowed() -> Failure {
    let message = "this agent leaves its host alone; set `host` to `linux` in its configuration to let it".to_owned();
    Failure { reason: "NotAllowed", message }
}

impl Host for NoHost {
    fn look<'a>(&'a self, ask: &'a HostAsk) -> Told<'a, FoundHost> {
        let unread = ask.subjects.iter().map(|subject| (subject.clone(), not_allowed())).collect();
        let refused_hooks = ask.hooks.iter().map(|hook| (hook.clone(), not_allowed())).collect();
        Box::pin(async { FoundHost { unread, refused_hooks, ..FoundHost::default() } })
    }

    fn change<'a>(&'a self, changes: &'a [Change]) -> Told<'a, BTreeMap<Subject, Failure>> {
        Box::pin(async { changes.iter().map(|change| (change.subject(), not_allowed())).collect() })
    }

    fn run_hook<'a>(&'a self, _: &'a HookName, _: &'a BTreeSet<Subject>) -> Told<'a, Result<HookEnd, HookFailure>> {
        Box::pin(async { Err(HookFailure { failure: not_allowed(), log: Vec::new() }) })
    }

    fn reboot(&self) -> Told<'_, Result<(), Failure>> {
        Box::pin(async { Err(not_allowed()) })
    }
}
