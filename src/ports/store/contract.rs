//! What every store must do. One set of tests, run on each.

#![allow(missing_docs, reason = "each function is a test, and its name is the sentence")]

use super::Store;
use crate::domain::fleet::{Change, Event, FleetState, RolloutChange, RolloutMoment};
use crate::domain::ids::{Actor, CommitId};
use crate::domain::rollout::gate::Counts;
use crate::domain::time::Timestamp;

pub mod sample;

/// How a test reaches the store that it is about.
pub trait Harness {
    /// The store.
    type Store: Store;
    /// Opens it; again after the last one was dropped, with everything that was committed.
    fn open(&mut self) -> Self::Store;
    /// A number that grows whenever anything is written to what outlives the process.
    fn writes(&mut self, store: &Self::Store) -> u64;
    /// Makes the next commit that contains [`sample::doomed`] fail there.
    fn break_next_commit(&mut self, store: &mut Self::Store);
}

/// Makes the contract's tests for a harness.
macro_rules! tests {
    ($harness:expr) => {
        $crate::ports::store::contract::tests!($harness;
            an_empty_store_is_empty,
            every_change_survives_reopening,
            parts_of_a_device_are_written_apart,
            what_is_gone_is_gone,
            changes_of_one_commit_are_applied_in_order,
            a_commit_that_fails_in_the_middle_leaves_nothing,
            an_empty_commit_writes_nothing,
            events_come_newest_first_and_by_subject,
            reading_writes_nothing,
        );
    };
    ($harness:expr; $($name:ident,)*) => {
        $(#[test]
        fn $name() {
            $crate::ports::store::contract::$name(&mut $harness);
        })*
    };
}
pub(crate) use tests;

fn check(harness: &mut impl Harness, commits: &[&[Change]]) {
    let mut expected = FleetState::default();
    let mut store = harness.open();
    for changes in commits {
        store.commit(changes).unwrap();
        expected.apply(changes);
        assert_eq!(store.load().unwrap(), expected, "what was committed is visible at once");
    }
    drop(store);
    assert_eq!(harness.open().load().unwrap(), expected, "what was committed survives reopening");
}

pub fn an_empty_store_is_empty(harness: &mut impl Harness) {
    check(harness, &[]);
    assert_eq!(harness.open().events(None, 10).unwrap(), []);
}

pub fn every_change_survives_reopening(harness: &mut impl Harness) {
    let kinds: std::collections::BTreeSet<usize> = sample::changes().iter().map(kind).collect();
    assert_eq!(kinds, (0..KINDS).collect(), "the sample has a change of every kind");
    let mut store = harness.open();
    store.commit(&sample::changes()).unwrap();
    drop(store);
    assert_eq!(harness.open().load().unwrap(), sample::state());
}

const KINDS: usize = 25;

/// A new kind of change does not compile before it is listed here, and fails before it is in the sample.
fn kind(change: &Change) -> usize {
    match change {
        Change::Epoch(_) => 0,
        Change::Identity(..) => 1,
        Change::Control(..) => 2,
        Change::Assignment(_) => 3,
        Change::Reported(..) => 4,
        Change::Forget(_) => 5,
        Change::Stage(..) => 6,
        Change::Token(..) => 7,
        Change::TokenGone(_) => 8,
        Change::Approval(..) => 9,
        Change::ApprovalGone(_) => 10,
        Change::Hold(..) => 11,
        Change::HoldGone(_) => 12,
        Change::Event(_) => 13,
        Change::Unreported(_) => 14,
        Change::Registry(..) => 15,
        Change::Actions(..) => 16,
        Change::Unassigned(_) => 17,
        Change::Heartbeat(_) => 18,
        Change::Rollout(_, RolloutChange::Head { .. }) => 19,
        Change::Rollout(_, RolloutChange::Member(..)) => 20,
        Change::Rollout(_, RolloutChange::Content(_)) => 21,
        Change::Rollout(_, RolloutChange::Gone) => 22,
        Change::Told(..) => 23,
        Change::ToldGone(_) => 24,
    }
}

pub fn parts_of_a_device_are_written_apart(harness: &mut impl Harness) {
    let one_by_one: Vec<Change> = sample::device_parts("kiosk-1", 1);
    let commits: Vec<&[Change]> = one_by_one.chunks(1).collect();
    check(harness, &commits);
    // Each part is replaced alone; the others stay.
    let later = sample::device_parts("kiosk-1", 2);
    for change in later {
        let mut store = harness.open();
        let mut expected = store.load().unwrap();
        store.commit(std::slice::from_ref(&change)).unwrap();
        expected.apply(&[change]);
        assert_eq!(store.load().unwrap(), expected);
    }
}

