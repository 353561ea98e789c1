//! The settings of one device's host and agent, put together from its layers.

use super::device::{Rendering, asked};
use super::layers::Layers;
use super::world::Asked;
use crate::domain::finding::codes;
use crate::domain::ids::FilePath;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::template::Value;
use crate::domain::manifest::vars::{
    ConfigKey, ConfigValue, SYSCTL, parse_hostname, parse_sysctl, parse_text, parse_zone_name,
};
use crate::domain::manifest::yaml::Span;
use crate::domain::spec::{
    DeviceConfig, FileMode, HostFile, MAX_HOOKS, MAX_HOST_FILES, MAX_HOST_FILES_BYTES, MAX_SYSCTLS, Subject, Trigger,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What `config` says of a device. Contents of files are rendered later, when secrets are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergedConfig {
    /// All but the files.
    pub settings: DeviceConfig,
    /// The files, each with a content.
    pub files: BTreeMap<FilePath, AskedFile>,
}

/// A file as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedFile {
    /// Its content.
    pub content: Asked<Value<String>>,
    /// Its mode, if it is said.
    pub mode: Option<FileMode>,
}

/// What is said of one file.
type FileParts = (Option<Asked<Value<String>>>, Option<Asked<FileMode>>);
type Said = BTreeMap<ConfigKey, Asked<ConfigValue>>;

/// Lays the layers over each other, key by key: `null` for a mapping removes all that is in it.
pub(super) fn config(layers: &Layers<'_>, rendering: &mut Rendering<'_>) -> MergedConfig {
    let mut said = Said::new();
    layers.entries(
        |keys| keys.config.as_ref(),
        |key, written| match asked(written) {
            Some(value) => {
                said.insert(key.clone(), value);
            }
            None => said.retain(|other, _| !key.contains(other)),
        },
    );
    let mut merged = MergedConfig::default();
    let mut files: BTreeMap<FilePath, FileParts> = BTreeMap::new();
    let mut last: Option<(Arc<str>, Span)> = None;
    let mut hooks = Vec::new();
    for (key, Asked { value, file, span }) in said {
        let place = (file.clone(), span);
        let settings = &mut merged.settings;
        match (key, value) {
            (ConfigKey::PollInterval, ConfigValue::Secs(secs)) => settings.poll_interval_secs = Some(secs),
            (ConfigKey::PersistentLogging, ConfigValue::Flag(flag)) => settings.persistent_logging = Some(flag),
            (ConfigKey::Hostname, ConfigValue::Hostname(value)) => {
                let asked = rendering.asked(Asked { value, file, span }, "`hostname`", parse_hostname);
                settings.hostname = asked.map(|asked| asked.value);
            }
            (ConfigKey::TimeZone, ConfigValue::Zone(value)) => {
                let asked = rendering.asked(Asked { value, file, span }, "`time_zone`", parse_zone_name);
                settings.time_zone = asked.map(|asked| asked.value);
            }
            (ConfigKey::Sysctl(name), ConfigValue::Text(value)) => {
                let asked = rendering.asked(Asked { value, file, span }, SYSCTL, parse_sysctl);
                settings.sysctl.extend(asked.map(|asked| (name, asked.value)));
            }
            (ConfigKey::Extra(key), ConfigValue::Text(value)) => {
                let asked = rendering.asked(Asked { value, file, span }, "an `x-` key", parse_text);
                settings.extra.extend(asked.map(|asked| (key, asked.value)));
            }
            (ConfigKey::Content(path), ConfigValue::Text(value)) => {
                files.entry(path).or_default().0 = Some(Asked { value, file, span });
            }
            (ConfigKey::Mode(path), ConfigValue::Mode(value)) => {
                files.entry(path).or_default().1 = Some(Asked { value, file, span });
            }
            (ConfigKey::Hook(name), ConfigValue::Triggers(triggers)) => {
                hooks.push((place.clone(), triggers.clone()));
                settings.hooks.insert(name, triggers);
            }
            // A key and a value of another kind are never put together by the one who reads them.
            _ => {}
        }
        last = Some(place);
    }
    for (path, (content, mode)) in files {
        match (content, mode) {
            (Some(content), mode) => {
                merged.files.insert(path, AskedFile { content, mode: mode.map(|mode| mode.value) });
            }
            (None, Some(mode)) => {
                let message = format!("the file `{path}` has a mode and no content");
                rendering.add(Draft::error(&mode.file, mode.span, codes::MISSING_KEY, message).hint("write `content`"));
            }
            (None, None) => {}
        }
    }
    if let Some((file, span)) = last {
        bounds(&merged, &file, span, rendering);
    }
    folders(&merged, rendering);
    for ((file, span), triggers) in hooks {
        idle(&merged, &file, span, &triggers, rendering);
    }
    merged
}

