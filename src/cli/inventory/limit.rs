//! `--limit`: which hosts are meant. `@file` stands for the lines of a file.

use crate::cli::fault::Hint as _;
use crate::domain::ids::DeviceId;
use crate::domain::manifest::inventory::pattern::{select, terms};
use crate::domain::manifest::inventory::{Builder, Graph, INVENTORY_FILE, Kept, Slips, list_builder, read};
use crate::domain::manifest::vars::{KeyRules, Vars};
use crate::domain::manifest::yaml::Span;
use crate::domain::snapshot::{Entry, Snapshot};
use anyhow::{Context as _, anyhow};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

/// The longest file of names that is read.
const MAX_LIMIT_BYTES: u64 = 16 << 20;

/// The hosts that a pattern selects.
pub fn selected(graph: &Graph, limit: &str) -> anyhow::Result<BTreeSet<usize>> {
    let mut all = Vec::new();
    for term in terms(limit) {
        match term.strip_prefix('@') {
            Some(path) => all.extend(lines(path)?),
            None => all.push(term),
        }
    }
    let hosts = select(graph, &all)
        .with_context(|| format!("cannot limit to {limit}"))
        .hint("a term that matches nothing is refused, so that a slip cannot select everything")?;
    Ok(hosts.into_iter().collect())
}

/// The group that every device is in.
const EVERYONE: &str = "all";

/// The devices of a fleet repo that a pattern selects.
pub fn devices(
    snapshot: &Snapshot,
    list: Option<&(Arc<str>, Vec<u8>)>,
    limit: &str,
) -> anyhow::Result<BTreeSet<DeviceId>> {
    let file: Arc<str> = INVENTORY_FILE.into();
    let mut builder = Builder::default();
    if let Some((name, bytes)) = list {
        if let Ok(read) = list_builder(name, bytes, &KeyRules::default(), &mut Kept::default()) {
            builder = read.builder;
        }
    } else if let Some(Entry::File { bytes, .. }) = snapshot.entries.get(INVENTORY_FILE) {
        // What is wrong with it is told by whoever reads it for good.
        read(&file, bytes, Slips::Warnings, &mut builder, &mut |node| Arc::new(Vars::free(&file, node)));
    }
    let graph = builder.finish().context("cannot put the groups of inventory.yml in order")?;
    let named = |host: usize| DeviceId::new(&graph.hosts[host].name).ok();
    Ok(selected(&graph, limit)?.into_iter().filter_map(named).collect())
}

/// The devices that a pattern selects where only their groups are known. They count in the order that they come in.
pub fn devices_in_groups<'a>(
    known: impl Iterator<Item = (&'a DeviceId, &'a BTreeSet<String>)>,
    limit: &str,
) -> anyhow::Result<BTreeSet<DeviceId>> {
    let mut builder = Builder::default();
    let everywhere = Span::default();
    for (device, groups) in known {
        for group in groups.iter().map(String::as_str).chain([EVERYONE]) {
            let group = builder.group(group, everywhere).map_err(|_| anyhow!("there are too many groups"))?;
            builder.host(group, device.as_str(), everywhere);
        }
    }
    let graph = builder.finish().context("cannot put the groups in order")?;
    let named = |host: usize| DeviceId::new(&graph.hosts[host].name).ok();
    Ok(selected(&graph, limit)?.into_iter().filter_map(named).collect())
}

fn lines(path: &str) -> anyhow::Result<Vec<String>> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_LIMIT_BYTES).read_to_string(&mut text))
        .with_context(|| format!("cannot read the names to limit to from {path}"))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}
