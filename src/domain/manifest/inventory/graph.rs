//! Which group contains which: depth, order, and the groups of every host.

use super::{ALL, Group, Host, Inventory, MAX_MEMBERSHIPS, RawGroup};
use crate::domain::finding::codes;
use crate::domain::ids::DeviceId;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::yaml::Span;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn inventory(
    mut groups: Vec<RawGroup>,
    mut hosts: BTreeMap<DeviceId, (Host, BTreeSet<usize>)>,
    mut problems: Problems,
) -> Inventory {
    attach_to_all(&mut groups, &mut hosts);
    let Some(depths) = depths(&groups) else {
        let (span, path) = cycle(&groups);
        let message =
            format!("the group `{}` contains itself: {path}", show(path.split(' ').next().unwrap_or_default()));
        problems.error(span, codes::GROUP_CYCLE, message);
        return Inventory { findings: problems.finish(), ..Inventory::default() };
    };
    // Depth, then priority, then name by code point; later wins. `all` alone has depth 0.
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&index| (depths[index], groups[index].priority, groups[index].name.clone()));
    let mut rank = vec![0; groups.len()];
    for (position, &index) in order.iter().enumerate() {
        rank[index] = position;
    }
    let ancestors = ancestors(&groups, &depths);
    let mut inventory = Inventory::default();
    let mut known: BTreeMap<BTreeSet<usize>, usize> = BTreeMap::new();
    let mut total = 0;
    for (device, (mut host, direct)) in hosts {
        host.membership = match known.get(&direct) {
            Some(&membership) => membership,
            None => {
                let mut set: BTreeSet<usize> = BTreeSet::new();
                for &group in &direct {
                    set.extend(ancestors[group].iter().map(|&ancestor| rank[ancestor]));
                }
                total += set.len();
                if total > MAX_MEMBERSHIPS {
                    problems.error(Span::default(), codes::TOO_LARGE, "hosts are in too many different sets of groups");
                    return Inventory { findings: problems.finish(), ..Inventory::default() };
                }
                inventory.memberships.push(set.into_iter().collect());
                known.insert(direct, inventory.memberships.len() - 1);
                inventory.memberships.len() - 1
            }
        };
        inventory.hosts.insert(device, host);
    }
    let mut slots: Vec<Option<RawGroup>> = groups.into_iter().map(Some).collect();
    for index in order {
        let Some(RawGroup { name, span: _, children: _, priority, vars }) = slots[index].take() else { continue };
        inventory.groups.push(Group { name, depth: depths[index], priority, vars });
    }
    inventory.findings = problems.finish();
    inventory
}

/// Groups without a parent are children of `all`; hosts that are in no group but `all` are in `ungrouped`.
fn attach_to_all(groups: &mut Vec<RawGroup>, hosts: &mut BTreeMap<DeviceId, (Host, BTreeSet<usize>)>) {
    let ungrouped = match groups.iter().position(|group| &*group.name == "ungrouped") {
        Some(index) => index,
        None => {
            let name = "ungrouped".into();
            let (span, children) = (Span::default(), BTreeSet::new());
            groups.push(RawGroup { name, span, children, priority: 1, vars: Vec::new() });
            groups.len() - 1
        }
    };
    let with_parent: BTreeSet<usize> = groups.iter().flat_map(|group| group.children.iter().copied()).collect();
    let roots: Vec<usize> = (0..groups.len()).filter(|index| *index != ALL && !with_parent.contains(index)).collect();
    groups[ALL].children.extend(roots);
    for (_, direct) in hosts.values_mut() {
        direct.remove(&ALL);
        if direct.len() > 1 {
            direct.remove(&ungrouped);
        }
        if direct.is_empty() {
            direct.insert(ungrouped);
        }
    }
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
fn cycle(groups: &[RawGroup]) -> (Span, String) {
    // Take away groups that lead to no cycle; what is left leads to one from everywhere.
    let mut left: BTreeSet<usize> = (0..groups.len()).collect();
    while let Some(&end) = left.iter().find(|&&index| groups[index].children.is_disjoint(&left)) {
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
        at = groups[index].children.intersection(&left).next().copied();
    }
    // Begin with the name that sorts first, so that the message does not depend on the way there.
    let first = (0..way.len()).min_by_key(|&position| groups[way[position]].name.clone()).unwrap_or(0);
    way.rotate_left(first);
    let mut names: Vec<String> = way.iter().take(8).map(|&index| groups[index].name.to_string()).collect();
    if way.len() > 8 {
        names.push("…".to_owned());
    }
    names.extend(way.first().map(|&index| groups[index].name.to_string()));
    (way.first().map_or(Span::default(), |&index| groups[index].span), names.join(" > "))
}

/// For each group, itself and every group that contains it. Parents come before children by depth.
fn ancestors(groups: &[RawGroup], depths: &[usize]) -> Vec<BTreeSet<usize>> {
    let mut by_depth: Vec<usize> = (0..groups.len()).collect();
    by_depth.sort_by_key(|&index| depths[index]);
    let mut all: Vec<BTreeSet<usize>> = (0..groups.len()).map(|index| BTreeSet::from([index])).collect();
    for index in by_depth {
        let own = all[index].clone();
        for &child in &groups[index].children {
            all[child].extend(own.iter().copied());
        }
    }
    all
}
