//! How a device is rebooted, and how its boots are told apart.

use super::program::Program;
use crate::agent::files::read_bounded;
use crate::ports::os::OsError;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long the reboot may take to be asked for.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest name of a boot, in bytes.
const MAX_BOOT_ID_BYTES: usize = 64;
/// Where the kernel keeps the name of a boot.
pub const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Reboots a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebooter {
    /// What reboots it; `None` asks systemd over D-Bus.
    pub command: Option<Program>,
    /// The file with the name of the boot.
    pub boot_id_file: PathBuf,
}

impl Rebooter {
    /// The name of this boot.
    pub fn boot_id(&self) -> Result<String, OsError> {
        let unavailable = |reason: String| OsError::Unavailable {
            reason: format!("this boot has no name in {}: {reason}", self.boot_id_file.display()),
        };
        let bytes =
            read_bounded(&self.boot_id_file, MAX_BOOT_ID_BYTES).map_err(|error| unavailable(error.to_string()))?;
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default().trim().to_owned();
        if text.is_empty() { Err(unavailable("it is empty".to_owned())) } else { Ok(text) }
    }

    /// Has the device rebooted.
    pub async fn reboot(&self) -> Result<(), OsError> {
        let refused = |reason: String| OsError::Reboot { reason };
        match &self.command {
            Some(command) => match command.run(&[], &BTreeMap::new(), LIMIT).await.map_err(refused)? {
                ended if ended.code == Some(0) => Ok(()),
                ended => Err(refused(ended.told())),
            },
            None => super::bus::reboot(LIMIT).await.map_err(refused),
        }
    }
}
