//! An OS updater that lives in a file: the version that runs, and how often something was installed.

use crate::agent::faults::{FaultFile, Faults};
use crate::agent::files::{read_bounded, write_durably};
use crate::domain::reported::ObservedOs;
use crate::domain::spec::OsSpec;
use crate::ports::engine::Answer;
use crate::ports::engine::fake::FakeOs;
use crate::ports::os::{Os, OsError};
use std::io;
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes.
const MAX_STATE_BYTES: usize = 64 << 10;

/// A simulated OS updater in a directory.
#[derive(Clone, Debug)]
pub struct SimulatedOs {
    directory: PathBuf,
}

impl SimulatedOs {
    /// The updater in this directory, which is made if need be.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// What it holds now.
    pub fn contents(&self) -> io::Result<FakeOs> {
        match read_bounded(&self.file(), MAX_STATE_BYTES)? {
            Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
            None => Ok(FakeOs::default()),
        }
    }

    /// Puts failures in the way; their operations are `look` and `install`.
    pub fn set_faults(&self, faults: &Faults) -> io::Result<()> {
        FaultFile::in_directory(&self.directory).write(faults)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("os.json")
    }

    fn struck(&self, operation: &str) -> io::Result<Option<String>> {
        FaultFile::in_directory(&self.directory).strike(operation)
    }

    fn look_now(&self) -> Result<Option<ObservedOs>, OsError> {
        if let Some(reason) = self.struck("look").map_err(unavailable)? {
            return Err(OsError::Unavailable { reason });
        }
        Ok(Some(self.contents().map_err(unavailable)?.running))
    }

    fn install_now(&self, wanted: &OsSpec) -> Result<(), OsError> {
        if let Some(reason) = self.struck("install").map_err(unavailable)? {
            let (name, version) = (wanted.name.clone(), wanted.version.to_string());
            return Err(OsError::Install { name, version, reason });
        }
        let mut os = self.contents().map_err(unavailable)?;
        os.install(wanted)?;
        let bytes = serde_json::to_vec(&os).map_err(|error| unavailable(error.into()))?;
        write_durably(&self.file(), &bytes).map_err(unavailable)
    }
}

fn unavailable(error: io::Error) -> OsError {
    OsError::Unavailable { reason: error.to_string() }
}

impl Os for SimulatedOs {
    fn look(&self) -> Answer<'_, Option<ObservedOs>, OsError> {
        Box::pin(async { self.look_now() })
    }

    fn install<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError> {
        Box::pin(async { self.install_now(os) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::faults::Fault;

    #[test]
    fn an_installed_version_runs_after_a_restart_of_the_agent() {
        let directory = tempfile::tempdir().expect("a directory");
        let version = "2026.11".parse().expect("a version");
        let wanted = OsSpec { name: "kiosk-os".to_owned(), version, url: None, digest: None };
        let os = SimulatedOs::open(directory.path()).expect("opened");
        let fault = Fault { operation: "install".to_owned(), after: 0, times: 1, message: "bad block".to_owned() };
        os.set_faults(&Faults { rules: vec![fault] }).expect("written");
        assert!(os.install_now(&wanted).is_err());
        assert_eq!(os.contents().expect("readable"), FakeOs::default());
        os.install_now(&wanted).expect("installed");
        let again = SimulatedOs::open(directory.path()).expect("opened");
        assert_eq!(again.look_now().expect("answers").map(|os| os.version), Some(wanted.version));
    }
}
