//! A state with something of everything in it.

use crate::domain::actions::{
    ActionRecord, ActionResult, ActionState, Actions, DeviceAction, LockRule, Outcome, RequestedAction,
};
use crate::domain::assignment::Assignment;
use crate::domain::digest::Digest;
use crate::domain::fleet::*;
use crate::domain::generation::{Attempt, Epoch, Generation, Order};
use crate::domain::ids::{Actor, CommitId, ObjectId, RolloutName, StageName};
use crate::domain::reported::{Freshness, Phase, Report};
use crate::domain::rollout;
use crate::domain::rollout::machine::Rollout;
use crate::domain::rollout::ready::Ready;
use crate::domain::spec::{AppSpec, DeviceSpec, SealedSpec, ServiceSpec};
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One change of every kind that leaves something, and of every kind that removes something that is not there.
pub fn changes() -> Vec<Change> {
    let mut changes = device_parts("kiosk-1", 1);
    changes.extend(device_parts("kiosk-2", 2).into_iter().take(1));
    changes.extend([
        Change::Epoch(Epoch::new(3).unwrap()),
        Change::Stage("production".parse().unwrap(), stage()),
        Change::Token("tk-1".to_owned(), token()),
        Change::Approval(Digest::of(b"held"), approval()),
        Change::Hold(HoldScope::Fleet, hold(None)),
        Change::Hold(HoldScope::Stage("production".parse().unwrap()), hold(Some(9_000))),
        Change::Hold(HoldScope::Device("kiosk-1".parse().unwrap()), hold(None)),
        Change::Event(super::event("kiosk-1", 7)),
        Change::Unassigned("kiosk-2".parse().unwrap()),
        Change::Heartbeat(Timestamp::from_millis(77)),
        Change::Told(topic(1), told(Certainty::Said)),
        Change::Told(topic(2), told(Certainty::Intended)),
        Change::ToldGone(topic(3)),
        Change::Unreported("kiosk-2".parse().unwrap()),
        Change::Unreported("never-seen".parse().unwrap()),
        Change::Forget("never-seen".parse().unwrap()),
        Change::TokenGone("tk-0".to_owned()),
        Change::ApprovalGone(Digest::of(b"nothing")),
        Change::HoldGone(HoldScope::Device("never-seen".parse().unwrap())),
    ]);
    changes.extend(rollout("production-00000001", 1));
    changes.extend(rollout("production-00000001", 2).into_iter().take(1));
    changes.extend(rollout("main-00000001", 1));
    changes.push(Change::Rollout("main-00000001".parse().unwrap(), RolloutChange::Gone));
    changes.push(Change::Rollout("never-seen".parse().unwrap(), RolloutChange::Gone));
    changes
}

/// A rollout as it is made: head, content and two devices.
pub fn rollout(name: &str, version: u64) -> Vec<Change> {
    let name: RolloutName = name.parse().unwrap();
    let policy = Ready::CanaryFirst.policy();
    let change = |content: &SealedSpec| rollout::machine::Change {
        target: content.digest,
        previous: None,
        detour: Vec::new(),
        reversal: Default::default(),
    };
    let content = spec(9);
    let devices = ["kiosk-1", "kiosk-2"].map(|device| (device.parse().unwrap(), change(&content)));
    let made = Rollout::draft(name.clone(), stage_name(), commit(1), policy, devices, Timestamp::from_millis(5));
    let head = RolloutChange::Head { version, head: Arc::new(made.head().clone()) };
    let members = made.members().iter();
    let members = members.map(|(device, member)| RolloutChange::Member(device.clone(), Arc::new(member.clone())));
    let content = RolloutChange::Content(Arc::new(Content { spec: content, commit: commit(1) }));
    let all = [head, content].into_iter().chain(members);
    all.map(|change| Change::Rollout(name.clone(), change)).collect()
}

