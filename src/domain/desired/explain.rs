//! Where every effective value of a device comes from.

mod manifests;

use super::device::{Inputs, Merged, Outcome, Picked};
use super::findings::place;
use super::layers::{Layers, Said, Words, Written};
use super::scope::{Scope, Used};
use super::world::World;
use super::{Branch, PickedRelease, Resolver};
use crate::domain::finding::Place;
use crate::domain::history::LastChange;
use crate::domain::ids::{DeviceId, ServiceName, StageName};
use crate::domain::manifest::compose::{Defaulted, Filled};
use crate::domain::manifest::read::Setting;
use crate::domain::manifest::sealed::{as_written, opened};
use crate::domain::manifest::template::{Out, OutPiece, Template, Value};
use crate::domain::manifest::vars::{BranchRule, ConfigValue, Health, MaintenanceValue, Merge, TheDevice, TypedKeys};
use crate::domain::secret::SecretRef;
use crate::domain::snapshot::Snapshot;
use manifests::filled_in_environment;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// The path of the key: `branch`, `pins.kiosk`, `kiosk/browser.environment.URL`, `kiosk/browser.image`, `os.version`,
    /// `vars.motd`. A variable of the environment that no service of the device gets is `variables.URL`.
    pub key: String,
    /// The value as written, without anything encrypted; [`REMOVED`] if a `null` took it away.
    pub value: String,
    /// Where it is written.
    pub place: Place,
    /// The last change of that line, where a repository was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<LastChange>,
    /// Of a pin that leaves a choice: what it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picked: Option<PickedRelease>,
    /// For a template: what it comes to on this device, with references in the place of secrets; for a value of a Compose file with
    /// `${NAME:-default}`: what that comes to. `None` if it cannot be rendered, and for a value that is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
    /// For a template: the variables that it uses, and those that they use in turn, by name; of a Compose file, those whose defaults
    /// were filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<UsedVariable>,
    /// What it overrode, from the nearest to the farthest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
}

/// A variable that a template uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedVariable {
    /// Its name.
    pub name: String,
    /// Its value as written, without anything encrypted.
    pub value: String,
    /// Where it is written.
    pub place: Place,
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

const BRANCH: &str = "branch";
const FROM: &str = "branch.from";
const ALLOWED: &str = "branch.allowed";

/// Every value that was written for each key, from low to high.
#[derive(Default)]
struct History<'a>(BTreeMap<String, Vec<Line<'a>>>);

/// One value that was written, and the template that it is, if it is one.
struct Line<'a> {
    written: Overridden,
    template: Option<(&'a Arc<str>, &'a Template)>,
    /// What Compose makes of it, where that is something else.
    filled: Option<Filled>,
}

impl<'a> History<'a> {
    fn push(&mut self, key: String, value: String, place: Place, template: Option<(&'a Arc<str>, &'a Template)>) {
        let written = Overridden { value: opened(value), place, changed: None };
        self.0.entry(key).or_default().push(Line { written, template, filled: None });
    }

    /// A value of a Compose file whose variables are filled in.
    fn push_filled(&mut self, key: String, value: String, place: Place, filled: Filled) {
        let written = Overridden { value: opened(value), place, changed: None };
        self.0.entry(key).or_default().push(Line { written, template: None, filled: Some(filled) });
    }

    fn add<T: ?Sized>(&mut self, key: String, written: Written<'_, T>, show: impl Fn(&T) -> String) {
        let Written { file, span, value } = written;
        self.push(key, value.map_or_else(|| REMOVED.to_owned(), &show), place(file, span), None);
    }

    /// A value that may be a template.
    fn add_value<T: std::fmt::Display>(&mut self, key: String, written: Written<'a, Value<T>>) {
        let Written { file, span, value } = written;
        let template = match value {
            Some(Value::Template(template)) => Some((file, template)),
            Some(Value::Known(_)) | None => None,
        };
        let shown = value.map_or_else(|| REMOVED.to_owned(), ToString::to_string);
        self.push(key, shown, place(file, span), template);
    }

    fn single<T: 'a>(
        &mut self,
        key: &str,
        layers: &Layers<'a>,
        pick: impl Fn(&'a TypedKeys) -> Option<&'a Setting<T>> + 'a,
        show: impl Fn(&T) -> String,
    ) {
        layers.written(pick).for_each(|written| self.add(key.to_owned(), written, &show));
    }

