//! Resolving and planning: from the bytes of a commit to what each device is assigned.

use super::process::{self, peak_mib, thread_cpu_secs};
use super::repo::Remote;
use super::table::{Row, median, show_figure};
use super::{Options, fleet};
use anyhow::{bail, ensure};
use bellwether::clock;
use bellwether::domain::desired::Desired;
use bellwether::domain::digest::Digest;
use bellwether::domain::finding::Severity;
use bellwether::domain::fleet::{DeviceRecord, FleetState, Identity, IdentityStatus};
use bellwether::domain::ids::{CommitId, StageName};
use bellwether::domain::plan::gate::{Candidate, Lineage};
use bellwether::domain::plan::pass::{Meaning, PassInput, PassOutput, Scope, StageView};
use bellwether::domain::plan::passes::Passes;
use bellwether::domain::plan::policy::StagePolicy;
use bellwether::domain::plan::rollouts::NoContacts;
use bellwether::domain::snapshot::{Head, Snapshot};
use bellwether::git::{GitMirror, RemoteUrl};
use bellwether::ports::repo::{Fetch, Repo as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// How many fresh processes a cold figure is the median of.
pub(super) const COLD_RUNS: usize = 5;
/// How many commits in a row the figure for one file is the median of.
const COMMITS: usize = 25;

/// What a cold start of a fleet may take, in milliseconds.
const COLD_MS: f64 = 1000.0;
/// From this size on it may take [`LARGE_COLD_MS`].
const LARGE: usize = 100_000;
/// What a cold start of a large fleet may take, in milliseconds.
const LARGE_COLD_MS: f64 = 5000.0;

/// What a million devices may take of memory, in MiB.
pub(super) const MOST_MIB: f64 = 3072.0;

/// What a child measured.
#[derive(Serialize, Deserialize)]
pub(super) struct Measured {
    /// Milliseconds from the start to the decision, one for each repetition.
    pub(super) wall: Vec<f64>,
    /// The same in processor time of the one thread that works.
    pub(super) cpu: Vec<f64>,
    /// Of the processor time: resolving, or fetching, reading and resolving.
    pub(super) resolve: Vec<f64>,
    /// The most memory that the child ever had, in MiB.
    pub(super) peak: f64,
}

/// Every row about planning.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let folder = options.folder.as_path();
    let sizes: &[usize] = if options.quick { &[100] } else { &[1000, 10_000, 100_000] };
    let cold_runs = if options.quick { 1 } else { COLD_RUNS };
    let mut rows = Vec::new();
    for &devices in sizes {
        let count = devices.to_string();
        let run = |case: &str| process::run::<Measured>(&["plan", case, &count]);
        let reference = median(run("reference")?.cpu);
        let cold = all_of((0..cold_runs).map(|_| run("cold")))?;
        let cold_aim = if devices >= LARGE { LARGE_COLD_MS } else { COLD_MS };
        rows.push(row(&format!("{count} devices, cold, in memory"), &cold, reference, cold_aim));
        let one = run("one-file")?;
        rows.push(row(&format!("{count} devices, commit of one file, in memory"), &one, reference, 100.0));

        let remote = folder.join(format!("remote-{devices}.git"));
        Remote::make(&remote, devices)?;
        let remote = remote.display().to_string();
        let run = |case: &str| process::run::<Measured>(&["plan-git", case, &remote, &count]);
        for (case, what, aim) in [
            ("clone", "cold, through Git, cloned first", cold_aim),
            ("restart", "cold, through Git, after a restart", cold_aim),
            ("one-file", "commit of one file, through Git", 100.0),
        ] {
            rows.push(row(&format!("{count} devices, {what}"), &run(case)?, reference, aim));
        }
    }
    let count = if options.quick { "1000" } else { "1000000" };
    let reference = median(process::run::<Measured>(&["plan", "names", count])?.wall);
    let measured = process::run::<Measured>(&["plan", "groups", count])?;
    let wall = median(measured.wall.clone());
    let result = format!("{}, peak {:.0} MiB", show_figure(wall, "ms"), measured.peak);
    rows.push(
        Row::new(format!("resolve {count} devices without files of their own"), result)
            .against("JSON of their names by group parsed", wall, reference, "ms")
            .at_most(wall, 30_000.0, "ms")
            .at_most(measured.peak, MOST_MIB, "MiB"),
    );
    Ok(rows)
}

fn all_of(runs: impl Iterator<Item = anyhow::Result<Measured>>) -> anyhow::Result<Measured> {
    let mut all = Measured { wall: Vec::new(), cpu: Vec::new(), resolve: Vec::new(), peak: 0.0 };
    for run in runs {
        let Measured { wall, cpu, resolve, peak } = run?;
        all.wall.extend(wall);
        all.cpu.extend(cpu);
        all.resolve.extend(resolve);
        all.peak = all.peak.max(peak);
    }
    Ok(all)
}

