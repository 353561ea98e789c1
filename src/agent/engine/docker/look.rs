//! Reading back what the engine has of the device, and what its images supply.

use super::asking::{Container, ContainerSummary, Volume};
use super::kind::Kind;
use super::names::{APP, SERVICE, VOLUME};
use super::podman;
use super::read::{self, FoundNetworks, Known};
use super::{DockerEngine, MAX_CONTAINERS, MAX_REMEMBERED_IMAGES};
use crate::domain::device::canonical::{CanonicalService, ImageDefaults};
use crate::domain::device::steps::Observed;
use crate::domain::ids::{AppName, ServiceName, VolumeName};
use crate::domain::reported::{Changes, ObservedApp, ObservedService, ServiceState};
use crate::ports::engine::EngineError;
use std::collections::{BTreeMap, BTreeSet};

/// How often the containers are listed in one look: who makes a container anew gives it another id, and the new one is not in
/// a list from before.
const LISTINGS: usize = 3;

/// What is done about a container that was listed and is gone.
#[derive(Clone, Copy)]
enum Gone {
    ListAnew,
    LeaveOut,
}

impl DockerEngine {
    pub(super) async fn look_now(&self, images: &BTreeSet<String>) -> Result<Observed, EngineError> {
        let mut found = None;
        for _ in 1..LISTINGS {
            found = self.apps(Gone::ListAnew).await?;
            if found.is_some() {
                break;
            }
        }
        let apps = match found {
            Some(apps) => apps,
            None => self.apps(Gone::LeaveOut).await?.unwrap_or_default(),
        };
        let mut present = BTreeSet::new();
        for image in images {
            if self.present(image).await?.is_some() {
                present.insert(image.clone());
            }
        }
        Ok(Observed { apps, images: present, engine: self.connected().await?.1.attributes() })
    }

    /// What the device has; `None` if that changed meanwhile and shall be listed anew.
    async fn apps(&self, gone: Gone) -> Result<Option<BTreeMap<AppName, ObservedApp>>, EngineError> {
        let mut apps: BTreeMap<AppName, ObservedApp> = BTreeMap::new();
        let known = self.known().await?;
        for (app, volumes) in &known.volumes {
            apps.entry(app.clone()).or_default().volumes.clone_from(volumes);
        }
        for (app, networks) in &known.networks {
            let entry = apps.entry(app.clone()).or_default();
            networks.iter().for_each(|(name, network)| entry.add_network(name.clone(), network.spec.clone()));
        }
        let successors = self.successors(&known).await?;
        let changes = match self.kind().await? {
            Kind::Docker | Kind::Balena => Changes::InPlace,
            Kind::Podman => Changes::Anew,
        };
        for (id, (app, service)) in &known.containers {
            let Some(found) = self.inspect(id).await? else {
                match gone {
                    Gone::ListAnew => return Ok(None),
                    Gone::LeaveOut => continue,
                }
            };
            let image_defaults = self.defaults_of(found.image.as_deref().unwrap_or_default()).await?;
            let state = read::state(found.state.as_ref());
            let restarts = found.restart_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
            let health = read::health_state(found.state.as_ref());
            let content = self.content(found, app, &known).await?;
            let observed = ObservedService { content, image_defaults, state, restarts, health, changes };
            let place = apps.entry(app.clone()).or_default();
            let is_next = successors.contains(id);
            let kind = if is_next { &mut place.successors } else { &mut place.services };
            kind.entry(service.clone())
                // Two containers of one service, as after a copy made by hand: both go and one is made anew.
                .and_modify(|first| first.state = ServiceState::Dead)
                .or_insert(observed);
        }
        Ok(Some(apps))
    }

    pub(super) async fn containers(&self, more: &[(&str, &str)]) -> Result<Vec<ContainerSummary>, EngineError> {
        let mut all = self.list_containers(&[("label", self.owner.filter(more))]).await?;
        all.retain(|summary| self.owner.owns(summary.labels.as_ref(), more));
        all.truncate(MAX_CONTAINERS);
        Ok(all)
    }

    /// Those of the containers that their services are being handed over to: the one of two that has the successor's name. Alone
    /// it is the service's own, whatever its name: then the hand-over was cut off after the old one went.
    async fn successors(&self, known: &Known) -> Result<BTreeSet<String>, EngineError> {
        let mut by_place: BTreeMap<&(AppName, ServiceName), Vec<&String>> = BTreeMap::new();
        for (id, place) in &known.containers {
            by_place.entry(place).or_default().push(id);
        }
        by_place.retain(|_, ids| ids.len() == 2);
        if by_place.is_empty() {
            return Ok(BTreeSet::new());
        }
        let names = self.names().await?;
        let mut successors = BTreeSet::new();
        for ((app, service), ids) in by_place {
            let wanted = self.owner.successor(app, service);
            let next: Vec<&String> = ids.into_iter().filter(|id| names.get(*id) == Some(&wanted)).collect();
            successors.extend(next.into_iter().cloned());
        }
        Ok(successors)
    }

