//! The bytes of one commit, or of a work tree: files by path, each with the id of its content.

use super::digest::Digest;
use super::ids::{CommitId, ObjectId};
use super::shared_map::SharedMap;
use std::sync::Arc;

/// The longest file of a fleet repo that is read, in bytes. An inventory of 100,000 hosts takes 19 MB.
pub const MAX_FILE_BYTES: u64 = 32 << 20;
/// How many files of a fleet repo are read at most.
pub const MAX_FILES: usize = 1_000_000;

/// The files of one commit that can have a meaning for Bellwether.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Entries by path from the root, with `/`, in byte order.
    pub entries: SharedMap<Arc<str>, Entry>,
}

/// One path of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file that was read.
    File {
        /// The id of the content: equal ids are equal bytes.
        id: ObjectId,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// Something that is there and was not read.
    Refused(RefusedEntry),
}

impl Entry {
    /// Whether both are the same thing, told by the ids of contents.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { id: one, .. }, Self::File { id: two, .. }) => one == two,
            (Self::Refused(one), Self::Refused(two)) => one == two,
            (Self::File { .. }, Self::Refused(_)) | (Self::Refused(_), Self::File { .. }) => false,
        }
    }
}

/// Why a path was not read. Each becomes a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusedEntry {
    /// A symbolic link.
    Symlink,
    /// A submodule.
    Submodule,
    /// Longer than [`MAX_FILE_BYTES`].
    TooLong {
        /// Its length in bytes.
        size: u64,
    },
    /// The path is not UTF-8, or has a part that leaves the tree.
    BadPath,
    /// A folder nested deeper than can be meant.
    TooDeep,
    /// The content could not be read.
    Unreadable,
}

impl Snapshot {
    /// A snapshot of files that do not come from Git. Ids are made from the bytes, so equal ids are equal bytes here too.
    pub fn of_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let entry = |bytes: &[u8]| {
            let id = ObjectId::new(&Digest::of(bytes).hex()).expect("a SHA-256 has 64 lower-case hexadecimal digits");
            Entry::File { id, bytes: bytes.into() }
        };
        Self { entries: files.into_iter().map(|(path, bytes)| (Arc::from(path), entry(bytes))).collect() }
    }

    /// Whether a path can have a meaning for Bellwether, so that shells need not read anything else.
    pub fn is_relevant(path: &str) -> bool {
        // The bare names are folders normally. If one is a link or a file, that must not look like an empty folder.
        let first = path.split('/').next().unwrap_or_default();
        matches!(path, "fleet.yml" | "inventory.yml")
            || matches!(first, "group_vars" | "host_vars" | "releases" | "os" | "inventory" | "secrets")
    }
}

/// The newest commit of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The commit.
    pub commit: CommitId,
    /// Its tree: equal trees are equal content.
    pub tree: ObjectId,
}
