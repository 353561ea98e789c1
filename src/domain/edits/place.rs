//! Where a device or a group says something itself.

use super::{Desk, ProposeError, fleet_file};
use crate::domain::desired::{Desired, Resolver};
use crate::domain::ids::DeviceId;
use crate::domain::manifest::edit::find;
use crate::domain::manifest::inventory::INVENTORY_FILE;
use crate::domain::manifest::listed_by::ListedBy;
use crate::domain::manifest::yaml::{Kind, Map, Node, parse};
use crate::domain::snapshot::{Entry, Snapshot};
use std::cell::OnceCell;
use std::sync::Arc;

/// Whose values are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// One device's.
    Device(DeviceId),
    /// A group's.
    Group(String),
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(device) => write!(f, "device {device}"),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}

impl Whose {
    /// The folder of its files, and its name there.
    fn files(&self) -> (&'static str, &str) {
        match self {
            Self::Device(device) => ("host_vars", device.as_str()),
            Self::Group(group) => ("group_vars", group),
        }
    }
}

/// A mapping of variables of a device or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The keys that lead to the mapping; empty if it is the whole file.
    pub inside: Vec<String>,
}

impl Place {
    /// The path of a key from the top of the file.
    pub fn path_of(&self, key: &[String]) -> Vec<String> {
        self.inside.iter().chain(key).cloned().collect()
    }
}

/// Where a device or a group says something, and where it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Places that exist, from low to high: inline first, then files.
    pub known: Vec<Place>,
    /// The file that would be made, in the form that the repo uses.
    pub new: String,
    /// Whether the repo keeps such values in files.
    pub habit: Habit,
}

/// Where a repo keeps values of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// In files, or nowhere yet.
    Files,
    /// In the inventory.
    Inline,
}

/// Finds the places of a device or a group.
pub fn places(desk: &Desk<'_>, whose: &Whose) -> Result<Places, ProposeError> {
    let Desk { snapshot, source: _, changed: _, read } = desk;
    let unknown = || ProposeError::Unknown(whose.clone());
    let mut inventory = Listed::default();
    for (file, map) in read.inventories.get_or_init(|| parsed(snapshot)) {
        inventory.groups(file, map, whose, &[]);
    }
    if !inventory.seen && !lists(desk, whose)? {
        return Err(unknown());
    }
    let files = own_files(snapshot, whose);
    let (folder, name) = whose.files();
    let (mut as_file, mut as_folder) = (false, false);
    for path in snapshot.entries.keys().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/')) {
        as_folder |= path.contains('/');
        as_file |= !path.contains('/');
    }
    let habit = if inventory.inline && !as_file && !as_folder { Habit::Inline } else { Habit::Files };
    let new = if as_folder && !as_file { format!("{folder}/{name}/main.yml") } else { format!("{folder}/{name}.yml") };
    let files = files.into_iter().map(|file| Place { file, inside: Vec::new() });
    Ok(Places { known: inventory.places.into_iter().chain(files).collect(), new, habit })
}

/// What is read of a snapshot when it is asked for, and kept.
#[derive(Debug, Default)]
pub(super) struct Read {
    inventories: OnceCell<Vec<(String, Map)>>,
    desired: OnceCell<Arc<Desired>>,
}

fn parsed(snapshot: &Snapshot) -> Vec<(String, Map)> {
    // Where others list the devices nobody reads it, whatever it says.
    if fleet_file(snapshot).listed_by != ListedBy::Commit {
        return Vec::new();
    }
    let map = |(file, entry): (&str, &Entry)| {
        let Entry::File { bytes, .. } = entry else { return None };
        match parse(bytes) {
            Ok(Some(Node { kind: Kind::Map(map), .. })) => Some((file.to_owned(), map)),
            Ok(_) | Err(_) => None,
        }
    };
    inventories(snapshot).filter_map(map).collect()
}

/// Files that list devices.
fn inventories(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &Entry)> {
    let is_one = |path: &str| {
        path == INVENTORY_FILE
            || path.strip_prefix("inventory/").is_some_and(|rest| {
                !rest.contains('/') && (rest.ends_with(".yml") || rest.ends_with(".yaml") || rest.ends_with(".json"))
            })
    };
    snapshot.entries.iter().filter(move |(path, _)| is_one(path)).map(|(path, entry)| (&**path, entry))
}

/// Whether the inventory, read by its own rules, lists it: under a range of names it has no line of its own, and devices that are
/// listed elsewhere have none at all.
fn lists(desk: &Desk<'_>, whose: &Whose) -> Result<bool, ProposeError> {
    let desired = desk.read.desired.get_or_init(|| desk.before(&mut Resolver::default()));
    if let Some(finding) = desired.rejection() {
        return Err(ProposeError::DevicesUnknown(Box::new(finding.clone())));
    }
    Ok(match whose {
        Whose::Device(device) => desired.devices.contains_key(device),
        Whose::Group(group) => group == "all" || desired.devices.values().any(|device| device.groups.contains(group)),
    })
}

/// What an inventory says of a device or a group.
#[derive(Default)]
struct Listed {
    places: Vec<Place>,
    seen: bool,
    /// Whether any device has variables beside its name.
    inline: bool,
}

