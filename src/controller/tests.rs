//! The controller's shell around fakes: what it writes, what it refuses to do, and what survives.

use super::Options;
use super::owner::{self, CommandError, Running};
use super::watch::Watcher;
use crate::domain::acts::operator::{self as acts, NewToken};
use crate::domain::assignment::Mark;
use crate::domain::digest::Digest;
use crate::domain::enrollment::{TokenId, TokenSecret, credential};
use crate::domain::fleet::{TokenBound, WaitingFor};
use crate::domain::generation::{Epoch, Generation, Order};
use crate::domain::ids::{Actor, DeviceId, FleetName, StageName};
use crate::domain::plan::policy::StagePolicy;
use crate::domain::reported::{Phase, Report};
use crate::example;
use crate::ports::repo::fake::FakeRemote;
use crate::ports::store::Store;
use crate::ports::store::fake::{FakeStore, Fault};
use crate::protocol::v1::messages::{EnrollRequest, EnrollStatus, ReportAnswer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A controller on a store and a remote that outlive it.
struct Controller {
    running: Running,
    watcher: Watcher,
    runtime: tokio::runtime::Runtime,
    _lists: tempfile::TempDir,
}

fn start(store: &FakeStore, remote: &FakeRemote) -> Controller {
    let stages = ["main", "canary", "production"].map(|name| StagePolicy::with_defaults(StageName::new(name).unwrap()));
    let options = Arc::new(Options {
        fleet: FleetName::new("lindenhof").unwrap(),
        stages: stages.to_vec(),
        poll_secs: 1,
        offline_after_secs: 300,
    });
    let running = owner::start(options.clone(), Box::new(store.clone())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lists = crate::controller::lists::Lists::open(folder.path(), []).unwrap();
    let watcher = Watcher::new(
        options,
        Box::new(remote.mirror()),
        running.world.clone(),
        running.handle.clone(),
        Arc::new(crate::controller::vault::Vault::empty()),
        Arc::new(lists),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Controller { running, watcher, runtime, _lists: folder }
}

impl Controller {
    /// One look at the fleet repo, and everything that follows from it.
    fn look(&mut self) {
        self.watcher.look(super::watch::Look::All).unwrap();
        self.rest();
    }

    /// Returns when the owner has done everything that it was asked.
    fn rest(&self) {
        self.runtime.block_on(self.running.handle.events(None, 1)).unwrap();
    }

    fn act(&self, act: owner::Act) -> Result<(), CommandError> {
        self.runtime.block_on(self.running.handle.act(Actor::new("ada").unwrap(), act)).map(|_| ())
    }

    /// Enrolls every device of the example.
    fn enroll_all(&self) {
        let (id, secret) = (TokenId::from_bytes([1; 6]), TokenSecret::from_bytes([2; 32]));
        let token = NewToken {
            id: id.to_string(),
            secret_hash: secret.digest(),
            uses: 100,
            valid_secs: 3600,
            bound: TokenBound::Selector("*".to_owned()),
        };
        self.act(Box::new(move |state, _, acting| acts::new_token(state, token, acting))).unwrap();
        let devices: Vec<DeviceId> = self.running.world.read().state.devices.keys().cloned().collect();
        for device in devices {
            let key = Digest::of(device.as_str().as_bytes()).hex();
            let token = Some(credential(id, &secret));
            let request = EnrollRequest { device, key, token, attributes: BTreeMap::new() };
            assert_eq!(self.runtime.block_on(self.running.handle.enroll(request)).unwrap(), EnrollStatus::Enrolled);
        }
    }

    fn report(&self, device: &str, seq: u64, observed: Option<Mark>) -> Result<ReportAnswer, CommandError> {
        let report = Report {
            start: 1,
            start_id: "a".repeat(32),
            seq,
            observed,
            applied: None,
            phase: Phase::Settled,
            conditions: Vec::new(),
            apps: None,
            os: None,
            os_update: None,
            host: None,
            found: Vec::new(),
            refused: None,
            failure: None,
            locks: Vec::new(),
            actions: None,
            branch: None,
            attributes: BTreeMap::new(),
        };
        self.runtime.block_on(self.running.handle.report(DeviceId::new(device).unwrap(), report))
    }

    /// Every assignment: device, place and digest.
    fn assignments(&self) -> BTreeMap<DeviceId, Mark> {
        let world = self.running.world.read();
        let records = world.state.devices.iter();
        records.filter_map(|(device, record)| Some((device.clone(), record.assignment.as_ref()?.mark()))).collect()
    }

    fn stop(self) {
        self.runtime.block_on(self.running.handle.stop());
        self.running.thread.join().unwrap();
    }
}

fn remote() -> FakeRemote {
    let remote = FakeRemote::new();
    // These tests are about other things than gates.
    let fleet = example::FILES.iter().find(|(path, _)| *path == "fleet.yml").expect("it is there").1;
    let fleet = fleet.replace("policy: canary-first", "policy: immediate");
    let changed = |path: &'static str, text| (path, if path == "fleet.yml" { fleet.as_str() } else { text });
    let files: Vec<_> = example::FILES.iter().map(|(path, text)| changed(path, *text)).collect();
    let first = remote.push("main", &files);
    remote.point("canary", &first);
    remote.point("production", &first);
    remote
}

/// A controller of the example's fleet, with every device enrolled and assigned.
fn settled(store: &FakeStore, remote: &FakeRemote) -> Controller {
    let mut controller = start(store, remote);
    controller.look();
    controller.enroll_all();
    controller.rest();
    assert_eq!(controller.assignments().len(), 7);
    controller
}

#[test]
fn a_look_that_finds_nothing_new_writes_nothing() {
    let (store, remote) = (FakeStore::new(), remote());
    let mut controller = settled(&store, &remote);
    let before = store.counts();
    for _ in 0..3 {
        controller.look();
    }
    assert_eq!(store.counts(), before);
    // A commit that changes no device's content writes its stage and one event, and no device.
    let assignments = controller.assignments();
    remote.change("production", &[("README.md", Some("# Other words\n"))]);
    controller.look();
    assert_eq!(store.counts().changes - before.changes, 2);
    assert_eq!(controller.assignments(), assignments);
    controller.stop();
}

#[test]
fn a_report_writes_one_row_and_its_repetition_none() {
    let (store, remote) = (FakeStore::new(), remote());
    let controller = settled(&store, &remote);
    let mark = controller.assignments()["kiosk-campus"];
    let before = store.counts();
    assert_eq!(controller.report("kiosk-campus", 1, Some(mark)).unwrap(), ReportAnswer::Recorded);
    assert_eq!(store.counts().changes - before.changes, 1);
    assert_eq!(controller.report("kiosk-campus", 1, Some(mark)).unwrap(), ReportAnswer::Stale);
    assert_eq!(store.counts().changes - before.changes, 1);
    controller.stop();
}

#[test]
fn a_restarted_controller_goes_on_where_it_was_even_without_the_remote() {
    let (store, remote) = (FakeStore::new(), remote());
    let controller = settled(&store, &remote);
    let assignments = controller.assignments();
    controller.stop();
    let before = store.counts();
    remote.go_away("the cable is cut");
    let mut controller = start(&store, &remote);
    controller.look();
    assert_eq!(controller.assignments(), assignments);
    assert_eq!(store.counts(), before);
    assert_eq!(controller.running.world.read().repo.unavailable.as_deref(), Some("the cable is cut"));
    remote.come_back();
    controller.look();
    assert_eq!(controller.assignments(), assignments);
    assert_eq!(store.counts(), before);
    controller.stop();
}

#[test]
fn a_branch_that_is_gone_and_an_inventory_that_is_gone_change_nothing() {
    let (store, remote) = (FakeStore::new(), remote());
    let mut controller = settled(&store, &remote);
    let assignments = controller.assignments();
    remote.change("production", &[("inventory.yml", None)]);
    remote.delete("canary");
    controller.look();
    assert_eq!(controller.assignments(), assignments);
    {
        let world = controller.running.world.read();
        let waiting = world.state.stages["production"].waiting.as_ref().expect("the commit waits");
        assert!(matches!(waiting.why, WaitingFor::Repair { .. }), "{waiting:?}");
        assert_eq!(world.repo.missing, [StageName::new("canary").unwrap()]);
    }
    controller.stop();
}

#[test]
fn a_commit_of_another_fleet_never_counts() {
    let (store, remote) = (FakeStore::new(), remote());
    let mut controller = settled(&store, &remote);
    let assignments = controller.assignments();
    remote.change("production", &[("fleet.yml", Some("name: somebody-else\n"))]);
    controller.look();
    assert_eq!(controller.assignments(), assignments);
    let world = controller.running.world.read();
    let waiting = world.state.stages["production"].waiting.clone().expect("the commit waits");
    drop(world);
    let WaitingFor::Repair { message } = waiting.why else { panic!("{waiting:?}") };
    assert_eq!(message, "fleet.yml: the repo is of the fleet `somebody-else`, the controller of `lindenhof`");
    controller.stop();
}

#[test]
fn a_store_that_fails_loses_nothing_and_assigns_once() {
    for fault in [Fault::NotWritten, Fault::AnswerLost] {
        let (store, remote) = (FakeStore::new(), remote());
        let mut controller = settled(&store, &remote);
        let before = controller.assignments();
        store.fail_next(fault);
        remote.change("main", &[("group_vars/workshop.yml", Some("branch: main\nvariables:\n  LOG_LEVEL: trace\n"))]);
        controller.look();
        // Whether the transaction was written or not, what is known is what the store holds.
        assert_eq!(controller.running.world.read().state, store.clone().load().unwrap());
        // The next news bring the next pass, which decides the same.
        remote.change("main", &[("README.md", Some("# Again\n"))]);
        controller.look();
        let after = controller.assignments();
        let moved: Vec<&DeviceId> = after.keys().filter(|device| before[*device] != after[*device]).collect();
        assert_eq!(moved, [&DeviceId::new("board-workshop").unwrap(), &DeviceId::new("runner-workshop").unwrap()]);
        let place = Order { epoch: Epoch::FIRST, generation: Generation::new(2).unwrap() };
        assert!(moved.iter().all(|device| after[*device].order == place));
        controller.stop();
        assert_eq!(start(&store, &remote).assignments(), after);
    }
}

#[test]
fn a_refused_act_answers_why_and_writes_nothing() {
    let (store, remote) = (FakeStore::new(), remote());
    let controller = settled(&store, &remote);
    let before = store.counts();
    let refused = controller.act(Box::new(|state, _, acting| acts::approve_commit(state, "00000000", acting)));
    assert_eq!(refused.unwrap_err().to_string(), "no held commit has the digest 00000000");
    assert_eq!(store.counts(), before);
    controller.stop();
}

#[test]
fn an_unsigned_commit_waits_and_counts_once_its_signature_does() {
    let (store, remote) = (FakeStore::new(), remote());
    let mut controller = settled(&store, &remote);
    let before = controller.running.world.read().state.stages["production"].accepted.clone();
    let commit = remote.change("production", &[("README.md", Some("# Unsigned\n"))]);
    remote.unsign("production", &commit, "it is not signed");
    controller.look();
    controller.look();
    {
        let world = controller.running.world.read();
        let stage = &world.state.stages["production"];
        assert_eq!(stage.accepted, before);
        let WaitingFor::Repair { message } = &stage.waiting.as_ref().expect("the commit waits").why else {
            panic!("{stage:?}")
        };
        let short = commit.short();
        assert_eq!(*message, format!("commit {short}: it is not signed; this stage takes commits signed by ada"));
    }
    // The file of signers was corrected; nobody pushes anything.
    remote.sign_all();
    controller.look();
    assert_eq!(controller.running.world.read().state.stages["production"].accepted, Some(commit));
    controller.stop();
}
