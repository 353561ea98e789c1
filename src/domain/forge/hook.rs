//! What the forge's webhooks mean: hints that something may have changed. No content of theirs counts for anything, so one that is lost,
//! late, repeated or false costs a look at the fleet repo and no more.

use crate::domain::ids::StageName;
use serde::Deserialize;
use std::collections::VecDeque;

/// The longest body of a webhook that is read, in bytes. Those of pushes with thousands of commits are longer; what they hint at is found at
/// the next look.
pub const MAX_HOOK_BYTES: usize = 1 << 20;
/// How many deliveries are remembered: a forge sends one again within minutes, if somebody asks for it.
pub const MAX_DELIVERIES: usize = 1024;
/// The longest name of a delivery that is one.
const MAX_NAME_CHARS: usize = 64;
/// How branches are called in pushes.
const BRANCHES: &str = "refs/heads/";

/// What a webhook hints at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The branch of a stage may have moved.
    Moved(StageName),
    /// Nothing that matters here.
    Nothing,
}

/// Why a webhook means nothing at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no event as the forge describes it: {0}")]
pub struct BadEvent(String);

#[derive(Deserialize)]
struct Event {
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    #[serde(default)]
    repository: Option<Repository>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    pull_request: Option<PullRequest>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct PullRequest {
    base: Base,
}

#[derive(Deserialize)]
struct Base {
    #[serde(rename = "ref")]
    branch: String,
}

/// What an event of this name with this body hints at. The body's signature must have been checked before.
pub fn hint(event: &str, body: &[u8], repository: &str, stages: &[StageName]) -> Result<Hint, BadEvent> {
    if !matches!(event, "push" | "pull_request") {
        return Ok(Hint::Nothing);
    }
    let told: Event = serde_json::from_slice(body).map_err(|error| BadEvent(error.to_string()))?;
    let of_ours = told.repository.is_some_and(|one| one.full_name.eq_ignore_ascii_case(repository));
    let branch = match event {
        "push" => told.reference.as_deref().and_then(|name| name.strip_prefix(BRANCHES)).map(str::to_owned),
        // Only one that is closed can have moved the branch that it was for.
        _ if told.action.as_deref() == Some("closed") => told.pull_request.map(|one| one.base.branch),
        _ => None,
    };
    let stage = stages.iter().find(|stage| of_ours && branch.as_deref() == Some(stage.as_str()));
    Ok(stage.map_or(Hint::Nothing, |stage| Hint::Moved(stage.clone())))
}

/// Deliveries that were taken. In memory only: after a restart one that comes again costs a look at the fleet repo.
#[derive(Debug, Default)]
pub struct Deliveries(VecDeque<String>);

/// Whether a delivery was taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is new.
    New,
    /// It was.
    Again,
    /// It has no name by which that could be told.
    Nameless,
}

impl Deliveries {
    /// Remembers a delivery; the oldest is forgotten for it.
    pub fn take(&mut self, name: &str) -> Delivery {
        let is_name = !name.is_empty()
            && name.len() <= MAX_NAME_CHARS
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_name {
            return Delivery::Nameless;
        }
        if self.0.iter().any(|one| one == name) {
            return Delivery::Again;
        }
        if self.0.len() >= MAX_DELIVERIES {
            self.0.pop_front();
        }
        self.0.push_back(name.to_owned());
        Delivery::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(event: &str, body: &str) -> String {
        let stages = ["main", "canary"].map(|name| name.parse().expect("a stage"));
        match hint(event, body.as_bytes(), "acme/fleet", &stages) {
            Ok(Hint::Moved(stage)) => format!("moved {stage}"),
            Ok(Hint::Nothing) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn only_what_can_have_moved_the_branch_of_a_stage_is_a_hint() {
        let push =
            |branch: &str| check("push", &format!(r#"{{"ref":"{branch}","repository":{{"full_name":"Acme/Fleet"}}}}"#));
        assert_eq!(push("refs/heads/main"), "moved main");
        assert_eq!(push("refs/heads/canary"), "moved canary");
        for other in ["refs/tags/main", "main", "refs/heads/topic", "refs/heads/main/x", "refs/heads/"] {
            assert_eq!(push(other), "nothing", "{other}");
        }
        assert_eq!(check("push", r#"{"ref":"refs/heads/main","repository":{"full_name":"mallory/fleet"}}"#), "nothing");
        assert_eq!(check("push", r#"{"ref":"refs/heads/main"}"#), "nothing");
        let pull = |action: &str, base: &str| {
            check(
                "pull_request",
                &format!(
                    r#"{{"action":"{action}","pull_request":{{"base":{{"ref":"{base}"}}}},"repository":{{"full_name":"acme/fleet"}}}}"#
                ),
            )
        };
        assert_eq!(pull("closed", "canary"), "moved canary");
        assert_eq!(pull("opened", "canary"), "nothing");
        assert_eq!(pull("closed", "topic"), "nothing");
        assert_eq!(check("ping", "anything"), "nothing");
    }

    #[test]
    fn what_is_no_event_is_told_and_does_nothing() {
        for body in ["", "{", "7", "null", r#"{"ref":7}"#, r#"{"repository":"acme/fleet"}"#] {
            assert!(check("push", body).starts_with("the body is no event"), "{body}");
        }
        assert!(check("push", &"[".repeat(100_000)).starts_with("the body is no event"));
    }

    #[test]
    fn a_delivery_counts_once_and_few_are_remembered() {
        let mut deliveries = Deliveries::default();
        assert_eq!((deliveries.take("a-1"), deliveries.take("a-1")), (Delivery::New, Delivery::Again));
        for name in ["", "a b", "é", &"a".repeat(65)] {
            assert_eq!(deliveries.take(name), Delivery::Nameless, "{name}");
        }
        for number in 0..MAX_DELIVERIES {
            assert_eq!(deliveries.take(&format!("b-{number}")), Delivery::New);
        }
        assert_eq!((deliveries.0.len(), deliveries.take("a-1")), (MAX_DELIVERIES, Delivery::New));
    }
}
