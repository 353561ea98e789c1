//! What `ansible-inventory` says about an inventory: `--list`, `--host` and `--graph`.
//!
//! Values of groups are laid over each other once for every set of groups and written as JSON once; a host adds its own. So hosts
//! can be answered one after the other without keeping any of them.

use super::ALL;
use super::document::PRIORITY;
use super::graph::Graph;
use super::precedence::{Folders, GroupLayer, group_layers};
use crate::domain::manifest::ansible_value::{Unsafe, key_text, new_line, python_text, quoted, separate, write_json};
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::yaml::Node;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many lines a graph may have. A group is drawn under each of its parents, so groups can make it explode.
pub const MAX_GRAPH_LINES: usize = 1_000_000;

/// Variables that Ansible sets itself and never lists.
const INTERNAL: [&str; 33] = [
    "ansible_async_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_playbook_python",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
];

/// Whether variables are flattened by host, or stay where they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every host has all of its variables.
    Flat,
    /// Groups have theirs and hosts only their own, to be read again as an inventory.
    Export,
}

/// An inventory with the files of its groups.
#[derive(Debug)]
pub struct Listing<'a> {
    graph: &'a Graph,
    ancestors: Vec<BTreeSet<usize>>,
    folders: Folders,
    /// By folder, then by group.
    group_files: &'a [Vec<Vec<Arc<Vars>>>],
    form: Form,
    marks: Unsafe,
}

/// One value by its key.
type Values<'a> = BTreeMap<Cow<'a, str>, &'a Node>;

/// What groups say to hosts in them, each value written once, with its key.
#[derive(Debug)]
pub struct Shared<'a>(Vec<(Cow<'a, str>, &'a Node, String)>);

impl<'a> Listing<'a> {
    /// Puts an inventory and its files together.
    pub fn new(
        graph: &'a Graph,
        group_files: &'a [Vec<Vec<Arc<Vars>>>],
        folders: Folders,
        form: Form,
        marks: Unsafe,
    ) -> Self {
        Self { graph, ancestors: graph.ancestors(), folders, group_files, form, marks }
    }

