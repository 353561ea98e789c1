//! The answer for a whole fleet at once.
//!
//! For each attribute there is a dictionary of its values, sorted, and for each value the devices that have it. A question
//! about one attribute is asked of the dictionary, not of the devices: equality is a search, a beginning is a range, anything
//! else looks at each different value once. Sets of devices are combined as bitmaps. Only a comparison of two attributes looks at
//! devices one by one, and a question about a variable, and only at those that the rest of the filter leaves open: there may be
//! hundreds of variables, of which hardly one is ever asked for, so they stay where they are.
//!
//! Answers have three values, so each is two sets: devices that are meant, and devices of which that is unknown.

mod column;
mod slips;
mod variables;

use super::facts::{Facts, Found, Unknown};
use super::{Answer, Attribute, DynamicGroups, Predicate, Reading, Relation, Source, Term, Test, Value, relate};
use crate::domain::desired::FreeVariables;
use crate::domain::ids::DeviceId;
use column::{Column, ColumnBuilder};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The attributes of many devices, arranged for filters.
#[derive(Debug, Default)]
pub struct Index {
    /// By name. A device's place in here is its number.
    devices: Vec<DeviceId>,
    columns: BTreeMap<Attribute, Column>,
    /// Devices by group of the inventory.
    groups: BTreeMap<Arc<str>, RoaringBitmap>,
    unknown: BTreeMap<Unknown, RoaringBitmap>,
    /// By the number of the device.
    vars: Vec<Option<Arc<FreeVariables>>>,
    everyone: RoaringBitmap,
}

/// Which devices a filter means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// The ones that it means.
    pub yes: RoaringBitmap,
    /// The ones of which that cannot be told.
    pub unknown: RoaringBitmap,
}

/// Builds an [`Index`]. Devices come in the order of their names.
#[derive(Debug, Default)]
pub struct Builder {
    devices: Vec<DeviceId>,
    columns: BTreeMap<Source, BTreeMap<Arc<str>, ColumnBuilder>>,
    groups: BTreeMap<Arc<str>, Vec<u32>>,
    unknown: BTreeMap<Unknown, Vec<u32>>,
    vars: Vec<Option<Arc<FreeVariables>>>,
}

impl Builder {
    /// Adds the next device.
    pub fn add(&mut self, device: &DeviceId, facts: &Facts<'_>) {
        assert!(self.devices.last().is_none_or(|last| last < device), "devices come in the order of their names");
        let number = u32::try_from(self.devices.len()).expect("a fleet has fewer than 2^32 devices");
        self.devices.push(device.clone());
        let columns = &mut self.columns;
        facts.visit(|source, name, value| {
            let columns = columns.entry(source).or_default();
            let column = match columns.get_mut(name) {
                Some(column) => column,
                None => columns.entry(name.into()).or_default(),
            };
            column.add(value, number);
        });
        for group in facts.groups.into_iter().flatten() {
            match self.groups.get_mut(group.as_str()) {
                Some(devices) => devices.push(number),
                None => {
                    self.groups.insert(group.as_str().into(), vec![number]);
                }
            }
        }
        self.vars.push(facts.vars.flatten().cloned());
        facts.unknown(|unknown| self.unknown.entry(unknown).or_default().push(number));
    }

    /// The index.
    pub fn finish(self) -> Index {
        let Self { devices, columns, groups, unknown, vars } = self;
        let count = u32::try_from(devices.len()).expect("a fleet has fewer than 2^32 devices");
        let columns = columns.into_iter().flat_map(|(source, columns)| {
            columns.into_iter().map(move |(name, column)| (Attribute { source, name }, column.finish()))
        });
        let mut everyone = RoaringBitmap::new();
        everyone.insert_range(0..count);
        Index {
            columns: columns.collect(),
            groups: groups.into_iter().map(|(name, devices)| (name, bitmap(&devices))).collect(),
            unknown: unknown.into_iter().map(|(what, devices)| (what, bitmap(&devices))).collect(),
            vars,
            everyone,
            devices,
        }
    }
}

/// A set from numbers in order.
fn bitmap(sorted: &[u32]) -> RoaringBitmap {
    RoaringBitmap::from_sorted_iter(sorted.iter().copied()).expect("numbers are given in order, each once")
}

