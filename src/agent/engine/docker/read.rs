//! From the engine's descriptions to the forms in which things are compared.

mod options;

use super::asking::Container;
use super::names::{APP, IMAGE, LABEL_PREFIX, NETWORK, Owner, SAID, SECRETS};
use crate::agent::locks::LockFiles;
use crate::domain::device::canonical::{
    CanonicalService, ImageDefaults, health, networks_of, signal, without_own_name,
};
use crate::domain::ids::{AppName, NetworkName, ServiceName, VolumeName};
use crate::domain::reported::{Health, ServiceState};
use crate::domain::spec::{
    Access, Attachment, Bind, HealthCheck, HealthTest, HostPath, Mount, Network, NetworkSpec, NetworkSwitch, Port,
    Restart, Seeding, Subnet, Transport,
};
use bollard::models::{
    ContainerState, ContainerStateStatusEnum, HealthConfig, HealthStatusEnum, HostConfig, ImageConfig, MountType,
    PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use std::collections::{BTreeMap, BTreeSet};

/// One of an app's networks as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundNetwork {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) spec: NetworkSpec,
}

/// Networks by app and name.
pub(super) type FoundNetworks = BTreeMap<AppName, BTreeMap<NetworkName, FoundNetwork>>;

/// Everything of a device that containers refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) networks: FoundNetworks,
    pub(super) volumes: BTreeMap<AppName, BTreeSet<VolumeName>>,
    /// Containers by id.
    pub(super) containers: BTreeMap<String, (AppName, ServiceName)>,
    /// Where the folders of update locks are.
    pub(super) locks: Option<LockFiles>,
}

impl Known {
    /// The folder of the update lock of a container's service.
    fn lock_folder_of(&self, id: &str) -> Option<String> {
        let (app, service) = self.containers.get(id)?;
        Some(self.locks.as_ref()?.folder(app, service).to_str()?.to_owned())
    }
}

/// A network with its app and name; `None` if its labels do not say.
pub(super) fn network(network: &super::asking::Network) -> Option<(AppName, NetworkName, FoundNetwork)> {
    let labels = network.labels.as_ref()?;
    let app = labels.get(APP)?.parse().ok()?;
    let name = labels.get(NETWORK).map_or_else(|| Ok(NetworkName::default_of_app()), |name| name.parse()).ok()?;
    let said = said(labels.get(SAID));
    let ranges = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref()).into_iter().flatten();
    let subnets = ranges.filter(|_| said.contains("subnets")).filter_map(|range| {
        Some(Subnet {
            subnet: range.subnet.clone()?,
            gateway: given(&range.gateway).filter(|_| said.contains("gateway")),
            ip_range: given(&range.ip_range),
        })
    });
    let switches = [
        (NetworkSwitch::Internal, network.internal == Some(true)),
        (NetworkSwitch::EnableIpv6, network.enable_ipv6 == Some(true)),
    ];
    let spec = NetworkSpec {
        switches: switches.into_iter().filter(|(_, is_on)| *is_on).map(|(switch, _)| switch).collect(),
        subnets: subnets.collect(),
    };
    Some((app, name, FoundNetwork { name: network.name.clone()?, id: network.id.clone()?, spec }))
}

fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// What was said among the things that an engine fills in by itself.
fn said(label: Option<&String>) -> BTreeSet<String> {
    let text = label.map_or("", String::as_str);
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The words of a container's labels.
pub(super) fn said_words<'a>(labels: Option<impl IntoIterator<Item = (&'a String, &'a String)>>) -> BTreeSet<String> {
    said(labels.into_iter().flatten().find(|(name, _)| name.as_str() == SAID).map(|(_, words)| words))
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
        healthcheck: config.healthcheck.as_ref().and_then(health_check),
        stop_signal: given(&config.stop_signal),
    }
}

