//! The story that the demo tells, and how it is told.

use super::repo::DemoRepo;
use super::watch::{Rows, Watch, changed};
use crate::cli::console::Console;
use crate::domain::drift::Difference;
use crate::domain::ids::{AppName, DeviceId, ServiceName};
use crate::domain::overview::device::DeviceRow;
use crate::domain::overview::drift::DriftReport;
use crate::domain::overview::rollouts::{FailureRow, RolloutDetail, RolloutRow};
use crate::domain::plan::ownership::Standing;
use crate::domain::rollout::gate::Counts;
use anstyle::{AnsiColor, Style};
use anyhow::ensure;
use std::collections::BTreeSet;
use std::time::Duration;

const HEAD: Style = AnsiColor::Cyan.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// How long a person gets to read before the next scene, on a terminal.
const READING: Duration = Duration::from_millis(1500);

/// Tells what happens.
pub struct Teller<'a> {
    /// Where to.
    pub console: &'a Console,
    /// Whether a person watches.
    pub audience: Audience,
    /// How many scenes were told.
    pub scene: usize,
}

/// Who reads the demo's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A person at a terminal, who needs time to read.
    Person,
    /// A file or a program.
    Program,
}

impl Teller<'_> {
    /// Begins a scene.
    pub async fn scene(&mut self, title: &str, why: &str) -> anyhow::Result<()> {
        if self.audience == Audience::Person && self.scene > 0 {
            // Not for the machine but for the person, who reads the scene before.
            tokio::time::sleep(READING).await;
        }
        self.scene += 1;
        self.console.print(format!("\n{HEAD}{}. {title}{HEAD:#}\n   {QUIET}{why}{QUIET:#}\n", self.scene))
    }

    /// One line of a scene.
    pub fn line(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        self.console.print(format!("   {text}\n"))
    }

    /// Something that went as it should.
    pub fn good(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        self.line(format!("{GOOD}✔{GOOD:#} {text}"))
    }

    /// Something that is not as it should be.
    pub fn bad(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        self.line(format!("{BAD}✘{BAD:#} {text}"))
    }
}

/// The release that the story brings to the fleet.
pub const NEW_RELEASE: &str = "1.1.0";
/// The app that it is a release of.
pub const APP: &str = "telemetry";
/// A release that does not run, which somebody brings to production in a hurry.
pub const BAD_RELEASE: &str = "1.2.0";
/// The release that mends it.
pub const MENDED_RELEASE: &str = "1.2.1";
/// How the digest of the bad release's image begins.
pub const BROKEN_DIGITS: &str = "0bad0bad0bad0bad";
/// The device that is pulled out of shape, and the service of it.
pub const VICTIM: (&str, &str, &str) = ("kiosk-harbour", "signage", "player");

/// Where a device's settled line goes.
pub fn settled_line(row: &DeviceRow) -> String {
    format!("{:<16} {:<11} {}", row.device, row.standing, show_apps(row))
}

fn show_apps(row: &DeviceRow) -> String {
    let mut parts: Vec<String> = row.apps.iter().map(|(app, version)| format!("{app} {version}")).collect();
    parts.extend(row.os.iter().map(|version| format!("os {version}")));
    parts.join(", ")
}

/// What changed on a device between two moments, in a person's words.
fn change_line(old: &DeviceRow, new: &DeviceRow) -> String {
    let changes: Vec<String> = new
        .apps
        .iter()
        .filter_map(|(app, version)| {
            let before = old.apps.get(app)?;
            (before != version).then(|| format!("{app} {before} → {version}"))
        })
        .collect();
    let place = |row: &DeviceRow| row.assigned.map(|order| order.generation.to_string()).unwrap_or_default();
    format!("{:<16} {}, generation {} → {}", new.device, changes.join(", "), place(old), place(new))
}

