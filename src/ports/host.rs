//! The host of a device, beside its services and its OS, as the agent needs it.

#[cfg(any(test, feature = "testing", feature = "agent"))]
pub mod fake;

use crate::domain::device::action::Failure;
use crate::domain::device::host::{Change, FoundHost, HookEnd, HookFailure, HostAsk};
use crate::domain::ids::HookName;
use crate::domain::spec::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

/// What an operation comes to. What went wrong is part of it: one setting that cannot be read or changed hides no other.
pub type Told<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A host. Every operation but a hook is safe to repeat: a crash may have left it half done.
pub trait Host: Send + Sync {
    /// Reads what is asked for, and says what may not be changed.
    fn look<'a>(&'a self, ask: &'a HostAsk) -> Told<'a, FoundHost>;

    /// Makes changes, each for itself; the answer lists those that could not be made. Contents of files hold values in the place
    /// of references.
    fn change<'a>(&'a self, changes: &'a [Change]) -> Told<'a, BTreeMap<Subject, Failure>>;

    /// Runs a program of the device.
    fn run_hook<'a>(
        &'a self,
        hook: &'a HookName,
        because: &'a BTreeSet<Subject>,
    ) -> Told<'a, Result<HookEnd, HookFailure>>;

    /// Has the device rebooted. It returns before the device goes down.
    fn reboot(&self) -> Told<'_, Result<(), Failure>>;
}
