//! An inventory while it is put together, from whatever source: a file, an API, another system's answer.
//!
//! The steps and their order are those of Ansible's own: a group exists from its first mention, a host from its first mention,
//! and variables go to the group of a name where there is one, even if a host was meant.

use super::graph::{self, Broken, Graph};
use super::{ALL, MAX_GROUPS, UNGROUPED};
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::yaml::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A group's place in the order of first mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupIndex(pub(super) usize);

/// A host's place in the order of first mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostIndex(pub(super) usize);

/// What a name means that variables are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// A group, or a host that is named like one.
    Group(GroupIndex),
    /// A host.
    Host(HostIndex),
}

/// More than [`MAX_GROUPS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the inventory has more than {MAX_GROUPS} groups")]
pub struct TooManyGroups;

/// An inventory while it is put together.
#[derive(Debug)]
pub struct Builder {
    pub(super) groups: Vec<RawGroup>,
    group_names: BTreeMap<Arc<str>, usize>,
    pub(super) edges: BTreeSet<(usize, usize)>,
    pub(super) hosts: Vec<RawHost>,
    pub(super) host_names: BTreeMap<Arc<str>, usize>,
}

#[derive(Debug)]
pub(super) struct RawGroup {
    pub name: Arc<str>,
    pub span: Span,
    pub children: Vec<usize>,
    pub hosts: Vec<usize>,
    pub priority: i64,
    pub vars: Vec<Arc<Vars>>,
}

#[derive(Debug)]
pub(super) struct RawHost {
    pub name: Arc<str>,
    pub span: Span,
    /// The groups that name it, in order.
    pub groups: Vec<usize>,
    pub vars: Vec<Arc<Vars>>,
    pub problem: Option<Draft>,
}

impl Default for Builder {
    fn default() -> Self {
        let mut builder = Self {
            groups: Vec::new(),
            group_names: BTreeMap::new(),
            edges: BTreeSet::new(),
            hosts: Vec::new(),
            host_names: BTreeMap::new(),
        };
        builder.new_group("all", Span::default());
        builder.new_group("ungrouped", Span::default());
        builder.child(GroupIndex(ALL), GroupIndex(UNGROUPED));
        builder
    }
}

impl Builder {
    /// A group, made by its first mention.
    pub fn group(&mut self, name: &str, span: Span) -> Result<GroupIndex, TooManyGroups> {
        if let Some(group) = self.known_group(name) {
            return Ok(group);
        }
        if self.groups.len() >= MAX_GROUPS {
            return Err(TooManyGroups);
        }
        Ok(self.new_group(name, span))
    }

    fn new_group(&mut self, name: &str, span: Span) -> GroupIndex {
        let (name, index): (Arc<str>, usize) = (name.into(), self.groups.len());
        let (children, hosts, vars) = (Vec::new(), Vec::new(), Vec::new());
        self.groups.push(RawGroup { name: name.clone(), span, children, hosts, priority: 1, vars });
        self.group_names.insert(name, index);
        GroupIndex(index)
    }

    /// The group of this name, if it was mentioned.
    pub fn known_group(&self, name: &str) -> Option<GroupIndex> {
        self.group_names.get(name).copied().map(GroupIndex)
    }

    /// Puts a group into another one. Whether that makes a circle is said by [`Builder::finish`].
    pub fn child(&mut self, parent: GroupIndex, child: GroupIndex) {
        if self.edges.insert((parent.0, child.0)) {
            self.groups[parent.0].children.push(child.0);
        }
    }

    /// The host of this name, if it was mentioned.
    pub fn known_host(&self, name: &str) -> Option<HostIndex> {
        self.host_names.get(name).copied().map(HostIndex)
    }

