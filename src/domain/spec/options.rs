//! The keys of a service that go to the container engine as they are. Fields have the names of their Compose keys, and so do
//! the differences that are told.

use super::is_default;
use crate::domain::ids::ServiceName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The longest time that a service may take to stop by itself, in seconds. The agent does nothing else meanwhile.
pub const MAX_STOP_GRACE_SECS: u32 = 3600;

macro_rules! options {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:ty,)*) => {
        /// What a service asks of its container besides what it runs.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Options {
            $($(#[doc = $doc])+ #[serde(default, skip_serializing_if = "is_default")] pub $field: $kind,)*
        }
    };
}

options! {
    /// Annotations for the runtime.
    annotations: BTreeMap<String, String>,
    /// Capabilities more than the engine's default, without `CAP_`, in capitals.
    cap_add: BTreeSet<String>,
    /// Capabilities less than the engine's default, without `CAP_`, in capitals.
    cap_drop: BTreeSet<String>,
    /// The cgroup namespace; `None` leaves it to the engine.
    cgroup: Option<Namespace>,
    /// The cgroup under which the container's is made.
    cgroup_parent: Option<String>,
    /// Microseconds of one period of the CPU scheduler.
    cpu_period: Option<u64>,
    /// Microseconds of CPU in each period.
    cpu_quota: Option<u64>,
    /// The weight among containers that compete for the CPU; 1024 is usual.
    cpu_shares: Option<u64>,
    /// Billionths of a CPU.
    cpus: Option<u64>,
    /// CPUs that it may run on, as the kernel writes lists: `0-2,4`.
    cpuset: Option<String>,
    /// Rules for devices beyond those that are listed.
    device_cgroup_rules: BTreeSet<String>,
    /// Devices of the host by their path in the container.
    devices: BTreeMap<String, DeviceNode>,
    /// Name servers, in order.
    dns: Vec<String>,
    /// Options of the resolver.
    dns_opt: Vec<String>,
    /// Domains that names are looked up in, in order.
    dns_search: Vec<String>,
    /// The domain of the host name.
    domainname: Option<String>,
    /// Names with addresses, `name:address`.
    extra_hosts: BTreeSet<String>,
    /// Groups of the process besides its own.
    group_add: BTreeSet<String>,
    /// The host name; `None` leaves it to the engine.
    hostname: Option<String>,
    /// The namespace of shared memory; `None` leaves it to the engine.
    ipc: Option<Namespace>,
    /// Where output goes; `None` leaves it to the engine.
    logging: Option<Logging>,
    /// The most memory, in bytes.
    mem_limit: Option<u64>,
    /// The memory that is left to it when there is not enough for all, in bytes.
    mem_reservation: Option<u64>,
    /// How readily its memory is swapped out, 0 to 100.
    mem_swappiness: Option<u8>,
    /// The most memory and swap together, in bytes; -1 is without limit, `None` leaves it to the engine.
    memswap_limit: Option<i64>,
    /// How early it is killed when memory runs out, -1000 to 1000.
    oom_score_adj: Option<i32>,
    /// The namespace of processes; `None` is one of its own.
    pid: Option<Namespace>,
    /// The most processes and threads.
    pids_limit: Option<i64>,
    /// The runtime of the engine; `None` is its default.
    runtime: Option<String>,
    /// Options of AppArmor, seccomp and SELinux.
    security_opt: BTreeSet<String>,
    /// The size of `/dev/shm` in bytes; `None` leaves it to the engine.
    shm_size: Option<u64>,
    /// Seconds that it has for stopping by itself; `None` is the engine's default.
    stop_grace_period_secs: Option<u32>,
    /// What is switched on.
    switches: BTreeSet<Switch>,
    /// Kernel parameters of its namespaces.
    sysctls: BTreeMap<String, String>,
    /// File systems in memory: options by path.
    tmpfs: BTreeMap<String, String>,
    /// Limits of the process by name.
    ulimits: BTreeMap<String, Ulimit>,
    /// The namespace of users; `None` leaves it to the engine.
    userns_mode: Option<Namespace>,
    /// The namespace of host names; `None` is one of its own.
    uts: Option<Namespace>,
}

/// Something that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// A small init process reaps children and hands on signals.
    Init,
    /// It is not killed when it runs out of memory.
    OomKillDisable,
    /// It has all rights on the host.
    Privileged,
    /// Its root file system cannot be written to.
    ReadOnly,
    /// Its standard input stays open.
    StdinOpen,
    /// It has a terminal.
    Tty,
}

/// Whose namespace a container uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// The host's.
    Host,
    /// None at all.
    None,
    /// Its own.
    Private,
    /// Its own, which others may join.
    Shareable,
    /// That of another service of the app.
    Service(ServiceName),
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceNode {
    /// Its path on the host.
    pub source: String,
    /// Letters out of `rwm`: read, write, make nodes.
    pub permissions: String,
}

