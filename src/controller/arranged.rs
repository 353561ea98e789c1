//! All devices arranged for filters, and kept until too much has changed.
//!
//! Making an index looks at every device; a report changes one. So the index stays as it is while the names of devices that
//! changed since are noted, and a filter looks at those one by one. The answer is the same as with a new index.

use super::World;
use crate::domain::filter::index::Index;
use crate::domain::filter::{DynamicGroups, Test};
use crate::domain::fleet::Change;
use crate::domain::ids::DeviceId;
use crate::domain::overview::OverviewInput;
use crate::domain::overview::query::{Matches, index, matches, touches};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// How many devices may have changed before the index is made anew: looking at so many one by one takes about as long as asking
/// the index of a large fleet.
const MAX_CHANGED: usize = 10_000;

/// An index, and what happened since.
#[derive(Debug, Default)]
pub struct Arranged {
    /// `None` before the first question, and after a change that may touch every device.
    index: Mutex<Option<Arc<Index>>>,
    changed: BTreeSet<DeviceId>,
}

impl Arranged {
    /// Notes what changed.
    pub fn note(&mut self, changes: &[Change]) {
        for change in changes {
            match touches(change) {
                Some(Some(device)) => {
                    self.changed.insert(device.clone());
                }
                Some(None) => {}
                None => return self.forget(),
            }
        }
        if self.changed.len() > MAX_CHANGED {
            self.forget();
        }
    }

    /// Everything may have changed.
    pub fn forget(&mut self) {
        *self.index.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        self.changed.clear();
    }
}

impl World {
    /// What a filter means now.
    pub fn matches(&self, input: &OverviewInput<'_>, test: &Test, groups: &DynamicGroups) -> Matches {
        matches(input, &self.index(input), &self.arranged.changed, test, groups)
    }

    /// Names in a filter that no device had when all were looked at last, each with the one that was probably meant.
    pub fn slips(&self, input: &OverviewInput<'_>, test: &Test) -> Vec<(String, String)> {
        self.index(input).slips(test)
    }

    fn index(&self, input: &OverviewInput<'_>) -> Arc<Index> {
        // Whoever comes meanwhile waits for the same index rather than making another.
        let mut kept = self.arranged.index.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(kept) => kept.clone(),
            // Devices that changed before are in it as they are now; looking at them again does no harm.
            None => kept.insert(Arc::new(index(input))).clone(),
        }
    }
}
