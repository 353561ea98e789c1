//! Issues on GitHub, and the list of merge requests.

use super::answers::{PullAnswer, UserAnswer};
use super::requests::{Again, Method};
use super::{GitHub, PAGE};
use crate::ports::forge::{ForgeError, Issue, MergeRequest, Number, Tracker};
use serde::Deserialize;
use serde_json::{Value, json};

/// How many pages of issues are read. Ours is among the few that have our label.
const MAX_ISSUE_PAGES: usize = 5;
/// How many pages of merge requests are read: a branch with 2,000 open ones has other troubles.
const MAX_REQUEST_PAGES: usize = 20;

#[derive(Deserialize)]
struct IssueAnswer {
    number: Number,
    html_url: String,
    title: String,
    body: Option<String>,
    user: Option<UserAnswer>,
    /// Merge requests are issues too, to GitHub.
    pull_request: Option<Value>,
}

impl From<IssueAnswer> for Issue {
    fn from(answer: IssueAnswer) -> Self {
        let IssueAnswer { number, html_url, title, body, user, pull_request: _ } = answer;
        let author = user.map(|user| user.login).unwrap_or_default();
        Self { number, author, title, body: body.unwrap_or_default(), url: html_url }
    }
}

impl Tracker for GitHub {
    fn open_requests(&mut self, into: &str) -> Result<Vec<MergeRequest>, ForgeError> {
        let path = self.path("pulls");
        let mut all = Vec::new();
        for page in 1..=MAX_REQUEST_PAGES {
            let (size, page) = (PAGE.to_string(), page.to_string());
            let query = [("state", "open"), ("base", into), ("per_page", size.as_str()), ("page", page.as_str())];
            let answer: Vec<PullAnswer> = self.get(&path, &query)?;
            let is_last = answer.len() < PAGE;
            for one in answer {
                all.push(one.try_into()?);
            }
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    fn open_issues(&mut self, label: &str) -> Result<Vec<Issue>, ForgeError> {
        let path = self.path("issues");
        let mut all = Vec::new();
        for page in 1..=MAX_ISSUE_PAGES {
            let (size, page) = (PAGE.to_string(), page.to_string());
            let query = [
                ("state", "open"),
                ("labels", label),
                ("sort", "created"),
                ("direction", "asc"),
                ("per_page", size.as_str()),
                ("page", page.as_str()),
            ];
            let answer: Vec<IssueAnswer> = self.get(&path, &query)?;
            let is_last = answer.len() < PAGE;
            all.extend(answer.into_iter().filter(|one| one.pull_request.is_none()).map(Issue::from));
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    fn new_issue(&mut self, title: &str, body: &str, labels: &[&str]) -> Result<Issue, ForgeError> {
        let path = self.path("issues");
        let body = json!({ "title": title, "body": body, "labels": labels });
        self.send::<IssueAnswer>(Method::Post, &path, &body, Again::IfNotSent).map(Issue::from)
    }

    fn edit_issue(&mut self, number: Number, title: &str, body: &str) -> Result<Issue, ForgeError> {
        let path = self.path(&format!("issues/{number}"));
        let body = json!({ "title": title, "body": body });
        self.send::<IssueAnswer>(Method::Patch, &path, &body, Again::Always).map(Issue::from)
    }

    fn close_issue(&mut self, number: Number) -> Result<(), ForgeError> {
        let path = self.path(&format!("issues/{number}"));
        let body = json!({ "state": "closed", "state_reason": "completed" });
        self.send::<IssueAnswer>(Method::Patch, &path, &body, Again::Always).map(|_| ())
    }
}
