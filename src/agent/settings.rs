//! Settings of the agent, in three stages: *fragments* as they are written (file, environment, flags), *inputs* where the
//! later fragment wins, and *settings* with types. Every value remembers where it comes from, so an error can say so.

use super::engine::docker::ImageSettings;
use super::locks::DEFAULT_DIRECTORY;
use super::os::program::Program;
use super::os::reboot::{BOOT_ID_FILE, Rebooter};
use crate::domain::device::machine::{Pace, PollMode};
use crate::domain::enrollment::JoinToken;
use crate::domain::ids::{DeviceId, StageName};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

mod host;

pub use host::HostKind;

/// Where a configuration file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/bellwether/agent.json";
/// How the names of environment variables begin.
pub const ENVIRONMENT_PREFIX: &str = "BELLWETHER_AGENT_";
/// How many attributes a device may state: facts for people and filters, not a database.
pub const MAX_ATTRIBUTES: usize = 64;
/// How many images can be brought at the same time: an engine fetches three layers of each at once.
pub const MAX_PARALLEL_PULLS: usize = 16;
/// The longest name or value of an attribute, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 256;

/// Every setting: its key in files (`poll_interval_secs`), which makes the environment variable
/// (`BELLWETHER_AGENT_POLL_INTERVAL_SECS`) and the flag (`--poll-interval-secs`), and what it means.
pub const KEYS: &[(&str, &str)] = &[
    ("state_dir", "directory of ledger, identity and simulated parts; /var/lib/bellwether-agent"),
    ("server", "the controller's address, https://HOST:PORT; needed to enroll"),
    ("token", "enrollment token; without one the device waits for approval"),
    ("device", "the device's name; the host name"),
    ("ca_file", "PEM file of the controller's authority; the token's fingerprint"),
    ("engine", "docker or simulated; docker"),
    ("docker_socket", "the Docker API's socket; /var/run/docker.sock"),
    ("registry_credentials", "file with logins as `docker login` writes it, mode 600; none"),
    ("registry_mirrors", "REGISTRY=HOST[:PORT][/PREFIX], … in the order in which they are asked; none"),
    ("parallel_pulls", "images brought at the same time; 2"),
    ("image_archives", "directory of .tar archives with images in the layout of the OCI; none"),
    ("disk_reserve_mb", "megabytes that downloads leave free; 128"),
    ("os", "rauc, command, simulated or none; none"),
    ("os_command", "the updater for os=command: an absolute path with arguments, or a JSON list of them"),
    ("os_ca_file", "PEM file of the authorities that OS images are fetched from; the distribution's"),
    (
        "reboot_command",
        "what restarts the machine, written as os_command is; systemctl reboot, and for a new OS systemd over D-Bus",
    ),
    (
        "host",
        "linux, simulated or none: whether the fleet repo may set the host; none, and simulated with engine=simulated",
    ),
    ("host_root", "directory that stands for / where the host is set; /"),
    ("host_files", "directory of files that the fleet repo may write; none"),
    ("host_hooks", "directory of programs that the fleet repo may have run; none"),
    (
        "allow_sysctl",
        "how settings of the kernel begin that the fleet repo may set, such as net.ipv4.,vm.swappiness; none",
    ),
    ("boot_id_file", "file whose text changes with each boot; /proc/sys/kernel/random/boot_id"),
    ("core_dumps", "directory in which core dumps are left, one of which is sent when an assignment fails; none"),
    ("lock_dir", "directory of update locks, below a file system in memory; /run/bellwether/locks"),
    ("branch", "the stage that the device chooses, where the repo lets it"),
    ("api_socket", "the local API's socket, or none; agent.sock in the state directory"),
    ("api_mode", "who may use it, in octal: 600 its owner, 660 its group as well; 600"),
    ("api_group", "the socket's group, by name or number; the agent's own"),
    ("poll", "long or plain; long"),
    ("poll_interval_secs", "seconds between polls at start, after errors and in plain mode; 60"),
    ("look_interval_secs", "seconds between looks at engine and OS while nothing happens; 30"),
    ("os_soak_secs", "seconds for which all services must be well before a new OS is kept; 60"),
    ("os_trial_secs", "seconds after which a new OS is left again if the services are not well; 900"),
    ("log", "error, warn, info, debug or trace; info"),
];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A key of a configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment,
    /// A flag or an argument.
    CommandLine,
}

/// A value as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// The text.
    pub value: String,
    /// Where it was written.
    pub origin: Origin,
}

/// What one source says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Values by key.
    pub values: BTreeMap<&'static str, Given>,
    /// Attributes of the device.
    pub attributes: BTreeMap<String, String>,
}

/// What all sources together say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs(Fragment);

