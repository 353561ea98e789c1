//! Rollouts of large fleets: starting one, a tick in which little happened, and a simulation.

use super::process::{self, peak_mib};
use super::table::{Row, median, show_figure};
use super::{Options, fleet};
use anyhow::{Context as _, ensure};
use bellwether::clock;
use bellwether::domain::acts::report::{Recorded, report};
use bellwether::domain::assignment::Assignment;
use bellwether::domain::condition::{Condition, ConditionStatus};
use bellwether::domain::desired::Desired;
use bellwether::domain::digest::Digest;
use bellwether::domain::fleet::{Change, FleetState, Identity, IdentityStatus, Revision};
use bellwether::domain::ids::{CommitId, DeviceId, StageName};
use bellwether::domain::overview::baseline::Baseline;
use bellwether::domain::plan::gate::{Candidate, Lineage, PlanInput};
use bellwether::domain::plan::pass::{Meaning, PassInput, Scope, StageView};
use bellwether::domain::plan::passes::Passes;
use bellwether::domain::plan::policy::StagePolicy;
use bellwether::domain::plan::rollouts::Contacts;
use bellwether::domain::plan::suppose::{Supposed, Supposition, suppose};
use bellwether::domain::reported::{Phase, Report};
use bellwether::domain::rollout::machine;
use bellwether::domain::rollout::share::Share;
use bellwether::domain::rollout::simulate::Odds;
use bellwether::domain::snapshot::{Head, Snapshot};
use bellwether::domain::time::Timestamp;
use bellwether::ports::store::Store as _;
use bellwether::store::sqlite::SqliteStore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// How many devices change between two ticks.
const CHANGED: usize = 100;
/// How many ticks the figure is the median of.
const TICKS: usize = 25;
/// Over how long the measured rollout is spread, in seconds.
const WINDOW_SECS: i64 = 86_400;

/// What starting a rollout may take, in milliseconds.
const START_MS: f64 = 10_000.0;
/// What a tick may take, in milliseconds.
const TICK_MS: f64 = 50.0;
/// What a simulated run may take, in milliseconds.
const SIMULATION_MS: f64 = 10_000.0;

/// What a child measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    /// Milliseconds by what they were spent on.
    millis: BTreeMap<String, Vec<f64>>,
    /// How many devices it was about.
    devices: usize,
    /// The most memory that the child ever had, in MiB.
    peak: f64,
}

impl Measured {
    fn of(&self, what: &str) -> anyhow::Result<f64> {
        Ok(median(self.millis.get(what).with_context(|| format!("{what} was not measured"))?.clone()))
    }
}

impl Measured {
    fn most(&self, what: &str) -> anyhow::Result<f64> {
        let all = self.millis.get(what).with_context(|| format!("{what} was not measured"))?;
        Ok(all.iter().copied().fold(0.0, f64::max))
    }
}

/// Every row about rollouts.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let folder = options.folder.join("rollouts");
    std::fs::create_dir_all(&folder)?;
    let folder = folder.display().to_string();
    let (large, small) = if options.quick { ("2000", "1000") } else { ("1000000", "100000") };
    let started = process::run::<Measured>(&["rollouts", "start", large, &folder])?;
    let (make, store) = (started.of("make")?, started.of("store")?);
    let parts = format!("rank and snapshot {}, store {}", show_figure(make, "ms"), show_figure(store, "ms"));
    let result = format!("{} ({parts}), peak {:.0} MiB", show_figure(make + store, "ms"), started.peak);
    let mut rows =
        vec![Row::new(format!("start a rollout of {large} devices"), result).at_most(make + store, START_MS, "ms")];
    let (decide, store) = (started.of("tick")?, started.of("tick store")?);
    let parts = format!("decide {}, store {}", show_figure(decide, "ms"), show_figure(store, "ms"));
    let result = format!("{} ({parts})", show_figure(decide + store, "ms"));
    rows.push(
        Row::new(format!("a tick of a rollout of {large} devices, {CHANGED} of which reported"), result).at_most(
            decide + store,
            TICK_MS,
            "ms",
        ),
    );
    let budgeted = process::run::<Measured>(&["rollouts", "budget", large, &folder])?;
    let (decide, store) = (budgeted.of("tick")?, budgeted.of("tick store")?);
    let first = budgeted.most("tick")?;
    let parts = format!(
        "decide {}, store {}; the first one, which counts everybody, {}",
        show_figure(decide, "ms"),
        show_figure(store, "ms"),
        show_figure(first, "ms")
    );
    let result = format!("{} ({parts})", show_figure(decide + store, "ms"));
    rows.push(Row::new(format!("the same with a budget for all {large} devices"), result).at_most(
        decide + store,
        TICK_MS,
        "ms",
    ));
    let simulated = process::run::<Measured>(&["rollouts", "simulate", small, &folder])?;
    let (run, before) = (simulated.of("run")?, simulated.of("suppose")?);
    let result = format!(
        "{}, planned before in {}, peak {:.0} MiB",
        show_figure(run, "ms"),
        show_figure(before, "ms"),
        simulated.peak
    );
    rows.push(Row::new(format!("simulate {small} devices through a policy of four steps"), result).at_most(
        run + before,
        SIMULATION_MS,
        "ms",
    ));
    Ok(rows)
}

