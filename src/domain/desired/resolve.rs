//! From a snapshot to what it means, with work in proportion to what changed.
//!
//! Three kinds of values are kept: files by path and content, stacks of group layers, and per device what came out of which
//! inputs. Inputs are compared by identity, which is cheap and exact because everything kept is immutable.

use super::device::{Inputs, Merged, Outcome, Picked, merge, outcome};
use super::explain::{Explanation, explanation};
use super::findings::Gathered;
use super::layers::{Layer, Stack};
use super::memo::{KEPT_TURNS, Memo};
use super::tree::{Content, ReleaseFolder, Source, Tree, VarsByName};
use super::world::World;
use super::{Desired, DesiredDevice};
use crate::domain::digest::Digest;
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, DeviceId, Version};
use crate::domain::manifest::fleet_file::FleetFile;
use crate::domain::manifest::inventory::{Host, INVENTORY_FILE, Inventory};
use crate::domain::manifest::os::OsImage;
use crate::domain::manifest::problems::{Draft, show};
use crate::domain::manifest::release::{Release, ReleaseFiles};
use crate::domain::manifest::vars::{KeyRules, Standing, Vars};
use crate::domain::manifest::yaml::{Node, Span};
use crate::domain::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many different outcomes of one device are kept: one for each stage that sees it, and a few to go back to.
const MAX_SLOTS: usize = 8;

/// Turns snapshots into desired states and remembers what it has read. Whatever was resolved before, the answer is the one that a
/// new resolver would give.
#[derive(Debug, Default)]
pub struct Resolver {
    turn: u64,
    fleet_files: Memo<Content, FleetFile>,
    vars: Memo<(Arc<str>, Content, KeyRules), Vars>,
    inline: Memo<(Span, Digest, KeyRules), Vars>,
    inventories: Memo<(Content, KeyRules), Inventory>,
    releases: Memo<(AppName, Version, [Content; 3], KeyRules), Release>,
    images: Memo<(Arc<str>, Content), OsImage>,
    stacks: Memo<StackKey, Stack>,
    devices: BTreeMap<DeviceId, Vec<Slot>>,
}

/// The names of the groups and, for each layer, the addresses of what is in it.
type StackKey = (Vec<Arc<str>>, Vec<Vec<usize>>);

/// One outcome of a device, and what it came from.
#[derive(Debug)]
struct Slot {
    inputs: Inputs,
    merged: Arc<Merged>,
    picked: Picked,
    outcome: Arc<Outcome>,
    used: u64,
}

/// A commit read, but not yet looked at device by device.
struct Prepared {
    world: World,
    inventory: Arc<Inventory>,
    /// By index of membership.
    stacks: Vec<Arc<Stack>>,
    gathered: Gathered,
}

impl Resolver {
    /// What a snapshot means.
    pub fn resolve(&mut self, snapshot: &Snapshot) -> Arc<Desired> {
        self.turn += 1;
        let tree = Tree::of(snapshot);
        let Prepared { world, inventory, stacks, mut gathered } = self.prepare(&tree);
        let mut devices: Vec<(DeviceId, Arc<DesiredDevice>)> = Vec::with_capacity(inventory.hosts.len());
        for (device, host) in &inventory.hosts {
            let inputs = self.inputs(device, host, &stacks, &tree.host_vars, &world.fleet.rules);
            for vars in inputs.layers().sources().filter(|vars| !vars.findings.is_empty()) {
                vars.findings.iter().for_each(|draft| gathered.device(draft, device));
            }
            if let Some(problem) = &inputs.problem {
                gathered.device(problem, device);
            }
            inputs.inline.iter().chain(&inputs.files).for_each(|vars| unknown_services(vars, &world, &mut gathered));
            let outcome = self.outcome(device, inputs, &world);
            outcome.drafts.iter().for_each(|draft| gathered.device(draft, device));
            devices.push((device.clone(), outcome.device.clone()));
        }
        orphans(&tree, &inventory, &mut gathered);
        for vars in stacks.iter().flat_map(|stack| stack.layers.iter().flatten()) {
            unknown_services(vars, &world, &mut gathered);
        }
        if gathered.rejects() {
            devices.clear();
        }
        self.sweep();
        Arc::new(Desired {
            fleet: world.fleet.name.clone(),
            devices: devices.into_iter().collect(),
            findings: gathered.finish(snapshot),
            limits: world.fleet.limits,
        })
    }

