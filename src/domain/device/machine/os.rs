//! What the machine adds to the update of the OS: whether it may go on now, and whether an OS on trial has proved itself.

use super::conditions::OS_UPDATED;
use super::work::Standing;
use super::{Effect, Machine, Timer};
use crate::domain::condition::ConditionStatus;
use crate::domain::device::action::{Action, Failure};
use crate::domain::device::ledger::Held;
use crate::domain::device::locks::{Deed, Locks, locked};
use crate::domain::device::os::{Case, FoundOs, Offer, Permit, Proof, TryStage, Turn, judge};
use crate::domain::reported::{OsStage, OsUpdate};
use crate::domain::spec::Purpose;
use crate::domain::time::{Timestamp, show_secs};

/// What the machine keeps about an OS update between two looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OsLane {
    /// What people are told.
    pub(super) told: Option<OsUpdate>,
    /// How long an OS on trial has been well.
    soak: Span,
    /// How long it has been on trial in this start of the agent.
    trial: Span,
}

/// A span of time on a clock that never jumps: a trial boot is when a device without a battery learns what time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Span {
    #[default]
    NotBegun,
    Running,
    Over,
}

/// Whether something may be done now.
struct Permits {
    download: Permit,
    apply: Permit,
    reboot: Permit,
}

impl Machine {
    pub(super) fn os_has_soaked(&mut self) {
        if self.os.soak == Span::Running {
            self.os.soak = Span::Over;
            self.work.timer_due();
        }
    }

    pub(super) fn os_had_its_time(&mut self) {
        if self.os.trial == Span::Running {
            self.os.trial = Span::Over;
            self.work.timer_due();
        }
    }

