//! The forge: where people meet the fleet repo, with its merge requests, comments and checks.
//!
//! Everything that is written is written so that doing it again does no harm: who writes looks first.

use crate::domain::fleet::Standing;
use crate::domain::forge::check::{Annotation, Conclusion};
use crate::domain::forge::promotion::Carrier;
use crate::domain::ids::{CommitId, ObjectId, StageName};

/// The number of a merge request within its repository.
pub type Number = u64;

/// Why a forge did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// It could not be asked, or its answer was lost. What was to be written may be there or not.
    #[error("the forge cannot be reached: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The credentials are not enough, or there are none.
    #[error("the forge does not allow that: {reason}")]
    Denied {
        /// What it said.
        reason: String,
    },
    /// There is no such thing, or the credentials do not show it.
    #[error("the forge has no {what}, or does not show it")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Too much was asked in too short a time, by whoever shares the credentials.
    #[error("the forge answers no more requests for {wait_secs} seconds")]
    RateLimited {
        /// How long that lasts.
        wait_secs: u64,
    },
    /// It understood, and refuses.
    #[error("the forge refuses ({status}): {reason}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// What it said.
        reason: String,
    },
    /// Its answer cannot be understood.
    #[error("the forge's answer cannot be used: {reason}")]
    Answer {
        /// Why not.
        reason: String,
    },
}

/// A merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequest {
    /// Its number.
    pub number: Number,
    /// The commit that would be merged.
    pub head: CommitId,
    /// The branch that it would be merged into.
    pub base: String,
    /// Whether it waits to be merged.
    pub state: State,
    /// Where people see it.
    pub url: String,
    /// What people call it. It may hold anything.
    pub title: String,
    /// What people wrote about it. It may hold anything.
    pub body: String,
}

/// Whether a merge request waits to be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Open,
    /// It was merged, or given up.
    Closed,
}

/// A comment on a merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// What the forge calls it.
    pub id: u64,
    /// The login of who wrote it.
    pub author: String,
    /// The text. It may hold anything.
    pub body: String,
    /// Where people see it.
    pub url: String,
}

/// A check of a commit, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCheck {
    /// What people call it.
    pub name: String,
    /// The commit.
    pub commit: CommitId,
    /// By what it is known again.
    pub mark: String,
    /// What came of it.
    pub conclusion: Conclusion,
    /// One line.
    pub title: String,
    /// Markdown.
    pub summary: String,
    /// What is shown beside lines of files.
    pub annotations: Vec<Annotation>,
}

/// A check that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What the forge calls it.
    pub id: u64,
    /// The mark with which it was written.
    pub mark: Option<String>,
    /// Where people see it.
    pub url: Option<String>,
}

/// A commit as the forge has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// Its tree.
    pub tree: ObjectId,
    /// Its parents, in order.
    pub parents: Vec<CommitId>,
}

/// A merge request to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMergeRequest {
    /// The branch that would be merged.
    pub from: String,
    /// The branch that it would be merged into.
    pub into: String,
    /// What people call it.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Whether it can be merged as far as we know.
    pub readiness: Readiness,
}

/// Whether a merge request can be merged as far as who opens it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It is only to be looked at.
    Draft,
}

/// How far a commit has come in a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stage: an environment, and the context of a status.
    pub stage: StageName,
    /// The commit.
    pub commit: CommitId,
    /// By what its deployment is known again.
    pub mark: String,
    /// How it stands.
    pub standing: Standing,
    /// One line; what is too long is cut.
    pub text: String,
    /// Where people read more.
    pub link: Option<String>,
}

/// An issue that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Its number.
    pub number: Number,
    /// The login of who opened it.
    pub author: String,
    /// What people call it. It may hold anything.
    pub title: String,
    /// What people wrote about it. It may hold anything.
    pub body: String,
    /// Where people see it.
    pub url: String,
}

/// What else a forge keeps of one repository: its issues, and the list of its merge requests.
pub trait Tracker: Forge {
    /// Every open merge request into a branch, as far as there are bounds.
    fn open_requests(&mut self, into: &str) -> Result<Vec<MergeRequest>, ForgeError>;

