//! What a commit means for one device, in two steps: what its layers say, and what that points at.

use super::layers::{Layers, Stack, Written};
use super::world::{Asked, World};
use super::{Branch, DesiredDevice, RepoHold};
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, DeviceType, ServiceName, VariableName};
use crate::domain::manifest::os::OsEntry;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::release::requires::Requirements;
use crate::domain::manifest::release::{Release, ReleaseStatus};
use crate::domain::manifest::vars::{BranchRule, ConfigValue, Health, Pin, Vars};
use crate::domain::spec::{AppSpec, DeviceConfig, DeviceSpec, MAX_SPEC_BYTES, SealedSpec, ServiceSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What feeds one device's layers. Equal inputs, by identity, mean the same thing.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What its groups say.
    pub stack: Arc<Stack>,
    /// What the inventory says of it.
    pub inline: Vec<Arc<Vars>>,
    /// Its `host_vars`.
    pub files: Vec<Arc<Vars>>,
    /// Why its line in the inventory cannot be relied on.
    pub problem: Option<Draft>,
}

impl Inputs {
    /// Whether both are made of the very same values.
    pub fn same(&self, other: &Self) -> bool {
        let Self { stack, inline, files, problem } = other;
        Arc::ptr_eq(&self.stack, stack)
            && same_all(&self.inline, inline)
            && same_all(&self.files, files)
            && self.problem == *problem
    }

    /// The layers, from low to high.
    pub fn layers(&self) -> Layers<'_> {
        let groups = self.stack.layers.iter().map(Vec::as_slice);
        Layers(groups.chain([self.inline.as_slice(), self.files.as_slice()]).collect())
    }
}

fn same_all<T>(ours: &[Arc<T>], theirs: &[Arc<T>]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
}

/// What a device's layers say, before anything is looked up.
#[derive(Debug)]
pub struct Merged {
    /// The stage.
    pub branch: Branch,
    /// The kind of hardware.
    pub device_type: Option<Asked<DeviceType>>,
    /// Wanted releases.
    pub pins: BTreeMap<AppName, Asked<Pin>>,
    /// Wanted image.
    pub os: Option<Asked<String>>,
    /// Settings.
    pub config: DeviceConfig,
    /// Pause.
    pub hold: Option<RepoHold>,
    /// Metadata.
    pub tags: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Profiles of Compose files that it has.
    pub profiles: BTreeSet<String>,
    /// The first error in a file that applies to the device.
    pub error: Option<Draft>,
}

/// Lays the layers over each other.
pub fn merge(inputs: &Inputs) -> Merged {
    let layers = inputs.layers();
    let health = layers.sources().map(|vars| vars.health).max().unwrap_or(Health::Sound);
    let error = inputs.problem.clone().or_else(|| {
        layers.sources().filter(|vars| vars.health != Health::Sound).find_map(|vars| vars.first_error().cloned())
    });
    let branch = if inputs.problem.is_some() || health == Health::Unreadable {
        Branch::Unknown
    } else {
        match layers.written(|keys| keys.branch.as_ref()).last().and_then(|written| written.value) {
            Some(BranchRule::Stage(stage)) => Branch::Stage(stage.clone()),
            Some(BranchRule::FromDevice(allowed)) => Branch::FromDevice { allowed: allowed.clone() },
            None => Branch::Unset,
        }
    };
    let mut pins = BTreeMap::new();
    layers.entries(|keys| keys.pins.as_ref(), |app, written| lay(&mut pins, app, asked(written)));
    let mut tags = BTreeMap::new();
    layers.entries(|keys| keys.tags.as_ref(), |key, written| lay(&mut tags, key, written.value.cloned()));
    let mut labels = BTreeMap::new();
    layers.entries(|keys| keys.labels.as_ref(), |key, written| lay(&mut labels, key, written.value.cloned()));
    Merged {
        branch,
        device_type: layers.written(|keys| keys.device_type.as_ref()).last().and_then(asked),
        pins,
        os: layers.written(|keys| keys.os.as_ref()).last().and_then(asked),
        config: config(&layers),
        hold: layers.written(|keys| keys.hold.as_ref()).last().and_then(|written| written.value.cloned()),
        tags,
        labels,
        profiles: layers
            .written(|keys| keys.profiles.as_ref())
            .last()
            .and_then(|written| written.value.cloned())
            .unwrap_or_default(),
        error,
    }
}

fn asked<T: Clone>(written: Written<'_, T>) -> Option<Asked<T>> {
    let Written { file, span, value } = written;
    value.map(|value| Asked { value: value.clone(), file: file.clone(), span })
}

/// RFC 7396: a value replaces, nothing removes.
fn lay<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key.clone(), value);
        }
        None => {
            map.remove(key);
        }
    }
}

