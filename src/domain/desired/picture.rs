//! What the last resolve came to, so that the next one looks only at what changed since.
//!
//! Everything that is the same for many devices is looked at anew each time, which the memos make cheap: `fleet.yml`, the
//! inventory, groups, releases, images. Only the files of single devices, and what devices come to, are taken over.

use super::DesiredDevice;
use super::device::Outcome;
use super::findings::Gathered;
use super::layers::Stack;
use super::resolve::unknown_services;
use super::tree::{Tree, named};
use super::world::World;
use crate::domain::finding::{Severity, codes};
use crate::domain::ids::DeviceId;
use crate::domain::manifest::inventory::Inventory;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Draft, show};
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::vars_folder::EXTENSIONS;
use crate::domain::manifest::yaml::Span;
use crate::domain::shared_map::{Iter, SharedMap};
use crate::domain::snapshot::{Entry, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where the files of single devices are.
const HOST_VARS: &str = "host_vars/";
/// The first text that is behind all paths in [`HOST_VARS`]: `0` comes after `/`.
const BEHIND_HOST_VARS: &str = "host_vars0";
/// Comparing an orphan's name with every device is only worth it in fleets of up to this size.
const MAX_COMPARED: usize = 1000;

/// What is the same for many devices.
#[derive(Debug)]
pub struct Ground {
    /// Releases, images, `fleet.yml`.
    pub world: World,
    /// Hosts and groups.
    pub inventory: Arc<Inventory>,
    /// By index of membership.
    pub stacks: Vec<Arc<Stack>>,
}

impl Ground {
    /// Whether the only differences are in what groups say.
    pub fn same_but_groups(&self, other: &Self) -> bool {
        let Self { world, inventory, stacks } = other;
        // A membership is an index, so it means the same set of groups as long as the inventory is the same.
        self.stacks.len() == stacks.len() && Arc::ptr_eq(&self.inventory, inventory) && self.world.same(world)
    }
}

/// What one resolve came to.
#[derive(Debug)]
pub struct Picture {
    /// Of what.
    pub snapshot: Snapshot,
    /// What is the same for many devices.
    pub ground: Ground,
    /// What each device came to, whether or not the commit as a whole is refused.
    pub devices: SharedMap<DeviceId, Arc<DesiredDevice>>,
    /// What there is to say about single devices; those with nothing are left out.
    pub remarks: BTreeMap<DeviceId, Remarks>,
    /// What there is to say about paths in `host_vars`, by the name that they are for.
    pub paths: BTreeMap<Box<str>, Vec<Draft>>,
    /// Files in `host_vars` for devices that the inventory does not have.
    pub orphans: BTreeMap<Box<str>, Vec<Arc<str>>>,
}

/// What there is to say about one device.
#[derive(Debug)]
pub struct Remarks {
    /// Its own variables.
    pub own: Vec<Arc<Vars>>,
    /// Why its line in the inventory cannot be relied on.
    pub problem: Option<Draft>,
    /// What it came to.
    pub outcome: Arc<Outcome>,
    /// Services that nothing has.
    pub services: Vec<Draft>,
}

impl Remarks {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        let Self { own, problem, outcome, services } = self;
        own.is_empty() && problem.is_none() && outcome.drafts.is_empty() && services.is_empty()
    }

    /// What there is to say about a device with these variables of its own.
    pub fn new<'a>(
        own: impl Iterator<Item = &'a Arc<Vars>>,
        problem: Option<Draft>,
        outcome: Arc<Outcome>,
        world: &World,
    ) -> Self {
        let mut remarks = Self { own: Vec::new(), problem, outcome, services: Vec::new() };
        for vars in own {
            unknown_services(vars, world, &mut |draft| remarks.services.push(draft));
            if !vars.findings.is_empty() {
                remarks.own.push(vars.clone());
            }
        }
        remarks
    }
}

impl Picture {
    /// Nothing known yet.
    pub fn new(snapshot: Snapshot, ground: Ground) -> Self {
        Self {
            snapshot,
            ground,
            devices: SharedMap::default(),
            remarks: BTreeMap::new(),
            paths: BTreeMap::new(),
            orphans: BTreeMap::new(),
        }
    }

    /// The names in `host_vars` whose files differ in another snapshot.
    pub fn changed_names(&self, snapshot: &Snapshot) -> BTreeSet<Box<str>> {
        let mut names = BTreeSet::new();
        self.snapshot.entries.differences(&snapshot.entries, Entry::same, |path, _, _| {
            names.extend(path.strip_prefix(HOST_VARS).map(|rest| Box::from(named(rest))));
        });
        names
    }

