//! A real Podman: its service of the Docker API, in namespaces of its own that end everything below them when they end.
//!
//! Podman has no daemon that its containers belong to, and it leaves mounts, namespaces and processes where they are when its service
//! is killed, as it must. So there is a keeper, process 1 of a namespace of processes and of mounts: with it everything goes.

use super::process::eventually;
use super::run::run;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The programs that Podman needs besides those of the harness.
pub(super) const PROGRAMS: [&str; 9] =
    ["podman", "conmon", "docker", "docker-registry", "busybox", "ip", "nsenter", "unshare", "tar"];

/// What lives outside every directory that Podman can be told: names of network namespaces, locks, and sockets whose paths would
/// be too long below ours. Then process 1 waits for whoever has no parent left.
const KEEPER: &str = "mount -t tmpfs tmpfs /run/netns && mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs /mnt && \
                      echo ready && while :; do sleep 86400 & wait $!; done";
/// Limits that nobody needs a right to set; without them a container on this API asks for more than its engine may have.
const CONFIGURATION: &str = r#"[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
compat_api_enforce_docker_hub = false
[network]
network_backend = "netavark"
"#;
/// The registry of the tests speaks without TLS; Docker needs no word for that on the loopback.
const REGISTRIES: &str =
    "unqualified-search-registries = []\n[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n";

/// The namespaces of one Podman.
pub(super) struct Keeper {
    /// Kept so that it can be reaped; the guard ends it.
    _process: Child,
    inner: u32,
    directory: PathBuf,
}

impl Keeper {
    /// Starts the keeper of a Podman in a directory and a network namespace.
    pub(super) fn start(directory: &Path, namespace: &str) -> Self {
        std::fs::write(directory.join("containers.conf"), CONFIGURATION).expect("write Podman's configuration");
        std::fs::write(directory.join("registries.conf"), REGISTRIES).expect("write Podman's registries");
        let log = std::fs::File::create(directory.join("keeper.log")).expect("make a log");
        let mut keeper = run().command("nsenter");
        keeper.arg(format!("--net=/run/netns/{namespace}")).args(["unshare", "--mount", "--propagation", "private"]);
        keeper.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", KEEPER]);
        let errors = log.try_clone().expect("share the log");
        let process = keeper.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("start Podman's keeper");
        let log = directory.join("keeper.log");
        eventually("Podman's namespaces are there", || {
            std::fs::read_to_string(&log).unwrap_or_default().contains("ready").then_some(())
        });
        let inner = child_of(process.id()).expect("the keeper has a child");
        Self { _process: process, inner, directory: directory.to_owned() }
    }

    /// The service of the Docker API, at `docker.sock` in the directory.
    pub(super) fn service(&self) -> Command {
        let directory = self.directory.display();
        let podman = format!(
            "echo $$ > {directory}/podman.pid; exec podman --root {directory}/root --runroot {directory}/run \
             --tmpdir /mnt/podman --network-config-dir {directory}/networks --log-level warn \
             system service --time=0 unix://{directory}/docker.sock"
        );
        let mut command = self.inside("sh");
        command.args(["-c", &podman]);
        command
    }

    /// Kills the service as a crash would. Containers keep running.
    pub(super) fn kill_service(&self) {
        let process = std::fs::read_to_string(self.directory.join("podman.pid")).expect("the service runs");
        self.inside("busybox").args(["kill", "-9", process.trim()]).status().expect("kill Podman's service");
    }

    /// A program in all these namespaces.
    fn inside(&self, program: &str) -> Command {
        let mut command = run().command("nsenter");
        command.args(["--target", &self.inner.to_string(), "--mount", "--pid", "--net", "--", program]);
        self.configure(&mut command);
        command
    }

    /// Makes a command of Podman see this one's configuration and nobody else's.
    pub(super) fn configure(&self, command: &mut Command) {
        command.env("CONTAINERS_CONF", self.directory.join("containers.conf"));
        command.env("CONTAINERS_REGISTRIES_CONF", self.directory.join("registries.conf"));
    }
}

/// The child of a process that has one.
fn child_of(parent: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.find(|number| {
        let status = std::fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|rest| rest.trim() == parent.to_string()))
    })
}
