//! `bellwether inventory`: what an Ansible inventory means, as `ansible-inventory` prints it.
//!
//! It needs no Git and no `fleet.yml`, and gives no key a meaning of its own.

mod folders;
mod limit;
mod print;
mod sources;
mod yaml;

pub use folders::VarsFiles;
use limit::selected;
pub use limit::{devices, devices_in_groups};
pub use sources::{Loaded, is_host_list, load};

use super::Output;
use super::console::{Console, Outcome};
use super::fault::{Hint as _, usage, with_hint};
use super::render::findings;
use crate::domain::finding::{Finding, Severity};
use crate::domain::manifest::ansible_value::Unsafe;
use crate::domain::manifest::inventory::Graph;
use crate::domain::manifest::inventory::listing::{Form, GraphVars, Listing, MAX_GRAPH_LINES};
use crate::domain::manifest::inventory::pattern;
use anyhow::{Context as _, anyhow};
use folders::Asked;
use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

/// How many findings are shown. People fix the first dozen.
const MAX_SHOWN: usize = 100;

/// Flags of `inventory`.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("answer").required(true).args(["list", "host", "graph"])),
    after_help = "\
Takes inventories in YAML and JSON with `group_vars` and `host_vars` beside them, and answers as `ansible-inventory` does. Where \
something cannot be read it says so and exits with 1; what else there is is printed all the same, unless an inventory itself cannot \
be read. Variables beside a play are read only from --playbook-dir, never from the current folder.

Examples:
  bellwether inventory --list
  bellwether inventory -i hosts.yml -i more/ --list --limit 'web:&zurich:!web-7'
  bellwether inventory -i a.example,b.example, --graph
  bellwether inventory --host kiosk-1
  bellwether inventory --list --yaml --export > one-file.yml
  bellwether inventory --graph kiosks --vars"
)]
pub struct Args {
    /// An inventory: a file, a folder of files, or names with commas (`a,b,`) [default: inventory.yml or inventory/ here]
    #[arg(short, long, value_name = "PATH")]
    pub inventory: Vec<String>,
    /// Print groups and the variables of all hosts
    #[arg(long)]
    pub list: bool,
    /// Print the variables of one host
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Draw which group contains what
    #[arg(long)]
    pub graph: bool,
    /// Where the graph begins
    #[arg(value_name = "GROUP", requires = "graph")]
    pub group: Option<String>,
    /// Show variables in the graph
    #[arg(long, requires = "graph")]
    pub vars: bool,
    /// Print the list, or the host, as YAML, with groups inside groups
    #[arg(short, long, conflicts_with = "graph")]
    pub yaml: bool,
    /// Leave variables with the groups that they are written for, so that the list can be read as an inventory again
    #[arg(long)]
    pub export: bool,
    /// Only hosts that this pattern selects, such as `web:&zurich:!web-7` or `@file`
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// A folder of plays, whose `group_vars` and `host_vars` beat those of the inventory
    #[arg(long, value_name = "DIR")]
    pub playbook_dir: Option<PathBuf>,
}

/// What `--list` prints of all hosts.
pub fn list_text(loaded: &Loaded, found: &mut Vec<Finding>) -> anyhow::Result<Vec<u8>> {
    let Loaded { graph, folders } = loaded;
    let group_files = folders.group_files(graph, found);
    let listing = Listing::new(graph, &group_files, folders.count(), Form::Flat, Unsafe::Marked);
    let hosts = graph.hosts_of(crate::domain::manifest::inventory::ALL).into_iter().collect();
    print::text(&Asked { graph, listing: &listing, folders }, &hosts, found)
}

