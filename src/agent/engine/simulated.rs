//! A container engine that lives in a directory: for demonstrations, tests and machines without a real one.
//!
//! | file | what it holds |
//! |---|---|
//! | `engine.json` | containers, volumes, networks and images: the truth, read anew for every operation |
//! | `journal` | one line of JSON per operation that was carried out |
//! | `faults.json` | failures to come, if any |
//!
//! `engine.json` may be changed from outside, as a person would change a real engine; [`SimulatedEngine::tamper`] does it
//! under the lock.

use crate::agent::faults::{FaultFile, Faults};
use crate::agent::files::{lock_waiting, read_bounded, write_whole};
use crate::domain::device::action::{Action, Why};
use crate::domain::device::progress::Progress;
use crate::domain::device::steps::Observed;
use crate::domain::ids::{AppName, NetworkName, ServiceName, VolumeName};
use crate::domain::spec::{NetworkSpec, ProbeCheck, ServiceSpec};
use crate::domain::time::Timestamp;
use crate::ports::engine::fake::{FakeEngine, Tamper};
use crate::ports::engine::{Answer, Batch, Engine, EngineError, LogBound, ProbeAnswer};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

/// The longest state that is read, in bytes: far more than a device of the largest spec.
const MAX_STATE_BYTES: usize = 64 << 20;

/// A simulated engine in a directory.
#[derive(Clone, Debug)]
pub struct SimulatedEngine {
    directory: PathBuf,
}

/// One operation that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Its number, from 1.
    pub number: u64,
    /// What was done, as logs show actions.
    pub operation: String,
    /// For a container that was made: `app/service` and the digest of its canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

impl SimulatedEngine {
    /// The engine in this directory, which is made if need be.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// What the engine holds now.
    pub fn contents(&self) -> io::Result<FakeEngine> {
        match read_bounded(&self.directory.join("engine.json"), MAX_STATE_BYTES)? {
            Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
            None => Ok(FakeEngine::default()),
        }
    }

    /// Changes something by hand. `false` if there is nothing to change.
    pub fn tamper(&self, tamper: &Tamper) -> io::Result<bool> {
        let _lock = self.lock()?;
        let mut engine = self.contents()?;
        let changed = engine.tamper(tamper);
        self.save(&engine)?;
        Ok(changed)
    }

    /// Puts failures in the way.
    pub fn set_faults(&self, faults: &Faults) -> io::Result<()> {
        let _lock = self.lock()?;
        FaultFile::in_directory(&self.directory).write(faults)
    }

