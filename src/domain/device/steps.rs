//! From what is wanted and what is there to the steps between them, computed anew at every look.
//!
//! Order: networks and volumes; what has to go before its image can come; all images, before the first service stops; then what
//! must go; then what must be made and started, in the order of `depends_on`, as far as what they wait for is true; then
//! networks of apps that are gone. Volumes are never removed. The OS comes after all of them, in turns of its own
//! (`device::os`), because it restarts the device.
//!
//! What a lock is in the way of is left out, with all that cannot be done without it, and is among what is waited for.

mod needs;

use super::action::{Action, Why};
use super::locks::{Deed, Lock, Locks, Respect, runs};
use crate::domain::drift::{Difference, Layer, app_differences, surplus_networks};
use crate::domain::ids::{AppName, NetworkName, ServiceName};
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::{ObservedApp, ObservedOs};
use crate::domain::spec::{DeviceSpec, ServiceSpec, Strategy};
use needs::{Judged, Need, Passage};
use std::collections::{BTreeMap, BTreeSet};

/// What one look at the container engine found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The apps that belong to this device.
    pub apps: BTreeMap<AppName, ObservedApp>,
    /// Which of the images that were asked for are present.
    pub images: BTreeSet<String>,
    /// What the engine says of itself, as attributes of the device: `engine`, `engine_version`.
    pub engine: BTreeMap<String, String>,
}

/// Every image that a spec needs, so that a look can ask for them.
pub fn images(spec: &DeviceSpec) -> BTreeSet<String> {
    spec.apps.values().flat_map(|app| app.services.values()).map(|service| service.image.clone()).collect()
}

/// What steps follow from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What is wanted.
    pub spec: &'a DeviceSpec,
    /// What is there.
    pub observed: &'a Observed,
    /// The locks that are held.
    pub locks: &'a Locks,
    /// Whether they count.
    pub respect: Respect,
    /// Services whose successors need not be waited for any longer: they said so, or their time is up.
    pub ripe: &'a BTreeSet<(AppName, ServiceName)>,
}

static UNLOCKED: Locks = Locks { held: Vec::new(), handed_over: BTreeSet::new() };
static NONE_RIPE: BTreeSet<(AppName, ServiceName)> = BTreeSet::new();

impl<'a> Situation<'a> {
    /// Nothing is locked, and nothing is ripe.
    pub fn of(spec: &'a DeviceSpec, observed: &'a Observed) -> Self {
        Self { spec, observed, locks: &UNLOCKED, respect: Respect::Locks, ripe: &NONE_RIPE }
    }

    fn in_the_way(&self, deed: Deed<'_>) -> Option<&'a Lock> {
        self.locks.in_the_way(deed, self.respect)
    }
}

/// The steps that bring the engine from what is there to what is wanted, where nothing is locked.
pub fn app_steps(spec: &DeviceSpec, observed: &Observed) -> Vec<Action> {
    app_turn(&Situation::of(spec, observed)).steps
}

/// What services wait for, where nothing is locked.
pub fn waits(spec: &DeviceSpec, observed: &Observed) -> Vec<Wait> {
    app_turn(&Situation::of(spec, observed)).waits
}

/// What one look at the engine comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// What to do now. None if nothing can be done or nothing has to be.
    pub steps: Vec<Action>,
    /// What is waited for, so that a look without steps can be told from one where everything is as it should be.
    pub waits: Vec<Wait>,
}

/// What follows from a look.
pub fn app_turn(situation: &Situation<'_>) -> Turn {
    let Situation { spec, observed, .. } = *situation;
    let mut steps = Steps { situation: *situation, kinds: Kinds::default(), waits: Vec::new() };
    for (app, wanted) in &spec.apps {
        steps.of_app(&Judged::new(situation, app, wanted));
    }
    for (app, found) in observed.apps.iter().filter(|(app, _)| !spec.apps.contains_key(*app)) {
        steps.of_leaving_app(app, found);
    }
    steps.turn()
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
    /// Somebody holds a lock, and will give it back when it suits him.
    Locked,
}

impl Wait {
    fn locked(subject: String, lock: &Lock) -> Self {
        Self { subject, what: lock.awaited(), outlook: Outlook::Locked }
    }
}

