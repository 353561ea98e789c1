//! Whether what runs is well: from what the engine says of its containers, look by look, and from probes.

use super::canonical::{canonical, differences};
use super::steps::Observed;
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::reported::{Health, ObservedService, ServiceState};
use crate::domain::spec::{DeviceSpec, Restart, ServiceSpec};
use std::collections::{BTreeMap, VecDeque};

/// So many ends of one container within [`CRASH_WINDOW_MILLIS`] are a crash loop. Fewer happen to services that wait for another one
/// by failing.
pub const CRASH_LIMIT: u64 = 5;
/// The window in which ends are counted, in milliseconds: engines wait up to a minute between two tries.
pub const CRASH_WINDOW_MILLIS: i64 = 600_000;
/// How many times of ends one service is remembered by; enough to tell the limit, whatever happens.
const MAX_MARKS: usize = 16;

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailment {
    /// What: `app/service`.
    pub component: String,
    /// One word for programs.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// A service of a device.
pub type ServiceId = (AppName, ServiceName);

/// What is remembered of services from look to look. An agent that starts begins to count anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vigil {
    services: BTreeMap<ServiceId, Record>,
}

#[derive(Clone, Debug, PartialEq)]
struct Record {
    /// The engine's counter at the last look.
    restarts: u64,
    state: ServiceState,
    /// When the container ended, and how often.
    ends: VecDeque<(i64, u64)>,
}

impl Vigil {
    /// Takes a look into account.
    pub fn observe(&mut self, observed: &Observed, steady_millis: i64) {
        let found = observed.apps.iter().flat_map(|(app, found)| {
            found.services.iter().map(move |(service, found)| ((app.clone(), service.clone()), found))
        });
        let mut seen = BTreeMap::new();
        for (id, found) in found {
            let record = match self.services.remove(&id) {
                // The engine counts from nought again when a container is made or started anew.
                Some(record) if found.restarts >= record.restarts => record.next(found, steady_millis),
                Some(record) => Record { restarts: 0, ..record }.next(found, steady_millis),
                None => Record { restarts: found.restarts, state: found.state, ends: VecDeque::new() },
            };
            seen.insert(id, record);
        }
        self.services = seen;
    }

    /// Forgets what was counted, as for a new assignment.
    pub fn clear(&mut self) {
        self.services.clear();
    }

    fn ends(&self, id: &ServiceId) -> u64 {
        self.services.get(id).map_or(0, |record| record.ends.iter().map(|(_, count)| count).sum())
    }
}

impl Record {
    fn next(mut self, found: &ObservedService, steady_millis: i64) -> Self {
        let by_engine = found.restarts.saturating_sub(self.restarts);
        // What the engine does not start again by itself ended all the same.
        let ended = matches!((self.state, found.state), (ServiceState::Running, ServiceState::Exited(_)));
        let count = by_engine + u64::from(ended);
        if count > 0 {
            self.ends.push_back((steady_millis, count));
        }
        let is_old = |(at, _): &(i64, u64)| steady_millis.saturating_sub(*at) > CRASH_WINDOW_MILLIS;
        while self.ends.len() > MAX_MARKS || self.ends.front().is_some_and(is_old) {
            self.ends.pop_front();
        }
        Self { restarts: found.restarts, state: found.state, ends: self.ends }
    }
}

/// Everything that is not well and will not get well by waiting, in order.
pub fn ailments(spec: &DeviceSpec, observed: &Observed, vigil: &Vigil) -> Vec<Ailment> {
    let mut all = Vec::new();
    for (app, wanted) in &spec.apps {
        let Some(found) = observed.apps.get(app) else { continue };
        for (service, wanted) in &wanted.services {
            let id = (app.clone(), service.clone());
            let current = |found: &&ObservedService| is_current(wanted, found);
            let own = found.services.get(service).filter(current);
            let own = own.and_then(|found| ailment(wanted, found, vigil.ends(&id)));
            let next = found.successors.get(service).filter(current).and_then(|found| ailment(wanted, found, 0));
            all.extend(own.or(next).map(|(reason, message)| {
                let component = format!("{app}/{service}");
                Ailment { component, reason, message }
            }));
        }
    }
    all
}

/// Whether a container is the wanted one. What is to be made anew says nothing of what comes after it.
pub fn is_current(wanted: &ServiceSpec, found: &ObservedService) -> bool {
    differences(&canonical(wanted, &found.image_defaults), &found.content).is_empty()
}

