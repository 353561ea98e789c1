//! What decisions about devices are made from: what is known of each, and what each stage lists for it.

use super::along::Along;
use super::pass::Scope;
use crate::domain::desired::DesiredDevice;
use crate::domain::fleet::DeviceRecord;
use crate::domain::ids::DeviceId;
use crate::domain::shared_map::SharedMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a stage lists; `None` while its commit has not been read.
pub(super) type List = Option<SharedMap<DeviceId, Arc<DesiredDevice>>>;

/// A device, and what is known and wanted of it.
pub(super) struct Found<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) record: Option<&'a DeviceRecord>,
    /// By stage. `None` while the stage's commit has not been read, `Some(None)` if it does not list the device.
    pub(super) listed: &'a [Option<Option<&'a Arc<DesiredDevice>>>],
}

/// Visits the devices of a scope that are known or listed, in order.
pub(super) fn visit(
    devices: &BTreeMap<DeviceId, DeviceRecord>,
    lists: &[List],
    scope: &Scope,
    mut visitor: impl FnMut(&Found<'_>),
) {
    match scope {
        Scope::All => visit_all(devices, lists, &mut visitor),
        Scope::Devices(some) => {
            for device in some {
                let listed: Vec<_> = lists.iter().map(|list| list.as_ref().map(|list| list.get(device))).collect();
                visitor(&Found { device, record: devices.get(device), listed: &listed });
            }
        }
    }
}

fn visit_all(devices: &BTreeMap<DeviceId, DeviceRecord>, lists: &[List], visitor: &mut impl FnMut(&Found<'_>)) {
    let mut records = Along::new(devices);
    let mut lists: Vec<_> = lists.iter().map(|list| list.as_ref().map(Along::new)).collect();
    let mut listed = vec![None; lists.len()];
    loop {
        let next = lists.iter_mut().flatten().filter_map(Along::next_key).chain(records.next_key()).min();
        let Some(device) = next else { return };
        for (listed, list) in listed.iter_mut().zip(&mut lists) {
            *listed = list.as_mut().map(|list| list.value(device));
        }
        visitor(&Found { device, record: records.value(device), listed: &listed });
        lists.iter_mut().flatten().for_each(|list| list.pass(device));
        records.pass(device);
    }
}

/// The devices for which a stage lists something else than before, besides those that were touched otherwise; all devices if a
/// stage was read that had not been, or the other way round.
pub(super) fn moved(before: &[List], now: &[List], mut touched: BTreeSet<DeviceId>) -> Scope {
    if before.len() != now.len() {
        return Scope::All;
    }
    for pair in before.iter().zip(now) {
        match pair {
            (None, None) => {}
            (Some(before), Some(now)) => before.differences(now, Arc::ptr_eq, |device, _, _| {
                touched.insert(device.clone());
            }),
            (None, Some(_)) | (Some(_), None) => return Scope::All,
        }
    }
    Scope::Devices(touched)
}