/// Where the output of a container goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// The engine's driver; `None` is its default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub driver: Option<String>,
    /// Options of the driver.
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
}

/// A limit of a process; -1 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// What counts.
    pub soft: i64,
    /// How far the process may raise it.
    pub hard: i64,
}

impl Options {
    /// The services whose namespaces it joins.
    pub fn joined(&self) -> impl Iterator<Item = &ServiceName> {
        let namespaces = [&self.cgroup, &self.ipc, &self.pid, &self.userns_mode, &self.uts];
        namespaces.into_iter().flatten().filter_map(|namespace| match namespace {
            Namespace::Service(service) => Some(service),
            Namespace::Host | Namespace::None | Namespace::Private | Namespace::Shareable => None,
        })
    }

    /// The one form of options that mean the same to an engine: what is wanted and what is found both go through here.
    pub fn normalised(mut self) -> Self {
        let bare =
            |names: BTreeSet<String>| -> BTreeSet<String> { names.into_iter().map(|name| capability(&name)).collect() };
        self.cap_add = bare(self.cap_add);
        self.cap_drop = bare(self.cap_drop);
        self.security_opt = self.security_opt.iter().map(|option| security(option)).collect();
        // To an engine zero is the same as nothing.
        for number in [
            &mut self.cpu_period,
            &mut self.cpu_quota,
            &mut self.cpu_shares,
            &mut self.cpus,
            &mut self.mem_limit,
            &mut self.mem_reservation,
            &mut self.shm_size,
        ] {
            number.take_if(|number| *number == 0);
        }
        self.memswap_limit.take_if(|limit| *limit == 0);
        self.oom_score_adj.take_if(|adjustment| *adjustment == 0);
        self.pids_limit.take_if(|limit| *limit <= 0);
        for text in
            [&mut self.cgroup_parent, &mut self.cpuset, &mut self.domainname, &mut self.hostname, &mut self.runtime]
        {
            text.take_if(|text| text.is_empty());
        }
        self.logging.take_if(|logging| *logging == Logging::default());
        self
    }

    /// Which of the keys are said that an engine fills in by itself when nobody says them: from its own configuration, from
    /// other keys, or from the container's id. What comes back for the others says nothing.
    pub fn said(&self) -> BTreeSet<String> {
        let Self { cgroup, hostname, ipc, logging, memswap_limit, runtime, security_opt, shm_size, ulimits, .. } = self;
        let keys = [
            ("cgroup", cgroup.is_some()),
            ("hostname", hostname.is_some()),
            ("ipc", ipc.is_some()),
            ("logging", logging.as_ref().is_some_and(|logging| logging.driver.is_some())),
            ("memswap_limit", memswap_limit.is_some()),
            ("runtime", runtime.is_some()),
            ("security_opt.label", security_opt.iter().any(|option| is_label(option))),
            ("shm_size", shm_size.is_some()),
        ];
        let mut said: BTreeSet<String> =
            keys.into_iter().filter(|(_, is_said)| *is_said).map(|(key, _)| key.to_owned()).collect();
        said.extend(ulimits.keys().map(|name| format!("ulimits.{name}")));
        said.extend(logging.iter().flat_map(|logging| logging.options.keys()).map(|name| format!("logging.{name}")));
        said
    }

    /// Drops what an engine filled in by itself.
    pub fn only_said(mut self, said: &BTreeSet<String>) -> Self {
        let left = |key: &str| !said.contains(key);
        self.cgroup.take_if(|_| left("cgroup"));
        self.hostname.take_if(|_| left("hostname"));
        self.ipc.take_if(|_| left("ipc"));
        self.memswap_limit.take_if(|_| left("memswap_limit"));
        self.runtime.take_if(|_| left("runtime"));
        // An engine turns SELinux off for what is privileged or uses the host's namespaces, and copies the label of a container
        // that is joined.
        self.security_opt.retain(|option| !is_label(option) || said.contains("security_opt.label"));
        self.shm_size.take_if(|_| left("shm_size"));
        self.ulimits.retain(|name, _| said.contains(&format!("ulimits.{name}")));
        if let Some(logging) = &mut self.logging {
            logging.driver.take_if(|_| left("logging"));
            logging.options.retain(|name, _| said.contains(&format!("logging.{name}")));
        }
        self
    }
}

/// A capability without `CAP_`, in capitals: engines take both spellings and answer in either.
fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)
}

/// A security option with `=` between its parts: engines also take `:`, but do not see by it that a label was chosen, and add
/// one of their own.
fn security(option: &str) -> String {
    let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
    match (key, value) {
        ("no-new-privileges", "" | "1" | "t" | "T" | "true" | "TRUE" | "True") => key.to_owned(),
        (_, "") => option.to_owned(),
        (key, value) => format!("{key}={value}"),
    }
}

/// Whether a security option is about SELinux.
fn is_label(option: &str) -> bool {
    option.strip_prefix("label").is_some_and(|rest| rest.starts_with(['=', ':']))
}