    /// Notes what there is to say about paths in `host_vars`, for all names or for some.
    pub fn note_paths(&mut self, tree: &Tree<'_>) {
        for draft in &tree.loose {
            let name = named(draft.file.strip_prefix(HOST_VARS).unwrap_or_default());
            self.paths.entry(name.into()).or_default().push(draft.clone());
        }
        let hosts = &self.ground.inventory.hosts;
        for (name, sources) in tree.host_vars.names().filter(|(name, _)| !hosts.contains_key(**name)) {
            self.orphans.insert((*name).into(), sources.iter().map(|source| source.path.clone()).collect());
        }
    }

    /// Forgets what is known of the files of a name.
    pub fn forget_paths(&mut self, name: &str) {
        self.paths.remove(name);
        self.orphans.remove(name);
    }

    /// Puts everything that is known of devices to what is known of the commit.
    pub fn gather(&self, gathered: &mut Gathered) {
        let Ground { world, inventory, stacks } = &self.ground;
        self.paths.values().flatten().for_each(|draft| gathered.nothing(draft.clone()));
        for (device, Remarks { own, problem, outcome, services }) in &self.remarks {
            own.iter().flat_map(|vars| &vars.findings).for_each(|draft| gathered.device(draft, device));
            problem.iter().chain(&outcome.drafts).for_each(|draft| gathered.device(draft, device));
            services.iter().for_each(|draft| gathered.nothing(draft.clone()));
        }
        let said = |stack: &Stack| -> Vec<Draft> {
            stack.layers.iter().flatten().flat_map(|vars| vars.findings.iter().cloned()).collect()
        };
        let said: Vec<Vec<Draft>> = stacks.iter().map(|stack| said(stack)).collect();
        if said.iter().flatten().any(|draft| draft.severity == Severity::Error) {
            for (device, host) in &inventory.hosts {
                said[host.membership].iter().for_each(|draft| gathered.device(draft, device));
            }
        }
        said.into_iter().flatten().for_each(|draft| gathered.nothing(draft));
        for vars in stacks.iter().flat_map(|stack| stack.layers.iter().flatten()) {
            unknown_services(vars, world, &mut |draft| gathered.nothing(draft));
        }
        self.gather_orphans(gathered);
    }

    fn gather_orphans(&self, gathered: &mut Gathered) {
        let hosts = &self.ground.inventory.hosts;
        // Without an inventory every file would be an orphan.
        if hosts.is_empty() {
            return;
        }
        for (name, paths) in &self.orphans {
            let near = || nearest(name, hosts.keys().map(DeviceId::as_str));
            let near = (hosts.len() <= MAX_COMPARED).then(near).flatten();
            for path in paths {
                gathered.nothing(orphan(path, name, "device", near));
            }
        }
    }
}

/// A file for something that the inventory does not have.
pub fn orphan(path: &Arc<str>, name: &str, what: &str, near: Option<&str>) -> Draft {
    let message = format!("the inventory has no {what} `{}`, so nothing reads this file", show(name));
    let draft = Draft::warning(path, Span::default(), codes::ORPHAN_VARS_FILE, message);
    draft.maybe_hint(near.map(|near| format!("did you mean `{near}`?")))
}

/// The paths of a snapshot except those of single devices.
pub fn common(snapshot: &Snapshot) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
    let before = snapshot.entries.iter().take_while(|(path, _)| ***path < *HOST_VARS);
    before.chain(snapshot.entries.from(BEHIND_HOST_VARS))
}

/// The paths of all devices.
pub fn of_devices(snapshot: &Snapshot) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
    below(snapshot.entries.from(HOST_VARS), HOST_VARS)
}

/// The paths of one name in `host_vars`.
pub fn of_device<'a>(snapshot: &'a Snapshot, name: &str) -> Vec<(&'a Arc<str>, &'a Entry)> {
    let paths = EXTENSIONS.map(|extension| format!("{HOST_VARS}{name}{extension}"));
    let files: Vec<_> = paths.iter().filter_map(|path| snapshot.entries.get_key_value(path.as_str())).collect();
    let inside = paths.iter().flat_map(|path| {
        let folder = format!("{path}/");
        below(snapshot.entries.from(folder.as_str()), &folder)
    });
    let its_own = |path: &str| path.strip_prefix(HOST_VARS).is_some_and(|rest| named(rest) == name);
    files.into_iter().chain(inside).filter(|(path, _)| its_own(path)).collect()
}

fn below<'a>(
    entries: Iter<'a, Arc<str>, Entry>,
    prefix: &str,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> + use<'a> {
    let prefix: Box<str> = prefix.into();
    entries.take_while(move |(path, _)| path.starts_with(&*prefix))
}

/// The files of some names as a tree.
pub fn tree_of<'a>(snapshot: &'a Snapshot, names: &BTreeSet<Box<str>>) -> Tree<'a> {
    Tree::of_paths(names.iter().flat_map(|name| of_device(snapshot, name)))
}
