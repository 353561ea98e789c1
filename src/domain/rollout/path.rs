//! Ways through releases: which ones a device must go through to reach the one that it shall have.
//!
//! A release may say from which ones it can be reached; a device that runs another one goes through a release in between first. The
//! way is planned before anything is offered, so that no device is led to where it cannot go on from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// How many releases a way may go through. A device spends an update on each; a longer way is a mistake.
pub const MAX_LEGS: usize = 8;

/// From where a release can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach<V> {
    /// From every release, and from none.
    Anywhere,
    /// From these only, and by a device that has none yet.
    From(BTreeSet<V>),
}

/// The releases of an app by version, with what each can be reached from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releases<V>(pub BTreeMap<V, Reach<V>>);

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay<V: fmt::Display + fmt::Debug> {
    /// The release is not in the tree.
    #[error("there is no release {0}")]
    Unknown(V),
    /// Some releases lead to it, none of them from where the device is.
    #[error("no way leads from {from} to {to}: {to} is reached from {needs}, and none of that from {from}", needs = show(needs))]
    DeadEnd {
        /// Where the device is.
        from: V,
        /// Where it shall go.
        to: V,
        /// Every release on a way there, the target left out.
        needs: Vec<V>,
    },
    /// Everything that leads to it leads round in a circle.
    #[error("no way leads to {to}: what it is reached from ({circle}) leads round in a circle", circle = show(circle))]
    Circle {
        /// Where the device shall go.
        to: V,
        /// The releases of the circle.
        circle: Vec<V>,
    },
    /// The shortest way is too long.
    #[error("the way from {from} to {to} goes through {legs} releases; at most {MAX_LEGS} are accepted")]
    TooLong {
        /// Where the device is.
        from: V,
        /// Where it shall go.
        to: V,
        /// How many releases, the target included.
        legs: usize,
    },
}

