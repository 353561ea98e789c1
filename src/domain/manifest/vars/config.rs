//! The typed key `config`: settings of the host and the agent, a closed list.

use super::typed::{merge, parse_text, templated};
use super::{Base, Merge, Value};
use crate::domain::finding::codes;
use crate::domain::ids::{FilePath, HookName, Hostname, SysctlName, ZoneName};
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys, MAX_ENTRIES, Setting, setting};
use crate::domain::manifest::yaml::{Key, Node, Span};
use crate::domain::manifest::zones::Zone;
use crate::domain::spec::{FileMode, MAX_SYSCTL_BYTES, Trigger, TriggerError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const KEYS: Keys = Keys {
    what: "`config`",
    known: &["poll_interval_secs", "persistent_logging", "hostname", "time_zone", "sysctl", "files", "hooks"],
    later: &[],
    extensions: Extensions::Ignored,
};

/// The longest name of an `x-` key, in bytes.
const MAX_EXTRA_BYTES: usize = 256;

/// What one line of `config` sets or removes: the leaves of the mapping, so that each is inherited by itself (RFC 7396).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKey {
    /// `poll_interval_secs`
    PollInterval,
    /// `persistent_logging`
    PersistentLogging,
    /// `hostname`
    Hostname,
    /// `time_zone`
    TimeZone,
    /// `sysctl`, where it is removed as a whole.
    Sysctls,
    /// `sysctl.NAME`
    Sysctl(SysctlName),
    /// `files`, where they are removed as a whole.
    Files,
    /// `files.PATH`, where it is removed as a whole.
    File(FilePath),
    /// `files.PATH.content`
    Content(FilePath),
    /// `files.PATH.mode`
    Mode(FilePath),
    /// `hooks`, where they are removed as a whole.
    Hooks,
    /// `hooks.NAME`
    Hook(HookName),
    /// `x-…`
    Extra(String),
}

/// A value of `config`.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// Of `poll_interval_secs`.
    Secs(u32),
    /// Of `persistent_logging`.
    Flag(bool),
    /// Of `hostname`.
    Hostname(Value<Hostname>),
    /// Of `time_zone`.
    Zone(Value<ZoneName>),
    /// Of settings of the kernel, contents of files and `x-…` keys.
    Text(Value<String>),
    /// Of `mode`.
    Mode(FileMode),
    /// Of hooks: at least one.
    Triggers(BTreeSet<Trigger>),
}

impl ConfigKey {
    /// Whether removing this removes that.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sysctls, Self::Sysctl(_)) | (Self::Hooks, Self::Hook(_)) => true,
            (Self::Files, Self::File(_) | Self::Content(_) | Self::Mode(_)) => true,
            (Self::File(path), Self::Content(other) | Self::Mode(other)) => path == other,
            _ => self == other,
        }
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PollInterval => f.write_str("poll_interval_secs"),
            Self::PersistentLogging => f.write_str("persistent_logging"),
            Self::Hostname => f.write_str("hostname"),
            Self::TimeZone => f.write_str("time_zone"),
            Self::Sysctls => f.write_str("sysctl"),
            Self::Sysctl(name) => write!(f, "sysctl.{name}"),
            Self::Files => f.write_str("files"),
            Self::File(path) => write!(f, "files.{path}"),
            Self::Content(path) => write!(f, "files.{path}.content"),
            Self::Mode(path) => write!(f, "files.{path}.mode"),
            Self::Hooks => f.write_str("hooks"),
            Self::Hook(name) => write!(f, "hooks.{name}"),
            Self::Extra(key) => f.write_str(key),
        }
    }
}

impl fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secs(secs) => write!(f, "{secs}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Hostname(name) => write!(f, "{name}"),
            Self::Zone(zone) => write!(f, "{zone}"),
            Self::Text(text) => write!(f, "{text}"),
            Self::Mode(mode) => write!(f, "{mode}"),
            Self::Triggers(triggers) => {
                let all: Vec<String> = triggers.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(", "))
            }
        }
    }
}

type Entries = BTreeMap<ConfigKey, Setting<ConfigValue>>;

