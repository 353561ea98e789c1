//! The decision: one step of an OS update, or what it waits for, or that it failed.

use super::memory::{Boot, OsMemory, OsTry, TryStage};
use super::{FoundOs, ImageFile, MAX_TRIES, Operation};
use crate::domain::device::action::{Action, Failure, RebootWhy};
use crate::domain::digest::Digest;
use crate::domain::generation::Attempt;
use crate::domain::reported::{OsCause, OsStage, OsUpdate};
use crate::domain::spec::{OsSpec, Transfer};

/// Whether something may be done now, or why not.
pub type Permit = Result<(), Failure>;

/// The assignment that asks for an OS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its digest.
    pub digest: Digest,
    /// How often it was offered.
    pub attempt: Attempt,
}

/// Whether an OS on trial has shown that the device works with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It has.
    Given,
    /// Not yet.
    Pending(Failure),
    /// It had its time.
    Missing(Failure),
    /// Nobody wants to know any more: the assignment that brought it failed, and the device goes back. The image is not to blame.
    Withdrawn,
}

/// Everything that a decision depends on.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// What shall run; `None` leaves the OS alone.
    pub wanted: Option<&'a OsSpec>,
    /// Who wants it.
    pub offer: Offer,
    /// What is there.
    pub found: &'a FoundOs,
    /// What is remembered.
    pub memory: &'a OsMemory,
    /// Whether the OS on trial has proved itself; not looked at otherwise.
    pub proof: Proof,
    /// Whether images may be fetched.
    pub download: Permit,
    /// Whether what runs may be changed: from the installation on, after which a power cut could boot the new image.
    pub apply: Permit,
    /// Whether the device may be rebooted, windows apart.
    pub reboot: Permit,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What has to be remembered before anything is done.
    pub memory: OsMemory,
    /// What to do.
    pub turn: Turn,
    /// What people are told; `None` if no update is wanted or under way.
    pub told: Option<OsUpdate>,
}

/// What to do about the OS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing: it is what is wanted, or nothing is wanted.
    Settled,
    /// This.
    Act(Action),
    /// Nothing until something else comes true.
    Wait(Failure),
    /// Nothing for a while; then the same again.
    Retry(Failure),
    /// Nothing, until a higher attempt or another image is assigned.
    GaveUp(Failure),
}

/// Decides. The memory of the verdict is durable before its action is performed.
pub fn judge(case: &Case<'_>) -> Verdict {
    let mut memory = case.memory.clone();
    let Some(this) = memory.underway.take() else { return case.plan(memory) };
    let found = case.found;
    match this.stage.clone() {
        TryStage::Waiting | TryStage::Installing | TryStage::Tried { .. } => {
            memory.underway = Some(this);
            case.plan(memory)
        }
        TryStage::Rebooting { from } if found.boot_id == from.id => {
            memory.underway = Some(this);
            case.plan(memory)
        }
        TryStage::Rebooting { from } if case.is_in(&this, &from) => {
            let boot_id = found.boot_id.clone();
            case.on_trial(memory, OsTry { stage: TryStage::Trial { from: from.clone(), boot_id }, ..this }, &from)
        }
        TryStage::Rebooting { from } => {
            let message = format!("the device rebooted and {} came up again: the image did not start", place(&from));
            memory.fail(this, OsStage::Rebooting, "FellBack", &message);
            case.plan(memory)
        }
        TryStage::Trial { from, boot_id: _ } if case.is_in(&this, &from) => {
            // Another boot of the same image is not a bad one: somebody restarted the device.
            let boot_id = found.boot_id.clone();
            case.on_trial(memory, OsTry { stage: TryStage::Trial { from: from.clone(), boot_id }, ..this }, &from)
        }
        TryStage::Trial { from, boot_id: _ } => {
            let message =
                format!("the device rebooted before the image had proved itself, and {} came up", place(&from));
            memory.fail(this, OsStage::Trial, "FellBack", &message);
            case.plan(memory)
        }
        TryStage::Returning { from, boot_id: _ } | TryStage::Leaving { from, boot_id: _ }
            if !case.is_in(&this, &from) =>
        {
            case.plan(memory)
        }
        TryStage::Returning { from: _, boot_id: _ } => case.returning(memory, this),
        TryStage::Leaving { from, boot_id } if found.boot_id != boot_id => {
            // The boot loader chose the same slot once more.
            let stage = TryStage::Returning { from, boot_id: found.boot_id.clone() };
            case.returning(memory, OsTry { stage, ..this })
        }
        TryStage::Leaving { from: _, boot_id: _ } => {
            let why = RebootWhy::Leave(this.version.clone());
            let turn = case.reboot.clone().map_or_else(Turn::Wait, |()| Turn::Act(Action::Reboot { why }));
            let told = Some(told(&this, OsStage::Returning, None, cause_of(&turn)));
            memory.underway = Some(this);
            Verdict { memory, turn, told }
        }
    }
}

