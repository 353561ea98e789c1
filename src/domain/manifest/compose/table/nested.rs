//! Keys of the mappings inside services, networks and volumes.

use super::{Section, allowed, applied, idle, refused};

const SWARM: &str = "it is for clusters, and here every device runs one container of a service";
const LEAVE: &str = "leave it out";

/// What a service depends on.
pub const DEPENDENCY: Section = Section {
    path: "services.*.depends_on.*",
    what: "a dependency",
    keys: &[
        applied("condition", "`service_started`, `service_healthy` or `service_completed_successfully`."),
        applied("required", "With `false` it may be missing, as one whose profile the device does not have."),
        applied("restart", "With `true` this service is made anew when the other one is."),
    ],
};

/// Deployment.
pub const DEPLOY: Section = Section {
    path: "services.*.deploy",
    what: "`deploy`",
    keys: &[
        refused("endpoint_mode", SWARM, LEAVE),
        refused("labels", "they are for the service of a cluster", "write `labels` of the service"),
        applied("mode", "Only `replicated`."),
        refused("placement", SWARM, "pin the app only where it belongs"),
        applied("replicas", "Only 1."),
        applied("resources", "Limits and reservations."),
        refused("restart_policy", "there is one place for it", "write `restart`, such as `on-failure:5`"),
        refused("rollback_config", "rollbacks are the rollout's", "write a rollout policy in `fleet.yml`"),
        refused("update_config", "updates are the rollout's", "write a rollout policy in `fleet.yml`"),
    ],
};

/// Resources of a deployment.
pub const RESOURCES: Section = Section {
    path: "services.*.deploy.resources",
    what: "`resources`",
    keys: &[applied("limits", "The most that it gets."), applied("reservations", "What is left to it.")],
};

/// Limits of a deployment.
pub const LIMITS: Section = Section {
    path: "services.*.deploy.resources.limits",
    what: "`limits`",
    keys: &[
        applied("cpus", "As `cpus` of the service."),
        applied("memory", "As `mem_limit` of the service."),
        applied("pids", "As `pids_limit` of the service."),
    ],
};

/// Reservations of a deployment.
pub const RESERVATIONS: Section = Section {
    path: "services.*.deploy.resources.reservations",
    what: "`reservations`",
    keys: &[
        refused("cpus", "no engine reserves CPUs outside a cluster", "write `cpu_shares` of the service"),
        refused("devices", "requests for devices are not handed on", "name the devices under `devices` of the service"),
        refused("generic_resources", SWARM, LEAVE),
        applied("memory", "As `mem_reservation` of the service."),
    ],
};

/// A device in the long form.
pub const DEVICE: Section = Section {
    path: "services.*.devices[]",
    what: "a device",
    keys: &[
        applied("permissions", "Letters out of `rwm`; all three unless it is said otherwise."),
        applied("source", "Its path on the host."),
        applied("target", "Its path in the container; the same unless it is said otherwise."),
    ],
};

/// A health check.
pub const HEALTHCHECK: Section = Section {
    path: "services.*.healthcheck",
    what: "a health check",
    keys: &[
        applied("disable", "There is no health check, whatever the image says."),
        applied("interval", "Between two runs; 30s unless it is said otherwise."),
        applied("retries", "How many failures in a row make it unhealthy; 3 unless it is said otherwise."),
        applied("start_interval", "Between two runs in the start period. Engines before version 25 do not keep it."),
        applied("start_period", "After the start, while failures do not count."),
        applied("test", "A line for the shell, or a list that begins with `CMD`, `CMD-SHELL` or `NONE`."),
        applied("timeout", "How long one run may take; 30s unless it is said otherwise."),
    ],
};

/// Where output goes.
pub const LOGGING: Section = Section {
    path: "services.*.logging",
    what: "`logging`",
    keys: &[applied("driver", "The engine's driver."), applied("options", "Options of the driver.")],
};

