//! OS updaters.

pub mod bus;
pub mod command;
pub mod images;
pub mod program;
pub mod rauc;
pub mod reboot;
mod release;
pub mod simulated;
#[cfg(all(test, feature = "controller"))]
mod tests;

use crate::domain::device::os::FoundOs;
use crate::domain::spec::OsSpec;
use crate::ports::engine::Answer;
use crate::ports::os::{Os, OsError};

/// A device without an OS updater.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoUpdater;

fn none<T>() -> Answer<'static, T, OsError> {
    Box::pin(async { Err(OsError::Unavailable { reason: "this device has no OS updater".to_owned() }) })
}

impl Os for NoUpdater {
    fn look(&self) -> Answer<'_, Option<FoundOs>, OsError> {
        Box::pin(async { Ok(None) })
    }

    fn fetch<'a>(&'a self, _os: &'a OsSpec) -> Answer<'a, (), OsError> {
        none()
    }

    fn install<'a>(&'a self, _os: &'a OsSpec) -> Answer<'a, (), OsError> {
        none()
    }

    fn confirm(&self) -> Answer<'_, (), OsError> {
        none()
    }

    fn fall_back(&self) -> Answer<'_, (), OsError> {
        none()
    }

    fn keep(&self) -> Answer<'_, (), OsError> {
        none()
    }

    fn discard(&self) -> Answer<'_, (), OsError> {
        none()
    }

    fn reboot(&self) -> Answer<'_, (), OsError> {
        none()
    }
}
