//! Where every effective value of a device comes from.

use super::device::{Inputs, Merged, Outcome, Picked};
use super::findings::place;
use super::layers::{Layers, Written};
use super::world::World;
use super::{Branch, PickedRelease, Resolver};
use crate::domain::finding::Place;
use crate::domain::history::LastChange;
use crate::domain::ids::{DeviceId, ServiceName};
use crate::domain::manifest::read::Setting;
use crate::domain::manifest::scalar::json;
use crate::domain::manifest::vars::{BranchRule, Merge, TypedKeys};
use crate::domain::snapshot::Snapshot;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where every effective value of a device comes from, in one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The device.
    pub device: DeviceId,
    /// Its groups, in the order in which they are laid over each other, `all` left out.
    pub groups: Vec<String>,
    /// Why it gets nothing new from this commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Its values, sorted by key.
    pub values: Vec<Explained>,
}

/// One value with its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The path of the key: `branch`, `pins.kiosk`, `kiosk/browser.environment.URL`, `vars.motd`. A variable of the environment
    /// that no service of the device gets is `variables.URL`.
    pub key: String,
    /// The value as written; [`REMOVED`] if a `null` took it away.
    pub value: String,
    /// Where it is written.
    pub place: Place,
    /// The last change of that line, where a repository was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<LastChange>,
    /// Of a pin that leaves a choice: what it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picked: Option<PickedRelease>,
    /// What it overrode, from the nearest to the farthest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
}

/// A value that did not win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overridden {
    /// The value as written; [`REMOVED`] for `null`.
    pub value: String,
    /// Where it is written.
    pub place: Place,
    /// The last change of that line, where a repository was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<LastChange>,
}

/// What stands for a `null`.
pub const REMOVED: &str = "(removed)";

/// Every value that was written for each key, from low to high.
#[derive(Default)]
struct History(BTreeMap<String, Vec<Overridden>>);

impl History {
    fn add<T: ?Sized>(&mut self, key: String, written: Written<'_, T>, show: impl Fn(&T) -> String) {
        let Written { file, span, value } = written;
        self.0.entry(key).or_default().push(Overridden {
            value: value.map_or_else(|| REMOVED.to_owned(), &show),
            place: place(file, span),
            changed: None,
        });
    }

    fn single<'a, T: 'a>(
        &mut self,
        key: &str,
        layers: &Layers<'a>,
        pick: impl Fn(&'a TypedKeys) -> Option<&'a Setting<T>> + 'a,
        show: impl Fn(&T) -> String,
    ) {
        layers.written(pick).for_each(|written| self.add(key.to_owned(), written, &show));
    }

    fn map<'a, K: Ord + std::fmt::Display + 'a, V: std::fmt::Display + 'a>(
        &mut self,
        prefix: &str,
        layers: &Layers<'a>,
        pick: impl Fn(&'a TypedKeys) -> Option<&'a Merge<K, V>>,
    ) {
        layers.entries(pick, |key, written| self.add(format!("{prefix}.{key}"), written, V::to_string));
    }

    fn finish(self) -> Vec<Explained> {
        let explained = |(key, mut all): (String, Vec<Overridden>)| {
            let Overridden { value, place, changed } = all.pop()?;
            all.reverse();
            Some(Explained { key, value, place, changed, picked: None, overridden: all })
        };
        self.0.into_iter().filter_map(explained).collect()
    }
}

/// Explains a device without keeping anything; `None` if the inventory does not list it.
pub fn explain(files: &Snapshot, device: &DeviceId) -> Option<Explanation> {
    Resolver::default().explain(files, device)
}

pub(super) fn explanation(
    device: &DeviceId,
    inputs: &Inputs,
    merged: &Merged,
    picked: &Picked,
    outcome: &Outcome,
    world: &World,
) -> Explanation {
    let layers = inputs.layers();
    let mut history = History::default();
    history.single("branch", &layers, |keys| keys.branch.as_ref(), show_branch);
    history.single("device_type", &layers, |keys| keys.device_type.as_ref(), ToString::to_string);
    history.single("os", &layers, |keys| keys.os.as_ref(), String::clone);
    history.single(
        "hold",
        &layers,
        |keys| keys.hold.as_ref(),
        |hold| match hold.until {
            Some(until) => format!("{} (until {until})", hold.reason),
            None => hold.reason.clone(),
        },
    );
    history.single(
        "profiles",
        &layers,
        |keys| keys.profiles.as_ref(),
        |profiles| profiles.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    );
    history.map("pins", &layers, |keys| keys.pins.as_ref());
    history.map("config", &layers, |keys| keys.config.as_ref());
    history.map("tags", &layers, |keys| keys.tags.as_ref());
    history.map("labels", &layers, |keys| keys.labels.as_ref());
    for (app, release) in picked.found() {
        let version = Written { file: &release.file, span: Default::default(), value: Some(&release.version) };
        history.add(format!("{app}.release"), version, ToString::to_string);
        let runs = |name: &ServiceName| {
            let Some(sealed) = &outcome.device.spec else { return true };
            sealed.spec.apps.get(app).is_some_and(|app| app.services.contains_key(name))
        };
        for (name, service) in release.services.iter().filter(|(name, _)| runs(name)) {
            layers.environment(&release.compose_file, app, name, service, |variable, written| {
                history.add(format!("{app}/{name}.environment.{variable}"), written, String::clone);
            });
        }
    }
    for vars in layers.sources() {
        for field in &vars.free {
            let written = Written { file: &vars.file, span: field.key.span, value: Some(&field.value) };
            history.add(format!("vars.{}", field.key.text), written, |node| match json(node) {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            });
        }
    }
    unused_variables(&layers, &mut history);
    let mut values = history.finish();
    for (app, pin) in &merged.pins {
        let key = format!("pins.{app}");
        if let Some(explained) = values.iter_mut().find(|explained| explained.key == key) {
            explained.picked = world.picked(app, &pin.value);
        }
    }
    if outcome.device.branch == Branch::Unknown {
        // What is written elsewhere does not count while one of the files cannot be read.
        values.retain(|explained| explained.key != "branch");
    }
    Explanation {
        device: device.clone(),
        groups: inputs.stack.groups.iter().map(ToString::to_string).collect(),
        problem: outcome.device.problem.clone(),
        values,
    }
}

/// Variables that no service of the device gets, so that whoever asks for one learns at least where it is written.
fn unused_variables(layers: &Layers<'_>, history: &mut History) {
    let used: BTreeSet<String> =
        history.0.keys().filter_map(|key| key.split_once(".environment.").map(|(_, name)| name.to_owned())).collect();
    layers.entries(
        |keys| keys.variables.as_ref(),
        |name, written| {
            if !used.contains(name.as_str()) {
                history.add(format!("variables.{name}"), written, String::clone);
            }
        },
    );
}

fn show_branch(rule: &BranchRule) -> String {
    match rule {
        BranchRule::Stage(stage) => stage.to_string(),
        BranchRule::FromDevice(allowed) => {
            let names: Vec<&str> = allowed.iter().map(|stage| stage.as_str()).collect();
            format!("the device chooses among {}", names.join(", "))
        }
    }
}
