//! When and by whom the lines that make a value were last changed.

use super::ids::CommitId;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Lines of files, by path. A whole file is asked about with line 0.
pub type Lines = BTreeMap<String, BTreeSet<u32>>;

/// The last change of each line that was asked about; lines of which nothing is known are left out.
pub type LastChanges = BTreeMap<(String, u32), LastChange>;

/// The last change of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LastChange {
    /// This commit brought the line as it is.
    Commit {
        /// The commit.
        commit: CommitId,
        /// Whose change it is, as Git knows them.
        author: String,
        /// When they made it, by their clock.
        at: Timestamp,
    },
    /// It is only in the work tree yet.
    NotCommitted,
    /// It is older than what was looked through.
    OlderThan {
        /// How many commits that were.
        commits: usize,
    },
}
