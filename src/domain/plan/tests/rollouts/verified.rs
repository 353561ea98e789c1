//! Stages that take only what has finished in the stage before.

use super::super::super::gate::Lineage;
use super::super::super::pass::show_waiting;
use super::super::super::policy::Promotion;
use super::super::world::{World, commit_id, desired, device, stage};
use super::{CAREFUL, FLEET};
use crate::domain::desired::Desired;
use crate::domain::fleet::{Change, Hold, HoldScope, TreeOutcome};
use crate::domain::ids::Actor;
use crate::domain::manifest::fleet_file::FleetFile;
use insta::assert_snapshot;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Production takes only what has finished in canary.
fn verified(devices: &str) -> World {
    let mut world = World::with_devices(devices);
    world.stages[2].promotion = Promotion::Verified;
    world
}

impl World {
    /// A commit with the tree of another one: what merging or squashing a promotion makes.
    fn merge(&mut self, on: &str, number: u32, tree_of: u32, text: &str) -> String {
        self.merge_desired(on, number, tree_of, desired(text))
    }

    fn merge_desired(&mut self, on: &str, number: u32, tree_of: u32, desired: Desired) -> String {
        self.arrives(on, number, desired, Lineage::Extends);
        let candidate = self.views.get_mut(on).and_then(|view| view.candidate.as_mut()).expect("it has just arrived");
        candidate.head.tree = commit_id(tree_of + 1000);
        self.pass()
    }

