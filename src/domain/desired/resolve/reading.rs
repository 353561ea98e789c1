//! Reading what all devices have in common: the fleet file, the inventory, releases, images and the layers of groups.

use super::{ALL_FIRST, InventorySource, Prepared, Resolver, rules};
use crate::domain::desired::device::Inputs;
use crate::domain::desired::findings::Gathered;
use crate::domain::desired::layers::{Layer, Stack};
use crate::domain::desired::memo::Memo;
use crate::domain::desired::picture::{Ground, orphan};
use crate::domain::desired::tree::{Content, ReleaseFolder, Source, Tree, VarsByName};
use crate::domain::desired::world::World;
use crate::domain::digest::Digest;
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, DeviceId, Version};
use crate::domain::manifest::compose::Rules;
use crate::domain::manifest::fleet_file::FleetFile;
use crate::domain::manifest::inventory::precedence::{Folders, GroupLayer, group_layers};
use crate::domain::manifest::inventory::{Host, INVENTORY_FILE, Inventory};
use crate::domain::manifest::listed_by::ListedBy;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::os::OsImage;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::release::{Release, ReleaseFiles};
use crate::domain::manifest::vars::{KeyRules, Standing, Vars};
use crate::domain::manifest::yaml::{Node, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Resolver {
    pub(super) fn prepare(&mut self, tree: &Tree<'_>, source: &InventorySource) -> Prepared {
        let mut gathered = Gathered::default();
        tree.loose.iter().for_each(|draft| gathered.nothing(draft.clone()));
        tree.structure.iter().for_each(|draft| gathered.commit(draft.clone()));
        let fleet = self.fleet_file(tree.fleet);
        fleet.findings.iter().for_each(|draft| gathered.commit(draft.clone()));
        fleet.saved_findings.iter().for_each(|draft| gathered.nothing(draft.clone()));
        let inventory = match source {
            InventorySource::Repo => match &fleet.listed_by {
                ListedBy::Commit => self.inventory(tree.inventory, &fleet.rules),
                elsewhere => Arc::new(Inventory::missing(elsewhere.missing("nobody gave one"))),
            },
            InventorySource::Given(inventory) => inventory.clone(),
        };
        if let (Some(source), false) = (tree.inventory, fleet.listed_by == ListedBy::Commit) {
            let message = format!("the devices are listed by {}, so this file is not read", fleet.listed_by);
            let draft = Draft::warning(source.path, Span::default(), codes::INVENTORY_IGNORED, message);
            gathered.nothing(draft.hint("take it away, or take `inventory` out of fleet.yml"));
        }
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
        orphaned_groups(tree, &inventory, &mut gathered);
        if let (Some(source), false) = (tree.fleet, inventory.groups.is_empty()) {
            rules::unknown_groups(source.path, &world.fleet, &inventory, &mut gathered);
        }
        Prepared { ground: Ground { world, inventory, stacks }, gathered }
    }

    pub(super) fn fleet_file(&mut self, source: Option<Source<'_>>) -> Arc<FleetFile> {
        let Some(source) = source else {
            return self.fleet_files.value(self.turn, Content::Missing, FleetFile::default);
        };
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

    pub(super) fn world(&mut self, tree: &Tree<'_>, fleet: Arc<FleetFile>) -> World {
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
        let rights = &self.rights;
        self.releases.value(self.turn, (app.clone(), version.clone(), contents, rules.clone()), || {
            let bytes = |source, name| release_bytes(app, version, folder, source, name);
            let files = ReleaseFiles {
                release: bytes(folder.release, "release.yml"),
                compose: bytes(folder.compose, "compose.yml"),
            };
            Release::read(app, version, &files, Rules { strictness: rules.strictness, rights })
        })
    }

    /// The layers of every set of groups, from low to high: fleet defaults, then [`group_layers`].
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
        let folders = Folders { inventory: 1, play: 0 };
        inventory
            .memberships
            .iter()
            .map(|membership| {
                let mut layers: Vec<Layer> = Vec::new();
                layers.extend(fleet.defaults.iter().map(|defaults| vec![defaults.clone()]));
                layers.extend(group_layers(ALL_FIRST, membership, folders).into_iter().map(|layer| match layer {
                    GroupLayer::Inline { group } => inventory.groups[group].vars.clone(),
                    GroupLayer::Files { folder: _, group } => group_files[group].clone(),
                }));
                layers.retain(|layer| !layer.is_empty());
                let others = membership.iter().filter(|&&group| group != ALL_FIRST);
                let groups: Vec<Arc<str>> = others.map(|&group| inventory.groups[group].name.clone()).collect();
                // An address names a value as long as the value is kept, and the stack keeps its own.
                let identity =
                    layers.iter().map(|layer| layer.iter().map(|vars| Arc::as_ptr(vars).addr()).collect()).collect();
                self.stacks.value(self.turn, (groups.clone(), identity), || Stack { groups, layers })
            })
            .collect()
    }

    /// The files for a name, as one layer.
    pub(super) fn files(&mut self, name: &str, files: &VarsByName<'_>, rules: &KeyRules) -> Layer {
        files
            .files(name)
            .iter()
            .map(|source| {
                let key = (source.path.clone(), source.content(), rules.clone());
                self.vars.value(self.turn, key, || read_vars(source, rules))
            })
            .collect()
    }

    pub(super) fn inputs(
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
}

pub(super) fn read_vars(source: &Source<'_>, rules: &KeyRules) -> Vars {
    match source.bytes() {
        Ok(bytes) => Vars::read(source.path, bytes, rules),
        Err(draft) => Vars::unreadable(*draft),
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

/// Files for groups that the inventory does not have.
fn orphaned_groups(tree: &Tree<'_>, inventory: &Inventory, gathered: &mut Gathered) {
    // Without an inventory every file would be an orphan.
    if inventory.hosts.is_empty() {
        return;
    }
    let groups: BTreeSet<&str> = inventory.groups.iter().map(|group| &*group.name).collect();
    for (name, sources) in tree.group_vars.names().filter(|(name, _)| !groups.contains(**name)) {
        let near = nearest(name, groups.iter().copied());
        sources.iter().for_each(|source| gathered.nothing(orphan(source.path, name, "group", near)));
    }
}
