//! The world that the stories are told in.

use super::super::gate::{Candidate, Lineage, PlanInput, StagePlan, plan_stage};
use super::super::pass::{MAX_PASSES, Meaning, PassInput, Scope, StageView, pass, show_waiting};
use super::super::passes::Passes;
use super::super::policy::StagePolicy;
use super::super::rollouts::Contacts;
use super::super::waits::waits;
use crate::domain::acts::operator::{Acting, approve_commit};
use crate::domain::assignment::Mark;
use crate::domain::desired::{Branch, Desired, DesiredDevice};
use crate::domain::digest::Digest;
use crate::domain::fleet::{Change, FleetState, Identity, IdentityStatus, Reported, StageRecord, WaitingFor};
use crate::domain::generation::{Epoch, Generation, Order};
use crate::domain::ids::{Actor, CommitId, DeviceId, StageName, Version};
use crate::domain::reported::{Freshness, Phase, Report};
use crate::domain::snapshot::Head;
use crate::domain::spec::{DeviceSpec, OsSpec, SealedSpec};
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A controller with three stages and nothing else.
pub(super) struct World {
    pub(super) state: FleetState,
    pub(super) views: BTreeMap<StageName, StageView>,
    pub(super) stages: Vec<StagePolicy>,
    pub(super) now: Timestamp,
    /// What earlier passes remember; empty in a copy of the world.
    pub(super) passes: Passes,
    /// When devices polled, which is no change of the state.
    pub(super) heard: Heard,
}

/// When devices polled.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(pub(super) BTreeMap<DeviceId, Timestamp>);

impl Contacts for Heard {
    fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        self.0.get(device).copied()
    }
}

impl Clone for World {
    fn clone(&self) -> Self {
        let Self { state, views, stages, now, passes: _, heard } = self;
        let (state, views, stages) = (state.clone(), views.clone(), stages.clone());
        Self { state, views, stages, now: *now, passes: Passes::default(), heard: heard.clone() }
    }
}

pub(super) fn stage(name: &str) -> StageName {
    StageName::new(name).unwrap()
}

pub(super) fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

pub(super) fn commit_id(number: u32) -> CommitId {
    CommitId::new(&format!("{number:040x}")).unwrap()
}

/// Content that differs by a version.
pub(super) fn content(version: &str) -> SealedSpec {
    let os = OsSpec::named("os", Version::new(version).unwrap());
    SealedSpec::seal(DeviceSpec { os: Some(os), ..DeviceSpec::default() })
}

/// `kiosk-1:production:v1` follows production with content v1. `?` for a branch that cannot be evaluated, `-` for none,
/// `device` for the device's choice; `!` for content that cannot be used.
pub(super) fn desired(text: &str) -> Desired {
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
            vars: Arc::default(),
            requires: BTreeMap::new(),
            no_way_back: BTreeMap::new(),
            ways: BTreeMap::new(),
            secrets: BTreeSet::new(),
        };
        desired.devices.insert(device(name), Arc::new(one));
    }
    desired
}

impl World {
    pub(super) fn new() -> Self {
        let stages = ["main", "canary", "production"].map(|name| StagePolicy::with_defaults(stage(name))).to_vec();
        Self {
            state: FleetState::default(),
            views: BTreeMap::new(),
            stages,
            now: Timestamp::from_millis(1000),
            passes: Passes::default(),
            heard: Heard::default(),
        }
    }

    pub(super) fn with_devices(names: &str) -> Self {
        let mut world = Self::new();
        for name in names.split_whitespace() {
            world.enroll(name);
        }
        world
    }

    pub(super) fn enroll(&mut self, name: &str) {
        let identity = Identity {
            key_hash: crate::domain::digest::Digest::of(name.as_bytes()),
            status: IdentityStatus::Enrolled,
            since: self.now,
            actor: None,
            attributes: BTreeMap::new(),
            contender: None,
        };
        self.apply(&[Change::Identity(device(name), Arc::new(identity))]);
    }