/// A child that measures one case.
pub fn child(case: &str, devices: usize, folder: &Path) -> anyhow::Result<()> {
    let mut watch = Watch::default();
    match case {
        "start" => start(devices, folder, &Value::Null, &mut watch)?,
        "budget" => {
            let half = json!([{ "label": "site", "max_unavailable": "50%", "min_available": "50%" }]);
            start(devices, folder, &half, &mut watch)?;
        }
        "simulate" => simulate(devices, &mut watch)?,
        _ => anyhow::bail!("{case} is no case"),
    }
    let measured = Measured { millis: watch.millis, devices, peak: peak_mib()? };
    process::say(&serde_json::to_value(measured)?);
    Ok(())
}

/// Takes the times.
#[derive(Default)]
struct Watch {
    millis: BTreeMap<String, Vec<f64>>,
}

impl Watch {
    fn time<T>(&mut self, what: &str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.millis.entry(what.to_owned()).or_default().push(begun.elapsed().as_secs_f64() * 1000.0);
        done
    }
}

/// Everybody is there.
#[derive(Debug)]
struct AllHere(Timestamp);

impl Contacts for AllHere {
    fn last_seen(&self, _: &DeviceId) -> Option<Timestamp> {
        Some(self.0)
    }
}

/// A fleet about whose devices nothing is said beyond their groups, and whose commits follow a policy.
fn desired(devices: usize, round: usize, policy: &Value) -> anyhow::Result<Arc<Desired>> {
    let mut snapshot = Snapshot::default();
    for (path, mut content) in fleet::files_of_groups(devices) {
        match path.as_str() {
            "group_vars/all.yml" => {
                content = fleet::all(round);
                content["labels"] = json!({ "site": "everywhere" });
            }
            "fleet.yml" => {
                content["rollouts"] = json!({ "measured": policy });
                content["rollout"] = json!("measured");
            }
            _ => {}
        }
        snapshot.entries.extend(Snapshot::of_files([(path.as_str(), fleet::yaml(&content).as_bytes())]).entries);
    }
    let desired = bellwether::threads::resolver().resolve(&snapshot);
    ensure!(desired.rejection().is_none(), "the generated fleet is not right");
    ensure!(desired.devices.len() == devices, "the commit has {} devices", desired.devices.len());
    Ok(desired)
}

fn revision(round: u8) -> anyhow::Result<Revision> {
    Ok(Revision { commit: CommitId::new(&format!("{round:040x}"))?, inventory: None })
}

/// Devices that are enrolled, claimed, and have what the first commit wants.
fn running(stage: &StageName, before: &Desired) -> anyhow::Result<FleetState> {
    let policy = fleet::policies().remove(0);
    let baseline = Baseline::of_commit(fleet::name(), policy, &revision(0)?.commit, None, before);
    let mut state = baseline.into_state();
    for (number, (device, record)) in state.devices.iter_mut().enumerate() {
        let identity = Identity {
            key_hash: Digest::of(device.as_str().as_bytes()),
            status: IdentityStatus::Enrolled,
            since: Timestamp::EPOCH,
            actor: None,
            attributes: BTreeMap::new(),
            contender: None,
        };
        ensure!(record.control.claims.contains(stage), "device {number} is claimed");
        record.identity = Some(Arc::new(identity));
    }
    Ok(state)
}

/// The controller's planner with what it keeps between passes.
struct Plane {
    policies: Vec<StagePolicy>,
    state: FleetState,
    views: BTreeMap<StageName, StageView>,
    passes: Passes,
    now: Timestamp,
}

impl Plane {
    fn pass(&mut self, scope: &Scope) -> Vec<Change> {
        let Self { policies, state, views, passes, now } = self;
        let contacts = AllHere(*now);
        let input = PassInput { now: *now, stages: policies, state, views, contacts: &contacts };
        passes.pass(&input, scope).changes
    }

    fn apply(&mut self, changes: &[Change]) {
        self.passes.note(&self.state, changes);
        self.state.apply(changes);
    }
}

