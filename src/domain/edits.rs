//! Changes of a fleet repo that people ask for by name: which file says it, what the file becomes, and whether that does what was
//! meant and nothing else.
//!
//! A proposal is only ever made of edits that keep everything else in the file as it is ([`crate::domain::manifest::edit`]). It is
//! resolved again before anybody sees it: a change that would break something, or reach a device that was not named, is refused.

pub mod images;
mod place;
pub mod release;
pub mod suggest;
#[cfg(test)]
mod tests;

pub use place::{Place, Whose, places};

use super::desired::{Desired, InventorySource, Resolver};
use super::finding::{Finding, Severity};
use super::ids::{AppName, DeviceId, Version};
use super::manifest::edit::{Dialect, Edit, EditError, Value, edit, find};
use super::manifest::fleet_file::FleetFile;
use super::snapshot::{Entry, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many devices are named one by one where a change reaches too far. The first few show what is going on.
const MAX_NAMED: usize = 5;

/// What one key of a device or a group shall become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The key with its place inside the typed keys: `pins`, `signage`.
    pub path: Vec<String>,
    /// What it becomes.
    pub becomes: Becomes,
}

/// What a key shall become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// This text.
    Text(String),
    /// Nothing, whatever it would inherit.
    Removed,
    /// What it would be without a word from the device or group itself.
    Inherited,
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The path from the root of the fleet repo.
    pub path: String,
    /// What it holds now; `None` if it does not exist.
    pub before: Option<String>,
    /// What it shall hold.
    pub after: String,
}

/// Files that change, and why these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// The files, sorted by path. Empty if everything is as it was wished.
    pub files: Vec<FileChange>,
    /// Why each wish went into which file, one sentence each.
    pub reasons: Vec<String>,
}

/// Why a change cannot be proposed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProposeError {
    /// The device or group does not exist.
    #[error("the inventory has no {0}")]
    Unknown(Whose),
    /// The file cannot be read.
    #[error("{path} cannot be read: it is a link, too long, or not UTF-8")]
    Unreadable {
        /// The file.
        path: String,
    },
    /// The file cannot be edited in place.
    #[error("{path} cannot be edited")]
    Edit {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: EditError,
    },
    /// A mapping is written `null`, which takes away all that was inherited; an entry in it cannot be added to that.
    #[error("`{key}` in {path} is written as nothing, which takes away everything inherited; change that by hand")]
    WrittenAsNothing {
        /// The file.
        path: String,
        /// The mapping.
        key: String,
    },
    /// There is no such release.
    #[error("there is no release {version} of `{app}`")]
    NoRelease {
        /// The app.
        app: AppName,
        /// The version.
        version: Version,
    },
    /// The release is there already; it is never changed by making it again.
    #[error("release {version} of `{app}` exists already")]
    ReleaseExists {
        /// The app.
        app: AppName,
        /// The version.
        version: Version,
    },
    /// There is nothing to take away.
    #[error("{whose} does not set `{key}` itself")]
    NotSet {
        /// Who.
        whose: Whose,
        /// The key.
        key: String,
    },
    /// The result has errors that were not there before.
    #[error("the change would be an error: {}: {}", .0.place, .0.message)]
    Breaks(Box<Finding>),
    /// The result changes devices that were not meant.
    #[error("the change would reach {}", named(.0))]
    Strays(BTreeSet<DeviceId>),
    /// Which devices there are is not known, so neither is what a change would do to them.
    #[error("which devices it concerns is unknown: {}: {}", .0.place, .0.message)]
    DevicesUnknown(Box<Finding>),
}

fn named(devices: &BTreeSet<DeviceId>) -> String {
    let mut names: Vec<&str> = devices.iter().take(MAX_NAMED).map(DeviceId::as_str).collect();
    let more = format!("{} more", devices.len().saturating_sub(MAX_NAMED));
    if devices.len() > MAX_NAMED {
        names.push(&more);
    }
    names.join(", ")
}

/// The files of a snapshot while they are being changed.
#[derive(Debug)]
pub struct Desk<'a> {
    snapshot: &'a Snapshot,
    /// Where the devices are listed; what changes are judged against.
    source: InventorySource,
    changed: BTreeMap<String, String>,
    /// What the files say before any change, read once however many devices are changed.
    read: place::Read,
}

