//! What each service of an app needs, and what it waits for.

use super::{Outlook, Situation, Wait};
use crate::domain::device::action::Why;
use crate::domain::device::canonical::{canonical, differences};
use crate::domain::device::locks::{Deed, Lock, runs};
use crate::domain::drift::wrong_state;
use crate::domain::ids::{AppName, NetworkName, ServiceName};
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::{Changes, Health, ObservedApp, ObservedService, Presence, ServiceState};
use crate::domain::spec::{AppSpec, Dependency, Renewal, ServiceSpec, Strategy, Until};
use std::collections::{BTreeMap, BTreeSet};

/// One app, service by service.
pub(super) struct Judged<'a> {
    pub(super) app: &'a AppName,
    pub(super) wanted: &'a AppSpec,
    pub(super) found: &'a ObservedApp,
    /// Each after those that it needs.
    pub(super) order: Vec<&'a ServiceName>,
    pub(super) needs: BTreeMap<&'a ServiceName, Need>,
    /// Services that are not started yet, because another one has to be ready first.
    pub(super) held_back: BTreeSet<ServiceName>,
    /// Networks that cannot be made anew, because a service that must not stop is connected to them.
    pub(super) kept_networks: BTreeSet<NetworkName>,
    pub(super) waits: Vec<Wait>,
    situation: Situation<'a>,
}

/// What one service needs.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// It is there, right, and in a right state; or the engine is at it.
    Nothing,
    /// It is there and right, but does not run.
    Start,
    /// It is not there.
    Create,
    /// It has to be made anew.
    Replace(Why),
    /// These fields differ, and the engine can change them while it runs.
    Adjust(Vec<String>),
    /// It has to be made anew, and the next container stands in for it meanwhile.
    HandOver(Passage),
    /// It has to be made anew, and a lock is in the way.
    Locked,
}

/// Where a hand-over is. It follows from what is there: nothing of it is remembered.
#[derive(Clone, Debug)]
pub(super) enum Passage {
    /// There is no successor yet.
    Begin,
    /// There is one that is not what is wanted.
    Anew,
    /// It is there and right, but was not started.
    Start,
    /// It runs, and is not ready yet.
    Wait,
    /// It is ready: the old one goes, because of this.
    End(Why),
}

/// An app of which nothing is there.
static NOTHING: ObservedApp = ObservedApp {
    services: BTreeMap::new(),
    successors: BTreeMap::new(),
    volumes: BTreeSet::new(),
    network: Presence::Absent,
    networks: BTreeMap::new(),
};

impl<'a> Judged<'a> {
    pub(super) fn new(situation: &Situation<'a>, app: &'a AppName, wanted: &'a AppSpec) -> Self {
        let found = situation.observed.apps.get(app).unwrap_or(&NOTHING);
        let order = start_order(wanted);
        let (needs, held_back, kept_networks, waits) = Default::default();
        let situation = *situation;
        let mut judged = Self { app, wanted, found, order, needs, held_back, kept_networks, waits, situation };
        judged.keep_networks();
        for service in judged.order.clone() {
            let need = judged.need_of(service);
            judged.needs.insert(service, need);
            judged.hold_back(service);
        }
        judged
    }