    /// A host in a group, made by its first mention.
    pub fn host(&mut self, group: GroupIndex, name: &str, span: Span) -> HostIndex {
        let host = match self.known_host(name) {
            Some(host) => host,
            None => {
                let (name, index): (Arc<str>, usize) = (name.into(), self.hosts.len());
                let (groups, vars) = (Vec::new(), Vec::new());
                self.hosts.push(RawHost { name: name.clone(), span, groups, vars, problem: None });
                self.host_names.insert(name, index);
                HostIndex(index)
            }
        };
        self.join(group.0, host.0);
        host
    }

    fn join(&mut self, group: usize, host: usize) {
        if !self.hosts[host].groups.contains(&group) {
            self.hosts[host].groups.push(group);
            self.groups[group].hosts.push(host);
        }
    }

    /// What variables for a name belong to. A group comes first: that is how Ansible looks a name up.
    pub fn entity(&self, host: HostIndex) -> Entity {
        match self.known_group(&self.hosts[host.0].name) {
            Some(group) => Entity::Group(group),
            None => Entity::Host(host),
        }
    }

    /// Lays inline variables over those that are there.
    pub fn vars(&mut self, entity: Entity, vars: Arc<Vars>) {
        match entity {
            Entity::Group(group) => self.groups[group.0].vars.push(vars),
            Entity::Host(host) => self.host_vars(host, vars),
        }
    }

    /// Lays inline variables over those of a host, whatever else has its name.
    pub fn host_vars(&mut self, host: HostIndex, vars: Arc<Vars>) {
        self.hosts[host.0].vars.push(vars);
    }

    /// Sets `ansible_group_priority` of a group.
    pub fn priority(&mut self, group: GroupIndex, priority: i64) {
        self.groups[group.0].priority = priority;
    }

    /// Says why a host cannot be relied on. The first reason stays.
    pub fn problem(&mut self, host: HostIndex, problem: Draft) {
        self.hosts[host.0].problem.get_or_insert(problem);
    }

    /// Names that are both a host and a group.
    pub fn collisions(&self) -> impl Iterator<Item = (&Arc<str>, Span)> {
        self.hosts.iter().filter(|host| self.group_names.contains_key(&host.name)).map(|host| (&host.name, host.span))
    }

    /// Whether no host was mentioned.
    pub fn has_no_hosts(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Puts what has no parent under `all`, and hosts without a group into `ungrouped`.
    pub fn finish(mut self) -> Result<Graph, Broken> {
        let with_parent: BTreeSet<usize> = self.edges.iter().map(|&(_, child)| child).collect();
        for root in (0..self.groups.len()).filter(|index| *index != ALL && !with_parent.contains(index)) {
            self.child(GroupIndex(ALL), GroupIndex(root));
        }
        if let Some(&(parent, _)) = self.edges.iter().find(|&&(parent, child)| child == UNGROUPED && parent != ALL) {
            let RawGroup { name, span, .. } = &self.groups[parent];
            return Err(Broken::UngroupedInside { group: name.clone(), span: *span });
        }
        self.sort_out_ungrouped();
        graph::finished(self)
    }

    fn sort_out_ungrouped(&mut self) {
        for host in 0..self.hosts.len() {
            let direct = &self.hosts[host].groups;
            let grouped = direct.iter().any(|&group| group != ALL && group != UNGROUPED);
            let listed = direct.contains(&UNGROUPED);
            match (grouped, listed) {
                (true, true) => self.leave_ungrouped(host),
                (false, false) => match self.known_group(&self.hosts[host].name) {
                    // As in Ansible, where the name means the group here too.
                    Some(group) if group.0 != UNGROUPED => self.child(GroupIndex(UNGROUPED), group),
                    Some(_) | None => self.join(UNGROUPED, host),
                },
                (true, false) | (false, true) => {}
            }
        }
        let hosts = &self.hosts;
        self.groups[UNGROUPED].hosts.retain(|&host| hosts[host].groups.contains(&UNGROUPED));
    }

    fn leave_ungrouped(&mut self, host: usize) {
        self.hosts[host].groups.retain(|&group| group != UNGROUPED);
    }
}