impl<'a> Desk<'a> {
    /// Nothing changed so far, in a repo that lists its devices itself.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self::with_devices(snapshot, InventorySource::Repo)
    }

    /// Nothing changed so far, in a repo whose devices are listed there.
    pub fn with_devices(snapshot: &'a Snapshot, source: InventorySource) -> Self {
        Self { snapshot, source, changed: BTreeMap::new(), read: place::Read::default() }
    }

    /// What the files mean as they were.
    pub fn before(&self, resolver: &mut Resolver) -> Arc<Desired> {
        resolver.resolve_with(self.snapshot, &self.source)
    }

    /// What the files mean with the changes.
    pub fn after(&self, resolver: &mut Resolver) -> Arc<Desired> {
        resolver.resolve_with(&self.snapshot(), &self.source)
    }

    /// What a file holds by now; `None` if it does not exist.
    pub fn text(&self, path: &str) -> Result<Option<String>, ProposeError> {
        match self.changed.get(path) {
            Some(text) => Ok(Some(text.clone())),
            None => original(self.snapshot, path),
        }
    }

    /// Edits a file.
    pub fn edit(&mut self, path: &str, edits: &[Edit]) -> Result<(), ProposeError> {
        let text = self.text(path)?.unwrap_or_default();
        let after = edit(&text, edits, Dialect::of_path(path))
            .map_err(|source| ProposeError::Edit { path: path.to_owned(), source })?;
        self.write(path, after);
        Ok(())
    }

    /// Gives a file this text.
    pub fn write(&mut self, path: &str, text: String) {
        self.changed.insert(path.to_owned(), text);
    }

    /// The snapshot with the changes.
    pub fn snapshot(&self) -> Snapshot {
        let files = self.changed.iter().map(|(path, text)| (path.as_str(), text.as_bytes()));
        let mut snapshot = self.snapshot.clone();
        snapshot.entries.extend(Snapshot::of_files(files).entries);
        snapshot
    }

    /// What changed.
    pub fn files(&self) -> Vec<FileChange> {
        let change = |(path, after): (&String, &String)| {
            let before = original(self.snapshot, path).ok().flatten();
            (before.as_ref() != Some(after)).then(|| FileChange { path: path.clone(), before, after: after.clone() })
        };
        self.changed.iter().filter_map(change).collect()
    }
}

fn original(snapshot: &Snapshot, path: &str) -> Result<Option<String>, ProposeError> {
    let unreadable = || ProposeError::Unreadable { path: path.to_owned() };
    match snapshot.entries.get(path) {
        None => Ok(None),
        Some(Entry::Refused(_)) => Err(unreadable()),
        Some(Entry::File { bytes, .. }) => {
            std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| unreadable())
        }
    }
}

/// What typed keys begin with in this repo.
pub fn key_prefix(snapshot: &Snapshot) -> String {
    fleet_file(snapshot).rules.prefix
}

fn fleet_file(snapshot: &Snapshot) -> FleetFile {
    match snapshot.entries.get_key_value("fleet.yml") {
        Some((path, Entry::File { bytes, .. })) => FleetFile::read(path, bytes),
        Some((_, Entry::Refused(_))) | None => FleetFile::default(),
    }
}