/// A stage got a commit: waits until its devices have it, and makes sure that no other device changed.
pub async fn only_this_stage_changes(
    teller: &Teller<'_>,
    watch: &mut Watch<'_>,
    before: &Rows,
    stage: &str,
) -> anyhow::Result<Rows> {
    let app = AppName::new(APP)?;
    // The board whose pin names an exact version stays, whatever its stage does.
    let tracks = |row: &&DeviceRow| row.apps.get(&app).is_some_and(|version| version.as_str() == "1.0.0");
    let owned = |row: &&DeviceRow| matches!(&row.standing, Standing::Owned(owner) if owner.as_str() == stage);
    let expected: BTreeSet<DeviceId> =
        before.values().filter(owned).filter(tracks).map(|row| row.device.clone()).collect();
    let after = watch
        .until_changed(before, &expected, |old, new| {
            // A closed stdout shows at the next line that is not in a closure.
            let _ = teller.good(change_line(old, new));
        })
        .await?;
    let actual = changed(before, &after);
    ensure!(actual == expected, "on {stage}, {actual:?} changed; {expected:?} should have");
    let rest: Vec<&str> = after.keys().filter(|device| !actual.contains(*device)).map(DeviceId::as_str).collect();
    teller.line(format!("{QUIET}unchanged: {}{QUIET:#}", rest.join(", ")))?;
    Ok(after)
}

/// The new release: what the one before is, with a new image and a shorter interval.
pub fn new_release(files: &[super::repo::Edit]) -> anyhow::Result<Vec<super::repo::Edit>> {
    another_release(files, NEW_RELEASE, |text| text.replace("INTERVAL_SECS: 60", "INTERVAL_SECS: 20"))
}

/// A release whose program ends as soon as it is started, on real engines and on simulated ones.
pub fn bad_release(files: &[super::repo::Edit]) -> anyhow::Result<Vec<super::repo::Edit>> {
    another_release(files, BAD_RELEASE, |text| {
        let broken = match text.split_once("@sha256:") {
            Some((before, after)) => format!("{before}@sha256:{BROKEN_DIGITS}{}", &after[BROKEN_DIGITS.len()..]),
            None => text.to_owned(),
        };
        broken.replace("    environment:\n", "    restart: \"no\"\n    environment:\n      SIMULATED_EXIT: 3\n")
    })
}

/// The release after that, which is well again.
pub fn mended_release(files: &[super::repo::Edit]) -> anyhow::Result<Vec<super::repo::Edit>> {
    another_release(files, MENDED_RELEASE, |text| text.replace("INTERVAL_SECS: 60", "INTERVAL_SECS: 10"))
}

/// What release 1.0.0 is, under another version and with something else in it.
fn another_release(
    files: &[super::repo::Edit],
    version: &str,
    change: impl Fn(&str) -> String,
) -> anyhow::Result<Vec<super::repo::Edit>> {
    let old = format!("releases/{APP}/1.0.0/");
    let new = files.iter().filter_map(|(path, text)| {
        let name = path.strip_prefix(&old)?;
        Some((format!("releases/{APP}/{version}/{name}"), change(&text.replace("1.0.0", version))))
    });
    let edits: Vec<super::repo::Edit> = new.collect();
    ensure!(!edits.is_empty(), "the example has no release {old}");
    Ok(edits)
}

/// `fleet.yml` with the policy that production follows in the example.
pub fn with_policy(files: &[super::repo::Edit]) -> anyhow::Result<super::repo::Edit> {
    let text = files.iter().find(|(path, _)| path == "fleet.yml").map(|(_, text)| text);
    let text = text.map(|text| text.replace("policy: immediate", "policy: canary-first")).unwrap_or_default();
    ensure!(text.contains("policy: canary-first"), "the example names no rollout policy");
    Ok(("fleet.yml".to_owned(), format!("{text}{QUICK_POLICY}")))
}

