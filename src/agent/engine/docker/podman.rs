//! What Podman says of a container, brought to what Docker says of the same one.
//!
//! Podman tells what became of a request, with what it added, and leaves some keys out altogether. So a container on Podman carries,
//! beside the other words of its label, what was said of those keys. A word is believed only where Podman shows nothing that
//! speaks against it; whatever else it shows is passed on, and is then a difference like any other.

use super::asking::Container;
use super::read::{FoundNetwork, said_words};
use crate::domain::device::canonical::CanonicalService;
use crate::domain::ids::NetworkName;
use crate::domain::spec::{HostPath, Namespace, Seeding, Transport};
use bollard::models::{
    EndpointIpamConfig, HostConfig, Mount, MountBindOptions, MountPoint, MountType, MountVolumeOptions,
};
use std::collections::{BTreeMap, BTreeSet};

/// Variables that Podman gives every container that does not have them; `container_uuid` those whose command is systemd.
const GIVEN_VARIABLES: [&str; 6] = ["HOME", "HOSTNAME", "PATH", "TERM", "container", "container_uuid"];
/// What Podman adds to the options of a file system in memory.
const GIVEN_TMPFS_OPTIONS: [&str; 6] = ["rw", "rprivate", "nosuid", "nodev", "noexec", "tmpcopyup"];
/// Rights that containers of every Podman have unless they are taken from them.
const ALWAYS_USUAL_CAPABILITIES: [&str; 10] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID"];
/// The same of some Podman; distributions differ.
const USUAL_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// The length of the name of a volume that nobody named: 32 bytes in hexadecimal digits.
const NAMELESS_VOLUME_LENGTH: usize = 64;

/// Words for what Podman does not show as it was said.
pub(super) fn said(content: &CanonicalService) -> Vec<String> {
    let CanonicalService { environment, working_dir, stop_signal, ports, mounts, binds, networks, options, .. } =
        content;
    let mut words = Vec::new();
    words.extend(
        GIVEN_VARIABLES.iter().filter(|name| environment.contains_key(**name)).map(|name| format!("env.{name}")),
    );
    words.extend((!working_dir.is_empty()).then(|| "working_dir".to_owned()));
    words.extend(stop_signal.iter().map(|signal| format!("stop_signal={signal}")));
    for port in ports.iter().filter(|port| port.published.is_none()) {
        let transport = match port.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        words.push(format!("any_port.{}/{transport}", port.target));
    }
    words.extend(
        mounts.iter().filter(|(_, one)| one.seeding == Seeding::Empty).map(|(path, _)| format!("empty.{path}")),
    );
    let required = binds.iter().filter(|(_, bind)| bind.host_path == HostPath::Required);
    words.extend(required.map(|(path, _)| format!("required.{path}")));
    for (name, attachment) in networks {
        words.extend(attachment.ipv4_address.iter().map(|address| format!("ipv4.{name}={address}")));
        words.extend(attachment.ipv6_address.iter().map(|address| format!("ipv6.{name}={address}")));
    }
    for path in mounts.keys().chain(binds.keys()) {
        let clean = clean(path);
        words.extend((clean != *path).then(|| format!("path.{clean}={path}")));
    }
    words.extend(options.tmpfs.iter().map(|(path, options)| format!("tmpfs.{path}={options}")));
    words.extend(options.devices.iter().map(|(path, node)| format!("device.{path}={}", node.permissions)));
    words.extend(options.mem_swappiness.map(|_| "mem_swappiness".to_owned()));
    words.extend(options.pids_limit.map(|_| "pids_limit".to_owned()));
    words.extend(options.stop_grace_period_secs.map(|_| "stop_grace_period".to_owned()));
    words.extend((options.userns_mode == Some(Namespace::Host)).then(|| "userns.host".to_owned()));
    words.extend(options.cpus.map(|_| "cpus".to_owned()));
    words.extend(options.cpu_quota.map(|_| "cpu_quota".to_owned()));
    words.extend(options.cpu_period.map(|_| "cpu_period".to_owned()));
    let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    words.extend((!options.cap_add.is_empty()).then(|| format!("cap_add={}", list(&options.cap_add))));
    words.extend((!options.cap_drop.is_empty()).then(|| format!("cap_drop={}", list(&options.cap_drop))));
    words.iter().map(|word| escaped(word)).collect()
}

/// A path without what adds nothing, as Podman shows it.
fn clean(path: &str) -> String {
    std::path::Path::new(path).components().collect::<std::path::PathBuf>().display().to_string()
}

/// The words of a label are parted by blanks.
fn escaped(word: &str) -> String {
    word.replace('%', "%25").replace(' ', "%20")
}

/// What was said.
struct Said(BTreeSet<String>);

impl Said {
    fn is(&self, word: &str) -> bool {
        self.0.contains(&escaped(word))
    }