    /// The lock that keeps a running service from being stopped: its own, or that of a service that would have to follow it.
    fn lock_of(&self, service: &'a ServiceName) -> Option<&'a Lock> {
        let mut all = BTreeSet::from([service]);
        loop {
            let followers = self.wanted.services.iter().filter(|(_, spec)| followed(spec).any(|one| all.contains(one)));
            let more: BTreeSet<&ServiceName> = followers.map(|(name, _)| name).chain(all.iter().copied()).collect();
            if more.len() == all.len() {
                break;
            }
            all = more;
        }
        let running = all.into_iter().filter(|name| runs(self.situation.observed, self.app, name));
        running.into_iter().find_map(|name| self.situation.in_the_way(Deed::Stop(self.app, name)))
    }

    /// Finds the networks that have to stay as they are because of a lock.
    fn keep_networks(&mut self) {
        for (name, want) in self.wanted.used_networks() {
            let differs = self.found.network_as_found(&name).is_some_and(|have| have != want);
            let connected = |(service, spec): &(&'a ServiceName, &'a ServiceSpec)| {
                spec.network_names().contains(&name) && self.found.services.contains_key(*service)
            };
            let mut connected = self.wanted.services.iter().filter(connected);
            if differs && let Some(lock) = connected.find_map(|(service, _)| self.lock_of(service)) {
                self.waits.push(Wait::locked(format!("{}/network {name}", self.app), lock));
                self.kept_networks.insert(name);
            }
        }
    }

    fn need_of(&mut self, service: &'a ServiceName) -> Need {
        let need = self.unlocked_need_of(service);
        let stops = match &need {
            Need::Replace(_) => runs(self.situation.observed, self.app, service),
            Need::HandOver(_) => true,
            Need::Nothing | Need::Start | Need::Create | Need::Adjust(_) | Need::Locked => false,
        };
        match self.lock_of(service).filter(|_| stops) {
            Some(lock) => {
                self.waits.push(Wait::locked(format!("{}/{service}", self.app), lock));
                Need::Locked
            }
            None => need,
        }
    }

    fn unlocked_need_of(&self, service: &'a ServiceName) -> Need {
        let wanted = &self.wanted.services[service];
        let need = need(wanted, self.found.services.get(service));
        match need {
            Need::Replace(Why::Differs(fields)) => return self.replaced(service, fields),
            Need::Nothing | Need::Start | Need::Adjust(_) => {}
            Need::Create | Need::Replace(_) | Need::HandOver(_) | Need::Locked => return need,
        }
        let changed = |name: &&NetworkName| {
            let want = self.wanted.networks.get(*name).cloned().unwrap_or_default();
            let is_kept = self.kept_networks.contains(*name);
            !is_kept && self.found.network_as_found(name).is_some_and(|have| have != want)
        };
        let names = wanted.network_names();
        if let Some(name) = names.iter().find(changed) {
            return Need::Replace(Why::Differs(vec![format!("networks.{name}")]));
        }
        match followed(wanted).find(|other| self.is_made(other)) {
            Some(other) => Need::Replace(Why::Follows(other.clone())),
            None => need,
        }
    }

    fn is_made(&self, service: &ServiceName) -> bool {
        match self.needs.get(service) {
            Some(Need::Create | Need::Replace(_) | Need::HandOver(Passage::End(_))) => true,
            Some(Need::Nothing | Need::Start | Need::Adjust(_) | Need::HandOver(_) | Need::Locked) | None => false,
        }
    }

    /// How a service that differs is made anew.
    fn replaced(&self, service: &'a ServiceName, fields: Vec<String>) -> Need {
        let wanted = &self.wanted.services[service];
        let (why, old) = (Why::Differs(fields), self.found.services.get(service));
        let is_running = old.is_some_and(|old| old.state == ServiceState::Running);
        let renews_network = wanted.network_names().iter().any(|name| {
            let want = self.wanted.networks.get(name).cloned().unwrap_or_default();
            self.found.network_as_found(name).is_some_and(|have| have != want)
        });
        let next = self.found.successors.get(service);
        let is_right =
            next.is_some_and(|next| differences(&canonical(wanted, &next.image_defaults), &next.content).is_empty());
        // The old one was stopped already when the hand-over was cut off: what stands in for it must not go as well.
        let is_last = is_right
            && next.is_some_and(|next| next.state == ServiceState::Running && next.health != Health::Unhealthy);
        if wanted.update.strategy != Strategy::HandOver
            || !(is_running || is_last)
            || renews_network
            || old.is_some_and(|old| self.is_in_the_way(service, old))
            || !can_stand_beside(service, self.wanted)
        {
            return Need::Replace(why);
        }
        if !is_running {
            return Need::HandOver(Passage::End(why));
        }
        let Some(next) = next else { return Need::HandOver(Passage::Begin) };
        let is_ripe = self.situation.ripe.contains(&(self.app.clone(), service.clone()));
        Need::HandOver(match (next.state, next.health) {
            _ if !is_right => Passage::Anew,
            (ServiceState::Created | ServiceState::Paused, _) => Passage::Start,
            (ServiceState::Running, Health::Healthy) => Passage::End(why),
            (ServiceState::Running, Health::Unchecked | Health::Starting) if is_ripe => Passage::End(why),
            (ServiceState::Dead, _) => Passage::Anew,
            (ServiceState::Running | ServiceState::Restarting | ServiceState::Exited(_), _) => Passage::Wait,
        })
    }

    /// Whether another service needs a port of the host that this container has: then it cannot stay until its successor is ready.
    fn is_in_the_way(&self, service: &ServiceName, old: &ObservedService) -> bool {
        let all =
            self.situation.spec.apps.iter().flat_map(|(app, wanted)| wanted.services.iter().map(move |one| (app, one)));
        let others = all.filter(|(app, (name, _))| (*app, *name) != (self.app, service));
        let mut ports = others.flat_map(|(_, (_, spec))| &spec.ports);
        ports.any(|port| old.content.ports.iter().any(|held| held.clashes_with(port)))
    }

    /// Notes what a service waits for, if it is to be started, and what its own health check has yet to say.
    fn hold_back(&mut self, service: &'a ServiceName) {
        let subject = format!("{}/{service}", self.app);
        match &self.needs[service] {
            Need::Nothing | Need::Adjust(_) => {
                let starting = self.found.services.get(service).is_some_and(|found| found.health == Health::Starting);
                if starting {
                    let what = "its health check".to_owned();
                    self.waits.push(Wait { subject, what, outlook: Outlook::Open });
                }
            }
            Need::HandOver(Passage::Wait) => self.waits.push(self.wait_for_successor(service, subject)),
            Need::HandOver(_) | Need::Locked => {}
            Need::Start | Need::Create | Need::Replace(_) => {
                self.hold_back_for_others(service, &subject);
            }
        }
    }

    fn wait_for_successor(&self, service: &ServiceName, subject: String) -> Wait {
        let next = self.found.successors.get(service);
        let (what, outlook) = match next.map(|next| (next.state, next.health)) {
            Some((ServiceState::Exited(status), _)) => {
                (format!("the next container, which ended with status {status}"), Outlook::Bleak)
            }
            Some((ServiceState::Restarting, _)) => {
                ("the next container, which keeps ending".to_owned(), Outlook::Bleak)
            }
            Some((_, Health::Unhealthy)) => ("the next container, which is unhealthy".to_owned(), Outlook::Bleak),
            Some(_) | None => ("the next container to take over".to_owned(), Outlook::Open),
        };
        Wait { subject, what, outlook }
    }

    fn hold_back_for_others(&mut self, service: &'a ServiceName, subject: &str) {
        let wanted = &self.wanted.services[service];
        let joined = wanted.joined().into_iter().cloned().map(Dependency::from);
        for dependency in wanted.depends_on.iter().cloned().chain(joined) {
            let Some(outlook) = self.awaited(&dependency) else { continue };
            let what = match dependency.until {
                Until::Started => format!("{} to be started", dependency.service),
                Until::Healthy => format!("{} to be healthy", dependency.service),
                Until::Completed => format!("{} to run to its end", dependency.service),
            };
            self.waits.push(Wait { subject: subject.to_owned(), what, outlook });
            self.held_back.insert(service.clone());
        }
    }

    /// Whether a dependency is not ready yet, and whether it can still get ready. `None` if it is ready.
    fn awaited(&self, dependency: &Dependency) -> Option<Outlook> {
        let Dependency { service, until, renewal: _ } = dependency;
        // What goes on running until later is as ready as it was.
        let is_settled = match self.needs.get(service) {
            None | Some(Need::Nothing | Need::Adjust(_) | Need::HandOver(_) | Need::Locked) => true,
            Some(Need::Start | Need::Create | Need::Replace(_)) => false,
        };
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

/// The services that a service is made anew with.
fn followed(spec: &ServiceSpec) -> impl Iterator<Item = &ServiceName> {
    let renewing = spec.depends_on.iter().filter(|one| one.renewal == Renewal::Restarted).map(|one| &one.service);
    spec.joined().into_iter().chain(renewing)
}

/// Whether two containers of a service can run side by side. What cannot is a finding in the repo; should it come all the same, the
/// service is updated as by default.
pub(super) fn can_stand_beside(service: &ServiceName, app: &AppSpec) -> bool {
    let spec = &app.services[service];
    let has_port = spec.ports.iter().any(|port| port.published.is_some());
    let has_address = spec.networks.values().any(|one| one.ipv4_address.is_some() || one.ipv6_address.is_some());
    let is_joined = app.services.values().any(|other| other.joined().contains(service));
    !has_port && !has_address && !is_joined
}

/// What an engine can change while a container runs. Only values that were there before and are there afterwards: what an engine
/// fills in by itself when a limit goes away cannot be told from one that was asked for.
const ADJUSTABLE: [&str; 9] = [
    "cpu_period",
    "cpu_quota",
    "cpu_shares",
    "cpus",
    "cpuset",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "pids_limit",
];

fn need(wanted: &ServiceSpec, found: Option<&ObservedService>) -> Need {
    let Some(found) = found else { return Need::Create };
    let fields = differences(&canonical(wanted, &found.image_defaults), &found.content);
    let is_adjustable = !fields.is_empty()
        && found.changes == Changes::InPlace
        && fields.iter().all(|one| {
            one.field == "restart"
                || (ADJUSTABLE.contains(&one.field.as_str()) && one.wanted.is_some() && one.found.is_some())
        });
    let is_made = matches!(found.state, ServiceState::Running | ServiceState::Created | ServiceState::Exited(_));
    if is_adjustable && is_made && !planted(Bug::RecreateAlways) {
        return Need::Adjust(fields.into_iter().map(|one| one.field).collect());
    }
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