/// That policy with seconds instead of hours, and with a way back.
const QUICK_POLICY: &str = "
rollouts:
  canary-first:
    on_error: rollback
    steps: [{ name: canaries, group: canaries, min_success: 100%, soak: 2s }]
    final: { soak: 1s }
";

/// One device is pulled out of shape by `tamper`; the drift report notices, and the agent mends it.
pub async fn out_of_shape(
    teller: &Teller<'_>,
    watch: &mut Watch<'_>,
    tamper: impl AsyncFnOnce(&DeviceId, &AppName, &ServiceName) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let (device, app, service) = (DeviceId::new(VICTIM.0)?, AppName::new(VICTIM.1)?, ServiceName::new(VICTIM.2)?);
    let known =
        watch.client.get::<crate::domain::overview::device::DeviceDetail>(&format!("/v1/devices/{device}")).await?;
    let what = tamper(&device, &app, &service).await?;
    teller.line(format!("by hand, on {device}: {what}"))?;
    let mut noticed = false;
    let found = watch
        .until_mended(&device, &known.found, |report: &DriftReport| {
            noticed = true;
            let differences = report.devices.get(&device).into_iter().flat_map(|one| one.drift.differences());
            for difference in differences {
                let _ = teller.bad(format!("drift report: {}", show_difference(&device, difference)));
            }
        })
        .await?;
    if !noticed {
        // The repair was quicker than our look at the report; what was found is in the device's own report.
        for one in &found {
            teller.bad(format!("reported by the device: {}", show_difference(&device, &one.difference)))?;
        }
    }
    teller.good(format!("{device} mended by its agent, after it had reported what it found"))
}

fn show_difference(device: &DeviceId, difference: &Difference) -> String {
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    format!("{device}: {} is {}, should be {}", difference.subject, side(&difference.found), side(&difference.wanted))
}

/// The drift report at the end: every device by its verdict.
pub fn show_report(teller: &Teller<'_>, report: &DriftReport) -> anyhow::Result<()> {
    for (device, one) in &report.devices {
        let layers: Vec<String> = one
            .drift
            .layers
            .iter()
            .map(|(layer, status)| {
                let word = match status {
                    crate::domain::drift::LayerStatus::InSync => "in sync",
                    crate::domain::drift::LayerStatus::Drifted { .. } => "DRIFTED",
                    crate::domain::drift::LayerStatus::Unknown { .. } => "UNKNOWN",
                };
                format!("{} {word}", layer.name())
            })
            .collect();
        teller.line(format!("{device:<16} {}", layers.join(" · ")))?;
    }
    let totals = report.totals;
    teller.line(format!("{} in sync, {} drifted, {} unknown", totals.in_sync, totals.drifted, totals.unknown))
}

/// What became of the rollout that a commit made: waits until it has ended so, and tells of its steps and failures.
pub async fn rollout_ends(
    teller: &Teller<'_>,
    watch: &mut Watch<'_>,
    commit: &str,
    status: &str,
) -> anyhow::Result<RolloutDetail> {
    let found = watch.until_rollout(commit, status).await?;
    for step in found.all_steps.iter().filter(|step| step.started.is_some()) {
        let Counts { members, ok, .. } = step.counts;
        let text = format!("step {:<9} {:<7} {ok} of {members} devices are well with it", step.name, step.status);
        if step.status == "PASSED" { teller.good(text)? } else { teller.bad(text)? }
    }
    for FailureRow { device, failure, message, .. } in &found.failures {
        teller.bad(format!("{device} {failure}: {}", message.as_deref().unwrap_or("without a word")))?;
    }
    let RolloutRow { rollout, exposed, devices, .. } = &found.row;
    teller.line(format!("rollout {rollout} is {status}; {exposed} of {devices} devices were offered it"))?;
    Ok(found)
}

/// Commits the new release to main.
pub fn release(repo: &DemoRepo, edits: &[super::repo::Edit]) -> anyhow::Result<String> {
    repo.commit("main", &format!("Release {APP} {NEW_RELEASE}"), edits)
}
