//! From what is wanted and what is there to the steps between them, computed anew at every look.
//!
//! Order: networks and volumes; all images, before the first service stops; then what must go; then what must be made and
//! started, in the order of `depends_on`; then networks of apps that are gone; the OS last, because it may restart the device.
//! Volumes are never removed.

use super::action::{Action, Why};
use super::canonical::{canonical, differences};
use crate::domain::drift::{Difference, Layer, app_differences, needs_network, wrong_state};
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::{ObservedApp, ObservedOs, ObservedService, Presence, ServiceState};
use crate::domain::spec::{AppSpec, DeviceSpec, ServiceSpec};
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
pub fn app_steps(spec: &DeviceSpec, observed: &Observed) -> Vec<Action> {
    let nothing = ObservedApp::default();
    let mut prepare = Vec::new();
    let mut pulls = BTreeSet::new();
    let mut removals = Vec::new();
    let mut starts = Vec::new();
    for (app, wanted) in &spec.apps {
        let found = observed.apps.get(app).unwrap_or(&nothing);
        prepare.extend(missing_parts(app, wanted, found));
        let order = start_order(wanted);
        let needs: BTreeMap<&ServiceName, Need> = order
            .iter()
            .map(|service| (*service, need(&wanted.services[*service], found.services.get(*service))))
            .collect();
        // What others depend on goes last.
        for service in order.iter().rev() {
            if let Need::Replace(why) = &needs[service] {
                removals.push(remove(app, service, why.clone()));
            }
        }
        for service in found.services.keys().filter(|service| !wanted.services.contains_key(*service)) {
            removals.push(remove(app, service, Why::NotAssigned));
        }
        for service in order {
            let spec = &wanted.services[service];
            let name = || (app.clone(), service.clone());
            match &needs[service] {
                Need::Nothing => {}
                Need::Start => {
                    let (app, service) = name();
                    starts.push(Action::StartService { app, service });
                }
                Need::Create | Need::Replace(_) => {
                    pulls.insert(spec.image.clone());
                    let (app, service) = name();
                    starts.push(Action::CreateService { app, service, spec: Box::new(spec.clone()) });
                    let (app, service) = name();
                    starts.push(Action::StartService { app, service });
                }
            }
        }
    }
    let mut networks = Vec::new();
    for (app, found) in observed.apps.iter().filter(|(app, _)| !spec.apps.contains_key(*app)) {
        removals.extend(found.services.keys().map(|service| remove(app, service, Why::NotAssigned)));
        if found.network == Presence::Present {
            networks.push(Action::RemoveNetwork { app: app.clone() });
        }
    }
    let pulls = pulls.into_iter().filter(|image| !observed.images.contains(image)).map(|image| Action::Pull { image });
    prepare.into_iter().chain(pulls).chain(removals).chain(starts).chain(networks).collect()
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
    if wrong_state(wanted, found.state).is_none() {
        return Need::Nothing;
    }
    match found.state {
        ServiceState::Created | ServiceState::Paused | ServiceState::Exited(_) => Need::Start,
        // The engine is between two tries of its own; starting it as well would only race with it.
        ServiceState::Restarting | ServiceState::Running => Need::Nothing,
        ServiceState::Dead => Need::Replace(Why::Dead),
    }
}

fn missing_parts(app: &AppName, wanted: &AppSpec, found: &ObservedApp) -> Vec<Action> {
    let network = (needs_network(wanted) && found.network == Presence::Absent)
        .then(|| Action::CreateNetwork { app: app.clone() });
    let volumes = wanted
        .volumes
        .difference(&found.volumes)
        .map(|volume| Action::CreateVolume { app: app.clone(), volume: volume.clone() });
    network.into_iter().chain(volumes).collect()
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
            .find(|service| app.services[*service].depends_on.iter().all(|other| !waiting.contains(other)))
            .unwrap_or(first);
        waiting.remove(ready);
        order.push(ready);
    }
    order
}
