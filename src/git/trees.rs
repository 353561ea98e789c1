//! Git's trees: a folder's entries, and what differs between two of them.
//!
//! A folder of 100,000 files is one object of several megabytes, and each commit that changes one of the files has it anew. So it is
//! read once, by whoever comes first, and what was read last is kept.

use git2::{ErrorClass, ErrorCode, ObjectType, Odb, Oid};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// How long the trees that are kept may be together, in bytes: those of a hundred thousand files for five stages.
const KEPT_BYTES: usize = 32 << 20;
/// A shorter tree is as soon read again.
const WORTH_KEEPING: usize = 64 << 10;

/// A tree whose form was checked when it was read.
#[derive(Clone, Debug)]
pub(super) struct Tree(Arc<[u8]>);

/// One entry of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: Kind,
    pub(super) id: Oid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Symlink,
    Submodule,
}

/// The trees that were read last, the newest first. Short ones are left out.
#[derive(Debug, Default)]
pub(super) struct Trees {
    kept: VecDeque<(Oid, Tree)>,
}

impl Trees {
    /// Reads a tree. libgit2 compares what it reads with the id.
    pub(super) fn read(&mut self, odb: &Odb<'_>, id: Oid) -> Result<Tree, git2::Error> {
        if let Some(at) = self.kept.iter().position(|(kept, _)| *kept == id) {
            let kept = self.kept.remove(at).expect("the position was just found");
            self.kept.push_front(kept);
            return Ok(self.kept[0].1.clone());
        }
        let object = odb.read(id)?;
        if object.kind() != ObjectType::Tree {
            return Err(git2::Error::new(ErrorCode::Invalid, ErrorClass::Tree, "not a tree"));
        }
        let tree = Tree::check(object.data())?;
        if tree.0.len() >= WORTH_KEEPING {
            self.kept.push_front((id, tree.clone()));
            while self.kept.iter().map(|(_, tree)| tree.0.len()).sum::<usize>() > KEPT_BYTES {
                self.kept.pop_back();
            }
        }
        Ok(tree)
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}

impl Tree {
    /// Two trees are compared side by side, which needs Git's order. Git itself refuses a tree that is not in it.
    fn check(bytes: &[u8]) -> Result<Self, git2::Error> {
        let refused = |why| Err(git2::Error::new(ErrorCode::Invalid, ErrorClass::Tree, why));
        let mut rest = bytes;
        let mut last: Option<Child<'_>> = None;
        while !rest.is_empty() {
            let Some((child, after)) = split(rest) else { return refused("an entry cannot be read") };
            if last.is_some_and(|last| git_order(&last, &child) != Ordering::Less) {
                return refused("its entries are not in order");
            }
            (last, rest) = (Some(child), after);
        }
        Ok(Self(bytes.into()))
    }

    /// The entries in Git's order.
    pub(super) fn children(&self) -> impl Iterator<Item = Child<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (child, after) = split(rest)?;
            rest = after;
            Some(child)
        })
    }

    /// What was removed, changed and added from this tree to another, in Git's order.
    pub(super) fn differences<'a>(&'a self, new: &'a Self) -> Vec<Difference<'a>> {
        let common = common_entries(&self.0, &new.0);
        let (mut old, mut new) = (&self.0[common..], &new.0[common..]);
        let mut found = Vec::new();
        loop {
            match (split(old), split(new)) {
                (None, None) => return found,
                (Some((gone, after)), None) => {
                    found.push(Difference::Removed(gone));
                    old = after;
                }
                (None, Some((child, after))) => {
                    found.push(Difference::Added(child));
                    new = after;
                }
                (Some((one, after_one)), Some((two, after_two))) => match git_order(&one, &two) {
                    Ordering::Less => {
                        found.push(Difference::Removed(one));
                        old = after_one;
                    }
                    Ordering::Greater => {
                        found.push(Difference::Added(two));
                        new = after_two;
                    }
                    Ordering::Equal => {
                        if one.id != two.id || one.kind != two.kind {
                            found.push(Difference::Changed(one, two));
                        }
                        let common = common_entries(after_one, after_two);
                        (old, new) = (&after_one[common..], &after_two[common..]);
                    }
                },
            }
        }
    }
}

/// One difference between two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference<'a> {
    Removed(Child<'a>),
    Changed(Child<'a>, Child<'a>),
    Added(Child<'a>),
}

/// The length of an id.
const ID: usize = 20;

/// The first entry, and what comes after it. `None` at the end, or if it is not `mode name NUL id`.
fn split(bytes: &[u8]) -> Option<(Child<'_>, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let (mode, rest) = (&bytes[..space], &bytes[space + 1..]);
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (name, rest) = (&rest[..end], &rest[end + 1..]);
    let (id, rest) = rest.split_at_checked(ID)?;
    if name.is_empty() {
        return None;
    }
    Some((Child { name, kind: Kind::of(mode)?, id: Oid::from_bytes(id).ok()? }, rest))
}

/// How many bytes of whole entries both begin with.
fn common_entries(one: &[u8], two: &[u8]) -> usize {
    let mut common = 0;
    while let Some(length) = entry_length(&one[common..])
        && one[common..common + length] == two[common..(common + length).min(two.len())]
    {
        common += length;
    }
    common
}

/// How long the first entry is; the tree was checked.
fn entry_length(bytes: &[u8]) -> Option<usize> {
    Some(bytes.iter().position(|byte| *byte == 0)? + 1 + ID).filter(|length| *length <= bytes.len())
}

impl Kind {
    /// From the mode as Git writes it, in octal digits; `None` if it is no such thing.
    fn of(mode: &[u8]) -> Option<Self> {
        // What libgit2 takes, too: six digits are all that Git ever writes.
        const MOST_DIGITS: usize = 7;
        let digits =
            !mode.is_empty() && mode.len() <= MOST_DIGITS && mode.iter().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = mode.iter().fold(0_u32, |mode, digit| mode << 3 | u32::from(digit.wrapping_sub(b'0')));
        // The file type bits, as in stat(2); Git uses these four.
        digits.then_some(match mode & 0o170_000 {
            0o040_000 => Self::Folder,
            0o120_000 => Self::Symlink,
            0o160_000 => Self::Submodule,
            _ => Self::File,
        })
    }
}

/// Git's order of a tree's entries: by name, a folder's name ending in `/`.
fn git_order(a: &Child<'_>, b: &Child<'_>) -> Ordering {
    let common = a.name.len().min(b.name.len());
    // What stands after the part that both have: the next byte, the slash of a folder, or nothing.
    let next =
        |child: &Child<'_>| child.name.get(common).copied().or_else(|| (child.kind == Kind::Folder).then_some(b'/'));
    let rest = || next(a).cmp(&next(b)).then(a.name.len().cmp(&b.name.len()));
    a.name[..common].cmp(&b.name[..common]).then_with(rest)
}