impl Index {
    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The devices, by number.
    pub fn devices(&self) -> &[DeviceId] {
        &self.devices
    }

    /// The names of the attributes that some device has, by source.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.columns.keys()
    }

    /// Which devices a filter means.
    pub fn select(&self, test: &Test, groups: &DynamicGroups) -> Selection {
        Selecting { index: self, groups, known: vec![None; groups.len()] }.among(test, None)
    }

    fn unknown(&self, what: Option<Unknown>) -> Option<&RoaringBitmap> {
        self.unknown.get(&what?)
    }

    fn one(&self, attribute: &Attribute, predicate: &Predicate, candidates: Option<&RoaringBitmap>) -> Selection {
        if attribute.source == Source::Variables {
            return self.variable(&attribute.name, predicate, candidates.unwrap_or(&self.everyone));
        }
        let yes = if attribute.source == Source::Device && &*attribute.name == "device" {
            self.named(predicate)
        } else {
            self.columns.get(attribute).map(|column| column.devices(predicate)).unwrap_or_default()
        };
        let unknown = self.unknown(Unknown::of(attribute)).cloned().unwrap_or_default();
        Selection { yes, unknown }
    }

    /// Names are their own dictionary: each device has one, and they are sorted.
    fn named(&self, predicate: &Predicate) -> RoaringBitmap {
        let number = |at: usize| u32::try_from(at).expect("a fleet has fewer than 2^32 devices");
        let named = |name: &str| self.devices.binary_search_by(|device| device.as_str().cmp(name)).ok().map(number);
        match predicate {
            Predicate::Compare(Reading::Plain, Relation::Equal, Value::Text(name)) => named(name).into_iter().collect(),
            Predicate::OneOf(Reading::Plain, names) => names.iter().filter_map(|name| named(name.text()?)).collect(),
            Predicate::StartsWith(part) => {
                let start = self.devices.partition_point(|device| device.as_str() < &**part);
                let more = self.devices[start..].partition_point(|device| device.as_str().starts_with(&**part));
                let mut found = RoaringBitmap::new();
                found.insert_range(number(start)..number(start + more));
                found
            }
            other => {
                let holds = |device: &DeviceId| other.holds(&Value::Text(device.as_str().into()));
                let found = self.devices.iter().enumerate().filter(|(_, device)| holds(device));
                RoaringBitmap::from_sorted_iter(found.map(|(at, _)| number(at))).unwrap_or_default()
            }
        }
    }

    /// What an attribute says of each of some devices, by looking through its values.
    fn values(&self, term: &Term) -> BTreeMap<u32, Value> {
        let named = term.attribute.source == Source::Device && &*term.attribute.name == "device";
        let read = |value: Value| value.read(term.reading);
        if named {
            let all = self.devices.iter().zip(0..);
            return all.filter_map(|(device, at)| Some((at, read(Value::Text(device.as_str().into()))?))).collect();
        }
        let Some(column) = self.columns.get(&term.attribute) else { return BTreeMap::new() };
        let mut all: Vec<(u32, Value)> = Vec::new();
        column.visit(|value, devices| {
            if let Some(value) = value.read(term.reading) {
                all.extend(devices.iter().map(|&device| (device, value.clone())));
            }
        });
        all.into_iter().collect()
    }
}

/// One filter at work. What dynamic groups come to is kept: they refer to each other, and each is looked for once.
struct Selecting<'a> {
    index: &'a Index,
    groups: &'a DynamicGroups,
    known: Vec<Option<Selection>>,
}

