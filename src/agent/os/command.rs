//! An updater that is a program of the device, called by the contract of `docs/os-command.md`.

use super::images::Images;
use super::program::{Ended, Program};
use super::reboot::Rebooter;
use crate::domain::device::os::{FoundOs, Operation, pending};
use crate::domain::ids::Version;
use crate::domain::reported::{MAX_SLOTS, ObservedOs, ObservedSlot};
use crate::domain::spec::{OsSpec, Transfer};
use crate::ports::engine::Answer;
use crate::ports::os::{Os, OsError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

/// The version of the contract that this agent speaks.
pub const CONTRACT: u32 = 1;
/// How long a status may take: it is asked for at every look.
const STATUS_LIMIT: Duration = Duration::from_secs(30);
/// How long an installation may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// How long everything else may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The exit code of an updater that will never take this image.
const REFUSED: i32 = 2;
/// The exit code of an updater that is at work for somebody else.
const BUSY: i32 = 3;

/// An updater that is a program.
#[derive(Clone, Debug)]
pub struct CommandOs {
    program: Program,
    images: Images,
    rebooter: Rebooter,
}

/// What the program prints when it is asked for its status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    contract: u32,
    version: Version,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    booted: Option<String>,
    #[serde(default)]
    primary: Option<String>,
    #[serde(default)]
    slots: BTreeMap<String, ObservedSlot>,
    /// What runs after the next boot, on devices without slots.
    #[serde(default)]
    pending: Option<Version>,
    #[serde(default)]
    installing: Option<Installing>,
    #[serde(default)]
    last_error: Option<String>,
}

/// An installation that goes on by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Installing {
    #[serde(default)]
    percent: Option<u8>,
}

impl CommandOs {
    /// The updater behind a program.
    pub fn new(program: Program, images: Images, rebooter: Rebooter) -> Self {
        Self { program, images, rebooter }
    }

    async fn look_now(&self) -> Result<FoundOs, OsError> {
        let unavailable = |reason: String| OsError::Unavailable { reason };
        let boot_id = self.rebooter.boot_id()?;
        let file = self.images.look().map_err(|error| unavailable(error.to_string()))?;
        let ended = self.call("status", BTreeMap::new(), STATUS_LIMIT).await.map_err(unavailable)?;
        if ended.code != Some(0) {
            return Err(unavailable(ended.told()));
        }
        let status: Status = serde_json::from_slice(&ended.output)
            .map_err(|error| unavailable(format!("its status is not as the contract has it: {error}")))?;
        let Status { contract, version, name, booted, primary, slots, pending: next, installing, last_error } = status;
        if contract != CONTRACT {
            return Err(unavailable(format!("it speaks contract {contract}, this agent {CONTRACT}")));
        }
        if slots.len() > MAX_SLOTS {
            return Err(unavailable(format!("it has more than {MAX_SLOTS} slots")));
        }
        let running = ObservedOs { name, version, booted, primary, slots };
        let operation = match installing {
            Some(Installing { percent }) => Operation::Installing { percent: percent.map(|percent| percent.min(100)) },
            None => Operation::Idle { last_error },
        };
        let pending = next.or_else(|| pending(&running));
        Ok(FoundOs { running, operation, boot_id, file, pending })
    }

    async fn install_now(&self, os: &OsSpec) -> Result<(), OsError> {
        let mut environment = BTreeMap::from([
            ("BELLWETHER_OS_NAME", OsString::from(&os.name)),
            ("BELLWETHER_OS_VERSION", OsString::from(os.version.as_str())),
        ]);
        environment.extend(os.url.as_ref().map(|url| ("BELLWETHER_OS_URL", url.into())));
        environment.extend(os.digest.map(|digest| ("BELLWETHER_OS_DIGEST", digest.to_string().into())));
        if os.transfer == Transfer::Download {
            environment.extend(self.images.whole(os).map(|path| ("BELLWETHER_OS_FILE", path.into_os_string())));
        }
        let (name, version) = (os.name.clone(), os.version.clone());
        match self.call("install", environment, INSTALL_LIMIT).await {
            Ok(ended) => match ended.code {
                Some(0) => Ok(()),
                Some(REFUSED) => Err(OsError::Refused { name, version, reason: ended.told() }),
                Some(BUSY) => Err(OsError::Busy { reason: ended.told() }),
                Some(_) | None => Err(OsError::Install { name, version, reason: ended.told() }),
            },
            Err(reason) => Err(OsError::Install { name, version, reason }),
        }
    }

    async fn mark(&self, attempted: &'static str, verb: &'static str) -> Result<(), OsError> {
        let failed = |reason: String| OsError::Mark { attempted, reason };
        let ended = self.call(verb, BTreeMap::new(), LIMIT).await.map_err(failed)?;
        match ended.code {
            Some(0) => Ok(()),
            Some(BUSY) => Err(OsError::Busy { reason: ended.told() }),
            Some(_) | None => Err(failed(ended.told())),
        }
    }

    async fn call(
        &self,
        verb: &str,
        mut environment: BTreeMap<&str, OsString>,
        limit: Duration,
    ) -> Result<Ended, String> {
        environment.insert("BELLWETHER_OS_CONTRACT", CONTRACT.to_string().into());
        self.program.run(&[verb], &environment, limit).await
    }
}

impl Os for CommandOs {
    fn look(&self) -> Answer<'_, Option<FoundOs>, OsError> {
        Box::pin(async { self.look_now().await.map(Some) })
    }

    fn fetch<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError> {
        Box::pin(self.images.fetch(os))
    }

    fn install<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError> {
        Box::pin(self.install_now(os))
    }

    fn confirm(&self) -> Answer<'_, (), OsError> {
        Box::pin(self.mark("keep the running OS", "confirm"))
    }

    fn fall_back(&self) -> Answer<'_, (), OsError> {
        Box::pin(self.mark("have the OS from before booted", "fall-back"))
    }

    fn keep(&self) -> Answer<'_, (), OsError> {
        Box::pin(self.mark("have the running OS booted next", "keep"))
    }

    fn discard(&self) -> Answer<'_, (), OsError> {
        Box::pin(async { self.images.discard().map_err(|error| OsError::Unavailable { reason: error.to_string() }) })
    }

    fn reboot(&self) -> Answer<'_, (), OsError> {
        Box::pin(self.rebooter.reboot())
    }
}