impl Case<'_> {
    /// Whether the device is in the image that was tried, and not back where it was.
    fn is_in(&self, this: &OsTry, from: &Boot) -> bool {
        match (&self.found.running.booted, &from.slot) {
            (Some(booted), Some(slot)) => booted != slot,
            (Some(_) | None, _) => self.found.running.version == this.version,
        }
    }

    fn on_trial(&self, mut memory: OsMemory, mut this: OsTry, from: &Boot) -> Verdict {
        let runs = &self.found.running.version;
        let proof = if *runs == this.version {
            self.proof.clone()
        } else {
            let message = format!("the image calls itself {runs}, the catalog {}", this.version);
            Proof::Missing(Failure { reason: "OtherVersion", message })
        };
        let version = this.version.clone();
        let (turn, cause) = match proof {
            Proof::Given => (Turn::Act(Action::ConfirmOs { version }), None),
            Proof::Pending(failure) => (Turn::Wait(failure.clone()), Some(waits(&failure))),
            Proof::Withdrawn => {
                let boot_id = self.found.boot_id.clone();
                this.stage = TryStage::Returning { from: from.clone(), boot_id };
                return self.returning(memory, this);
            }
            Proof::Missing(failure) => {
                memory.fail(this.clone(), OsStage::Trial, failure.reason, &failure.message);
                let boot_id = self.found.boot_id.clone();
                this.stage = TryStage::Returning { from: from.clone(), boot_id };
                return self.returning(memory, this);
            }
        };
        let told = Some(told(&this, OsStage::Trial, None, cause));
        memory.underway = Some(this);
        Verdict { memory, turn, told }
    }

    fn returning(&self, mut memory: OsMemory, this: OsTry) -> Verdict {
        let turn = Turn::Act(Action::FallBackOs { version: this.version.clone() });
        let told = Some(told(&this, OsStage::Returning, None, memory.failure_of(this.image).map(failed)));
        memory.underway = Some(this);
        Verdict { memory, turn, told }
    }

    /// The device runs what it ran before anything was tried: what is next?
    fn plan(&self, mut memory: OsMemory) -> Verdict {
        let Some(wanted) = self.wanted else {
            return self.stay(memory);
        };
        if wanted.version == self.found.running.version {
            memory.forget_failure(wanted.key());
            return self.stay(memory);
        }
        let image = wanted.key();
        if let Some(one) = memory.failure_of(image).filter(|one| !one.tried.is_asked_again(self.offer)) {
            let told = told(&one.tried, OsStage::Failed, None, Some(failed(one)));
            let turn = match self.found.file {
                // Room for what comes next; another attempt fetches it anew.
                ImageFile::Partly { .. } | ImageFile::Whole { .. } => Turn::Act(Action::DiscardOs),
                ImageFile::NotNeeded | ImageFile::Absent => gave_up(&told),
            };
            memory.underway = None;
            return Verdict { memory, turn, told: Some(told) };
        }
        let underway = memory.underway.take();
        let known = underway.filter(|one| one.image == image && !one.is_asked_again(self.offer));
        let this = known.unwrap_or_else(|| OsTry::new(wanted, self.offer));
        if let Operation::Installing { percent } = self.found.operation {
            return self.watch(memory, this, percent);
        }
        // What failed before and is asked for again is installed again, even if it still lies there.
        let is_stale = this.tries == 0 && memory.failure_of(image).is_some();
        if self.found.pending.as_ref() == Some(&wanted.version) && !is_stale {
            return self.leave(memory, this);
        }
        if this.stage == TryStage::Installing {
            return came_to_nothing(memory, this, self.found);
        }
        self.bring(memory, this, wanted)
    }

    /// Nothing else is wanted than what runs. What was begun for something else is undone.
    fn stay(&self, mut memory: OsMemory) -> Verdict {
        let turn = match (&self.found.operation, &memory.underway, self.found.file) {
            // Whatever is being installed must end before anything can be said of it.
            (Operation::Installing { .. }, Some(_), _) => Turn::Settled,
            (_, Some(_), _) if self.found.pending.is_some() => Turn::Act(Action::KeepOs),
            (_, _, file) => {
                memory.underway = None;
                match file {
                    ImageFile::NotNeeded | ImageFile::Absent => Turn::Settled,
                    ImageFile::Partly { .. } | ImageFile::Whole { .. } => Turn::Act(Action::DiscardOs),
                }
            }
        };
        Verdict { memory, turn, told: None }
    }

    /// The updater is at work.
    fn watch(&self, mut memory: OsMemory, this: OsTry, percent: Option<u8>) -> Verdict {
        let (reason, message) = match this.stage {
            TryStage::Installing => ("InstallingOs", format!("OS {} {} is being installed", this.name, this.version)),
            _ => ("UpdaterBusy", "the updater is at work for somebody else".to_owned()),
        };
        let failure = Failure { reason, message };
        let cause = (this.stage != TryStage::Installing).then(|| waits(&failure));
        let told = Some(told(&this, OsStage::Installing, percent, cause));
        memory.underway = Some(this);
        Verdict { memory, turn: Turn::Wait(failure), told }
    }

    /// It is installed: the device has to reboot.
    fn leave(&self, mut memory: OsMemory, mut this: OsTry) -> Verdict {
        let why = RebootWhy::Try(this.version.clone());
        let (turn, stage) = match self.apply.clone().and(self.reboot.clone()) {
            Ok(()) => {
                this.stage = TryStage::Rebooting { from: Boot::of(self.found) };
                (Turn::Act(Action::Reboot { why }), OsStage::Rebooting)
            }
            Err(failure) => (Turn::Wait(failure), OsStage::Installed),
        };
        let told = Some(told(&this, stage, None, cause_of(&turn)));
        memory.underway = Some(this);
        Verdict { memory, turn, told }
    }

    /// It has to be fetched and installed.
    fn bring(&self, mut memory: OsMemory, mut this: OsTry, wanted: &OsSpec) -> Verdict {
        let image = this.image;
        let needs_file = wanted.url.is_some() && wanted.transfer == Transfer::Download;
        let (bytes, total) = match self.found.file {
            ImageFile::NotNeeded => (None, None),
            ImageFile::Whole { image: there } if there == image => (None, None),
            ImageFile::Partly { image: there, bytes, total } if there == image => (Some(bytes), total),
            ImageFile::Absent | ImageFile::Partly { .. } | ImageFile::Whole { .. } => (Some(0), None),
        };
        let (turn, stage, percent) = match bytes.filter(|_| needs_file) {
            Some(from_bytes) => {
                let fetch = Action::FetchOs { os: wanted.clone(), from_bytes };
                let turn = self.download.clone().map_or_else(Turn::Wait, |()| Turn::Act(fetch));
                (turn, OsStage::Downloading, percent(from_bytes, total.or(wanted.size_bytes)))
            }
            None => {
                let turn = match self.apply.clone() {
                    Ok(()) => {
                        this.tries = this.tries.saturating_add(1);
                        this.stage = TryStage::Installing;
                        Turn::Act(Action::InstallOs { os: wanted.clone() })
                    }
                    Err(failure) => Turn::Wait(failure),
                };
                (turn, OsStage::Installing, None)
            }
        };
        let told = Some(told(&this, stage, percent, cause_of(&turn)));
        memory.underway = Some(this);
        Verdict { memory, turn, told }
    }
}

