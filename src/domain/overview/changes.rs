//! What a change of a device's content consists of, and which devices change in the same way.

use crate::domain::ids::DeviceId;
use crate::domain::plan::gate::Action;
use crate::domain::spec::{AppSpec, DeviceConfig, DeviceSpec, HostFile, OsSpec, Purpose, ServiceSpec};
use crate::domain::window::Windows;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The longest content of a file that is shown as it is, in bytes.
const MAX_SHOWN_CONTENT: usize = 80;

/// One field that differs between two specs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldChange {
    /// What differs, from the outside in, as in a drift report: `signage`, `signage/player environment.URL`, `os version`.
    pub field: String,
    /// The value before; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value after; `None` if there will be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Devices for which the same happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeGroup {
    /// What happens.
    pub action: Action,
    /// The devices.
    pub devices: BTreeSet<DeviceId>,
    /// Which fields change, sorted.
    pub fields: Vec<FieldChange>,
}

/// Puts devices together for which the same happens, in the order of their first device.
pub fn group_changes(changes: impl IntoIterator<Item = (DeviceId, Action, Vec<FieldChange>)>) -> Vec<ChangeGroup> {
    let mut groups: BTreeMap<(Action, Vec<FieldChange>), BTreeSet<DeviceId>> = BTreeMap::new();
    for (device, action, fields) in changes {
        groups.entry((action, fields)).or_default().insert(device);
    }
    let group = |((action, fields), devices)| ChangeGroup { action, devices, fields };
    let mut groups: Vec<ChangeGroup> = groups.into_iter().map(group).collect();
    groups.sort_by(|a, b| (a.action, a.devices.first()).cmp(&(b.action, b.devices.first())));
    groups
}

/// Every field that differs between two specs, sorted. What is wholly new or gone is one field, not each of its parts.
pub fn field_changes(from: Option<&DeviceSpec>, to: Option<&DeviceSpec>) -> Vec<FieldChange> {
    let nothing = DeviceSpec::default();
    let (from, to) = (from.unwrap_or(&nothing), to.unwrap_or(&nothing));
    let DeviceSpec { schema: _, device_type, apps, os, config, maintenance } = to;
    let mut found = Fields(Vec::new());
    found.texts("device_type", from.device_type.as_ref(), device_type.as_ref());
    for app in keys(&from.apps, apps) {
        found.app(app.as_str(), from.apps.get(app), apps.get(app));
    }
    match (&from.os, os) {
        (Some(from), Some(to)) => found.parts("os ", from, to),
        (from, to) => found.texts("os", from.as_ref().map(show_os), to.as_ref().map(show_os)),
    }
    found.config(&from.config, config);
    for purpose in [Purpose::Download, Purpose::Apply] {
        let shown = |windows: &Windows| (!windows.is_empty()).then(|| windows.to_string());
        let (from, to) = (shown(from.maintenance.windows(purpose)), shown(maintenance.windows(purpose)));
        found.add(format!("maintenance {}", purpose.name()), from, to);
    }
    found.0.sort();
    found.0
}

fn keys<'a, K: Ord, V>(one: &'a BTreeMap<K, V>, other: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    one.keys().chain(other.keys()).collect()
}

fn show_os(os: &OsSpec) -> String {
    format!("{} {}", os.name, os.version)
}

/// A short content as it is, with references in the place of secrets; a long one by its digest.
fn show_content(file: &HostFile) -> String {
    let text = file.secret_content.as_ref().map_or_else(|| file.content.clone(), ToString::to_string);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if line.len() <= MAX_SHOWN_CONTENT && !line.chars().any(char::is_control) {
        return line.to_owned();
    }
    format!("{} ({} bytes)", file.key().short(), file.written_bytes())
}

struct Fields(Vec<FieldChange>);

impl Fields {
    fn add(&mut self, field: String, from: Option<String>, to: Option<String>) {
        if from != to {
            self.0.push(FieldChange { field, from, to });
        }
    }

    fn texts<T: ToString>(&mut self, field: &str, from: Option<T>, to: Option<T>) {
        self.add(field.to_owned(), from.map(|one| one.to_string()), to.map(|one| one.to_string()));
    }

    fn app(&mut self, app: &str, from: Option<&AppSpec>, to: Option<&AppSpec>) {
        self.texts(app, from.map(|from| &from.release), to.map(|to| &to.release));
        let (Some(from), Some(AppSpec { release: _, services, volumes, networks })) = (from, to) else { return };
        for volume in from.volumes.symmetric_difference(volumes) {
            let present = |set: &BTreeSet<_>| set.contains(volume).then_some("present");
            self.texts(&format!("{app} volume {volume}"), present(&from.volumes), present(volumes));
        }
        for network in keys(&from.networks, networks) {
            let settings = |all: &BTreeMap<_, _>| all.get(network).cloned().unwrap_or_default();
            self.parts(&format!("{app} network {network} "), &settings(&from.networks), &settings(networks));
        }
        for service in keys(&from.services, services) {
            let field = format!("{app}/{service}");
            match (from.services.get(service), services.get(service)) {
                (Some(from), Some(to)) => self.parts(&format!("{field} "), &shown(from), &shown(to)),
                (from, to) => self.texts(&field, from.map(|from| &from.image), to.map(|to| &to.image)),
            }
        }
    }

