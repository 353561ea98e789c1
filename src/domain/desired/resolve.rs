//! From a snapshot to what it means, with work in proportion to what changed.
//!
//! Three kinds of values are kept: files by path and content, stacks of group layers, and per device what came out of which
//! inputs. Inputs are compared by identity, which is cheap and exact because everything kept is immutable. Beyond that the
//! whole [`Picture`] of the last resolve is kept: where only files of devices or groups differ, only the devices that they
//! touch are looked at. Devices about which nothing is said beyond their groups, or the same as of others, share one outcome.

mod outcomes;
mod reading;
mod rules;
mod variant;

pub use variant::NoVariant;

use super::Desired;
use super::device::{Inputs, Outcome, Picked, merge, outcome};
use super::explain::{Explanation, explanation};
use super::findings::Gathered;
use super::layers::{Layer, Stack};
use super::memo::{KEPT_TURNS, Memo};
use super::picture::{Ground, Picture, Remarks, common, of_device, of_devices, tree_of};
use super::secrets::SecretTable;
use super::tree::{Content, Source, Tree, VarsByName};
use super::workers::{OneByOne, Workers, each};
use super::world::World;
use crate::domain::digest::Digest;
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, DeviceId, Version};
use crate::domain::manifest::compose::HostRights;
use crate::domain::manifest::fleet_file::FleetFile;
use crate::domain::manifest::inventory::{Host, Inventory};
use crate::domain::manifest::os::OsImage;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::release::Release;
use crate::domain::manifest::vars::{KeyRules, Vars, Wording};
use crate::domain::manifest::yaml::Span;
use crate::domain::shared_map::SharedMap;
use crate::domain::snapshot::Snapshot;
use outcomes::{Age, Found, Job, Slot, Whose, find};
use reading::read_vars;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many different outcomes of one device are kept: one for each stage that sees it, and a few to go back to.
const MAX_SLOTS: usize = 8;
/// Where `all` is in the groups of an [`Inventory`].
const ALL_FIRST: usize = 0;

/// Where the inventory of a commit comes from.
#[derive(Clone, Debug, Default)]
pub enum InventorySource {
    /// `inventory.yml` of the commit itself.
    #[default]
    Repo,
    /// This one, whatever the commit says. What is kept between resolves is compared by identity, so an inventory that did not
    /// change should be given as the same value, and one that did should keep the inline variables that stayed the same.
    Given(Arc<Inventory>),
}

/// Turns snapshots into desired states and remembers what it has read. Whatever was resolved before, the answer is the one that a
/// new resolver would give.
#[derive(Debug)]
pub struct Resolver {
    workers: Arc<dyn Workers>,
    /// What was known of secrets the last time.
    secrets: SecretTable,
    turn: u64,
    /// When all devices were looked at last.
    whole_turn: u64,
    /// What the last resolve came to.
    last: Option<Picture>,
    /// What services may have of the host. It never changes, so nothing that is kept depends on it.
    rights: HostRights,
    fleet_files: Memo<Content, FleetFile>,
    vars: Memo<(Arc<str>, Content, KeyRules), Vars>,
    inline: Memo<(Span, Digest, KeyRules), Vars>,
    inventories: Memo<(Content, KeyRules), Inventory>,
    releases: Memo<(AppName, Version, [Content; 3], KeyRules), Release>,
    images: Memo<(Arc<str>, Content), OsImage>,
    stacks: Memo<StackKey, Stack>,
    outcomes: BTreeMap<Whose, Vec<Slot>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(Arc::new(OneByOne))
    }
}

/// The names of the groups and, for each layer, the addresses of what is in it.
type StackKey = (Vec<Arc<str>>, Vec<Vec<usize>>);

/// A commit read, but not yet looked at device by device.
struct Prepared {
    ground: Ground,
    gathered: Gathered,
}

impl Resolver {
    /// One for a stage whose services may have this of the host.
    pub fn with_rights(rights: HostRights) -> Self {
        Self::default().allowing(rights)
    }

    /// The same, with other rights. Nothing may have been resolved yet.
    pub fn allowing(self, rights: HostRights) -> Self {
        Self { rights, ..self }
    }

    /// A resolver that shares its work out.
    pub fn new(workers: Arc<dyn Workers>) -> Self {
        Self {
            workers,
            secrets: SecretTable::Unasked,
            turn: 0,
            rights: HostRights::default(),
            whole_turn: 0,
            last: None,
            fleet_files: Memo::default(),
            vars: Memo::default(),
            inline: Memo::default(),
            inventories: Memo::default(),
            releases: Memo::default(),
            images: Memo::default(),
            stacks: Memo::default(),
            outcomes: BTreeMap::new(),
        }
    }

