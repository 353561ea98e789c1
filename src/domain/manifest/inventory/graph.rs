//! Which group contains which: depth, order, and the groups of every host.

use super::builder::{Builder, RawGroup, RawHost};
use super::{Group, Host, Inventory, MAX_MEMBERSHIPS};
use crate::domain::finding::codes;
use crate::domain::ids::DeviceId;
use crate::domain::manifest::problems::{Draft, Problems, show};
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::yaml::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Groups and hosts as Ansible knows them: every name, in the order of first mention.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Groups; `all` is the first and `ungrouped` the second.
    pub groups: Vec<GraphGroup>,
    /// Hosts.
    pub hosts: Vec<GraphHost>,
    /// Groups by depth, priority and name: the order in which their variables are laid over each other.
    pub order: Vec<usize>,
    /// Hosts by name.
    pub(super) host_names: BTreeMap<Arc<str>, usize>,
}

/// One group.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphGroup {
    /// Its name.
    pub name: Arc<str>,
    /// The longest path from `all`.
    pub depth: usize,
    /// `ansible_group_priority`, 1 unless it is set inline.
    pub priority: i64,
    /// Groups in it, in order.
    pub children: Vec<usize>,
    /// Hosts that it names itself, in order.
    pub hosts: Vec<usize>,
    /// Its inline variables, from low to high.
    pub vars: Vec<Arc<Vars>>,
}

/// One host.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphHost {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is named first.
    pub span: Span,
    /// The groups that name it.
    pub groups: Vec<usize>,
    /// Its inline variables, from low to high.
    pub vars: Vec<Arc<Vars>>,
    /// Why it cannot be relied on.
    pub problem: Option<Draft>,
}

/// Why groups cannot be put in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A group contains itself.
    #[error("the group `{group}` contains itself: {path}")]
    Cycle {
        /// The group of the circle whose name sorts first.
        group: Arc<str>,
        /// Where it is named.
        span: Span,
        /// The way round.
        path: String,
    },
    /// `ungrouped` was put into a group.
    #[error("`ungrouped` cannot be a child of `{group}`: Ansible takes its hosts out of both")]
    UngroupedInside {
        /// The group.
        group: Arc<str>,
        /// Where it is named.
        span: Span,
    },
}

impl Broken {
    /// As a finding.
    pub fn draft(&self, file: &Arc<str>) -> Draft {
        let (span, code) = match self {
            Self::Cycle { span, .. } => (*span, codes::GROUP_CYCLE),
            Self::UngroupedInside { span, .. } => (*span, codes::BAD_NAME),
        };
        Draft::error(file, span, code, self.to_string())
    }
}

pub(super) fn finished(builder: Builder) -> Result<Graph, Broken> {
    let Some(depths) = depths(&builder.groups) else { return Err(cycle(&builder)) };
    // Depth, then priority, then name by code point; later wins. `all` alone has depth 0.
    let mut order: Vec<usize> = (0..builder.groups.len()).collect();
    order.sort_by_key(|&index| (depths[index], builder.groups[index].priority, builder.groups[index].name.clone()));
    let group = |(RawGroup { name, span: _, children, hosts, priority, vars }, depth)| GraphGroup {
        name,
        depth,
        priority,
        children,
        hosts,
        vars,
    };
    let host = |RawHost { name, span, groups, vars, problem }| GraphHost { name, span, groups, vars, problem };
    Ok(Graph {
        groups: builder.groups.into_iter().zip(depths).map(group).collect(),
        hosts: builder.hosts.into_iter().map(host).collect(),
        order,
        host_names: builder.host_names,
    })
}

/// The longest path from `all` to each group; `None` if there is a cycle.
fn depths(groups: &[RawGroup]) -> Option<Vec<usize>> {
    let mut waiting = vec![0usize; groups.len()];
    for group in groups {
        for &child in &group.children {
            waiting[child] += 1;
        }
    }
    let mut depths = vec![0; groups.len()];
    let mut ready: Vec<usize> = (0..groups.len()).filter(|&index| waiting[index] == 0).collect();
    let mut done = 0;
    while let Some(index) = ready.pop() {
        done += 1;
        for &child in &groups[index].children {
            depths[child] = depths[child].max(depths[index] + 1);
            waiting[child] -= 1;
            if waiting[child] == 0 {
                ready.push(child);
            }
        }
    }
    (done == groups.len()).then_some(depths)
}