/// Settings, ready for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Directory of ledger, identity and simulated parts.
    pub state_dir: PathBuf,
    /// How to get into the fleet; not looked at once the device belongs to it.
    pub enrollment: Option<JoinSettings>,
    /// Which container engine.
    pub engine: EngineKind,
    /// Which OS updater.
    pub os: OsKind,
    /// Who sets the host.
    pub host: HostKind,
    /// Directory of core dumps; `None` sends none.
    pub core_dumps: Option<PathBuf>,
    /// Directory of update locks.
    pub lock_dir: PathBuf,
    /// The file with the name of the machine's boot.
    pub boot_id_file: PathBuf,
    /// The command that restarts the machine; empty does nothing, as on a simulated device.
    pub reboot: Vec<String>,
    /// The local API; `None` turns it off.
    pub api: Option<ApiSettings>,
    /// The stage that the device chooses.
    pub branch: Option<StageName>,
    /// Facts that the device states of itself, beside those that the agent adds.
    pub attributes: BTreeMap<String, String>,
    /// How often things are done.
    pub pace: Pace,
    /// The least severe log lines that are written.
    pub log: tracing::Level,
}

/// The local API's socket, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSettings {
    /// Where it is.
    pub socket: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// Its group, by name or number; `None` leaves it to the system.
    pub group: Option<String>,
}

/// How to get into the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinSettings {
    /// The controller's address.
    pub server: String,
    /// The token; without one the device waits for approval.
    pub token: Option<JoinToken>,
    /// The device's name; `None` takes the host name.
    pub device: Option<DeviceId>,
    /// PEM file of the controller's authority.
    pub ca_file: Option<PathBuf>,
}

/// Which container engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// A real one, through the Docker API at this socket.
    Docker {
        /// The socket.
        socket: PathBuf,
        /// How images are brought.
        images: ImageSettings,
    },
    /// One that lives in the state directory.
    Simulated,
}

/// Which OS updater.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OsKind {
    /// RAUC, over D-Bus.
    Rauc(OsSettings),
    /// A program that speaks the contract of `docs/os-command.md`.
    Command {
        /// The program.
        program: Program,
        /// What else it needs.
        about: OsSettings,
    },
    /// One that lives in the state directory.
    Simulated,
    /// None.
    None,
}

/// What a real OS updater needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsSettings {
    /// How the device is rebooted.
    pub rebooter: Rebooter,
    /// PEM file of the authorities that are believed where images are fetched; `None` takes the distribution's.
    pub ca_file: Option<PathBuf>,
    /// So many bytes stay free whatever is downloaded, so that the ledger can always be written.
    pub reserve_bytes: u64,
}

/// Why settings cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A file or an environment names a setting that there is not.
    #[error("{origin} names the setting {key:?}, which does not exist")]
    UnknownKey {
        /// The name.
        key: String,
        /// Where.
        origin: Origin,
    },
    /// The file is not a JSON object of texts and numbers.
    #[error("{path} is not a configuration: {reason}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A value is not of its kind.
    #[error("{key} from {origin} cannot be used: {reason}")]
    BadValue {
        /// The setting.
        key: &'static str,
        /// Where it was written.
        origin: Origin,
        /// Why not.
        reason: String,
    },
    /// Settings that need another one.
    #[error("{key} is of no use without {needs}")]
    Needs {
        /// The setting.
        key: &'static str,
        /// What is missing.
        needs: &'static str,
    },
    /// The attributes are too many or too long.
    #[error("at most {MAX_ATTRIBUTES} attributes of {MAX_ATTRIBUTE_BYTES} bytes are sent")]
    TooManyAttributes,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("the environment"),
            Self::CommandLine => f.write_str("the command line"),
        }
    }
}

// A token is a secret, and a value may be one.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({})", self.origin)
    }
}

/// The setting's key for a name in which `-` may stand for `_`.
pub fn key(name: &str) -> Option<&'static str> {
    let name = name.replace('-', "_");
    KEYS.iter().map(|(key, _)| *key).find(|key| *key == name)
}

impl Fragment {
    /// Reads a configuration file's text: a JSON object.
    pub fn from_json(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let bad = |reason: String| SettingsError::BadFile { path: path.to_owned(), reason };
        let origin = Origin::File(path.to_owned());
        let object: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        let mut fragment = Self::default();
        for (name, value) in object {
            if name == "attributes" {
                fragment.attributes = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
                continue;
            }
            let Some(key) = KEYS.iter().map(|(key, _)| *key).find(|key| *key == name) else {
                return Err(SettingsError::UnknownKey { key: name, origin });
            };
            let value = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Number(number) => number.to_string(),
                list @ serde_json::Value::Array(_) if key.ends_with("_command") => list.to_string(),
                _ => return Err(bad(format!("{name} is neither a text nor a number"))),
            };
            fragment.values.insert(key, Given { value, origin: origin.clone() });
        }
        Ok(fragment)
    }

    /// Reads the environment variables that begin with [`ENVIRONMENT_PREFIX`].
    pub fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let mut fragment = Self::default();
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let Some(key) = key(&rest.to_ascii_lowercase()) else {
                return Err(SettingsError::UnknownKey { key: name, origin: Origin::Environment });
            };
            fragment.values.insert(key, Given { value, origin: Origin::Environment });
        }
        Ok(fragment)
    }
}

