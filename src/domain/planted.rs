//! Bugs that can be planted in the core, so that a test can show that the simulation would find them.
//!
//! Each is one line in the function that it breaks. Without the feature `testing` every question is answered `false` at
//! compile time, and nothing of this is left in what is released.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A device accepts assignments that are older than what its ledger holds.
    AcceptOlder,
    /// A device accepts other content at the place that its ledger holds.
    AcceptChangedContent,
    /// A device takes an offer for accepted before it is in the ledger.
    SkipLedger,
    /// A device mends what it found before it was told.
    MendUntold,
    /// A device makes every service anew at every look.
    RecreateAlways,
    /// A device believes an envelope that is meant for another.
    BelieveAnyDevice,
    /// A device believes an envelope whose signature does not fit.
    BelieveAnySignature,
    /// The least gated stage wins.
    OwnerLeastGated,
    /// A stage whose commit has not been read claims nothing.
    UnreadMeansEmpty,
    /// A stage lets go of devices whose branch cannot be evaluated.
    UnknownMeansReleased,
    /// A device that no stage claims gets what any stage lists for it.
    AssignUnclaimed,
    /// Devices that are not enrolled are assigned content.
    AssignStrangers,
    /// Holds do not hold.
    IgnoreHolds,
    /// A broken commit counts.
    AcceptBroken,
    /// Any number of devices can be unmanaged at once.
    IgnoreDeletionBudget,
    /// Any number of devices can be changed at once.
    IgnoreBlastRadius,
    /// A rewritten branch counts at once.
    IgnoreRewrites,
    /// A new assignment gets the place of the one before.
    ReuseGeneration,
    /// What a device says of its place is not believed.
    NeverRecover,
    /// A pass writes what it decided even if nothing changed.
    WriteAlways,
    /// A narrowed pass decides from a commit that no longer counts.
    UseLateViews,
    /// A report counts even if a newer one was seen.
    TrustStaleReports,
    /// Differences in variables are not seen.
    OverlookVariables,
    /// A device stops services before the images of the next ones are there.
    StopBeforeImages,
    /// A device stops services whose update locks are held.
    IgnoreLocks,
    /// A device tries a digest again that failed for good.
    RetryFailedDigest,
    /// A device takes for good what has not soaked.
    SkipSoak,
    /// A device begins an action that it has begun before.
    RepeatActions,
    /// What a rollout offered is handed out whatever has become of the rollout.
    ServeStopped,
    /// What went wrong is assigned again.
    IgnoreQuarantine,
    /// A step that nobody is in passes.
    PassEmptySteps,
    /// A step passes however its devices fare.
    PassUnmetSteps,
    /// Nobody waits for a turn in the window of the step.
    ReleaseAtOnce,
    /// A paused rollout goes on.
    OfferWhilePaused,
    /// Budgets allow everything.
    ForgetBudgets,
    /// Devices that follow a policy get everything at once.
    AssignAround,
    /// A device that was away when its turn came is never looked for.
    ForgetTheSilent,
    /// A device that joins a rollout gets what it brings before its turn.
    JoinAtOnce,
    /// Devices that are lost or have failed keep their slots.
    KeepSlots,
    /// A device that is at work and not well gives its slot to another.
    FreeSickSlots,
    /// A device is lost although it was heard of.
    LoseTheHeard,
    /// The devices of a site share nothing.
    SplitSites,
    /// A step's clock runs while its rollout is paused.
    RunWhilePaused,
    /// A step passes as soon as enough are well, whoever has reported.
    PassUnreported,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 44] = [
        Self::AcceptOlder,
        Self::AcceptChangedContent,
        Self::SkipLedger,
        Self::MendUntold,
        Self::RecreateAlways,
        Self::BelieveAnyDevice,
        Self::BelieveAnySignature,
        Self::OwnerLeastGated,
        Self::UnreadMeansEmpty,
        Self::UnknownMeansReleased,
        Self::AssignUnclaimed,
        Self::AssignStrangers,
        Self::IgnoreHolds,
        Self::AcceptBroken,
        Self::IgnoreDeletionBudget,
        Self::IgnoreBlastRadius,
        Self::IgnoreRewrites,
        Self::ReuseGeneration,
        Self::NeverRecover,
        Self::WriteAlways,
        Self::UseLateViews,
        Self::TrustStaleReports,
        Self::OverlookVariables,
        Self::StopBeforeImages,
        Self::IgnoreLocks,
        Self::RetryFailedDigest,
        Self::SkipSoak,
        Self::RepeatActions,
        Self::ServeStopped,
        Self::IgnoreQuarantine,
        Self::PassEmptySteps,
        Self::PassUnmetSteps,
        Self::ReleaseAtOnce,
        Self::OfferWhilePaused,
        Self::ForgetBudgets,
        Self::AssignAround,
        Self::ForgetTheSilent,
        Self::JoinAtOnce,
        Self::KeepSlots,
        Self::FreeSickSlots,
        Self::LoseTheHeard,
        Self::SplitSites,
        Self::RunWhilePaused,
        Self::PassUnreported,
    ];
}

/// Whether a bug is planted.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "testing")]
pub(crate) use testing::planted;
#[cfg(feature = "testing")]
pub use testing::with_planted;

#[cfg(feature = "testing")]
mod testing {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        /// State that is not an argument, against the rule of this module's neighbours: handing the bug through every pure
        /// function would change all of them for the sake of a test. A thread of its own keeps tests apart.
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether a bug is planted in this thread.
    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Runs something with a bug planted in this thread, and takes the bug out again, also after a panic.
    pub fn with_planted<T>(bug: Option<Bug>, run: impl FnOnce() -> T) -> T {
        struct Restore(Option<Bug>);
        impl Drop for Restore {
            fn drop(&mut self) {
                PLANTED.set(self.0);
            }
        }
        let _restore = Restore(PLANTED.replace(bug));
        run()
    }
}
