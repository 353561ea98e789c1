//! As whom GitHub is asked: with a token, or as an app that asks for short-lived ones.

use super::GitHubError;
use super::answers::{InstallationAnswer, TokenAnswer};
use super::app::AppKey;
use super::requests::{Again, Method, Requests};
use crate::clock;
use crate::domain::time::Timestamp;
use crate::ports::forge::ForgeError;
use octocrab::secrecy::SecretString;
use serde_json::json;

/// How long before its end a token is no longer used, in seconds: longer than any request takes.
const SPARE_SECS: i64 = 120;
/// How long a token is used whose end is not understood, in seconds. GitHub's live an hour.
const USUAL_SECS: i64 = 1_800;

/// The variable in which a workflow finds its token.
const TOKEN_VARIABLE: &str = "GITHUB_TOKEN";

/// A token. It is never shown.
#[derive(Clone, Debug)]
pub struct Token(SecretString);

impl Token {
    /// A token as it was given, without blanks around it; `None` if it cannot be one.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.len() <= 4096 && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The token of the workflow that runs this.
    #[allow(
        clippy::disallowed_methods,
        reason = "workflows hand their token over in this variable, and no file may hold it"
    )]
    pub fn of_workflow() -> Option<Self> {
        std::env::var(TOKEN_VARIABLE).ok().and_then(|text| Self::new(&text))
    }

    /// The token itself, for the one header that it belongs into.
    pub(super) fn secret(&self) -> SecretString {
        self.0.clone()
    }
}

/// As whom GitHub is asked.
pub enum Login {
    /// With a token of a person or of a workflow.
    Token(Token),
    /// As an app, for the repository that it is installed in.
    App {
        /// Its id.
        id: u64,
        /// Its private key, in PEM.
        key: Vec<u8>,
    },
}

/// A login at work.
pub(super) enum Session {
    Token(Token),
    App { id: u64, key: Box<AppKey>, current: Option<(Token, Timestamp)> },
}

impl Session {
    pub(super) fn new(login: Login) -> Result<Self, GitHubError> {
        Ok(match login {
            Login::Token(token) => Self::Token(token),
            Login::App { id, key } => Self::App { id, key: Box::new(AppKey::new(&key)?), current: None },
        })
    }

    /// The token with which an app speaks for itself; `None` for who is no app.
    pub(super) fn app_token(&self) -> Result<Option<Token>, ForgeError> {
        match self {
            Self::Token(_) => Ok(None),
            Self::App { id, key, .. } => key.token(*id, clock::now()).map(Some),
        }
    }

    /// The token for requests about a repository.
    pub(super) fn token(&mut self, requests: &mut Requests, repository: &str) -> Result<Token, ForgeError> {
        let (id, key, current) = match self {
            Self::Token(token) => return Ok(token.clone()),
            Self::App { id, key, current } => (id, key, current),
        };
        let now = clock::now();
        if let Some((token, _)) = current.as_ref().filter(|(_, until)| now < *until) {
            return Ok(token.clone());
        }
        let own = key.token(*id, now)?;
        let installation: InstallationAnswer = requests.get(&own, &format!("repos/{repository}/installation"), &[])?;
        let path = format!("app/installations/{}/access_tokens", installation.id);
        // One repository and nothing more: what is stolen should open little.
        let name = repository.split_once('/').map_or(repository, |(_, name)| name);
        let body = json!({ "repositories": [name] });
        let answer: TokenAnswer = requests.send(&own, Method::Post, &path, &body, Again::Always)?;
        let token = Token::new(&answer.token)
            .ok_or_else(|| ForgeError::Answer { reason: "the token for the app is none".to_owned() })?;
        let until = answer.expires_at.parse::<jiff::Timestamp>().map_or_else(
            |_| now.plus_secs(USUAL_SECS),
            |at| Timestamp::from_millis(at.as_millisecond()).plus_secs(-SPARE_SECS),
        );
        *current = Some((token.clone(), until));
        Ok(token)
    }
}