    /// Where every effective value of a device comes from. `None` if the inventory has no such device.
    pub fn explain(&mut self, snapshot: &Snapshot, device: &DeviceId) -> Option<Explanation> {
        self.turn += 1;
        let tree = Tree::of(snapshot);
        let Prepared { world, inventory, stacks, gathered: _ } = self.prepare(&tree);
        let host = inventory.hosts.get(device)?;
        let inputs = self.inputs(device, host, &stacks, &tree.host_vars, &world.fleet.rules);
        let merged = merge(&inputs);
        let picked = Picked::new(&merged, &world);
        let outcome = outcome(&inputs, &merged, &picked);
        Some(explanation(device, &inputs, &picked, &outcome))
    }

    /// The releases of a snapshot, oldest first, broken ones included.
    pub fn releases(&mut self, snapshot: &Snapshot) -> BTreeMap<AppName, Vec<Arc<Release>>> {
        self.turn += 1;
        let tree = Tree::of(snapshot);
        let fleet = self.fleet_file(tree.fleet);
        self.world(&tree, fleet).releases
    }

    fn prepare(&mut self, tree: &Tree<'_>) -> Prepared {
        let mut gathered = Gathered::default();
        tree.loose.iter().for_each(|draft| gathered.nothing(draft.clone()));
        tree.structure.iter().for_each(|draft| gathered.commit(draft.clone()));
        let fleet = self.fleet_file(tree.fleet);
        fleet.findings.iter().for_each(|draft| gathered.commit(draft.clone()));
        let inventory = self.inventory(tree.inventory, &fleet.rules);
        inventory.findings.iter().for_each(|draft| gathered.commit(draft.clone()));
        inventory.loose_findings.iter().for_each(|draft| gathered.nothing(draft.clone()));
        let world = self.world(tree, fleet);
        world.app_findings().into_iter().for_each(|draft| gathered.nothing(draft));
        world.unreachable_releases().into_iter().for_each(|draft| gathered.nothing(draft));
        for release in world.releases.values().flatten() {
            release.findings.iter().for_each(|draft| gathered.nothing(draft.clone()));
        }
        for image in world.os.values() {
            image.findings.iter().for_each(|draft| gathered.nothing(draft.clone()));
        }
        let stacks = self.stacks(&inventory, &tree.group_vars, &world.fleet, &mut gathered);
        Prepared { world, inventory, stacks, gathered }
    }

    fn fleet_file(&mut self, source: Option<Source<'_>>) -> Arc<FleetFile> {
        let Some(source) = source else { return Arc::default() };
        self.fleet_files.value(self.turn, source.content(), || match source.bytes() {
            Ok(bytes) => FleetFile::read(source.path, bytes),
            Err(draft) => FleetFile { findings: vec![*draft], ..FleetFile::default() },
        })
    }

    fn inventory(&mut self, source: Option<Source<'_>>, rules: &KeyRules) -> Arc<Inventory> {
        let turn = self.turn;
        let Some(source) = source else {
            let message = "there is no inventory.yml";
            let draft = Draft::error(&INVENTORY_FILE.into(), Span::default(), codes::INVENTORY_MISSING, message);
            let draft = draft.hint("list the devices there, in Ansible's YAML inventory format");
            return Arc::new(Inventory { findings: vec![draft], ..Inventory::default() });
        };
        let inline = &mut self.inline;
        self.inventories.value(turn, (source.content(), rules.clone()), || match source.bytes() {
            Ok(bytes) => Inventory::read(bytes, &mut |node| inline_vars(inline, turn, source.path, bytes, node, rules)),
            Err(draft) => Inventory { findings: vec![*draft], ..Inventory::default() },
        })
    }

    fn world(&mut self, tree: &Tree<'_>, fleet: Arc<FleetFile>) -> World {
        let mut releases = Vec::new();
        for ((app, version), folder) in &tree.releases {
            releases.push(self.release(app, version, folder, &fleet.rules));
        }
        let mut images = BTreeMap::new();
        for (name, source) in &tree.os {
            let image =
                self.images.value(self.turn, (source.path.clone(), source.content()), || match source.bytes() {
                    Ok(bytes) => OsImage::read(source.path, name, bytes),
                    Err(draft) => OsImage::unreadable(*draft),
                });
            images.insert((*name).to_owned(), image);
        }
        World::new(fleet, releases, images)
    }