    /// Every operation that was carried out, in order.
    ///
    /// A line is written before the state that it leads to, so a kill in between leaves a line whose number is used again:
    /// the last one with a number counts, and one beyond the state's own count does not.
    pub fn journal(&self) -> io::Result<Vec<JournalEntry>> {
        let carried_out = self.contents()?.operations;
        let file = match File::open(self.directory.join("journal")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries = BTreeMap::new();
        for line in BufReader::new(file).split(b'\n') {
            // The last line of a killed process may be cut short; then its state was not written either.
            if let Ok(entry) = serde_json::from_slice::<JournalEntry>(&line?) {
                entries.insert(entry.number, entry);
            }
        }
        Ok(entries.into_values().filter(|entry| entry.number <= carried_out).collect())
    }

    fn lock(&self) -> io::Result<File> {
        lock_waiting(&self.directory.join("engine.lock"))
    }

    fn save(&self, engine: &FakeEngine) -> io::Result<()> {
        write_whole(&self.directory.join("engine.json"), &serde_json::to_vec(engine)?)
    }

    fn look_now(&self, images: &BTreeSet<String>) -> Result<Observed, EngineError> {
        let _lock = self.lock().map_err(unavailable)?;
        self.strike("look")?;
        Ok(self.contents().map_err(unavailable)?.look(images))
    }

    fn strike(&self, operation: &str) -> Result<(), EngineError> {
        match FaultFile::in_directory(&self.directory).strike(operation).map_err(unavailable)? {
            None => Ok(()),
            Some(reason) if operation == "look" => Err(EngineError::Unavailable { reason }),
            Some(reason) => match operation.strip_prefix("pull ") {
                Some(image) => Err(EngineError::Pull { image: image.to_owned(), reason }),
                None => Err(EngineError::Failed { attempted: "do", subject: operation.to_owned(), reason }),
            },
        }
    }

    fn perform(&self, action: &Action) -> Result<(), EngineError> {
        let _lock = self.lock().map_err(unavailable)?;
        let operation = action.to_string();
        self.strike(&operation)?;
        let before = self.contents().map_err(unavailable)?;
        let mut engine = before.clone();
        engine.perform(action)?;
        let created = engine.creates.iter().find(|(key, count)| before.creates.get(*key) != Some(count));
        let created = created.map(|(key, _)| key.clone());
        let entry = JournalEntry { number: engine.operations, operation, created };
        self.append(&entry).and_then(|()| self.save(&engine)).map_err(unavailable)
    }

    fn purge_now(&self, app: &AppName, volume: &VolumeName) -> Result<(), EngineError> {
        let _lock = self.lock().map_err(unavailable)?;
        let operation = format!("purge volume {volume} of {app}");
        self.strike(&operation)?;
        let mut engine = self.contents().map_err(unavailable)?;
        engine.purge_volume(app, volume);
        let entry = JournalEntry { number: engine.operations, operation, created: None };
        self.append(&entry).and_then(|()| self.save(&engine)).map_err(unavailable)
    }

    /// Changes the engine by something that is no step towards an assignment, with its line in the journal.
    fn change(
        &self,
        operation: &str,
        change: impl FnOnce(&mut FakeEngine) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let _lock = self.lock().map_err(unavailable)?;
        self.strike(operation)?;
        let mut engine = self.contents().map_err(unavailable)?;
        change(&mut engine)?;
        let entry = JournalEntry { number: engine.operations, operation: operation.to_owned(), created: None };
        self.append(&entry).and_then(|()| self.save(&engine)).map_err(unavailable)
    }

    fn append(&self, entry: &JournalEntry) -> io::Result<()> {
        // A line of its own after one that was cut short.
        let mut line = b"\n".to_vec();
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        OpenOptions::new().append(true).create(true).open(self.directory.join("journal"))?.write_all(&line)
    }

    fn answer(&self, action: Action) -> Answer<'static, (), EngineError> {
        let engine = self.clone();
        Box::pin(async move { engine.perform(&action) })
    }
}

fn unavailable(error: io::Error) -> EngineError {
    EngineError::Unavailable { reason: error.to_string() }
}

impl Engine for SimulatedEngine {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn look<'a>(&'a self, images: &'a BTreeSet<String>) -> Answer<'a, Observed, EngineError> {
        Box::pin(async move { self.look_now(images) })
    }

