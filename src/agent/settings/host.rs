//! What the device's owner lets the fleet repo do to the host.

use super::{EngineKind, Inputs, SettingsError};
use crate::agent::host::linux::LinuxSettings;
use crate::agent::os::reboot::BOOT_ID_FILE;
use std::path::{Path, PathBuf};

/// Who sets the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// Nobody.
    None,
    /// The agent, on Linux.
    Linux(LinuxSettings),
    /// A host that lives in the state directory.
    Simulated,
}

/// Settings that mean something with `host: linux` alone.
const OF_LINUX: [&str; 4] = ["host_root", "host_files", "host_hooks", "allow_sysctl"];

impl Inputs {
    pub(super) fn host(&self, engine: &EngineKind, reboot: &[String]) -> Result<HostKind, SettingsError> {
        let usual = match engine {
            EngineKind::Docker { .. } => "none",
            EngineKind::Simulated => "simulated",
        };
        let kind = self.text("host").unwrap_or(usual);
        if kind == "linux" {
            return Ok(HostKind::Linux(LinuxSettings {
                root: self.text("host_root").unwrap_or("/").into(),
                files: self.directory("host_files")?,
                hooks: self.directory("host_hooks")?,
                sysctl: self.prefixes()?,
                boot_id_file: self.text("boot_id_file").unwrap_or(BOOT_ID_FILE).into(),
                reboot: reboot.to_vec(),
            }));
        }
        if let Some(key) = OF_LINUX.into_iter().find(|key| self.text(key).is_some()) {
            return Err(SettingsError::Needs { key, needs: "host: linux" });
        }
        match kind {
            "none" => Ok(HostKind::None),
            "simulated" => Ok(HostKind::Simulated),
            other => Err(self.bad("host", format!("{other:?} is none of linux, simulated and none"))),
        }
    }

    /// What the repo writes or runs, or a failure carries, must not depend on where the agent stands.
    pub(super) fn directory(&self, key: &'static str) -> Result<Option<PathBuf>, SettingsError> {
        match self.text(key) {
            Some(path) if !Path::new(path).is_absolute() => Err(self.bad(key, "it is no absolute path".to_owned())),
            path => Ok(path.map(PathBuf::from)),
        }
    }

    fn prefixes(&self) -> Result<Vec<String>, SettingsError> {
        let text = self.text("allow_sysctl").unwrap_or_default();
        let all: Vec<&str> = text.split(',').map(str::trim).filter(|prefix| !prefix.is_empty()).collect();
        let is_plain = |prefix: &&str| {
            prefix.starts_with(|c: char| c.is_ascii_alphanumeric())
                && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        match all.iter().find(|prefix| !is_plain(prefix)) {
            Some(odd) => Err(self.bad("allow_sysctl", format!("{odd:?} is no beginning of a name such as net.ipv4."))),
            None => Ok(all.into_iter().map(str::to_owned).collect()),
        }
    }
}
