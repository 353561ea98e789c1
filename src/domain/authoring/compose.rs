//! What devices have of a release, as a Compose file. Reading the file gives back every key.

use super::fields::Fields;
use super::own::own;
use crate::domain::ids::{NetworkName, ServiceName, VolumeName};
use crate::domain::spec::{
    Access, Attachment, Bind, Dependency, HealthCheck, HealthTest, HostPath, Mount, Namespace, Network, NetworkSpec,
    NetworkSwitch, Options, Port, Renewal, Restart, Seeding, ServiceSpec, Subnet, Switch, Transport, Ulimit, Until,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A release, put together from what devices have of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blend {
    /// Services by name.
    pub services: BTreeMap<ServiceName, Part>,
    /// Declared volumes.
    pub volumes: BTreeSet<VolumeName>,
    /// Networks that are not as plain as they could be.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
}

/// One service of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What all devices have of it; the environment holds what is the same on all of them.
    pub spec: ServiceSpec,
    /// The profile that a device needs for it, where not all devices run it.
    pub profile: Option<String>,
    /// Services that it depends on and that some device does not run beside it.
    pub optional: BTreeSet<ServiceName>,
}

impl Part {
    /// A service as one device has it.
    pub fn of(spec: &ServiceSpec) -> Self {
        Self { spec: spec.clone(), profile: None, optional: BTreeSet::new() }
    }
}

/// The Compose file of a release.
pub fn compose(blend: &Blend) -> Value {
    let Blend { services, volumes, networks } = blend;
    let mut used: BTreeMap<NetworkName, NetworkSpec> = networks.clone();
    for name in services.values().flat_map(|part| part.spec.network_names()) {
        used.entry(name).or_default();
    }
    used.retain(|name, spec| *name != NetworkName::default_of_app() || *spec != NetworkSpec::default());
    let mut file = Fields::default();
    file.map("services", services.iter().map(|(name, part)| (name.to_string(), service(part))));
    file.map("volumes", volumes.iter().map(|name| (name.to_string(), Value::Null)));
    file.map("networks", used.iter().map(|(name, spec)| (name.to_string(), network_spec(spec))));
    file.into()
}

fn service(part: &Part) -> Value {
    let Part { spec, profile, optional } = part;
    let ServiceSpec {
        image,
        entrypoint,
        command,
        environment,
        // Vars files say it: a release holds no secrets.
        secret_environment: _,
        restart,
        ports,
        mounts,
        labels,
        user,
        working_dir,
        network,
        depends_on,
        networks,
        binds,
        healthcheck,
        stop_signal,
        options,
        // All three stand under a key of our own.
        update: _,
        lock_folder: _,
        probes: _,
    } = spec;
    let mut fields = Fields::default();
    fields.some("image", Some(text(image)));
    fields.some("entrypoint", entrypoint.as_ref().map(texts));
    fields.some("command", command.as_ref().map(texts));
    fields.map("environment", environment.iter().map(|(name, value)| (name.to_string(), text(value))));
    fields.some("restart", (*restart != Restart::default()).then(|| restart_policy(*restart)));
    fields.list("ports", ports.iter().map(port));
    let named = mounts.iter().map(|(path, one)| mount(path, one));
    fields.list("volumes", named.chain(binds.iter().map(|(path, one)| bind(path, one))));
    fields.map("labels", labels.iter().map(|(key, value)| (key.clone(), text(value))));
    fields.some("user", words(user.as_ref()));
    fields.some("working_dir", words(working_dir.as_ref()));
    fields.some("network_mode", network_mode(network));
    fields.map("networks", networks.iter().map(|(name, one)| (name.to_string(), attachment(one))));
    let dependency = |one: &Dependency| (one.service.to_string(), depends_on_one(one, optional));
    fields.map("depends_on", depends_on.iter().map(dependency));
    fields.some("healthcheck", healthcheck.as_ref().map(health));
    fields.some("stop_signal", words(stop_signal.as_ref()));
    fields.list("profiles", profile.iter().map(|name| text(name)));
    said_options(options, &mut fields);
    fields.nested("x-bellwether", own(spec));
    fields.into()
}

/// Text in which nothing is filled in.
pub(super) fn text(plain: &str) -> Value {
    Value::from(plain.replace('$', "$$"))
}

fn words(plain: Option<&String>) -> Option<Value> {
    plain.map(|plain| text(plain))
}

pub(super) fn texts<'a>(all: impl IntoIterator<Item = &'a String>) -> Value {
    all.into_iter().map(|one| text(one)).collect()
}

fn restart_policy(restart: Restart) -> Value {
    match restart {
        Restart::Always => Value::from("always"),
        Restart::UnlessStopped => Value::from("unless-stopped"),
        Restart::OnFailure(0) => Value::from("on-failure"),
        Restart::OnFailure(times) => Value::from(format!("on-failure:{times}")),
        Restart::No => Value::from("no"),
    }
}