    /// What the groups of a host say, from low to high. Hosts with the same groups share it: keep it by [`Listing::membership`].
    pub fn shared(&self, host: usize) -> Shared<'a> {
        let mut values = Values::new();
        if self.form == Form::Flat {
            self.group_values(&self.graph.hosts[host].groups, &mut values);
        }
        let write = |(key, node): (Cow<'a, str>, &'a Node)| {
            let mut entry = String::new();
            self.write_entry(&key, node, VALUE_DEPTH, &mut entry);
            (key, node, entry)
        };
        Shared(values.into_iter().filter(|(key, _)| !is_internal(key)).map(write).collect())
    }

    /// The groups that name a host: hosts with the same ones have the same [`Listing::shared`].
    pub fn membership(&self, host: usize) -> &'a [usize] {
        &self.graph.hosts[host].groups
    }

    fn group_values(&self, direct: &[usize], values: &mut Values<'a>) {
        let set: BTreeSet<usize> = direct.iter().flat_map(|&group| self.ancestors[group].iter().copied()).collect();
        let groups: Vec<usize> = set.into_iter().map(|rank| self.graph.order[rank]).collect();
        for layer in group_layers(ALL, &groups, self.folders) {
            match layer {
                GroupLayer::Inline { group } => self.inline(group, values),
                GroupLayer::Files { folder, group } => lay(&self.group_files[folder][group], values),
            }
        }
    }

    /// Inline variables of a group. Its priority is none of them.
    fn inline(&self, group: usize, values: &mut Values<'a>) {
        for field in self.graph.groups[group].vars.iter().flat_map(|vars| &vars.free) {
            if &*field.key.text != PRIORITY {
                values.insert(key_text(&field.key), &field.value);
            }
        }
    }

    /// A host's own values: inline, then files of each folder.
    fn own<'b>(&self, host: usize, files: &'b [Arc<Vars>]) -> Values<'b>
    where
        'a: 'b,
    {
        let mut values = Values::new();
        lay(&self.graph.hosts[host].vars, &mut values);
        lay(files, &mut values);
        values
    }

    fn write_entry(&self, key: &str, node: &Node, depth: usize, out: &mut String) {
        quoted(key, out);
        out.push_str(": ");
        write_json(node, depth, self.marks, out);
    }

    /// The values of one host as a JSON object, nested so many levels deep; `None` if there are none.
    fn object(&self, host: usize, shared: &Shared<'a>, files: &[Arc<Vars>], depth: usize, out: &mut String) -> bool {
        let own = self.own(host, files);
        let mut own = own.iter().filter(|(key, _)| !is_internal(key)).peekable();
        let mut shared = shared.0.iter().peekable();
        let start = out.len();
        out.push('{');
        let mut index = 0;
        loop {
            let ordering = match (shared.peek(), own.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((shared, ..)), Some((own, _))) => shared.as_ref().cmp(own.as_ref()),
            };
            let below = match ordering {
                std::cmp::Ordering::Less => shared.next(),
                // The host's own value wins.
                std::cmp::Ordering::Equal => shared.next().and(None),
                std::cmp::Ordering::Greater => None,
            };
            separate(index, depth + 1, out);
            index += 1;
            if let Some((key, node, entry)) = below {
                match depth + 1 == VALUE_DEPTH {
                    true => out.push_str(entry),
                    false => self.write_entry(key, node, depth + 1, out),
                }
            } else if let Some((key, node)) = own.next() {
                self.write_entry(key, node, depth + 1, out);
            }
        }
        if index == 0 {
            out.truncate(start);
            return false;
        }
        new_line(depth, out);
        out.push('}');
        true
    }

    /// What `--host` prints.
    pub fn host(&self, host: usize, files: &[Arc<Vars>]) -> String {
        let mut out = String::new();
        if !self.object(host, &self.shared(host), files, 0, &mut out) {
            out.push_str("{}");
        }
        out.push('\n');
        out
    }

    /// One entry of `hostvars` with the comma before it, if the host has variables. `index` counts the entries that were written.
    pub fn entry(&self, host: usize, shared: &Shared<'a>, files: &[Arc<Vars>], index: usize, out: &mut String) -> bool {
        let start = out.len();
        separate(index, 3, out);
        quoted(&self.graph.hosts[host].name, out);
        out.push_str(": ");
        let written = self.object(host, shared, files, 3, out);
        if !written {
            out.truncate(start);
        }
        written
    }

    /// What `--list` prints before and after the entries of `hostvars`. `hosts` are those that are listed.
    pub fn frame(&self, hosts: &BTreeSet<usize>) -> Frame {
        let mut groups: BTreeMap<&str, String> = BTreeMap::new();
        let mut waiting = vec![ALL];
        let mut seen = BTreeSet::from([ALL]);
        while let Some(group) = waiting.pop() {
            let body = self.group_body(group, hosts);
            if !body.is_empty() {
                groups.insert(&self.graph.groups[group].name, body);
            }
            waiting.extend(self.graph.groups[group].children.iter().copied().filter(|child| seen.insert(*child)));
        }
        // Ansible overwrites a group of this name with its own.
        groups.remove(META);
        let mut frame = Frame { before: "{".to_owned(), ..Frame::default() };
        let write = |name: &str, body: &str, out: &mut String| {
            new_line(1, out);
            quoted(name, out);
            out.push_str(": ");
            out.push_str(body);
        };
        for (name, body) in groups.iter().filter(|(name, _)| **name < META) {
            write(name, body, &mut frame.before);
            frame.before.push(',');
        }
        new_line(1, &mut frame.before);
        frame.before.push_str("\"_meta\": {\n        \"hostvars\": {");
        frame.closing = "\n        }".to_owned();
        frame.after.push_str(",\n        \"profile\": \"inventory_legacy\"\n    }");
        for (name, body) in groups.iter().filter(|(name, _)| **name > META) {
            frame.after.push(',');
            write(name, body, &mut frame.after);
        }
        frame.after.push_str("\n}\n");
        frame
    }

    fn group_body(&self, group: usize, listed: &BTreeSet<usize>) -> String {
        let known = &self.graph.groups[group];
        let name_of_group = |&child: &usize| self.graph.groups[child].name.clone();
        let name_of_host = |&host: &usize| self.graph.hosts[host].name.clone();
        let children: Vec<Arc<str>> = known.children.iter().map(name_of_group).collect();
        let hosts: Vec<Arc<str>> = match group {
            ALL => Vec::new(),
            _ => known.hosts.iter().filter(|host| listed.contains(host)).map(name_of_host).collect(),
        };
        let mut parts: Vec<(&str, String)> = Vec::new();
        for (key, names) in [("children", children), ("hosts", hosts)] {
            if !names.is_empty() {
                parts.push((key, names_json(&names)));
            }
        }
        if self.form == Form::Export {
            let values = self.of_group(group);
            if !values.is_empty() {
                parts.push(("vars", self.values_json(&values)));
            }
        }
        if parts.is_empty() {
            return String::new();
        }
        let mut out = "{".to_owned();
        for (index, (key, value)) in parts.iter().enumerate() {
            separate(index, 2, &mut out);
            quoted(key, &mut out);
            out.push_str(": ");
            out.push_str(value);
        }
        new_line(1, &mut out);
        out.push('}');
        out
    }

    /// What is written of one group: inline, then files, and its priority if it is not the usual one.
    fn of_group(&self, group: usize) -> BTreeMap<Cow<'a, str>, GroupValue<'a>> {
        let mut values = Values::new();
        self.inline(group, &mut values);
        self.group_files.iter().for_each(|folder| lay(&folder[group], &mut values));
        let mut all: BTreeMap<Cow<'a, str>, GroupValue<'a>> = values
            .into_iter()
            .filter(|(key, _)| !is_internal(key))
            .map(|(key, node)| (key, GroupValue::Written(node)))
            .collect();
        let priority = self.graph.groups[group].priority;
        if priority != 1 {
            all.insert(Cow::Borrowed(PRIORITY), GroupValue::Priority(priority));
        }
        all
    }

    fn values_json(&self, values: &BTreeMap<Cow<'a, str>, GroupValue<'a>>) -> String {
        let mut out = "{".to_owned();
        for (index, (key, value)) in values.iter().enumerate() {
            separate(index, 3, &mut out);
            quoted(key, &mut out);
            out.push_str(": ");
            match value {
                GroupValue::Written(node) => write_json(node, 3, self.marks, &mut out),
                GroupValue::Priority(priority) => out.push_str(&priority.to_string()),
            }
        }
        new_line(2, &mut out);
        out.push('}');
        out
    }

    /// What `--graph` prints below a group; `None` if it is longer than [`MAX_GRAPH_LINES`]. `files` gives the files of a host,
    /// and is only asked if variables are shown.
    pub fn graph(&self, top: usize, vars: GraphVars<'_>) -> Option<String> {
        let mut drawing = Drawing { listing: self, vars, lines: 0, out: String::new() };
        drawing.group(top, 0)?;
        Some(drawing.out)
    }
}

