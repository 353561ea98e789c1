//! What applications and people on the device are told, and what they may cause.

use super::told::Told;
use super::{Event, Machine};
use crate::domain::device::local::{
    Ask, AskError, HealthTold, LocalAssignment, LocalService, LocalStatus, MAX_HEALTH_MESSAGE_BYTES, MAX_HEALTH_SECS,
    ServicePath, VolumePath, find,
};
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::reported::{Health, ObservedApp};
use crate::domain::spec::DeviceSpec;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

/// A check that comes sooner than this after the last one is not worth another: whoever asks in a circle gets the same answers.
const MIN_CHECK_MILLIS: i64 = 1000;

/// What was asked and said on the device.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Local {
    /// When the last check was asked for.
    checked_at: Option<Timestamp>,
    /// What services said of themselves.
    pub(super) told: Told,
}

impl Machine {
    /// The device as it is known now.
    pub fn status(&self) -> LocalStatus {
        let held = self.target();
        let look = self.seen.as_ref();
        let found = look.and_then(|look| look.apps.as_ref().ok()).map(|observed| &observed.apps);
        let nothing = DeviceSpec::default();
        let spec = held.map_or(&nothing, |held| &held.spec.spec);
        LocalStatus {
            device: self.about.device.clone(),
            agent_version: self.about.attributes.get("agent_version").cloned().unwrap_or_default(),
            phase: self.phase,
            assignment: held.map(|held| LocalAssignment {
                order: held.mark.order,
                digest: held.mark.digest,
                stage: held.stage.clone(),
                commit: held.commit.clone(),
                attempt: held.attempt,
                releases: spec.apps.iter().map(|(app, wanted)| (app.clone(), wanted.release.clone())).collect(),
            }),
            failure: self.durable.end().cloned(),
            applied: self.durable.applied,
            services: found.map(|found| self.services(spec, found)),
            os: look.and_then(|look| look.os.as_ref().ok()?.as_ref()).map(|found| found.running.clone()),
            conditions: self.conditions.all(),
            locks: look.map(|look| look.locks.held.clone()).unwrap_or_default(),
            refused: self.refused.clone(),
        }
    }

    /// What the device was told to run. It holds references to secrets and never their values.
    pub fn assigned(&self) -> Option<&DeviceSpec> {
        self.target().map(|held| held.spec.spec.as_ref())
    }

    fn services(&self, spec: &DeviceSpec, found: &BTreeMap<AppName, ObservedApp>) -> BTreeMap<String, LocalService> {
        let blank = || LocalService { image: None, state: None, health: Health::default(), restarts: 0, told: None };
        let mut all: BTreeMap<String, LocalService> = BTreeMap::new();
        for (app, service, wanted) in
            spec.apps.iter().flat_map(|(app, one)| one.services.iter().map(move |(name, spec)| (app, name, spec)))
        {
            let entry = all.entry(format!("{app}/{service}")).or_insert_with(blank);
            entry.image = Some(wanted.image.clone());
            entry.told = self.local.told.of(app, service).cloned();
        }
        for (app, service, there) in
            found.iter().flat_map(|(app, one)| one.services.iter().map(move |(name, there)| (app, name, there)))
        {
            let entry = all.entry(format!("{app}/{service}")).or_insert_with(blank);
            entry.state = Some(there.state);
            entry.health = there.health;
            entry.restarts = there.restarts;
        }
        all
    }

    /// Finds a service that is assigned.
    pub fn find_service(&self, path: &ServicePath) -> Result<(AppName, ServiceName), AskError> {
        let apps = self.assigned().map(|spec| &spec.apps).into_iter().flatten();
        find(path, apps.flat_map(|(app, one)| one.services.keys().map(move |service| (app, service))))
    }

    /// The event that an application or a person on the device causes, or why not.
    pub fn asked(&self, ask: Ask, now: Timestamp) -> Result<Event, AskError> {
        match ask {
            Ask::Check => Ok(Event::CheckRequested),
            Ask::Purge(path) => self.may_purge(&path).map(|()| Event::PurgeRequested(path)),
            Ask::TellHealth { service, verdict, message, for_secs } => {
                let (app, service) = self.find_service(&service)?;
                if message.len() > MAX_HEALTH_MESSAGE_BYTES || message.chars().any(char::is_control) {
                    return Err(AskError::OutOfRange { what: "a message", range: "one line of at most 512 bytes" });
                }
                if for_secs.is_some_and(|secs| !(1..=MAX_HEALTH_SECS).contains(&secs)) {
                    return Err(AskError::OutOfRange { what: "for_secs", range: "from 1 to 86400" });
                }
                let until = for_secs.map(|secs| now.plus_secs(i64::from(secs)));
                let told = HealthTold { verdict, message, at: now, until };
                Ok(Event::HealthTold { app, service, told: Box::new(told) })
            }
        }
    }

    fn may_purge(&self, path: &VolumePath) -> Result<(), AskError> {
        let found = self.seen.as_ref().and_then(|look| look.apps.as_ref().ok());
        let there = found.and_then(|observed| observed.apps.get(&path.app));
        if !there.is_some_and(|there| there.volumes.contains(&path.volume)) {
            return Err(AskError::UnknownVolume(path.clone()));
        }
        if self.has_local_action() { Err(AskError::TooMany) } else { Ok(()) }
    }

    /// Looks and polls as soon as nothing else is under way.
    pub(super) fn check(&mut self, now: Timestamp) {
        let since = self.local.checked_at.map(|before| now.millis().saturating_sub(before.millis()));
        if since.is_some_and(|millis| (0..MIN_CHECK_MILLIS).contains(&millis)) {
            return;
        }
        self.local.checked_at = Some(now);
        self.work.timer_due();
        self.link.timer_due();
    }
}
