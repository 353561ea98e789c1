//! Which commit brought a line as it is.
//!
//! Only what is asked about is followed, and only so far: the cost grows with the commits that are looked at and not with the
//! length of the files or of the history. A file that was renamed is taken to begin there.

use super::{failed, find_commit, object_id, oid};
use crate::domain::history::{LastChange, LastChanges, Lines};
use crate::domain::ids::CommitId;
use crate::domain::snapshot::{Entry, Snapshot};
use crate::domain::time::Timestamp;
use crate::ports::repo::RepoError;
use git2::{Blob, Commit, DiffOptions, Oid, Patch, Repository, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// How many commits are looked at. Years of a busy fleet repo; a second or two of work.
pub const MAX_COMMITS: usize = 10_000;

/// How many entries of folders are read, all commits together. A folder with a variable file for each of 100,000 devices is
/// as expensive as it is long, whenever anything in it changed.
pub const MAX_ENTRIES: usize = 50_000_000;

/// The longest name of an author that is shown, in characters.
const MAX_AUTHOR_CHARS: usize = 100;

/// Lines that are being followed: in which line of the file in hand each stands now, by the line that was asked about.
type Followed = BTreeMap<u32, u32>;

/// What is still to be looked at in one commit: files with the lines in them.
type Open = BTreeMap<String, Followed>;

/// The last changes of lines, as they are in these files. What the files have that the commit has not is not committed yet.
pub(super) fn last_changes(
    repo: &Repository,
    commit: &CommitId,
    files: &Snapshot,
    lines: &Lines,
) -> Result<LastChanges, RepoError> {
    let start = find_commit(repo, commit)?;
    let mut looking = Looking { repo, found: LastChanges::new(), entries: 0, ends: shallow(repo) };
    looking.follow(&start, files, lines).map_err(failed("follow lines through the history"))?;
    Ok(looking.found)
}

struct Looking<'repo> {
    repo: &'repo Repository,
    found: LastChanges,
    entries: usize,
    /// Commits whose parents this repository does not have.
    ends: BTreeSet<Oid>,
}

impl<'repo> Looking<'repo> {
    fn follow(&mut self, start: &Commit<'repo>, files: &Snapshot, lines: &Lines) -> Result<(), git2::Error> {
        // Newest first, so that lines which reach a commit on several ways are looked at once.
        let mut queue: BTreeMap<(i64, Oid), Open> = BTreeMap::new();
        let open = self.uncommitted(&start.tree()?, files, lines)?;
        queue.insert((start.time().seconds(), start.id()), open);
        let mut looked_at = 0;
        while let Some(((_, id), open)) = queue.pop_last() {
            if open.is_empty() {
                continue;
            }
            if looked_at >= MAX_COMMITS || self.entries >= MAX_ENTRIES {
                self.older(looked_at, open);
                continue;
            }
            looked_at += 1;
            let commit = self.repo.find_commit(id)?;
            let left = self.pass_on(&commit, open, &mut queue)?;
            if self.ends.contains(&id) {
                self.older(looked_at, left);
            } else {
                self.brought_by(&commit, &left);
            }
        }
        Ok(())
    }

    /// The lines as they stand in the commit; those that it does not have are answered at once.
    fn uncommitted(&mut self, tree: &Tree<'_>, files: &Snapshot, lines: &Lines) -> Result<Open, git2::Error> {
        let mut open = Open::new();
        for (path, asked) in lines {
            let same: Followed = asked.iter().map(|line| (*line, *line)).collect();
            let Some(Entry::File { id, bytes }) = files.entries.get(path.as_str()) else { continue };
            let kept = match self.blob(tree, path) {
                Some(blob) if oid(id) == Some(blob.id()) => same,
                Some(blob) => unchanged(blob.content(), bytes, &same)?,
                None => Followed::new(),
            };
            for line in asked.iter().filter(|line| !kept.contains_key(line)) {
                self.found.insert((path.clone(), *line), LastChange::NotCommitted);
            }
            open.insert(path.clone(), kept);
        }
        Ok(open)
    }

    /// Hands every line to the first parent that has it too. What is left was brought by the commit.
    fn pass_on(
        &mut self,
        commit: &Commit<'repo>,
        mut open: Open,
        queue: &mut BTreeMap<(i64, Oid), Open>,
    ) -> Result<Open, git2::Error> {
        let tree = commit.tree()?;
        for parent in commit.parents() {
            let parent_tree = parent.tree()?;
            for (path, lines) in &mut open {
                let kept = if tree.id() == parent_tree.id() {
                    lines.clone()
                } else {
                    self.kept(&tree, &parent_tree, path, lines)?
                };
                lines.retain(|asked, _| !kept.contains_key(asked));
                if !kept.is_empty() {
                    let waiting = queue.entry((parent.time().seconds(), parent.id())).or_default();
                    waiting.entry(path.clone()).or_default().extend(kept);
                }
            }
            open.retain(|_, lines| !lines.is_empty());
        }
        Ok(open)
    }

