//! From what is wanted and what is there to the steps between them, computed anew at every look.
//!
//! Order: networks and volumes; all images, before the first service stops; then what must go; then what must be made and
//! started, in the order of `depends_on`, as far as what they wait for is true; then networks of apps that are gone; the OS last, because it may restart the device.
//! Volumes are never removed.

use super::action::{Action, Why};
use super::canonical::{canonical, differences};
use crate::domain::drift::{Difference, Layer, app_differences, surplus_networks, wrong_state};
use crate::domain::ids::{AppName, NetworkName, ServiceName};
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::{Health, ObservedApp, ObservedOs, ObservedService, Presence, ServiceState};
use crate::domain::spec::{AppSpec, Dependency, DeviceSpec, Renewal, ServiceSpec, Until};
use std::collections::{BTreeMap, BTreeSet};

/// What one look at the container engine found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The apps that belong to this device.
    pub apps: BTreeMap<AppName, ObservedApp>,
    /// Which of the images that were asked for are present.
    pub images: BTreeSet<String>,
}

/// Every image that a spec needs, so that a look can ask for them.
pub fn images(spec: &DeviceSpec) -> BTreeSet<String> {
    spec.apps.values().flat_map(|app| app.services.values()).map(|service| service.image.clone()).collect()
}

/// The steps that bring the engine from what is there to what is wanted. None if nothing can be done or nothing has to be.
///
/// Services that wait for others are not among them: see [`waits`].
pub fn app_steps(spec: &DeviceSpec, observed: &Observed) -> Vec<Action> {
    let mut steps = Steps::default();
    for (app, wanted) in &spec.apps {
        steps.of_app(&Judged::new(app, wanted, observed.apps.get(app)));
    }
    for (app, found) in observed.apps.iter().filter(|(app, _)| !spec.apps.contains_key(*app)) {
        steps.removals.extend(found.services.keys().map(|service| remove(app, service, Why::NotAssigned)));
        steps.drop_networks(app, surplus_networks(None, found));
    }
    steps.in_order(&observed.images)
}

/// What services wait for, so that a look without steps can be told from one where everything is as it should be.
pub fn waits(spec: &DeviceSpec, observed: &Observed) -> Vec<Wait> {
    let judged = |(app, wanted)| Judged::new(app, wanted, observed.apps.get(app)).waits;
    spec.apps.iter().flat_map(judged).collect()
}

/// A service that cannot go on yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What waits, `app/service`.
    pub subject: String,
    /// For what, in words.
    pub what: String,
    /// Whether it can still come true by itself.
    pub outlook: Outlook,
}

/// Whether something that is waited for can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It can.
    Open,
    /// It has failed, and somebody has to do something.
    Bleak,
}

/// One app, service by service.
struct Judged<'a> {
    app: &'a AppName,
    wanted: &'a AppSpec,
    found: &'a ObservedApp,
    /// Each after those that it needs.
    order: Vec<&'a ServiceName>,
    needs: BTreeMap<&'a ServiceName, Need>,
    /// Services that are not started yet, because another one has to be ready first.
    held_back: BTreeSet<&'a ServiceName>,
    waits: Vec<Wait>,
}

/// An app of which nothing is there.
static NOTHING: ObservedApp = ObservedApp {
    services: BTreeMap::new(),
    volumes: BTreeSet::new(),
    network: Presence::Absent,
    networks: BTreeMap::new(),
};

impl<'a> Judged<'a> {
    fn new(app: &'a AppName, wanted: &'a AppSpec, found: Option<&'a ObservedApp>) -> Self {
        let found = found.unwrap_or(&NOTHING);
        let order = start_order(wanted);
        let (needs, held_back, waits) = Default::default();
        let mut judged = Self { app, wanted, found, order, needs, held_back, waits };
        for service in judged.order.clone() {
            let need = judged.need_of(service);
            judged.needs.insert(service, need);
            judged.hold_back(service);
        }
        judged
    }

    fn need_of(&self, service: &ServiceName) -> Need {
        let wanted = &self.wanted.services[service];
        let need = need(wanted, self.found.services.get(service));
        let (Need::Nothing | Need::Start) = need else { return need };
        let changed = |name: &&NetworkName| {
            let want = self.wanted.networks.get(*name).cloned().unwrap_or_default();
            self.found.network_as_found(name).is_some_and(|have| have != want)
        };
        let names = wanted.network_names();
        if let Some(name) = names.iter().find(changed) {
            return Need::Replace(Why::Differs(vec![format!("networks.{name}")]));
        }
        let renewing = wanted.depends_on.iter().filter(|one| one.renewal == Renewal::Restarted).map(|one| &one.service);
        let is_made = |other: &&ServiceName| matches!(self.needs.get(*other), Some(Need::Create | Need::Replace(_)));
        match wanted.joined().into_iter().chain(renewing).find(is_made) {
            Some(other) => Need::Replace(Why::Follows(other.clone())),
            None => need,
        }
    }

