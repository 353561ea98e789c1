//! GitHub, github.com or an enterprise server, over its REST API by octocrab.
//!
//! Requests go out one after another; each is bounded in time, bytes and tries. Nothing that may have been written already is
//! written again without looking.

mod answers;
mod app;
mod following;
mod login;
mod requests;
#[cfg(test)]
mod tests;
mod tracker;

pub use login::{Login, Token};

use crate::domain::forge::check::{Annotation, Conclusion, Level};
use crate::domain::forge::promotion::Carrier;
use crate::domain::ids::CommitId;
use crate::ports::forge::{
    Check, Comment, Commit, Forge, ForgeError, MergeRequest, NewCheck, NewMergeRequest, Number, Progress, Readiness,
};
use answers::{
    AppAnswer, CheckAnswer, ChecksAnswer, CommentAnswer, CommitAnswer, MadeAnswer, PullAnswer, RefAnswer, UserAnswer,
    commit_id,
};
use login::Session;
use octocrab::params::checks::CheckRunConclusion;
use requests::{Again, Method, Requests};
use reqwest::Url;
use serde_json::{Value, json};

/// How many entries a page has; GitHub gives no more.
const PAGE: usize = 100;
/// How many pages of comments are read. A merge request with 3,000 comments is no place for a plan any more.
const MAX_PAGES: usize = 30;
/// How many annotations GitHub takes with one request.
const ANNOTATIONS_AT_ONCE: usize = 50;
/// The longest summary of a check that GitHub takes, in bytes of at most that many characters.
const MAX_SUMMARY_BYTES: usize = 65_535;
/// Under this login the token of a workflow writes. It is not allowed to ask who it is.
const WORKFLOW_LOGIN: &str = "github-actions[bot]";

/// Why GitHub cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// The address of the API is none.
    #[error("`{0}` is no address of an API: write `https://HOST/…`")]
    Address(String),
    /// The text names no repository.
    #[error("`{0}` names no repository: write OWNER/NAME")]
    Repository(String),
    /// The key of the app cannot be used.
    #[error("the key of the app cannot be used: {0}")]
    Key(&'static str),
    /// The library or the system refuses.
    #[error("cannot make requests")]
    Library(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One repository on GitHub.
pub struct GitHub {
    requests: Requests,
    session: Session,
    repository: String,
    me: Option<String>,
}

impl GitHub {
    /// A repository; `api` is `https://api.github.com`, or `https://HOST/api/v3` of an enterprise server. Nothing is sent yet.
    pub fn new(api: &str, repository: &str, login: Login) -> Result<Self, GitHubError> {
        let address = Url::parse(api).ok().filter(is_private).ok_or_else(|| GitHubError::Address(api.to_owned()))?;
        let is_name = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && !text.bytes().all(|byte| byte == b'.')
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        let fits = repository.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name));
        if !fits {
            return Err(GitHubError::Repository(repository.to_owned()));
        }
        let session = Session::new(login)?;
        Ok(Self { requests: Requests::new(&address)?, session, repository: repository.to_owned(), me: None })
    }

    fn path(&self, rest: &str) -> String {
        format!("repos/{}/{rest}", self.repository)
    }

    fn get<T: serde::de::DeserializeOwned>(&mut self, path: &str, query: &[(&str, &str)]) -> Result<T, ForgeError> {
        let token = self.session.token(&mut self.requests, &self.repository)?;
        self.requests.get(&token, path, query)
    }

    fn send<T: serde::de::DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &Value,
        again: Again,
    ) -> Result<T, ForgeError> {
        let token = self.session.token(&mut self.requests, &self.repository)?;
        self.requests.send(&token, method, path, body, again)
    }
}

/// Whether what is sent there can be read by nobody else: over TLS, or on this machine.
fn is_private(url: &Url) -> bool {
    let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && local))
}

impl Forge for GitHub {
    fn me(&mut self) -> Result<String, ForgeError> {
        if let Some(me) = &self.me {
            return Ok(me.clone());
        }
        let me = match self.session.app_token()? {
            Some(token) => format!("{}[bot]", self.requests.get::<AppAnswer>(&token, "app", &[])?.slug),
            None => match self.get::<UserAnswer>("user", &[]) {
                Ok(user) => user.login,
                Err(ForgeError::Denied { .. }) => WORKFLOW_LOGIN.to_owned(),
                Err(error) => return Err(error),
            },
        };
        Ok(self.me.insert(me).clone())
    }

