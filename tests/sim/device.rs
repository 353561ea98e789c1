//! A device: what survives a crash of the agent (ledger, engine, OS, key) and the agent's process around the machine.

use crate::network::CallKind;
use crate::stream::Stream;
use bellwether::domain::device::action::{Action, Failure, RebootWhy, Why};
use bellwether::domain::device::canonical::canonical;
use bellwether::domain::device::host::{Change, HostAction, HostAsk, HostMemory};
use bellwether::domain::device::ledger::Ledger;
use bellwether::domain::device::locks::Locks;
use bellwether::domain::device::machine::{Event, Machine, Timer};
use bellwether::domain::device::steps::Observed;
use bellwether::domain::ids::{AppName, DeviceId, ServiceName, StageName, VolumeName};
use bellwether::domain::reported::{ObservedOs, ObservedService, Presence, Report, ServiceState};
use bellwether::domain::spec::{AppSpec, DeviceSpec, Network, Restart};
use bellwether::ports::engine::EngineError;
use bellwether::ports::engine::fake::FakeEngine;
use bellwether::ports::host::fake::FakeHost;
use bellwether::ports::os::OsError;
use bellwether::ports::os::fake::FakeOs;
use std::collections::{BTreeMap, BTreeSet};

/// A device.
pub struct Device {
    pub name: DeviceId,
    /// Counts how often its hardware was replaced: each has a key of its own.
    pub hardware: u64,
    pub key: String,
    /// The token that it was given.
    pub token: Option<String>,
    /// Whether the controller has let it in, as it knows.
    pub enrolled: bool,
    /// The ledger's file.
    pub disk: Ledger,
    pub engine: FakeEngine,
    pub os: FakeOs,
    pub host: FakeHost,
    /// Counts the starts of the agent, also those that died before they wrote anything.
    pub life: u64,
    pub running: Option<Running>,
    pub faults: Faults,
    /// Milliseconds by which its clock is wrong.
    pub skew: i64,
    /// The stage that it chooses.
    pub choice: Option<StageName>,
    /// Volumes that were ever made on this hardware.
    pub volumes: BTreeSet<(AppName, VolumeName)>,
    /// The update locks that are held.
    pub locks: Locks,
    /// Whether somebody else changed engine or OS since the last look.
    pub touched: bool,
}

/// The agent's process.
pub struct Running {
    pub machine: Option<Machine>,
    /// The newest setting of each timer.
    pub timers: BTreeMap<Timer, u64>,
    /// Calls under way, by kind.
    pub calls: BTreeMap<CallKind, u64>,
    /// The work under way.
    pub work: Option<u64>,
    pub told: Option<Report>,
}

/// What is wrong with a device.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// So many pulls fail.
    pub pulls: u32,
    /// So many other operations fail.
    pub refusals: u32,
    /// So many installations fail.
    pub installs: u32,
    /// The engine does not answer before this time.
    pub engine_away_until: i64,
    /// So many writes of the ledger fail.
    pub writes: u32,
}

impl Device {
    /// Device hardware as it comes out of the box.
    pub fn new(name: DeviceId, hardware: u64, chance: &mut Stream) -> Self {
        let key = (0..4).map(|_| format!("{:016x}", chance.next())).collect();
        let choice = chance.pick(&["main", "canary", "production"]).and_then(|name| StageName::new(name).ok());
        Self {
            name,
            hardware,
            key,
            token: None,
            enrolled: false,
            disk: Ledger::default(),
            engine: FakeEngine::default(),
            os: FakeOs::default(),
            host: FakeHost::default(),
            life: 0,
            running: None,
            faults: Faults::default(),
            skew: chance.between(-600_000, 600_000),
            choice,
            volumes: BTreeSet::new(),
            locks: Locks::default(),
            touched: true,
        }
    }

    /// Whether an image keeps ending on this device, as one that was built for other hardware would.
    pub fn crashes(&self, image: &str) -> bool {
        image == "example/app:3" && self.name.as_str().bytes().map(u32::from).sum::<u32>() % 2 == 0
    }

    /// What keeps ending has ended some more, until somebody has drawn the consequence.
    fn let_crash(&mut self) {
        if self.disk.end().is_some() {
            return;
        }
        let image = |found: &ObservedService| found.content.image.clone();
        let all = self.engine.apps.iter().flat_map(|(app, found)| {
            found.services.iter().map(move |(name, found)| (app.clone(), name.clone(), image(found)))
        });
        let crashing: Vec<_> = all.filter(|(_, _, image)| self.crashes(image)).collect();
        for (app, service, _) in crashing {
            let found =
                self.engine.apps.get_mut(&app).and_then(|app| app.services.get_mut(&service)).expect("it was there");
            if found.state == ServiceState::Running {
                found.restarts += 6;
            }
        }
    }

