//! A controller and its agents as processes that can be struck at any moment.

use super::chance::{Chance, Moment};
use super::witness::Witness;
use crate::harness::git::FleetRepo;
use crate::harness::process::{BELLWETHER, BELLWETHER_AGENT, Running, eventually, program, was_killed, within};
use crate::harness::run::{free_port, run};
use bellwether::cli::client::Client;
use bellwether::domain::assignment::Mark;
use bellwether::domain::drift::Verdict;
use bellwether::domain::fleet::TokenBound;
use bellwether::domain::ids::DeviceId;
use bellwether::domain::overview::device::{DeviceDetail, DeviceRow};
use bellwether::domain::overview::drift::DriftReport;
use bellwether::domain::reported::Phase;
use bellwether::protocol::v1::operator::{Done, StatusAnswer, TokenAnswer, TokenRequest};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The stages of every fleet here, least gated first.
pub const STAGES: [&str; 3] = ["main", "canary", "production"];

/// A struck process may stay down for so long.
const DOWN: Duration = Duration::from_millis(120);

/// What the devices run their services on.
#[derive(Clone)]
pub enum Engine {
    /// A file.
    Simulated,
    /// The one behind this socket.
    Docker(PathBuf),
}

/// Who is struck.
#[derive(Clone, Debug)]
pub enum Victim {
    /// The controller.
    Controller,
    /// The agent of one device.
    Agent(DeviceId),
    /// All of them, as by a power cut.
    Everybody,
}

/// How often whom.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strikes {
    /// The controller.
    pub controller: u32,
    /// Any agent.
    pub agents: u32,
}

/// A fleet of processes.
pub struct Fleet {
    folder: PathBuf,
    /// Its repo.
    pub repo: FleetRepo,
    engine: Engine,
    devices: BTreeSet<DeviceId>,
    port: u16,
    client: Client,
    runtime: tokio::runtime::Runtime,
    token: Option<String>,
    controller: Option<Running>,
    agents: BTreeMap<DeviceId, Running>,
    /// Who saw it all.
    pub witness: Witness,
    /// What was done to it.
    pub strikes: Strikes,
}

impl Fleet {
    /// A fleet whose repo has these files on every stage. Nothing runs yet.
    pub fn new(name: &str, files: &[(&str, &str)], devices: BTreeSet<DeviceId>, engine: Engine) -> Self {
        let repo = FleetRepo::new(&format!("{name}-repo"));
        repo.commit("Begin the fleet", files);
        repo.push(STAGES[0]);
        for pair in STAGES.windows(2) {
            repo.merge(pair[0], pair[1]);
        }
        let folder = run().scratch(name);
        let port = free_port();
        let configuration = serde_json::json!({
            "fleet": "lindenhof",
            "repo": repo.url(),
            "stages": STAGES,
            "data_dir": folder.join("controller"),
            "socket": folder.join("controller.sock"),
            "listen": format!("127.0.0.1:{port}"),
            "poll_secs": 1,
        });
        // JSON is YAML as well.
        std::fs::write(folder.join("bellwether.yml"), configuration.to_string()).expect("write a configuration");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
        Self {
            client: Client::unix(&folder.join("controller.sock")).expect("a client"),
            folder,
            repo,
            engine,
            devices,
            port,
            runtime,
            token: None,
            controller: None,
            agents: BTreeMap::new(),
            witness: Witness::default(),
            strikes: Strikes::default(),
        }
    }

    /// Starts the controller.
    pub fn start_controller(&mut self) {
        let mut command = program(BELLWETHER);
        command.arg("serve").arg("--config").arg(self.folder.join("bellwether.yml"));
        self.controller = Some(Running::start("controller", command));
    }

    /// Waits until the controller answers.
    pub fn until_ready(&mut self) -> StatusAnswer {
        eventually("the controller answers", || {
            self.all_must_run();
            self.get("/v1/status").ok()
        })
    }

    /// Makes a token for all devices, and starts their agents.
    pub fn start_agents(&mut self) {
        let bound = TokenBound::Names(self.devices.clone());
        let uses = u32::try_from(self.devices.len()).expect("a few devices");
        let request = TokenRequest { bound, uses, valid_secs: 3600 };
        let token: TokenAnswer =
            self.runtime.block_on(self.client.post("/v1/tokens", &request)).expect("the controller makes a token");
        self.token = Some(token.token);
        for device in self.devices.clone() {
            self.start_agent(&device);
        }
    }

    fn start_agent(&mut self, device: &DeviceId) {
        let mut command = program(BELLWETHER_AGENT);
        command.arg("run").arg("--state-dir").arg(self.state(device));
        command.args(["--server", &format!("https://localhost:{}", self.port), "--device", device.as_str()]);
        command.args([
            "--poll-interval-secs",
            "1",
            "--look-interval-secs",
            "1",
            "--os",
            "simulated",
            "--os-soak-secs",
            "1",
        ]);
        command.args(["--token", self.token.as_deref().expect("a token was made")]);
        match &self.engine {
            Engine::Simulated => command.args(["--engine", "simulated"]),
            Engine::Docker(socket) => {
                command.args(["--host", "simulated", "--engine", "docker", "--docker-socket"]).arg(socket)
            }
        };
        self.agents.insert(device.clone(), Running::start(device.as_str(), command));
    }

    /// The state directory of a device's agent.
    pub fn state(&self, device: &DeviceId) -> PathBuf {
        self.folder.join("devices").join(device.as_str())
    }

    /// The controller's database.
    pub fn database(&self) -> PathBuf {
        self.folder.join("controller/bellwether.db")
    }

