//! What must hold of devices: of their ledgers, of what agents do, and of what must stay.

use super::{
    ASSIGNED_ONLY, AT_MOST_ONCE, Broken, DRIFT, GOOD, Held, IMAGES_FIRST, LEDGER_FIRST, LEDGER_GROWS, LEFT_ALONE,
    LOCKS, ONE_CONTENT, Oracle, TOLD_FIRST, VOLUMES_STAY, WENT_BACK, hold,
};
use crate::device::{Device, follows, lacking, subject};
use bellwether::domain::assignment::Assignment;
use bellwether::domain::device::action::Action;
use bellwether::domain::device::locks::Place;
use bellwether::domain::device::steps::images;
use bellwether::domain::drift::{DriftInput, Verdict, drift};
use bellwether::domain::ids::{AppName, ServiceName};
use bellwether::domain::reported::{ObservedFile, ObservedHost, ObservedValue, Report, ServiceState};
use bellwether::domain::spec::{DeviceConfig, Subject};
use bellwether::domain::time::Timestamp;
use bellwether::ports::engine::fake::FakeEngine;

impl Oracle {
    /// The drift report says "in sync" only if it is.
    pub(super) fn drifts(&self, assignment: &Assignment, report: &Report, now: Timestamp) -> Held {
        let input = DriftInput {
            assignment: Some(assignment),
            report: Some(report),
            last_seen: Some(now),
            offline_after_secs: 60,
            now,
        };
        let verdict = drift(&input).verdict();
        let lacks = match &report.apps {
            None => Some("the engine is not known".to_owned()),
            Some(apps) => {
                let engine = FakeEngine { apps: apps.clone(), ..FakeEngine::default() };
                lacking(&assignment.spec.spec, &engine, report.os.as_ref())
            }
        };
        let lacks = lacks.or_else(|| host_said_otherwise(&assignment.spec.spec.config, report.host.as_ref()));
        let lacks = lacks.or((report.observed != Some(assignment.mark())).then(|| "another assignment".to_owned()));
        if let Some(lacks) = lacks {
            hold!(verdict != Verdict::InSync, DRIFT, "{}: {lacks}", assignment.device);
        } else {
            let layers = drift(&input).layers;
            hold!(verdict == Verdict::InSync, DRIFT, "{} has everything, and drift says {layers:?}", assignment.device);
        }
        Ok(())
    }

    /// Checks a device's ledger.
    pub fn ledger(&mut self, device: &Device) -> Held {
        let (name, mark) = (&device.name, device.disk.mark());
        if let Some(held) = device.disk.accepted.as_ref().filter(|held| device.disk.good == Some(held.mark.digest)) {
            let crashing = held
                .spec
                .spec
                .apps
                .values()
                .flat_map(|app| app.services.values())
                .find(|one| device.crashes(&one.image));
            hold!(crashing.is_none(), GOOD, "{name} takes {} for good", held.mark.digest.short());
        }
        let before = self.ledgers.get(name).copied();
        if before == mark {
            return Ok(());
        }
        let Some(mark) = mark else {
            hold!(false, LEDGER_GROWS, "{name} forgot {before:?}");
            return Ok(());
        };
        if let Some(before) = before {
            hold!(mark.order >= before.order, LEDGER_GROWS, "{name}: {} after {}", mark.order, before.order);
            hold!(mark.order != before.order, ONE_CONTENT, "{name}: {} has other content now", mark.order);
        }
        let known = self.ever.get(name).is_some_and(|ever| ever.contains(&(mark.order, mark.digest)));
        hold!(known, ASSIGNED_ONLY, "{name} accepted {} {}", mark.order, mark.digest.short());
        self.ledgers.insert(name.clone(), mark);
        Ok(())
    }