    /// Contents of files are told by their digests: a line of a plan has no room for them, and the commit shows them.
    fn config(&mut self, from: &DeviceConfig, to: &DeviceConfig) {
        let settings = |config: &DeviceConfig| DeviceConfig { files: BTreeMap::new(), ..config.clone() };
        self.parts("config ", &settings(from), &settings(to));
        for path in keys(&from.files, &to.files) {
            let (from, to) = (from.files.get(path), to.files.get(path));
            self.texts(&format!("config files.{path}"), from.map(show_content), to.map(show_content));
            if let (Some(from), Some(to)) = (from, to) {
                self.texts(&format!("config files.{path}.mode"), Some(from.mode), Some(to.mode));
            }
        }
    }

    /// Compares two values of one type field by field, as they are written in the payload.
    fn parts<T: Serialize>(&mut self, prefix: &str, from: &T, to: &T) {
        let (from, to) = (leaves(from), leaves(to));
        for path in keys(&from, &to) {
            self.add(format!("{prefix}{path}"), from.get(path).cloned(), to.get(path).cloned());
        }
    }
}

/// A service as people read it: variables that hold secrets stand among the others, with references for values.
fn shown(service: &ServiceSpec) -> ServiceSpec {
    let mut shown = service.clone();
    let secrets = std::mem::take(&mut shown.secret_environment);
    shown.environment.extend(secrets.into_iter().map(|(name, text)| (name, text.to_string())));
    shown
}

fn leaves<T: Serialize>(value: &T) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let value = serde_json::to_value(value).expect("parts of a spec have only string keys");
    collect("", &value, &mut found);
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(&path, value, found);
            }
        }
        Value::String(text) => {
            found.insert(path.to_owned(), text.clone());
        }
        // The order of a list is part of its meaning, so a list is one value.
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {
            found.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Version;
    use crate::domain::spec::Restart;

    fn service(image: &str, environment: &[(&str, &str)]) -> ServiceSpec {
        let variable = |(name, value): &(&str, &str)| (name.parse().expect("a name"), (*value).to_owned());
        ServiceSpec { environment: environment.iter().map(variable).collect(), ..ServiceSpec::of_image(image) }
    }

    fn spec(release: &str, services: &[(&str, ServiceSpec)]) -> DeviceSpec {
        let services =
            services.iter().map(|(name, service)| (name.parse().expect("a name"), service.clone())).collect();
        let app = AppSpec { release: version(release), services, volumes: BTreeSet::new(), networks: BTreeMap::new() };
        DeviceSpec { apps: BTreeMap::from([("web".parse().expect("a name"), app)]), ..DeviceSpec::default() }
    }

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    fn check(from: Option<&DeviceSpec>, to: Option<&DeviceSpec>) -> String {
        let show = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let line = |one: FieldChange| format!("{}: {} -> {}", one.field, show(one.from), show(one.to));
        field_changes(from, to).into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn equal_specs_have_no_changes() {
        let one = spec("1.0.0", &[("app", service("a:1", &[("A", "1")]))]);
        assert_eq!(check(Some(&one), Some(&one.clone())), "");
    }

    #[test]
    fn fields_are_named_from_the_outside_in() {
        let from = spec("1.0.0", &[("app", service("a:1", &[("A", "1"), ("B", "2")])), ("old", service("o:1", &[]))]);
        let mut to = spec("1.1.0", &[("app", service("a:2", &[("A", "3")])), ("new", service("n:1", &[]))]);
        to.os = Some(OsSpec::named("basic", version("7")));
        to.config.poll_interval_secs = Some(30);
        if let Some(service) = to.apps.values_mut().next().and_then(|app| app.services.get_mut("app")) {
            service.restart = Restart::OnFailure(3);
            service.command = Some(vec!["run".to_owned(), "fast".to_owned()]);
        }
        insta::assert_snapshot!(check(Some(&from), Some(&to)), @r#"
        config poll_interval_secs: - -> 30
        os: - -> basic 7
        web: 1.0.0 -> 1.1.0
        web/app command: - -> ["run","fast"]
        web/app environment.A: 1 -> 3
        web/app environment.B: 2 -> -
        web/app image: a:1 -> a:2
        web/app restart.on-failure: - -> 3
        web/new: - -> n:1
        web/old: o:1 -> -
        "#);
    }

    #[test]
    fn first_content_is_told_by_its_releases() {
        let to = spec("1.0.0", &[("app", service("a:1", &[("A", "1")]))]);
        assert_eq!(check(None, Some(&to)), "web: - -> 1.0.0");
        assert_eq!(check(Some(&to), None), "web: 1.0.0 -> -");
    }

    #[test]
    fn devices_that_change_in_the_same_way_are_one_group() {
        let field = |to: &str| FieldChange { field: "web".to_owned(), from: None, to: Some(to.to_owned()) };
        let device = |name: &str| name.parse().expect("a device");
        let groups = group_changes([
            (device("a"), Action::Retarget, vec![field("2")]),
            (device("b"), Action::Retarget, vec![field("1")]),
            (device("c"), Action::Retarget, vec![field("2")]),
        ]);
        let names: Vec<Vec<&str>> =
            groups.iter().map(|group| group.devices.iter().map(|device| device.as_str()).collect()).collect();
        assert_eq!(names, [vec!["a", "c"], vec!["b"]]);
    }
}
