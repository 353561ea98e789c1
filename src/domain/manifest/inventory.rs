//! `inventory.yml`: hosts and groups, in Ansible's YAML inventory format.
//!
//! Ansible reads a file that is broken, empty or missing as "no hosts" and goes on. Here each of these is an error for the whole
//! commit: losing an inventory must never look like losing the devices.

mod graph;
mod range;

use super::problems::{Draft, Problems, show};
use super::read;
use super::scalar::{Typed, typed};
use super::vars::{KeyRules, Standing, Vars};
use super::yaml::{Field, Kind, Map, Node, Span, parse};
use crate::domain::finding::codes;
use crate::domain::ids::DeviceId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many groups an inventory may have. Groups that contain each other cost a square of their number.
pub const MAX_GROUPS: usize = 4096;
/// The sum of the groups of all distinct sets of groups, beyond which somebody builds a bomb.
pub const MAX_MEMBERSHIPS: usize = 4_000_000;

/// An inventory as written.
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
    pub fn read(bytes: &[u8], inline: &mut dyn FnMut(&Node) -> Arc<Vars>) -> Self {
        let file: Arc<str> = INVENTORY_FILE.into();
        let mut reader = Reader::new(&file, inline);
        match parse(bytes) {
            Ok(Some(node)) if !node.is_null() => reader.top(&node),
            Ok(_) => reader.structure.error(Span::default(), codes::EMPTY_INVENTORY, "the inventory is empty"),
            Err(error) => reader.structure.yaml(error),
        }
        reader.finish()
    }

    /// Reads the file without keeping anything.
    pub fn read_once(bytes: &[u8], rules: &KeyRules) -> Self {
        let file: Arc<str> = INVENTORY_FILE.into();
        Self::read(bytes, &mut |node| Arc::new(Vars::from_node(&file, node, rules, Standing::Open)))
    }
}

/// A group while the file is being read.
struct RawGroup {
    name: Arc<str>,
    span: Span,
    children: BTreeSet<usize>,
    priority: i64,
    vars: Vec<Arc<Vars>>,
}

struct Reader<'a> {
    inline: &'a mut dyn FnMut(&Node) -> Arc<Vars>,
    structure: Problems,
    loose: Problems,
    groups: Vec<RawGroup>,
    by_name: BTreeMap<Arc<str>, usize>,
    hosts: BTreeMap<DeviceId, (Host, BTreeSet<usize>)>,
}

/// The index of `all`, which always exists.
const ALL: usize = 0;

impl<'a> Reader<'a> {
    fn new(file: &Arc<str>, inline: &'a mut dyn FnMut(&Node) -> Arc<Vars>) -> Self {
        let mut reader = Self {
            inline,
            structure: Problems::new(file),
            loose: Problems::new(file),
            groups: Vec::new(),
            by_name: BTreeMap::new(),
            hosts: BTreeMap::new(),
        };
        reader.group_index("all", Span::default());
        reader
    }

    fn top(&mut self, node: &Node) {
        let Kind::Map(map) = &node.kind else {
            let message = format!("the inventory must be a mapping of groups, not {}", node.describe());
            return self.structure.error(node.span, codes::WRONG_TYPE, message);
        };
        read::duplicates(map, &mut self.structure);
        for field in &map.entries {
            self.group(field);
        }
        if self.hosts.is_empty() && self.structure.errors() == 0 {
            self.structure.error_hint(
                Span::default(),
                codes::EMPTY_INVENTORY,
                "the inventory lists no devices",
                "name them under `hosts:` of a group",
            );
        }
    }