/// Proposes what makes wishes of a device or a group come true, in its own files. The result is not yet resolved.
pub fn propose(desk: &mut Desk<'_>, whose: &Whose, wishes: &[Wish]) -> Result<Vec<String>, ProposeError> {
    let prefix = key_prefix(desk.snapshot);
    let mut reasons = Vec::new();
    let places = places(desk, whose)?;
    for wish in wishes {
        let mut path = wish.path.clone();
        if let Some(first) = path.first_mut() {
            first.insert_str(0, &prefix);
        }
        let reason = match &wish.becomes {
            Becomes::Text(text) => set(desk, &places, &path, Value::Text(text.clone()))?,
            Becomes::Removed => set(desk, &places, &path, Value::Null)?,
            Becomes::Inherited => remove(desk, &places, whose, &path)?,
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Ok(reasons)
}

fn set(desk: &mut Desk<'_>, places: &place::Places, path: &[String], value: Value) -> Result<String, ProposeError> {
    let (place, reason) = place::choose(desk, places, path)?;
    let whole = place.path_of(path);
    // `pins:` with nothing after it is not an empty mapping but an order to forget what was inherited.
    if let Some(text) = desk.text(&place.file)? {
        let first = place.inside.len() + 1;
        for length in first..whole.len() {
            if find(&text, &whole[..length]).is_some_and(|found| found.is_null) {
                let key = whole[place.inside.len()..length].join(".");
                return Err(ProposeError::WrittenAsNothing { path: place.file.clone(), key });
            }
        }
    } else if let Some(line) = place::first_line(desk.snapshot, &place.file) {
        desk.write(&place.file, line);
    }
    desk.edit(&place.file, &[Edit::Set { path: whole, value }])?;
    Ok(reason)
}

fn remove(desk: &mut Desk<'_>, places: &place::Places, whose: &Whose, path: &[String]) -> Result<String, ProposeError> {
    let mut from = Vec::new();
    for place in &places.known {
        let whole = place.path_of(path);
        let text = desk.text(&place.file)?.unwrap_or_default();
        if find(&text, &whole).is_some() {
            desk.edit(&place.file, &[Edit::Remove { path: whole, keep: place.inside.len() }])?;
            from.push(place.file.clone());
        }
    }
    if from.is_empty() {
        return Err(ProposeError::NotSet { whose: whose.clone(), key: path.join(".") });
    }
    from.dedup();
    Ok(format!("{} sets it", from.join(" and ")))
}

/// What a change means for devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// Devices whose content, stage or tags change.
    pub changed: BTreeSet<DeviceId>,
    /// Errors that were not there before.
    pub errors: Vec<Finding>,
    /// The repo after the change.
    pub after: Arc<Desired>,
    /// The repo before the change.
    pub before: Arc<Desired>,
}

impl Effect {
    /// Why nobody knows which devices change, if nobody does: no device is listed where a commit cannot be accepted.
    pub fn unknown(&self) -> Option<&Finding> {
        self.after.rejection().or_else(|| self.before.rejection())
    }
}

/// Resolves a change.
pub fn effect(desk: &Desk<'_>, resolver: &mut Resolver) -> Effect {
    let (before, after) = (desk.before(resolver), desk.after(resolver));
    let is_new = |finding: &&Finding| {
        // A line that moved is the same error at another place.
        let alike = |other: &Finding| {
            other.code == finding.code && other.message == finding.message && other.place.file == finding.place.file
        };
        finding.severity == Severity::Error && !before.findings.iter().any(alike)
    };
    let errors = after.findings.iter().filter(is_new).cloned().collect();
    let differs = |device: &&DeviceId| before.devices.get(*device) != after.devices.get(*device);
    let changed = before.devices.keys().chain(after.devices.keys()).filter(differs).cloned().collect();
    Effect { changed, errors, after, before }
}

/// Resolves a change that must bring no new error.
pub fn sound(desk: &Desk<'_>, resolver: &mut Resolver) -> Result<Effect, ProposeError> {
    let effect = effect(desk, resolver);
    match effect.errors.first() {
        Some(finding) => Err(ProposeError::Breaks(Box::new(finding.clone()))),
        None => Ok(effect),
    }
}

/// Resolves a change that must bring no new error, and reach no device but those that `may` names.
pub fn judge(
    desk: &Desk<'_>,
    resolver: &mut Resolver,
    may: impl Fn(&DeviceId, &Desired) -> bool,
) -> Result<Effect, ProposeError> {
    let effect = sound(desk, resolver)?;
    if let Some(finding) = effect.unknown() {
        return Err(ProposeError::DevicesUnknown(Box::new(finding.clone())));
    }
    let strays: BTreeSet<DeviceId> =
        effect.changed.iter().filter(|device| !may(device, &effect.after)).cloned().collect();
    if strays.is_empty() { Ok(effect) } else { Err(ProposeError::Strays(strays)) }
}
