//! Devices that failed are led through another release by hand.

use super::ways::{STEPS, commit, files, on_the_first};
use super::*;
use crate::domain::desired::{InventorySource, Resolver, SecretTable};
use crate::domain::fleet::Revision;
use crate::domain::plan::rollouts::{DraftSteps, NewDraft};
use crate::domain::snapshot::Snapshot;

const RELEASES: &str = "1.0.0 1.5.0 1.8.0! 1.9.0 2.0.0 2.1.0? 2.2.0<^2";

impl World {
    /// Somebody asks that all that failed, or these, go through a release of `web`.
    fn reroute(&mut self, devices: &[&str], via: &str, pin: &str) -> String {
        self.reroute_in("main-00000000", devices, via, &files(pin, RELEASES, STEPS))
    }

    /// The same in any rollout, whose commit has these files.
    fn reroute_in(&mut self, rollout: &str, devices: &[&str], via: &str, files: &Snapshot) -> String {
        let name: RolloutName = rollout.parse().expect("a name");
        let which = match devices {
            [] => Which::Failed,
            some => Which::Devices(some.iter().map(|name| device(name)).collect()),
        };
        let known = self.state.rollouts[&name].members.keys().cloned().collect();
        let (app, release) = ("web".parse().expect("an app"), via.parse().expect("a version"));
        let (source, secrets) = (InventorySource::Repo, SecretTable::Unasked);
        let variant = match Resolver::default().variant(files, &source, &secrets, (&app, &release), &known) {
            Ok(variant) => variant,
            Err(error) => return error.to_string(),
        };
        let input = PassInput {
            now: self.now,
            stages: &self.stages,
            state: &self.state,
            views: &self.views,
            contacts: &NoContacts,
        };
        let actor = Actor::new("ada").expect("an actor");
        match Passes::default().reroute(&input, &name, (&which, &variant), &actor, "the database moves first") {
            Ok(changes) => {
                self.apply(&changes);
                self.pass();
                self.on_the_way()
            }
            Err(error) => error.to_string(),
        }
    }
}

