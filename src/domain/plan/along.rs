//! Looking up names in a map in the order in which they come.
//!
//! A pass goes through all devices in order, and asks several maps about each. Walking along the maps costs a step where a look-up
//! would cost a search.

use std::iter::Peekable;

/// A map that is asked for ever larger keys.
pub struct Along<I: Iterator>(Peekable<I>);

impl<'a, K: Ord + 'a, V: 'a, I: Iterator<Item = (&'a K, &'a V)>> Along<I> {
    /// Walks along these entries, which are in order.
    pub fn new(entries: impl IntoIterator<IntoIter = I>) -> Self {
        Self(entries.into_iter().peekable())
    }

    /// The value of a key. No key before one that was asked for is found any more.
    pub fn value(&mut self, key: &K) -> Option<&'a V> {
        while self.0.next_if(|(known, _)| *known < key).is_some() {}
        self.0.peek().filter(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    /// Leaves a key behind.
    pub fn pass(&mut self, key: &K) {
        self.0.next_if(|(known, _)| *known <= key);
    }

    /// The next key that would be found.
    pub fn next_key(&mut self) -> Option<&'a K> {
        self.0.peek().map(|(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::Along;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn it_finds_what_a_look_up_finds(map in prop::collection::btree_map(0u8..60, any::<u8>(), 0..30), keys: BTreeSet<u8>) {
            let map: BTreeMap<u8, u8> = map;
            let mut along = Along::new(&map);
            for key in keys {
                prop_assert_eq!(along.value(&key), map.get(&key));
                prop_assert_eq!(along.next_key(), map.range(key..).next().map(|(key, _)| key));
            }
        }
    }
}
