//! What a container asks of the engine besides what it runs, as the engine describes it.

use super::{Known, given, service_of};
use crate::domain::ids::AppName;
use crate::domain::spec::{DeviceNode, Logging, Namespace, Options, Switch, Ulimit};
use bollard::models::{ContainerConfig, HostConfig, HostConfigCgroupnsModeEnum};
use std::collections::{BTreeMap, BTreeSet};

/// Everything as it is there; what the engine filled in by itself is still in it.
pub(super) fn read(config: &ContainerConfig, host: &HostConfig, app: &AppName, known: &Known) -> Options {
    let namespace = |mode: &Option<String>| given(mode).map(|mode| namespace(&mode, app, known));
    Options {
        annotations: map(host.annotations.as_ref()),
        cap_add: set(host.cap_add.as_ref()),
        cap_drop: set(host.cap_drop.as_ref()),
        cgroup: match host.cgroupns_mode {
            Some(HostConfigCgroupnsModeEnum::HOST) => Some(Namespace::Host),
            Some(HostConfigCgroupnsModeEnum::PRIVATE) => Some(Namespace::Private),
            Some(HostConfigCgroupnsModeEnum::EMPTY) | None => None,
        },
        cgroup_parent: host.cgroup_parent.clone(),
        cpu_period: number(host.cpu_period),
        cpu_quota: number(host.cpu_quota),
        cpu_shares: number(host.cpu_shares),
        cpus: number(host.nano_cpus),
        cpuset: host.cpuset_cpus.clone(),
        device_cgroup_rules: set(host.device_cgroup_rules.as_ref()),
        devices: devices(host),
        dns: host.dns.clone().unwrap_or_default(),
        dns_opt: host.dns_options.clone().unwrap_or_default(),
        dns_search: host.dns_search.clone().unwrap_or_default(),
        domainname: config.domainname.clone(),
        extra_hosts: set(host.extra_hosts.as_ref()),
        group_add: set(host.group_add.as_ref()),
        hostname: config.hostname.clone(),
        ipc: namespace(&host.ipc_mode),
        logging: host
            .log_config
            .as_ref()
            .map(|logging| Logging { driver: given(&logging.typ), options: map(logging.config.as_ref()) }),
        mem_limit: number(host.memory),
        mem_reservation: number(host.memory_reservation),
        mem_swappiness: host.memory_swappiness.and_then(|percent| u8::try_from(percent).ok()),
        memswap_limit: host.memory_swap,
        oom_score_adj: host.oom_score_adj.and_then(|adjustment| i32::try_from(adjustment).ok()),
        pid: namespace(&host.pid_mode),
        pids_limit: host.pids_limit,
        runtime: host.runtime.clone(),
        security_opt: set(host.security_opt.as_ref()),
        shm_size: number(host.shm_size),
        stop_grace_period_secs: config.stop_timeout.and_then(|secs| u32::try_from(secs).ok()),
        switches: switches(config, host),
        sysctls: map(host.sysctls.as_ref()),
        tmpfs: map(host.tmpfs.as_ref()),
        ulimits: ulimits(host),
        userns_mode: namespace(&host.userns_mode),
        uts: namespace(&host.uts_mode),
    }
}

fn switches(config: &ContainerConfig, host: &HostConfig) -> BTreeSet<Switch> {
    let all = [
        (Switch::Init, host.init),
        (Switch::OomKillDisable, host.oom_kill_disable),
        (Switch::Privileged, host.privileged),
        (Switch::ReadOnly, host.readonly_rootfs),
        (Switch::StdinOpen, config.open_stdin),
        (Switch::Tty, config.tty),
    ];
    all.into_iter().filter(|(_, is_on)| *is_on == Some(true)).map(|(switch, _)| switch).collect()
}

fn devices(host: &HostConfig) -> BTreeMap<String, DeviceNode> {
    let node = |device: &bollard::models::DeviceMapping| {
        let permissions = device.cgroup_permissions.clone().unwrap_or_default();
        Some((device.path_in_container.clone()?, DeviceNode { source: device.path_on_host.clone()?, permissions }))
    };
    host.devices.iter().flatten().filter_map(node).collect()
}

fn ulimits(host: &HostConfig) -> BTreeMap<String, Ulimit> {
    let limit = |limit: &bollard::models::ResourcesUlimits| {
        Some((limit.name.clone()?, Ulimit { soft: limit.soft?, hard: limit.hard? }))
    };
    host.ulimits.iter().flatten().filter_map(limit).collect()
}

fn namespace(mode: &str, app: &AppName, known: &Known) -> Namespace {
    match mode {
        "host" => Namespace::Host,
        "none" => Namespace::None,
        "shareable" => Namespace::Shareable,
        mode => mode
            .strip_prefix("container:")
            .and_then(|id| service_of(id, app, known))
            // A container that is gone leaves nothing to join; that must show as a difference, as must a foreign one.
            .map_or(Namespace::Private, Namespace::Service),
    }
}

fn number(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

fn set(list: Option<&Vec<String>>) -> BTreeSet<String> {
    list.into_iter().flatten().cloned().collect()
}

fn map<'a>(map: Option<impl IntoIterator<Item = (&'a String, &'a String)>>) -> BTreeMap<String, String> {
    map.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}
