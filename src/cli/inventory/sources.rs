//! What `-i` names: files, folders of files, and lists of host names.

use super::folders::Folders;
use crate::cli::fault::{usage, with_hint};
use crate::domain::desired::finding_in;
use crate::domain::finding::{Affects, Finding, codes};
use crate::domain::manifest::inventory::{Builder, Graph, HostList, Slips, read};
use crate::domain::manifest::problems::{Draft, show};
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::yaml::{Node, Span};
use crate::domain::snapshot::MAX_FILE_BYTES;
use anyhow::{Context as _, anyhow};
use std::fs::File;
use std::io::Read as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// How deep folders of inventories are followed. Links may go round.
const MAX_DEPTH: usize = 32;
/// How many inventory files are read together.
const MAX_INVENTORIES: usize = 10_000;
/// Endings of files in a folder that are no inventories: Ansible's list.
const IGNORED_ENDS: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];

/// What was read.
pub struct Loaded {
    /// Groups and hosts.
    pub graph: Graph,
    /// Where variables stand.
    pub folders: Folders,
}

/// The inventory that is meant if none is named.
pub fn usual() -> anyhow::Result<String> {
    ["inventory.yml", "inventory"]
        .into_iter()
        .find(|name| Path::new(name).exists())
        .map(str::to_owned)
        .ok_or_else(|| with_hint(usage("no inventory is named, and there is none here"), "name one with `-i`"))
}

