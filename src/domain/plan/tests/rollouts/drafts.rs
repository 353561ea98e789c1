//! Rollouts that somebody drafts by hand.

use super::*;
use crate::domain::fleet::Revision;
use crate::domain::plan::rollouts::{DraftSteps, NewDraft, RolloutActError, RolloutAsked};
use crate::domain::rollout::policy::{Selector, StepPolicy};

/// A branch on which `kiosk-1` and `kiosk-2` have v2.
const BRANCH: &str = "canary:main:v1 kiosk-1:main:v2 kiosk-2:main:v2";
const KIOSKS: &str = "device.startsWith(\"kiosk\")";

impl World {
    fn drafts(&mut self, name: &str, base: u32, branch: &str, devices: &str, steps: DraftSteps) -> String {
        let draft = NewDraft {
            name: name.parse().expect("a name"),
            stage: "main".parse().expect("a stage"),
            branch: format!("draft/{name}").parse().expect("a branch"),
            commit: commit_id(900),
            base: Revision { commit: commit_id(base), inventory: None },
            desired: Arc::new(desired(branch)),
            devices: devices.to_owned(),
            steps,
            change: "pin os=v2".to_owned(),
        };
        self.asks(|passes, input, actor| passes.draft(input, &draft, actor, "to try it"))
    }

