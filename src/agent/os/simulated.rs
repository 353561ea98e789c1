//! An OS updater that lives in a file: two slots, and a boot loader that boots the one or the other.

use crate::agent::faults::{FaultFile, Faults};
use crate::agent::files::{read_bounded, write_durably};
use crate::domain::device::action::{Action, RebootWhy};
use crate::domain::device::os::FoundOs;
use crate::domain::ids::Version;
use crate::domain::spec::OsSpec;
use crate::ports::engine::Answer;
use crate::ports::os::fake::FakeOs;
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

    /// Puts failures in the way; their operations are `look`, `install` and `boot` (an image
    /// that does not start).
    pub fn set_faults(&self, faults: &Faults) -> io::Result<()> {
        FaultFile::in_directory(&self.directory).write(faults)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("os.json")
    }

    fn struck(&self, operation: &str) -> io::Result<Option<String>> {
        FaultFile::in_directory(&self.directory).strike(operation)
    }

    fn look_now(&self) -> Result<Option<FoundOs>, OsError> {
        if let Some(reason) = self.struck("look").map_err(unavailable)? {
            return Err(OsError::Unavailable { reason });
        }
        Ok(Some(self.contents().map_err(unavailable)?.look()))
    }

    fn perform_now(&self, action: &Action) -> Result<(), OsError> {
        if let Action::InstallOs { os: wanted } = action
            && let Some(reason) = self.struck("install").map_err(unavailable)?
        {
            let (name, version) = (wanted.name.clone(), wanted.version.clone());
            return Err(OsError::Install { name, version, reason });
        }
        let mut os = self.contents().map_err(unavailable)?;
        if let Action::Reboot { why: _ } = action {
            // What a fault calls a reboot's failure is an image that does not start.
            if self.struck("boot").map_err(unavailable)?.is_some() {
                os.duds.extend(os.look().pending);
            }
        }
        os.perform(action)?;
        let bytes = serde_json::to_vec(&os).map_err(|error| unavailable(error.into()))?;
        write_durably(&self.file(), &bytes).map_err(unavailable)
    }

    fn perform<'a>(&'a self, action: Action) -> Answer<'a, (), OsError> {
        Box::pin(async move { self.perform_now(&action) })
    }

    /// The version that runs, for actions that name it.
    fn running(&self) -> Result<Version, OsError> {
        Ok(self.contents().map_err(unavailable)?.running.version)
    }
}

fn unavailable(error: io::Error) -> OsError {
    OsError::Unavailable { reason: error.to_string() }
}

impl Os for SimulatedOs {
    fn look(&self) -> Answer<'_, Option<FoundOs>, OsError> {
        Box::pin(async { self.look_now() })
    }

    fn fetch<'a>(&'a self, _os: &'a OsSpec) -> Answer<'a, (), OsError> {
        Box::pin(async { Ok(()) })
    }

    fn install<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError> {
        self.perform(Action::InstallOs { os: os.clone() })
    }

    fn confirm(&self) -> Answer<'_, (), OsError> {
        Box::pin(async { self.perform_now(&Action::ConfirmOs { version: self.running()? }) })
    }

    fn fall_back(&self) -> Answer<'_, (), OsError> {
        Box::pin(async { self.perform_now(&Action::FallBackOs { version: self.running()? }) })
    }

    fn keep(&self) -> Answer<'_, (), OsError> {
        self.perform(Action::KeepOs)
    }

    fn discard(&self) -> Answer<'_, (), OsError> {
        Box::pin(async { Ok(()) })
    }

    fn reboot(&self) -> Answer<'_, (), OsError> {
        Box::pin(async { self.perform_now(&Action::Reboot { why: RebootWhy::Try(self.running()?) }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::faults::Fault;

    fn fault(operation: &str) -> Faults {
        let (operation, message) = (operation.to_owned(), "bad block".to_owned());
        Faults { rules: vec![Fault { operation, after: 0, times: 1, message }] }
    }

    #[test]
    fn an_installed_version_runs_after_a_reboot_and_over_restarts_of_the_agent() {
        let directory = tempfile::tempdir().expect("a directory");
        let wanted = OsSpec::named("kiosk-os", "2026.11".parse().expect("a version"));
        let install = Action::InstallOs { os: wanted.clone() };
        let reboot = Action::Reboot { why: RebootWhy::Try(wanted.version.clone()) };
        let os = SimulatedOs::open(directory.path()).expect("opened");
        os.set_faults(&fault("install")).expect("written");
        assert!(os.perform_now(&install).is_err());
        assert_eq!(os.contents().expect("readable"), FakeOs::default());
        os.perform_now(&install).expect("installed");
        os.perform_now(&reboot).expect("booted");
        let again = SimulatedOs::open(directory.path()).expect("opened");
        assert_eq!(again.running().expect("answers"), wanted.version);
    }

    #[test]
    fn an_image_that_does_not_start_leaves_the_version_from_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let wanted = OsSpec::named("kiosk-os", "2026.11".parse().expect("a version"));
        let os = SimulatedOs::open(directory.path()).expect("opened");
        os.set_faults(&fault("boot")).expect("written");
        os.perform_now(&Action::InstallOs { os: wanted.clone() }).expect("installed");
        os.perform_now(&Action::Reboot { why: RebootWhy::Try(wanted.version) }).expect("booted");
        assert_eq!(os.running().expect("answers").as_str(), "factory");
        let found = os.look_now().expect("answers").expect("an updater");
        assert_eq!((found.boot_id.as_str(), found.pending), ("boot-1", None));
    }
}