    /// What a look finds.
    pub fn look(&mut self, images: &BTreeSet<String>, now: i64) -> bellwether::domain::device::machine::Look {
        self.touched = false;
        self.let_crash();
        let apps: Result<Observed, Failure> = match self.engine_answers(now) {
            Ok(()) => Ok(self.engine.look(images)),
            Err(error) => Err(error.failure()),
        };
        let host = self.host.look(&HostAsk::of(&self.disk));
        let (os, locks) = (Ok(Some(self.os.look())), self.locks.clone());
        bellwether::domain::device::machine::Look { apps, os, locks, logs: BTreeMap::new(), dumps: Vec::new(), host }
    }

    /// Performs an action for the host.
    pub fn on_host(&mut self, action: &HostAction) -> Event {
        match action {
            HostAction::Change(changes) => Event::HostChanged(self.host.change(changes)),
            HostAction::RunHook { hook, because: _ } => Event::HookEnded(self.host.run_hook(hook)),
            HostAction::Reboot { hook: _ } => {
                self.host.reboot();
                Event::Done
            }
        }
    }

    /// Performs an action.
    pub fn perform(&mut self, action: &Action, now: i64) -> Result<(), Failure> {
        if let Action::InstallOs { os } = action
            && spend(&mut self.faults.installs)
        {
            let (name, version) = (os.name.clone(), os.version.clone());
            return Err(OsError::Install { name, version, reason: "planned fault".to_owned() }.failure());
        }
        if action.is_for_os() {
            return self.os.perform(action).map_err(|error| error.failure());
        }
        self.engine_answers(now).map_err(|error| error.failure())?;
        if let Action::Pull { image } = action
            && spend(&mut self.faults.pulls)
        {
            return Err(EngineError::Pull { image: image.clone(), reason: "planned fault".to_owned() }.failure());
        }
        if spend(&mut self.faults.refusals) {
            let reason = "planned fault".to_owned();
            return Err(EngineError::Failed { attempted: "do", subject: action.to_string(), reason }.failure());
        }
        let performed = self.engine.perform(action).map_err(|error| error.failure());
        for (app, found) in &self.engine.apps {
            self.volumes.extend(found.volumes.iter().map(|volume| (app.clone(), volume.clone())));
        }
        performed
    }

    fn engine_answers(&self, now: i64) -> Result<(), EngineError> {
        if now < self.faults.engine_away_until {
            return Err(EngineError::Unavailable { reason: "planned fault".to_owned() });
        }
        Ok(())
    }

    /// The first way in which it is not what a spec says; `None` if it is reached.
    pub fn lacks(&self, spec: &DeviceSpec) -> Option<String> {
        lacking(spec, &self.engine, Some(&self.os.running)).or_else(|| host_lacking(spec, self))
    }

    /// Every container, to pick from.
    pub fn containers(&self) -> Vec<(AppName, ServiceName)> {
        let apps = self.engine.apps.iter();
        apps.flat_map(|(app, found)| found.services.keys().map(|service| (app.clone(), service.clone()))).collect()
    }
}

/// Uses up one planned fault.
pub fn spend(planned: &mut u32) -> bool {
    let there = *planned > 0;
    *planned = planned.saturating_sub(1);
    there
}

/// The first way in which engine and OS are not what a spec says; `None` if it is reached. Written apart from the drift that it checks.
pub fn lacking(spec: &DeviceSpec, engine: &FakeEngine, os: Option<&ObservedOs>) -> Option<String> {
    for (name, app) in &spec.apps {
        let found = engine.apps.get(name);
        for volume in &app.volumes {
            if !found.is_some_and(|found| found.volumes.contains(volume)) {
                return Some(format!("volume {volume} of {name} is missing"));
            }
        }
        let bridged = app.services.values().any(|service| service.network == Network::App);
        if bridged && found.is_none_or(|found| found.network == Presence::Absent) {
            return Some(format!("the network of {name} is missing"));
        }
        for (service, wanted) in &app.services {
            let Some(found) = found.and_then(|found| found.services.get(service)) else {
                return Some(format!("{name}/{service} is missing"));
            };
            if canonical(wanted, &found.image_defaults) != found.content {
                return Some(format!("{name}/{service} has other content"));
            }
            let well = match found.state {
                ServiceState::Running => true,
                ServiceState::Exited(0) => matches!(wanted.restart, Restart::No | Restart::OnFailure(_)),
                ServiceState::Exited(_) => wanted.restart == Restart::No,
                ServiceState::Created | ServiceState::Restarting | ServiceState::Paused | ServiceState::Dead => false,
            };
            if !well {
                return Some(format!("{name}/{service} is {:?}", found.state));
            }
        }
    }
    for (name, found) in &engine.apps {
        let app = spec.apps.get(name);
        for service in found.services.keys() {
            if !app.is_some_and(|app| app.services.contains_key(service)) {
                return Some(format!("{name}/{service} should not be there"));
            }
        }
        if app.is_none() && found.network == Presence::Present {
            return Some(format!("the network of {name} should not be there"));
        }
    }
    match (&spec.os, os) {
        (Some(wanted), Some(found)) if wanted.version != found.version => Some(format!("OS {} runs", found.version)),
        (Some(_), None) => Some("no OS was found".to_owned()),
        _ => None,
    }
}