    fn asks(
        &mut self,
        ask: impl FnOnce(&mut Passes, &PassInput<'_>, &Actor) -> Result<Vec<Change>, RolloutActError>,
    ) -> String {
        let mut passes = Passes::default();
        let input = PassInput {
            now: self.now,
            stages: &self.stages,
            state: &self.state,
            views: &self.views,
            contacts: &NoContacts,
        };
        match ask(&mut passes, &input, &Actor::new("ada").expect("an actor")) {
            Ok(changes) => {
                self.apply(&changes);
                self.pass();
                self.stands()
            }
            Err(error) => error.to_string(),
        }
    }

    fn asked(&mut self, name: &str, asked: impl Into<RolloutAsked>) -> String {
        let (name, asked): (RolloutName, RolloutAsked) = (name.parse().expect("a name"), asked.into());
        self.asks(|passes, input, actor| passes.act(input, &name, asked, actor, "because"))
    }
}

/// One of them first.
fn one_first() -> DraftSteps {
    let mut step = StepPolicy::with_defaults("one", Selector::Filter("device == \"kiosk-1\"".to_owned()));
    step.soak_secs = 60;
    DraftSteps::Own(vec![step])
}

fn activated() -> World {
    let mut world = running();
    world.drafts("try", 1, BRANCH, KIOSKS, one_first());
    world.asked("try", Act::Activate);
    world
}

fn done() -> World {
    let mut world = activated();
    for name in ["kiosk-1", "kiosk-2"] {
        world.is_well(name);
        world.report_with("kiosk-2", |_| {});
        world.later(61);
    }
    world
}

#[test]
fn a_draft_does_nothing_until_it_is_activated_and_then_goes_step_by_step() {
    let mut world = running();
    insta::assert_snapshot!(world.drafts("try", 1, BRANCH, KIOSKS, one_first()), @"
    try DRAFT (QUEUED, QUEUED)
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.1 v1 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    world.later(86_400);
    assert_eq!(world.pass(), "nothing");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    insta::assert_snapshot!(world.asked("try", Act::Activate), @"
    try ACTIVE (RUNNING, QUEUED)
      kiosk-1 OFFERED
      kiosk-2 QUEUED
    canary: 1.1 v1 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.1 v1 from main
    ");
    insta::assert_snapshot!(done().stands(), @"
    try DONE (PASSED, PASSED)
      kiosk-1 SUCCEEDED
      kiosk-2 SUCCEEDED
    canary: 1.1 v1 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
}

#[test]
fn what_a_draft_gave_stays_until_the_stage_goes_on_without_it() {
    let mut world = done();
    world.later(86_400);
    assert_eq!(world.pass(), "nothing", "the reconciler does not fight it");
    let mut merged = world.clone();
    merged.push("main", 2, BRANCH);
    insta::assert_snapshot!(merged.stands(), @"
    try DONE (PASSED, PASSED)
      kiosk-1 SUCCEEDED
      kiosk-2 SUCCEEDED
    canary: 1.1 v1 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
    world.push("main", 2, "canary:main:v3 kiosk-1:main:v1 kiosk-2:main:v1");
    insta::assert_snapshot!(world.stands(), @"
    try DONE (PASSED, PASSED)
      kiosk-1 SUCCEEDED
      kiosk-2 SUCCEEDED
    canary: 1.2 v3 from main
    kiosk-1: 1.3 v1 from main
    kiosk-2: 1.3 v1 from main
    ");
}

#[test]
fn a_draft_that_fails_or_is_aborted_is_not_fought_either() {
    let mut world = activated();
    world.goes_back("kiosk-1");
    insta::assert_snapshot!(world.stands(), @"
    try ERROR (FAILED, QUEUED)
      kiosk-1 ROLLED_BACK
      kiosk-2 QUEUED
    canary: 1.1 v1 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.1 v1 from main
    ");
    assert_eq!(world.later(3600), "nothing");
    insta::assert_snapshot!(world.asked("try", Act::Rollback), @"
    try ROLLING_BACK (FAILED, QUEUED)
      kiosk-1 ROLLED_BACK, back: Offered
      kiosk-2 CANCELED
    canary: 1.1 v1 from main
    kiosk-1: 1.3 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    let mut world = activated();
    world.is_well("kiosk-1");
    insta::assert_snapshot!(world.asked("try", Act::Abort), @"
    try ABORTED (SOAKING, QUEUED)
      kiosk-1 IN_PROGRESS
      kiosk-2 CANCELED
    canary: 1.1 v1 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.1 v1 from main
    ");
    world.later(86_400);
    assert_eq!(world.pass(), "nothing");
}

#[test]
fn a_commit_of_the_stage_takes_the_place_of_a_draft() {
    let mut world = activated();
    world.push("main", 2, "canary:main:v3 kiosk-1:main:v3 kiosk-2:main:v3");
    world.is_well("kiosk-1");
    world.later(61);
    world.later(61);
    insta::assert_snapshot!(world.stands(), @"
    try SUPERSEDED (PASSED, QUEUED)
      kiosk-1 SUCCEEDED
      kiosk-2 SUPERSEDED
    canary: 1.2 v3 from main
    kiosk-1: 1.3 v3 from main
    kiosk-2: 1.2 v3 from main
    ");
}

#[test]
fn a_draft_that_would_do_more_than_it_says_is_refused() {
    let policy = |name: &str| DraftSteps::Policy(name.parse().expect("a name"));
    let cases = [
        ("more than its devices", 1, "canary:main:v2 kiosk-1:main:v2 kiosk-2:main:v1", KIOSKS, "cautious"),
        ("another base", 7, BRANCH, KIOSKS, "cautious"),
        ("no such policy", 1, BRANCH, KIOSKS, "careful"),
        ("no filter", 1, BRANCH, "device ==", "cautious"),
        ("nothing", 1, "canary:main:v1 kiosk-1:main:v1 kiosk-2:main:v1", KIOSKS, "cautious"),
        ("fewer devices", 1, "kiosk-1:main:v2 kiosk-2:main:v2", KIOSKS, "cautious"),
        ("another stage", 1, "canary:main:v1 kiosk-1:production:v2 kiosk-2:main:v1", KIOSKS, "cautious"),
        ("broken", 1, "canary:main:v1 kiosk-1:main:! kiosk-2:main:v1", KIOSKS, "cautious"),
    ];
    let told = cases.map(|(what, base, branch, devices, name)| {
        format!("{what}: {}", running().drafts("try", base, branch, devices, policy(name)))
    });
    let mut told = told.to_vec();
    let mut world = activated();
    told.push(format!("the name: {}", world.drafts("try", 1, BRANCH, KIOSKS, policy("cautious"))));
    told.push(format!("busy devices: {}", world.drafts("again", 1, BRANCH, KIOSKS, policy("cautious"))));
    told.push(format!("deleting it: {}", world.asked("try", RolloutAsked::Delete)));
    told.push(format!("another step: {}", world.asked("try", Act::DeleteStep { at: 0 })));
    let mut world = running();
    world.drafts("try", 1, BRANCH, KIOSKS, one_first());
    world.push("main", 2, "canary:main:v3 kiosk-1:main:v1 kiosk-2:main:v1");
    told.push(format!("what moved on: {}", world.asked("try", Act::Activate)));
    world.asked("try", RolloutAsked::Delete);
    told.push(format!("{} are left", world.state.rollouts.len()));
    insta::assert_snapshot!(told.join("\n"), @"
    more than its devices: the branch also changes canary: after it is merged they would get it without having been in the rollout
    another base: stage main is at commit 00000000 by now, and the draft was made from 00000000
    no such policy: fleet.yml has no rollout policy `careful`, and there is no ready one of that name
    no filter: the filter cannot be used: the filter ends before it is complete
    nothing: no device that the filter means changes
    fewer devices: the branch changes more than what devices have: it does not list canary any more
    another stage: the branch changes more than what devices have: it changes the branch that kiosk-1 follows
    broken: the branch cannot be used: kiosk-1: host_vars does not parse
    the name: there is a rollout try already
    busy devices: kiosk-1 is part of rollout try, which is ACTIVE
    deleting it: a rollout that is ACTIVE cannot be deleted; only a DRAFT can
    another step: a rollout that is ACTIVE cannot be changed; it must be DRAFT
    what moved on: stage main is at commit 00000000 by now, and the draft was made from 00000000
    0 are left
    ");
}

#[test]
fn a_draft_without_steps_reaches_no_more_than_may_change_at_once() {
    let names: Vec<String> = (1..=9).map(|number| format!("kiosk-{number}")).collect();
    let all = |version: &str| {
        let words: Vec<String> = names.iter().map(|name| format!("{name}:main:{version}")).collect();
        format!("canary:main:v1 {}", words.join(" "))
    };
    let mut world = World::with_devices(&format!("canary {}", names.join(" ")));
    world.push("main", 1, &all("v1"));
    world.drafts("try", 1, &all("v2"), KIOSKS, DraftSteps::Own(Vec::new()));
    insta::assert_snapshot!(world.asked("try", Act::Activate), @"nothing holds it back, and 9 devices would change at once; 5 may");
    // A step that takes in everybody at once is none.
    let step = StepPolicy::with_defaults("one", Selector::All);
    world.asked("try", Act::AddStep { at: 0, step: Box::new(step.clone()) });
    insta::assert_snapshot!(world.asked("try", Act::Activate), @"nothing holds it back, and 9 devices would change at once; 5 may");
    world.asked("try", Act::DeleteStep { at: 0 });
    world.asked("try", Act::AddStep { at: 0, step: Box::new(StepPolicy { window_secs: 600, ..step }) });
    assert!(world.asked("try", Act::Activate).starts_with("try ACTIVE"), "{}", world.stands());
}