    /// What stands after `key=`.
    fn value(&self, key: &str) -> Option<String> {
        let key = escaped(&format!("{key}="));
        let value = self.0.iter().find_map(|word| word.strip_prefix(key.as_str()))?;
        Some(value.replace("%20", " ").replace("%25", "%"))
    }
}

/// A container of Podman as Docker would describe it. `networks` are those of its app.
pub(super) fn as_docker(mut container: Container, networks: Option<&BTreeMap<NetworkName, FoundNetwork>>) -> Container {
    let said = Said(said_words(container.config.as_ref().and_then(|config| config.labels.as_ref())));
    attachments(&mut container, networks, &said);
    if let Some(config) = &mut container.config {
        config.entrypoint.take_if(|words| words.iter().all(String::is_empty));
        config.working_dir.take_if(|path| path == "/" && !said.is("working_dir"));
        // It is always told how long; see where the container is asked for.
        config.stop_timeout.take_if(|_| !said.is("stop_grace_period"));
        if let Some(variables) = &mut config.env {
            variables.retain(|variable| {
                let name = variable.split('=').next().unwrap_or_default();
                !GIVEN_VARIABLES.contains(&name) || said.is(&format!("env.{name}"))
            });
        }
        let asked = said.value("stop_signal").or_else(|| Some("SIGTERM".to_owned()));
        let number = |text: &Option<String>| text.as_deref().and_then(signal_number);
        if number(&asked) == number(&config.stop_signal) {
            config.stop_signal = asked;
        }
    }
    if let Some(host) = &mut container.host_config {
        let (mounts, binds) = mounted(container.mounts.take().unwrap_or_default(), &said);
        (host.mounts, host.binds) = (Some(mounts), Some(binds));
        options(host, &said);
    }
    container
}

/// Podman names the kind of a network as mode, a network by its name instead of its id, and no addresses that were asked for.
fn attachments(container: &mut Container, networks: Option<&BTreeMap<NetworkName, FoundNetwork>>, said: &Said) {
    let mode = container.host_config.as_mut().and_then(|host| host.network_mode.as_mut());
    let endpoints = container.network_settings.as_mut().and_then(|settings| settings.networks.as_mut());
    let (Some(mode), Some(endpoints)) = (mode, endpoints) else { return };
    for (name, found) in networks.into_iter().flatten() {
        let Some(endpoint) = endpoints.get_mut(&found.name) else { continue };
        if mode == "bridge" {
            mode.clone_from(&found.name);
        }
        endpoint.network_id.take_if(|id| *id == found.name);
        // While the container runs, its real address must be the one.
        let address = |family: &str, real: Option<&String>| {
            let asked = said.value(&format!("{family}.{name}"))?;
            let real = real.filter(|real| !real.is_empty());
            Some(real.cloned().unwrap_or(asked))
        };
        let ipv4_address = address("ipv4", endpoint.ip_address.as_ref());
        let ipv6_address = address("ipv6", endpoint.global_ipv6_address.as_ref());
        endpoint.ipam_config = Some(EndpointIpamConfig { ipv4_address, ipv6_address, link_local_ips: None });
    }
}

/// Volumes and paths of the host, in the forms in which they were asked for.
fn mounted(found: Vec<MountPoint>, said: &Said) -> (Vec<Mount>, Vec<String>) {
    let (mut mounts, mut binds) = (Vec::new(), Vec::new());
    for MountPoint { typ, name, source, destination, rw, propagation, .. } in found {
        let path = destination.unwrap_or_default();
        let path = said.value(&format!("path.{path}")).unwrap_or(path);
        let read_only = Some(rw == Some(false));
        let propagation = propagation.unwrap_or_default();
        match typ.as_deref() {
            Some("volume") => {
                let name = name.unwrap_or_default();
                let is_nameless =
                    name.len() == NAMELESS_VOLUME_LENGTH && name.bytes().all(|byte| byte.is_ascii_hexdigit());
                if is_nameless {
                    continue;
                }
                let volume_options = said
                    .is(&format!("empty.{path}"))
                    .then(|| MountVolumeOptions { no_copy: Some(true), ..Default::default() });
                let typ = Some(MountType::VOLUME);
                let (source, target) = (Some(name), Some(path));
                mounts.push(Mount { target, source, typ, read_only, volume_options, ..Default::default() });
            }
            Some("bind") if said.is(&format!("required.{path}")) => {
                let propagation = propagation.parse().ok();
                let bind_options = Some(MountBindOptions { propagation, ..Default::default() });
                let typ = Some(MountType::BIND);
                mounts.push(Mount { target: Some(path), source, typ, read_only, bind_options, ..Default::default() });
            }
            Some("bind") => {
                let access = if rw == Some(false) { "ro" } else { "rw" };
                binds.push(format!("{}:{path}:{access},{propagation}", source.unwrap_or_default()));
            }
            _ => {}
        }
    }
    (mounts, binds)
}