fn show<V: fmt::Display>(versions: &[V]) -> String {
    match versions {
        [] => "nothing".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

impl<V: Ord + Clone + fmt::Display + fmt::Debug> Releases<V> {
    /// The shortest way from `from` to `to`, both ends left out: what the device goes through first. Among ways of the same
    /// length the one through the largest versions, from the target back.
    pub fn way(&self, from: &V, to: &V) -> Result<Vec<V>, NoWay<V>> {
        if !self.0.contains_key(to) {
            return Err(NoWay::Unknown(to.clone()));
        }
        // Backwards from the target: `onward` says where a release leads next.
        let mut onward: BTreeMap<&V, &V> = BTreeMap::new();
        let mut open = VecDeque::from([to]);
        while let Some(release) = open.pop_front() {
            let reached = release == from
                || match self.0.get(release) {
                    Some(Reach::Anywhere) => true,
                    Some(Reach::From(sources)) => sources.contains(from),
                    None => false,
                };
            if reached {
                return Self::legs(release, &onward, from, to);
            }
            let Some(Reach::From(sources)) = self.0.get(release) else { continue };
            for source in sources.iter().rev().filter(|source| self.0.contains_key(*source)) {
                if source != to && !onward.contains_key(source) {
                    onward.insert(source, release);
                    open.push_back(source);
                }
            }
        }
        let needs: Vec<V> = onward.keys().map(|release| (*release).clone()).collect();
        let circle = !needs.is_empty() && needs.iter().all(|release| self.only_from(release, &needs, to));
        Err(match circle {
            true => NoWay::Circle { to: to.clone(), circle: needs },
            false => NoWay::DeadEnd { from: from.clone(), to: to.clone(), needs },
        })
    }

    fn legs(first: &V, onward: &BTreeMap<&V, &V>, from: &V, to: &V) -> Result<Vec<V>, NoWay<V>> {
        let mut legs = Vec::new();
        let mut release = first;
        while release != to {
            if release != from {
                legs.push(release.clone());
            }
            let Some(next) = onward.get(release) else { break };
            release = next;
        }
        if legs.len() >= MAX_LEGS {
            return Err(NoWay::TooLong { from: from.clone(), to: to.clone(), legs: legs.len() + 1 });
        }
        Ok(legs)
    }

    /// Whether a release can be reached from releases of a set, or the target, and from nothing else.
    fn only_from(&self, release: &V, set: &[V], to: &V) -> bool {
        match self.0.get(release) {
            // One that is reached from nothing ends a way; it leads round in no circle.
            Some(Reach::From(sources)) => {
                !sources.is_empty() && sources.iter().all(|source| source == to || set.contains(source))
            }
            Some(Reach::Anywhere) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `3<2,1` is reached from 2 and 1; `3` from anywhere.
    fn releases(text: &str) -> Releases<u32> {
        let of = |part: &str| match part.split_once('<') {
            None => (part.parse().expect("a number"), Reach::Anywhere),
            Some((name, from)) => {
                let from = from.split(',').filter(|one| !one.is_empty()).map(|one| one.parse().expect("a number"));
                (name.parse().expect("a number"), Reach::From(from.collect()))
            }
        };
        Releases(text.split(' ').map(of).collect())
    }

    #[test]
    fn a_device_goes_through_what_the_release_asks_for() {
        let cases = [
            ("1 2 3", 1, 3),
            ("1 2 3<2", 1, 3),
            ("1 2 3<2", 2, 3),
            ("1 2<1 3<2 4<3", 1, 4),
            ("1 2 3 4<2,3", 1, 4),
            ("1 2<1 3<2", 3, 3),
            ("1 2 3<2", 1, 4),
            ("1 2<0 3<2", 1, 3),
            ("1 2<3 3<2", 1, 3),
            ("1 2<4 3<2 4<2", 1, 3),
            ("1 3<", 1, 3),
            ("1 2< 3<2", 1, 3),
            ("1 2<1 3<2 4<3 5<4 6<5 7<6 8<7 9<8 10<9 11<10", 1, 11),
        ];
        let shown = cases.map(|(text, from, to)| match releases(text).way(&from, &to) {
            Ok(legs) => format!("{text}: {from} → {legs:?} → {to}"),
            Err(error) => format!("{text}: {error}"),
        });
        insta::assert_snapshot!(shown.join("\n"), @r#"
        1 2 3: 1 → [] → 3
        1 2 3<2: 1 → [2] → 3
        1 2 3<2: 2 → [] → 3
        1 2<1 3<2 4<3: 1 → [2, 3] → 4
        1 2 3 4<2,3: 1 → [3] → 4
        1 2<1 3<2: 3 → [] → 3
        1 2 3<2: there is no release 4
        1 2<0 3<2: no way leads from 1 to 3: 3 is reached from 2, and none of that from 1
        1 2<3 3<2: no way leads to 3: what it is reached from (2) leads round in a circle
        1 2<4 3<2 4<2: no way leads to 3: what it is reached from (2, 4) leads round in a circle
        1 3<: no way leads from 1 to 3: 3 is reached from nothing, and none of that from 1
        1 2< 3<2: no way leads from 1 to 3: 3 is reached from 2, and none of that from 1
        1 2<1 3<2 4<3 5<4 6<5 7<6 8<7 9<8 10<9 11<10: the way from 1 to 11 goes through 10 releases; at most 8 are accepted
        "#);
    }

    fn any_releases() -> impl Strategy<Value = Releases<u32>> {
        let reach = prop_oneof![
            1 => Just(Reach::Anywhere),
            3 => prop::collection::btree_set(0_u32..8, 0..4).prop_map(Reach::From),
        ];
        prop::collection::btree_map(0_u32..8, reach, 0..8).prop_map(Releases)
    }

    proptest! {
        #[test]
        fn every_leg_of_a_way_can_be_reached_from_the_one_before(releases in any_releases(), from in 0_u32..8, to in 0_u32..8) {
            let reaches = |from: u32, to: u32| from == to || match &releases.0[&to] {
                Reach::Anywhere => true,
                Reach::From(sources) => sources.contains(&from),
            };
            match releases.way(&from, &to) {
                Ok(legs) => {
                    let mut at = from;
                    for next in legs.iter().copied().chain([to]) {
                        prop_assert!(reaches(at, next), "{} does not reach {}", at, next);
                        at = next;
                    }
                    let seen: BTreeSet<&u32> = legs.iter().collect();
                    prop_assert_eq!(seen.len(), legs.len(), "no release twice");
                    prop_assert!(!legs.contains(&from) && !legs.contains(&to));
                }
                Err(NoWay::Unknown(release)) => prop_assert!(!releases.0.contains_key(&release)),
                Err(_) => {
                    // Whatever can be reached from `from` in any number of steps, the target is not among it.
                    let mut reached = BTreeSet::from([from]);
                    while let Some(next) = releases.0.keys().find(|one| {
                        !reached.contains(*one) && reached.iter().any(|at| reaches(*at, **one))
                    }) {
                        reached.insert(*next);
                    }
                    prop_assert!(!reached.contains(&to));
                }
            }
        }
    }
}