fn config(layers: &Layers<'_>) -> DeviceConfig {
    let mut settings: BTreeMap<String, ConfigValue> = BTreeMap::new();
    layers.entries(|keys| keys.config.as_ref(), |key, written| lay(&mut settings, key, written.value.cloned()));
    let mut config = DeviceConfig::default();
    for (key, value) in settings {
        match value {
            ConfigValue::Secs(secs) => config.poll_interval_secs = Some(secs),
            ConfigValue::Flag(flag) => config.persistent_logging = Some(flag),
            ConfigValue::Text(text) => {
                config.extra.insert(key, text);
            }
        }
    }
    config
}

/// What was looked up, or why it cannot be had.
type Found<T> = Result<Arc<T>, Box<Draft>>;

/// What a device's wishes point at in one commit. Equal picks, by identity, give the same spec.
#[derive(Clone, Debug)]
pub struct Picked {
    releases: Vec<(AppName, Found<Release>)>,
    os: Option<Found<OsEntry>>,
    device_type: Result<(), Box<Draft>>,
}

impl Picked {
    /// Looks up what a device asks for.
    pub fn new(merged: &Merged, world: &World) -> Self {
        let own = merged.device_type.as_ref().map(|asked| &asked.value);
        let release = |(app, pin): (&AppName, &Asked<Pin>)| {
            let release = world.pick(app, pin).and_then(|release| world.runs_on(&release, pin, own).map(|()| release));
            (app.clone(), release)
        };
        Self {
            releases: merged.pins.iter().map(release).collect(),
            os: merged.os.as_ref().map(|name| world.image(name, own)),
            device_type: merged.device_type.as_ref().map_or(Ok(()), |asked| world.knows(asked)),
        }
    }

    /// Whether both point at the very same things.
    pub fn same(&self, other: &Self) -> bool {
        let Self { releases, os, device_type } = other;
        self.device_type == *device_type
            && self.releases.len() == releases.len()
            && self
                .releases
                .iter()
                .zip(releases)
                .all(|(ours, theirs)| ours.0 == theirs.0 && same_result(&ours.1, &theirs.1))
            && match (&self.os, os) {
                (None, None) => true,
                (Some(ours), Some(theirs)) => same_result(ours, theirs),
                (None, Some(_)) | (Some(_), None) => false,
            }
    }

    fn errors(&self) -> Vec<Draft> {
        let releases = self.releases.iter().filter_map(|(_, release)| release.as_ref().err());
        let os = self.os.iter().filter_map(|os| os.as_ref().err());
        releases.chain(os).chain(self.device_type.as_ref().err()).map(|draft| Draft::clone(draft)).collect()
    }

    /// The releases that were found.
    pub fn found(&self) -> impl Iterator<Item = (&AppName, &Arc<Release>)> {
        self.releases.iter().filter_map(|(app, release)| Some((app, release.as_ref().ok()?)))
    }
}

fn same_result<T>(ours: &Found<T>, theirs: &Found<T>) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => Arc::ptr_eq(ours, theirs),
        (Err(ours), Err(theirs)) => ours == theirs,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

/// What a device comes to.
#[derive(Debug)]
pub struct Outcome {
    /// The result.
    pub device: Arc<DesiredDevice>,
    /// Findings about this device that are not findings about one file.
    pub drafts: Vec<Draft>,
}

/// Makes the content of a device.
pub fn outcome(inputs: &Inputs, merged: &Merged, picked: &Picked) -> Outcome {
    let layers = inputs.layers();
    let mut drafts = picked.errors();
    drafts.extend(ambiguous(&layers, picked));
    drafts.extend(doubtful(merged, picked));
    drafts.extend(switched_off(merged, picked));
    let is_error = |draft: &&Draft| draft.severity == crate::domain::finding::Severity::Error;
    let mut error = merged.error.clone().or_else(|| drafts.iter().find(is_error).cloned());
    let mut spec = None;
    if error.is_none() {
        let sealed = SealedSpec::seal(spec_of(&layers, merged, picked));
        if sealed.payload.len() > MAX_SPEC_BYTES {
            let draft = too_long(inputs, sealed.payload.len());
            error = Some(draft.clone());
            drafts.push(draft);
        } else {
            spec = Some(sealed);
        }
    }
    let device = DesiredDevice {
        branch: merged.branch.clone(),
        spec,
        problem: error.map(|draft| super::findings::sentence(&draft)),
        hold: merged.hold.clone(),
        groups: inputs.stack.groups.iter().map(ToString::to_string).collect(),
        tags: merged.tags.clone(),
        labels: merged.labels.clone(),
        requires: requires(picked),
    };
    Outcome { device: Arc::new(device), drafts }
}

fn too_long(inputs: &Inputs, size: usize) -> Draft {
    let highest = inputs
        .layers()
        .sources()
        .last()
        .map_or_else(|| crate::domain::manifest::inventory::INVENTORY_FILE.into(), |vars| vars.file.clone());
    let message = format!("the content of the device is {size} bytes long; at most {MAX_SPEC_BYTES} are accepted");
    Draft::error(&highest, Default::default(), codes::SPEC_TOO_LONG, message)
}