pub fn what_is_gone_is_gone(harness: &mut impl Harness) {
    check(harness, &[&sample::changes(), &sample::removals(), &sample::removals(), &sample::changes()]);
}

pub fn changes_of_one_commit_are_applied_in_order(harness: &mut impl Harness) {
    let mut changes = sample::device_parts("kiosk-1", 1);
    changes.push(Change::Forget("kiosk-1".parse().unwrap()));
    changes.extend(sample::device_parts("kiosk-1", 3).into_iter().take(1));
    check(harness, &[&changes]);
}

pub fn a_commit_that_fails_in_the_middle_leaves_nothing(harness: &mut impl Harness) {
    let mut store = harness.open();
    store.commit(&sample::device_parts("kiosk-1", 1)).unwrap();
    let before = (store.load().unwrap(), store.events(None, 10).unwrap());
    let mut changes = sample::device_parts("kiosk-1", 2);
    changes.push(Change::Event(event("kiosk-1", 5)));
    changes.push(sample::doomed());
    changes.extend(sample::device_parts("kiosk-2", 1));
    harness.break_next_commit(&mut store);
    assert!(store.commit(&changes).is_err());
    assert_eq!((store.load().unwrap(), store.events(None, 10).unwrap()), before);
    drop(store);
    let mut store = harness.open();
    assert_eq!((store.load().unwrap(), store.events(None, 10).unwrap()), before, "nor does reopening bring it back");
    store.commit(&sample::device_parts("kiosk-2", 1)).unwrap();
}

pub fn an_empty_commit_writes_nothing(harness: &mut impl Harness) {
    let mut store = harness.open();
    store.commit(&sample::changes()).unwrap();
    let before = harness.writes(&store);
    store.commit(&[]).unwrap();
    assert_eq!(harness.writes(&store), before);
    store.commit(&sample::device_parts("kiosk-9", 1)).unwrap();
    assert!(harness.writes(&store) > before, "the harness would notice a write");
}

pub fn reading_writes_nothing(harness: &mut impl Harness) {
    let mut store = harness.open();
    store.commit(&sample::changes()).unwrap();
    let before = harness.writes(&store);
    store.load().unwrap();
    store.events(Some("kiosk-1"), 5).unwrap();
    assert_eq!(harness.writes(&store), before);
}

pub fn events_come_newest_first_and_by_subject(harness: &mut impl Harness) {
    let mut store = harness.open();
    store.commit(&[Change::Event(event("a", 1)), Change::Event(event("b", 2))]).unwrap();
    // The order is that of writing: a clock that goes back does not rewrite history.
    store.commit(&[Change::Event(event("a", 0))]).unwrap();
    let seen = |store: &mut dyn Store, subject, limit| -> Vec<(String, i64)> {
        let events = store.events(subject, limit).unwrap();
        events.into_iter().map(|event| (event.subject, event.at.millis())).collect()
    };
    let entry = |subject: &str, at| (subject.to_owned(), at);
    assert_eq!(seen(&mut store, None, 10), [entry("a", 0), entry("b", 2), entry("a", 1)]);
    assert_eq!(seen(&mut store, None, 2), [entry("a", 0), entry("b", 2)]);
    assert_eq!(seen(&mut store, Some("a"), 10), [entry("a", 0), entry("a", 1)]);
    assert_eq!(seen(&mut store, Some("a"), 1), [entry("a", 0)]);
    assert_eq!(seen(&mut store, Some("c"), 10), []);
    assert_eq!(seen(&mut store, None, 0), []);
    assert_eq!(seen(&mut store, None, usize::MAX).len(), 3);
    assert_eq!(store.events(Some("b"), 1).unwrap(), [event("b", 2)]);
}

/// An event about something at some millisecond.
pub fn event(subject: &str, at: i64) -> Event {
    Event {
        at: Timestamp::from_millis(at),
        actor: Actor::new("operator anna").unwrap(),
        kind: "Held".to_owned(),
        subject: subject.to_owned(),
        message: "a message with 'quotes', \"more\" and ünïcode".to_owned(),
        rollout: (at == 2).then(|| {
            Box::new(RolloutMoment {
                commit: CommitId::new(&"1".repeat(40)).unwrap(),
                status: "ACTIVE".to_owned(),
                step: 1,
                steps: 2,
                counts: Counts { members: 3, ok: 1, ..Counts::default() },
            })
        }),
    }
}
