//! Commits of several stages that one pass sees together, as after a time without a controller.

use super::world::World;
use insta::assert_snapshot;

#[test]
fn a_new_stage_does_not_get_a_running_device_that_another_lets_go_at_the_same_moment() {
    let mut world = World::with_devices("a b c");
    world.push("production", 1, "a:production:v1 b:production:v1 c:production:v1");
    let together = [("canary", 2, "c:canary:v2"), ("production", 3, "a:production:v1 b:production:v1 c:canary:v2")];
    assert_snapshot!(world.push_together(&together), @r"
    accept production 0003
    control c claims []
    hold canary: the stage is new and would take 1 devices that run something already
    ");
    assert_eq!(world.place("c"), "1.1 v1 from production");
}

#[test]
fn devices_that_another_stage_lets_go_count_against_the_limit_of_the_stage_that_changes_them() {
    let mut world = World::with_devices("a b c d e f g");
    world.push("canary", 1, "f:canary:v1 g:canary:v1");
    world.push("main", 2, "a:main:v1 b:main:v1 c:main:v1 d:main:v1 e:main:v1 f:main:v1");
    // Five may change at once. The sixth comes from canary, in the same pass.
    let together = [
        ("main", 3, "a:main:v2 b:main:v2 c:main:v2 d:main:v2 e:main:v2 f:main:v2"),
        ("canary", 4, "f:main:v1 g:canary:v1"),
    ];
    assert_snapshot!(world.push_together(&together), @r"
    accept canary 0004
    control f claims [main]
    hold main: 6 devices would get other content at once; 5 may without a rollout
    ");
}