impl Inputs {
    /// Puts fragments together; a later one goes before an earlier one.
    pub fn of(fragments: impl IntoIterator<Item = Fragment>) -> Self {
        let mut all = Fragment::default();
        for Fragment { values, attributes } in fragments {
            all.values.extend(values);
            all.attributes.extend(attributes);
        }
        Self(all)
    }

    /// Gives every value its type, or says which one cannot have it.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let engine = match self.text("engine").unwrap_or("docker") {
            "docker" => EngineKind::Docker {
                socket: self.text("docker_socket").unwrap_or("/var/run/docker.sock").into(),
                images: self.images()?,
            },
            "simulated" => EngineKind::Simulated,
            other => return Err(self.bad("engine", format!("{other:?} is neither docker nor simulated"))),
        };
        let os = self.os()?;
        let reboot = self.reboot(&engine);
        let poll = match self.text("poll").unwrap_or("long") {
            "long" => PollMode::Long,
            "plain" => PollMode::Plain,
            other => return Err(self.bad("poll", format!("{other:?} is neither long nor plain"))),
        };
        let defaults = Pace::default();
        let state_dir: PathBuf = self.text("state_dir").unwrap_or("/var/lib/bellwether-agent").into();
        // A simulated boot takes no time, and ends no process that would look anew.
        let reboot_secs = if matches!(os, OsKind::Simulated) { 1 } else { defaults.reboot_secs };
        Ok(Settings {
            host: self.host(&engine, &reboot)?,
            reboot,
            api: self.api(&state_dir)?,
            state_dir,
            enrollment: self.enrollment()?,
            engine,
            os,
            core_dumps: self.directory("core_dumps")?,
            lock_dir: self.text("lock_dir").unwrap_or(DEFAULT_DIRECTORY).into(),
            boot_id_file: self.text("boot_id_file").unwrap_or(BOOT_ID_FILE).into(),
            branch: self.parsed("branch")?,
            attributes: self.attributes()?,
            pace: Pace {
                poll,
                poll_interval_secs: self.secs("poll_interval_secs", defaults.poll_interval_secs)?,
                look_interval_secs: self.secs("look_interval_secs", defaults.look_interval_secs)?,
                os_soak_secs: self.secs("os_soak_secs", defaults.os_soak_secs)?,
                os_trial_secs: self.secs("os_trial_secs", defaults.os_trial_secs)?,
                reboot_secs,
            },
            log: self.parsed("log")?.unwrap_or(tracing::Level::INFO),
        })
    }

    fn images(&self) -> Result<ImageSettings, SettingsError> {
        let defaults = ImageSettings::default();
        let parallel_pulls = match self.parsed("parallel_pulls")?.unwrap_or(defaults.parallel_pulls) {
            pulls @ 1..=MAX_PARALLEL_PULLS => pulls,
            other => return Err(self.bad("parallel_pulls", format!("{other} is not from 1 to {MAX_PARALLEL_PULLS}"))),
        };
        Ok(ImageSettings {
            credentials: self.text("registry_credentials").map(PathBuf::from),
            mirrors: self.mirrors()?,
            parallel_pulls,
            archives: self.text("image_archives").map(PathBuf::from),
            reserve_bytes: self.reserve_bytes()?,
            stall_limit: defaults.stall_limit,
        })
    }

    fn mirrors(&self) -> Result<BTreeMap<String, Vec<String>>, SettingsError> {
        let mut mirrors: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let text = self.text("registry_mirrors").unwrap_or_default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let is_name = |name: &&str| !name.is_empty() && !name.contains([' ', '@']) && !name.contains("://");
            let Some((registry, mirror)) = pair.split_once('=').filter(|(one, other)| is_name(one) && is_name(other))
            else {
                return Err(
                    self.bad("registry_mirrors", format!("{pair:?} is not written REGISTRY=HOST[:PORT][/PREFIX]"))
                );
            };
            mirrors.entry(registry.to_owned()).or_default().push(mirror.to_owned());
        }
        Ok(mirrors)
    }

    /// What downloads leave free, whatever they are of.
    fn reserve_bytes(&self) -> Result<u64, SettingsError> {
        let reserve = self.parsed("disk_reserve_mb")?.map(|megabytes: u32| u64::from(megabytes) * 1_000_000);
        Ok(reserve.unwrap_or(ImageSettings::default().reserve_bytes))
    }

    fn os(&self) -> Result<OsKind, SettingsError> {
        let about = OsSettings {
            rebooter: Rebooter {
                command: self.parsed("reboot_command")?,
                boot_id_file: self.text("boot_id_file").unwrap_or(BOOT_ID_FILE).into(),
            },
            ca_file: self.text("os_ca_file").map(PathBuf::from),
            reserve_bytes: self.reserve_bytes()?,
        };
        match (self.text("os").unwrap_or("none"), self.parsed("os_command")?) {
            ("command", Some(program)) => Ok(OsKind::Command { program, about }),
            ("command", None) => Err(SettingsError::Needs { key: "os", needs: "os_command" }),
            (_, Some(_)) => Err(SettingsError::Needs { key: "os_command", needs: "os: command" }),
            ("rauc", None) => Ok(OsKind::Rauc(about)),
            ("none", None) => Ok(OsKind::None),
            ("simulated", None) => Ok(OsKind::Simulated),
            (other, None) => Err(self.bad("os", format!("{other:?} is none of rauc, command, simulated, none"))),
        }
    }

    fn enrollment(&self) -> Result<Option<JoinSettings>, SettingsError> {
        let Some(server) = self.text("server") else {
            return match ["token", "ca_file", "device"].into_iter().find(|key| self.text(key).is_some()) {
                Some(key) => Err(SettingsError::Needs { key, needs: "server" }),
                None => Ok(None),
            };
        };
        if !server.starts_with("https://") {
            return Err(self.bad("server", "it does not begin with https://".to_owned()));
        }
        let join = JoinSettings {
            server: server.to_owned(),
            token: self.parsed("token")?,
            device: self.parsed("device")?,
            ca_file: self.text("ca_file").map(PathBuf::from),
        };
        match (&join.token, &join.ca_file) {
            (None, None) => Err(SettingsError::Needs { key: "server", needs: "token or ca_file: whom to believe" }),
            (Some(_), _) | (_, Some(_)) => Ok(Some(join)),
        }
    }

    /// A simulated device is no machine that could restart.
    fn reboot(&self, engine: &EngineKind) -> Vec<String> {
        let usual = match engine {
            EngineKind::Docker { .. } => "systemctl reboot",
            EngineKind::Simulated => "",
        };
        match self.text("reboot_command").and_then(|text| text.parse::<Program>().ok()) {
            Some(program) => program.words().to_vec(),
            None => usual.split_whitespace().map(str::to_owned).collect(),
        }
    }

    fn api(&self, state_dir: &Path) -> Result<Option<ApiSettings>, SettingsError> {
        let socket = match self.text("api_socket") {
            Some("none") => return Ok(None),
            Some(path) => path.into(),
            None => state_dir.join("agent.sock"),
        };
        let mode = self.text("api_mode").unwrap_or("600");
        let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777);
        let mode = mode.ok_or_else(|| self.bad("api_mode", "it is not an octal number up to 777".to_owned()))?;
        Ok(Some(ApiSettings { socket, mode, group: self.text("api_group").map(str::to_owned) }))
    }

    fn attributes(&self) -> Result<BTreeMap<String, String>, SettingsError> {
        let attributes = &self.0.attributes;
        let long = |text: &String| text.is_empty() || text.len() > MAX_ATTRIBUTE_BYTES;
        if attributes.len() > MAX_ATTRIBUTES || attributes.iter().any(|(name, value)| long(name) || long(value)) {
            return Err(SettingsError::TooManyAttributes);
        }
        Ok(attributes.clone())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.values.get(key).map(|given| given.value.as_str())
    }

    fn parsed<T>(&self, key: &'static str) -> Result<Option<T>, SettingsError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.text(key).map(|text| text.parse().map_err(|error: T::Err| self.bad(key, error.to_string()))).transpose()
    }

    /// Seconds from 1 to a day.
    fn secs(&self, key: &'static str, default: u32) -> Result<u32, SettingsError> {
        match self.parsed(key)?.unwrap_or(default) {
            secs @ 1..=86_400 => Ok(secs),
            other => Err(self.bad(key, format!("{other} is not from 1 to 86400"))),
        }
    }

    fn bad(&self, key: &'static str, reason: String) -> SettingsError {
        let origin = self.0.values.get(key).map_or(Origin::CommandLine, |given| given.origin.clone());
        SettingsError::BadValue { key, origin, reason }
    }
}

#[cfg(test)]
mod tests;
