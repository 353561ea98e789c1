//! `bellwether import`: an Ansible inventory becomes a fleet repo by one file, `fleet.yml`; inventories of other names and shapes by
//! being written down as `inventory.yml`; a running fleet by all files.

mod running;
mod sources;

use super::Output;
use super::console::{Console, Outcome};
use super::fault::{Hint as _, usage};
use super::render::{
    findings,
    text::{count, names},
};
use crate::domain::desired::Desired;
use crate::domain::finding::{Finding, Severity};
use crate::domain::ids::{FleetName, StageName};
use crate::domain::snapshot::{Entry, Snapshot};
use crate::git::{open_clone, read_worktree};
use anyhow::{Context as _, anyhow, ensure};
use serde::Serialize;
use sources::Converted;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The file that is written.
const FLEET_FILE: &str = "fleet.yml";
/// How many files a person is told of.
const SHOWN_FILES: usize = 5;
/// What typed keys are made to begin with where an inventory uses their names already, in the order in which they are tried.
const PREFIXES: [&str; 3] = ["bw_", "bellwether_", "fleet_bw_"];

/// Flags of `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Looks at an Ansible inventory (`inventory.yml` with `group_vars` and `host_vars` beside it), writes `fleet.yml`, and changes \
nothing else, so Ansible goes on reading what it read before. Where the inventory uses a name that Bellwether gives a meaning, \
such as `tags` or `services`, `key_prefix` moves that meaning out of the way.

With `-i`, as Ansible has it, the inventory may have another name, be a folder of inventories, or several of them: PATH then gets an \
`inventory.yml`, with the files of variables beside it if they are elsewhere. A single file is taken as it is. Nothing is replaced, \
and nothing is written unless `inventory --list` says of the new repo what it says of the sources.

With `--running`, the fleet of a running controller becomes a repo instead: inventory, vars files, releases and OS images that \
mean what its devices are told to run, on one branch for each stage. The plans of the new repo against the controller are shown; \
if they are not empty, the command fails, and the files stay to be looked at. Values of secrets are not in them.

Examples:
  bellwether import --name acme --dry-run        show what would be written
  bellwether import ~/ansible --name acme
  bellwether import --name acme --branch production --key-prefix fleet_
  bellwether import -i hosts.yml --name acme     the inventory has another name
  bellwether import -i inventories/ -i extra.yml ./fleet-repo --name acme
  bellwether import --running ./fleet-repo       from the controller that `--server` names")]
pub struct Args {
    /// The folder of the inventory; with `--running` or `-i`, the one for the repo
    #[arg(value_name = "PATH", default_value = ".")]
    pub path: PathBuf,
    /// An inventory as Ansible takes it: a file, a folder of files, or names with commas (`a,b,`) [default: PATH/inventory.yml]
    #[arg(short, long, value_name = "SOURCE", conflicts_with = "running")]
    pub inventory: Vec<String>,
    /// Write down the fleet of the running controller
    #[arg(long)]
    pub running: bool,
    /// With `--running`: write into a folder that is not empty, and replace files of the same names
    #[arg(long, requires = "running")]
    pub force: bool,
    /// The fleet's name [default: the folder's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<FleetName>,
    /// The stage that devices follow at first [default: the branch that is checked out, else main]
    #[arg(long, value_name = "STAGE")]
    pub branch: Option<StageName>,
    /// What keys with a meaning begin with; empty for nothing [default: nothing, or `bw_` where names clash]
    #[arg(long, value_name = "PREFIX")]
    pub key_prefix: Option<String>,
    /// Show what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The answer for programs.
#[derive(Debug, Serialize)]
struct ImportView<'a> {
    path: String,
    fleet_file: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    key_prefix: &'a str,
    /// Files that are written beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<&'a str>,
    written: bool,
    devices: usize,
    findings: &'a [Finding],
}

