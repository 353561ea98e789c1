//! From the engine's descriptions to the forms in which things are compared.

use super::names::{LABEL_PREFIX, Owner};
use crate::domain::device::canonical::{CanonicalService, ImageDefaults};
use crate::domain::ids::{AppName, VolumeName};
use crate::domain::reported::ServiceState;
use crate::domain::spec::{Access, Mount, Network, Port, Restart, Transport};
use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, HostConfig, ImageConfig, NetworkSettings,
    PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use std::collections::{BTreeMap, BTreeSet};

/// The app's network as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundNetwork {
    pub(super) name: String,
    pub(super) id: String,
}

/// What an image supplies.
pub(super) fn image_defaults(config: Option<ImageConfig>) -> ImageDefaults {
    let Some(config) = config else { return ImageDefaults::default() };
    ImageDefaults {
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        environment: environment(config.env),
        labels: labels(config.labels),
        user: config.user.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
    }
}

/// A container's whole content. `volumes` tells the names of this app's volumes in the engine.
pub(super) fn content(
    container: &ContainerInspectResponse,
    owner: &Owner,
    app: &AppName,
    volumes: &BTreeSet<VolumeName>,
    network: Option<&FoundNetwork>,
) -> CanonicalService {
    let config = container.config.clone().unwrap_or_default();
    let host = container.host_config.clone().unwrap_or_default();
    CanonicalService {
        image: config.image.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        environment: environment(config.env),
        labels: labels(config.labels),
        user: config.user.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        restart: restart(host.restart_policy.as_ref()),
        ports: ports(&host),
        mounts: mounts(&host, owner, app, volumes),
        network: connected(&host, container.network_settings.as_ref(), network),
    }
}

/// Whether a container runs.
pub(super) fn state(state: Option<&ContainerState>) -> ServiceState {
    let Some(state) = state else { return ServiceState::Dead };
    use ContainerStateStatusEnum as Status;
    match state.status {
        Some(Status::RUNNING | Status::STOPPING) => ServiceState::Running,
        Some(Status::CREATED) => ServiceState::Created,
        Some(Status::PAUSED) => ServiceState::Paused,
        Some(Status::RESTARTING) => ServiceState::Restarting,
        Some(Status::EXITED) => ServiceState::Exited(state.exit_code.unwrap_or(-1)),
        Some(Status::DEAD | Status::REMOVING) | Some(Status::EMPTY) | None => ServiceState::Dead,
    }
}

fn environment(entries: Option<Vec<String>>) -> BTreeMap<String, String> {
    let entries = entries.unwrap_or_default();
    let pair = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (name.to_owned(), value.to_owned())
    };
    // A later entry of one name wins, as in a process.
    entries.iter().map(pair).collect()
}

/// Labels without Bellwether's own.
fn labels(labels: Option<impl IntoIterator<Item = (String, String)>>) -> BTreeMap<String, String> {
    labels.into_iter().flatten().filter(|(name, _)| !name.starts_with(LABEL_PREFIX)).collect()
}

fn restart(policy: Option<&RestartPolicy>) -> Restart {
    match policy.and_then(|policy| policy.name) {
        Some(RestartPolicyNameEnum::ALWAYS) => Restart::Always,
        Some(RestartPolicyNameEnum::UNLESS_STOPPED) => Restart::UnlessStopped,
        Some(RestartPolicyNameEnum::ON_FAILURE) => {
            let most = policy.and_then(|policy| policy.maximum_retry_count).unwrap_or(0);
            Restart::OnFailure(u32::try_from(most).unwrap_or(0))
        }
        Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY) | None => Restart::No,
    }
}

/// What was asked for, not what came of it: a port that the engine chose must not look like a change.
fn ports(host: &HostConfig) -> BTreeSet<Port> {
    let bindings = host.port_bindings.iter().flatten();
    bindings.flat_map(|(key, hosts)| hosts.iter().flatten().filter_map(move |binding| port(key, binding))).collect()
}

fn port(key: &str, binding: &PortBinding) -> Option<Port> {
    let (target, transport) = key.split_once('/').unwrap_or((key, "tcp"));
    let transport = match transport {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        // Nothing that a spec can ask for.
        _ => return None,
    };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Some(Port {
        target: target.parse().ok()?,
        transport,
        published: given(&binding.host_port).and_then(|port| port.parse().ok()).filter(|port| *port != 0),
        host_ip: given(&binding.host_ip).and_then(|ip| ip.parse().ok()),
    })
}

/// What was asked for: volumes without a name that an image declares are the engine's business.
fn mounts(host: &HostConfig, owner: &Owner, app: &AppName, volumes: &BTreeSet<VolumeName>) -> BTreeMap<String, Mount> {
    let by_name: BTreeMap<String, &VolumeName> =
        volumes.iter().map(|volume| (owner.volume(app, volume), volume)).collect();
    let volume = |source: &str| match by_name.get(source) {
        Some(volume) => (*volume).clone(),
        // Something that was never asked for; it must show as a difference.
        None => foreign_volume(source),
    };
    let access = |read_only: bool| if read_only { Access::ReadOnly } else { Access::ReadWrite };
    let asked = host.mounts.iter().flatten().map(|mount| {
        let source = mount.source.as_deref().unwrap_or_default();
        let path = mount.target.clone().unwrap_or_default();
        (path, Mount { volume: volume(source), access: access(mount.read_only == Some(true)) })
    });
    // Bellwether never makes these; somebody who made the container anew by hand may have.
    let bound = host.binds.iter().flatten().map(|bind| {
        let mut parts = bind.splitn(3, ':');
        let (source, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let options = parts.next().unwrap_or_default();
        let read_only = options.split(',').any(|option| option == "ro");
        (path.to_owned(), Mount { volume: volume(source), access: access(read_only) })
    });
    asked.chain(bound).collect()
}

fn foreign_volume(source: &str) -> VolumeName {
    let plain: String = source.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')).collect();
    let name = format!("foreign-{plain}");
    let cut = &name[..name.len().min(63)];
    VolumeName::new(cut).expect("a prefix of letters, then letters, digits, `_`, `.` and `-`")
}

/// How the container is really connected: one whose network was taken away or made anew is not.
fn connected(host: &HostConfig, settings: Option<&NetworkSettings>, network: Option<&FoundNetwork>) -> Network {
    match host.network_mode.as_deref() {
        Some("host") => Network::Host,
        Some("none") => Network::None,
        Some(mode) if network.is_some_and(|network| network.name == mode) => {
            let endpoint = settings.and_then(|settings| settings.networks.as_ref()).and_then(|all| all.get(mode));
            let id = endpoint.and_then(|endpoint| endpoint.network_id.as_deref()).unwrap_or_default();
            match (endpoint, network) {
                // Before its first start a container's endpoint has no network id yet.
                (Some(_), Some(network)) if id.is_empty() || id == network.id => Network::App,
                (Some(_), _) | (None, _) => Network::None,
            }
        }
        Some(_) | None => Network::None,
    }
}