/// A container's whole content.
pub(super) fn content(container: &Container, owner: &Owner, app: &AppName, known: &Known) -> CanonicalService {
    let config = container.config.clone().unwrap_or_default();
    let host = container.host_config.clone().unwrap_or_default();
    let said = said(config.labels.as_ref().and_then(|labels| labels.get(SAID)));
    let no_volumes = BTreeSet::new();
    let (mounts, mut binds) = mounts(&host, owner, app, known.volumes.get(app).unwrap_or(&no_volumes));
    let folder = known.lock_folder_of(container.id.as_deref().unwrap_or_default());
    let lock_folder = binds.iter().find(|(_, bind)| Some(bind.source.as_str()) == folder.as_deref());
    let lock_folder = lock_folder.map(|(path, _)| path.clone());
    binds.retain(|path, _| Some(path) != lock_folder.as_ref());
    let (network, networks) = connected(container, &host, app, known);
    let networks = networks_of(without_own_name(networks, config.hostname.as_deref()));
    let options = options::read(&config, &host, app, known).only_said(&said).normalised();
    let named = config.labels.as_ref().and_then(|labels| labels.get(IMAGE)).cloned();
    CanonicalService {
        image: named.or(config.image).unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        environment: environment(config.env),
        secret_variables: secret_variables(config.labels.as_ref()),
        labels: labels(config.labels),
        user: config.user.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        restart: restart(host.restart_policy.as_ref()),
        ports: ports(&host),
        mounts,
        network,
        networks,
        binds,
        healthcheck: health(config.healthcheck.as_ref().and_then(health_check).as_ref(), None),
        stop_signal: signal(config.stop_signal.as_deref()),
        options,
        lock_folder,
    }
}

fn health_check(check: &HealthConfig) -> Option<HealthCheck> {
    let words = check.test.as_deref().unwrap_or_default();
    let test = words.split_first().map(|(kind, rest)| match (kind.as_str(), rest) {
        ("CMD", rest) => HealthTest::Command(rest.to_vec()),
        ("CMD-SHELL", [line]) => HealthTest::Shell(line.clone()),
        // `NONE`, and what no engine carries out.
        _ => HealthTest::Off,
    });
    let nanos = |nanos: Option<i64>| nanos.and_then(|nanos| u64::try_from(nanos).ok());
    Some(HealthCheck {
        test,
        interval_nanos: nanos(check.interval),
        timeout_nanos: nanos(check.timeout),
        start_period_nanos: nanos(check.start_period),
        start_interval_nanos: nanos(check.start_interval),
        retries: check.retries.and_then(|retries| u32::try_from(retries).ok()),
    })
}