/// The first way in which a device's host is not what a spec says, or not known to be; `None` if it is reached. Of files and hooks,
/// which are all that the simulated repo sets.
fn host_lacking(spec: &DeviceSpec, device: &Device) -> Option<String> {
    let (config, host, memory) = (&spec.config, &device.host, &device.disk.host);
    let other =
        config.files.iter().find(|(path, file)| host.files.get(*path).map(|one| &one.content) != Some(&file.content));
    if let Some((path, _)) = other {
        return Some(format!("file {path} has other content"));
    }
    if let Some(path) = host.files.keys().find(|path| !config.files.contains_key(*path)) {
        return Some(format!("file {path} should not be there"));
    }
    // A change that was begun is made again, and a hook runs after it, because nobody knows how far an agent came that was killed.
    let unended = memory.begun.first().map(ToString::to_string);
    unended.or_else(|| memory.hooks.keys().next().map(ToString::to_string)).map(|what| format!("{what} was not ended"))
}

/// Whether an action for the host follows from what the ledger holds.
fn host_follows(action: &HostAction, spec: &DeviceSpec, memory: &HostMemory) -> bool {
    match action {
        HostAction::Change(changes) => changes.iter().all(|change| match change {
            Change::Write(path, file) => {
                spec.config.files.get(path) == Some(file.as_ref()) && memory.begun.contains(&change.subject())
            }
            Change::Remove(path) => !spec.config.files.contains_key(path),
            Change::Hostname(_) | Change::TimeZone(_) | Change::PersistentLogging(_) | Change::Sysctl(..) => false,
        }),
        // It is counted before it runs.
        HostAction::RunHook { hook, because: _ } => {
            spec.config.hooks.contains_key(hook) && memory.hooks.get(hook).is_some_and(|run| run.tries > 0)
        }
        HostAction::Reboot { hook: _ } => memory.reboot.is_some(),
    }
}

/// Whether an action follows from what the ledger holds, so that it was remembered before it is done.
pub fn follows(action: &Action, spec: &DeviceSpec, memory: &HostMemory) -> bool {
    let service = |app: &AppName, service: &ServiceName| spec.apps.get(app).and_then(|app| app.services.get(service));
    match action {
        Action::CreateNetwork { app, .. } => spec.apps.contains_key(app),
        Action::CreateVolume { app, volume } => spec.apps.get(app).is_some_and(|app| app.volumes.contains(volume)),
        Action::Pull { image } => {
            spec.apps.values().flat_map(|app| app.services.values()).any(|service| service.image == *image)
        }
        Action::RemoveService { app, service: name, why }
        | Action::Promote { app, service: name, why }
        | Action::AdjustService { app, service: name, why, .. } => match why {
            Why::NotAssigned => service(app, name).is_none(),
            Why::Differs(_) | Why::Dead | Why::Follows(_) => service(app, name).is_some(),
        },
        Action::CreateService { app, service: name, spec } | Action::CreateSuccessor { app, service: name, spec } => {
            service(app, name) == Some(spec.as_ref())
        }
        Action::StartService { app, service: name } | Action::StartSuccessor { app, service: name } => {
            service(app, name).is_some()
        }
        Action::RemoveSuccessor { .. } => true,
        Action::RemoveImage { image } => {
            !spec.apps.values().flat_map(|app| app.services.values()).any(|service| service.image == *image)
        }
        Action::RemoveNetwork { app, network } => {
            let used = spec.apps.get(app).map(AppSpec::used_networks).unwrap_or_default();
            !used.contains_key(network)
        }
        Action::FetchOs { os, from_bytes: _ } | Action::InstallOs { os } => spec.os.as_ref() == Some(os),
        Action::Host(action) => host_follows(action, spec, memory),
        // What was begun is ended, whatever is assigned meanwhile.
        Action::Reboot { .. }
        | Action::ConfirmOs { .. }
        | Action::FallBackOs { .. }
        | Action::KeepOs
        | Action::DiscardOs => true,
    }
}

/// What an action is about, as differences call it.
pub fn subject(action: &Action) -> Option<String> {
    match action {
        Action::RemoveService { app, service, .. }
        | Action::CreateService { app, service, .. }
        | Action::AdjustService { app, service, .. }
        | Action::Promote { app, service, .. }
        | Action::StartService { app, service } => Some(format!("{app}/{service}")),
        Action::CreateNetwork { app, .. } | Action::RemoveNetwork { app, .. } => Some(format!("{app} network")),
        Action::CreateVolume { app, volume } => Some(format!("{app} volume {volume}")),
        Action::CreateSuccessor { app, service, .. }
        | Action::StartSuccessor { app, service }
        | Action::RemoveSuccessor { app, service } => Some(format!("{app}/{service}")),
        Action::FetchOs { .. } | Action::InstallOs { .. } | Action::Reboot { why: RebootWhy::Try(_) } => {
            Some("os version".to_owned())
        }
        Action::Host(_)
        | Action::Pull { .. }
        | Action::RemoveImage { .. }
        | Action::Reboot { why: RebootWhy::Leave(_) }
        | Action::ConfirmOs { .. }
        | Action::FallBackOs { .. }
        | Action::KeepOs
        | Action::DiscardOs => None,
    }
}