/// One cycle, for people: where a group in it is named, and the way round. There is one.
fn cycle(builder: &Builder) -> Broken {
    let groups = &builder.groups;
    // Take away groups that lead to no cycle; what is left leads to one from everywhere.
    let mut left: BTreeSet<usize> = (0..groups.len()).collect();
    while let Some(&end) = left.iter().find(|&&index| groups[index].children.iter().all(|child| !left.contains(child)))
    {
        left.remove(&end);
    }
    let mut way: Vec<usize> = Vec::new();
    let mut at = left.first().copied();
    while let Some(index) = at {
        if let Some(start) = way.iter().position(|&seen| seen == index) {
            way.drain(..start);
            break;
        }
        way.push(index);
        at =
            builder.edges.range((index, 0)..(index + 1, 0)).map(|&(_, child)| child).find(|child| left.contains(child));
    }
    // Begin with the name that sorts first, so that the message does not depend on the way there.
    let first = (0..way.len()).min_by_key(|&position| groups[way[position]].name.clone()).unwrap_or(0);
    way.rotate_left(first);
    let name = |index: &usize| show(&groups[*index].name);
    let mut names: Vec<String> = way.iter().take(8).map(name).collect();
    if way.len() > 8 {
        names.push("…".to_owned());
    }
    names.extend(way.first().map(name));
    let (group, span) = way.first().map_or_else(
        || (Arc::from("all"), Span::default()),
        |&index| (Arc::from(show(&groups[index].name)), groups[index].span),
    );
    Broken::Cycle { group, span, path: names.join(" > ") }
}

impl Graph {
    /// The place of each group in [`Graph::order`].
    pub fn ranks(&self) -> Vec<usize> {
        let mut ranks = vec![0; self.groups.len()];
        for (position, &index) in self.order.iter().enumerate() {
            ranks[index] = position;
        }
        ranks
    }

    /// For each group, itself and every group that contains it, as places in [`Graph::order`].
    pub fn ancestors(&self) -> Vec<BTreeSet<usize>> {
        let ranks = self.ranks();
        let mut all: Vec<BTreeSet<usize>> =
            (0..self.groups.len()).map(|index| BTreeSet::from([ranks[index]])).collect();
        // Parents come before children by depth, and so in the order.
        for &index in &self.order {
            let own = all[index].clone();
            for &child in &self.groups[index].children {
                all[child].extend(own.iter().copied());
            }
        }
        all
    }

    /// The inventory of a fleet. What is wrong with names is added to `loose`, what is wrong with the whole to `structure`.
    pub fn fleet(self, mut structure: Problems, mut loose: Problems) -> Inventory {
        let ancestors = self.ancestors();
        let mut inventory = Inventory::default();
        let mut known: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        let mut total = 0;
        for GraphHost { name, span, groups: mut direct, vars, problem } in self.hosts {
            let device = match DeviceId::new(&name) {
                Ok(device) => device,
                Err(error) => {
                    let message = format!("`{}` is not a device name", show(&name));
                    loose.error_hint(span, codes::BAD_NAME, message, format!("a device name is {}", error.rule));
                    continue;
                }
            };
            direct.sort_unstable();
            let membership = match known.get(&direct) {
                Some(&membership) => membership,
                None => {
                    let set: BTreeSet<usize> =
                        direct.iter().flat_map(|&group| ancestors[group].iter().copied()).collect();
                    total += set.len();
                    if total > MAX_MEMBERSHIPS {
                        let message = "hosts are in too many different sets of groups";
                        structure.error(Span::default(), codes::TOO_LARGE, message);
                        return Inventory { findings: structure.finish(), ..Inventory::default() };
                    }
                    inventory.memberships.push(set.into_iter().collect());
                    known.insert(direct, inventory.memberships.len() - 1);
                    inventory.memberships.len() - 1
                }
            };
            inventory.hosts.insert(device, Host { span, membership, vars, problem });
        }
        let mut slots: Vec<Option<GraphGroup>> = self.groups.into_iter().map(Some).collect();
        for index in self.order {
            let Some(GraphGroup { name, depth, priority, vars, .. }) = slots[index].take() else { continue };
            inventory.groups.push(Group { name, depth, priority, vars });
        }
        inventory.findings = structure.finish();
        inventory.loose_findings = loose.finish();
        inventory
    }
}