    /// Notes what a service waits for, if it is to be started, and what its own health check has yet to say.
    fn hold_back(&mut self, service: &'a ServiceName) {
        let subject = format!("{}/{service}", self.app);
        if matches!(self.needs[service], Need::Nothing) {
            let starting = self.found.services.get(service).is_some_and(|found| found.health == Health::Starting);
            if starting {
                let what = "its health check".to_owned();
                self.waits.push(Wait { subject, what, outlook: Outlook::Open });
            }
            return;
        }
        let wanted = &self.wanted.services[service];
        let joined = wanted.joined().into_iter().cloned().map(Dependency::from);
        for dependency in wanted.depends_on.iter().cloned().chain(joined) {
            let Some(outlook) = self.awaited(&dependency) else { continue };
            let what = match dependency.until {
                Until::Started => format!("{} to be started", dependency.service),
                Until::Healthy => format!("{} to be healthy", dependency.service),
                Until::Completed => format!("{} to run to its end", dependency.service),
            };
            self.waits.push(Wait { subject: subject.clone(), what, outlook });
            self.held_back.insert(service);
        }
    }

    /// Whether a dependency is not ready yet, and whether it can still get ready. `None` if it is ready.
    fn awaited(&self, dependency: &Dependency) -> Option<Outlook> {
        let Dependency { service, until, renewal: _ } = dependency;
        let is_settled = matches!(self.needs.get(service), None | Some(Need::Nothing));
        if *until == Until::Started {
            return self.held_back.contains(service).then_some(Outlook::Open);
        }
        let Some(found) = self.found.services.get(service).filter(|_| is_settled) else { return Some(Outlook::Open) };
        match (until, found.state, found.health) {
            (Until::Started, _, _) => None,
            (Until::Healthy, ServiceState::Running, Health::Healthy) => None,
            (Until::Healthy, ServiceState::Running, Health::Unhealthy | Health::Unchecked) => Some(Outlook::Bleak),
            (Until::Healthy, ServiceState::Exited(_) | ServiceState::Dead, _) => Some(Outlook::Bleak),
            (Until::Completed, ServiceState::Exited(0), _) => None,
            (Until::Completed, ServiceState::Exited(_) | ServiceState::Dead, _) => Some(Outlook::Bleak),
            (Until::Healthy | Until::Completed, _, _) => Some(Outlook::Open),
        }
    }
}

/// Steps by kind, each kind in the order in which it is carried out.
#[derive(Default)]
struct Steps {
    /// Networks and volumes that are missing.
    prepare: Vec<Action>,
    pulls: BTreeSet<String>,
    removals: Vec<Action>,
    /// Networks that have to be made anew, once nothing is connected to them.
    renewals: Vec<Action>,
    starts: Vec<Action>,
    networks: Vec<Action>,
}

impl Steps {
    fn of_app(&mut self, judged: &Judged<'_>) {
        let Judged { app, wanted, found, order, needs, held_back, waits: _ } = judged;
        self.missing_parts(app, wanted, found);
        // What others depend on goes last.
        for service in order.iter().rev() {
            if let Need::Replace(why) = &needs[service] {
                self.removals.push(remove(app, service, why.clone()));
            }
        }
        for service in found.services.keys().filter(|service| !wanted.services.contains_key(*service)) {
            self.removals.push(remove(app, service, Why::NotAssigned));
        }
        for service in order {
            let spec = &wanted.services[*service];
            let (app, service) = ((*app).clone(), *service);
            let is_made = matches!(needs[service], Need::Create | Need::Replace(_));
            if is_made {
                // Also for those that wait: all images are there before the first service stops.
                self.pulls.insert(spec.image.clone());
            }
            if held_back.contains(service) || matches!(needs[service], Need::Nothing) {
                continue;
            }
            let service = service.clone();
            if is_made {
                let spec = Box::new(spec.clone());
                self.starts.push(Action::CreateService { app: app.clone(), service: service.clone(), spec });
            }
            self.starts.push(Action::StartService { app, service });
        }
        self.drop_networks(app, surplus_networks(Some(wanted), found));
    }