/// What a container's health check says.
pub(super) fn health_state(state: Option<&ContainerState>) -> Health {
    match state.and_then(|state| state.health.as_ref()?.status) {
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => Health::Unchecked,
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

fn secret_variables<'a>(labels: Option<impl IntoIterator<Item = (&'a String, &'a String)>>) -> BTreeSet<String> {
    let noted = labels.into_iter().flatten().find(|(name, _)| name.as_str() == SECRETS).map(|(_, names)| names);
    noted.into_iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()).map(str::to_owned).collect()
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
fn mounts(
    host: &HostConfig,
    owner: &Owner,
    app: &AppName,
    volumes: &BTreeSet<VolumeName>,
) -> (BTreeMap<String, Mount>, BTreeMap<String, Bind>) {
    let by_name: BTreeMap<String, &VolumeName> =
        volumes.iter().map(|volume| (owner.volume(app, volume), volume)).collect();
    let volume = |source: &str| match by_name.get(source) {
        Some(volume) => (*volume).clone(),
        // Something that was never asked for; it must show as a difference.
        None => foreign_volume(source),
    };
    let access = |read_only: bool| if read_only { Access::ReadOnly } else { Access::ReadWrite };
    let (mut named, mut binds) = (BTreeMap::new(), BTreeMap::new());
    for mount in host.mounts.iter().flatten() {
        let source = mount.source.as_deref().unwrap_or_default();
        let path = mount.target.clone().unwrap_or_default();
        let access = access(mount.read_only == Some(true));
        if mount.typ == Some(MountType::BIND) {
            let propagation = mount.bind_options.as_ref().and_then(|options| options.propagation);
            let propagation = propagation.map(|one| one.to_string()).filter(|name| !is_usual_propagation(name));
            let host_path = HostPath::Required;
            binds.insert(path, Bind { source: source.to_owned(), access, host_path, propagation });
            continue;
        }
        let no_copy = mount.volume_options.as_ref().and_then(|options| options.no_copy) == Some(true);
        let seeding = if no_copy { Seeding::Empty } else { Seeding::FromImage };
        named.insert(path, Mount { volume: volume(source), access, seeding });
    }
    for bind in host.binds.iter().flatten() {
        let mut parts = bind.splitn(3, ':');
        let (source, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let options: Vec<&str> = parts.next().unwrap_or_default().split(',').collect();
        let access = access(options.contains(&"ro"));
        if source.starts_with('/') {
            let is_propagation = |name: &&&str| name.ends_with("shared") || name.ends_with("slave");
            let propagation = options.iter().find(is_propagation).map(|name| (*name).to_owned());
            let bind = Bind { source: source.to_owned(), access, host_path: HostPath::Made, propagation };
            binds.insert(path.to_owned(), bind);
        } else {
            // Bellwether never makes these; somebody who made the container anew by hand may have.
            named.insert(path.to_owned(), Mount { volume: volume(source), access, seeding: Seeding::FromImage });
        }
    }
    (named, binds)
}

fn is_usual_propagation(name: &str) -> bool {
    matches!(name, "" | "private" | "rprivate")
}

fn foreign_volume(source: &str) -> VolumeName {
    let plain: String = source.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')).collect();
    let name = format!("foreign-{plain}");
    let cut = &name[..name.len().min(63)];
    VolumeName::new(cut).expect("a prefix of letters, then letters, digits, `_`, `.` and `-`")
}

/// How the container is really connected: one whose network was taken away or made anew is not.
fn connected(
    container: &Container,
    host: &HostConfig,
    app: &AppName,
    known: &Known,
) -> (Network, BTreeMap<NetworkName, Attachment>) {
    let mode = host.network_mode.as_deref().unwrap_or_default();
    match mode {
        "host" => return (Network::Host, BTreeMap::new()),
        "none" => return (Network::None, BTreeMap::new()),
        _ => {}
    }
    if let Some(id) = mode.strip_prefix("container:") {
        let network = service_of(id, app, known).map_or(Network::None, Network::Service);
        return (network, BTreeMap::new());
    }
    let service =
        known.containers.get(container.id.as_deref().unwrap_or_default()).map(|(_, service)| service.as_str());
    let short_id = container.id.as_deref().and_then(|id| id.get(..12)).unwrap_or_default();
    let endpoints = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let mut networks = BTreeMap::new();
    for (name, found) in known.networks.get(app).into_iter().flatten() {
        let Some(endpoint) = endpoints.and_then(|all| all.get(&found.name)) else { continue };
        // Before its first start a container's endpoint has no network id yet.
        let id = endpoint.network_id.as_deref().unwrap_or_default();
        if !id.is_empty() && id != found.id {
            continue;
        }
        let own = |alias: &&String| Some(alias.as_str()) != service && alias.as_str() != short_id;
        let addresses = endpoint.ipam_config.clone().unwrap_or_default();
        networks.insert(
            name.clone(),
            Attachment {
                aliases: endpoint.aliases.iter().flatten().filter(own).cloned().collect(),
                ipv4_address: addresses.ipv4_address.and_then(|text| text.parse().ok()),
                ipv6_address: addresses.ipv6_address.and_then(|text| text.parse().ok()),
            },
        );
    }
    let has_mode = known
        .networks
        .get(app)
        .into_iter()
        .flatten()
        .any(|(name, found)| found.name == mode && networks.contains_key(name));
    if has_mode { (Network::App, networks) } else { (Network::None, BTreeMap::new()) }
}

/// The service of this app that a container belongs to.
fn service_of(id: &str, app: &AppName, known: &Known) -> Option<ServiceName> {
    let (of, service) = known.containers.get(id)?;
    (of == app).then(|| service.clone())
}
