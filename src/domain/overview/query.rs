//! Which devices a filter means, among everything that is known, and what a view shows of them.

use super::OverviewInput;
use super::device::{DeviceRow, devices, row};
use crate::domain::desired::{Branch, Desired, DesiredDevice};
use crate::domain::filter::check::Column;
use crate::domain::filter::facts::Found;
use crate::domain::filter::groups::plain_path;
use crate::domain::filter::index::{Builder, Index};
use crate::domain::filter::views::{Direction, Saved, SortKey, View};
use crate::domain::filter::{Answer, DynamicGroups, Facts, Test, Value, evaluate};
use crate::domain::fleet::{Change, DeviceRecord, Registry};
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::plan::ownership::Standing;
use crate::domain::plan::pass::PassInput;
use crate::domain::plan::waits::standing;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many devices of which nothing could be told are named; the rest is counted.
pub const MAX_NAMED: usize = 20;

static NO_TEXTS: BTreeMap<String, String> = BTreeMap::new();
static NO_GROUPS: BTreeSet<String> = BTreeSet::new();
static NO_REGISTRY: Registry = Registry { attributes: BTreeMap::new(), registered: None };

/// What a filter means, by name of the devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// Devices that it means.
    pub yes: Vec<DeviceId>,
    /// Devices of which that cannot be told.
    pub unknown: Vec<DeviceId>,
}

/// Devices of which a filter cannot be told, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undetermined {
    /// How many.
    pub count: usize,
    /// The first of them by name.
    pub devices: Vec<DeviceId>,
}

/// A device with what a view shows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRow {
    /// The line that listings show.
    #[serde(flatten)]
    pub row: DeviceRow,
    /// The columns of the view by name; those that are not there are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

/// A folder of the tree of dynamic groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its path, empty for the top.
    pub path: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its filter; `None` for a folder that only has groups below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What is directly below it.
    pub groups: Vec<Subgroup>,
    /// Devices of the group itself; empty for a folder without a filter.
    pub devices: Vec<DeviceId>,
    /// Devices of which it cannot be told.
    pub undetermined: Undetermined,
}

/// A group below a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subgroup {
    /// Its name, without the path.
    pub name: String,
    /// How many devices are in it; `None` for a folder without a filter.
    pub devices: Option<usize>,
    /// Of how many that cannot be told.
    #[serde(default)]
    pub undetermined: usize,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Undetermined {
    /// The first names and the count.
    pub fn of(devices: &[DeviceId]) -> Self {
        Self { count: devices.len(), devices: devices.iter().take(MAX_NAMED).cloned().collect() }
    }
}

/// The dynamic groups and views that count: those of the least gated stage whose commit is read, because that is where people
/// edit, and they only ever show something.
pub fn saved(pass: &PassInput<'_>) -> Arc<Saved> {
    let mut stages = pass.stages.iter();
    stages.find_map(|policy| pass.accepted(&policy.name)).map(|desired| desired.saved.clone()).unwrap_or_default()
}

/// Lets a closure look at what a controller knows of a device.
pub fn with_facts<T>(input: &OverviewInput<'_>, device: &DeviceId, look: impl FnOnce(&Facts<'_>) -> T) -> T {
    let record = input.pass.state.devices.get(device);
    let (standing, _) = standing(&input.pass, device);
    let registry = record.and_then(|record| record.registry.as_deref()).unwrap_or(&NO_REGISTRY);
    let reported = record.and_then(|record| record.reported.as_deref()).map(|one| &one.report.attributes);
    let nothing = Facts {
        device: device.as_str(),
        stage: Some(None),
        device_type: Some(None),
        groups: Some(&NO_GROUPS),
        tags: Some(&NO_TEXTS),
        labels: Some(&NO_TEXTS),
        vars: Some(None),
        reported,
        registry: Some(registry),
    };
    match &standing {
        Standing::InTransit | Standing::Unmanaged => look(&nothing),
        Standing::Owned(stage) => {
            let owned = Facts { stage: Some(Some(stage.as_str())), ..nothing };
            match input.pass.accepted(stage) {
                // Unavailable never means empty.
                None => look(&Facts { device_type: None, groups: None, tags: None, labels: None, vars: None, ..owned }),
                Some(desired) => match desired.devices.get(device) {
                    Some(listed) => look(&with_git(owned, listed)),
                    None => look(&owned),
                },
            }
        }
    }
}