/// How a service takes part in a network.
pub const ATTACHMENT: Section = Section {
    path: "services.*.networks.*",
    what: "a network of a service",
    keys: &[
        applied("aliases", "Names besides the service's own by which others find it."),
        refused("driver_opts", "options of endpoints differ from engine to engine", LEAVE),
        refused("gw_priority", "few engines know it", LEAVE),
        refused("interface_name", "few engines know it", LEAVE),
        applied("ipv4_address", "A fixed address in a subnet of the network."),
        applied("ipv6_address", "A fixed address in a subnet of the network."),
        refused("link_local_ips", "engines ignore them", "write `ipv4_address`"),
        refused("mac_address", "one address in a release would be the same on every device", LEAVE),
        refused("priority", "the `default` network comes first, then the others by name", LEAVE),
    ],
};

/// A published port in the long form.
pub const PORT: Section = Section {
    path: "services.*.ports[]",
    what: "a port",
    keys: &[
        idle("app_protocol", "It tells people what speaks there."),
        applied("host_ip", "The host's address; every one unless it is said otherwise."),
        applied("mode", "Only `host`, or `ingress`, which is the same outside a cluster."),
        idle("name", "It tells people what the port is for."),
        applied("protocol", "`tcp` or `udp`."),
        applied("published", "The host's port; without it the engine chooses one."),
        applied("target", "The container's port."),
    ],
};

/// A limit of a process.
pub const ULIMIT: Section = Section {
    path: "services.*.ulimits.*",
    what: "a limit",
    keys: &[
        applied("hard", "How far the process may raise it; -1 is none."),
        applied("soft", "What counts; -1 is none."),
    ],
};

/// A mount in the long form.
pub const VOLUME: Section = Section {
    path: "services.*.volumes[]",
    what: "a volume",
    keys: &[
        allowed("bind", "Options of a path of the host."),
        idle("consistency", "It is for desktops."),
        refused("image", "mounts of images are known to few engines", "copy the files in the image's build"),
        applied("read_only", "Whether it can only be read."),
        applied("source", "A named volume, or a path of the host where it is allowed."),
        applied("target", "Where it is mounted."),
        applied("tmpfs", "Options of a file system in memory."),
        applied("type", "`volume`, `tmpfs`, or `bind` where it is allowed."),
        applied("volume", "Options of a named volume."),
    ],
};

/// Options of a path of the host.
pub const BIND: Section = Section {
    path: "services.*.volumes[].bind",
    what: "`bind`",
    keys: &[
        allowed("create_host_path", "Whether the path is made where it is missing; true unless it is said otherwise."),
        allowed("propagation", "How mounts below it are handed on."),
        refused("recursive", "few engines know it", LEAVE),
        refused("selinux", "labels of the host's files are the host's business", "label the path on the host"),
    ],
};

/// Options of a file system in memory.
pub const TMPFS: Section = Section {
    path: "services.*.volumes[].tmpfs",
    what: "`tmpfs`",
    keys: &[applied("mode", "Rights of its root, in octal."), applied("size", "The most that it holds.")],
};

/// Options of a named volume.
pub const VOLUME_OPTIONS: Section = Section {
    path: "services.*.volumes[].volume",
    what: "`volume`",
    keys: &[
        refused("labels", "labels of volumes are Bellwether's", LEAVE),
        applied("nocopy", "A new volume begins empty instead of with what the image has there."),
        refused("subpath", "few engines know it", "declare a volume of its own"),
    ],
};

/// A network of the app.
pub const NETWORK: Section = Section {
    path: "networks.*",
    what: "a network",
    keys: &[
        refused("attachable", SWARM, LEAVE),
        applied("driver", "Only `bridge`."),
        refused("driver_opts", "options of drivers reach into the host", LEAVE),
        refused("enable_ipv4", "few engines know it", LEAVE),
        applied("enable_ipv6", "It has IPv6 too."),
        refused("external", "apps share no networks", "publish a port, or put both into one app"),
        applied("internal", "Nothing leaves it and nothing reaches it from outside."),
        applied("ipam", "Its addresses."),
        refused("labels", "labels of networks are Bellwether's", LEAVE),
        idle("name", "Names in the engine are made from device, app and network."),
    ],
};

/// Addresses of a network.
pub const IPAM: Section = Section {
    path: "networks.*.ipam",
    what: "`ipam`",
    keys: &[
        applied("config", "Address ranges."),
        applied("driver", "Only `default`."),
        refused("options", "they are for other drivers", LEAVE),
    ],
};