    fn merge_request(&mut self, number: Number) -> Result<MergeRequest, ForgeError> {
        let path = self.path(&format!("pulls/{number}"));
        self.get::<PullAnswer>(&path, &[])?.try_into()
    }

    fn comments(&mut self, number: Number) -> Result<Vec<Comment>, ForgeError> {
        let path = self.path(&format!("issues/{number}/comments"));
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let query = [("per_page", PAGE.to_string()), ("page", page.to_string())];
            let answer: Vec<CommentAnswer> =
                self.get(&path, &query.each_ref().map(|(name, value)| (*name, value.as_str())))?;
            let is_last = answer.len() < PAGE;
            all.extend(answer.into_iter().map(Comment::from));
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    fn comment(&mut self, number: Number, body: &str) -> Result<Comment, ForgeError> {
        let path = self.path(&format!("issues/{number}/comments"));
        self.send::<CommentAnswer>(Method::Post, &path, &json!({ "body": body }), Again::IfNotSent).map(Comment::from)
    }

    fn edit_comment(&mut self, id: u64, body: &str) -> Result<Comment, ForgeError> {
        let path = self.path(&format!("issues/comments/{id}"));
        self.send::<CommentAnswer>(Method::Patch, &path, &json!({ "body": body }), Again::Always).map(Comment::from)
    }

    fn checks(&mut self, commit: &CommitId, name: &str) -> Result<Vec<Check>, ForgeError> {
        let path = self.path(&format!("commits/{commit}/check-runs"));
        let query = [("check_name", name), ("filter", "latest"), ("per_page", "100")];
        Ok(self.get::<ChecksAnswer>(&path, &query)?.check_runs.into_iter().map(Check::from).collect())
    }

    fn check(&mut self, check: &NewCheck) -> Result<Check, ForgeError> {
        let NewCheck { name, commit, mark, conclusion, title, summary, annotations } = check;
        let mut pieces = annotations.chunks(ANNOTATIONS_AT_ONCE);
        let output = |annotations: &[Annotation]| {
            let annotations: Vec<Value> = annotations.iter().map(annotation).collect();
            json!({ "title": title, "summary": bounded(summary), "annotations": annotations })
        };
        let body = json!({
            "name": name,
            "head_sha": commit,
            "external_id": mark,
            "status": "completed",
            "conclusion": word(*conclusion),
            "output": output(pieces.next().unwrap_or_default()),
        });
        let path = self.path("check-runs");
        let made: CheckAnswer = self.send(Method::Post, &path, &body, Again::IfNotSent)?;
        for piece in pieces {
            // They are added to those that are there, so none may be sent twice.
            let path = self.path(&format!("check-runs/{}", made.id));
            let _: CheckAnswer =
                self.send(Method::Patch, &path, &json!({ "output": output(piece) }), Again::IfNotSent)?;
        }
        Ok(made.into())
    }

    fn branch(&mut self, name: &str) -> Result<Option<CommitId>, ForgeError> {
        let path = self.path(&format!("git/ref/{}", segment(&format!("heads/{name}"))));
        match self.get::<RefAnswer>(&path, &[]) {
            Ok(answer) => commit_id(&answer.object.sha).map(Some),
            Err(ForgeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn commit(&mut self, id: &CommitId) -> Result<Commit, ForgeError> {
        let path = self.path(&format!("git/commits/{id}"));
        self.get::<CommitAnswer>(&path, &[])?.try_into()
    }

    fn make_commit(&mut self, message: &str, carrier: &Carrier) -> Result<CommitId, ForgeError> {
        let Carrier { tree, parents } = carrier;
        let body = json!({ "message": message, "tree": tree, "parents": parents });
        let path = self.path("git/commits");
        // A second one would be the same but for its time, and no branch has either.
        let made: MadeAnswer = self.send(Method::Post, &path, &body, Again::Always)?;
        commit_id(&made.sha)
    }

    fn point(&mut self, branch: &str, commit: &CommitId, was: Option<&CommitId>) -> Result<(), ForgeError> {
        let name = format!("heads/{branch}");
        let (method, path, body, again) = match was {
            None => {
                let body = json!({ "ref": format!("refs/{name}"), "sha": commit });
                (Method::Post, self.path("git/refs"), body, Again::IfNotSent)
            }
            Some(_) => {
                let path = self.path(&format!("git/refs/{}", segment(&name)));
                (Method::Patch, path, json!({ "sha": commit, "force": true }), Again::Always)
            }
        };
        let _: RefAnswer = self.send(method, &path, &body, again)?;
        Ok(())
    }

    fn open_request(&mut self, from: &str, into: &str) -> Result<Option<MergeRequest>, ForgeError> {
        let owner = self.repository.split('/').next().unwrap_or_default();
        let head = format!("{owner}:{from}");
        let path = self.path("pulls");
        let query = [("state", "open"), ("head", head.as_str()), ("base", into), ("per_page", "1")];
        let found: Vec<PullAnswer> = self.get(&path, &query)?;
        found.into_iter().next().map(MergeRequest::try_from).transpose()
    }

    fn open(&mut self, new: &NewMergeRequest) -> Result<MergeRequest, ForgeError> {
        let NewMergeRequest { from, into, title, body, readiness } = new;
        let draft = match readiness {
            Readiness::Ready => false,
            Readiness::Draft => true,
        };
        let body = json!({ "title": title, "head": from, "base": into, "body": body, "draft": draft });
        let path = self.path("pulls");
        self.send::<PullAnswer>(Method::Post, &path, &body, Again::IfNotSent)?.try_into()
    }

    fn edit(&mut self, number: Number, title: &str, body: &str) -> Result<MergeRequest, ForgeError> {
        let path = self.path(&format!("pulls/{number}"));
        let body = json!({ "title": title, "body": body });
        self.send::<PullAnswer>(Method::Patch, &path, &body, Again::Always)?.try_into()
    }

    fn label(&mut self, number: Number, labels: &[&str]) -> Result<(), ForgeError> {
        let path = self.path(&format!("issues/{number}/labels"));
        let _: Vec<Value> = self.send(Method::Post, &path, &json!({ "labels": labels }), Again::Always)?;
        Ok(())
    }

    fn requests_of(&mut self, commit: &CommitId) -> Result<Vec<MergeRequest>, ForgeError> {
        self.pulls_of(commit)
    }

    fn shows_status(&mut self, progress: &Progress) -> Result<bool, ForgeError> {
        self.status_says(progress)
    }

    fn set_status(&mut self, progress: &Progress) -> Result<(), ForgeError> {
        self.write_status(progress)
    }

    fn deployment(&mut self, progress: &Progress) -> Result<Option<u64>, ForgeError> {
        self.find_deployment(progress)
    }

    fn deploy(&mut self, progress: &Progress) -> Result<u64, ForgeError> {
        self.make_deployment(progress)
    }

    fn shows_deployment(&mut self, id: u64, progress: &Progress) -> Result<bool, ForgeError> {
        self.deployment_says(id, progress)
    }

    fn set_deployment(&mut self, id: u64, progress: &Progress) -> Result<(), ForgeError> {
        self.write_deployment(id, progress)
    }
}

/// A text as one part of a path.
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let part = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(part).collect()
}

fn word(conclusion: Conclusion) -> CheckRunConclusion {
    match conclusion {
        Conclusion::Success => CheckRunConclusion::Success,
        Conclusion::Neutral => CheckRunConclusion::Neutral,
        Conclusion::Failure => CheckRunConclusion::Failure,
    }
}

fn annotation(one: &Annotation) -> Value {
    let Annotation { path, line, column, level, title, message } = one;
    let level = match level {
        Level::Failure => "failure",
        Level::Warning => "warning",
    };
    let mut value = json!({
        "path": path, "start_line": line, "end_line": line, "annotation_level": level, "title": title, "message": message,
    });
    if let Some(column) = column {
        value["start_column"] = json!(column);
        value["end_column"] = json!(column);
    }
    value
}

fn bounded(text: &str) -> &str {
    let end = text.len().min(MAX_SUMMARY_BYTES);
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}
