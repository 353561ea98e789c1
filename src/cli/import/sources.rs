//! `bellwether import -i`: whatever Ansible's `-i` takes becomes `inventory.yml` with `group_vars` and `host_vars`.
//!
//! A single file in YAML is taken as it is, with its comments. Several sources are written down as one; their files of variables
//! are copied. All of it is put together in a folder of its own first, and moved to its place only if `--list` says of it, byte
//! for byte, what it says of the sources.

use crate::cli::fault::{Hint as _, with_hint};
use crate::cli::inventory::{Loaded, VarsFiles, is_host_list, list_text, load};
use crate::cli::render::findings;
use crate::cli::render::text::{count, names};
use crate::domain::finding::{Finding, Severity};
use crate::domain::snapshot::Snapshot;
use anyhow::{Context as _, anyhow};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const INVENTORY_FILE: &str = "inventory.yml";
/// What variables beside an inventory stand in.
const KINDS: [&str; 2] = ["group_vars", "host_vars"];
/// How many names of hosts a refusal shows.
const SHOWN: usize = 5;

/// An inventory that was put together, and says the same as its sources.
pub(super) struct Converted {
    /// What it is made of: paths in the repo and their bytes.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What was found in the sources, short of errors.
    pub findings: Vec<Finding>,
    /// How many hosts were compared.
    pub hosts: usize,
    staged: TempDir,
}

/// Where files of variables come from.
enum Variables {
    /// They stand in the repo already.
    InPlace,
    /// They are copied.
    Copied(BTreeMap<String, Vec<u8>>),
}

/// Puts together what `sources` mean, for a repo at `root`.
pub(super) fn convert(sources: &[String], root: &Path, dry: bool) -> anyhow::Result<Converted> {
    let (loaded, mut findings) = loaded(sources)?;
    let folders = loaded.folders.files();
    let variables = match folders.as_slice() {
        [one] if is_same(&one.path, root) => Variables::InPlace,
        several => Variables::Copied(merged(several)?),
    };
    vacant(root, &variables)?;
    let (inventory, as_is) = match sources {
        [one] if !is_host_list(one) && Path::new(one).is_file() => {
            (std::fs::read(one).with_context(|| format!("cannot read {one}"))?, true)
        }
        _ => (one_file(&loaded).into_bytes(), false),
    };
    let mut files = BTreeMap::from([(INVENTORY_FILE.to_owned(), inventory)]);
    // What is not kept is put together elsewhere: a trial leaves no trace.
    let staged =
        if dry { TempDir::new() } else { tempfile::Builder::new().prefix(".bellwether-import-").tempdir_in(root) };
    let staged = staged.with_context(|| format!("cannot make a folder in {}", root.display()))?;
    match variables {
        Variables::InPlace => linked(root, staged.path())?,
        Variables::Copied(copied) => files.extend(copied),
    }
    for (path, bytes) in &files {
        let path = staged.path().join(path);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, bytes));
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let before = list_text(&loaded, &mut findings)?;
    let hosts = loaded.graph.hosts.len();
    same(&before, staged.path(), as_is)?;
    refused(&findings)?;
    Ok(Converted { files, findings, hosts, staged })
}

impl Converted {
    /// Moves everything to its place, the inventory last: without it the folder is no fleet repo.
    pub(super) fn settle(self, root: &Path) -> anyhow::Result<()> {
        let top = |kind: &&str| self.files.keys().any(|path| path.split('/').next() == Some(*kind));
        for name in KINDS.iter().filter(|kind| top(kind)).chain([&INVENTORY_FILE]) {
            let (from, to) = (self.staged.path().join(name), root.join(name));
            let moved = match to.symlink_metadata() {
                Ok(_) => Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists)),
                Err(_) => std::fs::rename(&from, &to),
            };
            moved.with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok(())
    }

    /// What the repo holds with it.
    pub(super) fn over(&self, files: &Snapshot) -> Snapshot {
        let mut files = files.clone();
        let own = self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
        files.entries.extend(Snapshot::of_files(own).entries);
        files
    }
}

fn loaded(sources: &[String]) -> anyhow::Result<(Loaded, Vec<Finding>)> {
    let mut found = Vec::new();
    match load(sources, None, &mut found)? {
        Some(loaded) => Ok((loaded, found)),
        None => {
            refused(&found)?;
            Err(anyhow!("the inventory cannot be read"))
        }
    }
}

/// Refuses what has errors: a repo that is written from half of an inventory has lost the other half.
fn refused(found: &[Finding]) -> anyhow::Result<()> {
    let errors: Vec<Finding> = found.iter().filter(|one| one.severity == Severity::Error).cloned().collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(anyhow!("the inventory has errors:\n{}", findings::text(&errors).trim_end()))
}

