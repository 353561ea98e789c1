//! OS updaters behind [`crate::ports::os::Os`].

pub mod simulated;

use crate::domain::reported::ObservedOs;
use crate::domain::spec::OsSpec;
use crate::ports::engine::Answer;
use crate::ports::os::{Os, OsError};

/// A device without an OS updater.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoUpdater;

impl Os for NoUpdater {
    fn look(&self) -> Answer<'_, Option<ObservedOs>, OsError> {
        Box::pin(async { Ok(None) })
    }

    fn install<'a>(&'a self, _os: &'a OsSpec) -> Answer<'a, (), OsError> {
        Box::pin(async { Err(OsError::Unavailable { reason: "this device has no OS updater".to_owned() }) })
    }
}