impl Selecting<'_> {
    /// Which devices a test means; right for the candidates, and arbitrary for the others.
    fn among(&mut self, test: &Test, candidates: Option<&RoaringBitmap>) -> Selection {
        let index = self.index;
        match test {
            Test::Is(Answer::Yes) => Selection { yes: index.everyone.clone(), unknown: RoaringBitmap::new() },
            Test::Is(Answer::No) => Selection::default(),
            Test::Is(Answer::Unknown) => Selection { yes: RoaringBitmap::new(), unknown: index.everyone.clone() },
            Test::Not(test) => {
                let Selection { yes, unknown } = self.among(test, candidates);
                Selection { yes: &(&index.everyone - &yes) - &unknown, unknown }
            }
            Test::All(tests) => self.all(tests, candidates),
            Test::Any(tests) => {
                let mut any = Selection::default();
                for test in tests {
                    let Selection { yes, unknown } = self.among(test, candidates);
                    any.yes |= yes;
                    any.unknown |= unknown;
                }
                any.unknown -= &any.yes;
                any
            }
            Test::One(attribute, predicate) => index.one(attribute, predicate, candidates),
            Test::Two(left, relation, right) => self.two(left, *relation, right, candidates),
            Test::InGroup(group) => Selection {
                yes: index.groups.get(group).cloned().unwrap_or_default(),
                unknown: index.unknown(Some(Unknown::Groups)).cloned().unwrap_or_default(),
            },
            Test::InDynamic(group) => self.dynamic(*group),
        }
    }

    /// The cheap ones first; the others look only at what is left.
    fn all(&mut self, tests: &[Test], candidates: Option<&RoaringBitmap>) -> Selection {
        let mut order: Vec<&Test> = tests.iter().collect();
        order.sort_by_key(|test| looks_at_devices(test));
        let mut possible = candidates.cloned().unwrap_or_else(|| self.index.everyone.clone());
        let mut certain = possible.clone();
        for test in order {
            if possible.is_empty() {
                break;
            }
            let Selection { yes, unknown } = self.among(test, Some(&possible));
            certain &= &yes;
            possible &= yes | unknown;
        }
        let unknown = &possible - &certain;
        Selection { yes: certain, unknown }
    }

    fn dynamic(&mut self, group: usize) -> Selection {
        if let Some(known) = self.known.get(group).and_then(Option::as_ref) {
            return known.clone();
        }
        let groups = self.groups;
        let Some(test) = groups.test(group) else { return Selection::default() };
        // For everyone: the next question may have other candidates.
        let found = self.among(test, None);
        self.known[group] = Some(found.clone());
        found
    }

    fn two(&self, left: &Term, relation: Relation, right: &Term, candidates: Option<&RoaringBitmap>) -> Selection {
        let index = self.index;
        let (lefts, rights) = (Side::new(index, left), Side::new(index, right));
        let mut found = Selection::default();
        for device in candidates.unwrap_or(&index.everyone) {
            match (lefts.value(device), rights.value(device)) {
                (Found::Absent, _) | (_, Found::Absent) => {}
                (Found::Unknown | Found::Closed, _) | (_, Found::Unknown | Found::Closed) => {
                    found.unknown.insert(device);
                }
                (Found::Value(left), Found::Value(right)) => {
                    if relate(Some(&left), relation, Some(&right)) {
                        found.yes.insert(device);
                    }
                }
            }
        }
        found
    }
}

/// One side of a comparison of two attributes.
enum Side<'a> {
    /// The values of an attribute by device, and of whom it is not known.
    Values(BTreeMap<u32, Value>, Option<&'a RoaringBitmap>),
    /// A variable, which is looked for device by device.
    Variable(&'a Index, &'a Term),
}

impl<'a> Side<'a> {
    fn new(index: &'a Index, term: &'a Term) -> Self {
        match term.attribute.source {
            Source::Variables => Self::Variable(index, term),
            Source::Reported | Source::Registry | Source::Tags | Source::Labels | Source::Device => {
                Self::Values(index.values(term), index.unknown(Unknown::of(&term.attribute)))
            }
        }
    }

    fn value(&self, device: u32) -> Found {
        match self {
            Self::Values(values, unknown) => match values.get(&device) {
                Some(value) => Found::Value(value.clone()),
                None if unknown.is_some_and(|unknown| unknown.contains(device)) => Found::Unknown,
                None => Found::Absent,
            },
            Self::Variable(index, term) => match index.variable_of(device, &term.attribute.name) {
                Found::Value(value) => value.read(term.reading).map_or(Found::Absent, Found::Value),
                other => other,
            },
        }
    }
}

/// Whether a test looks at devices one by one.
fn looks_at_devices(test: &Test) -> bool {
    match test {
        Test::Two(..) => true,
        Test::One(attribute, _) => attribute.source == Source::Variables,
        Test::Not(test) => looks_at_devices(test),
        Test::All(tests) | Test::Any(tests) => tests.iter().any(looks_at_devices),
        // Answered once for everyone, and kept.
        Test::InDynamic(_) | Test::Is(_) | Test::InGroup(_) => false,
    }
}
