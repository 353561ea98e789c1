//! Rollouts in the database.

use super::*;
use crate::domain::fleet::{Change, RolloutChange};
use crate::domain::rollout::machine::Member;
use std::sync::Arc;

const NAME: &str = "production-00000001";

/// The head of a version, and a device that joins with it.
fn written(version: u64) -> Vec<Change> {
    let mut changes: Vec<Change> = sample::rollout(NAME, version).into_iter().take(1).collect();
    let member = sample::state().rollouts[NAME].members["kiosk-1"].clone();
    let joined = RolloutChange::Member(format!("kiosk-{version}9").parse().unwrap(), Arc::new(Member::clone(&member)));
    changes.push(Change::Rollout(NAME.parse().unwrap(), joined));
    changes
}

#[test]
fn a_head_is_only_written_over_the_one_that_it_was_made_from() {
    let mut disk = OnDisk::new();
    let mut store = disk.open();
    store.commit(&sample::changes()).unwrap();
    for stale in [2, 4] {
        let before = store.load().unwrap();
        let refused = store.commit(&written(stale)).unwrap_err();
        assert!(
            text(&refused).contains(&format!("rollout {NAME} is not at version {}", stale - 1)),
            "{}",
            text(&refused)
        );
        assert_eq!(store.load().unwrap(), before, "nothing that came with it is written either");
    }
    store.commit(&written(3)).unwrap();
    let rollout = &store.load().unwrap().rollouts[NAME];
    assert_eq!((rollout.version, rollout.members.len()), (3, 3));
}

#[test]
fn a_rollout_of_which_anything_cannot_be_read_is_set_apart_as_a_whole() {
    let whole = sample::state();
    assert!(whole.rollouts.contains_key(NAME));
    for (table, which) in [
        ("rollouts", String::new()),
        ("rollout_members", " AND device = 'kiosk-2'".to_owned()),
        ("rollout_contents", String::new()),
    ] {
        let state = check_poisoned(&format!("UPDATE {table} SET document = '{{\"no' WHERE rollout = '{NAME}'{which}"));
        assert_eq!((state.quarantined[0].kind, state.quarantined[0].subject.as_str()), ("rollout", NAME), "{table}");
        assert!(
            !state.rollouts.contains_key(NAME),
            "{table}: half of a rollout would offer what it has offered before"
        );
        assert_eq!(state.devices, whole.devices, "{table}");
    }
}
