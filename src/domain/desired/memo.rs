//! Values that are kept as long as somebody asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// How many resolves a value survives without being asked for. Resolves of several stages alternate, and a revert asks again for
/// what was there before; this is more than the stages that anybody has.
pub const KEPT_TURNS: u64 = 16;

/// Values by what they were made from.
#[derive(Debug)]
pub struct Memo<K, V> {
    values: BTreeMap<K, (Arc<V>, u64)>,
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self { values: BTreeMap::new() }
    }
}

impl<K: Ord, V> Memo<K, V> {
    /// The value for a key, made now if it is not there.
    pub fn value(&mut self, turn: u64, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let (value, used) = self.values.entry(key).or_insert_with(|| (Arc::new(make()), turn));
        *used = turn;
        value.clone()
    }

    /// Puts a value that was made elsewhere.
    pub fn put(&mut self, turn: u64, key: K, value: Arc<V>) {
        self.values.insert(key, (value, turn));
    }

    /// Whether the value for a key is there.
    pub fn known(&self, key: &K) -> bool {
        self.values.contains_key(key)
    }

    /// Drops what nobody asked for lately and nothing else uses.
    pub fn sweep(&mut self, turn: u64) {
        self.values.retain(|_, (value, used)| turn.saturating_sub(*used) < KEPT_TURNS || Arc::strong_count(value) > 1);
    }

    /// How many values are kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.values.len()
    }
}
