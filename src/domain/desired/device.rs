//! What a commit means for one device, in two steps: what its layers say, and what that points at.

use super::follows;
use super::host::{AskedFile, MergedConfig, config, total_too_long};
use super::layers::{Layers, Stack, Words, Written};
use super::maintenance::maintenance;
use super::scope::{Scope, plain};
use super::secrets::{SecretState, SecretTable};
use super::ways::ways;
use super::world::{Asked, World};
use super::{Branch, DesiredDevice, FreeVariables, RepoHold};
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, DeviceId, DeviceType, FilePath, SecretName, ServiceName, VariableName};
use crate::domain::manifest::os::OsEntry;
use crate::domain::manifest::problems::{Draft, Problems};
use crate::domain::manifest::release::requires::Requirements;
use crate::domain::manifest::release::{Release, ReleaseStatus};
use crate::domain::manifest::template::{Out, OutPiece, Template, Value};
use crate::domain::manifest::vars::{Health, Pin, Vars, parse_label, parse_pin, parse_text, parse_words};
use crate::domain::manifest::yaml::Span;
use crate::domain::secret::{Piece, SecretRef, SecretText};
use crate::domain::spec::{
    AppSpec, DeviceConfig, DeviceSpec, FileMode, HostFile, MAX_SPEC_BYTES, Maintenance, SealedSpec, ServiceSpec,
};
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
    /// Settings of host and agent.
    pub config: MergedConfig,
    /// Pause.
    pub hold: Option<RepoHold>,
    /// Metadata.
    pub tags: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it may fetch and change.
    pub maintenance: Maintenance,
    /// Profiles of Compose files that it has.
    pub profiles: BTreeSet<String>,
    /// The first error in a file that applies to the device.
    pub error: Option<Draft>,
    /// What is wrong with values that were rendered for this device.
    pub drafts: Vec<Draft>,
}

/// Lays the layers over each other.
pub fn merge(device: &DeviceId, inputs: &Inputs) -> Merged {
    let layers = inputs.layers();
    let health = layers.sources().map(|vars| vars.health).max().unwrap_or(Health::Sound);
    let error = inputs.problem.clone().or_else(|| {
        layers.sources().filter(|vars| vars.health != Health::Sound).find_map(|vars| vars.first_error().cloned())
    });
    let scope = Scope::new(device, &inputs.stack.groups, &layers);
    let mut rendering = Rendering { scope: &scope, drafts: Vec::new() };
    let branch = if inputs.problem.is_some() || health == Health::Unreadable {
        Branch::Unknown
    } else {
        follows::branch(&layers, &mut rendering)
    };
    let mut pins = BTreeMap::new();
    layers.entries(|keys| keys.pins.as_ref(), |app, written| lay(&mut pins, app, asked(written)));
    let pins =
        pins.into_iter().filter_map(|(app, pin)| Some((app, rendering.asked(pin, "a pin", parse_pin)?))).collect();
    let os = layers.written(|keys| keys.os.as_ref()).last().and_then(asked);
    let mut tags = BTreeMap::new();
    layers.entries(|keys| keys.tags.as_ref(), |key, written| lay(&mut tags, key, asked(written)));
    let mut labels = BTreeMap::new();
    layers.entries(|keys| keys.labels.as_ref(), |key, written| lay(&mut labels, key, asked(written)));
    let merged = Merged {
        branch,
        device_type: layers.written(|keys| keys.device_type.as_ref()).last().and_then(asked),
        pins,
        os: os.and_then(|os| rendering.asked(os, "`os`", parse_words)),
        config: config(&layers, &mut rendering),
        maintenance: maintenance(&layers, &mut rendering),
        hold: follows::hold(&layers, &mut rendering),
        tags: rendering.map(tags, "a tag", parse_text),
        labels: rendering.map(labels, "a label", parse_label),
        profiles: layers
            .written(|keys| keys.profiles.as_ref())
            .last()
            .and_then(|written| written.value.cloned())
            .unwrap_or_default(),
        error,
        drafts: Vec::new(),
    };
    let drafts = rendering.drafts;
    let error = merged.error.clone().or_else(|| drafts.first().cloned());
    Merged { error, drafts, ..merged }
}