/// A plain service name that two apps of the device have.
fn ambiguous(layers: &Layers<'_>, picked: &Picked) -> Vec<Draft> {
    let mut apps: BTreeMap<&ServiceName, Vec<&AppName>> = BTreeMap::new();
    for (app, release) in picked.found() {
        for service in release.services.keys() {
            apps.entry(service).or_default().push(app);
        }
    }
    let mut drafts = Vec::new();
    layers.entries(
        |keys| keys.services.as_ref(),
        |key, written| {
            let Some(apps) = apps.get(&key.service).filter(|apps| apps.len() > 1 && key.app.is_none()) else { return };
            let names: Vec<&str> = apps.iter().map(|app| app.as_str()).collect();
            let message = format!("the apps {} all have a service `{}`", names.join(", "), key.service);
            let draft = Draft::error(written.file, written.span, codes::AMBIGUOUS_SERVICE, message);
            drafts.push(draft.hint(format!("write `{}/{}`", names[0], key.service)));
        },
    );
    drafts
}

/// Exact pins on releases that nothing else picks: they hold, and people should know.
fn doubtful(merged: &Merged, picked: &Picked) -> Vec<Draft> {
    let doubt = |(app, release): (&AppName, &Arc<Release>)| {
        let version = &release.version;
        let (code, message, hint) = match &release.status {
            ReleaseStatus::Final => return None,
            ReleaseStatus::Draft => (
                codes::DRAFT_RELEASE,
                format!("release {version} of `{app}` is a draft"),
                "this is fine while it is tried",
            ),
            ReleaseStatus::Invalidated { reason } => {
                let message = format!("release {version} of `{app}` was invalidated: {reason}");
                (codes::INVALIDATED_RELEASE, message, "pin another one, or `latest`")
            }
        };
        let pin = merged.pins.get(app)?;
        Some(Draft::warning(&pin.file, pin.span, code, message).hint(hint))
    };
    picked.found().filter_map(doubt).collect()
}

/// What the picked releases ask of the device beyond its type, which is known here.
fn requires(picked: &Picked) -> BTreeMap<AppName, Arc<Requirements>> {
    let asks = |release: &Release| {
        let Requirements { device_types: _, min_agent, os, from } = &*release.requires;
        min_agent.is_some() || os.is_some() || !from.is_empty()
    };
    let asking = picked.found().filter(|(_, release)| asks(release));
    asking.map(|(app, release)| (app.clone(), release.requires.clone())).collect()
}

/// Services that need one which the device's profiles switch off.
fn switched_off(merged: &Merged, picked: &Picked) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (app, release) in picked.found() {
        let runs = |name: &ServiceName| release.services.get(name).is_some_and(|one| one.runs_with(&merged.profiles));
        for (name, service) in release.services.iter().filter(|(name, _)| runs(name)) {
            let needed = service.spec.needed();
            let Some(other) = needed.into_iter().find(|other| !runs(other) && !service.optional.contains(*other))
            else {
                continue;
            };
            let message =
                format!("`{app}/{name}` needs `{other}`, which runs only with a profile that the device lacks");
            let profiles = release.services.get(other).map(|one| &one.profiles).into_iter().flatten();
            let profiles: Vec<&str> = profiles.map(String::as_str).collect();
            let draft = Draft::error(&release.compose_file, service.span, codes::COMPOSE_DEPENDENCY, message);
            drafts.push(draft.hint(format!("add one of these to `profiles`: {}", profiles.join(", "))));
        }
    }
    drafts
}

fn spec_of(layers: &Layers<'_>, merged: &Merged, picked: &Picked) -> DeviceSpec {
    let apps = picked.found().map(|(app, release)| (app.clone(), app_spec(layers, merged, app, release))).collect();
    let os = picked.os.as_ref().and_then(|os| os.as_ref().ok()).map(|entry| entry.spec.clone());
    DeviceSpec {
        device_type: merged.device_type.as_ref().map(|asked| asked.value.clone()),
        apps,
        os,
        config: merged.config.clone(),
        ..DeviceSpec::default()
    }
}

fn app_spec(layers: &Layers<'_>, merged: &Merged, app: &AppName, release: &Release) -> AppSpec {
    let runs = |name: &ServiceName| release.services.get(name).is_some_and(|one| one.runs_with(&merged.profiles));
    let service_spec = |(name, service): (&ServiceName, &crate::domain::manifest::compose::Service)| {
        let mut environment: BTreeMap<VariableName, String> = BTreeMap::new();
        layers.environment(&release.compose_file, app, name, service, |variable, written| {
            lay(&mut environment, variable, written.value.cloned());
        });
        let mut depends_on = service.spec.depends_on.clone();
        depends_on.retain(|dependency| runs(&dependency.service));
        (name.clone(), ServiceSpec { environment, depends_on, ..service.spec.clone() })
    };
    AppSpec {
        release: release.version.clone(),
        services: release.services.iter().filter(|(name, _)| runs(name)).map(service_spec).collect(),
        volumes: release.volumes.iter().cloned().collect::<BTreeSet<_>>(),
        networks: release.networks.clone(),
    }
}