pub(super) fn config(node: &Node, problems: &mut Problems) -> Option<Merge<ConfigKey, ConfigValue>> {
    if node.is_null() {
        return merge(node, KEYS.what, problems, |_, _| None, |_, _| None);
    }
    let mut entries = Entries::new();
    for field in &read::map(node, KEYS.what, problems)?.entries {
        let value = &field.value;
        let single = match &*field.key.text {
            "sysctl" => {
                below(&field.key, value, ConfigKey::Sysctls, &mut entries, problems, sysctl);
                continue;
            }
            "files" => {
                below(&field.key, value, ConfigKey::Files, &mut entries, problems, file);
                continue;
            }
            "hooks" => {
                below(&field.key, value, ConfigKey::Hooks, &mut entries, problems, hook);
                continue;
            }
            "poll_interval_secs" => (ConfigKey::PollInterval, setting(value, problems, secs)),
            "persistent_logging" => (ConfigKey::PersistentLogging, setting(value, problems, flag)),
            "hostname" => (ConfigKey::Hostname, setting(value, problems, hostname)),
            "time_zone" => (ConfigKey::TimeZone, setting(value, problems, zone)),
            key if key.starts_with("x-") => {
                let Some(key) = extra_key(&field.key, problems) else { continue };
                (ConfigKey::Extra(key), setting(value, problems, |node, all| text(node, "an `x-` key", all)))
            }
            _ => {
                read::unknown(field, &KEYS, problems);
                continue;
            }
        };
        if let (key, Some(setting)) = single {
            entries.insert(key, Setting { span: field.key.span, ..setting });
        }
    }
    if entries.len() > MAX_ENTRIES {
        let message = format!("`config` sets {} things; at most {MAX_ENTRIES} are accepted", entries.len());
        problems.error(node.span, codes::TOO_LARGE, message);
        return None;
    }
    Some(Merge { span: node.span, base: Base::Inherited, entries })
}

/// A mapping inside of `config`; `null` for the whole of it removes what was inherited.
fn below(
    key: &Key,
    node: &Node,
    whole: ConfigKey,
    entries: &mut Entries,
    problems: &mut Problems,
    one: impl Fn(&Key, &Node, &mut Entries, &mut Problems),
) {
    if node.is_null() {
        entries.insert(whole, Setting { span: key.span, value: None });
        return;
    }
    let what = format!("`{whole}`");
    for field in read::map(node, &what, problems).into_iter().flat_map(|map| &map.entries) {
        one(&field.key, &field.value, entries, problems);
    }
}

fn add(entries: &mut Entries, key: ConfigKey, span: Span, setting: Option<Setting<ConfigValue>>) {
    entries.extend(setting.map(|setting| (key, Setting { span, ..setting })));
}

fn sysctl(key: &Key, node: &Node, entries: &mut Entries, problems: &mut Problems) {
    let Some(name) = read::parse_name::<SysctlName>(&key.text, key.span, problems) else { return };
    let value = setting(node, problems, |node, all| templated(node, SYSCTL, all, parse_sysctl).map(ConfigValue::Text));
    add(entries, ConfigKey::Sysctl(name), key.span, value);
}

/// `{content: …, mode: …}`.
fn file(key: &Key, node: &Node, entries: &mut Entries, problems: &mut Problems) {
    const KEYS: Keys =
        Keys { what: "a file", known: &["content", "mode"], later: &[], extensions: Extensions::Unknown };
    let Some(path) = read::parse_name::<FilePath>(&key.text, key.span, problems) else { return };
    if node.is_null() {
        entries.insert(ConfigKey::File(path), Setting { span: key.span, value: None });
        return;
    }
    for field in read::fields(node, &KEYS, problems).unwrap_or_default() {
        let (key, value) = match &*field.key.text {
            "content" => (
                ConfigKey::Content(path.clone()),
                setting(&field.value, problems, |node, all| text(node, "the content of a file", all)),
            ),
            _ => (ConfigKey::Mode(path.clone()), setting(&field.value, problems, mode)),
        };
        add(entries, key, field.key.span, value);
    }
}

