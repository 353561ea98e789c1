//! What people see of a simulation, and that it is the same every time.

use super::*;
use crate::cli::render::bare;
use crate::cli::{Cli, Command};
use crate::domain::desired::{Desired, Resolver};
use crate::domain::ids::ObjectId;
use crate::domain::overview::baseline::Baseline;
use crate::domain::plan::gate::{Candidate, Lineage};
use crate::domain::plan::policy::StagePolicy;
use crate::domain::snapshot::{Head, Snapshot};
use clap::Parser as _;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const FLEET: &str = "\
name: acme
rollout: [{stage: main, group: kiosks, policy: canary-first}]
";
const COMPOSE: &str = "services:\n  app: {image: \"registry.example/web@sha256:DIGEST\"}\n";

/// What a fleet of forty kiosks and a gateway means, whose kiosks run this release.
fn meaning(release: &str, fleet: &str) -> Arc<Desired> {
    let inventory = "all:\n  children:\n    kiosks: {hosts: {'kiosk-[01:40]': }}\n    \
                     canaries: {hosts: {'kiosk-[01:04]': }}\n    gateways: {hosts: {gateway: }}\n";
    let all = format!("branch: main\npins: {{ web: {release} }}\n");
    let mut files = vec![
        ("fleet.yml".to_owned(), fleet.to_owned()),
        ("inventory.yml".to_owned(), inventory.to_owned()),
        ("group_vars/all.yml".to_owned(), all),
    ];
    for version in ["1.0.0", "1.1.0"] {
        let folder = format!("releases/web/{version}");
        files.push((format!("{folder}/release.yml"), format!("version: {version}\n")));
        files.push((format!("{folder}/compose.yml"), COMPOSE.replace("DIGEST", &version[2..3].repeat(64))));
    }
    let desired = Resolver::default()
        .resolve(&Snapshot::of_files(files.iter().map(|(path, text)| (path.as_str(), text.as_bytes()))));
    assert_eq!(desired.findings, [], "the fleet repo is right");
    desired
}

fn commit(digit: char) -> CommitId {
    CommitId::new(&digit.to_string().repeat(40)).expect("a commit")
}

/// A commit that gives the kiosks release 1.1.0 instead of 1.0.0.
fn ground(fleet: &str, release: &str) -> Ground {
    let policy = StagePolicy::with_defaults(StageName::new("main").expect("a stage"));
    let (before, after) = (meaning("1.0.0", fleet), meaning(release, fleet));
    let name = before.fleet.clone().expect("a name");
    let baseline = Baseline::of_commit(name, policy.clone(), &commit('1'), None, &before);
    let base = baseline.records[&policy.name].counts();
    let tree = ObjectId::new(&"3".repeat(40)).expect("a tree");
    let head = Head { commit: commit('2'), tree };
    let candidate = Candidate { head, inventory: None, desired: after.clone(), base, lineage: Lineage::Extends };
    Ground {
        stages: vec![policy.clone()],
        policy,
        state: baseline.into_state(),
        accepted: BTreeMap::new(),
        candidate,
        rev: "HEAD".to_owned(),
        onto: None,
        made: Timestamp::from_millis(1_770_000_000_000),
        desired: after,
        against: Against::Commit { commit: commit('1'), named: "HEAD^".to_owned() },
        notes: Vec::new(),
        unknown: Vec::new(),
    }
}

/// What a command line comes to for a commit.
fn simulation(line: &str, ground: Ground) -> anyhow::Result<SimulationView> {
    let words = "bellwether simulate --start 2026-03-02T08:00:00Z".split(' ').chain(line.split_whitespace());
    let cli = Cli::try_parse_from(words).expect("a command line");
    let Command::Simulate(args) = &cli.command else { panic!("another command") };
    simulated(args, ground, &Console::new(cli.global.clone()))
}

