//! An ordered map whose copies share what they have in common.
//!
//! A commit differs from the one before in a handful of files and devices. Copying the map costs one counter, changing an entry
//! copies the piece that holds it, and comparing two maps passes over the pieces that are the very same. So a commit of one file
//! costs what that file costs, however large the fleet is.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// How many entries a piece has when it is made. Changing an entry copies as many; finding a piece looks at the number of pieces.
const PIECE: usize = 128;
/// A piece with more entries becomes two.
const LARGEST: usize = 2 * PIECE;

/// An ordered map whose copies share what they have in common.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    /// Sorted, none empty, and the keys of one before those of the next.
    pieces: Arc<Vec<Piece<K, V>>>,
    len: usize,
}

type Piece<K, V> = Arc<Vec<(K, V)>>;

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { pieces: Arc::default(), len: 0 }
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// An entry, with the key as the map has it.
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let piece = self.pieces.get(self.piece_of(key)?)?;
        let (key, value) = &piece[find(piece, key).ok()?];
        Some((key, value))
    }

    /// Whether the map has this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { pieces: &self.pieces, at: 0, inside: 0 }
    }

    /// All keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// All values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// The entries from this key on, the key itself included.
    pub fn from<Q: Ord + ?Sized>(&self, key: &Q) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let Some(at) = self.piece_of(key) else { return self.iter() };
        let inside = find(&self.pieces[at], key).unwrap_or_else(|beyond| beyond);
        let mut iter = Iter { pieces: &self.pieces, at, inside };
        iter.settle();
        iter
    }

    /// The piece that holds this key if any does; `None` before the first piece.
    fn piece_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let after = self.pieces.partition_point(|piece| piece[0].0.borrow() <= key);
        after.checked_sub(1)
    }

    /// Calls `visit` for each entry that only one of the two has, or that `same` does not call the same in both, in order:
    /// first the value here, then the value there.
    pub fn differences<'a>(
        &'a self,
        other: &'a Self,
        same: impl Fn(&V, &V) -> bool,
        mut visit: impl FnMut(&'a K, Option<&'a V>, Option<&'a V>),
    ) {
        let (mut ours, mut theirs) = (self.iter(), other.iter());
        loop {
            while let (Some(one), Some(two)) = (ours.whole_piece(), theirs.whole_piece()) {
                if !Arc::ptr_eq(one, two) {
                    break;
                }
                ours.skip_piece();
                theirs.skip_piece();
            }
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((one, _)), Some((two, _))) => one.cmp(two),
            };
            let one = if order.is_le() { ours.next() } else { None };
            let two = if order.is_ge() { theirs.next() } else { None };
            match (one, two) {
                (Some((_, one)), Some((_, two))) if same(one, two) => {}
                (Some((key, one)), two) => visit(key, Some(one), two.map(|(_, two)| two)),
                (None, Some((key, two))) => visit(key, None, Some(two)),
                (None, None) => return,
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Sets a value; the one that was there before comes back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let pieces = Arc::make_mut(&mut self.pieces);
        if pieces.is_empty() {
            pieces.push(Arc::new(Vec::new()));
        }
        let at =
            pieces.partition_point(|piece| piece.first().is_some_and(|(first, _)| *first <= key)).saturating_sub(1);
        let piece = Arc::make_mut(&mut pieces[at]);
        match find(piece, &key) {
            Ok(found) => Some(std::mem::replace(&mut piece[found].1, value)),
            Err(place) => {
                piece.insert(place, (key, value));
                self.len += 1;
                if piece.len() > LARGEST {
                    // What is appended in order leaves full pieces behind.
                    let half = if place + 1 == piece.len() { LARGEST } else { PIECE };
                    let rest = piece.split_off(half);
                    pieces.insert(at + 1, Arc::new(rest));
                }
                None
            }
        }
    }

    /// Takes a key away; its value comes back.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.piece_of(key)?;
        let found = find(&self.pieces[at], key).ok()?;
        let pieces = Arc::make_mut(&mut self.pieces);
        let piece = Arc::make_mut(&mut pieces[at]);
        let (_, value) = piece.remove(found);
        self.len -= 1;
        if piece.is_empty() {
            pieces.remove(at);
            return Some(value);
        }
        // Many removals would leave many small pieces.
        let fit = |one: usize| pieces.get(one + 1).is_some_and(|next| pieces[one].len() + next.len() <= PIECE);
        if let Some(one) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|one| fit(*one)) {
            let next = pieces.remove(one + 1);
            Arc::make_mut(&mut pieces[one]).extend(next.iter().cloned());
        }
        Some(value)
    }

    /// A value to change in place. What other copies see stays as it is.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.piece_of(key)?;
        let found = find(&self.pieces[at], key).ok()?;
        let piece = Arc::make_mut(&mut Arc::make_mut(&mut self.pieces)[at]);
        Some(&mut piece[found].1)
    }

    /// All values, to change in place. Nothing is shared with other copies after that.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        Arc::make_mut(&mut self.pieces)
            .iter_mut()
            .flat_map(|piece| Arc::make_mut(piece).iter_mut().map(|(_, value)| value))
    }

    /// Takes everything away.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(piece: &[(K, V)], key: &Q) -> Result<usize, usize> {
    piece.binary_search_by(|(known, _)| known.borrow().cmp(key))
}

