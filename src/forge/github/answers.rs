//! What GitHub answers, as far as it is used. Everything else in an answer may be there, be missing and change.

use crate::domain::ids::CommitId;
use crate::ports::forge::{Check, Comment, Commit, ForgeError, MergeRequest, State};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct UserAnswer {
    pub(super) login: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct AppAnswer {
    pub(super) slug: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct InstallationAnswer {
    pub(super) id: u64,
}

#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub(super) token: String,
    pub(super) expires_at: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct CommentAnswer {
    id: u64,
    #[serde(default)]
    body: Option<String>,
    html_url: String,
    /// `null` for people who are gone.
    user: Option<UserAnswer>,
}

impl From<CommentAnswer> for Comment {
    fn from(CommentAnswer { id, body, html_url, user }: CommentAnswer) -> Self {
        let author = user.map(|user| user.login).unwrap_or_default();
        Self { id, author, body: body.unwrap_or_default(), url: html_url }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ChecksAnswer {
    pub(super) check_runs: Vec<CheckAnswer>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CheckAnswer {
    pub(super) id: u64,
    #[serde(default)]
    external_id: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
}

impl From<CheckAnswer> for Check {
    fn from(CheckAnswer { id, external_id, html_url }: CheckAnswer) -> Self {
        Self { id, mark: external_id, url: html_url }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct PullAnswer {
    number: u64,
    state: String,
    html_url: String,
    title: String,
    #[serde(default)]
    body: Option<String>,
    head: Head,
    base: Base,
}

#[derive(Debug, Deserialize)]
struct Head {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct Base {
    #[serde(rename = "ref")]
    branch: String,
}

impl TryFrom<PullAnswer> for MergeRequest {
    type Error = ForgeError;

    fn try_from(answer: PullAnswer) -> Result<Self, ForgeError> {
        let PullAnswer { number, state, html_url, title, body, head, base } = answer;
        let head = commit_id(&head.sha)?;
        let state = if state == "open" { State::Open } else { State::Closed };
        Ok(Self { number, head, base: base.branch, state, url: html_url, title, body: body.unwrap_or_default() })
    }
}

/// The id of a commit, if it is one.
pub(super) fn commit_id(text: &str) -> Result<CommitId, ForgeError> {
    CommitId::new(text).map_err(|error| ForgeError::Answer { reason: error.to_string() })
}

#[derive(Debug, Deserialize)]
pub(super) struct RefAnswer {
    pub(super) object: Pointed,
}

/// What has an id, and nothing else that is used.
#[derive(Debug, Deserialize)]
pub(super) struct Pointed {
    pub(super) sha: String,
}

/// A commit that was made.
pub(super) type MadeAnswer = Pointed;

#[derive(Debug, Deserialize)]
pub(super) struct CommitAnswer {
    sha: String,
    tree: Pointed,
    parents: Vec<Pointed>,
}

impl TryFrom<CommitAnswer> for Commit {
    type Error = ForgeError;

    fn try_from(CommitAnswer { sha, tree, parents }: CommitAnswer) -> Result<Self, ForgeError> {
        let parents = parents.iter().map(|one| commit_id(&one.sha)).collect::<Result<_, _>>()?;
        Ok(Self { id: commit_id(&sha)?, tree: commit_id(&tree.sha)?, parents })
    }
}

/// Something that was made, of which only its id is used.
#[derive(Debug, Deserialize)]
pub(super) struct IdAnswer {
    pub(super) id: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct StatusAnswer {
    pub(super) context: String,
    pub(super) state: String,
    #[serde(default)]
    description: Option<String>,
}

impl StatusAnswer {
    pub(super) fn says(&self, text: &str) -> bool {
        self.description.as_deref().unwrap_or_default() == text
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeploymentAnswer {
    pub(super) id: u64,
    /// Whatever whoever made it put there: an object, or a text.
    #[serde(default)]
    payload: Value,
}

impl DeploymentAnswer {
    /// The mark, if it is one of ours.
    pub(super) fn mark(&self) -> Option<&str> {
        self.payload.get("bellwether")?.as_str()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeploymentStatusAnswer {
    pub(super) state: String,
    #[serde(default)]
    description: Option<String>,
}

impl DeploymentStatusAnswer {
    pub(super) fn says(&self, text: &str) -> bool {
        self.description.as_deref().unwrap_or_default() == text
    }
}