/// Runs `import`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    if args.running {
        return running::run(args, console);
    }
    if args.inventory.is_empty() || args.path.exists() || args.dry_run {
        return import(args, console);
    }
    std::fs::create_dir_all(&args.path).with_context(|| format!("cannot make {}", args.path.display()))?;
    let outcome = import(args, console);
    if !matches!(outcome, Ok(Outcome::Fine)) {
        // Only if nothing is in it.
        let _ = std::fs::remove_dir(&args.path);
    }
    outcome
}

fn import(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Json, Output::Yaml])?;
    let root = root(args)?;
    let target = root.join(FLEET_FILE);
    if target.symlink_metadata().is_ok() {
        return Err(anyhow!("{} is there already", target.display())).hint("`bellwether check` says what it means");
    }
    let converted = match args.inventory.as_slice() {
        [] => None,
        named => Some(sources::convert(named, &root, args.dry_run)?),
    };
    let found = if root.exists() { worktree(&root)? } else { Snapshot::default() };
    let files = converted.as_ref().map_or_else(|| found.clone(), |converted| converted.over(&found));
    ensure_inventory(&files, &root)?;
    let beginning = Beginning { name: name(args, &root)?, branch: branch(args, &root)? };
    let proposal = propose(&files, &beginning, args.key_prefix.as_deref())?;
    let refused = proposal.desired.rejection().is_some();
    let write = !args.dry_run && !refused;
    let imported = Imported { target, proposal, converted, written: write };
    imported.show(output, console)?;
    if write {
        imported.write(&root, &found, console)?;
    }
    Ok(if refused { Outcome::Failed } else { Outcome::Fine })
}

/// The folder of the repo.
fn root(args: &Args) -> anyhow::Result<PathBuf> {
    if args.path.is_file() {
        return Err(usage(format!("{} is a file", args.path.display())))
            .hint(format!("name inventories with `-i`: `bellwether import -i {}`", args.path.display()));
    }
    match args.path.exists() || args.inventory.is_empty() {
        true => args.path.canonicalize().with_context(|| format!("cannot open {}", args.path.display())),
        // A trial makes no folder.
        false => std::path::absolute(&args.path).with_context(|| format!("cannot open {}", args.path.display())),
    }
}

fn worktree(root: &Path) -> anyhow::Result<Snapshot> {
    read_worktree(root).with_context(|| format!("cannot read {}", root.display()))
}

/// What there is to write.
struct Imported {
    target: PathBuf,
    proposal: Proposal,
    converted: Option<Converted>,
    written: bool,
}

impl Imported {
    fn show(&self, output: Output, console: &Console) -> anyhow::Result<()> {
        let Proposal { text, prefix, desired } = &self.proposal;
        let files: Vec<&str> = self.converted.iter().flat_map(|one| one.files.keys().map(String::as_str)).collect();
        match output {
            Output::Json | Output::Yaml => {
                let (path, devices) = (self.target.display().to_string(), desired.devices.len());
                let (key_prefix, findings, written) = (prefix.as_str(), &desired.findings, self.written);
                let view = ImportView { path, fleet_file: text, key_prefix, files, written, devices, findings };
                console.data(&view, output)?;
            }
            Output::Table | Output::Wide | Output::Md => {
                console.print(text.clone())?;
                console.note(findings::text(&desired.findings));
            }
        }
        if let Some(converted) = &self.converted {
            let hosts = count(converted.hosts, "host");
            console.note(findings::text(&converted.findings).trim_end());
            let files = names(converted.files.keys(), SHOWN_FILES);
            console.note(format!("{hosts} compared: `inventory --list` says of {files} what it says of the sources"));
        }
        let devices = count(desired.devices.len(), "device");
        let summary = findings::summary(&desired.findings);
        let done = if self.written { "written to" } else { "not written to" };
        console.note(format!("{devices}, {summary}; {done} {}", self.target.display()));
        Ok(())
    }