/// What [`changes`] come to.
pub fn state() -> FleetState {
    let mut state = FleetState::default();
    state.apply(&changes());
    assert_eq!((state.devices.len(), state.stages.len(), state.tokens.len()), (2, 1, 1));
    assert_eq!((state.approvals.len(), state.holds.len()), (1, 3));
    state
}

/// Changes that take everything of [`changes`] away that can be.
pub fn removals() -> Vec<Change> {
    vec![
        Change::Unreported("kiosk-1".parse().unwrap()),
        Change::Unassigned("kiosk-1".parse().unwrap()),
        Change::Rollout("production-00000001".parse().unwrap(), RolloutChange::Gone),
        Change::Forget("kiosk-1".parse().unwrap()),
        Change::TokenGone("tk-1".to_owned()),
        Change::ApprovalGone(Digest::of(b"held")),
        Change::HoldGone(HoldScope::Fleet),
        Change::HoldGone(HoldScope::Stage("production".parse().unwrap())),
        Change::ToldGone(topic(1)),
    ]
}

fn topic(number: u64) -> Topic {
    Topic::Progress { stage: stage_name(), commit: commit(number) }
}

fn told(certainty: Certainty) -> Told {
    let (news, at) = (Digest::of(b"3 of 5 devices"), Timestamp::from_millis(8));
    Told { standing: Standing::UnderWay, news, at, times: 2, certainty, id: Some(17) }
}

/// The change at which a broken commit fails.
pub fn doomed() -> Change {
    Change::Event(super::event("doomed", 1))
}

/// All parts of a device; other content for another version.
pub fn device_parts(device: &str, version: u64) -> Vec<Change> {
    let id: crate::domain::ids::DeviceId = device.parse().unwrap();
    let at = Timestamp::from_millis(1_000 * i64::try_from(version).unwrap());
    let order = Order { epoch: Epoch::FIRST, generation: Generation::new(version).unwrap() };
    let assignment = Assignment {
        device: id.clone(),
        stage: stage_name(),
        commit: commit(version),
        order,
        attempt: Attempt::FIRST,
        spec: spec(version),
        rollout: None,
        assigned_at: at,
        soak_secs: 300,
        force: None,
    };
    let conflict = Conflict {
        since: at,
        reason: "DeviceAhead".to_owned(),
        message: "the device is ahead".to_owned(),
        device: Some(assignment.mark()),
    };
    let control =
        Control { claims: BTreeSet::from([stage_name()]), floor: Some(order), reissues: 2, conflict: Some(conflict) };
    let identity = Identity {
        key_hash: Digest::of(&version.to_be_bytes()),
        status: IdentityStatus::Enrolled,
        since: at,
        actor: Some(actor()),
        attributes: BTreeMap::from([("arch".to_owned(), "mips".to_owned())]),
        contender: Some(Contender { key_hash: Digest::of(b"other"), since: at }),
    };
    let reported = reported(version, assignment.mark(), at);
    let rack = RegistryAttribute { value: format!("rack {version}"), actor: actor(), since: at };
    let registry = Registry {
        attributes: BTreeMap::from([("rack".parse().unwrap(), rack)]),
        registered: Some(Registered { listing: Listing::Listed, actor: actor(), since: at }),
    };
    vec![
        Change::Identity(id.clone(), Arc::new(identity)),
        Change::Control(id.clone(), Arc::new(control)),
        Change::Assignment(Arc::new(assignment)),
        Change::Reported(id.clone(), Arc::new(reported)),
        Change::Registry(id.clone(), Arc::new(registry)),
        Change::Actions(id, Arc::new(actions(version, at))),
    ]
}

