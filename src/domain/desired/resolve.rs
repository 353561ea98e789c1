//! From a snapshot to the desired state.

use super::Desired;
use crate::domain::snapshot::Snapshot;
use std::sync::Arc;

/// Works out what commits mean and remembers what did not change between them.
#[derive(Debug, Default)]
pub struct Resolver;

impl Resolver {
    /// What a snapshot means.
    pub fn resolve(&mut self, _files: &Snapshot) -> Arc<Desired> {
        Arc::default()
    }
}