/// One value of a group.
enum GroupValue<'a> {
    Written(&'a Node),
    Priority(i64),
}

/// How deep values of hosts stand in `--list`.
const VALUE_DEPTH: usize = 4;
/// The key of `--list` that is no group.
const META: &str = "_meta";

/// What stands around the entries of `hostvars`.
#[derive(Debug, Default)]
pub struct Frame {
    /// Up to and with the opening of `hostvars`.
    pub before: String,
    /// The end of `hostvars`: only its last character if there was no entry.
    closing: String,
    /// Everything after.
    pub after: String,
}

impl Frame {
    /// The end of `hostvars` after so many entries.
    pub fn closing(&self, entries: usize) -> &str {
        if entries == 0 { "}" } else { &self.closing }
    }
}

/// Whether a graph shows variables, and where those of hosts are read.
pub enum GraphVars<'a> {
    /// Only names.
    Hidden,
    /// Variables too. The files of a host, by its index.
    Shown(&'a mut dyn FnMut(usize) -> Vec<Arc<Vars>>),
}

struct Drawing<'l, 'v, 'a> {
    listing: &'l Listing<'a>,
    vars: GraphVars<'v>,
    lines: usize,
    out: String,
}

impl Drawing<'_, '_, '_> {
    fn line(&mut self, depth: usize, text: &str) -> Option<()> {
        self.lines += 1;
        if depth > 0 {
            self.out.push_str(&"  |".repeat(depth));
            self.out.push_str("--");
        }
        self.out.push_str(text);
        self.out.push('\n');
        (self.lines <= MAX_GRAPH_LINES).then_some(())
    }

    /// Recursion is bounded by the number of groups, and those by [`super::MAX_GROUPS`].
    fn group(&mut self, group: usize, depth: usize) -> Option<()> {
        let listing = self.listing;
        let known = &listing.graph.groups[group];
        self.line(depth, &format!("@{}:", known.name))?;
        for &child in &known.children {
            self.group(child, depth + 1)?;
        }
        if group != ALL {
            for &host in &known.hosts {
                self.line(depth + 1, &listing.graph.hosts[host].name)?;
                self.host_vars(host, depth + 2)?;
            }
        }
        if let GraphVars::Shown(_) = self.vars {
            for (key, value) in listing.of_group(group) {
                let value = match value {
                    GroupValue::Written(node) => python_text(node),
                    GroupValue::Priority(priority) => priority.to_string(),
                };
                self.line(depth + 1, &format!("{{{key} = {value}}}"))?;
            }
        }
        Some(())
    }

    fn host_vars(&mut self, host: usize, depth: usize) -> Option<()> {
        let GraphVars::Shown(files) = &mut self.vars else { return Some(()) };
        let files = files(host);
        let shared = self.listing.shared(host);
        let mut values: Values<'_> = shared.0.iter().map(|(key, node, _)| (key.clone(), *node)).collect();
        values.extend(self.listing.own(host, &files));
        let lines: Vec<String> = values
            .iter()
            .filter(|(key, _)| !is_internal(key))
            .map(|(key, node)| format!("{{{key} = {}}}", python_text(node)))
            .collect();
        lines.iter().try_for_each(|line| self.line(depth, line))
    }
}