/// Starts a rollout, and lets some devices report again and again.
fn start(devices: usize, folder: &Path, budgets: &Value, watch: &mut Watch) -> anyhow::Result<()> {
    let mut policy = json!({ "final": { "window": format!("{WINDOW_SECS}s"), "soak": "1s" } });
    if !budgets.is_null() {
        policy["budgets"] = budgets.clone();
    }
    let (before, after) = (desired(devices, 0, &policy)?, desired(devices, 1, &policy)?);
    let stage = fleet::stage();
    let state = running(&stage, &before)?;
    let mut store = SqliteStore::open(&folder.join(if budgets.is_null() { "state.sqlite" } else { "budgets.sqlite" }))?;
    let candidate = Candidate {
        head: Head { commit: revision(1)?.commit, tree: revision(1)?.commit },
        inventory: None,
        desired: after,
        base: Some(revision(0)?),
        lineage: Lineage::Extends,
    };
    let accepted = Some(Meaning { revision: revision(0)?, desired: before });
    let views = BTreeMap::from([(stage.clone(), StageView { accepted, candidate: Some(candidate) })]);
    let now = clock::now();
    let mut plane = Plane { policies: fleet::policies(), state, views, passes: Passes::default(), now };
    // The commit counts; that is measured by the other benchmarks.
    let changes = plane.pass(&Scope::All);
    store.commit(&changes)?;
    plane.apply(&changes);

    let changes = watch.time("make", || plane.pass(&Scope::All));
    watch.time("store", || store.commit(&changes))?;
    plane.apply(&changes);
    let members = plane.state.rollouts.values().map(|one| one.members.len()).sum::<usize>();
    ensure!(members == devices, "the rollout has {members} devices");

    let step = WINDOW_SECS * 1000 * i64::try_from(CHANGED)? / i64::try_from(devices)?;
    let mut offered: Vec<DeviceId> = Vec::new();
    for _ in 0..=TICKS {
        plane.now = plane.now.plus_millis(step.max(1));
        let mut reports = Vec::new();
        for device in &offered {
            reports.extend(reported(&plane.state, device, plane.now)?);
        }
        plane.apply(&reports);
        let scope = Scope::Devices(offered.iter().cloned().collect::<BTreeSet<_>>());
        let changes = watch.time("tick", || plane.pass(&scope));
        watch.time("tick store", || store.commit(&changes))?;
        plane.apply(&changes);
        let assigned = changes.iter().filter_map(|change| match change {
            Change::Assignment(assignment) => Some(assignment.device.clone()),
            _ => None,
        });
        offered = assigned.collect();
    }
    let exposed: u32 = plane.state.rollouts.values().map(|one| one.head.exposed).sum();
    let wanted = u32::try_from(CHANGED * (TICKS - 1))?;
    ensure!(exposed >= wanted.min(u32::try_from(devices)? / 2), "only {exposed} devices were offered anything");
    Ok(())
}

/// What a device says that has what it was assigned, and is well.
fn reported(state: &FleetState, device: &DeviceId, now: Timestamp) -> anyhow::Result<Vec<Change>> {
    let assignment = state.devices[device].assignment.as_ref().context("something is assigned")?;
    let Assignment { spec, .. } = &**assignment;
    let ready = Condition {
        kind: "Ready".to_owned(),
        status: ConditionStatus::True,
        reason: "Settled".to_owned(),
        message: String::new(),
        since: now,
    };
    let said = Report {
        start_id: Digest::of(device.as_str().as_bytes()).hex()[..32].to_owned(),
        start: 1,
        seq: u64::try_from(now.millis())?,
        observed: Some(assignment.mark()),
        applied: Some(spec.digest),
        phase: Phase::Settled,
        conditions: vec![ready],
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
    match report(state, device, said, now)? {
        Recorded::Newer(changes) => Ok(changes),
        Recorded::Stale => anyhow::bail!("the report is old"),
    }
}

/// One run of a fleet through four steps.
fn simulate(devices: usize, watch: &mut Watch) -> anyhow::Result<()> {
    let policy = json!({
        "steps": [
            { "name": "one in a hundred", "take": "1%", "window": "1h", "soak": "30m" },
            { "name": "one in ten", "take": "10%", "window": "6h", "soak": "30m" },
            { "name": "half", "take": "50%", "window": "12h", "soak": "10m" },
        ],
        "final": { "window": "1d" },
    });
    let (before, after) = (desired(devices, 0, &policy)?, desired(devices, 1, &policy)?);
    let state = running(&fleet::stage(), &before)?;
    let candidate = Candidate {
        head: Head { commit: revision(1)?.commit, tree: revision(1)?.commit },
        inventory: None,
        desired: after,
        base: Some(revision(0)?),
        lineage: Lineage::Extends,
    };
    let policies = fleet::policies();
    let accepted = BTreeMap::new();
    let input = PlanInput {
        policy: &policies[0],
        stages: &policies,
        state: &state,
        accepted: &accepted,
        candidate: &candidate,
    };
    let start = clock::now();
    let supposed = watch.time("suppose", || suppose(&input, &Supposition::default(), start))?;
    let rollout = supposed.rollouts().next().context("a rollout")?;
    let changes: BTreeMap<DeviceId, machine::Change> = Supposed::changes(rollout);
    let odds = Odds { failure: Share::percent(1), offline: Share::percent(2), latency_secs: 600 };
    let run = watch.time("run", || supposed.simulate(rollout, &changes, odds, 1)).context("a run")?;
    ensure!(run.status == "DONE", "the run ended at {}: {:?}", run.status, run.waits);
    ensure!(run.exposed > u32::try_from(devices)? / 2, "only {} devices were offered anything", run.exposed);
    Ok(())
}
