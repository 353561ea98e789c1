//! Where each effective value of a device comes from.

use crate::domain::finding::Place;
use crate::domain::ids::DeviceId;
use crate::domain::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

/// Where each effective value of a device comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Values by key.
    pub values: Vec<Explained>,
}

/// One effective value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Its key, from the outside in.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where it stands.
    pub place: Place,
    /// Values that it overrode, nearest first.
    pub overridden: Vec<Overridden>,
}

/// A value that did not make it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overridden {
    /// The value.
    pub value: String,
    /// Where it stands.
    pub place: Place,
}

/// Explains a device; `None` if the inventory does not list it.
pub fn explain(_files: &Snapshot, _device: &DeviceId) -> Option<Explanation> {
    None
}