fn one_file(loaded: &Loaded) -> String {
    format!(
        "# Written down from several inventories. What each said of a group or host is here; files of variables stand beside.\n{}",
        loaded.graph.written()
    )
}

fn is_same(one: &Path, other: &Path) -> bool {
    let named = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
    matches!((named(one).canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The files of variables of several folders as those of one. Where only one has something for a name its files keep their paths;
/// where several do, they stand in numbered folders, which are read in this order.
fn merged(folders: &[VarsFiles]) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut copied = BTreeMap::new();
    for kind in KINDS {
        let mut by_name: BTreeMap<&str, Vec<(&VarsFiles, &[String])>> = BTreeMap::new();
        for folder in folders {
            let named = if kind == KINDS[0] { &folder.groups } else { &folder.hosts };
            for (name, files) in named.iter().filter(|(_, files)| !files.is_empty()) {
                by_name.entry(name).or_default().push((folder, files));
            }
        }
        for (name, sources) in by_name {
            for (index, (folder, files)) in sources.iter().enumerate() {
                for file in *files {
                    let path = match sources.len() {
                        1 => format!("{kind}/{file}"),
                        // As many digits everywhere, so that the order of bytes is the order of numbers.
                        _ => format!("{kind}/{name}/{index:04}/{}", inside(file)),
                    };
                    let from = folder.path.join(kind).join(file);
                    let bytes = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
                    copied.insert(path, bytes);
                }
            }
        }
    }
    Ok(copied)
}

/// A path below the folder of its name; of a file for a name its extension with a stem.
fn inside(file: &str) -> String {
    match file.split_once('/') {
        Some((_, inside)) => inside.to_owned(),
        None => match Path::new(file).extension() {
            Some(extension) if ["yml", "yaml", "json"].iter().any(|known| extension == *known) => {
                format!("vars.{}", extension.to_string_lossy())
            }
            Some(_) | None => "vars".to_owned(),
        },
    }
}

/// Nothing is replaced.
fn vacant(root: &Path, variables: &Variables) -> anyhow::Result<()> {
    let taken = match variables {
        Variables::InPlace => Vec::new(),
        Variables::Copied(copied) => {
            KINDS.iter().filter(|kind| copied.keys().any(|path| path.starts_with(*kind))).copied().collect()
        }
    };
    for name in taken.into_iter().chain([INVENTORY_FILE]) {
        let path = root.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(anyhow!("{} is there already", path.display()))
                .hint("name a new folder for the repo: `bellwether import -i SOURCE… FOLDER`");
        }
    }
    Ok(())
}

/// Lets the staged inventory see the files of variables that are in the repo already.
fn linked(root: &Path, staged: &Path) -> anyhow::Result<()> {
    for kind in KINDS {
        let there = root.join(kind);
        if there.is_dir() {
            std::os::unix::fs::symlink(&there, staged.join(kind))
                .with_context(|| format!("cannot link to {}", there.display()))?;
        }
    }
    Ok(())
}

/// The proof: every host has the same values, and every group the same members.
fn same(before: &[u8], staged: &Path, as_is: bool) -> anyhow::Result<()> {
    let inventory = staged.join(INVENTORY_FILE).display().to_string();
    let (loaded, mut found) = loaded(&[inventory])?;
    let after = list_text(&loaded, &mut found)?;
    if before == after {
        return Ok(());
    }
    let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap_or_default();
    let (before, after) = (read(before), read(&after));
    let hosts = |list: &serde_json::Value| list["_meta"]["hostvars"].as_object().cloned().unwrap_or_default();
    let (before, after) = (hosts(&before), hosts(&after));
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    let mut different: Vec<&String> = before.keys().chain(after.keys()).filter(differs).collect();
    different.sort();
    different.dedup();
    let what = match different.as_slice() {
        [] => "groups would have other members".to_owned(),
        hosts => {
            let shown = names(hosts.iter().take(SHOWN), SHOWN);
            format!("{} would have other values, such as {shown}", count(hosts.len(), "host"))
        }
    };
    let hint = match as_is {
        true => "this is a mistake of Bellwether's: please report it, with the inventory if you can",
        false => {
            "where several folders have `group_vars`, all of one folder beat all of another, which one folder cannot say; \
             import them one by one, or put the values that differ into `host_vars`"
        }
    };
    Err(with_hint(anyhow!("as one inventory {what}, so nothing is written"), hint))
}
