//! A container engine as a value: the semantics of the port without any IO.
//!
//! Tests and the simulation use them as they are; the agent's simulated engine keeps one in a file. They are honest: what
//! the ports promise holds, and what a real engine refuses is refused (a missing image, a port that is taken, a network in
//! use).

use super::{EngineError, LogBound, ProbeAnswer};
use crate::domain::device::action::Action;
use crate::domain::device::canonical::{CanonicalService, ImageDefaults, canonical};
use crate::domain::device::steps::Observed;
use crate::domain::digest::Digest;
use crate::domain::ids::{AppName, NetworkName, ServiceName, VariableName, VolumeName};
use crate::domain::reported::{Changes, Health, ObservedApp, ObservedService, ServiceState};
use crate::domain::spec::{Network, Port, ServiceSpec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The variable that has a simulated container end as soon as it is started: there is no program in it that could.
pub const ENDS_WITH: &str = "SIMULATED_EXIT";

/// A container engine of one device as a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeEngine {
    /// What there is.
    #[serde(default)]
    pub apps: BTreeMap<AppName, ObservedApp>,
    /// Images that are present.
    #[serde(default)]
    pub images: BTreeSet<String>,
    /// How often each container was made: `app/service` and the digest of its canonical form.
    #[serde(default)]
    pub creates: BTreeMap<String, u64>,
    /// Counts the operations that changed something or tried to.
    #[serde(default)]
    pub operations: u64,
}

