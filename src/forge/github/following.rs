//! How commits fare: their statuses and deployments.

use super::answers::{DeploymentAnswer, DeploymentStatusAnswer, IdAnswer, PullAnswer, StatusAnswer};
use super::requests::{Again, Method};
use super::{GitHub, segment};
use crate::domain::fleet::Standing;
use crate::domain::forge::words::line;
use crate::domain::ids::CommitId;
use crate::ports::forge::{ForgeError, MergeRequest, Progress};
use octocrab::models::StatusState;
use octocrab::models::repos::DeploymentStatusState;
use serde_json::{Value, json};

/// What our deployments are called: those of others are left alone.
const TASK: &str = "bellwether";
/// How many statuses of a commit are looked at, and deployments of a commit to a stage. GitHub gives no more at once, the newest first.
const LOOKED_AT: &str = "100";

fn context(progress: &Progress) -> String {
    format!("bellwether/{}", progress.stage)
}

fn state(standing: Standing) -> StatusState {
    match standing {
        Standing::Waiting | Standing::UnderWay => StatusState::Pending,
        Standing::Success => StatusState::Success,
        Standing::Failure => StatusState::Failure,
        // It is neither: nobody will know whether it would have been good.
        Standing::Superseded => StatusState::Error,
    }
}

fn deployed(standing: Standing) -> DeploymentStatusState {
    match standing {
        Standing::Waiting => DeploymentStatusState::Queued,
        Standing::UnderWay => DeploymentStatusState::InProgress,
        Standing::Success => DeploymentStatusState::Success,
        Standing::Failure => DeploymentStatusState::Failure,
        Standing::Superseded => DeploymentStatusState::Inactive,
    }
}

impl GitHub {
    /// Whether the newest status of the context says exactly this.
    pub(super) fn status_says(&mut self, progress: &Progress) -> Result<bool, ForgeError> {
        let path = self.path(&format!("commits/{}/statuses", progress.commit));
        let all: Vec<StatusAnswer> = self.get(&path, &[("per_page", LOOKED_AT)])?;
        let newest = all.into_iter().find(|one| one.context == context(progress));
        Ok(newest.is_some_and(|one| one.state == word(state(progress.standing)) && one.says(&line(&progress.text))))
    }

    pub(super) fn write_status(&mut self, progress: &Progress) -> Result<(), ForgeError> {
        let path = self.path(&format!("statuses/{}", progress.commit));
        let mut body = json!({
            "state": state(progress.standing), "description": line(&progress.text), "context": context(progress),
        });
        if let Some(link) = &progress.link {
            body["target_url"] = json!(link);
        }
        // Twice is one line more in a list of which only the newest counts; still it is looked for first.
        let _: IdAnswer = self.send(Method::Post, &path, &body, Again::IfNotSent)?;
        Ok(())
    }

    pub(super) fn find_deployment(&mut self, progress: &Progress) -> Result<Option<u64>, ForgeError> {
        let path = self.path("deployments");
        let (sha, stage) = (progress.commit.to_string(), progress.stage.to_string());
        let query = [("sha", sha.as_str()), ("environment", stage.as_str()), ("task", TASK), ("per_page", LOOKED_AT)];
        let all: Vec<DeploymentAnswer> = self.get(&path, &query)?;
        Ok(all.into_iter().find(|one| one.mark() == Some(progress.mark.as_str())).map(|one| one.id))
    }

    pub(super) fn make_deployment(&mut self, progress: &Progress) -> Result<u64, ForgeError> {
        let path = self.path("deployments");
        let body = json!({
            "ref": progress.commit,
            "task": TASK,
            // It is what devices get already: GitHub must neither merge anything into it nor hold it up.
            "auto_merge": false,
            "required_contexts": [],
            "payload": { TASK: progress.mark },
            "environment": progress.stage,
            "description": line(&format!("stage {}", progress.stage)),
        });
        Ok(self.send::<IdAnswer>(Method::Post, &path, &body, Again::IfNotSent)?.id)
    }

    /// Whether the newest status of the deployment says exactly this.
    pub(super) fn deployment_says(&mut self, id: u64, progress: &Progress) -> Result<bool, ForgeError> {
        let path = self.path(&format!("deployments/{id}/statuses"));
        let newest: Vec<DeploymentStatusAnswer> = self.get(&path, &[("per_page", "1")])?;
        let is = |one: DeploymentStatusAnswer| {
            one.state == word(deployed(progress.standing)) && one.says(&line(&progress.text))
        };
        Ok(newest.into_iter().next().is_some_and(is))
    }

    pub(super) fn write_deployment(&mut self, id: u64, progress: &Progress) -> Result<(), ForgeError> {
        let path = self.path(&format!("deployments/{id}/statuses"));
        let mut body = json!({ "state": deployed(progress.standing), "description": line(&progress.text) });
        if let Some(link) = &progress.link {
            (body["log_url"], body["environment_url"]) = (json!(link), json!(link));
        }
        let _: IdAnswer = self.send(Method::Post, &path, &body, Again::IfNotSent)?;
        Ok(())
    }

    pub(super) fn pulls_of(&mut self, commit: &CommitId) -> Result<Vec<MergeRequest>, ForgeError> {
        let path = self.path(&format!("commits/{}/pulls", segment(commit.as_str())));
        let all: Vec<PullAnswer> = self.get(&path, &[("per_page", "30")])?;
        all.into_iter().map(MergeRequest::try_from).collect()
    }
}

/// A word of the API as it is written.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}
