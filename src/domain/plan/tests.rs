//! Stories about stages and devices, told as the changes that passes make.

mod laws;
mod lists;
mod requires;
mod rollouts;
mod together;
mod world;

use super::gate::Lineage;
use crate::domain::acts::operator::{approve_commit, hold, resume};
use crate::domain::assignment::Mark;
use crate::domain::desired::RepoLimits;
use crate::domain::finding::{Affects, Finding, Place, Severity};
use crate::domain::fleet::HoldScope;
use crate::domain::generation::{Epoch, Generation, Order};
use insta::assert_snapshot;
use world::{World, content, desired, device, stage};

#[test]
fn a_first_commit_assigns_and_a_second_look_writes_nothing() {
    let mut world = World::with_devices("kiosk-1 kiosk-2");
    assert_snapshot!(world.push("production", 1, "kiosk-1:production:v1 kiosk-2:production:v1"), @r"
    accept production 0001
    control kiosk-1 claims [production]
    assign kiosk-1 1.1 v1 from production
    control kiosk-2 claims [production]
    assign kiosk-2 1.1 v1 from production
    ");
    assert_eq!(world.pass(), "nothing");
    // Another commit with the same content changes the stage and no device.
    assert_snapshot!(world.push("production", 2, "kiosk-1:production:v1 kiosk-2:production:v1"), @"accept production 0002");
}

#[test]
fn a_device_that_is_not_enrolled_is_claimed_but_assigned_nothing() {
    let mut world = World::new();
    assert_snapshot!(world.push("main", 1, "board:main:v1"), @r"
    accept main 0001
    control board claims [main]
    ");
    assert_snapshot!(world.waits("board"), @"not-enrolled: the device has never enrolled");
    world.enroll("board");
    assert_snapshot!(world.pass(), @"assign board 1.1 v1 from main");
}

#[test]
fn of_two_branches_that_claim_a_device_the_most_gated_wins_and_stays() {
    let mut world = World::with_devices("kiosk");
    world.push("production", 1, "kiosk:production:v1");
    assert_snapshot!(world.push("main", 2, "kiosk:main:v9"), @r"
    accept main 0002
    control kiosk claims [main production]
    ");
    assert_eq!(world.place("kiosk"), "1.1 v1 from production");
    for number in 3..6 {
        world.push("main", number, &format!("kiosk:main:v{number}"));
        assert_eq!(world.pass(), "nothing");
        assert_eq!(world.place("kiosk"), "1.1 v1 from production");
    }
    assert_snapshot!(world.waits("kiosk"), @r"
    claim-conflict: stages main, production claim the device; production is the most gated and owns it
    unreported: the device has not reported yet
    ");
}

#[test]
fn moving_a_device_goes_through_in_transit() {
    let mut world = World::with_devices("a b c d e");
    world.push("main", 1, "a:main:v1 b:main:v1 c:production:v1");
    world.push("canary", 2, "e:canary:v1");
    world.push("production", 3, "c:production:v1 d:production:v1");
    // The change reaches main first: production's own history still holds the device.
    assert_snapshot!(world.push("main", 4, "a:main:v1 b:main:v1 c:main:v2"), @r"
    accept main 0004
    control c claims [main production]
    ");
    assert_eq!(world.place("c"), "1.1 v1 from production");
    // Production lets go, and main takes it at once because it claimed it already.
    assert_snapshot!(world.push("production", 5, "c:main:v1 d:production:v1"), @r"
    accept production 0005
    control c claims [main]
    assign c 1.2 v2 from main
    ");
    assert_eq!(world.place("c"), "1.2 v2 from main");
    // The other way round there is a gap, in which the device keeps what it has.
    assert_snapshot!(world.push("main", 6, "a:main:v1 b:main:v1 c:canary:v3"), @r"
    accept main 0006
    control c claims []
    ");
    assert_snapshot!(world.waits("c"), @"in-transit: no stage claims the device; it keeps what it has");
    assert_eq!(world.place("c"), "1.2 v2 from main");
    assert_snapshot!(world.push("canary", 7, "c:canary:v3 e:canary:v1"), @r"
    accept canary 0007
    control c claims [canary]
    assign c 1.3 v3 from canary
    ");
    assert_eq!(world.pass(), "nothing");
}

#[test]
fn a_stage_that_is_seen_for_the_first_time_takes_no_running_device_until_approved() {
    let mut world = World::with_devices("a b");
    world.push("main", 1, "a:main:v1 b:canary:v1");
    assert_snapshot!(world.push("canary", 2, "a:canary:v2 b:canary:v2"), @"hold canary: the stage is new and would take 1 devices that run something already");
    assert_eq!(world.place("a"), "1.1 v1 from main");
    assert_snapshot!(world.approve("canary"), @r"
    approval gone
    accept canary 0002
    control a claims [canary main]
    assign a 1.2 v2 from canary
    control b claims [canary]
    assign b 1.1 v2 from canary
    ");
}

#[test]
fn deleting_a_line_leaves_the_device_running() {
    let mut world = World::with_devices("a b c");
    world.push("production", 1, "a:production:v1 b:production:v1 c:production:v1");
    assert_snapshot!(world.push("production", 2, "a:production:v1 b:production:v1"), @r"
    accept production 0002
    control c claims []
    ");
    assert_eq!(world.place("c"), "1.1 v1 from production");
    assert_snapshot!(world.waits("c"), @"unmanaged: no stage lists the device; it keeps what it has");
    // The budget counts since the last approval, not per commit.
    assert_snapshot!(world.push("production", 3, "a:production:v1"), @"hold production: 2 devices would be unmanaged since the last approval; 1 may be");
    // Adding the first one back makes room.
    assert_snapshot!(world.push("production", 4, "a:production:v1 c:production:v1"), @r"
    accept production 0004
    control b claims []
    control c claims [production]
    ");
}

#[test]
fn what_a_device_waits_for_says_since_when_and_where() {
    let mut world = World::with_devices("a b");
    world.push("production", 1, "a:production:v1");
    let mut broken = desired("a:production:!");
    broken.findings.push(Finding {
        place: Place { file: "host_vars/a.yml".to_owned(), line: 3, column: 1 },
        severity: Severity::Error,
        code: "syntax".to_owned(),
        message: "it does not parse".to_owned(),
        hint: None,
        excerpt: None,
        affects: Affects::Devices([device("a")].into()),
    });
    let listed = broken.devices.get_mut("a").expect("it is listed");
    std::sync::Arc::make_mut(listed).problem = Some("host_vars/a.yml:3:1: it does not parse".to_owned());
    world.push_desired("production", 2, broken, Lineage::Extends);
    assert_snapshot!(world.waits_in_full("a"), @r#"
    {"code":"spec-invalid","message":"host_vars/a.yml:3:1: it does not parse","hint":"see `bellwether check`","place":{"file":"host_vars/a.yml","line":3,"column":1}}
    {"code":"unreported","message":"the device has not reported yet","since":"1970-01-01T00:00:02Z"}
    "#);
    let changes = hold(
        &world.state,
        &[stage("production")],
        &HoldScope::Device(device("b")),
        "being repaired",
        None,
        &world.acting(),
    );
    world.apply(&changes.unwrap());
    world.push("production", 3, "a:production:v1 b:production:v1");
    assert_snapshot!(world.waits_in_full("b"), @r#"{"code":"held","message":"held (device b) by ada: being repaired","hint":"`bellwether resume device b` ends it early","since":"1970-01-01T00:00:03Z"}"#);
}

#[test]
fn a_plan_and_the_status_call_a_device_that_another_branch_still_lists_the_same() {
    let mut world = World::with_devices("a b c");
    world.push("main", 1, "a:production:v1 b:production:v1 c:production:v1");
    world.push("production", 2, "a:production:v1 b:production:v1 c:production:v1");
    let next = desired("a:production:v1 b:production:v1");
    assert_eq!(world.planned("production", &next), "c let-go");
    world.push_desired("production", 3, next, Lineage::Extends);
    assert_snapshot!(world.waits("c"), @"in-transit: no stage claims the device; it keeps what it has");
    // Once no branch lists it any more, both say so.
    let mut world = World::with_devices("a b");
    world.push("production", 1, "a:production:v1 b:production:v1");
    assert_eq!(world.planned("production", &desired("a:production:v1")), "b unmanage");
    world.push("production", 2, "a:production:v1");
    assert_snapshot!(world.waits("b"), @"unmanaged: no stage lists the device; it keeps what it has");
}

#[test]
fn a_device_that_is_only_listed_stays_in_the_budget() {
    let mut world = World::with_devices("a b c d");
    world.push("production", 1, "a:production:v1 b:production:v1 c:production:v1 d:production:v1");
    assert_snapshot!(world.push("production", 2, "a:production:v1 b:production:v1 c:production:v1 d:main:v1"), @r"
    accept production 0002
    control d claims []
    ");
    // Otherwise a stage could be emptied by letting go first and deleting the line afterwards.
    assert_snapshot!(world.push("production", 3, "a:production:v1 b:production:v1 c:main:v1 d:main:v1"), @"hold production: 2 devices would be unmanaged since the last approval; 1 may be");
    // Once a stage claims it, it is not lost any more, and the held commit counts by itself.
    world.push("main", 4, "d:main:v1");
    world.approve("main");
    assert_snapshot!(world.push("production", 5, "a:production:v1 b:production:v1 c:main:v1 d:main:v1"), @"accept production 0005");
}

#[test]
fn handing_devices_to_another_stage_counts_as_changing_them() {
    let all = |stage: &str, version: &str| -> String {
        (0..6).map(|number| format!("k{number}:{stage}:{version} ")).collect()
    };
    let mut world = World::with_devices("k0 k1 k2 k3 k4 k5 z");
    world.push("production", 1, &format!("z:production:v1 {}", all("production", "v1")));
    world.push("main", 2, &all("main", "v2"));
    assert_snapshot!(world.push("production", 3, &format!("z:production:v1 {}", all("main", "v2"))), @"hold production: 6 devices would get other content at once; 5 may without a rollout");
    // With the content that they have already, nothing changes for them.
    world.push("main", 4, &all("main", "v1"));
    world.push("production", 5, &format!("z:production:v1 {}", all("main", "v1")));
    assert_eq!(world.place("k5"), "1.1 v1 from production");
    assert_eq!(world.state.stages["production"].waiting, None);
}

#[test]
fn unmanaging_a_whole_stage_is_held_until_exactly_that_is_approved() {
    let mut world = World::with_devices("a");
    world.push("production", 1, "a:production:v1");
    assert_snapshot!(world.push("production", 2, ""), @"hold production: the stage's last device would be unmanaged");
    let digest = world.held_digest("production");
    // Looking again, at another time and after another commit with the same tree, is the same question.
    assert_eq!(world.pass(), "nothing");
    assert_eq!(world.held_digest("production"), digest);
    assert_eq!(world.place("a"), "1.1 v1 from production");
    assert_snapshot!(world.approve("production"), @r"
    approval gone
    accept production 0002
    control a claims []
    ");
    assert_eq!(world.place("a"), "1.1 v1 from production");
}

#[test]
fn a_commit_with_a_finding_about_the_whole_changes_nothing() {
    let mut world = World::with_devices("a");
    world.push("production", 1, "a:production:v1");
    let mut broken = desired("");
    broken.findings.push(Finding {
        place: Place { file: "inventory.yml".to_owned(), line: 3, column: 1 },
        severity: Severity::Error,
        code: "inventory-unparsable".to_owned(),
        message: "the inventory does not parse".to_owned(),
        hint: None,
        excerpt: None,
        affects: Affects::Commit,
    });
    assert_snapshot!(world.push_desired("production", 2, broken, Lineage::Extends), @"hold production: inventory.yml:3:1: the inventory does not parse");
    assert_eq!(world.pass(), "nothing");
    assert_snapshot!(world.push("production", 3, "a:production:v2"), @r"
    accept production 0003
    assign a 1.2 v2 from production
    ");
}

#[test]
fn a_broken_host_file_keeps_the_claim_and_does_not_hand_the_device_to_main() {
    let mut world = World::with_devices("a b");
    world.push("production", 1, "a:production:v1 b:production:v1");
    world.push("main", 2, "a:main:v9 b:production:v1");
    assert_snapshot!(world.push("production", 3, "a:?:! b:production:v2"), @r"
    accept production 0003
    assign b 1.2 v2 from production
    ");
    assert_eq!(world.place("a"), "1.1 v1 from production");
    assert_snapshot!(world.waits("a"), @r"
    claim-conflict: stages main, production claim the device; production is the most gated and owns it
    spec-invalid: host_vars does not parse
    unreported: the device has not reported yet
    ");
}

#[test]
fn a_mass_change_is_held_and_its_own_limits_cannot_raise_the_controllers() {
    let names: Vec<String> = (0..8).map(|number| format!("k{number}")).collect();
    let all = |version: &str| names.iter().map(|name| format!("{name}:production:{version} ")).collect::<String>();
    let mut world = World::with_devices(&names.join(" "));
    world.push("production", 1, &all("v1"));
    let mut generous = desired(&all("v2"));
    generous.limits = RepoLimits { max_unstaged: Some(1_000_000) };
    assert_snapshot!(world.push_desired("production", 2, generous, Lineage::Extends), @"hold production: 8 devices would get other content at once; 5 may without a rollout");
    let digest = world.held_digest("production");
    // The approval is void as soon as the changes differ.
    let changes = approve_commit(&world.state, &digest, &world.acting()).unwrap();
    world.apply(&changes);
    assert_snapshot!(world.push("production", 3, &all("v3")), @r"
    hold production: 8 devices would get other content at once; 5 may without a rollout
    approval gone
    ");
    assert!(world.state.approvals.is_empty());
    assert_eq!(world.place("k0"), "1.1 v1 from production");
    // A tighter limit of the repo holds.
    let mut strict = desired(&format!("{} k0:production:v4", all("v1")));
    strict.limits = RepoLimits { max_unstaged: Some(0) };
    assert_snapshot!(world.push_desired("production", 4, strict, Lineage::Extends), @"hold production: 1 devices would get other content at once; 0 may without a rollout");
}

#[test]
fn an_approved_mass_change_goes_out_once() {
    let names: Vec<String> = (0..6).map(|number| format!("k{number}")).collect();
    let all = |version: &str| names.iter().map(|name| format!("{name}:production:{version} ")).collect::<String>();
    let mut world = World::with_devices(&names.join(" "));
    world.push("production", 1, &all("v1"));
    world.push("production", 2, &all("v2"));
    assert_snapshot!(world.approve("production"), @r"
    approval gone
    accept production 0002
    assign k0 1.2 v2 from production
    assign k1 1.2 v2 from production
    assign k2 1.2 v2 from production
    assign k3 1.2 v2 from production
    assign k4 1.2 v2 from production
    assign k5 1.2 v2 from production
    ");
    assert_eq!(world.pass(), "nothing");
}

#[test]
fn a_rewritten_branch_is_held() {
    let mut world = World::with_devices("a");
    world.push("production", 1, "a:production:v1");
    assert_snapshot!(world.push_desired("production", 2, desired("a:production:v2"), Lineage::Rewrites), @"hold production: the branch was rewritten: it no longer contains 00000000");
    assert_eq!(world.place("a"), "1.1 v1 from production");
    assert_snapshot!(world.approve("production"), @r"
    approval gone
    accept production 0002
    assign a 1.2 v2 from production
    ");
}

#[test]
fn a_device_chooses_only_among_what_the_stage_allows() {
    let mut world = World::with_devices("board");
    for (number, on) in [(1, "main"), (2, "canary"), (3, "production")] {
        world.push(on, number, &format!("board:device:{on}"));
    }
    assert_snapshot!(world.waits("board"), @"branch-not-chosen: the device may choose among main, canary, and has chosen none");
    world.report_with("board", |report| report.branch = Some(stage("production")));
    assert_eq!(world.pass(), "nothing");
    world.report_with("board", |report| report.branch = Some(stage("main")));
    assert_snapshot!(world.pass(), @r"
    control board claims [main]
    assign board 1.1 main from main
    ");
    world.report_with("board", |report| report.branch = Some(stage("canary")));
    assert_snapshot!(world.pass(), @r"
    control board claims [canary]
    assign board 1.2 canary from canary
    ");
}

#[test]
fn a_held_device_gets_nothing_new_until_it_is_resumed() {
    let mut world = World::with_devices("a");
    world.push("production", 1, "a:production:v1");
    let scope = HoldScope::Device(device("a"));
    let names = [stage("production")];
    let until = Some(world.now.plus_secs(3600));
    let held = hold(&world.state, &names, &scope, "on exhibition", until, &world.acting()).unwrap();
    world.apply(&held);
    assert_snapshot!(world.push("production", 2, "a:production:v2"), @"accept production 0002");
    assert_snapshot!(world.waits("a"), @r"
    held: held (device a) by ada until 1970-01-01T01:00:02Z: on exhibition
    unreported: the device has not reported yet
    ");
    let resumed = resume(&world.state, &scope, &world.acting()).unwrap();
    world.apply(&resumed);
    assert_snapshot!(world.pass(), @"assign a 1.2 v2 from production");
    // A hold that ends by itself needs nobody.
    world.apply(&held);
    world.push("production", 3, "a:production:v3");
    world.now = world.now.plus_secs(7200);
    assert_snapshot!(world.pass(), @"assign a 1.3 v3 from production");
}

#[test]
fn a_restored_older_database_learns_the_floor_from_the_device() {
    let mut world = World::with_devices("a");
    world.push("production", 1, "a:production:v1");
    let backup = world.state.clone();
    for number in 2..5 {
        world.push("production", number, &format!("a:production:v{number}"));
    }
    assert_eq!(world.place("a"), "1.4 v4 from production");
    // The backup comes back: generation 1, while the device has 4.
    world.restore(backup);
    world.views.get_mut("production").unwrap().accepted = None;
    assert_snapshot!(world.push("production", 4, "a:production:v4"), @r"
    accept production 0004
    assign a 1.2 v4 from production
    ");
    assert_snapshot!(world.reports("a", 4, "v4"), @r"
    control a claims [production] floor 1.4
    assign a 1.5 v4 from production
    ");
    // Its answer to the new place ends the recovery.
    let place = world.state.devices["a"].assignment.as_ref().unwrap().order.generation.value();
    assert_snapshot!(world.reports("a", place, "v4"), @"control a claims [production] floor 1.4");
    assert_eq!(world.pass(), "nothing");
}

#[test]
fn a_device_that_stays_ahead_or_is_far_ahead_is_left_to_a_person() {
    let mut world = World::with_devices("a far");
    world.push("production", 1, "a:production:v1 far:production:v1");
    for lead in 1..=3u64 {
        let place = world.state.devices["a"].assignment.as_ref().unwrap().order.generation.value();
        world.reports("a", place + lead, "foreign");
    }
    let place = world.state.devices["a"].assignment.as_ref().unwrap().order.generation.value();
    assert_snapshot!(world.reports("a", place + 1, "foreign"), @"control a claims [production] floor 1.9 conflict: the device was ahead again after 3 re-issues: does another controller speak to it?");
    assert_snapshot!(world.reports("far", 20_000, "v1"), @"control far claims [production] conflict: the device is 19999 generations ahead; at most 10000 are believed");
    assert_eq!(world.pass(), "nothing");
    assert_snapshot!(world.waits("far"), @r"
    conflict: the device is 19999 generations ahead; at most 10000 are believed
    not-acknowledged: assigned 1.1, not yet acknowledged by the device
    ");
    let resumed = resume(&world.state, &HoldScope::Device(device("far")), &world.acting()).unwrap();
    world.apply(&resumed);
    assert_snapshot!(world.pass(), @r"
    control far claims [production] floor 1.20000
    assign far 1.20001 v1 from production
    ");
}

#[test]
fn a_newer_epoch_that_a_person_believed_is_not_asked_again() {
    let mut world = World::with_devices("a");
    world.push("production", 1, "a:production:v1");
    let order = Order { epoch: Epoch::new(2).unwrap(), generation: Generation::new(7).unwrap() };
    world.report_with("a", |report| report.observed = Some(Mark { order, digest: content("v0").digest }));
    assert_snapshot!(world.pass(), @"control a claims [production] conflict: the device has an assignment of epoch 2, this controller is in epoch 1");
    let resumed = resume(&world.state, &HoldScope::Device(device("a")), &world.acting()).unwrap();
    world.apply(&resumed);
    assert_snapshot!(world.pass(), @r"
    control a claims [production] floor 2.7
    assign a 2.8 v1 from production
    ");
    assert_eq!(world.pass(), "nothing");
}

#[test]
fn the_same_place_with_other_content_is_issued_again() {
    let mut world = World::with_devices("a");
    world.push("production", 1, "a:production:v1");
    assert_snapshot!(world.reports("a", 1, "foreign"), @r"
    control a claims [production] floor 1.1
    assign a 1.2 v1 from production
    ");
}

#[test]
fn a_view_that_is_older_than_the_state_brings_no_old_content_back() {
    let mut world = World::with_devices("a");
    world.push("production", 1, "a:production:v1");
    let late = world.views.clone();
    world.push("production", 2, "a:production:v2");
    world.views = late;
    assert_eq!(world.pass(), "nothing");
    assert_eq!(world.place("a"), "1.2 v2 from production");
}