fn port(port: &Port) -> Value {
    let Port { target, transport, published, host_ip } = port;
    let mut fields = Fields::default();
    fields.some("target", Some(*target));
    fields.some("published", *published);
    match transport {
        Transport::Tcp => {}
        Transport::Udp => fields.some("protocol", Some("udp")),
    }
    fields.some("host_ip", host_ip.map(|address| address.to_string()));
    fields.into()
}

fn mount(path: &str, mount: &Mount) -> Value {
    let Mount { volume, access, seeding } = mount;
    let mut fields = Fields::default();
    fields.some("type", Some("volume"));
    fields.some("source", Some(volume.as_str()));
    fields.some("target", Some(text(path)));
    fields.some("read_only", (*access == Access::ReadOnly).then_some(true));
    fields.map("volume", (*seeding == Seeding::Empty).then(|| ("nocopy".to_owned(), Value::Bool(true))));
    fields.into()
}

fn bind(path: &str, bind: &Bind) -> Value {
    let Bind { source, access, host_path, propagation } = bind;
    let mut options = Fields::default();
    options.some("create_host_path", (*host_path == HostPath::Required).then_some(false));
    options.some("propagation", words(propagation.as_ref()));
    let mut fields = Fields::default();
    fields.some("type", Some("bind"));
    fields.some("source", Some(text(source)));
    fields.some("target", Some(text(path)));
    fields.some("read_only", (*access == Access::ReadOnly).then_some(true));
    fields.nested("bind", options);
    fields.into()
}

fn network_mode(network: &Network) -> Option<Value> {
    match network {
        Network::App => None,
        Network::Host => Some(Value::from("host")),
        Network::None => Some(Value::from("none")),
        Network::Service(service) => Some(Value::from(format!("service:{service}"))),
    }
}

fn attachment(attachment: &Attachment) -> Value {
    let Attachment { aliases, ipv4_address, ipv6_address } = attachment;
    let mut fields = Fields::default();
    fields.list("aliases", aliases.iter().map(|alias| text(alias)));
    fields.some("ipv4_address", ipv4_address.map(|address| address.to_string()));
    fields.some("ipv6_address", ipv6_address.map(|address| address.to_string()));
    fields.or_null()
}

fn network_spec(spec: &NetworkSpec) -> Value {
    let NetworkSpec { switches, subnets } = spec;
    let mut fields = Fields::default();
    for switch in switches {
        let name = match switch {
            NetworkSwitch::EnableIpv6 => "enable_ipv6",
            NetworkSwitch::Internal => "internal",
        };
        fields.some(name, Some(true));
    }
    let subnet = |Subnet { subnet, gateway, ip_range }: &Subnet| {
        let mut fields = Fields::default();
        fields.some("subnet", Some(text(subnet)));
        fields.some("gateway", words(gateway.as_ref()));
        fields.some("ip_range", words(ip_range.as_ref()));
        Value::from(fields)
    };
    let mut ipam = Fields::default();
    ipam.list("config", subnets.iter().map(subnet));
    fields.nested("ipam", ipam);
    fields.or_null()
}

fn depends_on_one(dependency: &Dependency, optional: &BTreeSet<ServiceName>) -> Value {
    let Dependency { service, until, renewal } = dependency;
    let condition = match until {
        Until::Started => "service_started",
        Until::Healthy => "service_healthy",
        Until::Completed => "service_completed_successfully",
    };
    let mut fields = Fields::default();
    fields.some("condition", Some(condition));
    fields.some("restart", (*renewal == Renewal::Restarted).then_some(true));
    fields.some("required", optional.contains(service).then_some(false));
    fields.into()
}

fn health(check: &HealthCheck) -> Value {
    let HealthCheck { test, interval_nanos, timeout_nanos, start_period_nanos, start_interval_nanos, retries } = check;
    let line = |first: &str, rest: &[String]| {
        let rest = rest.iter().map(|word| text(word));
        std::iter::once(Value::from(first)).chain(rest).collect::<Value>()
    };
    let test = test.as_ref().map(|test| match test {
        HealthTest::Off => line("NONE", &[]),
        HealthTest::Command(command) => line("CMD", command),
        HealthTest::Shell(shell) => line("CMD-SHELL", std::slice::from_ref(shell)),
    });
    let nanos = |nanos: &Option<u64>| nanos.map(|nanos| format!("{nanos}ns"));
    let mut fields = Fields::default();
    fields.some("test", test);
    fields.some("interval", nanos(interval_nanos));
    fields.some("timeout", nanos(timeout_nanos));
    fields.some("start_period", nanos(start_period_nanos));
    fields.some("start_interval", nanos(start_interval_nanos));
    fields.some("retries", *retries);
    fields.into()
}