    /// Checks an action that an agent is about to take.
    pub fn acts(&self, device: &Device, action: &Action) -> Held {
        let name = &device.name;
        let Some(held) = device.disk.target() else {
            hold!(false, LEDGER_FIRST, "{name} has accepted nothing and would {action}");
            return Ok(());
        };
        let machine = device.running.as_ref().and_then(|running| running.machine.as_ref());
        let believed = machine.and_then(|machine| machine.ledger().mark());
        let written = device.disk.mark();
        hold!(
            believed == written,
            LEDGER_FIRST,
            "{name} would {action} for {believed:?}, and its ledger has {written:?}"
        );
        let failed =
            device.disk.failed.iter().find(|one| one.digest == held.mark.digest && one.attempt >= held.attempt);
        let end = failed.and_then(|one| one.end.as_ref()).filter(|end| end.rolled_back_to.is_some());
        hold!(end.is_none(), WENT_BACK, "{name} would {action} for {}, which failed", held.mark.digest.short());
        let spec = &held.spec.spec;
        hold!(
            follows(action, spec, &device.disk.host),
            LEDGER_FIRST,
            "{name} would {action}, which its ledger does not ask for"
        );
        if let Some((app, service)) = stopped(action, &device.engine) {
            let missing = images(spec).into_iter().find(|image| !device.engine.images.contains(image));
            hold!(missing.is_none(), IMAGES_FIRST, "{name} would {action} and lacks {missing:?}");
            let place = Place::Service { app: app.clone(), service: service.clone() };
            let lock = device.locks.held.iter().find(|lock| lock.place == place);
            hold!(lock.is_none() || device.touched, LOCKS, "{name} would {action}, and {lock:?} is held");
        }
        let lacks = device.lacks(spec);
        // What was begun for an OS is ended, also once it runs.
        let ends = action.is_for_os() && device.disk.os.underway.is_some();
        hold!(device.touched || lacks.is_some() || ends, LEFT_ALONE, "{name} lacks nothing and would {action}");
        if device.disk.applied == Some(held.mark.digest)
            && let Some(subject) = subject(action)
        {
            let told = device.running.as_ref().and_then(|running| running.told.as_ref());
            let found = told.map(|report| report.found.as_slice()).unwrap_or_default();
            let tells = found.iter().any(|found| found.difference.subject.starts_with(&subject));
            hold!(tells, TOLD_FIRST, "{name} would {action} without a word");
        }
        Ok(())
    }

    /// Checks an action of an operator that an agent is about to begin.
    pub fn begins(&mut self, device: &Device) -> Held {
        let name = &device.name;
        let Some(begun) = &device.disk.actions.begun else {
            hold!(false, LEDGER_FIRST, "{name} begins an action that its ledger does not have");
            return Ok(());
        };
        let is_new = self.begun.insert((name.clone(), device.hardware, begun.number));
        hold!(is_new, AT_MOST_ONCE, "{name} begins action {} again", begun.number);
        hold!(!device.disk.actions.open.contains(&begun.number), AT_MOST_ONCE, "{name} could begin it again");
        Ok(())
    }

    /// Checks that everything that was ever made to keep data is there.
    pub fn volumes(&self, device: &Device) -> Held {
        for (app, volume) in &device.volumes {
            let there = device.engine.apps.get(app).is_some_and(|found| found.volumes.contains(volume));
            hold!(there, VOLUMES_STAY, "{}: volume {volume} of {app} is gone", device.name);
        }
        Ok(())
    }
}

/// The first file of a host that is not said to be as it is wanted. Files are all that the simulated repo sets there.
fn host_said_otherwise(wanted: &DeviceConfig, said: Option<&ObservedHost>) -> Option<String> {
    let other = wanted.files.iter().find(|(path, file)| {
        let found = said.and_then(|said| said.values.get(&Subject::File((*path).clone())));
        let is_same = |found: &ObservedFile| found.content == Some(file.key()) && found.mode == file.mode;
        !matches!(found, Some(ObservedValue::File(found)) if is_same(found))
    });
    other.map(|(path, _)| format!("file {path} is another one"))
}

/// The running service that an action stops.
fn stopped<'a>(action: &'a Action, engine: &FakeEngine) -> Option<(&'a AppName, &'a ServiceName)> {
    let (Action::RemoveService { app, service, .. } | Action::Promote { app, service, .. }) = action else {
        return None;
    };
    let found = engine.apps.get(app)?.services.get(service)?;
    matches!(found.state, ServiceState::Running | ServiceState::Paused).then_some((app, service))
}
