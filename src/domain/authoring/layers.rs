//! What is said of devices, and where: of all, of a group, or of the device alone.

use super::releases::{Blends, given};
use super::words::{self, Unsayable};
use super::{Authored, ServiceId, windows};
use crate::domain::ids::{AppName, DeviceId, ServiceName, StageName};
use crate::domain::spec::{AppSpec, DeviceConfig, DeviceSpec, FileMode, HostFile, Maintenance};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Keys from the top of a vars file.
pub(super) type Path = Vec<String>;
/// Values of typed keys.
pub(super) type Values = BTreeMap<Path, Value>;

/// What is to be true of a device.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    wanted: Values,
    /// What its releases say by themselves.
    given: Values,
    /// Its services, as vars files call them. What is said of others changes nothing.
    services: BTreeSet<String>,
}

impl Said {
    fn minds(&self, path: &Path) -> bool {
        match &**path {
            [services, service, ..] if services == "services" => self.services.contains(service),
            _ => true,
        }
    }
}

/// Values by the layer that says them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layers {
    pub(super) all: Values,
    pub(super) groups: BTreeMap<String, Values>,
    pub(super) devices: BTreeMap<DeviceId, Values>,
}

/// What vars files call services: with their app where two apps have one of this name.
pub(super) fn service_names(blends: &Blends) -> BTreeMap<ServiceId, String> {
    let mut apps: BTreeMap<&ServiceName, BTreeSet<&AppName>> = BTreeMap::new();
    for ((app, _), blend) in blends {
        blend.services.keys().for_each(|service| {
            apps.entry(service).or_default().insert(app);
        });
    }
    let name = |service: &ServiceName, app: &AppName, is_alone: bool| {
        let name = if is_alone { service.to_string() } else { format!("{app}/{service}") };
        ((app.clone(), service.clone()), name)
    };
    let of_service = |(service, apps): (&ServiceName, BTreeSet<&AppName>)| -> Vec<_> {
        apps.iter().map(|app| name(service, app, apps.len() == 1)).collect()
    };
    apps.into_iter().flat_map(of_service).collect()
}

/// Reads one device's content as values of typed keys.
pub(super) struct Reading<'a> {
    pub(super) blends: &'a Blends,
    pub(super) names: &'a BTreeMap<ServiceId, String>,
    pub(super) device: &'a DeviceId,
    pub(super) authored: &'a mut Authored,
    pub(super) said: Said,
}

impl Reading<'_> {
    /// Everything that is said of the device.
    pub(super) fn of(mut self, spec: &DeviceSpec, stage: Option<&StageName>) -> Said {
        let DeviceSpec { schema: _, device_type, apps, os, config, maintenance } = spec;
        self.say(&["branch"], stage.map(|stage| Value::from(stage.as_str())));
        self.say(&["device_type"], device_type.as_ref().map(|one| Value::from(one.as_str())));
        if let Some(os) = os {
            self.words(&["os"], words::plain(&os.name));
        }
        self.config(config);
        self.maintenance(maintenance);
        for (app, of_app) in apps {
            self.app(app, of_app);
        }
        self.profiles(apps);
        self.said
    }

    fn say(&mut self, path: &[&str], value: Option<Value>) {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        self.said.wanted.extend(value.map(|value| (path, value)));
    }

    fn words(&mut self, path: &[&str], value: Result<Value, Unsayable>) {
        match value {
            Ok(value) => self.say(path, Some(value)),
            Err(why) => self.authored.leave(Some(self.device), path.join("."), why.to_string()),
        }
    }

    fn config(&mut self, config: &DeviceConfig) {
        let DeviceConfig { poll_interval_secs, persistent_logging, hostname, time_zone, sysctl, files, hooks, extra } =
            config;
        self.say(&["config", "poll_interval_secs"], poll_interval_secs.map(Value::from));
        self.say(&["config", "persistent_logging"], persistent_logging.map(Value::from));
        self.say(&["config", "hostname"], hostname.as_ref().map(|name| Value::from(name.as_str())));
        self.say(&["config", "time_zone"], time_zone.as_ref().map(|name| Value::from(name.as_str())));
        for (name, value) in sysctl {
            self.words(&["config", "sysctl", name.as_str()], words::plain(value));
        }
        for (path, HostFile { content, secret_content, mode }) in files {
            let usual = if secret_content.is_some() { FileMode::PRIVATE } else { FileMode::USUAL };
            let content = secret_content.as_ref().map_or_else(|| words::plain(content), words::secret);
            self.words(&["config", "files", path.as_str(), "content"], content);
            let mode = (*mode != usual).then(|| Value::from(mode.to_string()));
            self.say(&["config", "files", path.as_str(), "mode"], mode);
        }
        for (name, triggers) in hooks {
            let triggers: Vec<Value> = triggers.iter().map(|trigger| Value::from(trigger.to_string())).collect();
            self.say(&["config", "hooks", name.as_str()], Some(Value::Array(triggers)));
        }
        for (key, text) in extra {
            self.words(&["config", key], words::plain(text));
        }
    }

    fn maintenance(&mut self, maintenance: &Maintenance) {
        for (purpose, windows) in windows::purposes(maintenance) {
            match windows::windows(windows) {
                Ok(windows) if windows.is_empty() => {}
                Ok(windows) => self.say(&["maintenance", purpose], Some(Value::Array(windows))),
                Err(reason) => self.authored.leave(Some(self.device), format!("maintenance.{purpose}"), reason),
            }
        }
    }

    fn app(&mut self, app: &AppName, of_app: &AppSpec) {
        self.say(&["pins", app.as_str()], Some(Value::from(of_app.release.as_str())));
        for (name, service) in &of_app.services {
            let Some(called) = self.names.get(&(app.clone(), name.clone())).cloned() else { continue };
            self.said.services.insert(called.clone());
            for (variable, value) in given(self.blends, app, &of_app.release, name).into_iter().flatten() {
                let path = ["services", &called, "variables", variable.as_str()].map(str::to_owned).to_vec();
                self.said.given.extend(words::plain(value).ok().map(|value| (path, value)));
            }
            for (variable, value) in &service.environment {
                let value = words::plain(value);
                // The release may hold what is too long for a template.
                let is_given =
                    given(self.blends, app, &of_app.release, name).is_some_and(|all| all.contains_key(variable));
                if value.is_ok() || !is_given {
                    self.words(&["services", &called, "variables", variable.as_str()], value);
                }
            }
            for (variable, text) in &service.secret_environment {
                self.words(&["services", &called, "variables", variable.as_str()], words::secret(text));
            }
        }
    }

    /// The profiles of its services that not all devices run.
    fn profiles(&mut self, apps: &BTreeMap<AppName, AppSpec>) {
        let mut names = BTreeSet::new();
        for (app, of_app) in apps {
            let Some(blend) = self.blends.get(&(app.clone(), of_app.release.clone())) else { continue };
            let parts = of_app.services.keys().filter_map(|name| blend.services.get(name));
            names.extend(parts.filter_map(|part| part.profile.clone()));
        }
        let names: Vec<Value> = names.into_iter().map(Value::from).collect();
        self.say(&["profiles"], (!names.is_empty()).then_some(Value::Array(names)));
    }
}