/// Steps by kind, each kind in the order in which it is carried out.
#[derive(Default)]
struct Kinds {
    /// Networks and volumes that are missing.
    prepare: Vec<Action>,
    /// What has to go before its image can come.
    early: Vec<Action>,
    pulls: BTreeSet<String>,
    removals: Vec<Action>,
    /// Networks that have to be made anew, once nothing is connected to them.
    renewals: Vec<Action>,
    starts: Vec<Action>,
    networks: Vec<Action>,
}

struct Steps<'a> {
    situation: Situation<'a>,
    kinds: Kinds,
    waits: Vec<Wait>,
}

impl<'a> Steps<'a> {
    fn of_app(&mut self, judged: &Judged<'a>) {
        let Judged { app, wanted, found, order, .. } = judged;
        self.missing_parts(judged);
        // What others depend on goes last.
        for service in order.iter().rev() {
            if let Need::Replace(why) = &judged.needs[service] {
                self.replace(app, service, &wanted.services[*service], found, why);
            }
        }
        let mut is_kept = false;
        for service in found.services.keys().filter(|service| !wanted.services.contains_key(*service)) {
            is_kept |= self.leave(app, service);
        }
        for service in found.successors.keys() {
            let is_coming = judged.needs.get(service).is_some_and(|need| matches!(need, Need::HandOver(_)));
            if !is_coming && found.services.contains_key(service) {
                self.kinds.removals.push(Action::RemoveSuccessor { app: (*app).clone(), service: service.clone() });
            }
        }
        for service in order {
            self.make(judged, service);
        }
        if !is_kept {
            self.drop_networks(app, surplus_networks(Some(wanted), found));
        }
        self.waits.extend(judged.waits.iter().cloned());
    }

    /// An app that is not assigned any more.
    fn of_leaving_app(&mut self, app: &AppName, found: &ObservedApp) {
        let mut is_kept = false;
        for service in found.services.keys() {
            is_kept |= self.leave(app, service);
        }
        if !is_kept {
            self.drop_networks(app, surplus_networks(None, found));
        }
    }

    /// A service that is not assigned any more; whether a lock keeps it.
    fn leave(&mut self, app: &AppName, service: &ServiceName) -> bool {
        let is_running = runs(self.situation.observed, app, service);
        match self.situation.in_the_way(Deed::Stop(app, service)).filter(|_| is_running) {
            Some(lock) => {
                self.waits.push(Wait::locked(format!("{app}/{service}"), lock));
                true
            }
            None => {
                self.kinds.removals.push(remove(app, service, Why::NotAssigned));
                false
            }
        }
    }

    /// Takes a container away, before or after the image of the next one is there.
    fn replace(&mut self, app: &AppName, service: &ServiceName, wanted: &ServiceSpec, found: &ObservedApp, why: &Why) {
        let removal = remove(app, service, why.clone());
        let is_present = self.situation.observed.images.contains(&wanted.image);
        let strategy = if planted(Bug::StopBeforeImages) { Strategy::KillThenDownload } else { wanted.update.strategy };
        match strategy {
            Strategy::KillThenDownload | Strategy::DeleteThenDownload
                if !is_present && !self.downloads_are_locked() =>
            {
                self.kinds.early.push(removal);
                if strategy == Strategy::DeleteThenDownload {
                    self.delete_image(
                        found.services.get(service).map(|found| found.content.image.as_str()),
                        app,
                        service,
                    );
                }
            }
            Strategy::DownloadThenKill
            | Strategy::HandOver
            | Strategy::KillThenDownload
            | Strategy::DeleteThenDownload => {
                self.kinds.removals.push(removal);
            }
        }
    }

    /// Removes the image that a service had, unless another service has or wants it.
    fn delete_image(&mut self, image: Option<&str>, app: &AppName, service: &ServiceName) {
        let Some(image) = image else { return };
        let Situation { spec, observed, .. } = self.situation;
        let others = observed.apps.iter().flat_map(|(name, app)| app.services.iter().map(move |one| (name, one)));
        let mut others = others.filter(|(name, (other, _))| (*name, *other) != (app, service));
        let is_wanted = images(spec).contains(image);
        if !is_wanted && !others.any(|(_, (_, found))| found.content.image == image) {
            self.kinds.early.push(Action::RemoveImage { image: image.to_owned() });
        }
    }