    /// What became of the trees of a stage, a word each, the newest last.
    fn trees(&self, on: &str) -> String {
        let outcome = |outcome: &TreeOutcome| match outcome {
            TreeOutcome::Trying => "trying".to_owned(),
            TreeOutcome::Finished { exercised, .. } => format!("finished on {exercised}"),
            TreeOutcome::WentWrong { .. } => "went wrong".to_owned(),
        };
        let trees = self.state.stages[on].trees.iter();
        trees
            .map(|one| format!("{}: {}", &one.tree.as_str()[36..], outcome(&one.outcome)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn settles(&mut self, name: &str) -> String {
        self.is_well(name)
    }
}

const BOTH: &str = "c1:canary:V c2:canary:V p1:production:V";

fn both(version: &str) -> String {
    BOTH.replace('V', version)
}

#[test]
fn what_has_finished_in_the_stage_before_counts_and_nothing_else_does() {
    let mut world = verified("c1 c2 p1");
    world.push("canary", 1, &both("v1"));
    // Nothing has been heard of one device.
    world.settles("c1");
    assert_eq!(world.trees("canary"), "03e9: trying");
    assert_snapshot!(world.merge("production", 2, 1, &both("v1")), @"hold production: its tree has not finished in canary yet");
    assert_snapshot!(world.settles("c2"), @r"
    accept canary 0001
    accept production 0002
    control p1 claims [production]
    assign p1 1.1 v1 from production
    ");
    assert_eq!(world.trees("canary"), "03e9: finished on 2");

    // An edit on the way, or a rebase onto something else, makes another tree.
    world.push("canary", 3, &both("v2"));
    world.settles("c1");
    world.settles("c2");
    assert_snapshot!(world.push("production", 4, &both("v2")), @"hold production: its tree was never what counted in canary; merge or squash what `bellwether promote` opens, which has exactly such a tree");
    assert_snapshot!(world.merge("production", 5, 3, &both("v2")), @r"
    accept production 0005
    assign p1 1.2 v2 from production
    ");
    // Somebody can take it upon them.
    world.push("production", 6, &both("v3"));
    assert_snapshot!(world.approve("production"), @r"
    approval gone
    accept production 0006
    assign p1 1.3 v3 from production
    ");
    assert_eq!(world.pass(), "nothing");
}

#[test]
fn a_commit_that_changes_no_device_has_finished_and_says_so() {
    let mut world = verified("c1 c2 p1");
    world.push("canary", 1, &both("v1"));
    world.settles("c1");
    world.settles("c2");
    world.push("canary", 2, &both("v1"));
    assert_eq!(world.trees("canary"), "03e9: finished on 2, 03ea: finished on 0");
    assert_snapshot!(world.merge("production", 3, 2, &both("v1")), @r"
    accept production 0003
    control p1 claims [production]
    assign p1 1.1 v1 from production
    ");
}

#[test]
fn what_an_earlier_commit_left_unfinished_is_waited_for() {
    let mut world = verified("c1 c2 p1");
    world.push("canary", 1, &both("v1"));
    world.settles("c1");
    // The same content again: it has not been seen to be well.
    world.push("canary", 2, &both("v1"));
    assert_eq!(world.trees("canary"), "03e9: trying, 03ea: trying");
    world.settles("c2");
    assert_eq!(world.trees("canary"), "03e9: trying, 03ea: finished on 2");
}

#[test]
fn a_stage_goes_back_to_what_it_had_without_asking_the_stage_before() {
    let mut world = verified("c1 c2 p1");
    for (number, version) in [(1, "v1"), (3, "v2")] {
        world.push("canary", number, &both(version));
        world.settles("c1");
        world.settles("c2");
        world.merge("production", number + 1, number, &both(version));
        world.settles("p1");
    }
    assert_eq!(world.trees("production"), "03e9: finished on 1, 03eb: finished on 1");
    // Canary is somewhere else by now, and has not finished.
    world.push("canary", 5, &both("v3"));
    assert_snapshot!(world.merge("production", 6, 1, &both("v1")), @r"
    accept production 0006
    assign p1 1.3 v1 from production
    ");
    // And on again to what canary had finished.
    assert_snapshot!(world.merge("production", 7, 3, &both("v2")), @r"
    accept production 0007
    assign p1 1.4 v2 from production
    ");
}

#[test]
fn what_is_held_everywhere_was_tried_nowhere() {
    let mut world = verified("c1 c2 p1");
    world.push("canary", 1, &both("v1"));
    world.settles("c1");
    world.settles("c2");
    let hold = Hold { reason: "fair".to_owned(), actor: Actor::new("ada").unwrap(), since: world.now, until: None };
    world.apply(&[Change::Hold(HoldScope::Stage(stage("canary")), hold)]);
    world.push("canary", 2, &both("v2"));
    assert_eq!(world.trees("canary"), "03e9: finished on 2, 03ea: trying");
    world.apply(&[Change::HoldGone(HoldScope::Stage(stage("canary")))]);
    world.pass();
    world.settles("c1");
    world.settles("c2");
    assert_eq!(world.trees("canary"), "03e9: finished on 2, 03ea: finished on 2");
    // One that is held does not keep the others from speaking.
    let hold = Hold { reason: "lab".to_owned(), actor: Actor::new("ada").unwrap(), since: world.now, until: None };
    world.apply(&[Change::Hold(HoldScope::Device(device("c2")), hold)]);
    world.push("canary", 3, &both("v3"));
    world.settles("c1");
    assert_eq!(world.trees("canary"), "03e9: finished on 2, 03ea: finished on 2, 03eb: finished on 1");
}

/// What a canary and kiosks of the stage before production get, the canary first.
fn by_rollout(version: &str) -> Desired {
    let mut desired = desired(&FLEET.replace(":main:", ":canary:").replace('V', version));
    let policy = CAREFUL.replace("stage: main", "stage: canary");
    desired.rollouts = FleetFile::read(&Arc::from("fleet.yml"), policy.as_bytes()).rollouts;
    let canary = Arc::make_mut(desired.devices.get_mut(&device("canary")).expect("it is listed"));
    canary.groups = BTreeSet::from(["canaries".to_owned()]);
    desired
}

#[test]
fn rollouts_say_what_has_finished_and_what_went_wrong() {
    let mut world = verified("canary kiosk-1 kiosk-2");
    world.push("canary", 1, &FLEET.replace(":main:", ":canary:").replace('V', "v1"));
    let goes_through = |world: &mut World| {
        world.settles("canary");
        world.later(300);
        ["kiosk-1", "kiosk-2"].iter().for_each(|name| world.report_with(name, |_| {}));
        world.later(301);
        ["kiosk-1", "kiosk-2"].iter().for_each(|name| _ = world.settles(name));
        world.later(61);
    };
    ["canary", "kiosk-1", "kiosk-2"].iter().for_each(|name| _ = world.settles(name));
    assert_eq!(world.trees("canary"), "03e9: finished on 3");
    world.push_desired("canary", 2, by_rollout("v2"), Lineage::Extends);
    goes_through(&mut world);
    assert_eq!(world.trees("canary"), "03e9: finished on 3, 03ea: finished on 3");
    world.push_desired("canary", 3, by_rollout("v3"), Lineage::Extends);
    assert_snapshot!(world.merge("production", 4, 3, "p:production:v3"), @"hold production: its tree has not finished in canary yet");
    world.goes_back("canary");
    assert_eq!(world.trees("canary"), "03e9: finished on 3, 03ea: finished on 3, 03eb: went wrong");
    let waits = world.state.stages["production"].waiting.clone().map(|waiting| show_waiting(&waiting.why));
    assert_eq!(waits.as_deref(), Some("its tree went wrong in canary"));
    // The same again beside something that changes no device: what is kept back has not been tried.
    let mut tagged = by_rollout("v3");
    for device in ["canary", "kiosk-1", "kiosk-2"].map(device) {
        let one = Arc::make_mut(tagged.devices.get_mut(&device).unwrap());
        one.tags = [("tried".to_owned(), "again".to_owned())].into();
    }
    world.push_desired("canary", 5, tagged, Lineage::Extends);
    goes_through(&mut world);
    assert_eq!(world.trees("canary"), "03e9: finished on 3, 03ea: finished on 3, 03eb: went wrong, 03ed: trying");
    let stages: BTreeSet<_> = world.state.stages.keys().map(|stage| stage.as_str()).collect();
    assert_eq!(stages, BTreeSet::from(["canary", "production"]));
}

#[test]
fn stages_that_ask_for_nothing_write_nothing_of_it() {
    let mut world = World::with_devices("c1 c2 p1");
    world.push("canary", 1, &both("v1"));
    world.settles("c1");
    assert_eq!(world.settles("c2"), "nothing");
    assert_eq!(world.trees("canary"), "03e9: trying");
}