#[test]
fn a_simulation_says_who_is_exposed_before_a_bad_change_is_stopped() {
    let view = simulation("--failure-rate 30% --offline 5% --runs 20", ground(FLEET, "1.1.0")).expect("a simulation");
    insta::assert_snapshot!(bare(&text(&view, None, Events::Shown)), @r#"
    commit 22222222 for stage main, against commit 11111111 (HEAD^)
    20 runs of each kind from seed 1, beginning at 2026-03-02T08:00:00Z

    40 devices by policy canary-first

    a good change: 0% of devices fail, 5% are away, each takes up to 5m
    goes through   17 of 20 runs
    false stops    3: 3 paused for want of reports
    takes          4h 34m in half of the runs, 4h 38m in 95%

    a run that went through, in the middle of its kind:
    STEP   STATUS   DEVICES    FROM   TO       N    OK   FAILED   OPEN   LEFT OUT
    1      PASSED   canaries   0s     34m      4    4    0        0      0
    2      PASSED   final      34m    4h 34m   36   33   0        3      0
            0s  Activated: simulated
            0s  StepStarted: step 1 (canaries): 4 devices, 0 excluded
           34m  StepPassed: step 1: 4 of 4 reports of 4 devices, everybody has reported
           34m  StepStarted: step 2 (final): 36 devices, 0 excluded
        4h 34m  StepPassed: step 2: 33 of 33 reports of 36 devices, its window is over
        4h 34m  Done: every step has passed

    a bad change: 30% of devices fail, 5% are away, each takes up to 5m
    is stopped        19 of 20 runs; 1 pause for want of reports
    exposed by then   4 of 40 devices in half of these runs, 23 in 95%
    stopped after     2m in half of these runs

    a run that was stopped, in the middle of its kind:
    STEP   STATUS   DEVICES    FROM   TO     N   OK   FAILED   OPEN   LEFT OUT
    1      FAILED   canaries   0s     113s   4   0    1        3      0
    2      QUEUED   final      -      -      -   -    -        -      -
    at the end: 1 device failed, 0 may
            0s  Activated: simulated
            0s  StepStarted: step 1 (canaries): 4 devices, 0 excluded
          113s  Error: step 1 failed: 1 device failed, 0 may

    1 device follows no policy and gets it at once
    "#);
}

#[test]
fn a_change_that_cannot_be_simulated_is_told_with_what_to_do() {
    let check = |line: &str, ground: Ground| {
        bare(&crate::cli::fault::render_error(&simulation(line, ground).expect_err("an error")))
    };
    let lines = [
        check("", ground(FLEET, "1.0.0")),
        check("", ground("name: acme\n", "1.1.0")),
        check("--policy carefull", ground(FLEET, "1.1.0")),
        check("--runs 10000 --policy immediate --all", {
            let mut large = ground(FLEET, "1.1.0");
            let mut desired = Desired::clone(&large.candidate.desired);
            let (device, listed) =
                desired.devices.iter().next().map(|(id, one)| (id.clone(), one.clone())).expect("one");
            for number in 0..1000 {
                let other = crate::domain::ids::DeviceId::new(&format!("{device}-{number}")).expect("a name");
                desired.devices.insert(other, listed.clone());
            }
            large.candidate.desired = Arc::new(desired);
            large
        }),
    ];
    insta::assert_snapshot!(lines.join("\n\n"), @r"
    error: the commit changes no device of stage main
    hint: `--all` supposes that every device changes

    error: no device that the commit changes follows a rollout policy; all 41 get it at once
    hint: `--policy NAME` has them follow one: one of fleet.yml, or immediate, cautious, canary-first, weekend

    error: there is no rollout policy carefull
    hint: name one of `rollouts` in fleet.yml, or immediate, cautious, canary-first or weekend

    error: 10000 runs of 1041 devices, twice, are more than 20000000 devices in all
    hint: `--runs 9606` is the most here
    ");
}

#[test]
fn every_device_can_be_supposed_to_change_and_to_follow_another_policy() {
    let lines =
        ["--all", "--all --policy cautious", "--policy immediate", "--policy weekend --failure-rate 100"].map(|line| {
            let view = simulation(&format!("{line} --runs 5"), ground(FLEET, "1.1.0")).expect("a simulation");
            let rollouts = view.rollouts.iter().map(|one| {
                let exposed = one.bad.summary.exposed_median;
                format!("{} of {}, {exposed:?} exposed", one.policy, one.devices)
            });
            format!("{line}: {}; {} at once", rollouts.collect::<Vec<_>>().join(", "), view.at_once)
        });
    insta::assert_snapshot!(lines.join("\n"), @r"
    --all: canary-first of 40, Some(4) exposed; 1 at once
    --all --policy cautious: cautious of 41, Some(2) exposed; 0 at once
    --policy immediate: immediate of 41, Some(41) exposed; 0 at once
    --policy weekend --failure-rate 100: weekend of 41, Some(1) exposed; 0 at once
    ");
}

#[test]
fn the_picture_and_the_page_need_nothing_beside_them() {
    let view = simulation("--failure-rate 30% --runs 5", ground(FLEET, "1.1.0")).expect("a simulation");
    let (svg, html) = (chart(&view).expect("a picture"), page(&view).expect("a page"));
    assert!(html.contains(&svg), "the page shows the picture");
    for text in [&svg, &html] {
        let links = text.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http:", "https:", "<script", "src=", "href=", "@import", "url("] {
            assert!(!links.contains(foreign), "there is {foreign} in it");
        }
        for shown in ["40 devices by policy canary-first", "1. canaries: 4 devices", "a bad change (30% fail)"] {
            assert!(text.contains(shown), "{shown} is missing");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_simulation_is_the_same_for_a_seed_however_many_threads_there_are(
        seed: u64,
        failure in 0u16..=100,
        offline in 0u16..=50,
        runs in 1u32..6,
    ) {
        let line = format!("--seed {seed} --failure-rate {failure} --offline {offline} --runs {runs}");
        let one = simulation(&line, ground(FLEET, "1.1.0")).expect("a simulation");
        let other = simulation(&line, ground(FLEET, "1.1.0")).expect("a simulation");
        prop_assert_eq!(one, other);
    }
}
