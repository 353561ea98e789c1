//! Lists of devices that change without a commit.

use super::world::{World, stage};
use insta::assert_snapshot;

#[test]
fn another_list_with_the_same_commit_goes_through_the_same_gates() {
    let mut world = World::with_devices("a b c d");
    assert_snapshot!(world.lists("production", 1, "one", "a:production:v1 b:production:v1 c:production:v1"), @r"
    accept production 0001
    control a claims [production]
    assign a 1.1 v1 from production
    control b claims [production]
    assign b 1.1 v1 from production
    control c claims [production]
    assign c 1.1 v1 from production
    ");
    assert_eq!(world.pass(), "nothing");
    // A device that is new in the list is assigned what its groups say.
    assert_snapshot!(world.lists("production", 1, "two", "a:production:v1 b:production:v1 c:production:v1 d:production:v1"), @r"
    accept production 0001
    control d claims [production]
    assign d 1.1 v1 from production
    ");
    // One may leave, a second is too many, and nothing becomes of anything before a person says so.
    assert_snapshot!(world.lists("production", 1, "three", "a:production:v1 b:production:v1 c:production:v1"), @r"
    accept production 0001
    control d claims []
    ");
    assert_snapshot!(world.lists("production", 1, "four", "a:production:v1"), @"hold production: 3 devices would be unmanaged since the last approval; 1 may be");
    let held = world.state.stages["production"].clone();
    assert_ne!(held.inventory, held.waiting.as_ref().and_then(|waiting| waiting.inventory));
    assert_eq!(world.pass(), "nothing");
    // The source takes it back: nothing waits any more.
    assert_snapshot!(world.lists("production", 1, "three", "a:production:v1 b:production:v1 c:production:v1"), @"accept production 0001");
    assert_eq!(world.state.stages["production"].waiting, None);
}

#[test]
fn the_approval_of_one_list_is_none_of_another() {
    let mut world = World::with_devices("a b c d");
    world.lists("production", 1, "one", "a:production:v1 b:production:v1 c:production:v1 d:production:v1");
    world.lists("production", 1, "two", "a:production:v1");
    let first = world.held_digest("production");
    world.lists("production", 1, "three", "a:production:v1");
    let second = world.held_digest("production");
    assert_ne!(first, second, "the same changes by another list");
    world.lists("production", 1, "two", "a:production:v1");
    assert_eq!(world.held_digest("production"), first, "stable while people look at it");
    let counts = world.state.stages[&stage("production")].inventory;
    assert_eq!(world.state.stages["production"].counts().and_then(|revision| revision.inventory), counts);
}
