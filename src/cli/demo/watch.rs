//! Watches the fleet through the controller's own answers, as a person would, until something is true.

use super::parts::Part;
use crate::cli::client::Client;
use crate::clock::{self, Deadline};
use crate::domain::drift::Verdict;
use crate::domain::generation::Order;
use crate::domain::ids::DeviceId;
use crate::domain::overview::device::{DeviceDetail, DeviceRow};
use crate::domain::overview::drift::DriftReport;
use crate::domain::overview::rollouts::{RolloutDetail, RolloutRow};
use crate::domain::reported::{Found, Phase};
use anyhow::{Context as _, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Time between two looks at the controller.
const LOOK: Duration = Duration::from_millis(50);

/// Time between two looks while something is mended, which may take no longer than a few writes to disk.
const CLOSE_LOOK: Duration = Duration::from_millis(4);

/// The fleet as it was at one moment.
pub type Rows = BTreeMap<DeviceId, DeviceRow>;

/// Watches a controller.
pub struct Watch<'a> {
    /// The controller.
    pub client: &'a Client,
    /// Its process and the agents': if one ends, waiting is of no use.
    pub parts: &'a mut Vec<Part>,
    /// How long one scene may take.
    pub patience: Duration,
}

impl Watch<'_> {
    /// The fleet now.
    pub async fn rows(&self) -> anyhow::Result<Rows> {
        let rows: Vec<DeviceRow> = self.client.get("/v1/devices").await.context("cannot list the devices")?;
        Ok(rows.into_iter().map(|row| (row.device.clone(), row)).collect())
    }

    /// The drift report now.
    pub async fn drift(&self) -> anyhow::Result<DriftReport> {
        self.client.get("/v1/drift").await.context("cannot read the drift report")
    }

    /// Waits until the controller answers.
    pub async fn until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = clock::deadline(self.patience);
        while self.rows().await.is_err() {
            self.pause(deadline, "the controller does not answer").await?;
        }
        Ok(())
    }

    /// Waits until every device has reached what it was assigned, and tells of each that gets there.
    pub async fn until_settled(&mut self, mut told: impl FnMut(&DeviceRow)) -> anyhow::Result<Rows> {
        let deadline = clock::deadline(self.patience);
        let mut settled = BTreeSet::new();
        loop {
            let rows = self.rows().await?;
            for (device, row) in &rows {
                if !is_settled(row) {
                    settled.remove(device);
                } else if settled.insert(device.clone()) {
                    told(row);
                }
            }
            if !rows.is_empty() && rows.values().all(is_settled) {
                return Ok(rows);
            }
            self.pause(deadline, &unsettled(&rows)).await?;
        }
    }

    /// Waits until these devices have another assignment than before and all of the fleet has settled; tells of each.
    pub async fn until_changed(
        &mut self,
        before: &Rows,
        devices: &BTreeSet<DeviceId>,
        mut told: impl FnMut(&DeviceRow, &DeviceRow),
    ) -> anyhow::Result<Rows> {
        let deadline = clock::deadline(self.patience);
        let mut done = BTreeSet::new();
        loop {
            let rows = self.rows().await?;
            for device in devices.difference(&done.clone()) {
                if let (Some(old), Some(new)) = (before.get(device), rows.get(device))
                    && old.assigned != new.assigned
                    && is_settled(new)
                {
                    told(old, new);
                    done.insert(device.clone());
                }
            }
            if done.len() == devices.len() && rows.values().all(is_settled) {
                return Ok(rows);
            }
            self.pause(deadline, &unsettled(&rows)).await?;
        }
    }

    /// Waits until the rollout of a commit stands so.
    pub async fn until_rollout(&mut self, commit: &str, status: &str) -> anyhow::Result<RolloutDetail> {
        let deadline = clock::deadline(self.patience);
        loop {
            let rows: Vec<RolloutRow> = self.client.get("/v1/rollouts").await.context("cannot list the rollouts")?;
            let found = rows.into_iter().find(|row| row.commit.short() == commit);
            if let Some(row) = found.as_ref().filter(|row| row.status == status) {
                let path = format!("/v1/rollouts/{}", row.rollout);
                return self.client.get(&path).await.context("cannot ask for the rollout");
            }
            let stands = found.map_or_else(|| "not there".to_owned(), |row| row.status);
            self.pause(deadline, &format!("the rollout of {commit} is {stands}, not {status}")).await?;
        }
    }

    /// Waits until a device has told of differences that it found after `count` others, and tells what the drift report
    /// said meanwhile; then until it is mended.
    pub async fn until_mended(
        &mut self,
        device: &DeviceId,
        known: &[Found],
        mut drifted: impl FnMut(&DriftReport),
    ) -> anyhow::Result<Vec<Found>> {
        let deadline = clock::deadline(self.patience);
        let mut seen = false;
        loop {
            let report = self.drift().await?;
            let verdict = report.devices.get(device).map(|one| one.verdict);
            if verdict == Some(Verdict::Drifted) && !seen {
                seen = true;
                drifted(&report);
            }
            let detail: DeviceDetail = self.client.get(&format!("/v1/devices/{device}")).await?;
            let found: Vec<Found> = detail.found.into_iter().filter(|one| !known.contains(one)).collect();
            if !found.is_empty() && verdict == Some(Verdict::InSync) && is_settled(&detail.row) {
                return Ok(found);
            }
            let missing = format!("{device} has not been mended");
            self.pause_for(if seen { LOOK } else { CLOSE_LOOK }, deadline, &missing).await?;
        }
    }

    async fn pause(&mut self, deadline: Deadline, missing: &str) -> anyhow::Result<()> {
        self.pause_for(LOOK, deadline, missing).await
    }

    async fn pause_for(&mut self, time: Duration, deadline: Deadline, missing: &str) -> anyhow::Result<()> {
        for part in self.parts.iter_mut() {
            if let Some(why) = part.ended() {
                bail!("{why}");
            }
        }
        if deadline.left().is_zero() {
            let logs: String =
                self.parts.iter().map(|part| format!("  log of {}:\n{}", part.name(), part.log_tail())).collect();
            bail!("gave up after {} s: {missing}\n{logs}", self.patience.as_secs());
        }
        tokio::time::sleep(time).await;
        Ok(())
    }
}

/// Whether a device has reached what it was assigned, as the controller knows it.
pub fn is_settled(row: &DeviceRow) -> bool {
    row.assigned.is_some()
        && row.observed == row.assigned
        && row.phase == Some(Phase::Settled)
        && row.drift == Verdict::InSync
}

fn unsettled(rows: &Rows) -> String {
    let waiting = rows
        .values()
        .filter(|row| !is_settled(row))
        .map(|row| format!("{} ({})", row.device, row.waits_for.as_deref().unwrap_or("its drift is not in sync yet")));
    format!("still waiting for {}", waiting.collect::<Vec<_>>().join(", "))
}

/// Devices whose assignment differs between two moments.
pub fn changed(before: &Rows, after: &Rows) -> BTreeSet<DeviceId> {
    let place = |rows: &Rows, device: &DeviceId| -> Option<Order> { rows.get(device)?.assigned };
    after.keys().filter(|device| place(before, device) != place(after, device)).cloned().collect()
}