/// An installation was begun, and the updater has neither it nor its result: it failed, or the updater was killed.
fn came_to_nothing(mut memory: OsMemory, mut this: OsTry, found: &FoundOs) -> Verdict {
    let message = match &found.operation {
        Operation::Idle { last_error: Some(error) } => error.clone(),
        Operation::Idle { last_error: None } | Operation::Installing { .. } => {
            "the installation was begun, and the updater knows nothing of it".to_owned()
        }
    };
    let failure = Failure { reason: "InstallFailed", message };
    if this.tries >= MAX_TRIES {
        memory.fail(this.clone(), OsStage::Installing, failure.reason, &failure.message);
        let told = told(&this, OsStage::Failed, None, memory.failure_of(this.image).map(failed));
        return Verdict { memory, turn: gave_up(&told), told: Some(told) };
    }
    this.stage = TryStage::Tried { reason: failure.reason.to_owned(), message: failure.message.clone() };
    let told = Some(told(&this, OsStage::Installing, None, Some(waits(&failure))));
    memory.underway = Some(this);
    Verdict { memory, turn: Turn::Retry(failure), told }
}

fn gave_up(told: &OsUpdate) -> Turn {
    Turn::GaveUp(Failure { reason: "OsUpdateFailed", message: told.to_string() })
}

fn told(this: &OsTry, stage: OsStage, percent: Option<u8>, cause: Option<OsCause>) -> OsUpdate {
    // The failure of the try before is of interest until this one has come further.
    let cause = cause.or_else(|| match &this.stage {
        TryStage::Tried { reason, message } => {
            Some(OsCause { failed_in: None, reason: reason.clone(), message: message.clone() })
        }
        _ => None,
    });
    let (name, version) = (this.name.clone(), this.version.clone());
    OsUpdate { name, version, stage, attempt: this.attempt, tries: this.tries, percent, cause }
}

fn failed(one: &super::FailedOs) -> OsCause {
    OsCause { failed_in: Some(one.failed_in), reason: one.reason.clone(), message: one.message.clone() }
}

fn waits(failure: &Failure) -> OsCause {
    OsCause { failed_in: None, reason: failure.reason.to_owned(), message: failure.message.clone() }
}

fn cause_of(turn: &Turn) -> Option<OsCause> {
    match turn {
        Turn::Wait(failure) | Turn::Retry(failure) | Turn::GaveUp(failure) => Some(waits(failure)),
        Turn::Settled | Turn::Act(_) => None,
    }
}

fn percent(bytes: u64, total: Option<u64>) -> Option<u8> {
    let total = total.filter(|total| *total > 0)?;
    u8::try_from((bytes.saturating_mul(100) / total).min(100)).ok()
}

fn place(from: &Boot) -> String {
    from.slot.as_ref().map_or_else(|| "the version from before".to_owned(), |slot| format!("slot {slot}"))
}