fn bounds(merged: &MergedConfig, file: &Arc<str>, span: Span, rendering: &mut Rendering<'_>) {
    let MergedConfig { settings, files } = merged;
    let counts = [
        ("files", files.len(), MAX_HOST_FILES),
        ("kernel settings", settings.sysctl.len(), MAX_SYSCTLS),
        ("hooks", settings.hooks.len(), MAX_HOOKS),
    ];
    for (what, count, most) in counts.into_iter().filter(|(_, count, most)| count > most) {
        let message = format!("the device has {count} {what} in `config`; at most {most} are accepted");
        rendering.add(Draft::error(file, span, codes::TOO_LARGE, message));
    }
}

/// A path cannot be a file and the folder of another.
fn folders(merged: &MergedConfig, rendering: &mut Rendering<'_>) {
    for path in merged.files.keys() {
        let inner = format!("{path}/");
        let Some((other, asked)) = merged.files.iter().find(|(other, _)| other.as_str().starts_with(&inner)) else {
            continue;
        };
        let AskedFile { content: Asked { file, span, .. }, mode: _ } = asked;
        let message = format!("`{path}` cannot be a file and the folder of `{other}`");
        rendering.add(Draft::error(file, *span, codes::BAD_VALUE, message).hint("give one of them another name"));
    }
}

/// A hook that would never run is mostly one whose trigger was mistyped.
fn idle(
    merged: &MergedConfig,
    file: &Arc<str>,
    span: Span,
    triggers: &BTreeSet<Trigger>,
    rendering: &mut Rendering<'_>,
) {
    let mut subjects = merged.settings.subjects();
    subjects.extend(merged.files.keys().cloned().map(Subject::File));
    for trigger in triggers.iter().filter(|trigger| !subjects.iter().any(|subject| trigger.covers(subject))) {
        let message = format!("the hook runs when `{trigger}` changes, which `config` does not set");
        let names: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        let near = nearest(&trigger.to_string(), names.iter().map(String::as_str)).map(str::to_owned);
        let hint = near.map_or_else(|| "set it, or take it away".to_owned(), |near| format!("did you mean `{near}`?"));
        rendering.add(Draft::warning(file, span, codes::IDLE_HOOK, message).hint(hint));
    }
}

/// The files together are bounded as they are written; one more byte is one too many for the device as a whole.
pub(super) fn total_too_long(
    files: &BTreeMap<FilePath, HostFile>,
    asked: &BTreeMap<FilePath, AskedFile>,
) -> Option<Draft> {
    let total: usize = files.values().map(HostFile::written_bytes).sum();
    let (_, AskedFile { content: Asked { file, span, .. }, mode: _ }) =
        asked.last_key_value().filter(|_| total > MAX_HOST_FILES_BYTES)?;
    let message =
        format!("the files of the device have {total} bytes in all; at most {MAX_HOST_FILES_BYTES} are accepted");
    let draft = Draft::error(file, *span, codes::TOO_LARGE, message);
    Some(draft.hint("put them into an image or a release"))
}