    fn bring<'a>(
        &'a self,
        batch: &'a Batch,
        _tell: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Answer<'a, (), EngineError> {
        self.answer(Action::Pull { image: batch.image.clone() })
    }

    fn create_network<'a>(
        &'a self,
        app: &'a AppName,
        network: &'a NetworkName,
        spec: &'a NetworkSpec,
    ) -> Answer<'a, (), EngineError> {
        let (app, network, spec) = (app.clone(), network.clone(), Box::new(spec.clone()));
        self.answer(Action::CreateNetwork { app, network, spec })
    }

    fn create_volume<'a>(&'a self, app: &'a AppName, volume: &'a VolumeName) -> Answer<'a, (), EngineError> {
        self.answer(Action::CreateVolume { app: app.clone(), volume: volume.clone() })
    }

    fn create_service<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError> {
        let (app, service, spec) = (app.clone(), service.clone(), Box::new(spec.clone()));
        self.answer(Action::CreateService { app, service, spec })
    }

    fn start<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        self.answer(Action::StartService { app: app.clone(), service: service.clone() })
    }

    fn restart<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        let operation = format!("restart {app}/{service}");
        Box::pin(async move { self.change(&operation, |engine| engine.restart(app, service)) })
    }

    fn remove_service<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        // Why is the caller's; the engine only removes.
        self.answer(Action::RemoveService { app: app.clone(), service: service.clone(), why: Why::NotAssigned })
    }

    fn adjust_service<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError> {
        let (app, service, spec) = (app.clone(), service.clone(), Box::new(spec.clone()));
        self.answer(Action::AdjustService { app, service, spec, why: Why::Differs(Vec::new()) })
    }

    fn create_successor<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError> {
        let (app, service, spec) = (app.clone(), service.clone(), Box::new(spec.clone()));
        self.answer(Action::CreateSuccessor { app, service, spec })
    }

    fn start_successor<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        self.answer(Action::StartSuccessor { app: app.clone(), service: service.clone() })
    }

    fn promote<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        self.answer(Action::Promote { app: app.clone(), service: service.clone(), why: Why::NotAssigned })
    }

    fn remove_successor<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        self.answer(Action::RemoveSuccessor { app: app.clone(), service: service.clone() })
    }

    fn probe<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        _check: &'a ProbeCheck,
        _now: Timestamp,
    ) -> Answer<'a, ProbeAnswer, EngineError> {
        Box::pin(async move {
            let engine = self.contents().map_err(unavailable)?;
            Ok(engine.probe(app, service))
        })
    }

    fn remove_image<'a>(&'a self, image: &'a str) -> Answer<'a, (), EngineError> {
        self.answer(Action::RemoveImage { image: image.to_owned() })
    }

    fn logs<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        bound: LogBound,
    ) -> Answer<'a, String, EngineError> {
        Box::pin(async move {
            let _lock = self.lock().map_err(unavailable)?;
            self.contents().map_err(unavailable)?.logs(app, service, bound)
        })
    }

    fn remove_network<'a>(&'a self, app: &'a AppName, network: &'a NetworkName) -> Answer<'a, (), EngineError> {
        self.answer(Action::RemoveNetwork { app: app.clone(), network: network.clone() })
    }

    fn purge_volume<'a>(&'a self, app: &'a AppName, volume: &'a VolumeName) -> Answer<'a, (), EngineError> {
        Box::pin(async move { self.purge_now(app, volume) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::faults::Fault;

    fn engine() -> (tempfile::TempDir, SimulatedEngine) {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = SimulatedEngine::open(directory.path()).expect("opened");
        (directory, engine)
    }

    fn app() -> AppName {
        AppName::new("web").expect("an app name")
    }

    fn network() -> Action {
        let network = NetworkName::default_of_app();
        Action::CreateNetwork { app: app(), network, spec: Box::default() }
    }

    #[test]
    fn what_was_done_is_there_for_the_next_process() {
        let (directory, engine) = engine();
        engine.perform(&network()).expect("done");
        engine.perform(&Action::Pull { image: "a:1".to_owned() }).expect("done");
        let again = SimulatedEngine::open(directory.path()).expect("opened");
        assert_eq!(again.contents().expect("readable"), engine.contents().expect("readable"));
        let journal: Vec<String> =
            again.journal().expect("readable").into_iter().map(|entry| entry.operation).collect();
        assert_eq!(journal, ["create network of web", "pull a:1"]);
    }

    #[test]
    fn a_kill_between_journal_and_state_counts_once() {
        let (_directory, engine) = engine();
        engine.append(&JournalEntry { number: 1, operation: "lost".to_owned(), created: None }).expect("written");
        assert_eq!(engine.journal().expect("readable"), []);
        engine.perform(&network()).expect("done");
        let journal = engine.journal().expect("readable");
        assert_eq!(journal.len(), 1);
        assert_eq!(journal[0].operation, "create network of web");
    }

    #[test]
    fn faults_fail_the_operations_that_they_name_and_then_are_used_up() {
        let (_directory, engine) = engine();
        let fault = Fault { operation: "pull".to_owned(), after: 1, times: 1, message: "no route".to_owned() };
        engine.set_faults(&Faults { rules: vec![fault] }).expect("written");
        let pull = |image: &str| engine.perform(&Action::Pull { image: image.to_owned() });
        assert_eq!(pull("a:1"), Ok(()));
        assert_eq!(engine.perform(&network()), Ok(()));
        assert_eq!(pull("a:2"), Err(EngineError::Pull { image: "a:2".to_owned(), reason: "no route".to_owned() }));
        assert_eq!(pull("a:2"), Ok(()));
    }
}
