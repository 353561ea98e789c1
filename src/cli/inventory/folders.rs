//! `group_vars` and `host_vars` beside inventories and plays, read as they are asked for.

use super::sources::{bytes, shown};
use crate::domain::desired::finding_in;
use crate::domain::finding::{Affects, Finding, codes};
use crate::domain::manifest::inventory::Graph;
use crate::domain::manifest::inventory::listing::Listing;
use crate::domain::manifest::inventory::precedence;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::vars_folder::{self, VarsFolder};
use crate::domain::manifest::yaml::Span;
use crate::domain::snapshot::MAX_FILES;
use anyhow::{Context as _, anyhow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep folders of variables are followed. Links may go round.
const MAX_DEPTH: usize = 32;

/// Everything that is needed to answer for a host.
pub struct Asked<'a> {
    /// Groups and hosts.
    pub graph: &'a Graph,
    /// What groups say.
    pub listing: &'a Listing<'a>,
    /// Where files of hosts are.
    pub folders: &'a Folders,
}

/// Folders with variables, in the order in which they are laid over each other.
#[derive(Default)]
pub struct Folders {
    inventory: Vec<Folder>,
    play: Vec<Folder>,
}

/// Which files of variables are read from one folder.
pub struct VarsFiles {
    /// The folder that holds `group_vars` and `host_vars`.
    pub path: PathBuf,
    /// Paths inside `group_vars`, by group.
    pub groups: Vec<(String, Vec<String>)>,
    /// Paths inside `host_vars`, by host.
    pub hosts: Vec<(String, Vec<String>)>,
}

/// One folder that may hold `group_vars` and `host_vars`.
struct Folder {
    path: PathBuf,
    groups: VarsFolder<Box<str>, Box<str>>,
    hosts: VarsFolder<Box<str>, Box<str>>,
}

impl Folders {
    /// Adds the folder of an inventory.
    pub fn of_inventory(&mut self, path: &Path) -> anyhow::Result<()> {
        // Laying the same folder over itself changes nothing.
        if self.inventory.last().is_none_or(|last| last.path != path) {
            self.inventory.push(Folder::list(path)?);
        }
        Ok(())
    }

    /// Adds the folder of a play.
    pub fn of_play(&mut self, path: &Path) -> anyhow::Result<()> {
        self.play.push(Folder::list(path)?);
        Ok(())
    }

    /// How many there are of each kind.
    pub fn count(&self) -> precedence::Folders {
        precedence::Folders { inventory: self.inventory.len(), play: self.play.len() }
    }

    /// Which files are read, folder by folder, for whatever name.
    pub fn files(&self) -> Vec<VarsFiles> {
        let named = |folder: &VarsFolder<Box<str>, Box<str>>| {
            let texts = |files: &[Box<str>]| files.iter().map(|file| file.to_string()).collect();
            folder.names().map(|(name, files)| (name.to_string(), texts(files))).collect()
        };
        let files =
            |one: &Folder| VarsFiles { path: one.path.clone(), groups: named(&one.groups), hosts: named(&one.hosts) };
        self.all().map(files).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Folder> {
        self.inventory.iter().chain(&self.play)
    }

    /// The files of every group, by folder.
    pub fn group_files(&self, graph: &Graph, found: &mut Vec<Finding>) -> Vec<Vec<Vec<Arc<Vars>>>> {
        let of_folder = |folder: &Folder, found: &mut Vec<Finding>| {
            let mut files = |name: &str| folder.read(&folder.groups, "group_vars", name, found);
            graph.groups.iter().map(|group| files(&group.name)).collect()
        };
        self.all().map(|folder| of_folder(folder, found)).collect()
    }

    /// The files of a host, folder by folder.
    pub fn host_files(&self, name: &str, found: &mut Vec<Finding>) -> Vec<Arc<Vars>> {
        self.all().flat_map(|folder| folder.read(&folder.hosts, "host_vars", name, found)).collect()
    }
}

impl Folder {
    fn list(path: &Path) -> anyhow::Result<Self> {
        if !path.is_dir() {
            return Err(anyhow!("there is no folder {}", path.display()));
        }
        let kind = |name: &str| listed(&path.join(name));
        Ok(Self { path: path.to_owned(), groups: kind("group_vars")?, hosts: kind("host_vars")? })
    }

    fn read(
        &self,
        folder: &VarsFolder<Box<str>, Box<str>>,
        kind: &str,
        name: &str,
        found: &mut Vec<Finding>,
    ) -> Vec<Arc<Vars>> {
        folder
            .files_of_any_name(name)
            .iter()
            .map(|inside| Arc::new(self.file(&format!("{kind}/{inside}"), found)))
            .collect()
    }

    fn file(&self, inside: &str, found: &mut Vec<Finding>) -> Vars {
        let path = self.path.join(inside);
        let named = || Arc::<str>::from(shown(&self.path, inside).display().to_string());
        match bytes(&path) {
            Ok(bytes) => {
                let mut vars = Vars::read_free(&FILE.with(Arc::clone), &bytes);
                if !vars.findings.is_empty() {
                    let file = named();
                    for draft in std::mem::take(&mut vars.findings) {
                        let draft = Draft { file: file.clone(), ..draft };
                        found.push(finding_in(Some(&bytes), draft, Affects::Nothing));
                    }
                }
                vars
            }
            Err(error) => {
                let message = format!("the file cannot be read: {error}");
                let draft = Draft::error(&named(), Span::default(), codes::UNREADABLE, message);
                found.push(finding_in(None, draft.clone(), Affects::Nothing));
                Vars::unreadable(draft)
            }
        }
    }
}

thread_local! {
    /// Stands for the file of values whose place nobody asks for: a name for each of ten thousand files would be waste.
    static FILE: Arc<str> = "".into();
}

/// What stands in a folder of variables. Links are followed, as Ansible does; no folder is no files.
fn listed(root: &Path) -> anyhow::Result<VarsFolder<Box<str>, Box<str>>> {
    let mut folder = VarsFolder::default();
    if root.is_dir() {
        let mut left = MAX_FILES;
        walk(root, "", 0, &mut left, &mut folder)?;
        folder.sort(|inside| inside);
    }
    Ok(folder)
}

fn walk(
    path: &Path,
    prefix: &str,
    depth: usize,
    left: &mut usize,
    folder: &mut VarsFolder<Box<str>, Box<str>>,
) -> anyhow::Result<()> {
    let failed = || format!("cannot list {}", path.display());
    for entry in std::fs::read_dir(path).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        // A name that is no text is nobody's name.
        let Ok(name) = entry.file_name().into_string() else { continue };
        *left = left.checked_sub(1).ok_or_else(|| anyhow!("{} holds more than {MAX_FILES} files", path.display()))?;
        let kind = entry.file_type().with_context(failed)?;
        let is_dir = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
        let inside = format!("{prefix}{name}");
        let place = vars_folder::place(&inside);
        if is_dir {
            // Even an empty folder hides a file of the same name.
            folder.insert(place.name.into(), place.rank, None);
            if depth < MAX_DEPTH {
                walk(&entry.path(), &format!("{inside}/"), depth + 1, left, folder)?;
            }
        } else {
            folder.insert(place.name.into(), place.rank, place.counts.then(|| inside.as_str().into()));
        }
    }
    Ok(())
}
