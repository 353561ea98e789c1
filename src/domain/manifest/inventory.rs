//! `inventory.yml`: hosts and groups, in Ansible's YAML inventory format.
//!
//! Ansible reads a file that is broken, empty or missing as "no hosts" and goes on. Here each of these is an error for the whole
//! commit: losing an inventory must never look like losing the devices.
//!
//! An inventory can come from elsewhere too. Whoever has one puts it together with a [`Builder`] and turns it into an
//! [`Inventory`] with [`Graph::fleet`]; from there on nobody can tell the difference.

mod address;
mod builder;
mod document;
mod graph;
mod host_list;
mod list_json;
pub mod listing;
pub mod pattern;
pub mod precedence;
mod range;
mod written;

pub use builder::{Builder, Entity, GroupIndex, HostIndex, TooManyGroups};
pub use document::{Found, Inline, PRIORITY, Slips, read};
pub use graph::{Broken, Graph, GraphGroup, GraphHost};
pub use host_list::HostList;
pub use list_json::{Kept, ListBuilder, MAX_LIST_BYTES, list_builder, read_list};

use super::problems::{Draft, Problems, show};
use super::vars::{KeyRules, Standing, Vars};
use super::yaml::{Node, Span};
use crate::domain::finding::{Severity, codes};
use crate::domain::ids::DeviceId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many groups an inventory may have. Groups that contain each other cost a square of their number.
pub const MAX_GROUPS: usize = 4096;
/// The sum of the groups of all distinct sets of groups, beyond which somebody builds a bomb.
pub const MAX_MEMBERSHIPS: usize = 4_000_000;
/// The index of `all` in [`Graph::groups`], which always exists.
pub const ALL: usize = 0;
/// The index of `ungrouped` in [`Graph::groups`], which always exists.
pub const UNGROUPED: usize = 1;

/// The inventory of a fleet, wherever it came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// Groups, in the order in which their variables are laid over each other: by depth, priority and name. `all` is first.
    pub groups: Vec<Group>,
    /// Every set of groups that some host is in, as indexes into `groups`, in order.
    pub memberships: Vec<Vec<usize>>,
    /// Hosts by name.
    pub hosts: BTreeMap<DeviceId, Host>,
    /// What concerns the commit as a whole.
    pub findings: Vec<Draft>,
    /// What concerns no device in particular.
    pub loose_findings: Vec<Draft>,
}

/// One group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// The longest path from `all`.
    pub depth: usize,
    /// `ansible_group_priority`, 1 unless it is set inline.
    pub priority: i64,
    /// Its inline variables, in the order of the file.
    pub vars: Vec<Arc<Vars>>,
}

/// One host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Where it is named first.
    pub span: Span,
    /// Its groups: an index into [`Inventory::memberships`].
    pub membership: usize,
    /// Its inline variables, in the order of the file.
    pub vars: Vec<Arc<Vars>>,
    /// Why it cannot be relied on.
    pub problem: Option<Draft>,
}

/// The file, for findings and places.
pub const INVENTORY_FILE: &str = "inventory.yml";

impl Inventory {
    /// Reads the file. `inline` turns inline variables into [`Vars`]; callers may answer with a value that they have kept.
    pub fn read(bytes: &[u8], inline: Inline<'_>) -> Self {
        let file: Arc<str> = INVENTORY_FILE.into();
        let mut builder = Builder::default();
        let Found { structure, mut loose } = read(&file, bytes, Slips::Errors, &mut builder, inline);
        for (name, span) in builder.collisions() {
            let message = format!("`{}` is both a host and a group", show(name));
            let hint = "Ansible gives the host's inline variables to the group".to_owned();
            loose.warning(span, codes::HOST_NAMED_AS_GROUP, message, Some(hint));
        }
        Self::of(builder, structure, loose)
    }

    /// No inventory, and why.
    pub fn missing(why: Draft) -> Self {
        Self { findings: vec![why], ..Self::default() }
    }

    /// The inventory that was put together, with what was found on the way.
    pub fn of(builder: Builder, mut structure: Problems, loose: Problems) -> Self {
        let file = structure.file().clone();
        match builder.finish() {
            Ok(graph) => {
                let mut inventory = graph.fleet(structure, loose);
                inventory.miss_devices(&file);
                inventory
            }
            Err(broken) => {
                structure.add(broken.draft(structure.file()));
                Self { findings: structure.finish(), loose_findings: loose.finish(), ..Self::default() }
            }
        }
    }

    /// Without a single device that can be managed the commit is not a fleet, whatever else it says: hosts whose names no device can
    /// have do not count.
    fn miss_devices(&mut self, file: &Arc<str>) {
        if self.hosts.is_empty() && self.findings.iter().all(|draft| draft.severity != Severity::Error) {
            let draft = Draft::error(file, Span::default(), codes::EMPTY_INVENTORY, "the inventory lists no devices");
            self.findings.push(draft.hint("name them under `hosts:` of a group"));
        }
    }

    /// Reads the file without keeping anything.
    pub fn read_once(bytes: &[u8], rules: &KeyRules) -> Self {
        let file: Arc<str> = INVENTORY_FILE.into();
        Self::read(bytes, &mut |node: &Node| Arc::new(Vars::from_node(&file, node, rules, Standing::Open)))
    }
}
