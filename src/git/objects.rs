//! Snapshots read straight from Git objects.
//!
//! A snapshot is made from the one before: trees with equal ids are equal, so only what differs is looked at. Contents are
//! kept as long as a kept snapshot uses them. The result is the same as reading everything; a property test says so.

use super::trees::{Child, Difference, Kind, Tree, Trees};
use super::{MAX_DEPTH, MAX_SNAPSHOT_BYTES, file_name, object_id};
use crate::domain::snapshot::{Entry, MAX_FILE_BYTES, MAX_FILES, RefusedEntry, Snapshot};
use git2::{ErrorCode, ObjectType, Odb, Oid, Repository};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

/// How many snapshots are kept at least: the last two of a stage and one of its neighbour.
const KEEP_AT_LEAST: usize = 3;

/// Why a commit's files could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("it has more than {0} files and folders")]
    TooMany(usize),
    #[error("its files are longer than {0} bytes together")]
    TooLong(u64),
    #[error("folder {path:?} could not be read: {}", source.message())]
    Tree { path: String, source: git2::Error },
}

/// Whether everything that was wanted could be read. What could not is in the snapshot as unreadable; this tells the owner
/// of a repository that it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Soundness {
    Sound,
    Damaged,
}

/// The snapshots that were read last.
#[derive(Default)]
pub(super) struct Snapshots {
    /// The newest first.
    kept: VecDeque<Kept>,
    /// Contents by id. Never iterated where order can be seen.
    contents: BTreeMap<Oid, Weak<[u8]>>,
    trees: Trees,
    keep: usize,
    limits: Limits,
}

/// How much one commit may have.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Files and opened folders.
    pub(super) files: usize,
    /// Lengths of all files together.
    pub(super) bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: MAX_FILES, bytes: MAX_SNAPSHOT_BYTES }
    }
}

struct Kept {
    tree: Oid,
    snapshot: Snapshot,
    bytes: u64,
}

impl Snapshots {
    #[cfg(test)]
    pub(super) fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Keeps at least this many snapshots from now on.
    pub(super) fn keep(&mut self, count: usize) {
        self.keep = count;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.contents.clear();
        self.trees.clear();
    }

    /// The trees that were read last. Who reads one elsewhere spares reading it again here.
    pub(super) fn trees(&mut self) -> &mut Trees {
        &mut self.trees
    }

    /// The files of a tree.
    pub(super) fn read(&mut self, repo: &Repository, tree: Oid) -> Result<(Snapshot, Soundness), ReadError> {
        if let Some(at) = self.kept.iter().position(|kept| kept.tree == tree) {
            let kept = self.kept.remove(at).expect("the position was just found");
            self.kept.push_front(kept);
            return Ok((self.kept[0].snapshot.clone(), Soundness::Sound));
        }
        let (snapshot, bytes, soundness) = self.read_from_last(repo, tree)?;
        // What could not be read may be readable next time.
        if soundness == Soundness::Sound {
            self.kept.push_front(Kept { tree, snapshot: snapshot.clone(), bytes });
            if self.kept.len() > self.keep.max(KEEP_AT_LEAST) {
                self.kept.pop_back();
                self.contents.retain(|_, content| content.strong_count() > 0);
            }
        }
        Ok((snapshot, soundness))
    }

    fn read_from_last(&mut self, repo: &Repository, tree: Oid) -> Result<(Snapshot, u64, Soundness), ReadError> {
        let base = self.kept.front();
        let mut reading = Reading {
            odb: repo.odb().map_err(|source| ReadError::Tree { path: String::new(), source })?,
            contents: &mut self.contents,
            trees: &mut self.trees,
            snapshot: base.map(|base| base.snapshot.clone()).unwrap_or_default(),
            bytes: base.map_or(0, |base| base.bytes),
            limits: self.limits,
            folders: 0,
            path: String::new(),
            soundness: Soundness::Sound,
        };
        reading.root(base.map(|base| base.tree), tree)?;
        Ok((reading.snapshot, reading.bytes, reading.soundness))
    }
}

/// One reading: a snapshot on its way from one tree to another.
struct Reading<'a> {
    odb: Odb<'a>,
    contents: &'a mut BTreeMap<Oid, Weak<[u8]>>,
    trees: &'a mut Trees,
    snapshot: Snapshot,
    /// Lengths of all files of the snapshot together.
    bytes: u64,
    limits: Limits,
    /// Folders that were opened. Together with the entries it bounds the work: a few small trees can name each other's
    /// content billions of times.
    folders: usize,
    /// The folder that is being read, ending in `/`; empty at the root.
    path: String,
    soundness: Soundness,
}

