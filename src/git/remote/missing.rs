//! Which objects of a remote on this machine the mirror lacks.

use crate::git::trees::{Child, Difference, Kind, Trees};
use git2::{Odb, OdbLookupFlags, Oid, Repository, Revwalk};
use std::collections::BTreeSet;

/// How deep folders may be nested. Git itself reads no deeper.
const DEEPEST: usize = 1024;

/// Finds what the mirror lacks. Only what differs between a commit and its parent is looked at: whoever has a tree has all that is
/// in it, because objects are always written after those that they name.
pub(super) struct Missing<'a> {
    theirs: Odb<'a>,
    ours: Odb<'a>,
    trees: &'a mut Trees,
    found: Vec<Oid>,
    seen: BTreeSet<Oid>,
}

impl<'a> Missing<'a> {
    /// The objects of these commits, which come after their parents, in an order in which they can be written.
    pub(super) fn after(
        remote: &'a Repository,
        mirror: &'a Repository,
        commits: Revwalk<'_>,
        trees: &'a mut Trees,
    ) -> Result<Vec<Oid>, git2::Error> {
        let mut missing =
            Self { theirs: remote.odb()?, ours: mirror.odb()?, trees, found: Vec::new(), seen: BTreeSet::new() };
        for commit in commits {
            let commit = remote.find_commit(commit?)?;
            let before = commit.parents().next().map(|parent| parent.tree_id());
            missing.tree(commit.tree_id(), before, 0)?;
            if missing.lacks(commit.id()) {
                missing.found.push(commit.id());
            }
        }
        Ok(missing.found)
    }

    fn lacks(&mut self, object: Oid) -> bool {
        self.seen.insert(object) && !self.ours.exists_ext(object, OdbLookupFlags::NO_REFRESH)
    }

    fn tree(&mut self, new: Oid, old: Option<Oid>, depth: usize) -> Result<(), git2::Error> {
        if old == Some(new) || !self.lacks(new) {
            return Ok(());
        }
        if depth >= DEEPEST {
            return Err(git2::Error::from_str(&format!("folders are nested more than {DEEPEST} deep")));
        }
        let tree = self.trees.read(&self.theirs, new)?;
        match old.map(|old| self.trees.read(&self.theirs, old)).transpose()? {
            None => tree.children().try_for_each(|child| self.child(&child, None, depth))?,
            Some(old) => old.differences(&tree).iter().try_for_each(|difference| match difference {
                Difference::Removed(_) => Ok(()),
                Difference::Changed(before, child) => self.child(child, Some(before), depth),
                Difference::Added(child) => self.child(child, None, depth),
            })?,
        }
        self.found.push(new);
        Ok(())
    }

    fn child(&mut self, child: &Child<'_>, before: Option<&Child<'_>>, depth: usize) -> Result<(), git2::Error> {
        match child.kind {
            Kind::Folder => {
                let before = before.filter(|before| before.kind == Kind::Folder).map(|before| before.id);
                self.tree(child.id, before, depth + 1)
            }
            Kind::Submodule => Ok(()),
            Kind::File | Kind::Symlink => {
                if self.lacks(child.id) {
                    // Reading compares it with its id.
                    self.theirs.read(child.id)?;
                    self.found.push(child.id);
                }
                Ok(())
            }
        }
    }
}