    /// What a snapshot means where nobody knows the values of secrets.
    pub fn resolve(&mut self, snapshot: &Snapshot) -> Arc<Desired> {
        self.resolve_from(snapshot, &InventorySource::Repo, &SecretTable::Unasked)
    }

    /// What a snapshot means with an inventory that may come from elsewhere.
    pub fn resolve_with(&mut self, snapshot: &Snapshot, source: &InventorySource) -> Arc<Desired> {
        self.resolve_from(snapshot, source, &SecretTable::Unasked)
    }

    /// What a snapshot means, given what is known of secrets.
    pub fn resolve_knowing(&mut self, snapshot: &Snapshot, secrets: &SecretTable) -> Arc<Desired> {
        self.resolve_from(snapshot, &InventorySource::Repo, secrets)
    }

    /// What a snapshot means, with all that it does not say itself.
    pub fn resolve_from(
        &mut self,
        snapshot: &Snapshot,
        source: &InventorySource,
        secrets: &SecretTable,
    ) -> Arc<Desired> {
        if self.secrets != *secrets {
            // Any device may hold one, so every one is looked at; those that hold none keep their outcome.
            self.secrets = secrets.clone();
            self.last = None;
        }
        self.turn += 1;
        let Prepared { ground, mut gathered } = self.prepare(&Tree::of_paths(common(snapshot)), source);
        let picture = match self.last.take() {
            Some(last) if last.ground.same_but_groups(&ground) => self.changed(last, snapshot, ground),
            Some(_) | None => self.whole(snapshot, ground),
        };
        picture.gather(&mut gathered);
        let devices = if gathered.rejects() { SharedMap::default() } else { picture.devices.clone() };
        let FleetFile { name, limits, saved, rollouts, .. } = &*picture.ground.world.fleet;
        let desired = Desired {
            fleet: name.clone(),
            devices,
            findings: gathered.finish(snapshot),
            limits: *limits,
            saved: saved.clone(),
            rollouts: rollouts.clone(),
        };
        self.last = Some(picture);
        self.sweep();
        Arc::new(desired)
    }

    /// Looks at every device.
    fn whole(&mut self, snapshot: &Snapshot, ground: Ground) -> Picture {
        self.whole_turn = self.turn;
        let mut picture = Picture::new(snapshot.clone(), ground);
        let tree = Tree::of_paths(of_devices(snapshot));
        picture.note_paths(&tree);
        self.read_ahead(&tree.host_vars, &picture.ground.world.fleet.rules);
        let inventory = picture.ground.inventory.clone();
        let hosts: Vec<(&DeviceId, &Host)> = inventory.hosts.iter().collect();
        let outcomes = self.come_to(&hosts, &tree.host_vars, &mut picture);
        picture.devices = hosts
            .iter()
            .zip(outcomes)
            .map(|((device, _), outcome)| ((*device).clone(), outcome.device.clone()))
            .collect();
        picture
    }

    /// Looks at the devices whose own files or groups say something else than before.
    fn changed(&mut self, last: Picture, snapshot: &Snapshot, ground: Ground) -> Picture {
        let names = last.changed_names(snapshot);
        let moved: Vec<bool> = last.ground.stacks.iter().zip(&ground.stacks).map(|(a, b)| !Arc::ptr_eq(a, b)).collect();
        let mut picture = Picture { snapshot: snapshot.clone(), ground, ..last };
        let inventory = picture.ground.inventory.clone();
        let hosts: Vec<(&DeviceId, &Host)> = if moved.contains(&true) {
            let dirty = |(device, host): &(&DeviceId, &Host)| moved[host.membership] || names.contains(device.as_str());
            inventory.hosts.iter().filter(dirty).collect()
        } else {
            names.iter().filter_map(|name| inventory.hosts.get_key_value(&**name)).collect()
        };
        let all_names = names.iter().cloned().chain(hosts.iter().map(|(device, _)| Box::from(device.as_str())));
        let tree = tree_of(snapshot, &all_names.collect());
        names.iter().for_each(|name| picture.forget_paths(name));
        picture.note_paths(&tree_of(snapshot, &names));
        self.read_ahead(&tree.host_vars, &picture.ground.world.fleet.rules);
        let outcomes = self.come_to(&hosts, &tree.host_vars, &mut picture);
        for ((device, _), outcome) in hosts.into_iter().zip(outcomes) {
            picture.devices.insert(device.clone(), outcome.device.clone());
        }
        picture
    }