fn row(what: &str, measured: &Measured, reference: f64, aim: f64) -> Row {
    let (wall, cpu) = (median(measured.wall.clone()), median(measured.cpu.clone()));
    let resolve = median(measured.resolve.clone());
    let parts = format!("resolve {}, plan {}", show_figure(resolve, "ms"), show_figure(cpu - resolve, "ms"));
    let result = format!("{} ({parts}), peak {:.0} MiB", show_figure(wall, "ms"), measured.peak);
    Row::new(format!("resolve and plan {what}"), result)
        .against("JSON of the same files parsed", cpu, reference, "ms")
        .at_most(wall, aim, "ms")
}

/// A stage's state as the owner and the watcher keep it.
struct Plane {
    policies: Vec<StagePolicy>,
    state: FleetState,
    views: BTreeMap<StageName, StageView>,
    passes: Passes,
    devices: usize,
    commits: u64,
}

impl Plane {
    /// All devices are enrolled, and nothing was ever assigned.
    fn new(devices: usize) -> Self {
        let enrolled = |number: usize| {
            let identity = Identity {
                key_hash: Digest::of(&number.to_be_bytes()),
                status: IdentityStatus::Enrolled,
                since: clock::now(),
                actor: None,
                attributes: BTreeMap::new(),
                contender: None,
            };
            (fleet::device(number), DeviceRecord { identity: Some(Arc::new(identity)), ..DeviceRecord::default() })
        };
        let state = FleetState { devices: (0..devices).map(enrolled).collect(), ..FleetState::default() };
        Self {
            policies: fleet::policies(),
            state,
            views: BTreeMap::new(),
            passes: Passes::default(),
            devices,
            commits: 0,
        }
    }

    /// A head of its own for each commit that does not come from Git.
    fn next_head(&mut self) -> anyhow::Result<Head> {
        self.commits += 1;
        let commit = CommitId::new(&Digest::of(&self.commits.to_be_bytes()).hex())?;
        Ok(Head { tree: commit.clone(), commit })
    }

    /// What a pass decides about a commit.
    fn plan(&mut self, head: Head, desired: Arc<Desired>) -> PassOutput {
        let view = self.views.entry(fleet::stage()).or_default();
        let base = view.accepted.as_ref().map(|meaning| meaning.revision.clone());
        view.candidate = Some(Candidate { head, inventory: None, desired, base, lineage: Lineage::Extends });
        let Self { policies, state, views, passes, .. } = self;
        passes
            .pass(&PassInput { now: clock::now(), stages: policies, state, views, contacts: &NoContacts }, &Scope::All)
    }

    /// Applies what was decided, once it is sure that the right thing was measured.
    fn settle(&mut self, output: &PassOutput, wanted: usize) -> anyhow::Result<()> {
        let assigned = output.assigned().count();
        ensure!(assigned == wanted, "{assigned} of {} devices were assigned something, not {wanted}", self.devices);
        self.passes.note(&self.state, &output.changes);
        self.state.apply(&output.changes);
        let view = self.views.entry(fleet::stage()).or_default();
        if let Some(candidate) = view.candidate.take() {
            view.accepted = Some(Meaning { revision: candidate.revision(), desired: candidate.desired });
        }
        Ok(())
    }
}

/// A child that measures one case in memory.
pub fn child(case: &str, devices: usize) -> anyhow::Result<()> {
    let mut measured = match case {
        "reference" => reference(devices)?,
        "cold" => in_memory(devices, 0)?,
        "one-file" => in_memory(devices, COMMITS)?,
        "groups" => groups_only(devices)?,
        "names" => names(devices)?,
        _ => bail!("{case} is no case"),
    };
    measured.peak = peak_mib()?;
    process::say(&serde_json::to_value(measured)?);
    Ok(())
}

/// The reference: the same values, written as JSON, parsed by a parser that keeps no places and gives no meaning.
fn reference(devices: usize) -> anyhow::Result<Measured> {
    let files: Vec<String> = fleet::files(devices).map(|(_, content)| content.to_string()).collect();
    let mut watch = Watch::default();
    for _ in 0..COLD_RUNS {
        watch.start();
        let parsed: Vec<serde_json::Value> =
            files.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>()?;
        watch.resolved();
        watch.decided();
        drop(parsed);
    }
    Ok(watch.0)
}

