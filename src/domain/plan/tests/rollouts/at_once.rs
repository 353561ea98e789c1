//! Policies and drafts that reach many before anything is learned from anybody.

use super::*;
use crate::domain::rollout::ready::Ready;

/// A plan of a commit that changes ten kiosks and follows these steps: what a person must approve.
fn held(steps: &str) -> String {
    let names: Vec<String> = (0..10).map(|number| format!("kiosk-{number}")).collect();
    let fleet = |version: &str| {
        let words: Vec<String> = names.iter().map(|name| format!("{name}:main:{version}")).collect();
        super::super::world::desired(&words.join(" "))
    };
    let mut world = World::with_devices(&names.join(" "));
    world.push_desired("main", 1, fleet("v1"), Lineage::Extends);
    let mut desired = fleet("v2");
    let policy = format!("rollouts: {{own: {steps}}}\nrollout: [{{stage: main, policy: own}}]\n");
    let file = FleetFile::read(&Arc::from("fleet.yml"), policy.as_bytes());
    assert_eq!(file.findings, [], "the policy is right");
    desired.rollouts = file.rollouts;
    for listed in desired.devices.values_mut() {
        Arc::make_mut(listed).groups = BTreeSet::from(["kiosks".to_owned()]);
    }
    let canary = desired.devices.get_mut(&device("kiosk-0")).expect("it is listed");
    Arc::make_mut(canary).groups.insert("canaries".to_owned());
    let head = Head { commit: commit_id(9), tree: commit_id(1009) };
    let base = world.state.stages["main"].counts();
    let candidate = Candidate { head, inventory: None, desired: Arc::new(desired), base, lineage: Lineage::Extends };
    let (stages, state, accepted) = (&world.stages, &world.state, Default::default());
    let plan = plan_stage(&PlanInput { policy: &stages[0], stages, state, accepted: &accepted, candidate: &candidate });
    plan.held.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_reaches_many_at_once_is_told_by_how_many_they_are() {
    let cases = [
        "{}",
        "{steps: [{name: all, filter: 'device != \"\"'}]}",
        "{steps: [{name: kiosks, group: kiosks}]}",
        "{steps: [{name: most, take: 60%}]}",
        "{steps: [{name: nobody, group: none, allow_empty: true}]}",
        "{steps: [{name: kiosks, group: kiosks, window: 1h}]}",
        "{steps: [{name: kiosks, group: kiosks, rate: {per_minute: 4}}]}",
        "{steps: [{name: kiosks, group: kiosks, approvals: 1}]}",
        "{steps: [{name: canaries, group: canaries}]}",
        "{steps: [{name: half, take: 50%}]}",
        "{steps: [{name: nobody, group: none}]}",
        "{budgets: [{label: site, max_unavailable: 1}]}",
    ];
    let told = cases.map(|steps| {
        let held = held(steps);
        format!("{steps}\n  {}", if held.is_empty() { "counts" } else { &held })
    });
    insta::assert_snapshot!(told.join("\n"), @r#"
    {}
      10 devices would get other content at once; 5 may without a rollout
    {steps: [{name: all, filter: 'device != ""'}]}
      10 devices would get other content at once; 5 may without a rollout
    {steps: [{name: kiosks, group: kiosks}]}
      10 devices would get other content at once; 5 may without a rollout
    {steps: [{name: most, take: 60%}]}
      6 devices would get other content at once; 5 may without a rollout
    {steps: [{name: nobody, group: none, allow_empty: true}]}
      10 devices would get other content at once; 5 may without a rollout
    {steps: [{name: kiosks, group: kiosks, window: 1h}]}
      counts
    {steps: [{name: kiosks, group: kiosks, rate: {per_minute: 4}}]}
      counts
    {steps: [{name: kiosks, group: kiosks, approvals: 1}]}
      counts
    {steps: [{name: canaries, group: canaries}]}
      counts
    {steps: [{name: half, take: 50%}]}
      counts
    {steps: [{name: nobody, group: none}]}
      counts
    {budgets: [{label: site, max_unavailable: 1}]}
      counts
    "#);
}

#[test]
fn the_ready_policies_hold_everybody_back_but_one() {
    let at_once = Ready::ALL.map(|ready| {
        let policy = ready.policy();
        let members: Vec<u32> =
            (0..policy.count()).map(|step| if step + 1 == policy.count() { 990 } else { 10 }).collect();
        format!("{}: {} of 1000", ready.name(), policy.at_once(&members))
    });
    insta::assert_snapshot!(at_once.join("\n"), @r#"
    immediate: 990 of 1000
    cautious: 0 of 1000
    canary-first: 10 of 1000
    weekend: 0 of 1000
    "#);
}