    fn release(
        &mut self,
        app: &AppName,
        version: &Version,
        folder: &ReleaseFolder<'_>,
        rules: &KeyRules,
    ) -> Arc<Release> {
        let content = |source: Option<Source<'_>>| source.map_or(Content::Missing, |source| source.content());
        let contents = [content(folder.release), content(folder.compose), content(folder.folder)];
        self.releases.value(self.turn, (app.clone(), version.clone(), contents, rules.clone()), || {
            let bytes = |source, name| release_bytes(app, version, folder, source, name);
            let files = ReleaseFiles {
                release: bytes(folder.release, "release.yml"),
                compose: bytes(folder.compose, "compose.yml"),
            };
            Release::read(app, version, &files, rules.strictness)
        })
    }

    /// The layers of every set of groups, from low to high: fleet defaults, inline `all`, inline groups, files of `all`, files
    /// of groups. That order is Ansible's: a file for `all` beats what the inventory says inline for a smaller group.
    fn stacks(
        &mut self,
        inventory: &Inventory,
        files: &VarsByName<'_>,
        fleet: &FleetFile,
        gathered: &mut Gathered,
    ) -> Vec<Arc<Stack>> {
        let mut group_files: Vec<Layer> = Vec::with_capacity(inventory.groups.len());
        for group in &inventory.groups {
            let layer = self.files(&group.name, files, &fleet.rules);
            for vars in layer.iter().chain(&group.vars) {
                // With no host in the group nobody else would say so.
                vars.findings.iter().for_each(|draft| gathered.nothing(draft.clone()));
            }
            group_files.push(layer);
        }
        let all_first: Vec<usize> = vec![0];
        inventory
            .memberships
            .iter()
            .map(|membership| {
                let others: Vec<usize> = membership.iter().copied().filter(|&group| group != 0).collect();
                let order = all_first.iter().chain(&others);
                let mut layers: Vec<Layer> = Vec::new();
                layers.extend(fleet.defaults.iter().map(|defaults| vec![defaults.clone()]));
                layers.extend(order.clone().map(|&group| inventory.groups[group].vars.clone()));
                layers.extend(order.map(|&group| group_files[group].clone()));
                layers.retain(|layer| !layer.is_empty());
                let groups: Vec<Arc<str>> = others.iter().map(|&group| inventory.groups[group].name.clone()).collect();
                // An address names a value as long as the value is kept, and the stack keeps its own.
                let identity =
                    layers.iter().map(|layer| layer.iter().map(|vars| Arc::as_ptr(vars).addr()).collect()).collect();
                self.stacks.value(self.turn, (groups.clone(), identity), || Stack { groups, layers })
            })
            .collect()
    }

    /// The files for a name, as one layer.
    fn files(&mut self, name: &str, files: &VarsByName<'_>, rules: &KeyRules) -> Layer {
        let Some(sources) = files.get(name) else { return Layer::new() };
        sources
            .iter()
            .map(|source| {
                self.vars.value(self.turn, (source.path.clone(), source.content(), rules.clone()), || {
                    match source.bytes() {
                        Ok(bytes) => Vars::read(source.path, bytes, rules),
                        Err(draft) => Vars::unreadable(*draft),
                    }
                })
            })
            .collect()
    }

    fn inputs(
        &mut self,
        device: &DeviceId,
        host: &Host,
        stacks: &[Arc<Stack>],
        files: &VarsByName<'_>,
        rules: &KeyRules,
    ) -> Inputs {
        Inputs {
            stack: stacks[host.membership].clone(),
            inline: host.vars.clone(),
            files: self.files(device.as_str(), files, rules),
            problem: host.problem.clone(),
        }
    }

    /// What a device comes to: kept, if its inputs and what they point at are the same as before.
    fn outcome(&mut self, device: &DeviceId, inputs: Inputs, world: &World) -> Arc<Outcome> {
        let slots = match self.devices.get_mut(device) {
            Some(slots) => slots,
            None => self.devices.entry(device.clone()).or_default(),
        };
        let merged = match slots.iter().find(|slot| slot.inputs.same(&inputs)) {
            Some(slot) => slot.merged.clone(),
            None => Arc::new(merge(&inputs)),
        };
        let picked = Picked::new(&merged, world);
        let kept = slots.iter_mut().find(|slot| Arc::ptr_eq(&slot.merged, &merged) && slot.picked.same(&picked));
        if let Some(slot) = kept {
            slot.used = self.turn;
            return slot.outcome.clone();
        }
        if slots.len() >= MAX_SLOTS {
            slots.sort_by_key(|slot| std::cmp::Reverse(slot.used));
            slots.truncate(MAX_SLOTS - 1);
        }
        let outcome = Arc::new(outcome(&inputs, &merged, &picked));
        slots.push(Slot { inputs, merged, picked, outcome: outcome.clone(), used: self.turn });
        outcome
    }

