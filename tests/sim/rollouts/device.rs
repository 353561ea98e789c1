//! A device as rollouts see it: it accepts what is newer, works for a while, succeeds or goes back, and tells it.

use super::Trial;
use crate::oracle::Broken;
use crate::stream::Stream;
use bellwether::domain::assignment::{Assignment, Mark};
use bellwether::domain::condition::{Condition, ConditionStatus};
use bellwether::domain::device::terminal::{FailedPhase, TerminalFailure};
use bellwether::domain::digest::Digest;
use bellwether::domain::generation::Attempt;
use bellwether::domain::ids::DeviceId;
use bellwether::domain::reported::{Phase, Report};
use bellwether::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often a device reports although nothing happened, in milliseconds.
const REPORT_MILLIS: i64 = 120_000;

pub struct Device {
    /// Until when nothing reaches it and it reaches nobody.
    pub away_until: i64,
    /// What its ledger holds.
    pub accepted: Option<Arc<Assignment>>,
    /// What works on it.
    pub runs: Option<Digest>,
    works_until: Option<i64>,
    failed: BTreeMap<Digest, Attempt>,
    failure: Option<TerminalFailure>,
    well_since: i64,
    start: u64,
    seq: u64,
    report_at: i64,
    skew: i64,
    /// How long it works, in milliseconds.
    pace: i64,
}

impl Device {
    pub fn new(chance: &mut Stream) -> Self {
        let (skew, pace) = (chance.between(-600_000, 600_000), chance.between(5_000, 90_000));
        Self {
            away_until: 0,
            accepted: None,
            runs: None,
            works_until: None,
            failed: BTreeMap::new(),
            failure: None,
            well_since: 0,
            start: 1,
            seq: 0,
            report_at: 0,
            skew,
            pace,
        }
    }

    /// Its agent dies: what it was at begins anew.
    pub fn die(&mut self) {
        self.start += 1;
        self.seq = 0;
        self.report_at = 0;
        self.works_until = self.works_until.map(|until| until + self.pace);
    }

    fn mark(&self) -> Option<Mark> {
        self.accepted.as_ref().map(|one| one.mark())
    }

    fn accepts(&mut self, assignment: Arc<Assignment>, now: i64) {
        let (digest, attempt) = (assignment.spec.digest, assignment.attempt);
        self.accepted = Some(assignment);
        self.report_at = 0;
        self.failure = None;
        self.works_until = (self.runs != Some(digest)).then(|| now + self.pace);
        // What failed for good is not tried again at the same attempt.
        if self.failed.get(&digest).is_some_and(|failed| *failed >= attempt) && self.runs != Some(digest) {
            self.works_until = None;
            self.fails(digest, attempt, now);
        }
    }

    fn fails(&mut self, digest: Digest, attempt: Attempt, now: i64) {
        self.failed.insert(digest, attempt);
        self.failure = Some(TerminalFailure {
            digest,
            attempt,
            phase: FailedPhase::Soaking,
            component: "web/app".to_owned(),
            reason: "CrashLoop".to_owned(),
            message: "it ended four times".to_owned(),
            log: Vec::new(),
            core_dump: None,
            at: Timestamp::from_millis(now + self.skew),
            rolled_back_to: self.runs,
        });
        self.report_at = 0;
    }

    fn report(&mut self) -> Report {
        self.seq += 1;
        let is_well = self.works_until.is_none() && self.failure.is_none();
        let ready = Condition {
            kind: "Ready".to_owned(),
            status: if is_well { ConditionStatus::True } else { ConditionStatus::False },
            reason: if is_well { "Settled" } else { "Applying" }.to_owned(),
            message: String::new(),
            since: Timestamp::from_millis(self.well_since + self.skew),
        };
        Report {
            start: self.start,
            start_id: format!("{:032x}", self.start),
            seq: self.seq,
            observed: self.mark(),
            applied: self.runs,
            phase: if self.works_until.is_some() { Phase::Applying } else { Phase::Settled },
            conditions: vec![ready],
            apps: None,
            os: None,
            os_update: None,
            host: None,
            found: Vec::new(),
            refused: None,
            failure: self.failure.clone(),
            locks: Vec::new(),
            actions: None,
            branch: None,
            attributes: BTreeMap::new(),
        }
    }
}

impl Trial {
    /// What a device does in a round.
    pub(super) fn device_round(&mut self, name: &DeviceId) -> Result<(), Broken> {
        let (now, clock) = (self.now, self.clock());
        let lost = |trial: &mut Self| !trial.calm && trial.chance.happens(60);
        let device = self.devices.get_mut(name).expect("it is there");
        let is_away = now < device.away_until;
        if device.works_until.is_some_and(|until| until <= now) {
            device.works_until = None;
            let assignment = device.accepted.clone().expect("it works on something");
            let value = value_of(&assignment);
            if self.fleet.fails(value, name) {
                device.fails(assignment.spec.digest, assignment.attempt, now);
                // Some take the device with them, for a while.
                if !self.calm && self.chance.happens(150) {
                    self.devices.get_mut(name).expect("it is there").away_until = now + 600_000;
                    self.counts.count("rollouts: devices lost");
                }
            } else {
                device.runs = Some(assignment.spec.digest);
                device.well_since = now;
                device.report_at = 0;
            }
        }
        if is_away || self.controller.process.is_none() || self.strangers.contains(name) {
            return Ok(());
        }
        let polls = !lost(self);
        if polls {
            self.oracle.heard.insert(name.clone(), clock);
        }
        if polls && let Some(assignment) = self.controller.hands_out(name, clock) {
            let state = &self.controller.process.as_ref().expect("it runs").state;
            let device = self.devices.get_mut(name).expect("it is there");
            if device.mark().is_none_or(|mark| mark.order < assignment.order) {
                self.oracle.handed(&assignment, state)?;
                device.accepts(assignment, now);
            }
        }
        let device = self.devices.get_mut(name).expect("it is there");
        if device.report_at <= now && !lost(self) {
            let device = self.devices.get_mut(name).expect("it is there");
            device.report_at = now + REPORT_MILLIS;
            let report = device.report();
            if !self.controller.hears(name, report, clock) {
                self.devices.get_mut(name).expect("it is there").report_at = 0;
            }
            self.check()?;
        }
        Ok(())
    }
}

/// The value that content sets.
pub fn value_of(assignment: &Assignment) -> u32 {
    let services = assignment.spec.spec.apps.values().flat_map(|app| app.services.values());
    let text = serde_json::to_string(&services.collect::<Vec<_>>()).expect("services have only string keys");
    let at = text.find("\"VALUE\":\"").map(|at| at + "\"VALUE\":\"".len()).expect("every release sets it");
    let digits: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("it is a number")
}