    /// Asks the controller.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, bellwether::cli::client::ClientError> {
        self.runtime.block_on(self.client.get(path))
    }

    /// Tells the controller of a push. A dead one is not told, and looks by itself when it is back.
    pub fn refresh(&self) {
        let _: Result<Done, _> = self.runtime.block_on(self.client.post("/v1/refresh", &serde_json::json!({})));
    }

    /// Waits for a moment in somebody's life.
    pub fn wait_for(&self, victim: &Victim, moment: Moment) {
        match moment {
            Moment::After(after) => {
                within(after, || false);
            }
            Moment::AtNextWrite(patience) => {
                let before = self.written(victim);
                within(patience, || self.written(victim) != before);
            }
        }
    }

    /// Kills somebody, leaves them down for a while, starts them again, and looks at what they left behind.
    pub fn kill(&mut self, victim: &Victim, chance: &mut Chance) {
        // Mostly back at once, sometimes late enough for the others to notice.
        let down = if chance.below(3) == 0 { chance.wait(DOWN) } else { Duration::ZERO };
        let agents: Vec<DeviceId> = match victim {
            Victim::Controller => Vec::new(),
            Victim::Agent(device) => vec![device.clone()],
            Victim::Everybody => self.agents.keys().cloned().collect(),
        };
        let controller = matches!(victim, Victim::Controller | Victim::Everybody);
        if controller && let Some(running) = &mut self.controller {
            kill(running);
            self.strikes.controller += 1;
        }
        for device in &agents {
            if let Some(running) = self.agents.get_mut(device) {
                kill(running);
                self.strikes.agents += 1;
            }
        }
        self.look_at_ledgers();
        within(down, || false);
        if controller {
            self.start_controller();
        }
        for device in &agents {
            self.start_agent(device);
        }
        self.look();
    }

    /// Kills a device's agent, moves its ledger away, and starts it again.
    pub fn lose_ledger(&mut self, device: &DeviceId) {
        self.agents.get_mut(device).expect("an agent runs").kill();
        let ledger = self.state(device).join("ledger");
        std::fs::rename(&ledger, ledger.with_extension("lost")).expect("move a ledger away");
        self.witness.forget_ledger(device);
        self.start_agent(device);
    }

    /// What a victim has on its disk, as far as it can be seen from times and lengths.
    fn written(&self, victim: &Victim) -> Vec<Option<(u64, SystemTime)>> {
        let of = |folder: &Path, names: &[&str]| -> Vec<_> {
            names.iter().map(|name| state_of(&folder.join(name))).collect()
        };
        let controller =
            || of(&self.folder.join("controller"), &["bellwether.db", "bellwether.db-wal", "keys", "mirror.git"]);
        let agent =
            |device: &DeviceId| of(&self.state(device), &["ledger", "ledger.new", "identity.json", "engine/journal"]);
        match victim {
            Victim::Controller => controller(),
            Victim::Agent(device) => agent(device),
            Victim::Everybody => self.devices.iter().flat_map(agent).chain(controller()).collect(),
        }
    }

    /// Shows the witness all that can be seen now.
    pub fn look(&mut self) {
        self.look_at_ledgers();
        for device in self.devices.clone() {
            // A controller that is being killed answers nothing; that is nothing to remember.
            let Ok(detail) = self.get::<DeviceDetail>(&format!("/v1/devices/{device}")) else { continue };
            assert_eq!(detail.conflict, None, "{device}");
            let mark = detail.assignment.map(|one| Mark { order: one.order, digest: one.digest });
            self.witness.hear_controller(&device, mark);
        }
    }

    fn look_at_ledgers(&mut self) {
        for device in &self.devices {
            self.witness.look_into_ledger(device, &self.folder.join("devices").join(device.as_str()));
        }
    }

    /// Waits until every device has reached what it was assigned, the drift report is clean, and `more` is true of the fleet as
    /// well; looks all the while.
    pub fn until_settled(&mut self, what: &str, mut more: impl FnMut(&Self, &[DeviceRow]) -> bool) {
        eventually(what, || {
            self.all_must_run();
            self.look();
            let rows: Vec<DeviceRow> = self.get("/v1/devices").ok()?;
            let settled = rows.len() == self.devices.len() && rows.iter().all(is_settled) && more(self, &rows);
            // What was settled when the rows were read may have been struck before, and say so only now.
            let report: DriftReport = self.get("/v1/drift").ok()?;
            (settled && (report.totals.drifted, report.totals.unknown) == (0, 0)).then_some(())
        });
    }

    /// Processes end only when they are struck.
    fn all_must_run(&mut self) {
        for running in self.controller.iter_mut().chain(self.agents.values_mut()) {
            if let Some(status) = running.try_status() {
                panic!("a process ended by itself with {status}:\n{}", running.log());
            }
        }
    }

    /// Asks everybody to stop, agents first.
    pub fn stop(&mut self) {
        for (device, running) in &mut self.agents {
            let status = running.terminate();
            assert!(status.success(), "the agent of {device} stops with {status}:\n{}", running.log());
        }
        self.agents.clear();
        if let Some(mut controller) = self.controller.take() {
            let status = controller.terminate();
            assert!(status.success(), "the controller stops with {status}:\n{}", controller.log());
        }
    }
}

fn kill(running: &mut Running) {
    running.kill();
    let status = running.status();
    assert!(was_killed(status), "it ended by itself with {status} before it was struck:\n{}", running.log());
}

fn is_settled(row: &DeviceRow) -> bool {
    row.assigned.is_some()
        && row.observed == row.assigned
        && row.phase == Some(Phase::Settled)
        && row.drift == Verdict::InSync
}

fn state_of(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
