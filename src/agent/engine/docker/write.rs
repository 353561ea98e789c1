//! From the form in which things are compared to requests for the engine. Everything is said, nothing is left to the image:
//! what is read back is then what was said.

use super::kind::Kind;
use super::names::{APP, IMAGE, NETWORK, Owner, SAID, SECRETS, SERVICE};
use super::{STOP_TIMEOUT_SECS, podman};
use crate::domain::device::canonical::{CanonicalHealth, CanonicalService};
use crate::domain::ids::{AppName, NetworkName, ServiceName};
use crate::domain::spec::{
    Access, Attachment, Bind, HealthTest, HostPath, Mount, Namespace, Network, NetworkSpec, NetworkSwitch, Options,
    Port, Restart, Seeding, Subnet, Switch, Transport,
};
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HealthConfig,
    HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Ipam, IpamConfig, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, MountVolumeOptions, NetworkCreateRequest, NetworkingConfig,
    PortBinding, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use std::collections::{BTreeMap, BTreeSet};

/// Whose container a request is for, and what it refers to.
pub(super) struct Place<'a> {
    pub(super) kind: Kind,
    pub(super) owner: &'a Owner,
    pub(super) app: &'a AppName,
    pub(super) service: &'a ServiceName,
    /// The ids of the containers whose namespaces it joins.
    pub(super) joined: &'a BTreeMap<ServiceName, String>,
    /// The folder of its update lock on the host.
    pub(super) lock_folder: &'a str,
}

/// A request for a container, and the networks that it has to be connected to afterwards: older engines take one at a time.
pub(super) struct Request {
    pub(super) body: ContainerCreateBody,
    pub(super) more_networks: Vec<(String, EndpointSettings)>,
}

/// The request for a container.
///
/// `name` is what the engine calls the image, where that is not what the spec calls it.
pub(super) fn container(place: &Place<'_>, content: CanonicalService, name: String) -> Request {
    let accent = match place.kind {
        Kind::Podman => podman::said(&content),
        Kind::Docker | Kind::Balena => Vec::new(),
    };
    let CanonicalService {
        image,
        entrypoint,
        command,
        environment,
        secret_variables,
        mut labels,
        user,
        working_dir,
        restart,
        ports,
        mounts,
        network,
        networks,
        binds,
        healthcheck,
        stop_signal,
        options,
        lock_folder,
    } = content;
    labels.extend(place.owner.labels());
    labels.extend([(APP.to_owned(), place.app.to_string()), (SERVICE.to_owned(), place.service.to_string())]);
    if !secret_variables.is_empty() {
        labels.insert(SECRETS.to_owned(), secret_variables.into_iter().collect::<Vec<_>>().join(","));
    }
    // Podman shows the long form of a name.
    if name != image || place.kind == Kind::Podman {
        labels.insert(IMAGE.to_owned(), image);
    }
    let mut said = options.said();
    said.extend(accent);
    if !said.is_empty() {
        labels.insert(SAID.to_owned(), said.into_iter().collect::<Vec<_>>().join(" "));
    }
    let mut endpoints = place.endpoints(&network, networks).into_iter();
    let first = endpoints.next();
    let network_mode = match (&network, &first) {
        (Network::App, Some((name, _))) => name.clone(),
        (Network::Host, _) => "host".to_owned(),
        (Network::Service(other), _) => place.container_of(other),
        (Network::App, None) | (Network::None, _) => "none".to_owned(),
    };
    let lock = lock_folder.map(|path| required_bind(path, Bind::of(place.lock_folder)));
    let volumes = mounts.into_iter().map(|(path, mount)| place.volume(path, &mount));
    let (required, made): (Vec<_>, Vec<_>) =
        binds.into_iter().partition(|(_, bind)| bind.host_path == HostPath::Required);
    let (hostname, domainname) = (options.hostname.clone(), options.domainname.clone());
    let stop_timeout = options.stop_grace_period_secs.map(i64::from).or(match place.kind {
        Kind::Docker | Kind::Balena => None,
        // Told nothing, it would kill at once.
        Kind::Podman => Some(i64::from(STOP_TIMEOUT_SECS)),
    });
    let (tty, open_stdin) = (is_on(&options, Switch::Tty), is_on(&options, Switch::StdinOpen));
    let host = HostConfig {
        network_mode: Some(network_mode),
        restart_policy: Some(restart_policy(restart)),
        port_bindings: Some(port_bindings(&ports).into_iter().collect()),
        mounts: Some(
            volumes.chain(required.into_iter().map(|(path, bind)| required_bind(path, bind))).chain(lock).collect(),
        ),
        binds: Some(made.iter().map(|(path, bind)| made_bind(path, bind)).collect()),
        ..host_options(place, options)
    };
    let body = ContainerCreateBody {
        image: Some(name),
        // One empty text is how the API says "none": an empty list would be filled in from the image.
        entrypoint: Some(if entrypoint.is_empty() { vec![String::new()] } else { entrypoint }),
        cmd: Some(command),
        env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels.into_iter().collect()),
        user: Some(user),
        working_dir: Some(working_dir),
        exposed_ports: Some(ports.iter().map(port_key).collect()),
        healthcheck: Some(health(healthcheck)),
        stop_signal: Some(stop_signal.unwrap_or_else(|| "SIGTERM".to_owned())),
        stop_timeout,
        hostname,
        domainname,
        tty: Some(tty),
        open_stdin: Some(open_stdin),
        host_config: Some(host),
        networking_config: first.map(|one| NetworkingConfig { endpoints_config: Some([one].into_iter().collect()) }),
        ..Default::default()
    };
    Request { body, more_networks: endpoints.collect() }
}