fn hook(key: &Key, node: &Node, entries: &mut Entries, problems: &mut Problems) {
    let Some(name) = read::parse_name::<HookName>(&key.text, key.span, problems) else { return };
    let value = setting(node, problems, |node, all| {
        let (mut triggers, errors) = (BTreeSet::new(), all.errors());
        for item in read::list(node, "a hook", all)? {
            triggers.extend(trigger(item, all));
        }
        if triggers.is_empty() && all.errors() == errors {
            let hint = "write what it runs for, such as `files`";
            all.error_hint(node.span, codes::BAD_VALUE, "the hook runs for nothing", hint);
        }
        if all.errors() > errors {
            return None;
        }
        Some(ConfigValue::Triggers(triggers))
    });
    add(entries, ConfigKey::Hook(name), key.span, value);
}

fn trigger(node: &Node, problems: &mut Problems) -> Option<Trigger> {
    let text = read::text(node, "what a hook runs for", problems)?;
    text.parse()
        .map_err(|error: TriggerError| {
            let message = format!("`{}` is nothing that a hook can run for", show(text));
            problems.error_hint(node.span, codes::BAD_VALUE, message, error.to_string());
        })
        .ok()
}

fn secs(node: &Node, problems: &mut Problems) -> Option<ConfigValue> {
    let secs = read::number(node, "`poll_interval_secs`", 1..=86_400, problems)?;
    u32::try_from(secs).ok().map(ConfigValue::Secs)
}

fn flag(node: &Node, problems: &mut Problems) -> Option<ConfigValue> {
    read::boolean(node, "`persistent_logging`", problems).map(ConfigValue::Flag)
}

fn hostname(node: &Node, problems: &mut Problems) -> Option<ConfigValue> {
    templated(node, "`hostname`", problems, parse_hostname).map(ConfigValue::Hostname)
}

fn zone(node: &Node, problems: &mut Problems) -> Option<ConfigValue> {
    templated(node, "`time_zone`", problems, parse_zone_name).map(ConfigValue::Zone)
}

fn text(node: &Node, what: &'static str, problems: &mut Problems) -> Option<ConfigValue> {
    templated(node, what, problems, parse_text).map(ConfigValue::Text)
}

fn mode(node: &Node, problems: &mut Problems) -> Option<ConfigValue> {
    let text = read::text(node, "`mode`", problems)?;
    match text.parse() {
        Ok(mode) => Some(ConfigValue::Mode(mode)),
        Err(_) => {
            let message = format!("`{}` is no mode of a file", show(text));
            problems.error_hint(node.span, codes::BAD_VALUE, message, "write three octal digits, such as 644 or 0600");
            None
        }
    }
}

fn extra_key(key: &Key, problems: &mut Problems) -> Option<String> {
    let fits = key.text.len() <= MAX_EXTRA_BYTES && !key.text.chars().any(char::is_control);
    if !fits {
        let message = format!("an `x-` key has at most {MAX_EXTRA_BYTES} bytes and no control characters");
        problems.error(key.span, codes::BAD_VALUE, message);
    }
    fits.then(|| key.text.to_string())
}

/// What a value of `sysctl` is called in findings.
pub const SYSCTL: &str = "a kernel setting";

/// The name of a host.
pub fn parse_hostname(text: &str, span: Span, _: &'static str, problems: &mut Problems) -> Option<Hostname> {
    read::parse_name(text, span, problems)
}

/// A time zone that exists.
pub fn parse_zone_name(text: &str, span: Span, _: &'static str, problems: &mut Problems) -> Option<ZoneName> {
    match Zone::named(text) {
        Ok(zone) => read::parse_name(&zone.name, span, problems),
        Err(error) => {
            let message = format!("there is no time zone `{}`", show(text));
            let near = error.near.map(|near| format!("did you mean `{near}`?"));
            let hint = near.unwrap_or_else(|| "write a name such as `Europe/Zurich` or `UTC`".to_owned());
            problems.error_hint(span, codes::BAD_VALUE, message, hint);
            None
        }
    }
}

/// A value of a kernel setting. The kernel shows several numbers with tabs between them, whatever was written.
pub fn parse_sysctl(text: &str, span: Span, what: &'static str, problems: &mut Problems) -> Option<String> {
    let value = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let is_plain = value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if value.is_empty() || value.len() > MAX_SYSCTL_BYTES || !is_plain {
        let message = format!("{what} has 1 to {MAX_SYSCTL_BYTES} printable ASCII characters");
        problems.error(span, codes::BAD_VALUE, message);
        return None;
    }
    Some(value)
}
