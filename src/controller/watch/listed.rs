//! The lists of devices of commits that say that somebody else keeps them.

use crate::controller::SharedWorld;
use crate::controller::lists::{Lists, Newest};
use crate::domain::desired::InventorySource;
use crate::domain::digest::Digest;
use crate::domain::manifest::inventory::{Inventory, Kept, read_list};
use crate::domain::manifest::listed_by::{ListedBy, RegistryRules};
use crate::domain::manifest::vars::KeyRules;
use crate::domain::registered;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// What a commit's devices are listed by at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The commit itself.
    InCommit,
    /// A list, by its SHA-256.
    List(Digest),
    /// Nothing that counts, and why.
    Nothing(String),
}

impl Found {
    /// The digest of the list, if there is one.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::List(digest) => Some(*digest),
            Self::InCommit | Self::Nothing(_) => None,
        }
    }
}

/// A list as it is read: by its content, its name and the rules for its keys.
type ListKey = (Digest, Arc<str>, KeyRules);

/// Lists that were read, and where they are from.
#[derive(Debug, Default)]
pub struct Listed {
    from: Option<(Arc<Lists>, SharedWorld)>,
    /// By rules: the state of the registry that was written, and the list that it came to.
    registry: BTreeMap<RegistryRules, (u64, Digest)>,
    read: BTreeMap<ListKey, Arc<Inventory>>,
    kept: Kept,
}

impl Listed {
    /// Lists from these places.
    pub fn new(lists: Arc<Lists>, world: SharedWorld) -> Self {
        Self { from: Some((lists, world)), ..Self::default() }
    }

    /// The newest list of a place.
    pub fn newest(&mut self, by: &ListedBy) -> io::Result<Found> {
        let Some((lists, world)) = self.from.as_ref().filter(|_| *by != ListedBy::Commit) else {
            return Ok(match by {
                ListedBy::Commit => Found::InCommit,
                ListedBy::Registry(_) | ListedBy::Http(_) => Found::Nothing("no lists are kept here".to_owned()),
            });
        };
        match by {
            ListedBy::Commit => Ok(Found::InCommit),
            ListedBy::Http(url) => Ok(match lists.newest(url) {
                Newest::List(digest) => Found::List(digest),
                Newest::Nothing(why) => Found::Nothing(why),
                Newest::NotAllowed => {
                    Found::Nothing("the controller's configuration does not name it under `inventories`".to_owned())
                }
            }),
            ListedBy::Registry(rules) => {
                let version = world.read().registry_version;
                if let Some((known, digest)) = self.registry.get(rules)
                    && *known == version
                {
                    return Ok(Found::List(*digest));
                }
                // The version was read first: a change in between is seen the next time.
                let list = registered::list(&world.read().state, rules);
                let digest = lists.keep(list.as_bytes())?;
                self.registry.insert(rules.clone(), (version, digest));
                Ok(Found::List(digest))
            }
        }
    }

    /// A list as an inventory; `None` if it is not here any more.
    pub fn source(
        &mut self,
        by: &ListedBy,
        rules: &KeyRules,
        digest: Option<&Digest>,
    ) -> io::Result<Option<InventorySource>> {
        let Some(digest) = digest else { return Ok(Some(InventorySource::Repo)) };
        let plain = KeyRules::default();
        let rules = match by {
            // What operators say has the names that Bellwether gave it, as in `defaults`.
            ListedBy::Registry(_) => &plain,
            ListedBy::Commit | ListedBy::Http(_) => rules,
        };
        let key = (*digest, by.file(), rules.clone());
        if let Some(inventory) = self.read.get(&key) {
            return Ok(Some(InventorySource::Given(inventory.clone())));
        }
        let Some((lists, _)) = &self.from else { return Ok(None) };
        let Some(bytes) = lists.load(digest)? else { return Ok(None) };
        let inventory = Arc::new(read_list(&key.1, &bytes, rules, &mut self.kept));
        self.kept.sweep();
        self.read.insert(key, inventory.clone());
        Ok(Some(InventorySource::Given(inventory)))
    }

    /// Forgets lists that nothing names any more, here and on the disk.
    pub fn sweep(&mut self, in_use: &BTreeSet<Digest>) {
        self.read.retain(|(digest, _, _), _| in_use.contains(digest));
        let of_registry: BTreeSet<Digest> = self.registry.values().map(|(_, digest)| *digest).collect();
        if let Some((lists, _)) = &self.from {
            lists.sweep(&in_use.union(&of_registry).copied().collect());
        }
    }
}