impl Reading<'_> {
    fn root(&mut self, old: Option<Oid>, new: Oid) -> Result<(), ReadError> {
        match old {
            Some(old) => self.compare(old, new, 1),
            None => self.add_all(new, 1),
        }
    }

    /// A tree that was read before.
    fn reopen(&mut self, tree: Oid) -> Result<Tree, ReadError> {
        self.trees.read(&self.odb, tree).map_err(|source| ReadError::Tree { path: self.path.clone(), source })
    }

    fn open(&mut self, tree: Oid) -> Result<Tree, ReadError> {
        self.folders += 1;
        self.check_bounds()?;
        self.reopen(tree)
    }

    fn check_bounds(&self) -> Result<(), ReadError> {
        if self.folders + self.snapshot.entries.len() > self.limits.files {
            return Err(ReadError::TooMany(self.limits.files));
        }
        if self.bytes > self.limits.bytes {
            return Err(ReadError::TooLong(self.limits.bytes));
        }
        Ok(())
    }

    /// Changes what differs between two trees of the folder that is being read, which lies `depth` deep.
    fn compare(&mut self, old: Oid, new: Oid, depth: usize) -> Result<(), ReadError> {
        let (old, new) = (self.reopen(old)?, self.open(new)?);
        let mut differences = old.differences(&new);
        // What is gone goes first: names that cannot be read may look alike.
        differences.sort_by_key(|difference| match difference {
            Difference::Removed(_) => 0,
            Difference::Changed(..) => 1,
            Difference::Added(_) => 2,
        });
        for difference in &differences {
            match difference {
                Difference::Removed(child) => self.remove(child),
                Difference::Changed(old, new) => self.change(old, new, depth)?,
                Difference::Added(child) => self.add(child, depth)?,
            }
        }
        self.check_bounds()
    }

    fn add_all(&mut self, tree: Oid, depth: usize) -> Result<(), ReadError> {
        for child in self.open(tree)?.children() {
            self.add(&child, depth)?;
            self.check_bounds()?;
        }
        Ok(())
    }

    /// The key of a child, and why it cannot be read if its name is bad.
    fn key(&self, child: &Child<'_>) -> (String, Option<RefusedEntry>) {
        match file_name(child.name) {
            Ok(name) => (format!("{}{name}", self.path), None),
            Err(escaped) => (format!("{}{escaped}", self.path), Some(RefusedEntry::BadPath)),
        }
    }

    fn change(&mut self, old: &Child<'_>, new: &Child<'_>, depth: usize) -> Result<(), ReadError> {
        let (key, refused) = self.key(new);
        if old.kind == Kind::Folder && new.kind == Kind::Folder && refused.is_none() && depth < MAX_DEPTH {
            return if relevant(&key, Kind::Folder) {
                self.inside(&key, |this| this.compare(old.id, new.id, depth + 1))
            } else {
                Ok(())
            };
        }
        self.remove(old);
        self.add(new, depth)
    }

    fn add(&mut self, child: &Child<'_>, depth: usize) -> Result<(), ReadError> {
        let (key, refused) = self.key(child);
        if !relevant(&key, child.kind) {
            return Ok(());
        }
        let entry = match (refused, child.kind) {
            (Some(refused), _) => Entry::Refused(refused),
            (None, Kind::Folder) if depth >= MAX_DEPTH => Entry::Refused(RefusedEntry::TooDeep),
            (None, Kind::Folder) => return self.inside(&key, |this| this.add_all(child.id, depth + 1)),
            (None, Kind::Symlink) => Entry::Refused(RefusedEntry::Symlink),
            (None, Kind::Submodule) => Entry::Refused(RefusedEntry::Submodule),
            (None, Kind::File) => self.file(child.id),
        };
        if let Entry::File { bytes, .. } = &entry {
            self.bytes += bytes.len() as u64;
        }
        self.snapshot.entries.insert(Arc::from(key), entry);
        Ok(())
    }

    /// Works inside a folder.
    fn inside(&mut self, folder: &str, work: impl FnOnce(&mut Self) -> Result<(), ReadError>) -> Result<(), ReadError> {
        let outside = std::mem::replace(&mut self.path, format!("{folder}/"));
        let done = work(self);
        self.path = outside;
        done
    }

    fn remove(&mut self, child: &Child<'_>) {
        let (key, _) = self.key(child);
        let mut gone: Vec<Arc<str>> = Vec::new();
        if child.kind == Kind::Folder {
            let prefix = format!("{key}/");
            let below = self.snapshot.entries.from(prefix.as_str()).map(|(path, _)| path);
            gone.extend(below.take_while(|path| path.starts_with(&prefix)).cloned());
        }
        gone.push(Arc::from(key));
        for path in gone {
            if let Some(Entry::File { bytes, .. }) = self.snapshot.entries.remove(&path) {
                self.bytes -= bytes.len() as u64;
            }
        }
    }

    fn file(&mut self, id: Oid) -> Entry {
        if let Some(bytes) = self.contents.get(&id).and_then(Weak::upgrade) {
            return Entry::File { id: object_id(id), bytes };
        }
        match self.content(id) {
            Ok(Ok(bytes)) => {
                self.contents.insert(id, Arc::downgrade(&bytes));
                Entry::File { id: object_id(id), bytes }
            }
            Ok(Err(refused)) => Entry::Refused(refused),
            Err(_) => {
                self.soundness = Soundness::Damaged;
                Entry::Refused(RefusedEntry::Unreadable)
            }
        }
    }

    fn content(&self, id: Oid) -> Result<Result<Arc<[u8]>, RefusedEntry>, git2::Error> {
        // The length stands in the object's header: a file that is too long is never unpacked.
        let (size, kind) = self.odb.read_header(id)?;
        let size = size as u64;
        if size > MAX_FILE_BYTES {
            return Ok(Err(RefusedEntry::TooLong { size }));
        }
        if kind != ObjectType::Blob {
            return Err(git2::Error::new(ErrorCode::Invalid, git2::ErrorClass::Odb, "not a blob"));
        }
        Ok(Ok(Arc::from(self.odb.read(id)?.data())))
    }
}

/// Whether a path of a commit is looked at. Links that stand where a folder is looked for are, so that they are refused
/// rather than overlooked.
fn relevant(path: &str, kind: Kind) -> bool {
    let folder = || Snapshot::is_relevant(&format!("{path}/"));
    match kind {
        Kind::Folder => folder(),
        Kind::File => Snapshot::is_relevant(path),
        Kind::Symlink | Kind::Submodule => Snapshot::is_relevant(path) || folder(),
    }
}