/// Says everything as far up as it holds.
pub(super) fn lay(said: &BTreeMap<DeviceId, Said>, groups: &BTreeMap<String, BTreeSet<DeviceId>>) -> Layers {
    let mut layers = Layers::default();
    let paths: BTreeSet<&Path> = said.values().flat_map(|one| one.wanted.keys()).collect();
    let mut ranked: Vec<(&String, &BTreeSet<DeviceId>)> = groups.iter().collect();
    ranked.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    for path in paths {
        let minding: BTreeMap<&DeviceId, &Said> = said.iter().filter(|(_, one)| one.minds(path)).collect();
        let mut reached: BTreeMap<&DeviceId, &Value> =
            minding.iter().filter_map(|(device, one)| Some((*device, one.given.get(path)?))).collect();
        if let Some(usual) = usual(&minding, path)
            && minding
                .iter()
                .any(|(device, one)| one.wanted.get(path) == Some(usual) && reached.get(device) != Some(&usual))
        {
            layers.all.insert(path.clone(), usual.clone());
            reached = minding.keys().map(|device| (*device, usual)).collect();
        }
        for (group, members) in &ranked {
            let inside: Vec<(&DeviceId, &Said)> = members
                .iter()
                .filter_map(|device| minding.get_key_value(device))
                .map(|(at, one)| (*at, *one))
                .collect();
            let Some(value) = inside.first().and_then(|(_, one)| one.wanted.get(path)) else { continue };
            let agree = inside.len() > 1 && inside.iter().all(|(_, one)| one.wanted.get(path) == Some(value));
            if agree && inside.iter().any(|(device, _)| reached.get(device) != Some(&value)) {
                layers.groups.entry((*group).clone()).or_default().insert(path.clone(), value.clone());
                reached.extend(inside.iter().map(|(device, _)| (*device, value)));
            }
        }
        for (device, one) in minding {
            if let Some(value) = one.wanted.get(path).filter(|value| reached.get(device) != Some(value)) {
                layers.devices.entry(device.clone()).or_default().insert(path.clone(), value.clone());
            }
        }
    }
    layers
}

/// What most devices want; nothing where one wants nothing.
fn usual<'a>(minding: &BTreeMap<&DeviceId, &'a Said>, path: &Path) -> Option<&'a Value> {
    let mut votes: BTreeMap<String, (usize, &Value)> = BTreeMap::new();
    for said in minding.values() {
        let value = said.wanted.get(path)?;
        votes.entry(value.to_string()).or_insert((0, value)).0 += 1;
    }
    votes.into_values().find(|(votes, _)| votes * 2 > minding.len()).map(|(_, value)| value)
}