    fn missing_parts(&mut self, app: &AppName, wanted: &AppSpec, found: &ObservedApp) {
        for (network, spec) in wanted.used_networks() {
            let have = found.network_as_found(&network);
            if have.as_ref() == Some(&spec) {
                continue;
            }
            let create = Action::CreateNetwork { app: app.clone(), network: network.clone(), spec: Box::new(spec) };
            match have {
                None => self.prepare.push(create),
                Some(_) => self.renewals.extend([Action::RemoveNetwork { app: app.clone(), network }, create]),
            }
        }
        let volumes = wanted.volumes.difference(&found.volumes);
        self.prepare.extend(volumes.map(|volume| Action::CreateVolume { app: app.clone(), volume: volume.clone() }));
    }

    fn drop_networks(&mut self, app: &AppName, names: BTreeSet<NetworkName>) {
        self.networks.extend(names.into_iter().map(|network| Action::RemoveNetwork { app: app.clone(), network }));
    }

    fn in_order(self, present: &BTreeSet<String>) -> Vec<Action> {
        let Self { prepare, pulls, removals, renewals, starts, networks } = self;
        let pulls = pulls.into_iter().filter(|image| !present.contains(image)).map(|image| Action::Pull { image });
        prepare.into_iter().chain(pulls).chain(removals).chain(renewals).chain(starts).chain(networks).collect()
    }
}

/// The steps that bring the OS to what is wanted.
pub fn os_steps(spec: &DeviceSpec, found: &ObservedOs) -> Vec<Action> {
    match &spec.os {
        Some(wanted) if wanted.version != found.version => vec![Action::InstallOs { os: wanted.clone() }],
        Some(_) | None => Vec::new(),
    }
}

/// Everything in which the device differs from its spec, in the same words as a drift report.
///
/// A layer that could not be looked at contributes nothing: what is unknown is not a difference.
pub fn all_differences(spec: &DeviceSpec, apps: Option<&Observed>, os: Option<&ObservedOs>) -> Vec<Difference> {
    let mut all = apps.map(|observed| app_differences(&spec.apps, &observed.apps)).unwrap_or_default();
    if let (Some(wanted), Some(found)) = (&spec.os, os)
        && wanted.version != found.version
    {
        all.push(Difference {
            layer: Layer::Os,
            subject: "os version".to_owned(),
            wanted: Some(wanted.version.to_string()),
            found: Some(found.version.to_string()),
        });
    }
    all
}

/// What one service needs.
enum Need {
    /// It is there, right, and in a right state; or the engine is at it.
    Nothing,
    /// It is there and right, but does not run.
    Start,
    /// It is not there.
    Create,
    /// It has to be made anew.
    Replace(Why),
}

fn need(wanted: &ServiceSpec, found: Option<&ObservedService>) -> Need {
    let Some(found) = found else { return Need::Create };
    let fields = differences(&canonical(wanted, &found.image_defaults), &found.content);
    if !fields.is_empty() || planted(Bug::RecreateAlways) {
        return Need::Replace(Why::Differs(fields.into_iter().map(|one| one.field).collect()));
    }
    if wrong_state(wanted, found).is_none() {
        return Need::Nothing;
    }
    match found.state {
        ServiceState::Created | ServiceState::Paused | ServiceState::Exited(_) => Need::Start,
        // The engine is between two tries of its own; starting it as well would only race with it.
        ServiceState::Restarting | ServiceState::Running => Need::Nothing,
        ServiceState::Dead => Need::Replace(Why::Dead),
    }
}

fn remove(app: &AppName, service: &ServiceName, why: Why) -> Action {
    Action::RemoveService { app: app.clone(), service: service.clone(), why }
}

/// The services of an app, each after those that it depends on; ties by name.
///
/// A circle is a finding in the repo and never assigned; should one arrive all the same, its services follow by name.
fn start_order(app: &AppSpec) -> Vec<&ServiceName> {
    let mut waiting: BTreeSet<&ServiceName> = app.services.keys().collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(first) = waiting.first().copied() {
        let ready = waiting
            .iter()
            .copied()
            .find(|service| app.services[*service].needed().into_iter().all(|other| !waiting.contains(other)))
            .unwrap_or(first);
        waiting.remove(ready);
        order.push(ready);
    }
    order
}

#[cfg(test)]
mod tests;