/// Runs `inventory`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    console.output(&[Output::Table, Output::Json])?;
    let named = if args.inventory.is_empty() { vec![sources::usual()?] } else { args.inventory.clone() };
    let mut found = Vec::new();
    let Some(loaded) = sources::load(&named, args.playbook_dir.as_deref(), &mut found)? else {
        return Ok(told(console, &found));
    };
    // The process ends with it: giving back a hundred thousand small pieces would only take time.
    let loaded = ManuallyDrop::new(loaded);
    let Loaded { graph, folders } = &*loaded;
    let group_files = folders.group_files(graph, &mut found);
    let form = if args.export { Form::Export } else { Form::Flat };
    let marks = if args.host.is_some() { Unsafe::Plain } else { Unsafe::Marked };
    let listing = Listing::new(graph, &group_files, folders.count(), form, marks);
    if let Some(name) = &args.host {
        let host = one_host(graph, name)?;
        let files = folders.host_files(&graph.hosts[host].name, &mut found);
        let text = listing.host(host, &files);
        console.print(if args.yaml { yaml::document(&as_json(text.as_bytes())?) } else { text })?;
    } else if args.graph {
        draw(args, console, graph, &listing, folders, &mut found)?;
    } else {
        let hosts = match &args.limit {
            Some(limit) => selected(graph, limit)?,
            None => graph.hosts_of(crate::domain::manifest::inventory::ALL).into_iter().collect(),
        };
        let asked = Asked { graph, listing: &listing, folders };
        if args.yaml {
            let list = as_json(&print::text(&asked, &hosts, &mut found)?)?;
            console.print(yaml::document(&yaml::nested(&list)))?;
        } else {
            print::list(&asked, &hosts, &mut found)?;
        }
    }
    Ok(told(console, &found))
}

/// An answer as values. Not every answer of Ansible is JSON: it prints `Infinity`. A number that would be rounded is refused.
fn as_json(text: &[u8]) -> anyhow::Result<serde_json::Value> {
    let read = serde_json::from_slice(text).map_err(anyhow::Error::new);
    let read = read.and_then(|value| if is_exact(&value) { Ok(value) } else { Err(anyhow!("a number is too large")) });
    read.context("a variable cannot be written as YAML").hint("without `--yaml` it is printed as it is")
}

/// Whether no number in it stands for one that was rounded.
fn is_exact(value: &serde_json::Value) -> bool {
    /// From here on whole numbers are not told from rounded ones.
    const LARGE: f64 = 9e18;
    match value {
        serde_json::Value::Number(number) => !number.is_f64() || number.as_f64().is_some_and(|one| one.abs() < LARGE),
        serde_json::Value::Array(items) => items.iter().all(is_exact),
        serde_json::Value::Object(fields) => fields.values().all(is_exact),
        _ => true,
    }
}

fn one_host(graph: &Graph, name: &str) -> anyhow::Result<usize> {
    let hosts = pattern::select(graph, &pattern::terms(name)).map_err(|error| {
        with_hint(
            anyhow!(error).context(format!("there is no host {name}")),
            "`bellwether inventory --graph` shows all",
        )
    })?;
    match hosts.as_slice() {
        [host] => Ok(*host),
        _ => Err(usage(format!("`--host {name}` must name one host, and it names {}", hosts.len()))),
    }
}

fn draw(
    args: &Args,
    console: &Console,
    graph: &Graph,
    listing: &Listing<'_>,
    folders: &folders::Folders,
    found: &mut Vec<Finding>,
) -> anyhow::Result<()> {
    let name = args.group.as_deref().unwrap_or("all");
    let top = graph.group_named(name).ok_or_else(|| {
        with_hint(anyhow!("the inventory has no group {name}"), "`bellwether inventory --graph` shows all")
    })?;
    let mut files = |host: usize| folders.host_files(&graph.hosts[host].name, found);
    let vars = if args.vars { GraphVars::Shown(&mut files) } else { GraphVars::Hidden };
    let drawn = listing.graph(top, vars).ok_or_else(|| {
        with_hint(anyhow!("the graph has more than {MAX_GRAPH_LINES} lines"), "name a group to begin with")
    })?;
    console.print(drawn)
}

/// Shows what was found, and tells by the exit code whether all could be read.
fn told(console: &Console, found: &[Finding]) -> Outcome {
    let sorted: BTreeSet<&Finding> = found.iter().collect();
    let shown: Vec<Finding> = sorted.iter().take(MAX_SHOWN).map(|finding| Finding::clone(finding)).collect();
    if !shown.is_empty() {
        console.note(findings::text(&shown).trim_end());
    }
    if sorted.len() > shown.len() {
        console.note(format!("{} more findings are not shown", sorted.len() - shown.len()));
    }
    match sorted.iter().any(|finding| finding.severity == Severity::Error) {
        true => Outcome::Failed,
        false => Outcome::Fine,
    }
}