impl Place<'_> {
    /// The networks to join, the default one first: its name is the container's network mode.
    fn endpoints(
        &self,
        network: &Network,
        networks: BTreeMap<NetworkName, Attachment>,
    ) -> Vec<(String, EndpointSettings)> {
        if *network != Network::App {
            return Vec::new();
        }
        let default = NetworkName::default_of_app();
        let networks = if networks.is_empty() { [(default.clone(), Attachment::default())].into() } else { networks };
        let (first, rest): (Vec<_>, Vec<_>) = networks.into_iter().partition(|(name, _)| *name == default);
        let endpoint = |(name, attachment): (NetworkName, Attachment)| {
            let Attachment { aliases, ipv4_address, ipv6_address } = attachment;
            let has_address = ipv4_address.is_some() || ipv6_address.is_some();
            let settings = EndpointSettings {
                aliases: Some([self.service.to_string()].into_iter().chain(aliases).collect()),
                ipam_config: has_address.then(|| EndpointIpamConfig {
                    ipv4_address: ipv4_address.map(|address| address.to_string()),
                    ipv6_address: ipv6_address.map(|address| address.to_string()),
                    link_local_ips: None,
                }),
                ..Default::default()
            };
            (self.owner.network(self.app, &name), settings)
        };
        first.into_iter().chain(rest).map(endpoint).collect()
    }

    fn container_of(&self, other: &ServiceName) -> String {
        format!("container:{}", self.joined.get(other).map_or("", String::as_str))
    }

    fn namespace(&self, namespace: Namespace) -> String {
        match namespace {
            Namespace::Host => "host".to_owned(),
            Namespace::None => "none".to_owned(),
            Namespace::Private => "private".to_owned(),
            Namespace::Shareable => "shareable".to_owned(),
            Namespace::Service(other) => self.container_of(&other),
        }
    }

    fn volume(&self, path: String, mount: &Mount) -> bollard::models::Mount {
        bollard::models::Mount {
            target: Some(path),
            source: Some(self.owner.volume(self.app, &mount.volume)),
            typ: Some(MountType::VOLUME),
            read_only: Some(mount.access == Access::ReadOnly),
            volume_options: (mount.seeding == Seeding::Empty)
                .then(|| MountVolumeOptions { no_copy: Some(true), ..Default::default() }),
            ..Default::default()
        }
    }
}

fn is_on(options: &Options, switch: Switch) -> bool {
    options.switches.contains(&switch)
}

