//! Stories about stages and devices, told as the changes that passes make.

use super::gate::{Candidate, Lineage};
use super::pass::{MAX_PASSES, Meaning, PassInput, Scope, StageView, pass, show_waiting};
use super::policy::StagePolicy;
use super::waits::waits;
use crate::domain::acts::operator::{Acting, approve_commit, hold, resume};
use crate::domain::assignment::Mark;
use crate::domain::desired::{Branch, Desired, DesiredDevice, RepoLimits};
use crate::domain::finding::{Affects, Finding, Place, Severity};
use crate::domain::fleet::{Change, FleetState, HoldScope, Identity, IdentityStatus, Reported, WaitingFor};
use crate::domain::generation::{Epoch, Generation, Order};
use crate::domain::ids::{Actor, CommitId, DeviceId, StageName, Version};
use crate::domain::reported::{Freshness, Phase, Report};
use crate::domain::snapshot::Head;
use crate::domain::spec::{DeviceSpec, OsSpec, SealedSpec};
use crate::domain::time::Timestamp;
use insta::assert_snapshot;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A controller with three stages and nothing else.
#[derive(Clone)]
struct World {
    state: FleetState,
    views: BTreeMap<StageName, StageView>,
    stages: Vec<StagePolicy>,
    now: Timestamp,
}