impl<K: Ord, V> FromIterator<(K, V)> for SharedMap<K, V> {
    /// Of equal keys the last counts.
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        if !entries.is_sorted_by(|(one, _), (two, _)| one < two) {
            // Stable, so the last of equal ones is the last still; the first of a run is kept, so the order is turned round.
            entries.reverse();
            entries.sort_by(|(one, _), (two, _)| one.cmp(two));
            entries.dedup_by(|(later, _), (first, _)| later == first);
        }
        let len = entries.len();
        let mut pieces = Vec::with_capacity(len.div_ceil(PIECE));
        let mut entries = entries.into_iter();
        loop {
            let piece: Vec<(K, V)> = entries.by_ref().take(PIECE).collect();
            if piece.is_empty() {
                return Self { pieces: Arc::new(pieces), len };
            }
            pieces.push(Arc::new(piece));
        }
    }
}

impl<K: Ord + Clone, V: Clone> Extend<(K, V)> for SharedMap<K, V> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, entries: T) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

/// The entries of a [`SharedMap`] in order.
pub struct Iter<'a, K, V> {
    pieces: &'a [Piece<K, V>],
    /// The piece, or beyond the last one.
    at: usize,
    /// Always an entry of the piece, if there is a piece.
    inside: usize,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, K, V> Iter<'a, K, V> {
    /// The next entry, which stays the next.
    pub fn peek(&self) -> Option<(&'a K, &'a V)> {
        let (key, value) = self.pieces.get(self.at)?.get(self.inside)?;
        Some((key, value))
    }

    /// The piece that comes next as a whole.
    fn whole_piece(&self) -> Option<&'a Piece<K, V>> {
        self.pieces.get(self.at).filter(|_| self.inside == 0)
    }

    fn skip_piece(&mut self) {
        self.at += 1;
        self.inside = 0;
    }

    fn settle(&mut self) {
        if self.pieces.get(self.at).is_some_and(|piece| self.inside >= piece.len()) {
            self.skip_piece();
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.peek()?;
        self.inside += 1;
        self.settle();
        Some(entry)
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a SharedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Ord + Clone, V: Clone> IntoIterator for SharedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        let pieces: Vec<Vec<(K, V)>> =
            Arc::unwrap_or_clone(self.pieces).into_iter().map(Arc::unwrap_or_clone).collect();
        pieces.into_iter().flatten()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> std::ops::Index<&Q> for SharedMap<K, V> {
    type Output = V;

    /// # Panics
    /// If the map does not have the key.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the map has this key")
    }
}

impl<K: Ord, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let mut equal = self.len == other.len;
        if equal {
            self.differences(other, V::eq, |_, _, _| equal = false);
        }
        equal
    }
}

impl<K: Ord, V: Eq> Eq for SharedMap<K, V> {}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
