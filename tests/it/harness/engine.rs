//! A real container engine, in a directory and a network namespace of its own: containerd and dockerd as two processes, or Podman.
//!
//! Two processes, because containers then survive a killed dockerd, as they must on a device. An own namespace, because
//! engines rewrite the firewall and the forwarding of the namespace that they run in.

use super::podman::{self, Keeper};
use super::process::{eventually, output_of};
use super::registry::Registry;
use super::run::{has_real_parts, run};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// The programs that an engine and its registry need; see scripts/setup for the packages.
const PROGRAMS: [&str; 9] =
    ["containerd", "dockerd", "docker", "docker-registry", "busybox", "ip", "iptables", "nsenter", "tar"];

/// One engine, running until the run ends.
pub struct Engine {
    directory: PathBuf,
    namespace: String,
    /// Kept so that it can be reaped; the guard ends it.
    containerd: Mutex<Option<Child>>,
    /// What holds a Podman; `None` beside a dockerd.
    keeper: Option<Keeper>,
    /// The process that answers: dockerd, or Podman's service.
    service: Mutex<Option<Child>>,
    registry: OnceLock<Registry>,
}

impl Engine {
    /// The engine that all tests share: never crash, restart or prune it. `None` where the machine cannot run one and
    /// nobody promised it could (see [`has_real_parts`]); the test then returns.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        has_real_parts(&PROGRAMS).then(|| SHARED.get_or_init(|| Self::launch("shared")))
    }

    /// The Podman that all tests share, on the same terms.
    pub fn podman() -> Option<&'static Self> {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        let launch = || {
            let engine = Self::prepare(run().scratch("podman"));
            let keeper = Some(Keeper::start(&engine.directory, &engine.namespace));
            let engine = Self { keeper, ..engine };
            engine.restart();
            engine
        };
        has_real_parts(&podman::PROGRAMS).then(|| SHARED.get_or_init(launch))
    }

    /// An engine for one test alone, to be crashed and restarted. `purpose` must be unique among the tests, short, and fit
    /// for a file name.
    pub fn start(purpose: &str) -> Option<Self> {
        has_real_parts(&PROGRAMS).then(|| Self::launch(purpose))
    }

    /// Where the Docker API answers.
    pub fn docker_socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// The registry beside this engine, with the test images; started and filled by the first call.
    pub fn registry(&self) -> &Registry {
        self.registry.get_or_init(|| Registry::start(self))
    }

    /// What `docker` prints for these arguments, trimmed. Panics with its error when it fails.
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Engine::docker`], for commands that may fail.
    pub fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let makes = arguments.first().is_some_and(|word| matches!(*word, "create" | "run"));
        match &self.keeper {
            // Docker's own program makes containers only where the engine names its operating system; this one does not.
            Some(keeper) if makes => {
                let mut command = run().command("podman");
                keeper.configure(&mut command);
                command.arg("--remote").arg("--url").arg(format!("unix://{}", self.docker_socket().display()));
                output_of(command.args(arguments))
            }
            Some(_) | None => output_of(self.docker_command().args(arguments)),
        }
    }

    /// The `docker` program, talking to this engine and blind to the user's own configuration.
    pub fn docker_command(&self) -> Command {
        let mut command = run().command("docker");
        command.env("DOCKER_CONFIG", self.directory.join("cli"));
        command.arg("--host").arg(format!("unix://{}", self.docker_socket().display()));
        command
    }

    /// A program inside the engine's network namespace, where published ports and the registry are.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = run().command("nsenter");
        // Not `ip netns exec` or `ip -n`: they mount /sys anew, which hides the control groups of version 1 from dockerd, and
        // cannot do so in a chroot at all.
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program);
        command
    }

    /// The answer to `GET path` at a port published on the namespace's loopback, head and body; `Err` while nobody answers.
    pub fn http_get(&self, port: u16, path: &str) -> Result<String, String> {
        let mut netcat = self.inside("busybox");
        netcat.args(["nc", "-w", "5", "127.0.0.1", &port.to_string()]);
        let mut netcat = netcat
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start busybox nc");
        // A refused connection ends nc before it reads; the missing answer tells the caller.
        let _ = write!(netcat.stdin.take().expect("stdin was piped"), "GET {path} HTTP/1.0\r\n\r\n");
        let output = netcat.wait_with_output().expect("wait for busybox nc");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if answer.starts_with("HTTP/") { Ok(answer) } else { Err(format!("no answer from port {port}")) }
    }

    /// Whether something in the engine's namespace listens at this port of IPv4.
    pub fn is_listening(&self, port: u16) -> bool {
        let sockets = output_of(self.inside("cat").arg("/proc/net/tcp")).expect("read the namespace's sockets");
        // Columns: number, local address, remote address, state; 0A is LISTEN.
        let local = format!(":{port:04X}");
        sockets.lines().any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            columns.next().is_some_and(|address| address.ends_with(&local)) && columns.nth(1) == Some("0A")
        })
    }

    /// Kills what answers, as a crash would. Containers keep running.
    pub fn crash(&self) {
        if let Some(mut service) = self.service.lock().expect("no test panics while it holds the engine").take() {
            match &self.keeper {
                Some(keeper) => keeper.kill_service(),
                None => service.kill().expect("kill dockerd"),
            }
            service.wait().expect("reap the engine");
        }
    }

    /// Starts it again after [`Engine::crash`], or crashes and starts it.
    pub fn restart(&self) {
        self.crash();
        // A killed dockerd leaves its pid file and would then refuse to start.
        let _ = std::fs::remove_file(self.directory.join("dockerd.pid"));
        let service = match &self.keeper {
            Some(keeper) => self.spawn_until(keeper.service(), "podman", || answers_ping(&self.docker_socket())),
            None => self.start_dockerd(),
        };
        *self.service.lock().expect("no test panics while it holds the engine") = Some(service);
    }

    /// An engine for one test alone whose images and containers lie on a small disk of their own.
    pub fn start_on_own_disk(purpose: &str) -> Option<Self> {
        has_real_parts(&PROGRAMS).then(|| {
            let directory = run().scratch(purpose);
            let data = directory.join("data");
            std::fs::create_dir_all(&data).expect("make the engine's data directory");
            let data = data.display().to_string();
            output_of(run().command("mount").args(["-t", "tmpfs", "-o", "size=1g", "tmpfs", &data]))
                .expect("mount a disk");
            Self::launch_in(directory)
        })
    }

    /// Changes the size of an own disk.
    pub fn resize_disk(&self, megabytes: u32) {
        self.try_resize_disk(megabytes).expect("change the disk's size");
    }

    /// The same; an error where more than that is in use.
    pub fn try_resize_disk(&self, megabytes: u32) -> Result<String, String> {
        let (size, data) = (format!("remount,size={megabytes}m"), self.directory.join("data").display().to_string());
        output_of(run().command("mount").args(["-o", &size, &data]))
    }

    fn launch(purpose: &str) -> Self {
        Self::launch_in(run().scratch(purpose))
    }

    fn launch_in(directory: PathBuf) -> Self {
        let engine = Self::prepare(directory);
        *engine.containerd.lock().expect("nobody else has the engine yet") = Some(engine.start_containerd());
        engine.restart();
        engine
    }

    /// An engine's place on the network; nothing runs yet.
    fn prepare(directory: PathBuf) -> Self {
        let namespace = format!("{}-{}", run().name(), directory.file_name().unwrap_or_default().display());
        output_of(run().command("ip").args(["netns", "add", &namespace])).expect("make a network namespace");
        let (containerd, keeper, service, registry) = Default::default();
        let engine = Self { directory, namespace, containerd, keeper, service, registry };
        output_of(engine.inside("ip").args(["link", "set", "lo", "up"])).expect("raise the loopback");
        // A new namespace takes this over from the machine. An engine that finds it on closes nothing.
        let no_forwarding = ["sysctl", "-w", "net.ipv4.ip_forward=0"];
        output_of(engine.inside("busybox").args(no_forwarding)).expect("forward nothing before the engine does");
        engine
    }

    fn start_containerd(&self) -> Child {
        let directory = self.directory.display();
        let configuration = format!(
            "version = 2\nroot = \"{directory}/root\"\nstate = \"{directory}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{directory}/containerd.sock\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{directory}/opt\"\n"
        );
        std::fs::write(self.directory.join("containerd.toml"), configuration)
            .expect("write containerd's configuration");
        let mut containerd = self.inside("containerd");
        containerd.arg("--config").arg(self.directory.join("containerd.toml"));
        let socket = self.directory.join("containerd.sock");
        self.spawn_until(containerd, "containerd", || UnixStream::connect(&socket).is_ok())
    }

    fn start_dockerd(&self) -> Child {
        std::fs::write(self.directory.join("daemon.json"), "{}").expect("write dockerd's configuration");
        let mut dockerd = self.inside("dockerd");
        let within = |name: &str| self.directory.join(name).display().to_string();
        dockerd
            .args(["--config-file", &within("daemon.json")])
            .args(["--containerd", &within("containerd.sock")])
            .args(["--data-root", &within("data"), "--exec-root", &within("exec")])
            .args(["--pidfile", &within("dockerd.pid")])
            .args(["--host", &format!("unix://{}", within("docker.sock"))])
            // The guard ends all containers by their control group, which only this driver lets us name.
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", &format!("/{}", run().name())])
            .args(["--live-restore", "--log-level", "warn"]);
        self.spawn_until(dockerd, "dockerd", || answers_ping(&self.docker_socket()))
    }

    /// Starts a program whose output goes to a log in the engine's directory, and waits until it is ready. Panics with the
    /// log if it ends instead.
    pub(super) fn spawn_until(&self, mut command: Command, name: &str, is_ready: impl Fn() -> bool) -> Child {
        let path = self.directory.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path).expect("open a log");
        let errors = log.try_clone().expect("share the log");
        let mut child =
            command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("start a part of the engine");
        eventually(&format!("{name} is ready"), || {
            if let Some(status) = child.try_wait().expect("look at a part of the engine") {
                panic!("{name} ended with {status}:\n{}", std::fs::read_to_string(&path).unwrap_or_default());
            }
            is_ready().then_some(())
        });
        child
    }

    /// The engine's directory, for the parts beside it.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Another machine on a wire to the engine's, which is 10.96.0.1.
pub struct Neighbour {
    namespace: String,
}

impl Engine {
    /// Puts a machine next to the engine's. Its packets go out through the engine's machine.
    pub fn neighbour(&self) -> Neighbour {
        let namespace = format!("{}-lan", self.namespace);
        let neighbour = Neighbour { namespace: namespace.clone() };
        let ip = |mut command: Command, words: &str| {
            output_of(command.args(words.split(' '))).unwrap_or_else(|error| panic!("ip {words}: {error}"));
        };
        ip(run().command("ip"), &format!("netns add {namespace}"));
        ip(self.inside("ip"), &format!("link add lan0 type veth peer name lan0 netns {namespace}"));
        ip(self.inside("ip"), "address add 10.96.0.1/24 dev lan0");
        ip(self.inside("ip"), "link set lan0 up");
        ip(neighbour.inside("ip"), "address add 10.96.0.2/24 dev lan0");
        ip(neighbour.inside("ip"), "link set lan0 up");
        ip(neighbour.inside("ip"), "route add default via 10.96.0.1");
        neighbour
    }
}

impl Neighbour {
    /// A program on this machine.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = run().command("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program);
        command
    }

    /// What a server answers to a text, within two seconds.
    pub fn ask(&self, address: &str, port: u16, question: &str) -> Result<String, String> {
        let mut netcat = self.inside("busybox");
        netcat.args(["nc", "-w", "2", address, &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut netcat = netcat.stderr(Stdio::null()).spawn().expect("start busybox nc");
        // A refused connection ends nc before it reads; the missing answer tells the caller.
        let _ = netcat.stdin.take().expect("stdin was piped").write_all(question.as_bytes());
        let output = netcat.wait_with_output().expect("wait for busybox nc");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if answer.is_empty() { Err("no answer".to_owned()) } else { Ok(answer) }
    }
}

fn answers_ping(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let mut answer = String::new();
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains("200 OK")
}