/// Adds what a commit says. What a file that cannot be read would say is unknown.
fn with_git<'a>(facts: Facts<'a>, listed: &'a DesiredDevice) -> Facts<'a> {
    let readable = listed.branch != Branch::Unknown;
    let device_type = listed.spec.as_ref().map(|sealed| sealed.spec.device_type.as_ref().map(|one| one.as_str()));
    Facts {
        device_type,
        groups: Some(&listed.groups),
        tags: readable.then_some(&listed.tags),
        labels: readable.then_some(&listed.labels),
        vars: readable.then_some(Some(&listed.vars)),
        ..facts
    }
}

/// What a controller knows of a device that a stage owns and lists.
pub fn owned_facts<'a>(
    stage: &'a StageName,
    device: &'a DeviceId,
    listed: &'a DesiredDevice,
    record: Option<&'a DeviceRecord>,
) -> Facts<'a> {
    let known = Facts {
        device: device.as_str(),
        stage: Some(Some(stage.as_str())),
        reported: record.and_then(|record| record.reported.as_deref()).map(|one| &one.report.attributes),
        registry: Some(record.and_then(|record| record.registry.as_deref()).unwrap_or(&NO_REGISTRY)),
        ..Facts::default()
    };
    with_git(known, listed)
}

/// What a clone knows of a device: only what Git says.
pub fn git_facts<'a>(device: &'a DeviceId, listed: &'a DesiredDevice) -> Facts<'a> {
    let stage = match &listed.branch {
        Branch::Stage(stage) => Some(Some(stage.as_str())),
        Branch::Unset => Some(None),
        Branch::FromDevice { .. } | Branch::Unknown => None,
    };
    with_git(Facts { device: device.as_str(), stage, ..Facts::default() }, listed)
}

/// Arranges all devices for filters.
pub fn index(input: &OverviewInput<'_>) -> Index {
    let mut builder = Builder::default();
    for device in devices(input) {
        with_facts(input, device, |facts| builder.add(device, facts));
    }
    builder.finish()
}

/// The same for what a commit lists.
pub fn git_index(desired: &Desired) -> Index {
    let mut builder = Builder::default();
    for (device, listed) in desired.devices.iter() {
        builder.add(device, &git_facts(device, listed));
    }
    builder.finish()
}

/// What a filter means: by the index, and one by one for devices that changed since it was built.
pub fn matches(
    input: &OverviewInput<'_>,
    index: &Index,
    changed: &BTreeSet<DeviceId>,
    test: &Test,
    groups: &DynamicGroups,
) -> Matches {
    let mut found = index_matches(index, test, groups);
    if changed.is_empty() {
        return found;
    }
    found.yes.retain(|device| !changed.contains(device));
    found.unknown.retain(|device| !changed.contains(device));
    let known = devices(input);
    for device in changed.iter().filter(|device| known.contains(device)) {
        match with_facts(input, device, |facts| evaluate(test, facts, groups)) {
            Answer::Yes => found.yes.push(device.clone()),
            Answer::Unknown => found.unknown.push(device.clone()),
            Answer::No => {}
        }
    }
    found.yes.sort();
    found.unknown.sort();
    found
}

/// What a filter means, by the index alone.
pub fn index_matches(index: &Index, test: &Test, groups: &DynamicGroups) -> Matches {
    let selection = index.select(test, groups);
    let named = |number: u32| index.devices()[number as usize].clone();
    Matches { yes: selection.yes.iter().map(named).collect(), unknown: selection.unknown.iter().map(named).collect() }
}