fn names_json(names: &[Arc<str>]) -> String {
    let mut out = "[".to_owned();
    for (index, name) in names.iter().enumerate() {
        separate(index, 3, &mut out);
        quoted(name, &mut out);
    }
    new_line(2, &mut out);
    out.push(']');
    out
}

/// Lays sources over what is there. A later value replaces an earlier one as a whole.
fn lay<'b>(sources: &'b [Arc<Vars>], values: &mut Values<'b>) {
    for field in sources.iter().flat_map(|vars| &vars.free) {
        values.insert(key_text(&field.key), &field.value);
    }
}

fn is_internal(key: &str) -> bool {
    INTERNAL.binary_search(&key).is_ok()
}

impl Graph {
    /// The hosts of a group and of all groups in it, in the order in which Ansible finds them: level by level.
    pub fn hosts_of(&self, group: usize) -> Vec<usize> {
        let (mut groups, mut seen) = (vec![group], BTreeSet::from([group]));
        let mut next = 0;
        while let Some(&at) = groups.get(next) {
            next += 1;
            groups.extend(self.groups[at].children.iter().copied().filter(|child| seen.insert(*child)));
        }
        let mut listed = BTreeSet::new();
        groups
            .iter()
            .flat_map(|&group| &self.groups[group].hosts)
            .copied()
            .filter(|host| listed.insert(*host))
            .collect()
    }

    /// The host of this name.
    pub fn host_named(&self, name: &str) -> Option<usize> {
        self.host_names.get(name).copied()
    }

    /// The group of this name.
    pub fn group_named(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| &*group.name == name)
    }
}
