//! One attribute of all devices: its different values in order, and for each the devices that have it.

use crate::domain::filter::{Predicate, Reading, Relation, Value};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One attribute of all devices.
#[derive(Debug)]
pub struct Column {
    /// Different values, sorted.
    values: Vec<Value>,
    /// Where the devices of each value begin; one more than there are values.
    starts: Vec<u32>,
    /// Devices, by value and then by number.
    devices: Vec<u32>,
}

/// Builds a [`Column`].
#[derive(Debug, Default)]
pub struct ColumnBuilder {
    texts: BTreeMap<Arc<str>, u32>,
    /// Value and device, in the order of devices.
    pairs: Vec<(u32, u32)>,
    next: u32,
}

impl ColumnBuilder {
    /// The next device has this text.
    pub fn add(&mut self, text: &str, device: u32) {
        let value = match self.texts.get(text) {
            Some(&value) => value,
            None => {
                self.texts.insert(text.into(), self.next);
                self.next += 1;
                self.next - 1
            }
        };
        self.pairs.push((value, device));
    }

    /// The column.
    pub fn finish(self) -> Column {
        let Self { texts, pairs, next } = self;
        let count = next as usize;
        let mut place = vec![0u32; count];
        let mut values = Vec::with_capacity(count);
        for (at, (text, number)) in (0..).zip(texts) {
            place[number as usize] = at;
            values.push(Value::Text(text));
        }
        let mut starts = vec![0u32; count + 1];
        for (value, _) in &pairs {
            starts[place[*value as usize] as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut devices = vec![0u32; pairs.len()];
        for (value, device) in pairs {
            let at = &mut next[place[value as usize] as usize];
            devices[*at as usize] = device;
            *at += 1;
        }
        Column { values, starts, devices }
    }
}

impl Column {
    /// The devices with one value, in order.
    fn having(&self, value: usize) -> &[u32] {
        &self.devices[self.starts[value] as usize..self.starts[value + 1] as usize]
    }

    /// Visits each value with its devices.
    pub fn visit(&self, mut visit: impl FnMut(&Value, &[u32])) {
        for (at, value) in self.values.iter().enumerate() {
            visit(value, self.having(at));
        }
    }

    /// The devices for whose value a predicate holds.
    pub fn devices(&self, predicate: &Predicate) -> RoaringBitmap {
        match predicate {
            Predicate::Present => self.range(0..self.values.len()),
            Predicate::Compare(Reading::Plain, relation, literal @ Value::Text(_))
                if *relation != Relation::NotEqual =>
            {
                self.range(self.related(*relation, literal))
            }
            Predicate::OneOf(Reading::Plain, literals) if literals.iter().all(|one| one.text().is_some()) => {
                let found = literals.iter().filter_map(|literal| self.values.binary_search(literal).ok());
                self.these(found)
            }
            Predicate::StartsWith(part) => {
                let first = Value::Text(part.clone());
                let start = self.values.partition_point(|value| *value < first);
                let begins = |value: &Value| value.text().is_some_and(|text| text.starts_with(&**part));
                self.range(start..start + self.values[start..].partition_point(begins))
            }
            other => {
                let found = (0..self.values.len()).filter(|&at| other.holds(&self.values[at]));
                self.these(found)
            }
        }
    }

    /// The values that are related so to a text.
    fn related(&self, relation: Relation, literal: &Value) -> std::ops::Range<usize> {
        let below = self.values.partition_point(|value| value < literal);
        let through = self.values.partition_point(|value| value <= literal);
        match relation {
            Relation::Equal => below..through,
            Relation::Less => 0..below,
            Relation::AtMost => 0..through,
            Relation::Greater => through..self.values.len(),
            Relation::AtLeast => below..self.values.len(),
            Relation::NotEqual => 0..0,
        }
    }

    fn range(&self, values: std::ops::Range<usize>) -> RoaringBitmap {
        if values.is_empty() {
            return RoaringBitmap::new();
        }
        if values.len() == 1 {
            return super::bitmap(self.having(values.start));
        }
        let devices = &self.devices[self.starts[values.start] as usize..self.starts[values.end] as usize];
        let mut devices = devices.to_vec();
        devices.sort_unstable();
        super::bitmap(&devices)
    }

    fn these(&self, values: impl Iterator<Item = usize>) -> RoaringBitmap {
        let mut devices: Vec<u32> = Vec::new();
        for value in values {
            devices.extend_from_slice(self.having(value));
        }
        devices.sort_unstable();
        super::bitmap(&devices)
    }
}
