use super::{Iter, LARGEST, SharedMap};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Map = SharedMap<u16, u16>;

/// What is promised of the pieces.
fn sound(map: &Map) {
    assert!(map.pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= LARGEST));
    assert!(map.keys().is_sorted_by(|one, two| one < two));
    assert_eq!(map.iter().count(), map.len());
}

fn plain(map: &Map) -> BTreeMap<u16, u16> {
    map.iter().map(|(key, value)| (*key, *value)).collect()
}

/// The differences as a map would give them that looks at everything.
fn looked_for(one: &Map, two: &Map) -> Vec<(u16, Option<u16>, Option<u16>)> {
    let keys: std::collections::BTreeSet<u16> = one.keys().chain(two.keys()).copied().collect();
    let both = keys.into_iter().map(|key| (key, one.get(&key).copied(), two.get(&key).copied()));
    both.filter(|(_, one, two)| one != two).collect()
}

fn differences(one: &Map, two: &Map) -> Vec<(u16, Option<u16>, Option<u16>)> {
    let mut all = Vec::new();
    one.differences(two, u16::eq, |key, one, two| all.push((*key, one.copied(), two.copied())));
    all
}

fn entries() -> impl Strategy<Value = Vec<(u16, Option<u16>)>> {
    prop::collection::vec((0u16..2000, prop::option::weighted(0.6, 0u16..5)), 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_is_an_ordered_map(first in entries(), second in entries(), from in 0u16..2100) {
        let mut map: Map = first.iter().map(|(key, value)| (*key, value.unwrap_or(9))).collect();
        let mut known: BTreeMap<u16, u16> = first.iter().map(|(key, value)| (*key, value.unwrap_or(9))).collect();
        prop_assert_eq!(&plain(&map), &known);
        let before = map.clone();
        let was = known.clone();
        for (key, value) in second {
            match value {
                Some(value) => prop_assert_eq!(map.insert(key, value), known.insert(key, value)),
                None => prop_assert_eq!(map.remove(&key), known.remove(&key)),
            }
        }
        sound(&map);
        prop_assert_eq!(&plain(&map), &known);
        prop_assert_eq!(plain(&before), was);
        prop_assert_eq!(map.from(&from).collect::<Vec<_>>(), known.range(from..).collect::<Vec<_>>());
        prop_assert_eq!(differences(&before, &map), looked_for(&before, &map));
        prop_assert_eq!(before == map, looked_for(&before, &map).is_empty());
        prop_assert_eq!(map.into_iter().collect::<BTreeMap<_, _>>(), known);
    }
}

#[test]
fn a_change_leaves_all_other_pieces_shared() {
    let before: Map = (0..10_000).map(|key| (key, 0)).collect();
    let mut after = before.clone();
    after.insert(5000, 1);
    let shared = |map: &Map| {
        map.pieces.iter().filter(|piece| before.pieces.iter().any(|other| std::sync::Arc::ptr_eq(piece, other))).count()
    };
    assert_eq!(shared(&after), before.pieces.len() - 1);
    assert_eq!(differences(&before, &after), [(5000, Some(0), Some(1))]);
}

#[test]
fn what_is_appended_in_order_fills_its_pieces() {
    let mut map = Map::default();
    (0..5000).for_each(|key| {
        map.insert(key, 0);
    });
    sound(&map);
    assert!(map.pieces.len() <= 5000 / LARGEST + 1, "{} pieces", map.pieces.len());
}

#[test]
fn many_removals_leave_few_pieces() {
    let mut map: Map = (0..10_000).map(|key| (key, 0)).collect();
    (0..10_000).filter(|key| key % 50 != 0).for_each(|key| {
        map.remove(&key);
    });
    sound(&map);
    assert_eq!(map.len(), 200);
    assert!(map.pieces.len() <= 4, "{} pieces", map.pieces.len());
}

#[test]
fn an_empty_map_has_nothing() {
    let map = Map::default();
    assert_eq!((map.get(&1), map.len(), map.is_empty()), (None, 0, true));
    assert_eq!(map.from(&0).next(), None);
    assert!(Iter::peek(&map.iter()).is_none());
}