impl Listed {
    fn groups(&mut self, file: &str, map: &Map, whose: &Whose, above: &[String]) {
        for field in &map.entries {
            let path = with(above, &field.key.text);
            let is_it = matches!(whose, Whose::Group(group) if **group == *field.key.text);
            self.seen |= is_it;
            let Kind::Map(body) = &field.value.kind else { continue };
            if is_it && let Some(Kind::Map(_)) = body.value("vars").map(|vars| &vars.kind) {
                self.places.push(Place { file: file.to_owned(), inside: with(&path, "vars") });
            }
            if let Some(Kind::Map(hosts)) = body.value("hosts").map(|hosts| &hosts.kind) {
                self.hosts(file, hosts, whose, &with(&path, "hosts"));
            }
            if let Some(Kind::Map(children)) = body.value("children").map(|children| &children.kind) {
                self.groups(file, children, whose, &with(&path, "children"));
            }
        }
    }

    fn hosts(&mut self, file: &str, hosts: &Map, whose: &Whose, above: &[String]) {
        for field in &hosts.entries {
            let variables = matches!(&field.value.kind, Kind::Map(map) if !map.entries.is_empty());
            self.inline |= variables;
            if matches!(whose, Whose::Device(device) if device.as_str() == &*field.key.text) {
                self.seen = true;
                let place = Place { file: file.to_owned(), inside: with(above, &field.key.text) };
                // A line with variables beats one without, which only says that the device is in the group.
                if variables || self.places.is_empty() {
                    self.places.push(place);
                }
            }
        }
    }
}

fn with(above: &[String], key: &str) -> Vec<String> {
    above.iter().cloned().chain([key.to_owned()]).collect()
}

/// The files for a name that are read, in the order in which they are: a folder or a file without extension hides the others.
fn own_files(snapshot: &Snapshot, whose: &Whose) -> Vec<String> {
    let (folder, name) = whose.files();
    let single = ["", ".yml", ".yaml", ".json"].map(|extension| format!("{folder}/{name}{extension}"));
    let inside = format!("{folder}/{name}/");
    let reads = |path: &&str| {
        let last = path.rsplit('/').next().unwrap_or_default();
        let known = last.ends_with(".yml") || last.ends_with(".yaml") || last.ends_with(".json") || !last.contains('.');
        known && !last.starts_with('.') && !last.ends_with('~')
    };
    let mut several: Vec<String> = snapshot
        .entries
        .keys()
        .map(|path| &**path)
        .filter(|path| path.starts_with(&inside))
        .filter(reads)
        .map(str::to_owned)
        .collect();
    if !several.is_empty() {
        several.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        return several;
    }
    single.into_iter().find(|path| snapshot.entries.contains_key(path.as_str())).into_iter().collect()
}

/// The place where a key is to be written, and why there.
pub(super) fn choose(desk: &Desk<'_>, places: &Places, key: &[String]) -> Result<(Place, String), ProposeError> {
    let has = |place: &&Place, path: &[String]| {
        desk.text(&place.file).ok().flatten().is_some_and(|text| find(&text, &place.path_of(path)).is_some())
    };
    if let Some(place) = places.known.iter().rev().find(|place| has(place, key)) {
        return Ok((place.clone(), format!("{} says it now", place.file)));
    }
    let files = || places.known.iter().rev().filter(|place| place.inside.is_empty());
    if let Some(place) = files().find(|place| has(place, &key[..1])).or_else(|| files().next()) {
        return Ok((place.clone(), format!("{} is read last", place.file)));
    }
    let inline = places.known.iter().rev().find(|place| !place.inside.is_empty());
    if let (Some(place), Habit::Inline) = (inline, places.habit) {
        return Ok((place.clone(), format!("this repo keeps such values in {}", place.file)));
    }
    let place = Place { file: places.new.clone(), inside: Vec::new() };
    // Made by an earlier wish.
    if desk.text(&place.file)?.is_some() {
        return Ok((place.clone(), format!("{} is new", place.file)));
    }
    let reason = format!("{} is new: nothing is written there yet", place.file);
    Ok((place, reason))
}

/// The comment for editors with which the other files of a folder begin, if they all do.
pub(super) fn first_line(snapshot: &Snapshot, path: &str) -> Option<String> {
    let (folder, _) = path.rsplit_once('/')?;
    shared_first_line(snapshot, |other| other.rsplit_once('/').is_some_and(|(theirs, _)| theirs == folder))
}

/// The comment for editors with which all files of a kind begin, if they all do.
pub(super) fn shared_first_line(snapshot: &Snapshot, is_one: impl Fn(&str) -> bool) -> Option<String> {
    let mut lines = snapshot.entries.iter().filter_map(|(path, entry)| match entry {
        Entry::File { bytes, .. } if is_one(path) => {
            Some(std::str::from_utf8(bytes).ok()?.lines().next().unwrap_or_default())
        }
        Entry::File { .. } | Entry::Refused(_) => None,
    });
    let first = lines.next().filter(|line| line.starts_with("# yaml-language-server:"))?;
    lines.all(|line| line == first).then(|| format!("{first}\n"))
}
