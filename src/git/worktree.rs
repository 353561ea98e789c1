//! A folder on disk read as if it were a commit, so that people can check what they have not committed yet.

use super::{MAX_DEPTH, MAX_SNAPSHOT_BYTES, file_name, object_id};
use crate::domain::snapshot::{Entry, MAX_FILE_BYTES, MAX_FILES, RefusedEntry, Snapshot};
use git2::{ObjectType, Oid};
use rustix::fs::{Mode, OFlags};
use std::fs::{DirEntry, File, FileType};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    /// A folder could not be listed.
    #[error("folder {path} could not be read")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// More than [`MAX_FILES`].
    #[error("{0} has more than {MAX_FILES} files and folders")]
    TooMany(PathBuf),
    /// More than [`MAX_SNAPSHOT_BYTES`].
    #[error("the files in {0} are longer than {MAX_SNAPSHOT_BYTES} bytes together")]
    TooLong(PathBuf),
}

/// The files of a folder as the same [`Snapshot`] that a commit of them would have. Links are not followed.
pub fn read_worktree(root: &Path) -> Result<Snapshot, WorktreeError> {
    let mut reading = Reading { root, snapshot: Snapshot::default(), bytes: 0, folders: 0 };
    reading.folder(root, "", 1)?;
    Ok(reading.snapshot)
}

struct Reading<'a> {
    root: &'a Path,
    snapshot: Snapshot,
    bytes: u64,
    folders: usize,
}

impl Reading<'_> {
    /// Reads a folder whose path inside the root is `prefix`, empty or ending in `/`.
    fn folder(&mut self, path: &Path, prefix: &str, depth: usize) -> Result<(), WorktreeError> {
        self.folders += 1;
        let failed = |source| WorktreeError::Folder { path: path.to_owned(), source };
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            self.entry(&entry, kind, prefix, depth)?;
            if self.folders + self.snapshot.entries.len() > MAX_FILES {
                return Err(WorktreeError::TooMany(self.root.to_owned()));
            }
            if self.bytes > MAX_SNAPSHOT_BYTES {
                return Err(WorktreeError::TooLong(self.root.to_owned()));
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, kind: FileType, prefix: &str, depth: usize) -> Result<(), WorktreeError> {
        let name = entry.file_name();
        let (key, bad) = match file_name(name.as_bytes()) {
            Ok(name) => (format!("{prefix}{name}"), false),
            Err(escaped) => (format!("{prefix}{escaped}"), true),
        };
        let below = format!("{key}/");
        let relevant = Snapshot::is_relevant(&key) && !kind.is_dir()
            || Snapshot::is_relevant(&below) && (kind.is_dir() || kind.is_symlink());
        // Git does not commit its own folder.
        if !relevant || name == ".git" {
            return Ok(());
        }
        let found = if bad {
            Entry::Refused(RefusedEntry::BadPath)
        } else if kind.is_symlink() {
            Entry::Refused(RefusedEntry::Symlink)
        } else if kind.is_dir() && entry.path().join(".git").exists() {
            Entry::Refused(RefusedEntry::Submodule)
        } else if kind.is_dir() && depth >= MAX_DEPTH {
            Entry::Refused(RefusedEntry::TooDeep)
        } else if kind.is_dir() {
            return self.folder(&entry.path(), &below, depth + 1);
        } else if kind.is_file() {
            self.file(&entry.path())
        } else {
            // A pipe, a socket or a device: Git does not commit those.
            return Ok(());
        };
        self.snapshot.entries.insert(Arc::from(key), found);
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Entry {
        match content(path) {
            Ok(Content::Bytes(bytes)) => {
                self.bytes += bytes.len() as u64;
                match Oid::hash_object(ObjectType::Blob, &bytes) {
                    Ok(id) => Entry::File { id: object_id(id), bytes: bytes.into() },
                    Err(_) => Entry::Refused(RefusedEntry::Unreadable),
                }
            }
            Ok(Content::TooLong { size }) => Entry::Refused(RefusedEntry::TooLong { size }),
            Err(_) => Entry::Refused(RefusedEntry::Unreadable),
        }
    }
}

enum Content {
    Bytes(Vec<u8>),
    TooLong { size: u64 },
}

fn content(path: &Path) -> std::io::Result<Content> {
    // Between listing and opening, somebody may have put a link or a pipe there: the one is not followed, the other does
    // not make us wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Ok(Content::TooLong { size: metadata.len().max(bytes.len() as u64) });
    }
    Ok(Content::Bytes(bytes))
}