fn stage(name: &str) -> StageName {
    StageName::new(name).unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn commit_id(number: u32) -> CommitId {
    CommitId::new(&format!("{number:040x}")).unwrap()
}

/// Content that differs by a version.
fn content(version: &str) -> SealedSpec {
    let os = OsSpec { name: "os".to_owned(), version: Version::new(version).unwrap(), url: None, digest: None };
    SealedSpec::seal(DeviceSpec { os: Some(os), ..DeviceSpec::default() })
}

/// `kiosk-1:production:v1` follows production with content v1. `?` for a branch that cannot be evaluated, `-` for none,
/// `device` for the device's choice; `!` for content that cannot be used.
fn desired(text: &str) -> Desired {
    let mut desired = Desired::default();
    for word in text.split_whitespace() {
        let [name, branch, version] = word.split(':').collect::<Vec<_>>().try_into().expect("device:branch:version");
        let branch = match branch {
            "?" => Branch::Unknown,
            "-" => Branch::Unset,
            "device" => Branch::FromDevice { allowed: BTreeSet::from([stage("main"), stage("canary")]) },
            name => Branch::Stage(stage(name)),
        };
        let spec = (version != "!").then(|| content(version));
        let problem = spec.is_none().then(|| "host_vars does not parse".to_owned());
        let one = DesiredDevice {
            branch,
            spec,
            problem,
            hold: None,
            groups: BTreeSet::new(),
            tags: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        desired.devices.insert(device(name), Arc::new(one));
    }
    desired
}

impl World {
    fn new() -> Self {
        let stages = ["main", "canary", "production"].map(|name| StagePolicy::with_defaults(stage(name))).to_vec();
        Self { state: FleetState::default(), views: BTreeMap::new(), stages, now: Timestamp::from_millis(1000) }
    }

    fn with_devices(names: &str) -> Self {
        let mut world = Self::new();
        for name in names.split_whitespace() {
            world.enroll(name);
        }
        world
    }

    fn enroll(&mut self, name: &str) {
        let identity = Identity {
            key_hash: crate::domain::digest::Digest::of(name.as_bytes()),
            status: IdentityStatus::Enrolled,
            since: self.now,
            actor: None,
            attributes: BTreeMap::new(),
            contender: None,
        };
        self.state.apply(&[Change::Identity(device(name), Arc::new(identity))]);
    }

    /// A push: the stage's branch moves to a commit.
    fn push(&mut self, on: &str, number: u32, text: &str) -> String {
        self.push_desired(on, number, desired(text), Lineage::Extends)
    }

    fn push_desired(&mut self, on: &str, number: u32, desired: Desired, lineage: Lineage) -> String {
        let base = self.state.stages.get(on).and_then(|record| record.accepted.clone());
        let head = Head { commit: commit_id(number), tree: commit_id(number + 1000) };
        let view = self.views.entry(stage(on)).or_default();
        view.candidate = Some(Candidate { head, desired: Arc::new(desired), base, lineage });
        self.pass()
    }

    /// Passes until one changes nothing; what they changed, a line each.
    fn pass(&mut self) -> String {
        self.now = self.now.plus_secs(1);
        let mut lines = Vec::new();
        for _ in 0..MAX_PASSES {
            let changes = self.one_pass();
            if changes.is_empty() {
                return if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") };
            }
            lines.extend(changes.iter().filter_map(show));
        }
        panic!("passes do not come to rest:\n{}", lines.join("\n"));
    }

    fn one_pass(&mut self) -> Vec<Change> {
        let input = PassInput { now: self.now, stages: &self.stages, state: &self.state, views: &self.views };
        let output = pass(&input, &Scope::All);
        self.state.apply(&output.changes);
        for stage in &output.accepted {
            let view = self.views.get_mut(stage).expect("only a stage with a view is accepted");
            let candidate = view.candidate.take().expect("only a candidate is accepted");
            view.accepted = Some(Meaning { commit: candidate.head.commit, desired: candidate.desired });
        }
        output.changes
    }

    /// The device reports that its ledger holds this place with this content.
    fn reports(&mut self, name: &str, generation: u64, version: &str) -> String {
        let order = Order { epoch: Epoch::FIRST, generation: Generation::new(generation).unwrap() };
        let mark = Mark { order, digest: content(version).digest };
        self.report_with(name, |report| report.observed = Some(mark));
        self.pass()
    }

    fn report_with(&mut self, name: &str, edit: impl FnOnce(&mut Report)) {
        let known = self.state.devices.get(name).and_then(|record| record.reported.clone());
        let seq = known.as_ref().map_or(0, |known| known.freshness.seq) + 1;
        let mut report = known.map_or_else(blank_report, |known| known.report.clone());
        edit(&mut report);
        report.seq = seq;
        let freshness = Freshness { start: 1, start_id: "a".repeat(32), seq, earlier: Vec::new() };
        let reported = Reported { received_at: self.now, freshness, report };
        self.state.apply(&[Change::Reported(device(name), Arc::new(reported))]);
    }

    fn acting(&self) -> Acting {
        Acting { actor: Actor::new("ada").unwrap(), now: self.now }
    }

    /// Ada approves whatever a stage's newest commit waits for.
    fn approve(&mut self, on: &str) -> String {
        let digest = self.held_digest(on);
        let changes = approve_commit(&self.state, &digest, &self.acting()).unwrap();
        self.state.apply(&changes);
        self.pass()
    }

    fn held_digest(&self, on: &str) -> String {
        match &self.state.stages[on].waiting.as_ref().expect("something waits").why {
            WaitingFor::Approval { digest, .. } => digest.to_string(),
            WaitingFor::Repair { .. } => panic!("it waits for a repair"),
        }
    }

    fn place(&self, name: &str) -> String {
        match &self.state.devices[name].assignment {
            None => "nothing".to_owned(),
            Some(one) => {
                let version = one.spec.spec.os.as_ref().map(|os| os.version.to_string()).unwrap_or_default();
                format!("{} {version} from {}", one.order, one.stage)
            }
        }
    }

    fn waits(&self, name: &str) -> String {
        let input = PassInput { now: self.now, stages: &self.stages, state: &self.state, views: &self.views };
        let all: Vec<String> =
            waits(&input, &device(name)).into_iter().map(|wait| format!("{}: {}", wait.code, wait.message)).collect();
        all.join("\n")
    }
}

fn blank_report() -> Report {
    Report {
        start: 1,
        start_id: "a".repeat(32),
        seq: 0,
        observed: None,
        applied: None,
        phase: Phase::Settled,
        conditions: Vec::new(),
        apps: None,
        os: None,
        found: Vec::new(),
        refused: None,
        branch: None,
        attributes: BTreeMap::new(),
    }
}

fn show(change: &Change) -> Option<String> {
    match change {
        Change::Assignment(one) => {
            let version = one.spec.spec.os.as_ref().map(|os| os.version.to_string()).unwrap_or_default();
            Some(format!("assign {} {} {version} from {}", one.device, one.order, one.stage))
        }
        Change::Control(device, control) => {
            let claims: Vec<&str> = control.claims.iter().map(StageName::as_str).collect();
            let conflict = control.conflict.as_ref().map(|one| format!(" conflict: {}", one.message));
            let floor = control.floor.map(|floor| format!(" floor {floor}"));
            Some(format!(
                "control {device} claims [{}]{}{}",
                claims.join(" "),
                floor.unwrap_or_default(),
                conflict.unwrap_or_default()
            ))
        }
        Change::Stage(stage, record) => match &record.waiting {
            Some(waiting) => Some(format!("hold {stage}: {}", show_waiting(&waiting.why))),
            None => Some(format!("accept {stage} {}", &record.accepted.as_ref()?.as_str()[36..])),
        },
        Change::ApprovalGone(_) => Some("approval gone".to_owned()),
        Change::Event(_) => None,
        other => Some(format!("{other:?}")),
    }
}

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
    world.state.apply(&changes);
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
    assert_snapshot!(world.waits("board"), @"in-transit: no stage claims the device; it keeps what it has");
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
    world.state.apply(&held);
    assert_snapshot!(world.push("production", 2, "a:production:v2"), @"accept production 0002");
    assert_snapshot!(world.waits("a"), @r"
    held: held (device a) by ada until 1970-01-01T01:00:02Z: on exhibition
    unreported: the device has not reported yet
    ");
    let resumed = resume(&world.state, &scope, &world.acting()).unwrap();
    world.state.apply(&resumed);
    assert_snapshot!(world.pass(), @"assign a 1.2 v2 from production");
    // A hold that ends by itself needs nobody.
    world.state.apply(&held);
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
    world.state = backup;
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
    world.state.apply(&resumed);
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
    world.state.apply(&resumed);
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

/// One random step of a story.
#[derive(Clone, Debug)]
enum Step {
    Push { on: usize, devices: Vec<(usize, usize, u8)> },
    Report { device: usize, generation: u64, version: u8 },
    Choose { device: usize, on: usize },
}

const NAMES: [&str; 3] = ["main", "canary", "production"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize, proptest::collection::vec((0..4usize, 0..5usize, 0..3u8), 0..4))
            .prop_map(|(on, devices)| Step::Push { on, devices }),
        (0..4usize, 1..6u64, 0..3u8).prop_map(|(device, generation, version)| Step::Report {
            device,
            generation,
            version
        }),
        (0..4usize, 0..3usize).prop_map(|(device, on)| Step::Choose { device, on }),
    ]
}

fn tell(world: &mut World, number: u32, step: &Step) {
    match step {
        Step::Push { on, devices } => {
            let branch = |index: usize| ["main", "canary", "production", "?", "device"][index];
            let text: Vec<String> =
                devices.iter().map(|(name, on, version)| format!("d{name}:{}:v{version}", branch(*on))).collect();
            world.push(NAMES[*on], number, &text.join(" "));
        }
        Step::Report { device, generation, version } => {
            world.reports(&format!("d{device}"), *generation, &format!("v{version}"));
        }
        Step::Choose { device, on } => {
            world.report_with(&format!("d{device}"), |report| report.branch = Some(stage(NAMES[*on])));
            world.pass();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_generations_only_grow_and_a_second_pass_writes_nothing(
        steps in proptest::collection::vec(step(), 1..12)
    ) {
        let mut world = World::with_devices("d0 d1 d2 d3");
        let mut places: BTreeMap<DeviceId, Order> = BTreeMap::new();
        for (number, step) in (1u32..).zip(&steps) {
            tell(&mut world, number, step);
            prop_assert_eq!(world.pass(), "nothing");
            for (device, record) in &world.state.devices {
                let Some(assignment) = &record.assignment else { continue };
                let before = places.insert(device.clone(), assignment.order);
                prop_assert!(before.is_none_or(|before| before <= assignment.order));
            }
        }
    }

    #[test]
    fn a_narrowed_pass_decides_what_a_full_pass_would(
        steps in proptest::collection::vec(step(), 1..10),
        dirty in 0..4usize,
        generation in 1..8u64,
        choice in proptest::option::of(0..3usize),
    ) {
        let mut world = World::with_devices("d0 d1 d2 d3");
        for (number, step) in (1u32..).zip(&steps) {
            tell(&mut world, number, step);
        }
        let name = format!("d{dirty}");
        let order = Order { epoch: Epoch::FIRST, generation: Generation::new(generation).unwrap() };
        world.report_with(&name, |report| {
            report.observed = Some(Mark { order, digest: content("v1").digest });
            report.branch = choice.map(|on| stage(NAMES[on]));
        });
        let input = PassInput { now: world.now, stages: &world.stages, state: &world.state, views: &world.views };
        let full = pass(&input, &Scope::All);
        let narrowed = pass(&input, &Scope::Devices(BTreeSet::from([device(&name)])));
        prop_assert_eq!(full.changes, narrowed.changes);
    }
}