    /// The lines of a file that another tree has too, as they stand there.
    fn kept(
        &mut self,
        tree: &Tree<'_>,
        other: &Tree<'_>,
        path: &str,
        lines: &Followed,
    ) -> Result<Followed, git2::Error> {
        let (mut new, mut old) = (tree.id(), other.id());
        for name in path.split('/') {
            // Most commits touch other folders; what is in this one need not be read.
            if new == old {
                return Ok(lines.clone());
            }
            let (Some(below), Some(other)) = (self.entry(new, name), self.entry(old, name)) else {
                return Ok(Followed::new());
            };
            (new, old) = (below, other);
        }
        if new == old {
            return Ok(lines.clone());
        }
        match (self.repo.find_blob(new), self.repo.find_blob(old)) {
            (Ok(new), Ok(old)) => unchanged(old.content(), new.content(), lines),
            // It was a folder or a submodule before.
            (Ok(_), Err(_)) | (Err(_), _) => Ok(Followed::new()),
        }
    }

    fn blob(&mut self, tree: &Tree<'_>, path: &str) -> Option<Blob<'repo>> {
        let id = path.split('/').try_fold(tree.id(), |folder, name| self.entry(folder, name))?;
        self.repo.find_blob(id).ok()
    }

    /// What is under a name in a folder; what the folder costs is counted.
    fn entry(&mut self, folder: Oid, name: &str) -> Option<Oid> {
        let folder = self.repo.find_tree(folder).ok()?;
        self.entries += folder.len();
        folder.get_name(name).map(|entry| entry.id())
    }

    fn brought_by(&mut self, commit: &Commit<'_>, open: &Open) {
        let change = last_change(commit);
        for (path, lines) in open {
            for asked in lines.keys() {
                self.found.insert((path.clone(), *asked), change.clone());
            }
        }
    }

    fn older(&mut self, commits: usize, open: Open) {
        for (path, lines) in open {
            for asked in lines.into_keys() {
                self.found.insert((path.clone(), asked), LastChange::OlderThan { commits });
            }
        }
    }
}

fn last_change(commit: &Commit<'_>) -> LastChange {
    let author = commit.author();
    let name = String::from_utf8_lossy(author.name_bytes()).chars().take(MAX_AUTHOR_CHARS).collect();
    let at = Timestamp::from_millis(author.when().seconds().saturating_mul(1000));
    LastChange::Commit { commit: object_id(commit.id()), author: name, at }
}

/// Which of these lines of the new text the old one has too, and where. Line 0 is the file as a whole.
fn unchanged(old: &[u8], new: &[u8], lines: &Followed) -> Result<Followed, git2::Error> {
    let mut options = DiffOptions::new();
    options.context_lines(0);
    let patch = Patch::from_buffers(old, None, new, None, Some(&mut options))?;
    // Where each hunk begins and how long it is, in the old and the new text. Between hunks both are the same.
    let mut hunks = Vec::with_capacity(patch.num_hunks());
    for index in 0..patch.num_hunks() {
        let (hunk, _) = patch.hunk(index)?;
        // A hunk without lines is said to begin at the line before it.
        let begin = |start: u32, length: u32| if length == 0 { start + 1 } else { start };
        let (old, new) = (begin(hunk.old_start(), hunk.old_lines()), begin(hunk.new_start(), hunk.new_lines()));
        hunks.push((old, hunk.old_lines(), new, hunk.new_lines()));
    }
    let mut kept = Followed::new();
    for (asked, line) in lines {
        let before = hunks.iter().take_while(|(_, _, new, _)| *new <= *line).last();
        match before {
            // The file as a whole differs.
            _ if *line == 0 => {}
            None => {
                kept.insert(*asked, *line);
            }
            Some((_, _, new, length)) if *line < new + length => {}
            Some((old, old_length, new, length)) => {
                kept.insert(*asked, (line - (new + length)) + old + old_length);
            }
        }
    }
    Ok(kept)
}

/// The commits at which a shallow repository ends.
fn shallow(repo: &Repository) -> BTreeSet<Oid> {
    let Ok(text) = std::fs::read_to_string(repo.path().join("shallow")) else { return BTreeSet::new() };
    text.lines().filter_map(|line| Oid::from_str(line.trim()).ok()).collect()
}