fn options(host: &mut HostConfig, said: &Said) {
    for (key, bindings) in host.port_bindings.iter_mut().flatten() {
        if said.is(&format!("any_port.{key}")) {
            bindings.iter_mut().flatten().for_each(|binding| binding.host_port = None);
        }
    }
    if let Some(tmpfs) = &mut host.tmpfs {
        // A read-only root brings some that nobody asked for.
        tmpfs.retain(|path, _| said.value(&format!("tmpfs.{path}")).is_some());
        for (path, found) in tmpfs {
            let asked = said.value(&format!("tmpfs.{path}")).unwrap_or_default();
            if is_made_of(found, &asked) {
                *found = asked;
            }
        }
    }
    // Private is what a container is that was told nothing.
    for mode in [&mut host.pid_mode, &mut host.uts_mode, &mut host.userns_mode] {
        mode.take_if(|mode| mode == "private");
    }
    for limit in host.ulimits.iter_mut().flatten() {
        limit.name = limit.name.as_ref().map(|name| name.trim_start_matches("RLIMIT_").to_ascii_lowercase());
    }
    if let Some(devices) = &mut host.devices {
        // A privileged container has all those of the host.
        let permissions =
            |path: &Option<String>| said.value(&format!("device.{}", path.as_deref().unwrap_or_default()));
        devices.retain(|device| host.privileged != Some(true) || permissions(&device.path_in_container).is_some());
        for device in devices {
            let is_silent = device.cgroup_permissions.as_ref().is_none_or(String::is_empty);
            device.cgroup_permissions =
                permissions(&device.path_in_container).filter(|_| is_silent).or(device.cgroup_permissions.take());
        }
    }
    // Each of the two ways to bound the processor is shown as the other one as well.
    host.nano_cpus.take_if(|_| !said.is("cpus"));
    host.cpu_quota.take_if(|_| !said.is("cpu_quota"));
    host.cpu_period.take_if(|_| !said.is("cpu_period"));
    host.pids_limit.take_if(|_| !said.is("pids_limit"));
    host.memory_swappiness.take_if(|_| !said.is("mem_swappiness"));
    if said.is("userns.host") && host.userns_mode.as_ref().is_none_or(String::is_empty) {
        host.userns_mode = Some("host".to_owned());
    }
    capabilities(host, said);
}

/// What Podman shows is how the rights differ from those that a container has by itself.
fn capabilities(host: &mut HostConfig, said: &Said) {
    let asked = |key: &str| -> BTreeSet<String> {
        let text = said.value(key).unwrap_or_default();
        text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let bare = |names: &Option<Vec<String>>| -> BTreeSet<String> {
        names.iter().flatten().map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
    };
    let (asked_add, asked_drop) = (asked("cap_add"), asked("cap_drop"));
    let (mut add, mut drop) = (bare(&host.cap_add), bare(&host.cap_drop));
    if host.privileged == Some(true) {
        // It has what the machine has; what that lacks is shown as dropped.
        (add, drop) = (asked_add, asked_drop);
    } else {
        let is_usual = |name: &String| USUAL_CAPABILITIES.contains(&name.as_str());
        add.extend(asked_add.iter().filter(|name| is_usual(name) && !drop.contains(*name)).cloned());
        let is_gone = |name: &&str| drop.contains(*name) || asked_add.contains(*name);
        if !asked_drop.contains("ALL") {
            drop.extend(asked_drop.into_iter().filter(|name| !is_usual(name) && !add.contains(name)));
        } else if ALWAYS_USUAL_CAPABILITIES.iter().all(is_gone) {
            drop = asked_drop;
        }
    }
    (host.cap_add, host.cap_drop) = (Some(add.into_iter().collect()), Some(drop.into_iter().collect()));
}

/// Whether options are those that were asked for, with no more than what Podman adds.
fn is_made_of(found: &str, asked: &str) -> bool {
    let set =
        |text: &str| -> BTreeSet<String> { text.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect() };
    let (found, asked) = (set(found), set(asked));
    asked.is_subset(&found) && found.difference(&asked).all(|one| GIVEN_TMPFS_OPTIONS.contains(&one.as_str()))
}

/// The number of a signal, which has the same meaning on all machines that engines run on.
fn signal_number(name: &str) -> Option<u8> {
    /// From 1 on; those without a name are the ones of single architectures.
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    /// The first of the signals for real time that the C library leaves to programs, and the last one.
    const REAL_TIME: (u8, u8) = (34, 64);
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return if rest.is_empty() {
            Some(REAL_TIME.0)
        } else {
            REAL_TIME.0.checked_add(rest.strip_prefix('+')?.parse().ok()?)
        };
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return if rest.is_empty() {
            Some(REAL_TIME.1)
        } else {
            REAL_TIME.1.checked_sub(rest.strip_prefix('-')?.parse().ok()?)
        };
    }
    let index = NAMES.iter().position(|one| *one == name)?;
    u8::try_from(index + 1).ok()
}