    /// A push: the stage's branch moves to a commit.
    pub(super) fn push(&mut self, on: &str, number: u32, text: &str) -> String {
        self.push_desired(on, number, desired(text), Lineage::Extends)
    }

    pub(super) fn push_desired(&mut self, on: &str, number: u32, desired: Desired, lineage: Lineage) -> String {
        self.arrives(on, number, desired, lineage);
        self.pass()
    }

    /// The stage's branch is at a commit whose devices are listed by this list.
    pub(super) fn lists(&mut self, on: &str, number: u32, list: &str, text: &str) -> String {
        self.arrives(on, number, desired(text), Lineage::Extends);
        let candidate = self.views.get_mut(on).and_then(|view| view.candidate.as_mut()).expect("it has just arrived");
        candidate.inventory = Some(Digest::of(list.as_bytes()));
        self.pass()
    }

    /// Pushes that the next pass sees together.
    pub(super) fn push_together(&mut self, pushes: &[(&str, u32, &str)]) -> String {
        for (on, number, text) in pushes {
            self.arrives(on, *number, desired(text), Lineage::Extends);
        }
        self.pass()
    }

    pub(super) fn arrives(&mut self, on: &str, number: u32, desired: Desired, lineage: Lineage) {
        let base = self.state.stages.get(on).and_then(StageRecord::counts);
        let head = Head { commit: commit_id(number), tree: commit_id(number + 1000) };
        let view = self.views.entry(stage(on)).or_default();
        view.candidate = Some(Candidate { head, inventory: None, desired: Arc::new(desired), base, lineage });
    }

