//! The decision: what is done to the host next, or what it waits for, or what is wrong with it.

use super::{Change, FailedHook, FoundHost, HookRun, HostAction, HostMemory, Logging, MAX_HOOK_TRIES, RebootDue};
use crate::domain::device::action::Failure;
use crate::domain::device::os::{Offer, Permit};
use crate::domain::digest::Digest;
use crate::domain::ids::HookName;
use crate::domain::reported::is_as_wanted;
use crate::domain::spec::{DeviceConfig, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// How often a reboot is asked for that does not come.
const MAX_REBOOTS: u32 = 3;

/// What failed a moment ago and is left alone for a while: settings and hooks, each with why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeldBack {
    /// Settings.
    pub subjects: BTreeMap<Subject, Failure>,
    /// Hooks.
    pub hooks: BTreeMap<HookName, Failure>,
    /// The reboot.
    pub reboot: Option<Failure>,
}

/// Everything that a decision depends on.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// What is wanted.
    pub wanted: &'a DeviceConfig,
    /// Who wants it.
    pub offer: Offer,
    /// What is there.
    pub found: &'a FoundHost,
    /// What is remembered.
    pub memory: &'a HostMemory,
    /// What failed a moment ago.
    pub held_back: &'a HeldBack,
    /// Whether the host may be changed.
    pub apply: Permit,
    /// Whether the device may be rebooted, for what a hook asked for.
    pub reboot: Permit,
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What has to be remembered before anything is done.
    pub memory: HostMemory,
    /// What to do.
    pub turn: Turn,
    /// What is no longer assigned and stays as it is.
    pub left: BTreeSet<Subject>,
}

/// What to do about the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// Nothing: everything that is wanted is there.
    Settled,
    /// This, before services are looked after.
    Act(HostAction),
    /// A reboot, after services were looked after.
    Reboot(HostAction),
    /// Nothing until something else comes true.
    Wait(Failure),
    /// Nothing that would help, for now.
    Lacking(Failure),
}

/// Decides. The memory of the verdict is durable before its action is performed.
pub fn judge(case: &Case<'_>) -> Verdict {
    let mut memory = case.memory.clone();
    case.forget(&mut memory);
    let changes = case.changes();
    let left = case.left(&memory);
    let turn = if changes.is_empty() { case.without_changes(&mut memory) } else { case.make(changes, &mut memory) };
    Verdict { memory, turn, left }
}