/// Renders the values of one device, and collects what is wrong with them.
pub(super) struct Rendering<'a> {
    scope: &'a Scope<'a>,
    drafts: Vec<Draft>,
}

impl Rendering<'_> {
    /// Notes something wrong.
    pub(super) fn add(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    /// The value itself, or what its template comes to.
    pub(super) fn asked<T>(
        &mut self,
        asked: Asked<Value<T>>,
        what: &'static str,
        parse: impl Fn(&str, Span, &'static str, &mut Problems) -> Option<T>,
    ) -> Option<Asked<T>> {
        let Asked { value, file, span } = asked;
        let value = match value {
            Value::Known(value) => value,
            Value::Template(template) => {
                let text = self.text(&file, &template, what)?;
                let mut problems = Problems::new(&file);
                let value = parse(&text, template.span, what, &mut problems);
                self.drafts.extend(problems.finish());
                value?
            }
        };
        Some(Asked { value, file, span })
    }

    fn map(
        &mut self,
        map: BTreeMap<String, Asked<Value<String>>>,
        what: &'static str,
        parse: impl Fn(&str, Span, &'static str, &mut Problems) -> Option<String>,
    ) -> BTreeMap<String, String> {
        map.into_iter().filter_map(|(key, value)| Some((key, self.asked(value, what, &parse)?.value))).collect()
    }

    /// A text that cannot hold secrets.
    fn text(&mut self, file: &Arc<str>, template: &Template, what: &str) -> Option<String> {
        let rendered = self.scope.render(file, template).and_then(|out| {
            plain(out, what).map_err(|fault| {
                let draft = Draft::error(file, template.span, codes::SECRET, fault.message);
                Box::new(draft.maybe_hint(fault.hint))
            })
        });
        rendered.map_err(|draft| self.drafts.push(*draft)).ok()
    }
}

pub(super) fn asked<T: Clone>(written: Written<'_, T>) -> Option<Asked<T>> {
    let Written { file, span, value } = written;
    value.map(|value| Asked { value: value.clone(), file: file.clone(), span })
}

/// RFC 7396: a value replaces, nothing removes.
pub(super) fn lay<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key.clone(), value);
        }
        None => {
            map.remove(key);
        }
    }
}

/// What was looked up, or why it cannot be had.
type Found<T> = Result<Arc<T>, Box<Draft>>;