fn actions(version: u64, at: Timestamp) -> Actions {
    let request = |number, action| RequestedAction {
        number,
        action,
        locks: LockRule::Overridden,
        actor: actor(),
        reason: "it hangs".to_owned(),
        requested_at: at,
        expires: at.plus_secs(60),
    };
    let (number, outcome, reason) = (version, Outcome::Done, "Done".to_owned());
    let ended = ActionResult { number, outcome, reason, message: String::new(), at, log: Some("a line\n".to_owned()) };
    let list = vec![
        ActionRecord { request: request(version, DeviceAction::RestartAll), state: ActionState::Ended(ended) },
        ActionRecord { request: request(version + 1, DeviceAction::Reboot), state: ActionState::Open },
    ];
    Actions { last: version + 1, list }
}

fn reported(version: u64, mark: crate::domain::assignment::Mark, at: Timestamp) -> Reported {
    Reported {
        received_at: at,
        freshness: Freshness { start: 2, start_id: "b".repeat(32), seq: version, earlier: vec!["a".repeat(32)] },
        report: Report {
            start: 2,
            start_id: "b".repeat(32),
            seq: version,
            observed: Some(mark),
            applied: Some(mark.digest),
            phase: Phase::Settled,
            conditions: Vec::new(),
            apps: None,
            os: None,
            os_update: None,
            host: Some(Default::default()),
            found: Vec::new(),
            refused: None,
            failure: None,
            locks: Vec::new(),
            actions: None,
            branch: Some(stage_name()),
            attributes: BTreeMap::from([("agent_version".to_owned(), "0.1.0".to_owned())]),
        },
    }
}

/// A spec whose content depends on the version.
pub fn spec(version: u64) -> SealedSpec {
    let image = format!("registry.example/kiosk:{version}");
    let app = AppSpec {
        release: "1.0.0".parse().unwrap(),
        services: BTreeMap::from([("web".parse().unwrap(), ServiceSpec::of_image(&image))]),
        volumes: BTreeSet::new(),
        networks: BTreeMap::new(),
    };
    SealedSpec::seal(DeviceSpec { apps: BTreeMap::from([("kiosk".parse().unwrap(), app)]), ..DeviceSpec::default() })
}

fn stage() -> StageRecord {
    let change = HeldChange { device: "kiosk-1".parse().unwrap(), from: Some(Digest::of(b"a")), to: None };
    StageRecord {
        accepted: Some(commit(1)),
        inventory: Some(Digest::of(b"list")),
        waiting: Some(Waiting {
            commit: commit(2),
            tree: commit(3),
            inventory: Some(Digest::of(b"another list")),
            since: Timestamp::from_millis(5),
            why: WaitingFor::Approval {
                digest: Digest::of(b"held"),
                reasons: vec![
                    HeldReason::LastDevice,
                    HeldReason::DeletionBudget { unmanaged: 2, allowed: 1 },
                    HeldReason::HistoryRewritten { accepted: commit(1) },
                ],
                changes: vec![change],
            },
        }),
        unmanaged: BTreeSet::from(["kiosk-7".parse().unwrap()]),
        baseline: 7,
        staged: Some(Staged { commit: commit(1), progress: StagedProgress::Made }),
        trees: Vec::new(),
    }
}

fn token() -> TokenRecord {
    TokenRecord {
        secret_hash: Digest::of(b"secret"),
        uses_left: 3,
        expires: Timestamp::from_millis(1_000_000),
        bound: TokenBound::Names(BTreeSet::from(["kiosk-1".parse().unwrap()])),
        actor: actor(),
    }
}

fn approval() -> Approval {
    Approval { actor: actor(), at: Timestamp::from_millis(6), stage: stage_name() }
}

fn hold(until: Option<i64>) -> Hold {
    Hold {
        reason: "trade fair".to_owned(),
        actor: actor(),
        since: Timestamp::from_millis(4),
        until: until.map(Timestamp::from_millis),
    }
}

fn actor() -> Actor {
    Actor::new("operator anna").unwrap()
}

fn stage_name() -> StageName {
    "production".parse().unwrap()
}

fn commit(number: u64) -> CommitId {
    ObjectId::new(&format!("{number:040x}")).unwrap()
}