    /// Writes everything, and looks whether nothing else is different.
    fn write(self, root: &Path, found: &Snapshot, console: &Console) -> anyhow::Result<()> {
        let mut own = BTreeSet::from([FLEET_FILE.to_owned()]);
        if let Some(converted) = self.converted {
            own.extend(converted.files.keys().cloned());
            converted.settle(root)?;
        }
        create(&self.target, &self.proposal.text)?;
        ensure!(only_differs(found, &worktree(root)?, &own), "other files changed while the repo was written");
        let files = count(found.entries.len(), "file");
        console.note(format!("{files} that were there compared: none changed, so Ansible reads what it read before"));
        Ok(())
    }
}

fn ensure_inventory(files: &Snapshot, root: &Path) -> anyhow::Result<()> {
    if files.entries.contains_key("inventory.yml") {
        return Ok(());
    }
    let entries = std::fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    Err(anyhow!("{} has no inventory.yml", root.display())).hint(way_to_inventory(&names))
}

/// How the inventory of a folder is named, by what the folder has.
fn way_to_inventory(names: &BTreeSet<String>) -> String {
    const OTHERS: [&str; 9] = [
        "inventory.yaml",
        "inventory.json",
        "hosts.yml",
        "hosts.yaml",
        "hosts.json",
        "inventory",
        "inventories",
        "hosts",
        "hosts.ini",
    ];
    match OTHERS.into_iter().find(|name| names.contains(*name)) {
        Some(one) => format!("if that is {one}: `bellwether import -i {one}`"),
        None => "name the inventory with `-i`, as for Ansible".to_owned(),
    }
}

fn name(args: &Args, root: &Path) -> anyhow::Result<FleetName> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let folder = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    FleetName::new(&folder).hint("name the fleet with `--name`")
}

fn branch(args: &Args, root: &Path) -> anyhow::Result<StageName> {
    let checked_out = || open_clone(root).ok().and_then(|clone| clone.current_branch());
    match args.branch.clone().or_else(checked_out) {
        Some(branch) => Ok(branch),
        None => Ok(StageName::new("main")?),
    }
}

/// Writes a file that is not there.
fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Whether only files of these names are different.
fn only_differs(before: &Snapshot, after: &Snapshot, own: &BTreeSet<String>) -> bool {
    let mut others = 0;
    before.entries.differences(&after.entries, Entry::same, |path, _, _| others += usize::from(!own.contains(&**path)));
    others == 0
}

/// What a new `fleet.yml` says in any case.
struct Beginning {
    name: FleetName,
    branch: StageName,
}

/// A `fleet.yml`, and what the repo means with it.
struct Proposal {
    text: String,
    prefix: String,
    desired: std::sync::Arc<Desired>,
}

/// The `fleet.yml` for an inventory.
fn propose(files: &Snapshot, beginning: &Beginning, wanted: Option<&str>) -> anyhow::Result<Proposal> {
    let with = |prefix: &str| {
        let text = fleet_file(beginning, prefix);
        let mut files = files.clone();
        files.entries.extend(Snapshot::of_files([(FLEET_FILE, text.as_bytes())]).entries);
        let desired = crate::threads::resolver().resolve(&files);
        Proposal { text, prefix: prefix.to_owned(), desired }
    };
    if let Some(prefix) = wanted {
        return Ok(with(prefix));
    }
    // No key of this inventory has a meaning under a prefix that none begins with. If every device is the same without a prefix,
    // none has one there either.
    let used = |prefix: &str| {
        let contents = files.entries.values().filter_map(|entry| match entry {
            Entry::File { bytes, .. } => Some(&**bytes),
            Entry::Refused(_) => None,
        });
        contents.into_iter().any(|bytes| bytes.windows(prefix.len()).any(|window| window == prefix.as_bytes()))
    };
    let Some(free) = PREFIXES.into_iter().find(|prefix| !used(prefix)) else {
        return Err(anyhow!("the inventory uses {} in its names", PREFIXES.join(", "))).hint("choose `--key-prefix`");
    };
    let (plain, moved) = (with(""), with(free));
    let errors = |desired: &Desired| desired.findings.iter().filter(|one| one.severity == Severity::Error).count();
    let same = plain.desired.devices == moved.desired.devices && errors(&plain.desired) == errors(&moved.desired);
    Ok(if same { plain } else { moved })
}

