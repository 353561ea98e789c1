//! The fleet repo as the controller sees it: branches that move, and the bytes of commits.

use crate::domain::history::{LastChanges, Lines};
use crate::domain::ids::{CommitId, StageName};
pub use crate::domain::snapshot::Head;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

#[cfg(test)]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod fake;

/// What asking for news came to. Unavailable never means empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Something moved, or this is the first time.
    Fetched(BTreeMap<StageName, Head>),
    /// Nothing moved since the last time.
    NotModified,
    /// The remote could not be asked; nothing is known.
    Unavailable {
        /// Why, without credentials.
        reason: String,
    },
}

/// Whether a commit carries the signature that its stage asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// The stage asks for none.
    NotAsked,
    /// It is signed by somebody who may; their name as the controller's configuration has it.
    By(String),
    /// It is not signed, or not so that it counts.
    Refused {
        /// Why not.
        why: String,
        /// Who should have signed, for people.
        wanted: String,
    },
}

/// Why something could not be read from the repo.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The commit is not there.
    #[error("commit {0} is not in the repository")]
    NoCommit(CommitId),
    /// Reading failed.
    #[error("the repository could not {attempted}")]
    Failed {
        /// What was attempted.
        attempted: &'static str,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The fleet repo.
pub trait Repo: Send {
    /// Asks the remote for the heads of these branches and brings their commits. Branches that do not exist are left out.
    fn fetch(&mut self, stages: &[StageName]) -> Fetch;

    /// The files of a commit that was fetched.
    fn snapshot(&mut self, commit: &CommitId) -> Result<Snapshot, RepoError>;

    /// The head of a commit that was fetched.
    fn head(&mut self, commit: &CommitId) -> Result<Head, RepoError>;

    /// Whether a commit that was fetched carries the signature that a stage asks for. What cannot be judged is an error, and the
    /// commit waits.
    fn signature(&mut self, stage: &StageName, commit: &CommitId, now: Timestamp) -> Result<Signature, RepoError>;

    /// When and by whom lines of a commit's files were last changed. What the files have that the commit has not is not committed
    /// yet. Lines of which nothing is known are left out, and by default that is all of them: not every repo keeps a history.
    fn last_changes(&mut self, commit: &CommitId, files: &Snapshot, lines: &Lines) -> Result<LastChanges, RepoError> {
        let _ = (commit, files, lines);
        Ok(LastChanges::new())
    }

    /// Whether `newer` contains `older` in its history. `Ok(false)` also if `older` is gone.
    fn contains(&mut self, newer: &CommitId, older: &CommitId) -> Result<bool, RepoError>;
}
