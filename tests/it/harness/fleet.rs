//! A whole fleet for a test: a fleet repo, a controller and agents as processes, and what a person sees of them.
//!
//! The controller listens on a port of the machine's choice and looks at its repo whenever the fixture has pushed. Devices
//! need names of their own: containers of all tests share one engine.

use super::engine::Engine;
use super::git::FleetRepo;
use super::git_servers::GitHttp;
use super::process::{BELLWETHER, BELLWETHER_AGENT, Running, eventually, output_of, program};
use super::run::{free_port, run};
use bellwether::cli::client::{Client, ClientError};
use bellwether::domain::drift::Verdict;
use bellwether::domain::fleet::TokenBound;
use bellwether::domain::ids::{DeviceId, StageName};
use bellwether::domain::overview::device::{DeviceDetail, DeviceRow};
use bellwether::domain::overview::drift::DriftReport;
use bellwether::domain::overview::status::StageStatus;
use bellwether::domain::reported::{Found, Phase};
use bellwether::protocol::v1::operator::{Done, StatusAnswer, TokenAnswer, TokenRequest, WhyAnswer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::runtime::Runtime;

/// The stages of every fleet, least gated first.
pub const STAGES: [&str; 3] = ["main", "canary", "production"];

/// What the devices of a fleet run their services on.
#[derive(Clone, Copy)]
pub enum On {
    /// The real engine that all tests share.
    Engine(&'static Engine),
    /// Files in the agent's state directory.
    Simulated,
}

/// A fleet with its processes, which end when it is dropped.
pub struct Fleet {
    /// The fleet repo.
    pub repo: FleetRepo,
    /// The processes of devices by name.
    pub agents: BTreeMap<String, Running>,
    name: String,
    on: On,
    directory: PathBuf,
    controller: Option<Running>,
    runtime: Runtime,
    client: Client,
    /// Kept over restarts: devices remember the address.
    address: Option<SocketAddr>,
    /// Lines for the controller's configuration.
    settings: String,
    /// Where the controller and the work clone find the repo, if not in its folder.
    server: Option<GitHttp>,
    /// Variables of the controller's environment, from its next start on.
    pub controller_environment: BTreeMap<String, String>,
    /// More flags for agents.
    pub agent_flags: Vec<String>,
    /// Sockets in front of the engine's own, by device.
    pub sockets: BTreeMap<String, PathBuf>,
}

impl Fleet {
    /// A running controller over a repo whose stages all stand on one commit of these files.
    #[track_caller]
    pub fn start(name: &str, on: On, files: &[(&str, &str)]) -> Self {
        Self::configured(name, on, "stages: [main, canary, production]\n", files)
    }

    /// The same with other lines in the controller's configuration; `stages` must be among them.
    #[track_caller]
    pub fn configured(name: &str, on: On, settings: &str, files: &[(&str, &str)]) -> Self {
        Self::with(name, on, settings, files, None)
    }

    /// The same behind a real Git server, for the controller and for who pushes.
    #[track_caller]
    pub fn behind_http(name: &str, on: On, settings: &str, files: &[(&str, &str)]) -> Self {
        let settings = format!("{settings}git: {{ plain_http: this-machine }}\n");
        Self::with(name, on, &settings, files, Some(GitHttp::plain))
    }

    #[track_caller]
    fn with(name: &str, on: On, settings: &str, files: &[(&str, &str)], serve: Option<fn(&Path) -> GitHttp>) -> Self {
        let repo = FleetRepo::new(&format!("{name}-repo"));
        let server = serve.map(|serve| {
            let server = serve(repo.bare().parent().expect("a repository is in a folder"));
            repo.git(&["--git-dir", &repo.bare().display().to_string(), "config", "http.receivepack", "true"]);
            repo.git(&["remote", "set-url", "origin", &server.url("fleet.git")]);
            server
        });
        repo.commit("Begin the fleet", files);
        repo.push("main");
        repo.merge("main", "canary");
        repo.merge("main", "production");
        let directory = run().scratch(name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
        let client = Client::unix(&directory.join("s")).expect("a socket's path");
        let mut fleet = Self {
            repo,
            agents: BTreeMap::new(),
            name: name.to_owned(),
            on,
            directory,
            controller: None,
            runtime,
            client,
            address: None,
            settings: settings.to_owned(),
            server,
            controller_environment: BTreeMap::new(),
            agent_flags: Vec::new(),
            sockets: BTreeMap::new(),
        };
        fleet.start_controller();
        fleet
    }

    /// Starts the controller, at the address that it had before if it ran before.
    #[track_caller]
    pub fn start_controller(&mut self) {
        let listen = *self.address.get_or_insert_with(|| ([127, 0, 0, 1], free_port()).into());
        let config = self.directory.join("bellwether.yml");
        let text = format!(
            "fleet: acme\nrepo: {}\ndata_dir: {}\nsocket: {}\nlisten: {listen}\npoll_secs: 1\n{}",
            self.server.as_ref().map_or_else(|| self.repo.bare().display().to_string(), |one| one.url("fleet.git")),
            self.data_dir().display(),
            self.socket().display(),
            self.settings,
        );
        std::fs::write(&config, text).expect("write the controller's configuration");
        let mut command = program(BELLWETHER);
        command.arg("serve").arg("--config").arg(&config).envs(&self.controller_environment);
        let mut controller = Running::start(&format!("{}-controller", self.name), command);
        controller.line_with("serving");
        self.controller = Some(controller);
        let status = eventually("the controller answers", || self.try_get::<StatusAnswer>("/v1/status").ok());
        self.address = status.address;
    }

    /// Stops the controller in order.
    #[track_caller]
    pub fn stop_controller(&mut self) {
        let mut controller = self.controller.take().expect("the controller runs");
        assert!(controller.terminate().success(), "the controller stops in order:\n{}", controller.log());
    }

    /// Kills the controller as a power cut would.
    pub fn kill_controller(&mut self) {
        self.controller.take().expect("the controller runs").kill();
    }

    /// What the controller logged since its last start.
    pub fn controller_log(&self) -> String {
        self.controller.as_ref().map(Running::log).unwrap_or_default()
    }

    /// The controller's keys, store and mirror.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The operators' socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("s")
    }

    /// Where devices reach the controller.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.expect("the controller ran").port())
    }

    /// The state directory of a device's agent.
    pub fn state_dir(&self, device: &str) -> PathBuf {
        self.directory.join("devices").join(device)
    }

    /// The update locks of a device.
    pub fn lock_dir(&self, device: &str) -> PathBuf {
        self.directory.join("locks").join(device)
    }

    /// A command of `bellwether` that talks to this controller.
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = program(BELLWETHER);
        command.args(arguments).env("BELLWETHER_SERVER", format!("unix:{}", self.socket().display()));
        command
    }

    /// Waits for an answer of the operators' side.
    pub fn try_get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.runtime.block_on(self.client.get(path))
    }

    /// An answer of the operators' side.
    #[track_caller]
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// An act of an operator, which may be refused.
    pub fn try_post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.runtime.block_on(self.client.post(path, body))
    }

    /// An act of an operator.
    #[track_caller]
    pub fn act(&self, path: &str, body: &impl Serialize) -> Done {
        self.try_post(path, body).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// The runtime on which the test may speak HTTP itself.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A token that lets these devices in.
    #[track_caller]
    pub fn token(&self, devices: &[&str]) -> String {
        let names: BTreeSet<DeviceId> = devices.iter().map(|name| DeviceId::new(name).expect("a name")).collect();
        let uses = u32::try_from(names.len()).expect("few devices");
        let request = TokenRequest { bound: TokenBound::Names(names), uses, valid_secs: 3600 };
        let answer: TokenAnswer = self.try_post("/v1/tokens", &request).expect("make a token");
        answer.token
    }

    /// Enrolls devices with one token and starts their agents.
    #[track_caller]
    pub fn enroll(&mut self, devices: &[&str]) {
        let token = self.token(devices);
        for device in devices {
            self.start_agent(device, &["--token", &token]);
        }
    }

    /// Starts a device's agent, which remembers who it is once it was enrolled.
    #[track_caller]
    pub fn start_agent(&mut self, device: &str, flags: &[&str]) {
        let mut command = self.agent_command(device);
        command.args(flags);
        let agent = Running::start(device, command);
        self.agents.insert(device.to_owned(), agent);
    }

    /// The command of a device's agent, to which flags may be added.
    pub fn agent_command(&self, device: &str) -> Command {
        let mut command = program(BELLWETHER_AGENT);
        command.args(["run", "--server", &self.url(), "--device", device, "--os", "simulated", "--os-soak-secs", "1"]);
        command.args(["--poll-interval-secs", "1", "--look-interval-secs", "1"]);
        command.arg("--state-dir").arg(self.state_dir(device)).arg("--lock-dir").arg(self.lock_dir(device));
        command.args(&self.agent_flags);
        match self.on {
            On::Engine(engine) => {
                let socket = self.sockets.get(device).cloned().unwrap_or_else(|| engine.docker_socket());
                command.args(["--engine", "docker", "--docker-socket"]).arg(socket)
            }
            On::Simulated => command.args(["--engine", "simulated"]),
        };
        command
    }

    /// Commits files to a branch, pushes it, and waits until the controller has looked at it: it counts, or waits for
    /// something.
    #[track_caller]
    pub fn push(&self, stage: &str, message: &str, files: &[(&str, &str)]) -> StageStatus {
        self.repo.switch(stage);
        self.repo.commit(message, files);
        self.repo.push(stage);
        self.seen(stage)
    }

    /// Promotes by a merge, and waits until the controller has looked at it.
    #[track_caller]
    pub fn promote(&self, from: &str, to: &str) -> StageStatus {
        self.repo.merge(from, to);
        self.seen(to)
    }

    /// Waits until the controller has looked at the tip of a branch.
    #[track_caller]
    pub fn seen(&self, stage: &str) -> StageStatus {
        let tip = self.repo.tip(stage);
        let name = StageName::new(stage).expect("a stage");
        self.refresh();
        eventually(&format!("the controller has looked at {stage}"), || {
            let status = self.stage(&name);
            let waiting = status.waiting.as_ref().map(|waiting| &waiting.commit);
            let seen = [status.accepted.as_ref(), waiting].into_iter().flatten().any(|commit| commit.as_str() == tip);
            seen.then_some(())
        });
        self.decided();
        self.stage(&name)
    }

    /// Returns when the controller has decided everything that comes of what it was told before: it answers this in its turn.
    #[track_caller]
    pub fn decided(&self) {
        let _: Vec<serde_json::Value> = self.get("/v1/events?limit=1");
    }

    /// Waits until the controller has read, since its start, what counts.
    pub fn has_read(&self) {
        eventually("the controller has read what counts", || {
            let mut stream = UnixStream::connect(self.socket()).ok()?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        });
    }

    /// Makes the controller look at its repo now.
    #[track_caller]
    pub fn refresh(&self) {
        self.act("/v1/refresh", &serde_json::json!({}));
    }

    /// The fleet on one screen.
    #[track_caller]
    pub fn status(&self) -> StatusAnswer {
        self.get("/v1/status")
    }

    /// One stage of the status.
    #[track_caller]
    pub fn stage(&self, stage: &StageName) -> StageStatus {
        self.status().status.stages.into_iter().find(|one| one.stage == *stage).expect("a configured stage")
    }

    /// All devices by name.
    #[track_caller]
    pub fn rows(&self) -> BTreeMap<String, DeviceRow> {
        let rows: Vec<DeviceRow> = self.get("/v1/devices");
        rows.into_iter().map(|row| (row.device.to_string(), row)).collect()
    }

    /// Everything about a device.
    #[track_caller]
    pub fn device(&self, device: &str) -> DeviceDetail {
        self.get(&format!("/v1/devices/{device}"))
    }

    /// Where a device's values come from, and what it waits for.
    #[track_caller]
    pub fn why(&self, device: &str) -> WhyAnswer {
        self.get(&format!("/v1/devices/{device}/why"))
    }

    /// The drift report.
    #[track_caller]
    pub fn drift(&self) -> DriftReport {
        self.get("/v1/drift")
    }

    /// Waits until these devices have what they were assigned, as they say themselves.
    #[track_caller]
    pub fn settled(&self, devices: &[&str]) {
        for device in devices {
            let what = format!("{device} has settled");
            eventually(&what, || is_settled(&self.try_row(device)?).then_some(()));
        }
    }

    /// Waits until these devices have settled on an assignment of the newest commit of a stage that counts.
    #[track_caller]
    pub fn settled_on(&self, stage: &str, devices: &[&str]) {
        let tip = self.repo.tip(stage);
        for device in devices {
            eventually(&format!("{device} has settled on the tip of {stage}"), || {
                let detail = self.try_get::<DeviceDetail>(&format!("/v1/devices/{device}")).ok()?;
                (detail.assignment.as_ref()?.commit.as_str() == tip && is_settled(&detail.row)).then_some(())
            });
        }
    }

    fn try_row(&self, device: &str) -> Option<DeviceRow> {
        Some(self.try_get::<DeviceDetail>(&format!("/v1/devices/{device}")).ok()?.row)
    }

    /// The place of a device's assignment, as `epoch.generation`.
    #[track_caller]
    pub fn assigned(&self, device: &str) -> Option<String> {
        self.device(device).row.assigned.map(|order| order.to_string())
    }

    /// The engine that devices run on.
    pub fn engine(&self) -> &'static Engine {
        match self.on {
            On::Engine(engine) => engine,
            On::Simulated => panic!("this fleet has no real engine"),
        }
    }

    /// Ids of a device's containers by `app/service`, read from the engine itself.
    pub fn containers(&self, device: &str) -> BTreeMap<String, String> {
        let format = "{{.Label \"bellwether.app\"}}/{{.Label \"bellwether.service\"}} {{.ID}}";
        let filter = format!("label=bellwether.device={device}");
        let text = self.engine().docker(&["ps", "--all", "--no-trunc", "--filter", &filter, "--format", format]);
        text.lines().filter_map(|line| line.split_once(' ')).map(|(name, id)| (name.into(), id.into())).collect()
    }

    /// What a service of a device runs, for people: its state, its image's digest, and its environment.
    #[track_caller]
    pub fn show(&self, device: &str, service: &str) -> String {
        let id = &self.containers(device)[service];
        self.engine().docker(&[
            "inspect",
            "--format",
            "{{.State.Status}} {{.Config.Image}}{{range .Config.Env}} {{.}}{{end}}",
            id,
        ])
    }

    /// What a device has found before mending it, so far.
    #[track_caller]
    pub fn found(&self, device: &str) -> Vec<Found> {
        self.device(device).found
    }

    /// Waits until a device has found differences other than `before`, and has mended them; each as a line.
    #[track_caller]
    pub fn mended(&self, device: &str, before: &[Found]) -> Vec<String> {
        eventually(&format!("{device} finds and mends what was changed by hand"), || {
            let detail = self.try_get::<DeviceDetail>(&format!("/v1/devices/{device}")).ok()?;
            let new: Vec<&Found> = detail.found.iter().filter(|found| !before.contains(found)).collect();
            (!new.is_empty() && is_settled(&detail.row)).then(|| new.into_iter().map(found_line).collect())
        })
    }

    /// The controller's authority, as devices would be given it.
    pub fn ca_file(&self) -> PathBuf {
        self.data_dir().join("keys/ca.crt")
    }
}

