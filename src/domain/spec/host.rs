//! What a device's host shall be set to, beside its services.

use crate::domain::digest::Digest;
use crate::domain::ids::{FilePath, HookName, Hostname, SysctlName, ZoneName};
use crate::domain::secret::{SecretRef, SecretText, SecretValues};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// How many files a device may have from its configuration. Each is read at every look.
pub const MAX_HOST_FILES: usize = 64;
/// The longest of them, in bytes, secrets apart: what a text of the fleet repo may be.
pub const MAX_HOST_FILE_BYTES: usize = 32 << 10;
/// All of them together, in bytes: a quarter of the longest spec. More than that belongs into an image.
pub const MAX_HOST_FILES_BYTES: usize = 256 << 10;
/// How many settings of the kernel a device may have from its configuration.
pub const MAX_SYSCTLS: usize = 128;
/// The longest value of one, in bytes.
pub const MAX_SYSCTL_BYTES: usize = 256;
/// How many hooks a device may have.
pub const MAX_HOOKS: usize = 16;

/// Settings of the host and the agent: a closed list, and `x-…` keys that Bellwether hands on without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Seconds between polls when the agent does not long-poll, 1 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_interval_secs: Option<u32>,
    /// Whether the host keeps its logs over a reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_logging: Option<bool>,
    /// The host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// The time zone of the host's clock as people see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<ZoneName>,
    /// Settings of the kernel; blanks in a value are single ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<SysctlName, String>,
    /// Files below the directory that the device gives to them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<FilePath, HostFile>,
    /// Which of the device's own programs run when which settings have changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<HookName, BTreeSet<Trigger>>,
    /// Keys that begin with `x-`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

impl DeviceConfig {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Everything of the host that is set, in a fixed order.
    pub fn subjects(&self) -> Vec<Subject> {
        let Self { poll_interval_secs: _, persistent_logging, hostname, time_zone, sysctl, files, hooks: _, extra: _ } =
            self;
        let single = [
            hostname.as_ref().map(|_| Subject::Hostname),
            time_zone.as_ref().map(|_| Subject::TimeZone),
            persistent_logging.as_ref().map(|_| Subject::PersistentLogging),
        ];
        let sysctl = sysctl.keys().cloned().map(Subject::Sysctl);
        single.into_iter().flatten().chain(sysctl).chain(files.keys().cloned().map(Subject::File)).collect()
    }
}

/// A file of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// Its content, if no secret is in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// Its content, if secrets are in it; `content` is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_content: Option<SecretText>,
    /// Who may do what with it.
    #[serde(default, skip_serializing_if = "FileMode::is_usual")]
    pub mode: FileMode,
}

impl HostFile {
    /// Names the content and tells nothing of secrets in it: they count by their references.
    pub fn key(&self) -> Digest {
        match &self.secret_content {
            None => Digest::of(self.content.as_bytes()),
            Some(text) => {
                let written = serde_json::to_string(text).expect("a text with secrets is a JSON list of its pieces");
                Digest::of(written.as_bytes())
            }
        }
    }

    /// The content with values in place of references; the first reference without a value otherwise.
    pub fn fill(&self, values: &SecretValues) -> Result<String, SecretRef> {
        match &self.secret_content {
            None => Ok(self.content.clone()),
            Some(text) => text.fill(values).map_err(SecretRef::clone),
        }
    }

    /// How long it is written, in bytes, with references in the place of secrets.
    pub fn written_bytes(&self) -> usize {
        self.content.len() + self.secret_content.as_ref().map_or(0, |text| text.to_string().len())
    }
}

/// Permissions of a file, up to 0777.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileMode(u16);

/// The text is not a [`FileMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mode is three octal digits, such as 644, perhaps with a 0 before them")]
pub struct FileModeError;

impl FileMode {
    /// All may read, the owner may write.
    pub const USUAL: Self = Self(0o644);
    /// Nobody but the owner may read.
    pub const PRIVATE: Self = Self(0o600);

    /// The permission bits of whatever the file system says.
    pub fn of_bits(bits: u32) -> Self {
        Self((bits & 0o7777) as u16)
    }

    /// As system calls take it.
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }

    fn is_usual(&self) -> bool {
        *self == Self::USUAL
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self::USUAL
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FileMode {
    type Err = FileModeError;
    fn from_str(text: &str) -> Result<Self, FileModeError> {
        let digits = if text.len() == 4 { text.strip_prefix('0').ok_or(FileModeError)? } else { text };
        let fits = digits.len() == 3 && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let bits = fits.then(|| u16::from_str_radix(digits, 8).ok()).flatten();
        bits.map(Self).ok_or(FileModeError)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        // What is found on a device may have more bits than the repo can ask for.
        let bits = u16::from_str_radix(&text, 8).ok().filter(|bits| *bits <= 0o7777);
        bits.map(Self).ok_or(FileModeError).map_err(serde::de::Error::custom)
    }
}

/// One thing of the host that is set. Written as in `config`: `hostname`, `sysctl/net.ipv4.ip_forward`, `files/chrony.conf`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The host's name.
    Hostname,
    /// Its time zone.
    TimeZone,
    /// Whether logs are kept over a reboot.
    PersistentLogging,
    /// A setting of the kernel.
    Sysctl(SysctlName),
    /// A file.
    File(FilePath),
}

/// What a hook runs for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// This; for a folder, every file in it.
    One(Subject),
    /// Any setting of the kernel: `sysctl`.
    AnySysctl,
    /// Any file: `files`.
    AnyFile,
}

/// The text names nothing of the host that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is `hostname`, `time_zone`, `persistent_logging`, `sysctl`, `sysctl/NAME`, `files` or `files/PATH`")]
pub struct TriggerError;

impl Trigger {
    /// Whether a change of this is one that the hook runs for.
    pub fn covers(&self, subject: &Subject) -> bool {
        match (self, subject) {
            (Self::AnySysctl, Subject::Sysctl(_)) | (Self::AnyFile, Subject::File(_)) => true,
            (Self::One(Subject::File(folder)), Subject::File(file)) => {
                let rest = file.as_str().strip_prefix(folder.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            (Self::One(one), subject) => one == subject,
            (Self::AnySysctl | Self::AnyFile, _) => false,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname => f.write_str("hostname"),
            Self::TimeZone => f.write_str("time_zone"),
            Self::PersistentLogging => f.write_str("persistent_logging"),
            Self::Sysctl(name) => write!(f, "sysctl/{name}"),
            Self::File(path) => write!(f, "files/{path}"),
        }
    }
}

impl FromStr for Subject {
    type Err = TriggerError;
    fn from_str(text: &str) -> Result<Self, TriggerError> {
        match (text, text.split_once('/')) {
            ("hostname", _) => Ok(Self::Hostname),
            ("time_zone", _) => Ok(Self::TimeZone),
            ("persistent_logging", _) => Ok(Self::PersistentLogging),
            (_, Some(("sysctl", name))) => name.parse().map(Self::Sysctl).map_err(|_| TriggerError),
            (_, Some(("files", path))) => path.parse().map(Self::File).map_err(|_| TriggerError),
            _ => Err(TriggerError),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(subject) => subject.fmt(f),
            Self::AnySysctl => f.write_str("sysctl"),
            Self::AnyFile => f.write_str("files"),
        }
    }
}

impl FromStr for Trigger {
    type Err = TriggerError;
    fn from_str(text: &str) -> Result<Self, TriggerError> {
        match text {
            "sysctl" => Ok(Self::AnySysctl),
            "files" => Ok(Self::AnyFile),
            one => one.parse().map(Self::One),
        }
    }
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
                output.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(input)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text! { Subject Trigger }