/// The keys that go to the engine as they are.
fn said_options(options: &Options, fields: &mut Fields) {
    let Options {
        annotations,
        cap_add,
        cap_drop,
        cgroup,
        cgroup_parent,
        cpu_period,
        cpu_quota,
        cpu_shares,
        cpus,
        cpuset,
        device_cgroup_rules,
        devices,
        dns,
        dns_opt,
        dns_search,
        domainname,
        extra_hosts,
        group_add,
        hostname,
        ipc,
        logging,
        mem_limit,
        mem_reservation,
        mem_swappiness,
        memswap_limit,
        oom_score_adj,
        pid,
        pids_limit,
        runtime,
        security_opt,
        shm_size,
        stop_grace_period_secs,
        switches,
        sysctls,
        tmpfs,
        ulimits,
        userns_mode,
        uts,
    } = options;
    let pairs = |map: &BTreeMap<String, String>| -> Vec<(String, Value)> {
        map.iter().map(|(key, value)| (key.clone(), text(value))).collect()
    };
    fields.map("annotations", pairs(annotations));
    fields.map("sysctls", pairs(sysctls));
    for (name, all) in [
        ("cap_add", cap_add),
        ("cap_drop", cap_drop),
        ("device_cgroup_rules", device_cgroup_rules),
        ("group_add", group_add),
        ("security_opt", security_opt),
    ] {
        fields.list(name, all.iter().map(|one| text(one)));
    }
    for (name, all) in [("dns", dns), ("dns_opt", dns_opt), ("dns_search", dns_search)] {
        fields.list(name, all.iter().map(|one| text(one)));
    }
    for (name, namespace) in
        [("cgroup", cgroup), ("ipc", ipc), ("pid", pid), ("userns_mode", userns_mode), ("uts", uts)]
    {
        fields.some(name, namespace.as_ref().map(namespace_words));
    }
    for (name, one) in [
        ("cgroup_parent", cgroup_parent),
        ("cpuset", cpuset),
        ("domainname", domainname),
        ("hostname", hostname),
        ("runtime", runtime),
    ] {
        fields.some(name, words(one.as_ref()));
    }
    for (name, number) in [
        ("cpu_period", cpu_period),
        ("cpu_quota", cpu_quota),
        ("cpu_shares", cpu_shares),
        ("mem_limit", mem_limit),
        ("mem_reservation", mem_reservation),
        ("shm_size", shm_size),
    ] {
        fields.some(name, *number);
    }
    fields.some("cpus", cpus.map(|billionths| format!("{}.{:09}", billionths / NANOS, billionths % NANOS)));
    fields.some("mem_swappiness", *mem_swappiness);
    fields.some("memswap_limit", *memswap_limit);
    fields.some("oom_score_adj", *oom_score_adj);
    fields.some("pids_limit", *pids_limit);
    fields.some("stop_grace_period", stop_grace_period_secs.map(|secs| format!("{secs}s")));
    let device = |(path, node): (&String, &crate::domain::spec::DeviceNode)| {
        let mut fields = Fields::default();
        fields.some("source", Some(text(&node.source)));
        fields.some("target", Some(text(path)));
        fields.some("permissions", Some(node.permissions.as_str()));
        Value::from(fields)
    };
    fields.list("devices", devices.iter().map(device));
    fields.map("extra_hosts", hosts(extra_hosts));
    let mut log = Fields::default();
    if let Some(logging) = logging {
        log.some("driver", words(logging.driver.as_ref()));
        log.map("options", pairs(&logging.options));
    }
    fields.nested("logging", log);
    for switch in switches {
        let name = match switch {
            Switch::Init => "init",
            Switch::OomKillDisable => "oom_kill_disable",
            Switch::Privileged => "privileged",
            Switch::ReadOnly => "read_only",
            Switch::StdinOpen => "stdin_open",
            Switch::Tty => "tty",
        };
        fields.some(name, Some(true));
    }
    let in_memory = |(path, options): (&String, &String)| match options.as_str() {
        "" => text(path),
        options => text(&format!("{path}:{options}")),
    };
    fields.list("tmpfs", tmpfs.iter().map(in_memory));
    let limit = |(name, Ulimit { soft, hard }): (&String, &Ulimit)| {
        let mut fields = Fields::default();
        fields.some("soft", Some(*soft));
        fields.some("hard", Some(*hard));
        (name.clone(), fields.into())
    };
    fields.map("ulimits", ulimits.iter().map(limit));
}

const NANOS: u64 = 1_000_000_000;

fn namespace_words(namespace: &Namespace) -> String {
    match namespace {
        Namespace::Host => "host".to_owned(),
        Namespace::None => "none".to_owned(),
        Namespace::Private => "private".to_owned(),
        Namespace::Shareable => "shareable".to_owned(),
        Namespace::Service(service) => format!("service:{service}"),
    }
}

/// `name:address`, where both may have colons: the address is the longest end that is one.
fn hosts(all: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let is_address = |text: &str| text == "host-gateway" || text.parse::<std::net::IpAddr>().is_ok();
    let mut hosts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in all {
        let ways = line.match_indices(':').map(|(at, _)| (&line[..at], &line[at + 1..]));
        let (name, address) = ways.into_iter().find(|(_, address)| is_address(address)).unwrap_or((line, ""));
        hosts.entry(name.to_owned()).or_default().push(Value::from(address));
    }
    hosts.into_iter().map(|(name, addresses)| (name, Value::from(addresses))).collect()
}