fn host_options(place: &Place<'_>, options: Options) -> HostConfig {
    let on = |switch| is_on(&options, switch);
    let (init, oom_kill_disable) = (on(Switch::Init), on(Switch::OomKillDisable));
    let (privileged, readonly_rootfs) = (on(Switch::Privileged), on(Switch::ReadOnly));
    let signed = |number: Option<u64>| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    let list = |set: BTreeSet<String>| Some(set.into_iter().collect::<Vec<_>>());
    let device = |(path, node): (String, crate::domain::spec::DeviceNode)| DeviceMapping {
        path_on_host: Some(node.source),
        path_in_container: Some(path),
        cgroup_permissions: Some(node.permissions),
    };
    let ulimit = |(name, limit): (String, crate::domain::spec::Ulimit)| ResourcesUlimits {
        name: Some(name),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    };
    HostConfig {
        annotations: (!options.annotations.is_empty()).then(|| options.annotations.into_iter().collect()),
        cap_add: list(options.cap_add),
        cap_drop: list(options.cap_drop),
        cgroupns_mode: options.cgroup.map(|namespace| match namespace {
            Namespace::Host => HostConfigCgroupnsModeEnum::HOST,
            Namespace::None | Namespace::Private | Namespace::Shareable | Namespace::Service(_) => {
                HostConfigCgroupnsModeEnum::PRIVATE
            }
        }),
        cgroup_parent: options.cgroup_parent,
        cpu_period: signed(options.cpu_period),
        cpu_quota: signed(options.cpu_quota),
        cpu_shares: signed(options.cpu_shares),
        nano_cpus: signed(options.cpus),
        cpuset_cpus: options.cpuset,
        device_cgroup_rules: list(options.device_cgroup_rules),
        devices: Some(options.devices.into_iter().map(device).collect()),
        dns: Some(options.dns),
        dns_options: Some(options.dns_opt),
        dns_search: Some(options.dns_search),
        extra_hosts: list(options.extra_hosts),
        group_add: list(options.group_add),
        ipc_mode: options.ipc.map(|namespace| place.namespace(namespace)),
        log_config: options.logging.map(|logging| HostConfigLogConfig {
            typ: logging.driver,
            config: Some(logging.options.into_iter().collect()),
        }),
        memory: signed(options.mem_limit),
        memory_reservation: signed(options.mem_reservation),
        memory_swap: options.memswap_limit,
        memory_swappiness: options.mem_swappiness.map(i64::from),
        oom_score_adj: options.oom_score_adj.map(i64::from),
        pid_mode: options.pid.map(|namespace| place.namespace(namespace)),
        pids_limit: options.pids_limit,
        runtime: options.runtime,
        security_opt: list(options.security_opt),
        shm_size: signed(options.shm_size),
        init: Some(init),
        oom_kill_disable: Some(oom_kill_disable),
        privileged: Some(privileged),
        readonly_rootfs: Some(readonly_rootfs),
        sysctls: Some(options.sysctls.into_iter().collect()),
        tmpfs: Some(options.tmpfs.into_iter().collect()),
        ulimits: Some(options.ulimits.into_iter().map(ulimit).collect()),
        userns_mode: options.userns_mode.map(|namespace| place.namespace(namespace)),
        uts_mode: options.uts.map(|namespace| place.namespace(namespace)),
        ..Default::default()
    }
}

fn health(check: Option<CanonicalHealth>) -> HealthConfig {
    let Some(check) = check else {
        // An image's own check would be filled in otherwise.
        return HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() };
    };
    let nanos = |nanos: u64| Some(i64::try_from(nanos).unwrap_or(i64::MAX));
    let test = match check.test {
        HealthTest::Off => vec!["NONE".to_owned()],
        HealthTest::Command(words) => [vec!["CMD".to_owned()], words].concat(),
        HealthTest::Shell(line) => vec!["CMD-SHELL".to_owned(), line],
    };
    HealthConfig {
        test: Some(test),
        interval: nanos(check.interval_nanos),
        timeout: nanos(check.timeout_nanos),
        start_period: nanos(check.start_period_nanos),
        // Older engines do not know it; what they do by themselves need not be said.
        start_interval: nanos(check.start_interval_nanos).filter(|nanos| *nanos != 5_000_000_000),
        retries: Some(i64::from(check.retries)),
    }
}