    fn make(&mut self, judged: &Judged<'a>, service: &ServiceName) {
        let spec = &judged.wanted.services[service];
        let need = &judged.needs[service];
        let (app, service) = (judged.app.clone(), service.clone());
        match need {
            // Also for those that wait: all images are there before the first service stops.
            Need::Create | Need::Replace(_) | Need::HandOver(_) | Need::Locked => {
                self.kinds.pulls.extend([spec.image.clone()]);
            }
            Need::Nothing | Need::Start | Need::Adjust(_) => {}
        }
        if judged.held_back.contains(&service) {
            return;
        }
        let spec = || Box::new(spec.clone());
        let starts = &mut self.kinds.starts;
        match need {
            Need::Nothing | Need::Locked => {}
            Need::Start => starts.push(Action::StartService { app, service }),
            Need::Create | Need::Replace(_) => {
                let (spec, again) = (spec(), (app.clone(), service.clone()));
                starts.push(Action::CreateService { app, service, spec });
                starts.push(Action::StartService { app: again.0, service: again.1 });
            }
            Need::Adjust(fields) => {
                let why = Why::Differs(fields.clone());
                starts.push(Action::AdjustService { app, service, spec: spec(), why });
            }
            Need::HandOver(Passage::Begin) => {
                let (spec, again) = (spec(), (app.clone(), service.clone()));
                starts.push(Action::CreateSuccessor { app, service, spec });
                starts.push(Action::StartSuccessor { app: again.0, service: again.1 });
            }
            Need::HandOver(Passage::Anew) => {
                let (spec, again) = (spec(), (app.clone(), service.clone()));
                starts.push(Action::RemoveSuccessor { app: again.0.clone(), service: again.1.clone() });
                starts.push(Action::CreateSuccessor { app, service, spec });
                starts.push(Action::StartSuccessor { app: again.0, service: again.1 });
            }
            Need::HandOver(Passage::Start) => starts.push(Action::StartSuccessor { app, service }),
            Need::HandOver(Passage::Wait) => {}
            Need::HandOver(Passage::End(why)) => {
                starts.push(Action::Promote { app, service, why: why.clone() });
            }
        }
    }

    fn missing_parts(&mut self, judged: &Judged<'a>) {
        let Judged { app, wanted, found, .. } = judged;
        for (network, spec) in wanted.used_networks() {
            let have = found.network_as_found(&network);
            if have.as_ref() == Some(&spec) || judged.kept_networks.contains(&network) {
                continue;
            }
            let app = (*app).clone();
            let create = Action::CreateNetwork { app: app.clone(), network: network.clone(), spec: Box::new(spec) };
            match have {
                None => self.kinds.prepare.push(create),
                Some(_) => self.kinds.renewals.extend([Action::RemoveNetwork { app, network }, create]),
            }
        }
        let volumes = wanted.volumes.difference(&found.volumes);
        let create = |volume| Action::CreateVolume { app: (*app).clone(), volume };
        self.kinds.prepare.extend(volumes.cloned().map(create));
    }

    fn drop_networks(&mut self, app: &AppName, names: BTreeSet<NetworkName>) {
        self.kinds
            .networks
            .extend(names.into_iter().map(|network| Action::RemoveNetwork { app: app.clone(), network }));
    }

    fn downloads_are_locked(&self) -> bool {
        self.situation.in_the_way(Deed::Download).is_some()
    }

    fn turn(mut self) -> Turn {
        let Kinds { prepare, early, mut pulls, mut removals, mut renewals, mut starts, mut networks } = self.kinds;
        pulls.retain(|image| !self.situation.observed.images.contains(image));
        if let (Some(image), Some(lock)) = (pulls.first(), self.situation.in_the_way(Deed::Download)) {
            // Without the images nothing stops; what only has to be started is started all the same.
            self.waits.push(Wait::locked(format!("image {image}"), lock));
            starts.retain(|step| matches!(step, Action::StartService { app, service } if has(self.situation.observed, app, service)));
            for kind in [&mut removals, &mut renewals, &mut networks] {
                kind.clear();
            }
            pulls.clear();
        }
        let pulls = pulls.into_iter().map(|image| Action::Pull { image });
        let steps = prepare.into_iter().chain(early).chain(pulls).chain(removals).chain(renewals);
        Turn { steps: steps.chain(starts).chain(networks).collect(), waits: self.waits }
    }
}

/// Whether a container is there that stays.
fn has(observed: &Observed, app: &AppName, service: &ServiceName) -> bool {
    observed.apps.get(app).is_some_and(|app| app.services.contains_key(service))
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

fn remove(app: &AppName, service: &ServiceName, why: Why) -> Action {
    Action::RemoveService { app: app.clone(), service: service.clone(), why }
}

#[cfg(test)]
mod tests;
