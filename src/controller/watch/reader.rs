//! Reads what the stages' commits mean, from what a look at the fleet repo found.

use super::News;
use crate::controller::RepoStatus;
use crate::controller::owner::show_chain;
use crate::domain::desired::{Desired, Resolver, SecretTable};
use crate::domain::ids::{CommitId, StageName};
use crate::domain::manifest::compose::HostRights;
use crate::domain::plan::gate::{Candidate, Lineage};
use crate::domain::plan::pass::{Meaning, StageView};
use crate::domain::snapshot::Head;
use crate::domain::time::Timestamp;
use crate::ports::repo::{Fetch, Repo, RepoError, Signature};
use crate::threads;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The commits that count, by stage.
pub type Accepted = BTreeMap<StageName, CommitId>;

/// What is remembered between two looks. A restart begins with nothing and reads the accepted commits first.
#[derive(Debug, Default)]
pub struct Reader {
    /// What services of a stage may have of the host; nothing for one that is not listed.
    rights: BTreeMap<StageName, HostRights>,
    /// Meanings of the commits that are in use. Where stages allow different things of the host, one commit has several.
    meanings: BTreeMap<(CommitId, HostRights), Arc<Desired>>,
    /// One per stage, so that a stage's unchanged files stay remembered while other stages are read.
    resolvers: BTreeMap<StageName, Resolver>,
    heads: BTreeMap<StageName, Head>,
    status: RepoStatus,
    /// What was last said of the signatures of commits that do not count yet.
    signatures: BTreeMap<StageName, Signature>,
    /// The commits that counted when the stages were last read; `None` before the first time. Then the accepted commits are
    /// read even if the remote is unavailable.
    bases: Option<Accepted>,
}

impl Reader {
    /// One for stages whose services may have this of the host.
    pub fn with_rights(rights: BTreeMap<StageName, HostRights>) -> Self {
        Self { rights, ..Self::default() }
    }

    /// One look. `accepted` are the commits that count, `views` what is known of the stages until now.
    pub fn look(
        &mut self,
        repo: &mut dyn Repo,
        stages: &[StageName],
        accepted: &Accepted,
        views: &BTreeMap<StageName, StageView>,
        now: Timestamp,
    ) -> News {
        let mut status = self.status.clone();
        // What could not be read is read again; and what was read against a commit that no longer counts.
        let mut read = !status.unreadable.is_empty()
            || self.bases.as_ref() != Some(accepted)
            || self.signatures_changed(repo, accepted, now);
        match repo.fetch(stages) {
            Fetch::Fetched(heads) => {
                status.last_contact = Some(now);
                status.unavailable = None;
                status.missing = stages.iter().filter(|stage| !heads.contains_key(*stage)).cloned().collect();
                // A branch that is gone keeps its last head: gone is not empty.
                self.heads.extend(heads);
                read = true;
            }
            Fetch::NotModified => {
                status.last_contact = Some(now);
                status.unavailable = None;
            }
            Fetch::Unavailable { reason } => {
                if status.unavailable.as_ref() != Some(&reason) {
                    tracing::warn!(error = %reason, "the fleet repo is unavailable; everything goes on as it is");
                }
                status.unavailable = Some(reason);
            }
        }
        let views = read.then(|| self.read_stages(repo, stages, accepted, views, &mut status, now));
        self.status = status.clone();
        News { views, status }
    }

    /// Works out what each stage's commits mean. What cannot be read keeps its last meaning.
    fn read_stages(
        &mut self,
        repo: &mut dyn Repo,
        stages: &[StageName],
        accepted: &Accepted,
        known: &BTreeMap<StageName, StageView>,
        status: &mut RepoStatus,
        now: Timestamp,
    ) -> BTreeMap<StageName, StageView> {
        self.bases = Some(accepted.clone());
        status.unreadable.clear();
        self.signatures.clear();
        let mut views = BTreeMap::new();
        for stage in stages {
            match self.read_stage(repo, stage, accepted.get(stage), now) {
                Ok(view) => {
                    views.insert(stage.clone(), view);
                }
                Err(error) => {
                    let reason = show_chain(&error);
                    tracing::error!(stage = %stage, error = %reason, "a stage could not be read; its last commit counts");
                    if let Some(view) = known.get(stage) {
                        views.insert(stage.clone(), view.clone());
                    }
                    status.unreadable.insert(stage.clone(), reason);
                }
            }
        }
        let heads = self.heads.values().map(|head| &head.commit);
        let in_use: Vec<&CommitId> = accepted.values().chain(heads).collect();
        self.meanings.retain(|(commit, _), _| in_use.contains(&commit));
        views
    }

    fn read_stage(
        &mut self,
        repo: &mut dyn Repo,
        stage: &StageName,
        accepted: Option<&CommitId>,
        now: Timestamp,
    ) -> Result<StageView, RepoError> {
        let mut view = StageView::default();
        if let Some(commit) = accepted {
            view.accepted = match self.meaning(repo, stage, commit) {
                Ok(desired) => Some(Meaning { commit: commit.clone(), desired }),
                // After a restore the commit may be gone here and at the remote: last claims and assignments stand.
                Err(RepoError::NoCommit(_)) => None,
                Err(error) => return Err(error),
            };
        }
        let Some(head) = self.heads.get(stage).cloned() else { return Ok(view) };
        if Some(&head.commit) == accepted {
            return Ok(view);
        }
        let signature = repo.signature(stage, &head.commit, now)?;
        let desired = self.meaning(repo, stage, &head.commit)?;
        let desired = match &signature {
            Signature::NotAsked | Signature::By(_) => desired,
            Signature::Refused { why, wanted } => desired.unsigned(&head.commit, why, wanted),
        };
        self.signatures.insert(stage.clone(), signature);
        let extends = match accepted {
            None => true,
            Some(accepted) => repo.contains(&head.commit, accepted)?,
        };
        let lineage = if extends { Lineage::Extends } else { Lineage::Rewrites };
        view.candidate = Some(Candidate { head, desired, base: accepted.cloned(), lineage });
        Ok(view)
    }

    /// Whether something else is to be said of a signature than last time: keys expire, and files of signers are edited, while a
    /// commit waits.
    fn signatures_changed(&self, repo: &mut dyn Repo, accepted: &Accepted, now: Timestamp) -> bool {
        self.signatures.iter().any(|(stage, known)| {
            let Some(head) = self.heads.get(stage).filter(|head| accepted.get(stage) != Some(&head.commit)) else {
                return false;
            };
            *known != Signature::NotAsked
                && repo.signature(stage, &head.commit, now).map_or(true, |signature| signature != *known)
        })
    }

    fn meaning(
        &mut self,
        repo: &mut dyn Repo,
        stage: &StageName,
        commit: &CommitId,
    ) -> Result<Arc<Desired>, RepoError> {
        let rights = self.rights.get(stage).cloned().unwrap_or_default();
        let key = (commit.clone(), rights);
        if let Some(known) = self.meanings.get(&key) {
            return Ok(known.clone());
        }
        let snapshot = repo.snapshot(commit)?;
        let fresh = || threads::resolver().allowing(key.1.clone());
        let resolver = self.resolvers.entry(stage.clone()).or_insert_with(fresh);
        let desired = resolver.resolve_knowing(&snapshot, &SecretTable::Asked(BTreeMap::new()));
        self.meanings.insert(key, desired.clone());
        Ok(desired)
    }
}
