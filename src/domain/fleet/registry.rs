//! What operators say of devices.

use crate::domain::ids::{Actor, AttributeName};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What operators say of a device through the API: `registry.*` in filters and views.
///
/// Never content by itself: nothing of this reaches a device, and no pass reads it to decide about one. Only a fleet repo that says
/// `inventory: registry` makes a list of devices of it, which goes through the same gates as a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// The attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<AttributeName, RegistryAttribute>,
    /// Whether the registry lists the device; `None` if nobody said so, and then it lists devices that are enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<Registered>,
}

/// What an operator said of a device's place in the registry's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Whether it is listed.
    pub listing: Listing,
    /// Who said so.
    pub actor: Actor,
    /// When.
    pub since: Timestamp,
}

/// Whether the registry lists a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listing {
    /// It does, whether or not the device has enrolled.
    Listed,
    /// It does not, whether or not the device is enrolled.
    Unlisted,
}

/// One attribute, and who is to be asked about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryAttribute {
    /// What it says.
    pub value: String,
    /// Who said so.
    pub actor: Actor,
    /// When.
    pub since: Timestamp,
}