#[test]
fn what_failed_goes_through_another_release_and_then_gets_the_same_again() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.0.0", RELEASES, STEPS), Lineage::Extends);
    world.goes_back("canary");
    insta::assert_snapshot!(world.reroute(&[], "1.9.0", "2.0.0"), @"
    main-00000000 ACTIVE
    canary 1.3: 1.9.0, OFFERED, 1 to go first
    kiosk-1 1.1: 1.0.0, QUEUED, 0 to go first
    kiosk-2 1.1: 1.0.0, QUEUED, 0 to go first
    ");
    // Nothing is forgotten when the controller starts again.
    let mut world = world.clone();
    world.is_well("canary");
    world.later(300);
    insta::assert_snapshot!(world.on_the_way(), @"
    main-00000000 ACTIVE
    canary 1.3: 1.9.0, IN_PROGRESS, 1 to go first
    kiosk-1 1.1: 1.0.0, QUEUED, 0 to go first
    kiosk-2 1.1: 1.0.0, QUEUED, 0 to go first
    ");
    world.report_with("canary", |_| {});
    world.later(301);
    insta::assert_snapshot!(world.on_the_way(), @"
    main-00000000 ACTIVE
    canary 1.4: 2.0.0, OFFERED, 0 to go first
    kiosk-1 1.1: 1.0.0, QUEUED, 0 to go first
    kiosk-2 1.1: 1.0.0, QUEUED, 0 to go first
    ");
    world.is_well("canary");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(601);
    insta::assert_snapshot!(world.on_the_way(), @"
    main-00000000 ACTIVE
    canary 1.4: 2.0.0, SUCCEEDED, 0 to go first
    kiosk-1 1.2: 2.0.0, OFFERED, 0 to go first
    kiosk-2 1.2: 2.0.0, OFFERED, 0 to go first
    ");
}

#[test]
fn nobody_is_led_where_it_makes_no_sense() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.0.0", RELEASES, STEPS), Lineage::Extends);
    world.goes_back("canary");
    let cases: [(&[&str], &str); 6] = [
        (&["kiosk-1"], "1.9.0"),
        (&["nobody"], "1.9.0"),
        (&[], "1.7.0"),
        (&[], "1.8.0"),
        (&[], "2.0.0"),
        (&[], "2.2.0"),
    ];
    let told = cases.map(|(devices, via)| format!("{devices:?} {via}: {}", world.reroute(devices, via, "2.0.0")));
    insta::assert_snapshot!(told.join("\n"), @r#"
    ["kiosk-1"] 1.9.0: kiosk-1 has not failed in this rollout
    ["nobody"] 1.9.0: nobody has not failed in this rollout
    [] 1.7.0: the commit has no release 1.7.0 of `web`; its newest are 2.2.0, 2.1.0, 2.0.0, 1.9.0, 1.8.0
    [] 1.8.0: release 1.8.0 of `web` was invalidated: bad
    [] 2.0.0: canary cannot go through 2.0.0 of `web`: that is the release that it shall have; `rollout retry` offers it again
    [] 2.2.0: canary cannot go through 2.2.0 of `web`: release 2.1.0 is irreversible, and 2.0.0, which it shall have, lies before it
    "#);
}

#[test]
fn nobody_is_led_back_before_an_irreversible_release() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.1.0", RELEASES, STEPS), Lineage::Extends);
    let tried = world.state.devices["canary"].assignment.clone().expect("something is assigned").spec.digest;
    world.goes_back("canary");
    let mut it_stayed = world.clone();
    insta::assert_snapshot!(world.reroute(&[], "1.9.0", "2.1.0"), @"
    main-00000000 ACTIVE
    canary 1.3: 1.9.0, OFFERED, 1 to go first
    kiosk-1 1.1: 1.0.0, QUEUED, 0 to go first
    kiosk-2 1.1: 1.0.0, QUEUED, 0 to go first
    ");
    it_stayed.report_with("canary", |report| report.applied = Some(tried));
    insta::assert_snapshot!(it_stayed.reroute(&[], "1.9.0", "2.1.0"), @"canary cannot go through 1.9.0 of `web`: release 2.1.0 is irreversible, and the device has or had it: nobody goes back before it");
}

#[test]
fn a_draft_is_rerouted_by_what_its_own_commit_says_and_not_by_the_one_that_counts() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.0.0", "1.0.0 1.9.0 2.0.0", ""), Lineage::Extends);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.is_well(name);
    }
    let releases = "1.0.0 1.9.0 2.0.0 2.5.0 3.0.0<2.0.0,2.5.0";
    let draft = NewDraft {
        name: "try".parse().expect("a name"),
        stage: "main".parse().expect("a stage"),
        branch: "draft/try".parse().expect("a branch"),
        commit: commit_id(900),
        base: Revision { commit: commit_id(2), inventory: None },
        desired: Arc::new(commit("3.0.0", releases, "")),
        devices: "true".to_owned(),
        steps: DraftSteps::Own(Vec::new()),
        change: "pin web=3.0.0".to_owned(),
    };
    let actor = Actor::new("ada").expect("an actor");
    let input = PassInput {
        now: world.now,
        stages: &world.stages,
        state: &world.state,
        views: &world.views,
        contacts: &NoContacts,
    };
    let drafted = Passes::default().draft(&input, &draft, &actor, "to try it").expect("a draft");
    world.apply(&drafted);
    world.ask("try", Act::Activate);
    world.goes_back("canary");
    let files = files("3.0.0", releases, "");
    // What counts is reached from everywhere; what the draft brings is not.
    insta::assert_snapshot!(world.reroute_in("try", &[], "1.9.0", &files), @"canary cannot go through 1.9.0 of `web`: what it shall have is reached from 2.0.0, 2.5.0 only");
    insta::assert_snapshot!(world.reroute_in("try", &[], "2.5.0", &files), @r#"
    try ACTIVE
    canary 1.4: 2.5.0, OFFERED, 1 to go first
    kiosk-1 1.3: 3.0.0, OFFERED, 0 to go first
    kiosk-2 1.3: 3.0.0, OFFERED, 0 to go first
    "#);
}
