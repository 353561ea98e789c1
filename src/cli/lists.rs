//! Lists of devices on this side: from a file, or from the controller that keeps them.

use super::console::Console;
use super::fault::{usage, with_hint};
use super::remote::encoded;
use crate::domain::desired::{InventorySource, Resolver};
use crate::domain::digest::Digest;
use crate::domain::manifest::fleet_file::FleetFile;
use crate::domain::manifest::inventory::{Inventory, Kept, MAX_LIST_BYTES, read_list};
use crate::domain::manifest::listed_by::ListedBy;
use crate::domain::manifest::vars::KeyRules;
use crate::domain::snapshot::Snapshot;
use anyhow::{Context as _, anyhow};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where devices are listed that the commit does not list.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListArgs {
    /// The devices, as `ansible-inventory --list` prints them, where fleet.yml says that they are listed elsewhere [default: the
    /// controller's list]
    #[arg(long = "inventory", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// A list that was found.
#[derive(Clone, Debug, Default)]
pub struct FoundList {
    /// For the resolver.
    pub source: InventorySource,
    /// SHA-256 of the list; `None` where the commit lists its devices.
    pub digest: Option<Digest>,
    /// Where it is from, for people; empty where the commit lists its devices.
    pub origin: String,
    /// The list itself.
    pub bytes: Option<(Arc<str>, Vec<u8>)>,
}

/// Finds the list that goes with a commit.
pub fn find(
    args: &ListArgs,
    resolver: &mut Resolver,
    files: &Snapshot,
    console: Option<&Console>,
) -> anyhow::Result<FoundList> {
    let fleet = resolver.fleet(files);
    match (&fleet.listed_by, &args.file) {
        (ListedBy::Commit, None) => Ok(FoundList::default()),
        (ListedBy::Commit, Some(_)) => Err(with_hint(
            usage("`--inventory` is for fleets whose devices are listed elsewhere, and here they are in inventory.yml"),
            "write `inventory: registry` or `inventory: {http: …}` into fleet.yml first",
        )),
        (ListedBy::Registry(_) | ListedBy::Http(_), Some(path)) => {
            let bytes = read(path).with_context(|| format!("cannot read the list of devices {}", path.display()))?;
            Ok(found(&fleet, &path.display().to_string(), bytes))
        }
        (by, None) => match console.map_or_else(|| Err(anyhow!("no controller is asked")), |one| ask(by, None, one)) {
            Ok(bytes) => Ok(found(&fleet, "the controller", bytes)),
            Err(error) => {
                let why = format!("{error:#}; name a file with `--inventory`");
                let source = InventorySource::Given(Arc::new(Inventory::missing(by.missing(&why))));
                Ok(FoundList { source, ..FoundList::default() })
            }
        },
    }
}

/// The list of this digest, which counts with a commit at the controller.
pub fn by_digest(
    digest: Option<&Digest>,
    resolver: &mut Resolver,
    files: &Snapshot,
    console: &Console,
) -> anyhow::Result<FoundList> {
    let Some(digest) = digest else { return Ok(FoundList::default()) };
    let fleet = resolver.fleet(files);
    let bytes = ask(&fleet.listed_by, Some(digest), console)?;
    Ok(found(&fleet, "the controller", bytes))
}

fn found(fleet: &FleetFile, origin: &str, bytes: Vec<u8>) -> FoundList {
    let plain = KeyRules::default();
    let rules = match &fleet.listed_by {
        // As the controller reads it: what operators say has no prefix.
        ListedBy::Registry(_) => &plain,
        ListedBy::Commit | ListedBy::Http(_) => &fleet.rules,
    };
    let name: Arc<str> = fleet.listed_by.file();
    let digest = Digest::of(&bytes);
    let inventory = read_list(&name, &bytes, rules, &mut Kept::default());
    FoundList {
        source: InventorySource::Given(Arc::new(inventory)),
        digest: Some(digest),
        origin: format!("inventory {} from {origin}", digest.short()),
        bytes: Some((name, bytes)),
    }
}

/// Asks the controller.
fn ask(by: &ListedBy, digest: Option<&Digest>, console: &Console) -> anyhow::Result<Vec<u8>> {
    let query = match (digest, by) {
        (Some(digest), _) => format!("digest={}", encoded(&digest.to_string())),
        (None, ListedBy::Registry(rules)) => {
            let names: Vec<&str> = rules.vars.iter().map(|name| name.as_str()).collect();
            format!("registry={}", names.join(","))
        }
        (None, ListedBy::Http(url)) => format!("url={}", encoded(url)),
        (None, ListedBy::Commit) => return Err(anyhow!("the commit lists its devices itself")),
    };
    console.global.controller()?.bytes(&format!("/v1/inventory?{query}"), "ask the controller for its list of devices")
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_LIST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