    /// Decides about the OS, and notes what has to be remembered before it is done.
    ///
    /// `apps` is how the services stand; while there are steps for them, nothing new is begun.
    pub(super) fn os_turn(
        &mut self,
        held: &Held,
        found: &FoundOs,
        locks: &Locks,
        apps: &Standing,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Turn {
        let offer = Offer { digest: held.mark.digest, attempt: held.attempt };
        let proof = self.proof(held, apps, found, effects);
        let Permits { download, apply, reboot } = self.os_permits(held, locks, apps, now);
        let wanted = held.spec.spec.os.as_ref();
        let memory = &self.wanted.os;
        let verdict = judge(&Case { wanted, offer, found, memory, proof, download, apply, reboot });
        self.wanted.os = verdict.memory;
        self.tell_os(verdict.told, now);
        verdict.turn
    }

    /// Whether images may be fetched, slots written, and the device rebooted, now. Services come first; windows and locks tell when.
    fn os_permits(&self, held: &Held, locks: &Locks, apps: &Standing, now: Timestamp) -> Permits {
        // Windows restrict what is new. The way back to what was good waits for none.
        let closed = |purpose| match self.went_back(held) {
            true => None,
            false => held.spec.spec.maintenance.closed(purpose, now),
        };
        let within = |purpose: Purpose| match (apps, closed(purpose)) {
            (Standing::Busy, _) => Err(Failure {
                reason: "ServicesFirst",
                message: "services are brought to what is assigned before the OS is".to_owned(),
            }),
            (_, Some(message)) => Err(Failure { reason: "WindowClosed", message }),
            (
                Standing::Settled
                | Standing::Waiting(_)
                | Standing::Locked(_)
                | Standing::Lacking(_)
                | Standing::Bleak(_),
                None,
            ) => Ok(()),
        };
        let unlocked = |deed: Deed<'_>| locks.in_the_way(deed, self.respect()).map_or(Ok(()), |lock| Err(locked(lock)));
        Permits {
            download: within(Purpose::Download).and_then(|()| unlocked(Deed::Download)),
            apply: within(Purpose::Apply),
            reboot: unlocked(Deed::Reboot),
        }
    }

    /// Whether the OS on trial has proved itself: the services were settled and well for a while. That the controller does
    /// not answer plays no part.
    ///
    /// An assignment with a soak is judged before this: what is not well then fails as a whole. This is the word of the OS alone.
    fn proof(&mut self, held: &Held, apps: &Standing, found: &FoundOs, effects: &mut Vec<Effect>) -> Proof {
        let Some(this) = &self.wanted.os.underway else {
            self.end_trial();
            return Proof::Pending(no_trial());
        };
        let is_on_trial = match &this.stage {
            TryStage::Trial { from: _, boot_id: _ } => true,
            TryStage::Rebooting { from } => from.id != found.boot_id,
            TryStage::Waiting
            | TryStage::Installing
            | TryStage::Tried { .. }
            | TryStage::Returning { .. }
            | TryStage::Leaving { .. } => false,
        };
        let is_of_this_assignment = this.of == held.mark.digest;
        if !is_on_trial {
            self.end_trial();
            return Proof::Pending(no_trial());
        }
        // An assignment goes back as a whole, and takes the OS with it that it brought.
        if self.went_back(held) && held.spec.spec.os.as_ref().is_none_or(|os| os.version != this.version) {
            self.end_trial();
            return Proof::Withdrawn;
        }
        if self.os.trial == Span::NotBegun {
            self.os.trial = Span::Running;
            let after_millis = i64::from(self.pace.os_trial_secs) * 1000;
            effects.push(Effect::Wake { timer: Timer::OsTrial, after_millis });
        }
        let trouble = match (apps, self.ailing()) {
            (Standing::Settled, None) => return self.soaking(effects),
            (_, Some(failure)) => failure,
            (Standing::Busy, None) => {
                Failure { reason: "ServicesNotSettled", message: "services are not yet what is assigned".to_owned() }
            }
            (
                Standing::Waiting(failure)
                | Standing::Locked(failure)
                | Standing::Lacking(failure)
                | Standing::Bleak(failure),
                None,
            ) => failure.clone(),
        };
        self.os.soak = Span::NotBegun;
        match self.os.trial {
            // Services that were assigned since the reboot may be broken by themselves: no reason to leave the OS.
            Span::Over if is_of_this_assignment => Proof::Missing(Failure {
                reason: "HealthGate",
                message: format!(
                    "the services were not well {} after the reboot: {trouble}",
                    show_secs(i64::from(self.pace.os_trial_secs))
                ),
            }),
            Span::NotBegun | Span::Running | Span::Over => Proof::Pending(trouble),
        }
    }

    fn soaking(&mut self, effects: &mut Vec<Effect>) -> Proof {
        if self.os.soak == Span::NotBegun {
            self.os.soak = Span::Running;
            let after_millis = i64::from(self.pace.os_soak_secs) * 1000;
            effects.push(Effect::Wake { timer: Timer::OsSoak, after_millis });
        }
        match self.os.soak {
            Span::Over => Proof::Given,
            Span::NotBegun | Span::Running => Proof::Pending(Failure {
                reason: "Soaking",
                message: format!(
                    "the OS is kept once everything has been well for {}",
                    show_secs(i64::from(self.pace.os_soak_secs))
                ),
            }),
        }
    }

    fn end_trial(&mut self) {
        self.os.soak = Span::NotBegun;
        self.os.trial = Span::NotBegun;
    }

    /// An action for the OS was done.
    pub(super) fn os_done(&mut self, action: &Action) {
        self.wanted.os.done(action);
    }

    /// An action for the OS failed.
    pub(super) fn os_failed(&mut self, action: &Action, failure: &Failure, held: &Held) {
        let offer = Offer { digest: held.mark.digest, attempt: held.attempt };
        self.wanted.os.failed(action, failure, offer);
    }

    fn tell_os(&mut self, told: Option<OsUpdate>, now: Timestamp) {
        match &told {
            Some(update) => {
                let reason = match (&update.cause, update.stage) {
                    (Some(cause), _) => cause.reason.as_str(),
                    (None, OsStage::Downloading) => "Downloading",
                    (None, OsStage::Installing) => "Installing",
                    (None, OsStage::Installed) => "Installed",
                    (None, OsStage::Rebooting) => "Rebooting",
                    (None, OsStage::Trial) => "Trial",
                    (None, OsStage::Returning) => "Returning",
                    (None, OsStage::Failed) => "Failed",
                };
                self.conditions.set(OS_UPDATED, ConditionStatus::False, reason, &update.to_string(), now);
            }
            None => self.conditions.clear(OS_UPDATED),
        }
        self.os.told = told;
    }
}

fn no_trial() -> Failure {
    Failure { reason: "NoTrial", message: "no OS is on trial".to_owned() }
}