fn required_bind(path: String, bind: Bind) -> bollard::models::Mount {
    bollard::models::Mount {
        target: Some(path),
        source: Some(bind.source),
        typ: Some(MountType::BIND),
        read_only: Some(bind.access == Access::ReadOnly),
        bind_options: bind
            .propagation
            .and_then(|name| name.parse::<MountBindOptionsPropagationEnum>().ok())
            .map(|propagation| MountBindOptions { propagation: Some(propagation), ..Default::default() }),
        ..Default::default()
    }
}

/// `source:path:options`, the form with which an engine makes what is not there.
fn made_bind(path: &str, bind: &Bind) -> String {
    let access = match bind.access {
        Access::ReadWrite => "rw",
        Access::ReadOnly => "ro",
    };
    let options: Vec<&str> = [access].into_iter().chain(bind.propagation.as_deref()).collect();
    format!("{}:{path}:{}", bind.source, options.join(","))
}

fn restart_policy(restart: Restart) -> RestartPolicy {
    let (name, most) = match restart {
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Restart::OnFailure(most) => (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(most))),
        Restart::No => (RestartPolicyNameEnum::NO, None),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: most }
}

fn port_bindings(ports: &BTreeSet<Port>) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: port.host_ip.map(|ip| ip.to_string()),
            host_port: port.published.map(|published| published.to_string()),
        };
        bindings.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

fn port_key(port: &Port) -> String {
    match port.transport {
        Transport::Tcp => format!("{}/tcp", port.target),
        Transport::Udp => format!("{}/udp", port.target),
    }
}

/// The request that changes a container while it runs.
pub(super) fn adjustment(content: CanonicalService) -> ContainerUpdateBody {
    let signed = |number: Option<u64>| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    let Options { cpu_period, cpu_quota, cpu_shares, cpus, cpuset, mem_limit, mem_reservation, memswap_limit, .. } =
        content.options;
    ContainerUpdateBody {
        restart_policy: Some(restart_policy(content.restart)),
        cpu_period: signed(cpu_period),
        cpu_quota: signed(cpu_quota),
        cpu_shares: signed(cpu_shares),
        nano_cpus: signed(cpus),
        cpuset_cpus: cpuset,
        memory: signed(mem_limit),
        memory_reservation: signed(mem_reservation),
        memory_swap: memswap_limit,
        pids_limit: content.options.pids_limit,
        ..Default::default()
    }
}

/// The request for a network.
pub(super) fn network(owner: &Owner, app: &AppName, name: &NetworkName, spec: &NetworkSpec) -> NetworkCreateRequest {
    let NetworkSpec { switches, subnets } = spec;
    let mut labels = owner.labels();
    labels.extend([(APP.to_owned(), app.to_string()), (NETWORK.to_owned(), name.to_string())]);
    let mut said: Vec<&str> = Vec::new();
    said.extend((!subnets.is_empty()).then_some("subnets"));
    said.extend(subnets.iter().any(|subnet| subnet.gateway.is_some()).then_some("gateway"));
    if !said.is_empty() {
        labels.insert(SAID.to_owned(), said.join(" "));
    }
    let range = |subnet: &Subnet| IpamConfig {
        subnet: Some(subnet.subnet.clone()),
        gateway: subnet.gateway.clone(),
        ip_range: subnet.ip_range.clone(),
        auxiliary_addresses: None,
    };
    NetworkCreateRequest {
        name: owner.network(app, name),
        driver: Some("bridge".to_owned()),
        internal: switches.contains(&NetworkSwitch::Internal).then_some(true),
        enable_ipv6: switches.contains(&NetworkSwitch::EnableIpv6).then_some(true),
        ipam: (!subnets.is_empty())
            .then(|| Ipam { config: Some(subnets.iter().map(range).collect()), ..Default::default() }),
        labels: Some(labels.into_iter().collect()),
        ..Default::default()
    }
}