impl Drop for Fleet {
    /// Leaves the shared engine as it was.
    fn drop(&mut self) {
        let devices: Vec<String> = self.agents.keys().cloned().collect();
        self.agents.clear();
        self.controller = None;
        if let On::Engine(engine) = self.on {
            for device in devices {
                remove_all_of(engine, &device);
            }
        }
    }
}

/// Removes everything on an engine that carries a device's label.
pub fn remove_all_of(engine: &Engine, device: &str) {
    let label = format!("label=bellwether.device={device}");
    let removals = [
        (["ps", "--all"].as_slice(), ["rm", "--force", "--volumes"].as_slice()),
        (&["network", "ls"], &["network", "rm"]),
        (&["volume", "ls"], &["volume", "rm"]),
    ];
    for (list, remove) in removals {
        let listed = engine.try_docker(&[list, &["--quiet", "--filter", label.as_str()]].concat()).unwrap_or_default();
        let ids: Vec<&str> = listed.lines().collect();
        if !ids.is_empty() {
            let _ = engine.try_docker(&[remove, &ids].concat());
        }
    }
}

/// Whether a device has what it was assigned, as it says itself.
pub fn is_settled(row: &DeviceRow) -> bool {
    row.assigned.is_some()
        && row.observed == row.assigned
        && row.phase == Some(Phase::Settled)
        && row.drift == Verdict::InSync
}

/// One difference as a line: what, wanted, found.
pub fn found_line(found: &Found) -> String {
    let difference = &found.difference;
    let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "(nothing)".to_owned());
    let (layer, subject) = (difference.layer.name(), &difference.subject);
    format!("{layer}: {subject}: wanted {}, found {}", side(&difference.wanted), side(&difference.found))
}

/// Runs a command of `bellwether` to its end: what it printed and its status.
pub fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("start bellwether");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Copies a directory, as a backup would while nobody writes.
pub fn copy_directory(from: &Path, to: &Path) {
    output_of(run().command("cp").args(["-a", "--"]).arg(from).arg(to)).expect("copy a directory");
}