    fn group_index(&mut self, name: &str, span: Span) -> usize {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        let name: Arc<str> = name.into();
        let group = RawGroup { name: name.clone(), span, children: BTreeSet::new(), priority: 1, vars: Vec::new() };
        self.groups.push(group);
        self.by_name.insert(name, self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// Reads a group and gives its index. Recursion is bounded by the depth of the document.
    fn group(&mut self, field: &Field) -> Option<usize> {
        let name = &*field.key.text;
        let span = field.key.span;
        if name.is_empty() || name.len() > 128 || name.contains('/') || name.chars().any(char::is_control) {
            let message = format!("`{}` is not a group name", show(name));
            self.structure.error(span, codes::BAD_NAME, message);
            return None;
        }
        if self.groups.len() >= MAX_GROUPS && !self.by_name.contains_key(name) {
            let message = format!("the inventory has more than {MAX_GROUPS} groups");
            self.structure.error(span, codes::TOO_LARGE, message);
            return None;
        }
        let index = self.group_index(name, span);
        match &field.value.kind {
            _ if field.value.is_null() => {}
            Kind::Map(map) => self.body(index, map),
            Kind::Scalar(_) | Kind::List(_) => {
                let message = format!("the group `{}` must be a mapping, not {}", show(name), field.value.describe());
                self.structure.error(field.value.span, codes::WRONG_TYPE, message);
            }
        }
        Some(index)
    }

    fn body(&mut self, group: usize, map: &Map) {
        read::duplicates(map, &mut self.structure);
        for field in &map.entries {
            match &*field.key.text {
                "vars" | "children" | "hosts" if field.value.is_null() => {}
                "vars" => self.vars(group, &field.value),
                "children" => self.children(group, &field.value),
                "hosts" => self.hosts(group, &field.value),
                _ => self.other(field),
            }
        }
    }

    fn other(&mut self, field: &Field) {
        let key = &*field.key.text;
        let message = format!("a group has no key `{}`", show(key));
        match super::near::nearest(key, ["vars", "children", "hosts"]) {
            // Devices would be lost without a word.
            Some(near) => {
                let hint = format!("did you mean `{near}`?");
                self.structure.error_hint(field.key.span, codes::UNKNOWN_KEY, message, hint);
            }
            None => {
                let hint = Some("Ansible ignores it; known keys: vars, children, hosts".to_owned());
                self.loose.warning(field.key.span, codes::UNKNOWN_KEY, message, hint);
            }
        }
    }

    fn vars(&mut self, group: usize, node: &Node) {
        if let Kind::Map(map) = &node.kind
            && let Some(Node { kind: Kind::Scalar(scalar), span, .. }) = map.value("ansible_group_priority")
        {
            match typed(scalar) {
                Typed::Int(priority) if i64::try_from(priority).is_ok() => {
                    self.groups[group].priority = priority as i64
                }
                _ => {
                    let message = format!("`{}` is not a whole number", show(&scalar.text));
                    self.structure.error(*span, codes::BAD_NUMBER, message);
                }
            }
        }
        let vars = (self.inline)(node);
        self.groups[group].vars.push(vars);
    }

    fn children(&mut self, group: usize, node: &Node) {
        let Kind::Map(map) = &node.kind else {
            let message = format!("`children` must be a mapping, not {}", node.describe());
            return self.structure.error(node.span, codes::WRONG_TYPE, message);
        };
        read::duplicates(map, &mut self.structure);
        for field in &map.entries {
            if let Some(child) = self.group(field) {
                self.groups[group].children.insert(child);
            }
        }
    }

    fn hosts(&mut self, group: usize, node: &Node) {
        match &node.kind {
            Kind::Map(map) => {
                for field in &map.entries {
                    let twice = map.duplicates.iter().any(|key| key.text == field.key.text);
                    self.host_pattern(
                        group,
                        &field.key.text,
                        field.key.span,
                        Some(&field.value),
                        twice.then_some(field),
                    );
                }
            }
            Kind::Scalar(scalar) => self.host_pattern(group, &scalar.text, node.span, None, None),
            Kind::List(_) => {
                let message = "`hosts` must be a mapping, not a list";
                let hint = "write `name:` with a colon for each host";
                self.structure.error_hint(node.span, codes::WRONG_TYPE, message, hint);
            }
        }
    }

    fn host_pattern(&mut self, group: usize, pattern: &str, span: Span, vars: Option<&Node>, twice: Option<&Field>) {
        let names = match range::expand(pattern) {
            Ok(names) => names,
            Err(error) => return self.structure.error(span, codes::BAD_NAME, error.to_string()),
        };
        for name in names {
            match DeviceId::new(&name) {
                Ok(device) => self.host(group, device, span, vars, twice),
                Err(error) => {
                    let message = format!("`{}` is not a device name", show(&name));
                    self.loose.error_hint(span, codes::BAD_NAME, message, format!("a device name is {}", error.rule));
                }
            }
        }
    }

    fn host(&mut self, group: usize, device: DeviceId, span: Span, vars: Option<&Node>, twice: Option<&Field>) {
        let file = self.structure.file().clone();
        let problem = match vars {
            _ if twice.is_some() => {
                let message = format!("the host `{device}` stands twice in this mapping");
                Some(Draft::error(&file, span, codes::DUPLICATE_KEY, message).hint("keep one of them"))
            }
            Some(node) if !node.is_null() && !matches!(node.kind, Kind::Map(_)) => {
                let message = format!("the variables of `{device}` must be a mapping, not {}", node.describe());
                Some(Draft::error(&file, node.span, codes::WRONG_TYPE, message))
            }
            Some(_) | None => None,
        };
        let vars = vars.filter(|node| matches!(node.kind, Kind::Map(_))).map(|node| (self.inline)(node));
        let (host, groups) =
            self.hosts.entry(device).or_insert_with(|| (Host { span, ..Host::default() }, BTreeSet::new()));
        host.vars.extend(vars);
        if host.problem.is_none() {
            host.problem = problem;
        }
        groups.insert(group);
    }

    fn finish(self) -> Inventory {
        let Self { inline: _, structure, loose, groups, by_name: _, hosts } = self;
        let mut inventory = graph::inventory(groups, hosts, structure);
        inventory.loose_findings = loose.finish();
        inventory
    }
}