/// A change that somebody makes by hand, behind the agent's back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// Remove a container.
    Remove {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// Stop a container.
    Stop {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// Change a variable of a container.
    SetVariable {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// The variable.
        name: VariableName,
        /// Its new value.
        value: String,
    },
}

/// What an image supplies in the fake: a fixed function of its reference, so that every device agrees on it.
pub fn image_defaults(image: &str) -> ImageDefaults {
    let name = Digest::of(image.as_bytes()).short();
    ImageDefaults {
        entrypoint: vec!["/sbin/entrypoint".to_owned()],
        command: vec!["serve".to_owned()],
        environment: BTreeMap::from([
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("IMAGE_BUILD".to_owned(), name),
        ]),
        labels: BTreeMap::from([("org.example.vendor".to_owned(), "fake".to_owned())]),
        user: String::new(),
        working_dir: "/srv".to_owned(),
        healthcheck: None,
        stop_signal: None,
    }
}

/// The key under which [`FakeEngine::creates`] counts a container.
pub fn create_key(app: &AppName, service: &ServiceName, content: &CanonicalService) -> String {
    let text = serde_json::to_string(content).expect("canonical values have only string keys");
    format!("{app}/{service} {}", Digest::of(text.as_bytes()))
}

/// How a container is once it was started: it runs, unless its variable [`ENDS_WITH`] says with which status it ends at once.
fn started(content: &CanonicalService) -> ServiceState {
    let status = content.environment.get(ENDS_WITH).and_then(|status| status.parse().ok());
    status.map_or(ServiceState::Running, ServiceState::Exited)
}

fn refused(attempted: &'static str, app: &AppName, service: &ServiceName, reason: &str) -> EngineError {
    EngineError::Failed { attempted, subject: format!("{app}/{service}"), reason: reason.to_owned() }
}

impl FakeEngine {
    /// Everything that there is, and which of these images are present.
    pub fn look(&self, images: &BTreeSet<String>) -> Observed {
        let images = images.intersection(&self.images).cloned().collect();
        Observed { apps: self.apps.clone(), images, engine: BTreeMap::new() }
    }

    /// Performs an action. One for the OS is none of the engine's.
    pub fn perform(&mut self, action: &Action) -> Result<(), EngineError> {
        self.operations += 1;
        match action {
            Action::CreateNetwork { app, network, spec } => {
                if self.app(app).network_as_found(network).is_none() {
                    self.app(app).add_network(network.clone(), (**spec).clone());
                }
                Ok(())
            }
            Action::CreateVolume { app, volume } => {
                self.app(app).volumes.insert(volume.clone());
                Ok(())
            }
            Action::Pull { image } => {
                self.images.insert(image.clone());
                Ok(())
            }
            Action::RemoveService { app, service, why: _ } => {
                self.app(app).services.remove(service);
                self.app(app).successors.remove(service);
                self.drop_empty(app);
                Ok(())
            }
            Action::CreateService { app, service, spec } => self.create(app, service, spec),
            Action::StartService { app, service } => self.start(app, service),
            Action::RemoveNetwork { app, network } => self.remove_network(app, network),
            Action::AdjustService { app, service, spec, why: _ } => self.adjust(app, service, spec),
            Action::CreateSuccessor { app, service, spec } => self.create_successor(app, service, spec),
            Action::StartSuccessor { app, service } => self.start_successor(app, service),
            Action::Promote { app, service, why: _ } => {
                let place = self.app(app);
                if let Some(next) = place.successors.remove(service) {
                    place.services.insert(service.clone(), next);
                }
                Ok(())
            }
            Action::RemoveSuccessor { app, service } => {
                self.app(app).successors.remove(service);
                self.drop_empty(app);
                Ok(())
            }
            Action::RemoveImage { image } => {
                self.images.remove(image);
                Ok(())
            }
            Action::FetchOs { .. }
            | Action::InstallOs { .. }
            | Action::Host(_)
            | Action::Reboot { .. }
            | Action::ConfirmOs { .. }
            | Action::FallBackOs { .. }
            | Action::KeepOs
            | Action::DiscardOs => Ok(()),
        }
    }

    /// Removes a volume with its data, and the containers that use it.
    pub fn purge_volume(&mut self, app: &AppName, volume: &VolumeName) {
        self.operations += 1;
        let place = self.app(app);
        place.services.retain(|_, found| found.content.mounts.values().all(|mount| mount.volume != *volume));
        place.volumes.remove(volume);
        self.drop_empty(app);
    }

    /// Stops a container and starts it again.
    pub fn restart(&mut self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
        self.operations += 1;
        if let Some(found) = self.found(app, service) {
            found.state = ServiceState::Exited(0);
        }
        self.start(app, service)
    }

    /// What a container wrote: the variables that it was made with, as a service that says how it was started.
    pub fn logs(&self, app: &AppName, service: &ServiceName, bound: LogBound) -> Result<String, EngineError> {
        let found = self.apps.get(app).and_then(|found| found.services.get(service));
        let found = found.ok_or_else(|| EngineError::Failed {
            attempted: "read the log of",
            subject: format!("{app}/{service}"),
            reason: "no such container".to_owned(),
        })?;
        let lines = found.content.environment.iter().map(|(name, value)| format!("{name}={value}\n"));
        let lines: Vec<String> = lines.collect();
        let most = usize::try_from(bound.lines).unwrap_or(usize::MAX);
        let mut kept = lines.len();
        let mut bytes = 0;
        while kept > lines.len().saturating_sub(most) && bytes + lines[kept - 1].len() <= bound.bytes {
            kept -= 1;
            bytes += lines[kept].len();
        }
        Ok(lines[kept..].concat())
    }

    /// What a service says when it is asked whether it is well: in the fake, whatever runs is.
    pub fn probe(&self, app: &AppName, service: &ServiceName) -> ProbeAnswer {
        match self.apps.get(app).and_then(|app| app.services.get(service)).map(|found| found.state) {
            Some(ServiceState::Running) => Ok(()),
            Some(_) | None => Err("it does not run".to_owned()),
        }
    }

    /// Changes something by hand. `false` if there is nothing to change.
    pub fn tamper(&mut self, tamper: &Tamper) -> bool {
        match tamper {
            Tamper::Remove { app, service } => {
                self.apps.get_mut(app).is_some_and(|app| app.services.remove(service).is_some())
            }
            Tamper::Stop { app, service } => {
                self.found(app, service).map(|found| found.state = ServiceState::Exited(137)).is_some()
            }
            Tamper::SetVariable { app, service, name, value } => self
                .found(app, service)
                .map(|found| found.content.environment.insert(name.to_string(), value.clone()))
                .is_some(),
        }
    }

    fn create(&mut self, app: &AppName, service: &ServiceName, spec: &ServiceSpec) -> Result<(), EngineError> {
        if self.app(app).services.contains_key(service) {
            return Err(refused("create", app, service, "the name is in use"));
        }
        let made = self.made(app, service, spec)?;
        self.app(app).services.insert(service.clone(), made);
        Ok(())
    }

    fn create_successor(
        &mut self,
        app: &AppName,
        service: &ServiceName,
        spec: &ServiceSpec,
    ) -> Result<(), EngineError> {
        if self.app(app).successors.contains_key(service) {
            return Err(refused("create", app, service, "the name is in use"));
        }
        let made = self.made(app, service, spec)?;
        self.app(app).successors.insert(service.clone(), made);
        Ok(())
    }

    /// A new container, if everything that it needs is there.
    fn made(
        &mut self,
        app: &AppName,
        service: &ServiceName,
        spec: &ServiceSpec,
    ) -> Result<ObservedService, EngineError> {
        let refused = |reason: &str| refused("create", app, service, reason);
        if !self.images.contains(&spec.image) {
            return Err(refused(&format!("no such image: {}", spec.image)));
        }
        let place = self.app(app);
        if spec.network_names().iter().any(|network| place.network_as_found(network).is_none()) {
            return Err(refused("no such network"));
        }
        if let Some(other) = spec.joined().into_iter().find(|other| !place.services.contains_key(*other)) {
            return Err(refused(&format!("no such container: {other}")));
        }
        if let Some(mount) = spec.mounts.values().find(|mount| !place.volumes.contains(&mount.volume)) {
            return Err(refused(&format!("no such volume: {}", mount.volume)));
        }
        let image_defaults = image_defaults(&spec.image);
        let content = canonical(spec, &image_defaults);
        let key = create_key(app, service, &content);
        let state = ServiceState::Created;
        let health = Health::default();
        *self.creates.entry(key).or_default() += 1;
        Ok(ObservedService { content, image_defaults, state, restarts: 0, health, changes: Changes::InPlace })
    }

    fn adjust(&mut self, app: &AppName, service: &ServiceName, spec: &ServiceSpec) -> Result<(), EngineError> {
        let Some(found) = self.found(app, service) else {
            return Err(refused("adjust", app, service, "no such container"));
        };
        let wanted = canonical(spec, &found.image_defaults);
        found.content.restart = wanted.restart;
        found.content.options = wanted.options;
        Ok(())
    }

    fn start_successor(&mut self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
        let Some(next) = self.app(app).successors.get_mut(service) else {
            return Err(refused("start", app, service, "no such container"));
        };
        next.state = started(&next.content);
        next.health = next.content.healthcheck.as_ref().map_or(Health::Unchecked, |_| Health::Healthy);
        Ok(())
    }

    fn start(&mut self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
        let refused =
            |reason: String| EngineError::Failed { attempted: "start", subject: format!("{app}/{service}"), reason };
        let wanted = match self.found(app, service) {
            Some(found) => found.content.ports.clone(),
            None => return Err(refused("no such container".to_owned())),
        };
        if let Some(port) = self.taken(app, service, &wanted) {
            return Err(refused(format!("port {port} is already allocated")));
        }
        if let Some(found) = self.found(app, service) {
            found.state = started(&found.content);
            // Whatever is checked here is well at once.
            found.health = found.content.healthcheck.as_ref().map_or(Health::Unchecked, |_| Health::Healthy);
        }
        Ok(())
    }

    /// The first of these host ports that another running container has.
    fn taken(&self, app: &AppName, service: &ServiceName, wanted: &BTreeSet<Port>) -> Option<u16> {
        let others = self.apps.iter().flat_map(|(name, found)| found.services.iter().map(move |one| (name, one)));
        let running = others
            .filter(|(name, (other, found))| (*name, *other) != (app, service) && found.state == ServiceState::Running);
        let held: Vec<&Port> = running.flat_map(|(_, (_, found))| &found.content.ports).collect();
        let clashes = |port: &&Port| held.iter().any(|other| other.clashes_with(port));
        wanted.iter().find(clashes).and_then(|port| port.published)
    }

    fn remove_network(&mut self, app: &AppName, network: &NetworkName) -> Result<(), EngineError> {
        let place = self.app(app);
        let joins = |content: &CanonicalService| match (&content.network, content.networks.is_empty()) {
            (Network::App, true) => *network == NetworkName::default_of_app(),
            (Network::App, false) => content.networks.contains_key(network),
            (Network::Host | Network::None | Network::Service(_), _) => false,
        };
        if place.services.values().any(|found| joins(&found.content)) {
            let reason = "the network has active endpoints".to_owned();
            return Err(EngineError::Failed { attempted: "remove", subject: format!("network of {app}"), reason });
        }
        place.drop_network(network);
        self.drop_empty(app);
        Ok(())
    }

    fn app(&mut self, app: &AppName) -> &mut ObservedApp {
        self.apps.entry(app.clone()).or_default()
    }

    fn found(&mut self, app: &AppName, service: &ServiceName) -> Option<&mut ObservedService> {
        self.apps.get_mut(app)?.services.get_mut(service)
    }

    /// An app of which nothing is left is not there.
    fn drop_empty(&mut self, app: &AppName) {
        self.apps.retain(|name, found| name != app || *found != ObservedApp::default());
    }
}