    /// Every open issue with a label, the oldest first, as far as there are bounds.
    fn open_issues(&mut self, label: &str) -> Result<Vec<Issue>, ForgeError>;

    /// Opens an issue.
    fn new_issue(&mut self, title: &str, body: &str, labels: &[&str]) -> Result<Issue, ForgeError>;

    /// Gives an issue another title and text.
    fn edit_issue(&mut self, number: Number, title: &str, body: &str) -> Result<Issue, ForgeError>;

    /// Closes an issue as done.
    fn close_issue(&mut self, number: Number) -> Result<(), ForgeError>;
}

/// One repository of a forge.
pub trait Forge: Send {
    /// The login under which this one writes.
    fn me(&mut self) -> Result<String, ForgeError>;

    /// A merge request.
    fn merge_request(&mut self, number: Number) -> Result<MergeRequest, ForgeError>;

    /// Every comment of a merge request, the oldest first, as far as there are bounds.
    fn comments(&mut self, number: Number) -> Result<Vec<Comment>, ForgeError>;

    /// Writes a new comment.
    fn comment(&mut self, number: Number, body: &str) -> Result<Comment, ForgeError>;

    /// Writes a comment anew.
    fn edit_comment(&mut self, id: u64, body: &str) -> Result<Comment, ForgeError>;

    /// The checks of a commit that have this name.
    fn checks(&mut self, commit: &CommitId, name: &str) -> Result<Vec<Check>, ForgeError>;

    /// Writes a new check.
    fn check(&mut self, check: &NewCheck) -> Result<Check, ForgeError>;

    /// The tip of a branch; `None` if there is no such branch.
    fn branch(&mut self, name: &str) -> Result<Option<CommitId>, ForgeError>;

    /// A commit.
    fn commit(&mut self, id: &CommitId) -> Result<Commit, ForgeError>;

    /// Makes a commit of a tree and parents that are there. No branch moves.
    fn make_commit(&mut self, message: &str, carrier: &Carrier) -> Result<CommitId, ForgeError>;

    /// Lets a branch of ours point to a commit; `was` is where it points, if there is one.
    fn point(&mut self, branch: &str, commit: &CommitId, was: Option<&CommitId>) -> Result<(), ForgeError>;

    /// The merge request that is open from one branch into another.
    fn open_request(&mut self, from: &str, into: &str) -> Result<Option<MergeRequest>, ForgeError>;

    /// Opens a merge request.
    fn open(&mut self, new: &NewMergeRequest) -> Result<MergeRequest, ForgeError>;

    /// Gives a merge request another title and text.
    fn edit(&mut self, number: Number, title: &str, body: &str) -> Result<MergeRequest, ForgeError>;

    /// Adds labels to a merge request.
    fn label(&mut self, number: Number, labels: &[&str]) -> Result<(), ForgeError>;

    /// The merge requests by which a commit came to a branch, or would.
    fn requests_of(&mut self, commit: &CommitId) -> Result<Vec<MergeRequest>, ForgeError>;

    /// Whether the status of the commit in the stage's context says exactly this.
    fn shows_status(&mut self, progress: &Progress) -> Result<bool, ForgeError>;

    /// Lets the status of the commit say this.
    fn set_status(&mut self, progress: &Progress) -> Result<(), ForgeError>;

    /// Our deployment of the commit to the stage, if there is one with this mark.
    fn deployment(&mut self, progress: &Progress) -> Result<Option<u64>, ForgeError>;

    /// Makes a deployment of the commit to the stage. It deploys nothing: it shows what goes on.
    fn deploy(&mut self, progress: &Progress) -> Result<u64, ForgeError>;

    /// Whether a deployment says exactly this.
    fn shows_deployment(&mut self, id: u64, progress: &Progress) -> Result<bool, ForgeError>;

    /// Lets a deployment say this.
    fn set_deployment(&mut self, id: u64, progress: &Progress) -> Result<(), ForgeError>;
}