/// One address range.
pub const IPAM_CONFIG: Section = Section {
    path: "networks.*.ipam.config[]",
    what: "an address range",
    keys: &[
        refused("aux_addresses", "bridges have no use for them", LEAVE),
        applied("gateway", "The host's address in it."),
        applied("ip_range", "The part of it from which services get addresses."),
        applied("subnet", "In CIDR form."),
    ],
};

/// A named volume.
pub const VOLUME_DEFINITION: Section = Section {
    path: "volumes.*",
    what: "a volume",
    keys: &[
        applied("driver", "Only `local`."),
        refused(
            "driver_opts",
            "options of drivers reach into the host",
            "mount on the host, and use a path of the host where that is allowed",
        ),
        refused("external", "volumes belong to an app on a device", LEAVE),
        refused("labels", "labels of volumes are Bellwether's", LEAVE),
        idle("name", "Names in the engine are made from device, app and volume."),
    ],
};

/// Keys inside mappings that are refused as a whole: nobody reads them, and the specification has them all the same.
pub const INSIDE_REFUSED: &[(&str, &[&str])] = &[
    ("configs.*", &["content", "environment", "external", "file", "labels", "name", "template_driver"]),
    ("include[]", &["env_file", "path", "project_directory"]),
    ("models.*", &["context_size", "model", "name", "runtime_flags"]),
    ("secrets.*", &["driver", "driver_opts", "environment", "external", "file", "labels", "name", "template_driver"]),
    (
        "services.*.blkio_config",
        &["device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops", "weight", "weight_device"],
    ),
    ("services.*.blkio_config.*[]", &["path", "rate", "weight"]),
    (
        "services.*.build",
        &[
            "additional_contexts",
            "args",
            "cache_from",
            "cache_to",
            "context",
            "dockerfile",
            "dockerfile_inline",
            "entitlements",
            "extra_hosts",
            "isolation",
            "labels",
            "network",
            "no_cache",
            "platforms",
            "privileged",
            "pull",
            "secrets",
            "shm_size",
            "ssh",
            "tags",
            "target",
            "ulimits",
        ],
    ),
    ("services.*.configs[]", &["gid", "mode", "source", "target", "uid"]),
    ("services.*.credential_spec", &["config", "file", "registry"]),
    ("services.*.deploy.placement", &["constraints", "max_replicas_per_node", "preferences"]),
    ("services.*.deploy.placement.preferences[]", &["spread"]),
    (
        "services.*.deploy.resources.reservations.devices[]",
        &["capabilities", "count", "device_ids", "driver", "options"],
    ),
    ("services.*.deploy.resources.reservations.generic_resources[]", &["discrete_resource_spec"]),
    ("services.*.deploy.resources.reservations.generic_resources[].discrete_resource_spec", &["kind", "value"]),
    ("services.*.deploy.restart_policy", &["condition", "delay", "max_attempts", "window"]),
    (
        "services.*.deploy.rollback_config",
        &["delay", "failure_action", "max_failure_ratio", "monitor", "order", "parallelism"],
    ),
    (
        "services.*.deploy.update_config",
        &["delay", "failure_action", "max_failure_ratio", "monitor", "order", "parallelism"],
    ),
    ("services.*.develop", &["watch"]),
    ("services.*.develop.watch[]", &["action", "exec", "ignore", "include", "path", "target"]),
    ("services.*.env_file[]", &["format", "path", "required"]),
    ("services.*.extends", &["file", "service"]),
    ("services.*.gpus[]", &["capabilities", "count", "device_ids", "driver", "options"]),
    ("services.*.models.*", &["endpoint_var"]),
    ("services.*.post_start[]", &["command", "environment", "privileged", "user", "working_dir"]),
    ("services.*.pre_stop[]", &["command", "environment", "privileged", "user", "working_dir"]),
    ("services.*.provider", &["options", "type"]),
    ("services.*.secrets[]", &["gid", "mode", "source", "target", "uid"]),
    ("services.*.volumes[].image", &["subpath"]),
    ("networks.*.external", &["name"]),
    ("volumes.*.external", &["name"]),
];
