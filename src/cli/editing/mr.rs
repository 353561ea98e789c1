//! `--mr`: an edit goes to a branch of its own and a merge request, and nothing changes in the work tree.

use super::WorkTree;
use crate::cli::console::Console;
use crate::cli::fault::{Hint as _, usage, with_hint};
use crate::cli::forge::{ForgeArgs, hinted};
use crate::cli::render::table::escaped;
use crate::cli::render::text::plain;
use crate::domain::edits::FileChange;
use crate::domain::forge::comment::marked;
use crate::domain::forge::proposal::{branch, is_there};
use crate::domain::ids::CommitId;
use crate::domain::snapshot::Entry;
use crate::git::propose::TreeChange;
use crate::git::{GitClone, open_clone};
use crate::ports::forge::{Forge, MergeRequest, NewMergeRequest, Readiness};
use crate::ports::repo::Repo as _;
use anyhow::{Context as _, anyhow};

/// What marks merge requests of edits.
const KIND: &str = "edit";
/// Labels of every merge request of an edit.
const LABELS: &[&str] = &["bellwether"];
/// How many notes stand in a merge request before the rest is counted.
const MAX_NOTES: usize = 50;

/// Flags of commands whose edits can go to a merge request.
#[derive(Clone, Debug, clap::Args)]
pub struct MrArgs {
    /// Write nothing here: push the edit to a branch of its own and open a merge request, or bring it up to date
    #[arg(long)]
    pub mr: bool,
    /// With `--mr`: the branch that it would be merged into [default: the one that is checked out]
    #[arg(long, value_name = "BRANCH", requires = "mr")]
    pub into: Option<String>,
    /// With `--mr`: where the branch is pushed to
    #[arg(long, value_name = "REMOTE", default_value = "origin")]
    pub remote: String,
}

/// An edit that is to go to a merge request.
pub struct Proposal<'a> {
    /// The files.
    pub files: &'a [FileChange],
    /// One line on what is done.
    pub message: &'a str,
    /// One sentence each on what it means.
    pub notes: &'a [String],
}

/// Pushes the branch and opens the merge request, as far as they are not there already. Answers with what was done.
pub fn propose(
    work: &WorkTree,
    proposal: &Proposal<'_>,
    args: &MrArgs,
    forge: &ForgeArgs,
    console: &Console,
) -> anyhow::Result<String> {
    let attempted = "cannot make a merge request of it";
    let mut clone = open_clone(&work.root).context(attempted).hint("`--mr` is for a clone of the fleet repo")?;
    let into = match &args.into {
        Some(into) => into.clone(),
        None => clone
            .current_branch()
            .map(|branch| branch.to_string())
            .ok_or_else(|| usage("no branch is checked out: name one with `--into`"))?,
    };
    let mut forge = forge.open_github()?;
    let tip = forge.branch(&into).map_err(hinted).context(attempted)?;
    let tip = tip.ok_or_else(|| anyhow!("the forge has no branch `{}`", plain(&into))).context(attempted)?;
    let here = clone.resolve_rev("HEAD").context(attempted)?;
    if here != tip {
        let error =
            anyhow!("`{}` is at {} on the forge, and this folder at {}", plain(&into), tip.short(), here.short());
        return Err(with_hint(error.context(attempted), "pull first, so that the edit is one of what is there"));
    }
    let change = change(work, &mut clone, &tip, proposal).context(attempted)?;
    let tree = clone.tree_with(&tip, &change).context(attempted)?;
    let from = branch(proposal.message);
    let there = match forge.branch(&from).map_err(hinted).context(attempted)? {
        Some(commit) => Some(forge.commit(&commit).map_err(hinted).context(attempted)?),
        None => None,
    };
    if !there.as_ref().is_some_and(|there| is_there(&tree, &tip, (&there.tree, &there.parents))) {
        let was = there.as_ref().map(|there| &there.id);
        let commit = clone.push_tree(&tip, &tree, proposal.message, (&args.remote, &from), was).context(attempted)?;
        console.note(format!("pushed {from} at {}", commit.short()));
    }
    let new = NewMergeRequest {
        body: marked(KIND, &from, &body(proposal)),
        from,
        into,
        title: proposal.message.to_owned(),
        readiness: Readiness::Ready,
    };
    let (did, request) = open(&mut forge, &new).map_err(hinted).context(attempted)?;
    Ok(format!("{did} {}", plain(&request.url)))
}

/// The files as they are to be pushed: as the commit has them, and not as somebody is just editing them.
fn change(
    work: &WorkTree,
    clone: &mut GitClone,
    tip: &CommitId,
    proposal: &Proposal<'_>,
) -> anyhow::Result<TreeChange> {
    let inside = clone.work_tree().and_then(|root| {
        work.root.canonicalize().ok()?.strip_prefix(root.canonicalize().ok()?).ok().map(ToOwned::to_owned)
    });
    let prefix = match inside.as_deref().and_then(std::path::Path::to_str) {
        Some("") => String::new(),
        Some(folder) => format!("{folder}/"),
        None => return Err(anyhow!("{} is in no work tree", work.root.display())),
    };
    let committed = clone.snapshot(tip)?;
    let mut files = Vec::new();
    for file in proposal.files {
        let path = format!("{prefix}{}", file.path);
        let known = match committed.entries.get(path.as_str()) {
            Some(Entry::File { bytes, .. }) => Some(&**bytes),
            Some(Entry::Refused(_)) | None => None,
        };
        if known != file.before.as_deref().map(str::as_bytes) && prefix.is_empty() {
            let error = anyhow!("{} has changes that are not committed", file.path);
            return Err(with_hint(error, "commit and push them, or put them aside with `git stash`"));
        }
        files.push((path, file.after.clone()));
    }
    Ok(TreeChange::Files(files))
}

fn body(proposal: &Proposal<'_>) -> String {
    let mut text = format!("{}\n", escaped(proposal.message));
    for note in proposal.notes.iter().take(MAX_NOTES) {
        text.push_str(&format!("\n- {}", escaped(note)));
    }
    let more = proposal.notes.len().saturating_sub(MAX_NOTES);
    if more > 0 {
        text.push_str(&format!("\n- and {more} more"));
    }
    text.push_str("\n\nThe plan says what merging it changes on which devices.\n");
    text
}

fn open(
    forge: &mut dyn Forge,
    new: &NewMergeRequest,
) -> Result<(&'static str, MergeRequest), crate::ports::forge::ForgeError> {
    let Some(open) = forge.open_request(&new.from, &new.into)? else {
        let request = forge.open(new)?;
        forge.label(request.number, LABELS)?;
        return Ok(("opened", request));
    };
    // Forges write line ends in their own way.
    let same = |one: &str, other: &str| one.trim_end().lines().eq(other.trim_end().lines());
    if same(&open.title, &new.title) && same(&open.body, &new.body) {
        return Ok(("nothing: it is up to date", open));
    }
    Ok(("brought up to date", forge.edit(open.number, &new.title, &new.body)?))
}
