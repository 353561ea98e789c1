//! Questions about variables: device by device, and once for all devices whose groups say the same.

use super::{Index, Selection};
use crate::domain::filter::eval::closed;
use crate::domain::filter::facts::{Found, Unknown};
use crate::domain::filter::{Answer, Predicate, Source};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

impl Index {
    /// The candidates for whose variable a predicate holds.
    pub(super) fn variable(&self, path: &str, predicate: &Predicate, candidates: &RoaringBitmap) -> Selection {
        let answer = |found: &Found| match found {
            Found::Value(value) => predicate.holds(value).into(),
            Found::Absent => Answer::No,
            Found::Closed => closed(predicate),
            Found::Unknown => Answer::Unknown,
        };
        let mut shared: BTreeMap<usize, Answer> = BTreeMap::new();
        let mut found = Selection::default();
        let unknown = self.unknown(Some(Unknown::Source(Source::Variables)));
        for device in candidates {
            let answer = match self.vars.get(device as usize).and_then(Option::as_ref) {
                None if unknown.is_some_and(|unknown| unknown.contains(device)) => Answer::Unknown,
                None => Answer::No,
                Some(vars) => match vars.find_own(path) {
                    Some(own) => answer(&own),
                    None => *shared.entry(vars.shared()).or_insert_with(|| answer(&vars.find_shared(path))),
                },
            };
            match answer {
                Answer::Yes => found.yes.insert(device),
                Answer::Unknown => found.unknown.insert(device),
                Answer::No => true,
            };
        }
        found
    }

    /// What one device's variable comes to.
    pub(super) fn variable_of(&self, device: u32, path: &str) -> Found {
        match self.vars.get(device as usize).and_then(Option::as_ref) {
            Some(vars) => vars.find(path),
            None if self.unknown(Some(Unknown::Source(Source::Variables))).is_some_and(|one| one.contains(device)) => {
                Found::Unknown
            }
            None => Found::Absent,
        }
    }
}