    /// What devices come to, in their order, and what there is to say about them.
    fn come_to(
        &mut self,
        hosts: &[(&DeviceId, &Host)],
        files: &VarsByName<'_>,
        picture: &mut Picture,
    ) -> Vec<Arc<Outcome>> {
        let Picture { ground: Ground { world, inventory: _, stacks }, remarks, .. } = picture;
        let mut jobs: Vec<Job> = Vec::new();
        let mut shared: BTreeMap<Whose, usize> = BTreeMap::new();
        let same_to_all: Vec<bool> = stacks.iter().map(|stack| stack.says_the_same_to_all()).collect();
        let job_of: Vec<(usize, Layer)> = hosts
            .iter()
            .map(|(device, host)| {
                let own = self.files(device.as_str(), files, &world.fleet.rules);
                let stack = &stacks[host.membership];
                let alone = own.is_empty() && host.problem.is_none();
                let plain = host.vars.iter().all(|vars| vars.wording == Wording::Plain);
                let alike = alone && plain && same_to_all[host.membership];
                if alike && let Some(slots) = self.outcomes.get_mut(&Whose::Device((*device).clone())) {
                    slots.iter_mut().for_each(|slot| slot.age = Age::Past);
                }
                let address = |vars: &Arc<Vars>| Arc::as_ptr(vars).addr();
                let whose = match alike {
                    true => Whose::Alike(Arc::as_ptr(stack).addr(), host.vars.iter().map(address).collect()),
                    false => Whose::Device((*device).clone()),
                };
                if alike && let Some(&job) = shared.get(&whose) {
                    return (job, own);
                }
                if alike {
                    shared.insert(whose.clone(), jobs.len());
                }
                let inputs = Inputs {
                    stack: stack.clone(),
                    inline: host.vars.clone(),
                    files: own.clone(),
                    problem: host.problem.clone(),
                };
                jobs.push(Job { whose, device: (*device).clone(), inputs });
                (jobs.len() - 1, own)
            })
            .collect();
        let kept = &self.outcomes;
        let turn = self.turn;
        let secrets = &self.secrets;
        let found = each(&*self.workers, &jobs, |Job { whose, device, inputs }| {
            find(kept.get(whose).map_or(&[], Vec::as_slice), device, inputs, world, secrets, turn)
        });
        let made: Vec<Arc<Outcome>> =
            jobs.into_iter().zip(found).map(|(job, found)| self.keep(job.whose, found)).collect();
        let mut outcomes = Vec::with_capacity(hosts.len());
        for ((device, host), (job, own)) in hosts.iter().zip(job_of) {
            let outcome = made[job].clone();
            let said = Remarks::new(host.vars.iter().chain(&own), host.problem.clone(), outcome.clone(), world);
            if said.is_empty() {
                remarks.remove(*device);
            } else {
                remarks.insert((*device).clone(), said);
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Keeps an outcome.
    fn keep(&mut self, whose: Whose, found: Found) -> Arc<Outcome> {
        let slots = self.outcomes.entry(whose).or_default();
        slots.iter_mut().for_each(|slot| slot.age = Age::Past);
        match found {
            Found::Kept(at) => {
                slots[at].used = self.turn;
                slots[at].age = Age::Current;
                slots[at].outcome.clone()
            }
            Found::Made(slot) => {
                if slots.len() >= MAX_SLOTS {
                    slots.sort_by_key(|slot| std::cmp::Reverse(slot.used));
                    slots.truncate(MAX_SLOTS - 1);
                }
                let outcome = slot.outcome.clone();
                slots.push(*slot);
                outcome
            }
        }
    }

    /// Reads the files of devices that nobody has read yet, all together.
    fn read_ahead(&mut self, files: &VarsByName<'_>, rules: &KeyRules) {
        let key = |source: &Source<'_>| (source.path.clone(), source.content(), rules.clone());
        let unread: Vec<Source<'_>> = files
            .names()
            .flat_map(|(_, sources)| sources)
            .filter(|source| !self.vars.known(&key(source)))
            .copied()
            .collect();
        let read = each(&*self.workers, &unread, |source| Arc::new(read_vars(source, rules)));
        for (source, vars) in unread.iter().zip(read) {
            self.vars.put(self.turn, key(source), vars);
        }
    }

    /// Where every effective value of a device comes from. `None` if the inventory has no such device.
    pub fn explain(&mut self, snapshot: &Snapshot, device: &DeviceId) -> Option<Explanation> {
        self.explain_with(snapshot, &InventorySource::Repo, device)
    }

    /// Where every effective value of a device comes from, with an inventory that may come from elsewhere.
    pub fn explain_with(
        &mut self,
        snapshot: &Snapshot,
        source: &InventorySource,
        device: &DeviceId,
    ) -> Option<Explanation> {
        self.turn += 1;
        let Prepared { ground: Ground { world, inventory, stacks }, gathered: _ } =
            self.prepare(&Tree::of_paths(common(snapshot)), source);
        let host = inventory.hosts.get(device)?;
        let tree = Tree::of_paths(of_device(snapshot, device.as_str()));
        let inputs = self.inputs(device, host, &stacks, &tree.host_vars, &world.fleet.rules);
        let merged = merge(device, &inputs);
        let picked = Picked::new(&merged, &world);
        let outcome = outcome(device, &inputs, &merged, &picked, &SecretTable::Unasked);
        Some(explanation(device, &inputs, &merged, &picked, &outcome, &world))
    }

    /// The releases of a snapshot, oldest first, broken ones included.
    pub fn releases(&mut self, snapshot: &Snapshot) -> BTreeMap<AppName, Vec<Arc<Release>>> {
        self.turn += 1;
        let tree = Tree::of_paths(&snapshot.entries);
        let fleet = self.fleet_file(tree.fleet);
        self.world(&tree, fleet).releases
    }

    /// What `fleet.yml` of a snapshot says.
    pub fn fleet(&mut self, snapshot: &Snapshot) -> Arc<FleetFile> {
        self.fleet_file(Tree::of_paths(common(snapshot)).fleet)
    }

    /// Forgets what was not used lately. Looking at all that is kept costs more than a small commit, so it is done now and then.
    fn sweep(&mut self) {
        let turn = self.turn;
        if turn != self.whole_turn && !turn.is_multiple_of(KEPT_TURNS) {
            return;
        }
        let whole_turn = self.whole_turn;
        let stacks = self.last.iter().flat_map(|picture| &picture.ground.stacks);
        let stacks: BTreeSet<usize> = stacks.map(|stack| Arc::as_ptr(stack).addr()).collect();
        let hosts = self.last.iter().flat_map(|picture| picture.ground.inventory.hosts.values());
        let inlines: BTreeSet<usize> = hosts.flat_map(|host| &host.vars).map(|vars| Arc::as_ptr(vars).addr()).collect();
        self.outcomes.retain(|whose, slots| {
            let listed = match whose {
                Whose::Device(_) => true,
                Whose::Alike(stack, inline) => {
                    stacks.contains(stack) && inline.iter().all(|address| inlines.contains(address))
                }
            };
            // A device that was not looked at since all were is as it was then.
            let current = |slot: &Slot| listed && slot.age == Age::Current && slot.used >= whole_turn;
            slots.retain(|slot| current(slot) || turn.saturating_sub(slot.used) < KEPT_TURNS);
            !slots.is_empty()
        });
        self.fleet_files.sweep(turn);
        self.releases.sweep(turn);
        self.images.sweep(turn);
        self.stacks.sweep(turn);
        self.inventories.sweep(turn);
        self.vars.sweep(turn);
        self.inline.sweep(turn);
    }

    /// How many values are kept, for the test that nothing grows for ever.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        let slots: usize = self.outcomes.values().map(Vec::len).sum();
        let files = self.vars.len() + self.inline.len() + self.images.len() + self.releases.len();
        slots + files + self.fleet_files.len() + self.inventories.len() + self.stacks.len()
    }
}

/// Keys of `services` that no release has: probably a slip, and they would do nothing.
pub fn unknown_services(vars: &Vars, world: &World, say: &mut dyn FnMut(Draft)) {
    let Some(services) = &vars.typed.services else { return };
    for (key, setting) in services.entries.iter().filter(|(key, _)| !world.has_service(key)) {
        let message = format!("no release has a service `{key}`");
        let draft = Draft::warning(&vars.file, setting.span, codes::UNKNOWN_SERVICE, message);
        let hint = world.near_service(key).map(|near| format!("did you mean `{near}`?"));
        say(draft.maybe_hint(hint));
    }
}