/// Which devices' attributes a change can touch; `None` for a change that can touch any.
pub fn touches(change: &Change) -> Option<Option<&DeviceId>> {
    match change {
        Change::Identity(device, _)
        | Change::Control(device, _)
        | Change::Reported(device, _)
        | Change::Unreported(device)
        | Change::Registry(device, _)
        | Change::Actions(device, _)
        | Change::Forget(device) => Some(Some(device)),
        Change::Assignment(assignment) => Some(Some(&assignment.device)),
        Change::Unassigned(device) => Some(Some(device)),
        Change::Stage(..) => None,
        Change::Epoch(_)
        | Change::Token(..)
        | Change::TokenGone(_)
        | Change::Approval(..)
        | Change::ApprovalGone(_)
        | Change::Hold(..)
        | Change::HoldGone(_)
        | Change::Rollout(..)
        | Change::Heartbeat(_)
        | Change::Told(..)
        | Change::ToldGone(_)
        | Change::Event(_) => Some(None),
    }
}

/// Puts devices in the order of a view.
pub fn sorted(input: &OverviewInput<'_>, all: Vec<DeviceId>, sort: &[SortKey]) -> Vec<DeviceId> {
    if sort.is_empty() {
        return all;
    }
    let mut keyed: Vec<(Vec<Option<Value>>, DeviceId)> = all
        .into_iter()
        .map(|device| {
            let keys = with_facts(input, &device, |facts| sort.iter().map(|key| value(facts, &key.column)).collect());
            (keys, device)
        })
        .collect();
    keyed.sort_by(|(left, one), (right, other)| {
        let pairs = left.iter().zip(right).zip(sort);
        let by_key = pairs.map(|((left, right), key)| match (left, right) {
            // Those without a value come last either way.
            (None, None) => std::cmp::Ordering::Equal,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(_), None) => std::cmp::Ordering::Less,
            (Some(left), Some(right)) => match key.direction {
                Direction::Up => left.cmp(right),
                Direction::Down => right.cmp(left),
            },
        });
        by_key.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).then_with(|| one.cmp(other))
    });
    keyed.into_iter().map(|(_, device)| device).collect()
}

fn value(facts: &Facts<'_>, column: &Column) -> Option<Value> {
    match column {
        Column::Attribute(term) => match facts.find(&term.attribute) {
            Found::Value(value) => Some(value.read(term.reading).unwrap_or(value)),
            Found::Absent | Found::Closed | Found::Unknown => None,
        },
        Column::Groups => {
            let groups: Vec<&str> = facts.groups?.iter().map(String::as_str).collect();
            Some(Value::Text(groups.join(", ").into()))
        }
    }
}

/// One line of a view.
pub fn view_row(input: &OverviewInput<'_>, device: &DeviceId, view: Option<&View>) -> ViewRow {
    let columns = view.map(|view| view.columns.as_slice()).unwrap_or_default();
    let values = with_facts(input, device, |facts| {
        let shown = |column: &Column| Some((column.name().to_string(), value(facts, column)?.to_string()));
        columns.iter().filter_map(shown).collect()
    });
    ViewRow { row: row(input, device), values }
}

/// A folder of the tree. `None` if there is none of this path.
pub fn folder(path: &str, groups: &DynamicGroups, mut find: impl FnMut(&Test) -> Matches) -> Option<Folder> {
    let path = match path.trim_matches('/') {
        "" => "",
        path => plain_path(path)?,
    };
    let own = groups.index_of(path).filter(|_| !path.is_empty());
    let below = groups.below(path);
    if own.is_none() && below.is_empty() && !path.is_empty() {
        return None;
    }
    let about = |group: usize| groups.iter().find(|(index, _)| *index == group).map(|(_, group)| group.clone());
    let subgroups = below.into_iter().map(|(name, group)| {
        let found = group.map(|group| find(&Test::InDynamic(group)));
        Subgroup {
            name: name.to_owned(),
            devices: found.as_ref().map(|found| found.yes.len()),
            undetermined: found.map_or(0, |found| found.unknown.len()),
            description: group.and_then(about).and_then(|group| group.description).map(|text| text.to_string()),
        }
    });
    let groups_below = subgroups.collect();
    let found = own.map(|own| find(&Test::InDynamic(own))).unwrap_or_default();
    let own = own.and_then(about);
    Some(Folder {
        path: path.to_owned(),
        description: own.as_ref().and_then(|own| own.description.as_ref()).map(ToString::to_string),
        filter: own.map(|own| own.text.to_string()),
        groups: groups_below,
        undetermined: Undetermined::of(&found.unknown),
        devices: found.yes,
    })
}