impl Case<'_> {
    /// What a look says is over.
    fn forget(&self, memory: &mut HostMemory) {
        memory.reboot.take_if(|due| due.from != self.found.boot_id);
        memory.hooks.retain(|hook, _| self.wanted.hooks.contains_key(hook));
        for run in memory.hooks.values_mut() {
            let is_asked_again = |failed: &FailedHook| match failed.digest == self.offer.digest {
                true => self.offer.attempt > failed.attempt,
                // Another assignment: what did not take effect may do so now.
                false => true,
            };
            if run.failed.as_deref().is_some_and(is_asked_again) {
                (run.failed, run.tries) = (None, 0);
            }
        }
        // A file that somebody removed is nobody's any more.
        memory.files.retain(|path, _| self.wanted.files.contains_key(path) || self.found.file(path).is_some());
        memory.begun.retain(|subject| self.is_wanted(subject) || self.is_removable(subject));
        memory.bound(|subject| self.is_wanted(subject));
    }

    fn is_wanted(&self, subject: &Subject) -> bool {
        match subject {
            Subject::File(path) => self.wanted.files.contains_key(path),
            other => crate::domain::reported::wanted_text(self.wanted, other).is_some(),
        }
    }

    /// Whether it is a file that is no longer wanted, and still as it was written.
    fn is_removable(&self, subject: &Subject) -> bool {
        let Subject::File(path) = subject else { return false };
        let written = self.memory.files.get(path).filter(|_| !self.wanted.files.contains_key(path));
        written.zip(self.found.file(path)).is_some_and(|(written, found)| written.is(found.digest))
    }

    fn left(&self, memory: &HostMemory) -> BTreeSet<Subject> {
        let files = memory.files.keys().cloned().map(Subject::File);
        let all = memory.set.iter().cloned().chain(files);
        all.filter(|subject| !self.is_wanted(subject) && !self.is_removable(subject)).collect()
    }

    fn is_settled(&self, subject: &Subject) -> bool {
        let observed =
            self.found.values.get(subject).map(|value| self.found.observed_value(self.wanted, subject, value));
        is_as_wanted(self.wanted, subject, observed.as_ref())
    }

    /// What is not as it shall be, or not known to be whole, and can be changed now.
    fn changes(&self) -> Vec<Change> {
        let is_open = |subject: &Subject| {
            !self.found.refused.contains_key(subject)
                && !self.found.unread.contains_key(subject)
                && !self.held_back.subjects.contains_key(subject)
        };
        let wanted = self.wanted.subjects().into_iter();
        let differs = |subject: &Subject| self.memory.begun.contains(subject) || !self.is_settled(subject);
        let mut changes: Vec<Change> =
            wanted.filter(is_open).filter(differs).filter_map(|subject| self.change(&subject)).collect();
        let removals = self.memory.files.keys().cloned().map(Subject::File).filter(is_open);
        let removals = removals.filter(|subject| self.is_removable(subject));
        changes.extend(removals.filter_map(|subject| match subject {
            Subject::File(path) => Some(Change::Remove(path)),
            _ => None,
        }));
        changes
    }

    fn change(&self, subject: &Subject) -> Option<Change> {
        let wanted = self.wanted;
        match subject {
            Subject::Hostname => wanted.hostname.clone().map(Change::Hostname),
            Subject::TimeZone => wanted.time_zone.clone().map(Change::TimeZone),
            Subject::PersistentLogging => {
                wanted.persistent_logging.map(|flag| Change::PersistentLogging(Logging::of_flag(flag)))
            }
            Subject::Sysctl(name) => wanted.sysctl.get(name).map(|value| Change::Sysctl(name.clone(), value.clone())),
            Subject::File(path) => {
                let file = wanted.files.get(path).filter(|file| self.found.wanted_digest(path, file).is_some())?;
                Some(Change::Write(path.clone(), Box::new(file.clone())))
            }
        }
    }

    fn make(&self, changes: Vec<Change>, memory: &mut HostMemory) -> Turn {
        if let Err(failure) = &self.apply {
            return Turn::Wait(failure.clone());
        }
        for change in &changes {
            memory.begin(change, self.digest_of(change));
            let subject = change.subject();
            let concerned = self.wanted.hooks.iter().filter(|(_, all)| all.iter().any(|one| one.covers(&subject)));
            for (hook, _) in concerned {
                let run = memory.hooks.entry(hook.clone());
                let run = run.or_insert_with(|| HookRun { because: BTreeSet::new(), tries: 0, failed: None });
                run.because.insert(subject.clone());
                // What failed before is another matter with other settings.
                (run.failed, run.tries) = (None, 0);
            }
        }
        Turn::Act(HostAction::Change(changes))
    }

    fn digest_of(&self, change: &Change) -> Option<Digest> {
        match change {
            Change::Write(path, file) => self.found.wanted_digest(path, file),
            Change::Hostname(_)
            | Change::TimeZone(_)
            | Change::PersistentLogging(_)
            | Change::Sysctl(..)
            | Change::Remove(_) => None,
        }
    }

    /// All that can be changed is changed: hooks, then what is in the way, then a reboot.
    fn without_changes(&self, memory: &mut HostMemory) -> Turn {
        if let Some(turn) = self.hook(memory) {
            return turn;
        }
        if let Some(failure) = self.trouble(memory) {
            return Turn::Lacking(failure);
        }
        memory.reboot.take().map_or(Turn::Settled, |due| self.restart(due, memory))
    }

    fn hook(&self, memory: &mut HostMemory) -> Option<Turn> {
        let is_ready = |hook: &HookName, run: &HookRun| {
            run.failed.is_none()
                && run.tries < MAX_HOOK_TRIES
                && !self.found.refused_hooks.contains_key(hook)
                && !self.held_back.hooks.contains_key(hook)
        };
        // A change that may not be whole is made again first.
        let is_whole = |run: &HookRun| run.because.is_disjoint(&memory.begun);
        let (hook, run) = memory.hooks.iter_mut().find(|(hook, run)| is_ready(hook, run) && is_whole(run))?;
        if let Err(failure) = &self.apply {
            return Some(Turn::Wait(failure.clone()));
        }
        run.tries += 1;
        Some(Turn::Act(HostAction::RunHook { hook: hook.clone(), because: run.because.clone() }))
    }

    fn restart(&self, mut due: RebootDue, memory: &mut HostMemory) -> Turn {
        if let Some(failure) = &self.held_back.reboot {
            memory.reboot = Some(due);
            return Turn::Lacking(failure.clone());
        }
        let hook = due.hook.clone();
        let turn = match (&self.apply, &self.reboot) {
            (Err(failure), _) | (Ok(()), Err(failure)) => Turn::Wait(failure.clone()),
            (Ok(()), Ok(())) if due.from.is_empty() => {
                let message =
                    format!("hook {hook} asks for a reboot, and boots of this device have no name to tell them apart");
                Turn::Lacking(Failure { reason: "NoBootId", message })
            }
            (Ok(()), Ok(())) if due.tries >= MAX_REBOOTS => {
                let message =
                    format!("hook {hook} asks for a reboot, which was begun {MAX_REBOOTS} times and did not come");
                Turn::Lacking(Failure { reason: "RebootFailed", message })
            }
            (Ok(()), Ok(())) => {
                due.tries += 1;
                Turn::Reboot(HostAction::Reboot { hook })
            }
        };
        memory.reboot = Some(due);
        turn
    }

    /// What keeps the host from being what it shall be, the first with a count of the others.
    fn trouble(&self, memory: &HostMemory) -> Option<Failure> {
        let mut all: Vec<Failure> = Vec::new();
        for subject in self.wanted.subjects() {
            let known = [&self.found.unread, &self.found.refused, &self.held_back.subjects];
            let is_unknown = self.found.unread.contains_key(&subject);
            if !is_unknown && self.is_settled(&subject) && !memory.begun.contains(&subject) {
                continue;
            }
            match known.iter().find_map(|failures| failures.get(&subject)) {
                Some(failure) => all.push(about(&subject.to_string(), failure)),
                None => all.extend(self.secret_missing(&subject)),
            }
        }
        // Files that could not be removed.
        let others = self.held_back.subjects.iter().filter(|(subject, _)| !self.is_wanted(subject));
        all.extend(others.map(|(subject, failure)| about(&subject.to_string(), failure)));
        for (hook, run) in &memory.hooks {
            let name = format!("hook {hook}");
            match (&run.failed, self.found.refused_hooks.get(hook).or(self.held_back.hooks.get(hook))) {
                (Some(failed), _) => {
                    let message = format!("{name}: {} (run {} times)", failed.message, run.tries);
                    all.push(Failure { reason: "HookFailed", message });
                }
                (None, Some(failure)) => all.push(about(&name, failure)),
                // It waits for what it runs for, which has been told.
                (None, None) if run.tries < MAX_HOOK_TRIES => {}
                // The agent ended while it ran for the last time.
                (None, None) => {
                    let message = format!("{name}: it was begun {} times and never came to an end", run.tries);
                    all.push(Failure { reason: "HookFailed", message });
                }
            }
        }
        let first = all.first()?.clone();
        let more = if all.len() > 1 { format!("; and {} more", all.len() - 1) } else { String::new() };
        Some(Failure { reason: first.reason, message: first.message + &more })
    }

    fn secret_missing(&self, subject: &Subject) -> Option<Failure> {
        let Subject::File(path) = subject else { return None };
        let is_missing = self.wanted.files.get(path).is_some_and(|file| self.found.wanted_digest(path, file).is_none());
        let message = format!("{subject}: the value of a secret in it has not come yet");
        is_missing.then_some(Failure { reason: "SecretMissing", message })
    }
}

fn about(what: &str, failure: &Failure) -> Failure {
    Failure { reason: failure.reason, message: format!("{what}: {}", failure.message) }
}
