//! `bellwether ls`: the tree of dynamic groups, with the devices in them.

use super::console::{Console, Outcome};
use super::fault::{Hint as _, with_hint};
use super::lists::{self, ListArgs};
use super::remote::encoded;
use super::render::devices::folder as shown;
use super::selecting::note_undetermined;
use super::{Output, local};
use crate::domain::overview::query::{Folder, folder, git_index, index_matches};
use crate::threads;
use anyhow::anyhow;
use std::path::{Path, PathBuf};

/// Flags of `ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Dynamic groups are filters that fleet.yml names under `groups:`. A device may be in several of them. On a clone only what Git
says is known: where a filter asks for what a device or an operator says, the answer is unknown, and that is said.

Examples:
  bellwether ls
  bellwether ls /co/cisco
  bellwether ls /co --repo . --rev main")]
pub struct Args {
    /// The folder
    #[arg(value_name = "PATH", default_value = "/")]
    pub path: String,
    /// A clone of the fleet repo instead of a controller
    #[arg(long, value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// The commit of the clone [default: the work tree as it is; HEAD of a bare one]
    #[arg(long, value_name = "REV", requires = "repo")]
    pub rev: Option<String>,
    /// Where the devices of the clone are listed.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Runs `ls`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let found = match args.repo.as_deref().or(args.list.file.as_ref().map(|_| Path::new("."))) {
        None => {
            let path = format!("/v1/groups?path={}", encoded(&args.path));
            console.global.controller()?.get(&path, &format!("list {}", args.path))?
        }
        Some(repo) => of_clone(args, repo, console)?,
    };
    note_undetermined(console, &found.undetermined);
    let table = shown(&found);
    match output {
        Output::Json | Output::Yaml => console.data(&found, output)?,
        Output::Md => console.print(table.markdown())?,
        Output::Table | Output::Wide if table.is_empty() => console.note("nothing is here"),
        Output::Table | Output::Wide => console.print(table.text(console.width()))?,
    }
    Ok(Outcome::Fine)
}

fn of_clone(args: &Args, repo: &Path, console: &Console) -> anyhow::Result<Folder> {
    let files = local::files(repo, args.rev.as_deref())?;
    let mut resolver = threads::resolver();
    let list = lists::find(&args.list, &mut resolver, &files.snapshot, Some(console))?;
    let desired = resolver.resolve_with(&files.snapshot, &list.source);
    if let Some(finding) = desired.rejection() {
        return Err(anyhow!("{}: {}", finding.place, finding.message)).hint("`bellwether check` shows everything");
    }
    let index = git_index(&desired);
    let groups = &desired.saved.groups;
    folder(&args.path, groups, |test| index_matches(&index, test, groups))
        .ok_or_else(|| with_hint(anyhow!("no dynamic group is at {}", args.path), "`bellwether ls` lists the top"))
}