/// The reference for devices without files of their own: their names by group, in the shape of `ansible-inventory --list`.
fn names(devices: usize) -> anyhow::Result<Measured> {
    let text = fleet::listing(devices).to_string();
    let mut watch = Watch::default();
    for _ in 0..COLD_RUNS {
        watch.start();
        let parsed: serde_json::Value = serde_json::from_str(&text)?;
        watch.resolved();
        watch.decided();
        drop(parsed);
    }
    Ok(watch.0)
}

/// Devices without files of their own: what they come to is what their groups say.
fn groups_only(devices: usize) -> anyhow::Result<Measured> {
    let snapshot = snapshot(fleet::files_of_groups(devices));
    let mut watch = Watch::default();
    watch.start();
    let desired = bellwether::threads::resolver().resolve(&snapshot);
    watch.resolved();
    watch.decided();
    sound(&desired, devices)?;
    Ok(watch.0)
}

/// The first commit, and so many after it; only the last kind is told.
fn in_memory(devices: usize, commits: usize) -> anyhow::Result<Measured> {
    let mut snapshot = snapshot(fleet::files(devices));
    let mut plane = Plane::new(devices);
    let mut resolver = bellwether::threads::resolver();
    let mut watch = Watch::default();
    for round in 0..=commits {
        if round > 0 {
            let (path, content) = fleet::host_file(round % devices, round);
            snapshot.entries.extend(self::snapshot([(path, content)]).entries);
        }
        if round == 1 {
            watch = Watch::default();
        }
        let head = plane.next_head()?;
        watch.start();
        let desired = resolver.resolve(&snapshot);
        watch.resolved();
        let output = plane.plan(head, desired.clone());
        watch.decided();
        sound(&desired, devices)?;
        plane.settle(&output, if round == 0 { devices } else { 1 })?;
    }
    Ok(watch.0)
}

pub(super) fn snapshot(files: impl IntoIterator<Item = (String, serde_json::Value)>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (path, content) in files {
        snapshot.entries.extend(Snapshot::of_files([(path.as_str(), fleet::yaml(&content).as_bytes())]).entries);
    }
    snapshot
}

/// A child that measures the same through a real remote and a real mirror: fetching and reading count too. The mirror stays for
/// the next case.
pub fn child_through_git(case: &str, folder: &Path, devices: usize) -> anyhow::Result<()> {
    let remote = Remote::open(folder)?;
    let commits = if case == "one-file" { COMMITS } else { 0 };
    let mut repo = GitMirror::open(&folder.with_extension("mirror"), RemoteUrl::Local(folder.to_owned()))?;
    let mut plane = Plane::new(devices);
    let mut resolver = bellwether::threads::resolver();
    let mut watch = Watch::default();
    for round in 0..=commits {
        if round > 0 {
            remote.commit([fleet::host_file(round % devices, round)])?;
        }
        if round == 1 {
            watch = Watch::default();
        }
        watch.start();
        let Fetch::Fetched(heads) = repo.fetch(&[fleet::stage()]) else { bail!("the remote brought nothing") };
        let head = heads[&fleet::stage()].clone();
        let desired = resolver.resolve(&repo.snapshot(&head.commit)?);
        watch.resolved();
        let output = plane.plan(head, desired.clone());
        watch.decided();
        sound(&desired, devices)?;
        plane.settle(&output, if round == 0 { devices } else { 1 })?;
    }
    watch.0.peak = peak_mib()?;
    process::say(&serde_json::to_value(watch.0)?);
    Ok(())
}

pub(super) fn sound(desired: &Desired, devices: usize) -> anyhow::Result<()> {
    let errors: Vec<&str> = desired
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.message.as_str())
        .collect();
    ensure!(errors.is_empty(), "the generated fleet has {} errors, such as {}", errors.len(), errors[0]);
    ensure!(desired.devices.len() == devices, "the commit has {} devices", desired.devices.len());
    Ok(())
}

/// Takes the times.
pub(super) struct Watch(pub(super) Measured, Option<(Instant, f64)>);

impl Default for Watch {
    fn default() -> Self {
        Self(Measured { wall: Vec::new(), cpu: Vec::new(), resolve: Vec::new(), peak: 0.0 }, None)
    }
}

impl Watch {
    pub(super) fn start(&mut self) {
        let cpu = thread_cpu_secs();
        self.1 = Some((Instant::now(), cpu));
    }

    pub(super) fn resolved(&mut self) {
        let begun = self.1.map_or(0.0, |(_, cpu)| cpu);
        self.0.resolve.push((thread_cpu_secs() - begun) * 1000.0);
    }

    pub(super) fn decided(&mut self) {
        let Some((begun, cpu)) = self.1.take() else { return };
        self.0.wall.push(begun.elapsed().as_secs_f64() * 1000.0);
        self.0.cpu.push((thread_cpu_secs() - cpu) * 1000.0);
    }
}