fn ailment(wanted: &ServiceSpec, found: &ObservedService, ends: u64) -> Option<(&'static str, String)> {
    if found.health == Health::Unhealthy && found.state == ServiceState::Running {
        return Some(("Unhealthy", "its health check fails".to_owned()));
    }
    if ends >= CRASH_LIMIT {
        let minutes = CRASH_WINDOW_MILLIS / 60_000;
        // Without the number, which would change with every look.
        return Some(("CrashLoop", format!("it ended {CRASH_LIMIT} times or more within {minutes} minutes")));
    }
    match (found.state, wanted.restart) {
        (ServiceState::Exited(status), Restart::No | Restart::OnFailure(_)) if status != 0 => {
            Some(("Failed", format!("it ended with status {status}")))
        }
        (ServiceState::Exited(_), _) => None,
        (ServiceState::Created, _)
        | (ServiceState::Running, _)
        | (ServiceState::Restarting, _)
        | (ServiceState::Paused, _)
        | (ServiceState::Dead, _) => None,
    }
}

/// The containers whose output may say why something is not well: those that ended badly, or do not say that they are well.
pub fn suspects(observed: &Observed) -> Vec<ServiceId> {
    let found = observed.apps.iter().flat_map(|(app, found)| found.services.iter().map(move |one| (app, one)));
    let is_suspect = |found: &ObservedService| {
        found.health == Health::Unhealthy
            || found.restarts > 0
            || match found.state {
                ServiceState::Exited(status) => status != 0,
                ServiceState::Restarting | ServiceState::Dead => true,
                ServiceState::Created | ServiceState::Running | ServiceState::Paused => false,
            }
    };
    let suspects = found.filter(|(_, (_, found))| is_suspect(found));
    suspects.map(|(app, (service, _))| (app.clone(), service.clone())).take(MAX_SUSPECTS).collect()
}

/// How many containers' output is read in one look: a device on which everything fails must not spend its time on that.
pub const MAX_SUSPECTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::spec::AppSpec;
    use crate::ports::engine::fake::FakeEngine;

    fn id() -> ServiceId {
        ("web".parse().expect("an app"), "app".parse().expect("a service"))
    }

    /// A device with one service, which goes through these states: seconds, state, restarts.
    fn check(restart: Restart, looks: &[(i64, ServiceState, u64)]) -> Option<&'static str> {
        let (app, service) = id();
        let services = [(service.clone(), ServiceSpec { restart, ..ServiceSpec::of_image("a:1") })].into();
        let (volumes, networks) = Default::default();
        let web = AppSpec { release: "1.0.0".parse().expect("a version"), services, volumes, networks };
        let spec = DeviceSpec { apps: [(app.clone(), web)].into(), ..DeviceSpec::default() };
        let mut engine = FakeEngine::default();
        for step in super::super::steps::app_steps(&spec, &engine.look(&Default::default())) {
            engine.perform(&step).expect("it is possible");
        }
        let (mut vigil, mut last) = (Vigil::default(), None);
        for (secs, state, restarts) in looks {
            let found = engine.apps.get_mut(&app).and_then(|app| app.services.get_mut(&service)).expect("it is there");
            (found.state, found.restarts) = (*state, *restarts);
            let observed = engine.look(&Default::default());
            vigil.observe(&observed, secs * 1000);
            last = ailments(&spec, &observed, &vigil).pop().map(|one| one.reason);
        }
        last
    }

    #[test]
    fn a_container_that_keeps_ending_is_in_a_crash_loop() {
        use ServiceState::{Exited, Restarting, Running};
        assert_eq!(check(Restart::Always, &[(0, Running, 0), (10, Restarting, 4)]), None);
        assert_eq!(
            check(Restart::Always, &[(0, Running, 0), (10, Restarting, 3), (20, Running, 5)]),
            Some("CrashLoop")
        );
        // Ends that are long past do not count, nor does what was before the first look.
        assert_eq!(check(Restart::Always, &[(0, Running, 0), (10, Running, 4), (700, Running, 5)]), None);
        assert_eq!(check(Restart::Always, &[(0, Running, 90), (10, Running, 91)]), None);
        // The counter begins anew when somebody starts it by hand.
        assert_eq!(check(Restart::Always, &[(0, Running, 90), (10, Running, 2)]), None);
        let flapping = [(0, Running, 0), (9, Exited(0), 0), (19, Running, 0), (29, Exited(0), 0), (39, Running, 0)];
        assert_eq!(check(Restart::Always, &flapping), None);
        let more = [(49, Exited(0), 0), (59, Running, 0), (69, Exited(0), 0), (79, Running, 0), (89, Exited(0), 0)];
        assert_eq!(check(Restart::Always, &[flapping.as_slice(), &more].concat()), Some("CrashLoop"));
    }

    #[test]
    fn what_runs_to_its_end_must_end_well() {
        use ServiceState::{Exited, Running};
        assert_eq!(check(Restart::No, &[(0, Running, 0), (10, Exited(0), 0)]), None);
        assert_eq!(check(Restart::No, &[(0, Running, 0), (10, Exited(3), 0)]), Some("Failed"));
        assert_eq!(check(Restart::OnFailure(2), &[(0, Running, 0), (10, Exited(1), 2)]), Some("Failed"));
        assert_eq!(check(Restart::Always, &[(0, Running, 0), (10, Exited(1), 0)]), None);
    }
}