/// Reads everything that was named, one over the other; `None` if something cannot be read, which `found` says.
pub fn load(named: &[String], play: Option<&Path>, found: &mut Vec<Finding>) -> anyhow::Result<Option<Loaded>> {
    // Large folders take as long to list as the inventory takes to read.
    let (graph, folders) = thread::scope(|scope| {
        let folders = scope.spawn(|| beside(named, play));
        (inventories(named, found), folders.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    match graph? {
        Some(graph) => Ok(Some(Loaded { graph, folders: folders? })),
        None => Ok(None),
    }
}

/// What stands beside the inventories and the play.
fn beside(named: &[String], play: Option<&Path>) -> anyhow::Result<Folders> {
    let mut folders = Folders::default();
    for source in named.iter().filter(|source| !is_host_list(source)) {
        let path = Path::new(source);
        match path.is_dir() {
            true => folders.of_inventory(path)?,
            false => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                folders.of_inventory(parent.unwrap_or(Path::new(".")))?;
            }
        }
    }
    if let Some(play) = play {
        folders.of_play(play)?;
    }
    Ok(folders)
}

/// Whether a source is names with commas, and not a file.
pub fn is_host_list(source: &str) -> bool {
    source.contains(',') && !Path::new(source).exists()
}

fn inventories(named: &[String], found: &mut Vec<Finding>) -> anyhow::Result<Option<Graph>> {
    let mut loading = Loading { builder: Builder::default(), found, files: 0, failed: false };
    for source in named {
        if is_host_list(source) {
            HostList::read(source, &mut loading.builder);
            continue;
        }
        let path = Path::new(source);
        let kind = std::fs::metadata(path).with_context(|| format!("cannot read the inventory {source}"))?;
        match kind.is_dir() {
            true => loading.folder(path, 0)?,
            false => loading.file(path)?,
        }
    }
    let Loading { builder, failed, .. } = loading;
    if failed {
        return Ok(None);
    }
    match builder.finish() {
        Ok(graph) => {
            for draft in graph.hosts.iter().filter_map(|host| host.problem.clone()) {
                let bytes = std::fs::read(&*draft.file).ok();
                found.push(finding_in(bytes.as_deref(), draft, Affects::Nothing));
            }
            Ok(Some(graph))
        }
        Err(broken) => {
            let file: Arc<str> = named.join(", ").into();
            found.push(finding_in(None, broken.draft(&file), Affects::Nothing));
            Ok(None)
        }
    }
}

struct Loading<'a> {
    builder: Builder,
    found: &'a mut Vec<Finding>,
    files: usize,
    failed: bool,
}

impl Loading<'_> {
    fn folder(&mut self, path: &Path, depth: usize) -> anyhow::Result<()> {
        let listed = || format!("cannot list the folder of inventories {}", path.display());
        if depth >= MAX_DEPTH {
            return Err(anyhow!("{} is nested deeper than {MAX_DEPTH} folders", path.display()));
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).with_context(listed)? {
            names.push(entry.with_context(listed)?.file_name());
        }
        names.sort();
        let before = self.files;
        for name in names {
            let shown = name.to_string_lossy();
            let reserved = matches!(&*shown, "group_vars" | "host_vars" | "vars_plugins");
            if shown.starts_with('.') || reserved || IGNORED_ENDS.iter().any(|end| shown.ends_with(end)) {
                continue;
            }
            let inner = path.join(&name);
            match inner.is_dir() {
                true => self.folder(&inner, depth + 1)?,
                false => self.file(&inner)?,
            }
        }
        if depth == 0 && self.files == before {
            return Err(anyhow!("the folder {} holds no inventory", path.display()));
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        self.files += 1;
        if self.files > MAX_INVENTORIES {
            return Err(anyhow!("more than {MAX_INVENTORIES} inventory files are named"));
        }
        let name: Arc<str> = path.display().to_string().into();
        let bytes = bytes(path).with_context(|| format!("cannot read the inventory {name}"))?;
        let drafts = match unfit(path, &bytes) {
            Some(message) => vec![not_an_inventory(&name, message)],
            None => {
                let mut inline_findings = Vec::new();
                let mut inline = |node: &Node| {
                    let vars = Vars::free(&name, node);
                    inline_findings.extend(vars.findings.iter().cloned());
                    Arc::new(vars)
                };
                let found = read(&name, &bytes, Slips::Warnings, &mut self.builder, &mut inline);
                self.failed |= found.structure.errors() > 0;
                let mut drafts = found.structure.finish();
                if let Some(draft) = drafts.first_mut().filter(|_| looks_like_ini(path, &bytes)) {
                    *draft = not_an_inventory(&name, "this looks like an inventory in Ansible's INI format".to_owned());
                }
                drafts.extend(found.loose.finish());
                drafts.extend(inline_findings);
                drafts
            }
        };
        self.failed |= drafts.iter().any(|draft| draft.code == codes::NOT_AN_INVENTORY);
        self.found.extend(drafts.into_iter().map(|draft| finding_in(Some(&bytes), draft, Affects::Nothing)));
        Ok(())
    }
}

fn not_an_inventory(name: &Arc<str>, message: String) -> Draft {
    Draft::error(name, Span::default(), codes::NOT_AN_INVENTORY, message).hint(format!(
        "inventories are read in YAML and JSON; convert it with \
         `ansible-inventory -i {} --list --export --yaml --output inventory.yml`",
        show(name)
    ))
}

/// Why a file cannot be an inventory in YAML or JSON.
fn unfit(path: &Path, bytes: &[u8]) -> Option<String> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    if bytes.starts_with(b"#!") {
        return Some("this is a program that prints an inventory, and programs are not run".to_owned());
    }
    match extension.as_deref() {
        None | Some("yml" | "yaml" | "json") => None,
        Some(other) => Some(format!("files ending in `.{}` are not inventories in YAML or JSON", show(other))),
    }
}

/// Whether a file without an extension was probably written in the other format.
fn looks_like_ini(path: &Path, bytes: &[u8]) -> bool {
    path.extension().is_none() && !String::from_utf8_lossy(bytes).lines().any(|line| line.trim_end().ends_with(':'))
}

/// The bytes of a regular file of bounded length.
pub fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let said = metadata.len().min(MAX_FILE_BYTES + 1);
    let mut bytes = Vec::with_capacity(usize::try_from(said).unwrap_or(0) + 1);
    file.by_ref().take(said).read_to_end(&mut bytes)?;
    // A file that has as much as it said is not asked for more; those of the kernel say nothing, or too much.
    if said == 0 || (bytes.len() as u64) < said {
        file.take(MAX_FILE_BYTES + 1 - bytes.len() as u64).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("it is longer than {MAX_FILE_BYTES} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// A path as it is shown in findings.
pub fn shown(folder: &Path, inside: &str) -> PathBuf {
    match folder == Path::new(".") {
        true => PathBuf::from(inside),
        false => folder.join(inside),
    }
}
