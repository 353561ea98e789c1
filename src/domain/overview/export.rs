//! A running fleet as far as its controller knows it, device by device: what a fleet repo can be written from.

use super::OverviewInput;
use crate::domain::fleet::DeviceRecord;
use crate::domain::ids::{AttributeName, DeviceId, StageName};
use crate::domain::plan::ownership::Standing;
use crate::domain::plan::waits::standing;
use crate::domain::registered::is_listed;
use crate::domain::spec::SealedSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// How many devices a page has at most.
pub const MAX_EXPORT_DEVICES: usize = 1000;
/// How long the specs of a page are together, in bytes; one more spec may follow. Far below what clients read, and few pages
/// for a fleet whose specs are of the usual 2 KiB.
pub const MAX_EXPORT_BYTES: usize = 16 << 20;

/// A page of devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExportPage {
    /// The devices, by name.
    pub devices: Vec<ExportedDevice>,
    /// Devices among these names that nobody lists any more. They keep what they have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unmanaged: BTreeSet<DeviceId>,
    /// After which device the next page begins; `None` at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<DeviceId>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportedDevice {
    /// The device.
    pub device: DeviceId,
    /// The stage that owns it; `None` while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    /// What operators say of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<AttributeName, String>,
    /// What it runs, or shall run; `None` if nobody knows. Secrets are references in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// A device's content, and whether it was told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// It was told to reach this.
    Assigned(SealedSpec),
    /// Its stage wants this for it; it has not been assigned yet.
    Wanted(SealedSpec),
}

impl Content {
    /// The spec.
    pub fn spec(&self) -> &SealedSpec {
        match self {
            Self::Assigned(spec) | Self::Wanted(spec) => spec,
        }
    }
}

/// The devices after this one, as many as a page holds.
pub fn page(input: &OverviewInput<'_>, after: Option<&DeviceId>, limit: usize) -> ExportPage {
    let limit = limit.clamp(1, MAX_EXPORT_DEVICES);
    let known = super::device::devices(input);
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = ExportPage::default();
    let mut bytes = 0;
    for (index, device) in known.range::<&DeviceId, _>((from, Bound::Unbounded)).enumerate() {
        if index == limit || bytes >= MAX_EXPORT_BYTES {
            break;
        }
        page.next = Some((*device).clone());
        let record = input.pass.state.devices.get(*device);
        match standing(&input.pass, device).0 {
            Standing::Unmanaged if !record.is_some_and(is_listed) => {
                page.unmanaged.extend(record.is_some_and(|one| one.assignment.is_some()).then(|| (*device).clone()));
            }
            standing => {
                let exported = exported(input, device, record, standing);
                bytes += exported.content.as_ref().map_or(0, |content| content.spec().payload.len());
                page.devices.push(exported);
            }
        }
    }
    if page.next.as_ref() == known.last().copied() {
        page.next = None;
    }
    page
}

fn exported(
    input: &OverviewInput<'_>,
    device: &DeviceId,
    record: Option<&DeviceRecord>,
    standing: Standing,
) -> ExportedDevice {
    let stage = match standing {
        Standing::Owned(stage) => Some(stage),
        Standing::InTransit | Standing::Unmanaged => None,
    };
    let assigned = record.and_then(|record| record.assignment.as_ref()).map(|one| Content::Assigned(one.spec.clone()));
    let wanted = || {
        let desired = input.pass.accepted(stage.as_ref()?)?;
        desired.devices.get(device)?.spec.clone().map(Content::Wanted)
    };
    let content = assigned.or_else(wanted);
    let attributes = record.and_then(|record| record.registry.as_ref()).map(|registry| &registry.attributes);
    let attributes = attributes.into_iter().flatten().map(|(name, one)| (name.clone(), one.value.clone())).collect();
    ExportedDevice { device: device.clone(), stage, attributes, content }
}