    /// The names of the device's containers by id.
    pub(super) async fn names(&self) -> Result<BTreeMap<String, String>, EngineError> {
        let name = |summary: ContainerSummary| {
            let name = summary.names?.into_iter().next()?;
            Some((summary.id?, name.trim_start_matches('/').to_owned()))
        };
        Ok(self.containers(&[]).await?.into_iter().filter_map(name).collect())
    }

    /// The containers of one service: one, or none, or what somebody left.
    pub(super) async fn containers_of(&self, app: &AppName, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        let all = self.containers(&[(APP, app.as_str()), (SERVICE, service.as_str())]).await?;
        Ok(all.into_iter().filter_map(|summary| summary.id).collect())
    }

    /// The container of a service that something is asked of; that there is none is an error.
    pub(super) async fn container_of(
        &self,
        app: &AppName,
        service: &ServiceName,
        attempted: &'static str,
    ) -> Result<String, EngineError> {
        let first = self.containers_of(app, service).await?.into_iter().next();
        first.ok_or_else(|| no_container(attempted, format!("{app}/{service}")))
    }

    /// What a container is, in the form in which it is compared.
    pub(super) async fn content(
        &self,
        container: Container,
        app: &AppName,
        known: &Known,
    ) -> Result<CanonicalService, EngineError> {
        let container = match self.kind().await? {
            Kind::Docker | Kind::Balena => container,
            Kind::Podman => podman::as_docker(container, known.networks.get(app)),
        };
        Ok(read::content(&container, &self.owner, app, known))
    }

    pub(super) async fn networks(&self) -> Result<FoundNetworks, EngineError> {
        let all = self.list_networks(&[("label", self.owner.filter(&[]))]).await?;
        let mut networks = FoundNetworks::new();
        let ours = all.iter().filter(|network| self.owner.owns(network.labels.as_ref(), &[]));
        for (app, name, network) in ours.filter_map(read::network) {
            networks.entry(app).or_default().insert(name, network);
        }
        Ok(networks)
    }

    /// Everything of the device that containers refer to.
    pub(super) async fn known(&self) -> Result<Known, EngineError> {
        let mut known = Known { networks: self.networks().await?, locks: self.locks.clone(), ..Known::default() };
        for (app, volume) in self.volumes().await? {
            known.volumes.entry(app).or_default().insert(volume);
        }
        for summary in self.containers(&[]).await? {
            if let (Some(id), Some(place)) = (summary.id.clone(), place(&summary)) {
                known.containers.insert(id, place);
            }
        }
        Ok(known)
    }

    async fn volumes(&self) -> Result<Vec<(AppName, VolumeName)>, EngineError> {
        let all = self.list_volumes(&[("label", self.owner.filter(&[]))]).await?;
        let volume = |volume: Volume| {
            let labels = volume.labels.filter(|labels| self.owner.owns(Some(labels), &[]))?;
            Some((labels.get(APP)?.parse().ok()?, labels.get(VOLUME)?.parse().ok()?))
        };
        Ok(all.into_iter().filter_map(volume).collect())
    }

    /// What a container's image supplies. An image that was removed under its container supplies nothing that is known.
    async fn defaults_of(&self, id: &str) -> Result<ImageDefaults, EngineError> {
        let remembered = self.remembered.lock().expect("nobody panics with the lock").get(id).cloned();
        if let Some(defaults) = remembered {
            return Ok(defaults);
        }
        let Some(defaults) = self.image(id).await? else { return Ok(ImageDefaults::default()) };
        let mut remembered = self.remembered.lock().expect("nobody panics with the lock");
        if remembered.len() >= MAX_REMEMBERED_IMAGES {
            remembered.clear();
        }
        remembered.insert(id.to_owned(), defaults.clone());
        Ok(defaults)
    }
}

/// What is asked of a container that is not there.
pub(super) fn no_container(attempted: &'static str, subject: String) -> EngineError {
    EngineError::Failed { attempted, subject, reason: "no such container".to_owned() }
}

/// App and service of a container, from its labels.
pub(super) fn place(summary: &ContainerSummary) -> Option<(AppName, ServiceName)> {
    let labels = summary.labels.as_ref()?;
    Some((labels.get(APP)?.parse().ok()?, labels.get(SERVICE)?.parse().ok()?))
}