/// What a device's wishes point at in one commit. Equal picks, by identity, give the same spec.
#[derive(Clone, Debug)]
pub struct Picked {
    releases: Vec<(AppName, Found<Release>)>,
    no_way_back: BTreeMap<AppName, semver::Version>,
    /// Releases that may lie on the way to those, the nearest first; apps without any are left out.
    pub(super) before: Vec<(AppName, Vec<Arc<Release>>)>,
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
        let releases: Vec<(AppName, Found<Release>)> = merged.pins.iter().map(release).collect();
        let found = releases.iter().filter_map(|(app, release)| Some((app, release.as_ref().ok()?)));
        let no_way_back = found.clone().filter_map(|(app, release)| Some((app.clone(), world.no_way_back(release)?)));
        let before = found.map(|(app, release)| (app.clone(), world.before(release, own)));
        Self {
            no_way_back: no_way_back.collect(),
            before: before.filter(|(_, before)| !before.is_empty()).collect(),
            releases,
            os: merged.os.as_ref().map(|name| world.image(name, own)),
            device_type: merged.device_type.as_ref().map_or(Ok(()), |asked| world.knows(asked)),
        }
    }

    /// Whether both point at the very same things.
    pub fn same(&self, other: &Self) -> bool {
        let Self { releases, no_way_back, before, os, device_type } = other;
        self.device_type == *device_type
            && self.no_way_back == *no_way_back
            && self.before.len() == before.len()
            && self.before.iter().zip(before).all(|(ours, theirs)| ours.0 == theirs.0 && same_all(&ours.1, &theirs.1))
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

    /// The OS image that was found.
    pub fn image(&self) -> Option<&Arc<OsEntry>> {
        self.os.as_ref()?.as_ref().ok()
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
    /// What was known of the secrets that it uses.
    pub secrets: BTreeMap<SecretName, SecretState>,
}

/// Makes the content of a device.
pub fn outcome(device: &DeviceId, inputs: &Inputs, merged: &Merged, picked: &Picked, secrets: &SecretTable) -> Outcome {
    let layers = inputs.layers();
    let scope = Scope::new(device, &inputs.stack.groups, &layers);
    let mut environment = Environments::new(&scope, secrets);
    let content = spec_of(&layers, merged, picked, &mut environment);
    let ways = ways(&layers, merged, picked, &mut environment);
    let Environments { used, drafts: unrendered, .. } = environment;
    let mut drafts = picked.errors();
    drafts.extend(total_too_long(&content.config.files, &merged.config.files));
    drafts.extend(merged.drafts.iter().cloned());
    drafts.extend(unrendered);
    drafts.extend(ambiguous(&layers, picked));
    drafts.extend(doubtful(merged, picked));
    drafts.extend(switched_off(merged, picked));
    let is_error = |draft: &&Draft| draft.severity == crate::domain::finding::Severity::Error;
    let mut error = merged.error.clone().or_else(|| drafts.iter().find(is_error).cloned());
    let mut spec = None;
    if error.is_none() {
        let sealed = SealedSpec::seal(content);
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
        vars: Arc::new(FreeVariables::of(inputs)),
        requires: requires(picked),
        no_way_back: picked.no_way_back.clone(),
        ways,
        secrets: used.keys().cloned().collect(),
    };
    Outcome { device: Arc::new(device), drafts, secrets: used }
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

fn spec_of(layers: &Layers<'_>, merged: &Merged, picked: &Picked, environments: &mut Environments<'_>) -> DeviceSpec {
    let apps = picked
        .found()
        .map(|(app, release)| (app.clone(), app_spec(layers, merged, app, release, environments)))
        .collect();
    let os = picked.os.as_ref().and_then(|os| os.as_ref().ok()).map(|entry| entry.spec.clone());
    DeviceSpec {
        device_type: merged.device_type.as_ref().map(|asked| asked.value.clone()),
        apps,
        os,
        config: DeviceConfig { files: environments.files(&merged.config.files), ..merged.config.settings.clone() },
        maintenance: merged.maintenance.clone(),
        ..DeviceSpec::default()
    }
}

/// What an app is on a device when it has this release.
pub(super) fn app_spec(
    layers: &Layers<'_>,
    merged: &Merged,
    app: &AppName,
    release: &Release,
    environments: &mut Environments<'_>,
) -> AppSpec {
    let runs = |name: &ServiceName| release.services.get(name).is_some_and(|one| one.runs_with(&merged.profiles));
    let service_spec = |(name, service): (&ServiceName, &crate::domain::manifest::compose::Service)| {
        let mut said = BTreeMap::new();
        layers.environment(&release.compose_file, app, name, service, |variable, one| {
            lay(&mut said, variable, one.value.map(|words| (one.file, words)));
        });
        let mut spec = service.spec.clone();
        spec.depends_on.retain(|dependency| runs(&dependency.service));
        environments.fill(said, &mut spec);
        (name.clone(), spec)
    };
    AppSpec {
        release: release.version.clone(),
        services: release.services.iter().filter(|(name, _)| runs(name)).map(service_spec).collect(),
        volumes: release.volumes.iter().cloned().collect::<BTreeSet<_>>(),
        networks: release.networks.clone(),
    }
}

/// Renders environments, and notes the secrets in them.
pub(super) struct Environments<'a> {
    scope: &'a Scope<'a>,
    table: &'a SecretTable,
    /// The secrets in it.
    pub(super) used: BTreeMap<SecretName, SecretState>,
    /// What is wrong with what was rendered.
    pub(super) drafts: Vec<Draft>,
}

impl<'a> Environments<'a> {
    pub(super) fn new(scope: &'a Scope<'a>, table: &'a SecretTable) -> Self {
        Self { scope, table, used: BTreeMap::new(), drafts: Vec::new() }
    }
}

impl Environments<'_> {
    fn fill(&mut self, said: BTreeMap<VariableName, (&Arc<str>, Words<'_>)>, spec: &mut ServiceSpec) {
        spec.environment.clear();
        for (name, (file, words)) in said {
            let template = match words {
                Words::Text(text) => {
                    spec.environment.insert(name, text.to_owned());
                    continue;
                }
                Words::Template(template) => template,
            };
            match self.scope.render(file, template) {
                Ok(Out::Text(text)) => {
                    spec.environment.insert(name, text);
                }
                Ok(Out::Secret(pieces)) => {
                    let pieces = pieces.into_iter().map(|piece| self.piece(file, template, piece)).collect();
                    spec.secret_environment.insert(name, SecretText(pieces));
                }
                Err(draft) => self.drafts.push(*draft),
            }
        }
    }

    /// Contents of files, with references in the place of secrets.
    fn files(&mut self, asked: &BTreeMap<FilePath, AskedFile>) -> BTreeMap<FilePath, HostFile> {
        let file = |(path, asked): (&FilePath, &AskedFile)| Some((path.clone(), self.file(asked)?));
        asked.iter().filter_map(file).collect()
    }

    fn file(&mut self, AskedFile { content: Asked { value, file, span: _ }, mode }: &AskedFile) -> Option<HostFile> {
        let usual = |usual| mode.unwrap_or(usual);
        let template = match value {
            Value::Known(text) => {
                return Some(HostFile { content: text.clone(), secret_content: None, mode: usual(FileMode::USUAL) });
            }
            Value::Template(template) => template,
        };
        // The engine drops the last end of a line, without which many programs do not read the last line of a file.
        let end = if template.source.ends_with('\n') { "\n" } else { "" };
        match self.scope.render(file, template) {
            Ok(Out::Text(text)) => {
                Some(HostFile { content: text + end, secret_content: None, mode: usual(FileMode::USUAL) })
            }
            Ok(Out::Secret(pieces)) => {
                let mut pieces: Vec<Piece> =
                    pieces.into_iter().map(|piece| self.piece(file, template, piece)).collect();
                match pieces.last_mut() {
                    Some(Piece::Text(text)) => text.push_str(end),
                    Some(Piece::Secret { .. }) | None if end.is_empty() => {}
                    Some(Piece::Secret { .. }) | None => pieces.push(Piece::Text(end.to_owned())),
                }
                let secret_content = Some(SecretText(pieces));
                Some(HostFile { content: String::new(), secret_content, mode: usual(FileMode::PRIVATE) })
            }
            Err(draft) => {
                self.drafts.push(*draft);
                None
            }
        }
    }

    fn piece(&mut self, file: &Arc<str>, template: &Template, piece: OutPiece) -> Piece {
        let (name, encoding) = match piece {
            OutPiece::Text(text) => return Piece::Text(text),
            OutPiece::Secret(name, encoding) => (name, encoding),
        };
        let state = self.used.entry(name.clone()).or_insert_with(|| self.table.state(&name)).clone();
        let failed = |message: String, hint: &str| Draft::error(file, template.span, codes::SECRET, message).hint(hint);
        let digest = match state {
            SecretState::Unasked => None,
            SecretState::Known(digest) => Some(digest),
            SecretState::Empty => {
                self.drafts.push(failed(format!("the secret `{name}` is empty"), "give it a value where it is kept"));
                None
            }
            SecretState::Missing => {
                let message = format!("no provider has the secret `{name}`");
                self.drafts.push(failed(
                    message,
                    "give it a value where the controller looks: `secrets` in its configuration",
                ));
                None
            }
            SecretState::Unusable(reason) => {
                self.drafts.push(failed(format!("the secret `{name}` cannot be used: {reason}"), "mend its value"));
                None
            }
            SecretState::Unavailable(reason) => {
                let message = format!("the secret `{name}` is not available now: {reason}");
                self.drafts.push(failed(message, "what the device has stays until it is"));
                None
            }
        };
        Piece::Secret { reference: SecretRef { name, digest }, encoding }
    }
}