fn fleet_file(beginning: &Beginning, prefix: &str) -> String {
    let Beginning { name, branch } = beginning;
    let key_prefix = match prefix {
        "" => String::new(),
        prefix => format!(
            "\n# The inventory uses names that have a meaning to Bellwether. In vars files that meaning is under this prefix:\n\
             # `{prefix}pins`, `{prefix}variables`, `{prefix}tags`, … Here in `defaults` the keys have no prefix.\n\
             key_prefix: {prefix}\n"
        ),
    };
    format!(
        "# What holds for the whole fleet. `bellwether schema fleet` lists every key.\n\
         name: {name}\n{key_prefix}\n\
         # Below what groups and devices say. A device follows the branch that its `branch` names; stages and their order are\n\
         # the controller's configuration. Let a group follow another one to try changes there first.\n\
         defaults:\n  branch: {branch}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposed(vars: &str, wanted: Option<&str>) -> Proposal {
        let files = [
            ("inventory.yml", "all: {children: {web: {hosts: {a: , b: }}}}\n".as_bytes()),
            ("group_vars/web.yml", vars.as_bytes()),
        ];
        let beginning = Beginning { name: FleetName::new("acme").unwrap(), branch: StageName::new("main").unwrap() };
        propose(&Snapshot::of_files(files), &beginning, wanted).unwrap()
    }

    #[test]
    fn an_inventory_with_names_of_its_own_alone_needs_no_prefix() {
        let proposal = proposed("http_port: 80\n", None);
        assert_eq!(proposal.prefix, "");
        assert_eq!(proposal.desired.devices.len(), 2);
        insta::assert_snapshot!(proposal.text, @r"
        # What holds for the whole fleet. `bellwether schema fleet` lists every key.
        name: acme

        # Below what groups and devices say. A device follows the branch that its `branch` names; stages and their order are
        # the controller's configuration. Let a group follow another one to try changes there first.
        defaults:
          branch: main
        ");
    }

    #[test]
    fn an_inventory_of_another_name_is_no_dead_end() {
        let folders = [&["hosts.yml", "site.yml"][..], &["inventory", "roles"], &["hosts.ini"], &["site.yml"]];
        let hints = folders.map(|names| way_to_inventory(&names.iter().map(|name| (*name).to_owned()).collect()));
        insta::assert_snapshot!(hints.join("\n"), @"
        if that is hosts.yml: `bellwether import -i hosts.yml`
        if that is inventory: `bellwether import -i inventory`
        if that is hosts.ini: `bellwether import -i hosts.ini`
        name the inventory with `-i`, as for Ansible
        ");
    }

    #[test]
    fn names_with_a_meaning_are_moved_out_of_the_way() {
        for vars in ["tags: [x, y]\n", "tags: {a: b}\n", "services: nginx\n", "branch: develop\n"] {
            let proposal = proposed(vars, None);
            assert_eq!(proposal.prefix, "bw_", "{vars}");
            assert!(proposal.desired.findings.is_empty(), "{vars}: {:?}", proposal.desired.findings);
        }
    }

    #[test]
    fn a_prefix_that_is_in_use_is_not_taken() {
        assert_eq!(proposed("tags: [x]\nbw_limit: 5\n", None).prefix, "bellwether_");
    }

    #[test]
    fn who_names_a_prefix_gets_it() {
        assert_eq!(proposed("tags: {a: b}\n", Some("")).prefix, "");
        assert!(proposed("http_port: 80\n", Some("x_")).text.contains("key_prefix: x_\n"));
    }
}