    fn sweep(&mut self) {
        let turn = self.turn;
        let Self { turn: _, fleet_files, vars, inline, inventories, releases, images, stacks, devices } = self;
        fleet_files.sweep(turn);
        vars.sweep(turn);
        inline.sweep(turn);
        inventories.sweep(turn);
        releases.sweep(turn);
        images.sweep(turn);
        stacks.sweep(turn);
        devices.retain(|_, slots| {
            slots.retain(|slot| turn.saturating_sub(slot.used) < KEPT_TURNS);
            !slots.is_empty()
        });
    }

    /// How many values are kept, for the test that nothing grows for ever.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        let slots: usize = self.devices.values().map(Vec::len).sum();
        let files = self.vars.len() + self.inline.len() + self.images.len() + self.releases.len();
        slots + files + self.fleet_files.len() + self.inventories.len() + self.stacks.len()
    }
}

/// The bytes of one file of a release, or why there are none.
fn release_bytes<'a>(
    app: &AppName,
    version: &Version,
    folder: &ReleaseFolder<'a>,
    source: Option<Source<'a>>,
    name: &str,
) -> Result<&'a [u8], Box<Draft>> {
    if let Some(source) = source {
        return source.bytes();
    }
    // A link in place of the folder says more than that the file is missing.
    if let Some(folder) = folder.folder {
        folder.bytes()?;
    }
    let path: Arc<str> = format!("releases/{app}/{version}/{name}").into();
    Err(Box::new(Draft::error(&path, Span::default(), codes::MISSING_FILE, format!("the release has no {name}"))))
}

/// Inline variables of the inventory. They are kept by place and text, so that a change of one line elsewhere on the same length
/// leaves the others the very same values. A document with anchors means more than its text, so nothing of it is kept.
fn inline_vars(
    kept: &mut Memo<(Span, Digest, KeyRules), Vars>,
    turn: u64,
    file: &Arc<str>,
    bytes: &[u8],
    node: &Node,
    rules: &KeyRules,
) -> Arc<Vars> {
    let read = || Vars::from_node(file, node, rules, Standing::Open);
    let text = bytes.get(node.span.start as usize..node.span.end as usize);
    match text {
        Some(text) if !bytes.contains(&b'&') => kept.value(turn, (node.span, Digest::of(text), rules.clone()), read),
        Some(_) | None => Arc::new(read()),
    }
}

/// Keys of `services` that no release has: probably a slip, and they would do nothing.
fn unknown_services(vars: &Vars, world: &World, gathered: &mut Gathered) {
    let Some(services) = &vars.typed.services else { return };
    for (key, setting) in services.entries.iter().filter(|(key, _)| !world.has_service(key)) {
        let message = format!("no release has a service `{key}`");
        let draft = Draft::warning(&vars.file, setting.span, codes::UNKNOWN_SERVICE, message);
        let hint = world.near_service(key).map(|near| format!("did you mean `{near}`?"));
        gathered.nothing(draft.maybe_hint(hint));
    }
}

/// Files for devices and groups that the inventory does not have.
fn orphans(tree: &Tree<'_>, inventory: &Inventory, gathered: &mut Gathered) {
    // Without an inventory every file would be an orphan.
    if inventory.hosts.is_empty() {
        return;
    }
    let orphan = |name: &str, source: &Source<'_>, what: &str| {
        let message = format!("the inventory has no {what} `{}`, so nothing reads this file", show(name));
        Draft::warning(source.path, Span::default(), codes::ORPHAN_VARS_FILE, message)
    };
    for (name, sources) in tree.host_vars.iter().filter(|(name, _)| !inventory.hosts.contains_key(**name)) {
        let near = || super::super::manifest::near::nearest(name, inventory.hosts.keys().map(DeviceId::as_str));
        // Comparing with every device is only worth it for a handful of names.
        let hint = (inventory.hosts.len() <= 1000).then(near).flatten().map(|near| format!("did you mean `{near}`?"));
        for source in sources {
            gathered.nothing(orphan(name, source, "device").maybe_hint(hint.clone()));
        }
    }
    let groups: std::collections::BTreeSet<&str> = inventory.groups.iter().map(|group| &*group.name).collect();
    for (name, sources) in tree.group_vars.iter().filter(|(name, _)| !groups.contains(**name)) {
        let hint = super::super::manifest::near::nearest(name, groups.iter().copied());
        for source in sources {
            gathered
                .nothing(orphan(name, source, "group").maybe_hint(hint.map(|near| format!("did you mean `{near}`?"))));
        }
    }
}