    fn map<K: Ord + std::fmt::Display + 'a, V: std::fmt::Display + 'a>(
        &mut self,
        prefix: &str,
        layers: &Layers<'a>,
        pick: impl Fn(&'a TypedKeys) -> Option<&'a Merge<K, Value<V>>>,
    ) {
        layers.told(pick, |key, written| self.add_value(format!("{prefix}.{key}"), written));
    }

    /// A name is `branch`; keys are `branch.from` and `branch.allowed`. What a name replaced, or what keys replaced it, counts as
    /// overridden by them.
    fn branch(&mut self, layers: &Layers<'a>) {
        for Written { file, span, value } in layers.written(|keys| keys.branch.as_ref()) {
            let stage = match value {
                Some(BranchRule::FromDevice { from, allowed }) => {
                    self.branch_keys(file, from.as_ref(), allowed.as_ref());
                    continue;
                }
                Some(BranchRule::Stage(stage)) => Some(stage),
                None => None,
            };
            self.move_lines(FROM, BRANCH);
            self.move_lines(ALLOWED, BRANCH);
            self.add(BRANCH.to_owned(), Written { file, span, value: stage }, ToString::to_string);
        }
    }

    fn branch_keys(
        &mut self,
        file: &'a Arc<str>,
        from: Option<&'a Setting<TheDevice>>,
        allowed: Option<&'a Setting<BTreeSet<StageName>>>,
    ) {
        self.move_lines(BRANCH, if from.is_some() { FROM } else { ALLOWED });
        if let Some(Setting { span, value }) = from {
            let written = Written { file, span: *span, value: value.as_ref() };
            self.add(FROM.to_owned(), written, |TheDevice| "device".to_owned());
        }
        if let Some(Setting { span, value }) = allowed {
            let written = Written { file, span: *span, value: value.as_ref() };
            let shown =
                |names: &BTreeSet<StageName>| names.iter().map(StageName::as_str).collect::<Vec<_>>().join(", ");
            self.add(ALLOWED.to_owned(), written, shown);
        }
    }

    fn move_lines(&mut self, from: &str, to: &str) {
        let Some(lines) = self.0.remove(from) else { return };
        self.0.entry(to.to_owned()).or_default().extend(lines);
    }

    fn finish(self, scope: &Scope<'_>) -> Vec<Explained> {
        let explained = |(key, mut all): (String, Vec<Line<'_>>)| {
            let Line { written: Overridden { value, place, changed }, template, filled } = all.pop()?;
            let overridden = all.into_iter().rev().map(|line| line.written).collect();
            let (rendered, uses) = match (template, filled) {
                (None, None) => (None, Vec::new()),
                (None, Some(Filled { text, defaulted })) => {
                    (Some(opened(text)), defaulted.into_iter().map(|one| used_default(one, &place)).collect())
                }
                (Some((file, template)), _) => (
                    scope.render(file, template).ok().map(show_out).map(opened),
                    scope.used(template).into_iter().map(used_variable).collect(),
                ),
            };
            Some(Explained { key, value, place, changed, picked: None, rendered, uses, overridden })
        };
        self.0.into_iter().filter_map(explained).collect()
    }
}

/// Explains a device without keeping anything; `None` if the inventory does not list it.
pub fn explain(files: &Snapshot, device: &DeviceId) -> Option<Explanation> {
    Resolver::default().explain(files, device)
}

fn show_out(out: Out) -> String {
    match out {
        Out::Text(text) => text,
        Out::Secret(pieces) => pieces
            .into_iter()
            .map(|piece| match piece {
                OutPiece::Text(text) => text,
                OutPiece::Secret(name, _) => SecretRef { name, digest: None }.to_string(),
            })
            .collect(),
    }
}

/// A variable of a Compose file has its default where it stands, for there is no shell to set it.
fn used_default(Defaulted { name, value }: Defaulted, place: &Place) -> UsedVariable {
    UsedVariable { name, value, place: place.clone() }
}

fn used_variable(used: Used<'_>) -> UsedVariable {
    let Used { name, file, node } = used;
    UsedVariable { name: name.to_owned(), value: as_written(node), place: place(file, node.span) }
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
    let scope = Scope::new(device, &inputs.stack.groups, &layers);
    let mut history = History::default();
    history.branch(&layers);
    history.single("device_type", &layers, |keys| keys.device_type.as_ref(), ToString::to_string);
    layers.written(|keys| keys.os.as_ref()).for_each(|written| history.add_value("os".to_owned(), written));
    if let Some(entry) = picked.image() {
        history.image(entry);
    }
    layers.told(
        |keys| keys.hold.as_ref(),
        |key, written| history.add(format!("hold.{key}"), written, ToString::to_string),
    );
    history.single(
        "profiles",
        &layers,
        |keys| keys.profiles.as_ref(),
        |profiles| profiles.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    );
    history.map("pins", &layers, |keys| keys.pins.as_ref());
    layers.told(
        |keys| keys.config.as_ref(),
        |key, Written { file, span, value }| {
            let template = match value {
                Some(
                    ConfigValue::Hostname(Value::Template(template))
                    | ConfigValue::Zone(Value::Template(template))
                    | ConfigValue::Text(Value::Template(template)),
                ) => Some((file, template)),
                Some(
                    ConfigValue::Hostname(Value::Known(_))
                    | ConfigValue::Zone(Value::Known(_))
                    | ConfigValue::Text(Value::Known(_))
                    | ConfigValue::Secs(_)
                    | ConfigValue::Flag(_)
                    | ConfigValue::Mode(_)
                    | ConfigValue::Triggers(_),
                )
                | None => None,
            };
            let shown = value.map_or_else(|| REMOVED.to_owned(), ToString::to_string);
            history.push(format!("config.{key}"), shown, place(file, span), template);
        },
    );
    layers.told(
        |keys| keys.maintenance.as_ref(),
        |key, Written { file, span, value }| {
            let template = match value {
                Some(MaintenanceValue::Zone(Value::Template(template))) => Some((file, template)),
                Some(MaintenanceValue::Zone(Value::Known(_)) | MaintenanceValue::Windows(_)) | None => None,
            };
            let shown = value.map_or_else(|| REMOVED.to_owned(), ToString::to_string);
            history.push(format!("maintenance.{key}"), shown, place(file, span), template);
        },
    );
    history.map("tags", &layers, |keys| keys.tags.as_ref());
    history.map("labels", &layers, |keys| keys.labels.as_ref());
    for (app, release) in picked.found() {
        let version = Written { file: &release.file, span: release.version_span, value: Some(&release.version) };
        history.add(format!("{app}.release"), version, ToString::to_string);
        let runs = |name: &ServiceName| {
            let Some(sealed) = &outcome.device.spec else { return true };
            sealed.spec.apps.get(app).is_some_and(|app| app.services.contains_key(name))
        };
        history.declared(&release.compose_file, app, &release.declared);
        for (name, service) in release.services.iter().filter(|(name, _)| runs(name)) {
            history.service(&release.compose_file, &format!("{app}/{name}"), service);
            layers.environment_told(&release.compose_file, app, name, service, |variable, written| {
                let Said { file, span, value } = written;
                let key = format!("{app}/{name}.environment.{variable}");
                if Arc::ptr_eq(file, &release.compose_file)
                    && let Some((written, filled)) = filled_in_environment(service, variable)
                {
                    return history.push_filled(key, written, place(file, span), filled);
                }
                let (value, template) = match value {
                    None => (REMOVED.to_owned(), None),
                    Some(Words::Text(text)) => (text.to_owned(), None),
                    Some(Words::Template(template)) => (template.to_string(), Some((file, template))),
                };
                history.push(key, value, place(file, span), template);
            });
        }
    }
    for vars in layers.sources() {
        for field in &vars.free {
            let written = Written { file: &vars.file, span: field.key.span, value: Some(&field.value) };
            history.add(format!("vars.{}", field.key.text), written, as_written);
        }
    }
    unused_variables(&layers, &mut history);
    let mut values = history.finish(&scope);
    for (app, pin) in &merged.pins {
        let key = format!("pins.{app}");
        if let Some(explained) = values.iter_mut().find(|explained| explained.key == key) {
            explained.picked = world.picked(app, &pin.value);
        }
    }
    let is_unreadable = layers.sources().any(|vars| vars.health == Health::Unreadable);
    if outcome.device.branch == Branch::Unknown && (inputs.problem.is_some() || is_unreadable) {
        // What is written elsewhere does not count while one of the files cannot be read.
        values.retain(|explained| ![BRANCH, FROM, ALLOWED].contains(&explained.key.as_str()));
    }
    Explanation {
        device: device.clone(),
        groups: inputs.stack.groups.iter().map(ToString::to_string).collect(),
        problem: outcome.device.problem.clone(),
        values,
    }
}

/// Variables that no service of the device gets, so that whoever asks for one learns at least where it is written.
fn unused_variables<'a>(layers: &Layers<'a>, history: &mut History<'a>) {
    let used: BTreeSet<String> =
        history.0.keys().filter_map(|key| key.split_once(".environment.").map(|(_, name)| name.to_owned())).collect();
    layers.told(
        |keys| keys.variables.as_ref(),
        |name, written| {
            if !used.contains(name.as_str()) {
                history.add_value(format!("variables.{name}"), written);
            }
        },
    );
}