    /// Passes until one changes nothing; what they changed, a line each.
    pub(super) fn pass(&mut self) -> String {
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

    pub(super) fn one_pass(&mut self) -> Vec<Change> {
        let input = PassInput {
            now: self.now,
            stages: &self.stages,
            state: &self.state,
            views: &self.views,
            contacts: &self.heard,
        };
        let output = self.passes.pass(&input, &Scope::All);
        // That a device polled is noticed at the next look only, and who remembers nothing looks at once.
        if self.heard.0.is_empty() {
            assert_eq!(output, pass(&input, &Scope::All), "what is remembered changes nothing");
        }
        self.apply(&output.changes);
        for stage in &output.accepted {
            let view = self.views.get_mut(stage).expect("only a stage with a view is accepted");
            let candidate = view.candidate.take().expect("only a candidate is accepted");
            view.accepted = Some(Meaning { revision: candidate.revision(), desired: candidate.desired });
        }
        output.changes
    }

    pub(super) fn apply(&mut self, changes: &[Change]) {
        self.passes.note(&self.state, changes);
        self.state.apply(changes);
    }

    /// The controller is started with another state.
    pub(super) fn restore(&mut self, state: FleetState) {
        self.passes.forget();
        self.state = state;
    }

    /// The device reports that its ledger holds this place with this content.
    pub(super) fn reports(&mut self, name: &str, generation: u64, version: &str) -> String {
        let order = Order { epoch: Epoch::FIRST, generation: Generation::new(generation).unwrap() };
        let mark = Mark { order, digest: content(version).digest };
        self.report_with(name, |report| report.observed = Some(mark));
        self.pass()
    }

    pub(super) fn report_with(&mut self, name: &str, edit: impl FnOnce(&mut Report)) {
        let known = self.state.devices.get(name).and_then(|record| record.reported.clone());
        let seq = known.as_ref().map_or(0, |known| known.freshness.seq) + 1;
        let mut report = known.map_or_else(blank_report, |known| known.report.clone());
        edit(&mut report);
        report.seq = seq;
        let freshness = Freshness { start: 1, start_id: "a".repeat(32), seq, earlier: Vec::new() };
        let reported = Reported { received_at: self.now, freshness, report };
        self.apply(&[Change::Reported(device(name), Arc::new(reported))]);
    }

    /// What a plan of a commit would change.
    pub(super) fn planned(&self, on: &str, desired: &Desired) -> String {
        let action = |action| serde_json::to_value(action).unwrap().as_str().unwrap().to_owned();
        let plan = self.plan(on, desired);
        plan.changes.iter().map(|one| format!("{} {}", one.device, action(one.action))).collect::<Vec<_>>().join("\n")
    }

    /// Who would go through other releases, and who would be left out.
    pub(super) fn planned_detours(&self, on: &str, desired: &Desired) -> String {
        let plan = self.plan(on, desired);
        let told = plan.detours.iter().chain(&plan.excluded);
        told.map(|(device, way)| format!("{device}: {way}")).collect::<Vec<_>>().join("\n")
    }

    fn plan(&self, on: &str, desired: &Desired) -> StagePlan {
        let input = PassInput {
            now: self.now,
            stages: &self.stages,
            state: &self.state,
            views: &self.views,
            contacts: &self.heard,
        };
        let accepted =
            self.stages.iter().filter_map(|policy| Some((policy.name.clone(), input.accepted(&policy.name)?.clone())));
        let head = Head { commit: commit_id(99), tree: commit_id(1099) };
        let (desired, lineage) = (Arc::new(desired.clone()), Lineage::Extends);
        let candidate = Candidate { head, inventory: None, desired, base: None, lineage };
        plan_stage(&PlanInput {
            policy: self.stages.iter().find(|policy| policy.name.as_str() == on).expect("a stage"),
            stages: &self.stages,
            state: &self.state,
            accepted: &accepted.collect(),
            candidate: &candidate,
        })
    }

    pub(super) fn acting(&self) -> Acting {
        Acting { actor: Actor::new("ada").unwrap(), now: self.now }
    }

    /// Ada approves whatever a stage's newest commit waits for.
    pub(super) fn approve(&mut self, on: &str) -> String {
        let digest = self.held_digest(on);
        let changes = approve_commit(&self.state, &digest, &self.acting()).unwrap();
        self.apply(&changes);
        self.pass()
    }

    pub(super) fn held_digest(&self, on: &str) -> String {
        match &self.state.stages[on].waiting.as_ref().expect("something waits").why {
            WaitingFor::Approval { digest, .. } => digest.to_string(),
            WaitingFor::Repair { .. } => panic!("it waits for a repair"),
        }
    }

    pub(super) fn place(&self, name: &str) -> String {
        match &self.state.devices[name].assignment {
            None => "nothing".to_owned(),
            Some(one) => {
                let version = one.spec.spec.os.as_ref().map(|os| os.version.to_string()).unwrap_or_default();
                format!("{} {version} from {}", one.order, one.stage)
            }
        }
    }

    /// With everything that is known of each.
    pub(super) fn waits_in_full(&self, name: &str) -> String {
        let input = PassInput {
            now: self.now,
            stages: &self.stages,
            state: &self.state,
            views: &self.views,
            contacts: &self.heard,
        };
        let shown = |wait: super::super::waits::Wait| serde_json::to_string(&wait).unwrap();
        waits(&input, &device(name)).into_iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn waits(&self, name: &str) -> String {
        let input = PassInput {
            now: self.now,
            stages: &self.stages,
            state: &self.state,
            views: &self.views,
            contacts: &self.heard,
        };
        let all: Vec<String> =
            waits(&input, &device(name)).into_iter().map(|wait| format!("{}: {}", wait.code, wait.message)).collect();
        all.join("\n")
    }
}

pub(super) fn blank_report() -> Report {
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
        os_update: None,
        host: None,
        found: Vec::new(),
        refused: None,
        failure: None,
        locks: Vec::new(),
        actions: None,
        branch: None,
        attributes: BTreeMap::new(),
    }
}

pub(super) fn show(change: &Change) -> Option<String> {
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
