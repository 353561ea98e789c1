//! Printing `--list`: hosts are read, answered and written some at a time, on every core, and none is kept.

use super::folders::Asked;
use crate::domain::finding::Finding;
use crate::domain::manifest::inventory::listing::Shared;
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// How many hosts are answered at a time: enough that threads need not wait for each other, and little enough to hold.
const BATCH: usize = 64;
/// How many threads at most. Beyond a few the one that writes is what takes time.
const MAX_THREADS: usize = 8;
/// How many batches a thread may be ahead of the one that writes.
const AHEAD: usize = 2;
/// How many sets of groups are kept ready. Inventories have dozens; one with thousands works them out again.
const MAX_SHARED: usize = 256;

/// The entries of some hosts, and what was found on the way.
type Batch = (String, Vec<Finding>);

/// Prints groups and the variables of hosts.
pub fn list(asked: &Asked<'_>, hosts: &BTreeSet<usize>, found: &mut Vec<Finding>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match write(asked, hosts, found, &mut out).and_then(|()| out.flush()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write the answer to stdout"),
    }
}

/// The same as bytes, for whoever goes on with them.
pub fn text(asked: &Asked<'_>, hosts: &BTreeSet<usize>, found: &mut Vec<Finding>) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    write(asked, hosts, found, &mut text).context("cannot put the answer together")?;
    Ok(text)
}

fn write(
    asked: &Asked<'_>,
    hosts: &BTreeSet<usize>,
    found: &mut Vec<Finding>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let frame = asked.listing.frame(hosts);
    out.write_all(frame.before.as_bytes())?;
    let mut sorted: Vec<usize> = hosts.iter().copied().collect();
    sorted.sort_by(|a, b| asked.graph.hosts[*a].name.cmp(&asked.graph.hosts[*b].name));
    let batches: Vec<&[usize]> = sorted.chunks(BATCH).collect();
    let threads =
        thread::available_parallelism().map_or(1, usize::from).clamp(1, MAX_THREADS).min(batches.len().max(1));
    let mut written = 0;
    thread::scope(|scope| {
        let receivers: Vec<Receiver<Batch>> = (0..threads)
            .map(|first| {
                let (sender, receiver) = sync_channel(AHEAD);
                let own: Vec<&[usize]> = batches.iter().skip(first).step_by(threads).copied().collect();
                scope.spawn(move || work(asked, &own, &sender));
                receiver
            })
            .collect();
        for index in 0..batches.len() {
            // A thread that is gone has said why in a panic, which the scope passes on.
            let Ok((text, findings)) = receivers[index % threads].recv() else { break };
            found.extend(findings);
            // Each entry begins with a comma, the very first must not.
            let text = if written == 0 { text.strip_prefix(',').unwrap_or(&text) } else { &text };
            written += text.len();
            out.write_all(text.as_bytes())?;
        }
        Ok::<(), std::io::Error>(())
    })?;
    out.write_all(frame.closing(written).as_bytes())?;
    out.write_all(frame.after.as_bytes())
}

/// Answers batches until they are done or nobody listens any more.
fn work(asked: &Asked<'_>, batches: &[&[usize]], sender: &SyncSender<Batch>) {
    let mut kept: BTreeMap<&[usize], Shared<'_>> = BTreeMap::new();
    let mut longest = 0;
    for batch in batches {
        // Batches are about as long as each other.
        let (mut text, mut findings) = (String::with_capacity(longest), Vec::new());
        for &host in *batch {
            if kept.len() > MAX_SHARED {
                kept.clear();
            }
            let shared = kept.entry(asked.listing.membership(host)).or_insert_with(|| asked.listing.shared(host));
            let files = asked.folders.host_files(&asked.graph.hosts[host].name, &mut findings);
            asked.listing.entry(host, shared, &files, 1, &mut text);
        }
        longest = longest.max(text.len());
        if sender.send((text, findings)).is_err() {
            return;
        }
    }
}
