//! What only the watcher can read, and somebody asks for between two looks.

use super::{Request, Waker, Watcher};
use crate::clock;
use crate::controller::owner::show_chain;
use crate::domain::desired::{Desired, NoVariant, Resolver, SecretTable, Variant};
use crate::domain::fleet::Revision;
use crate::domain::ids::{AppName, CommitId, DeviceId, StageName, Version};
use crate::domain::manifest::compose::HostRights;
use crate::domain::snapshot::Head;
use crate::ports::repo::{Fetch, RepoError, Signature};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::oneshot;

/// An app of devices in a release, as a commit has it.
#[derive(Clone, Debug)]
pub struct AskedVariant {
    /// The stage, whose services may have this and that of the host.
    pub stage: StageName,
    /// The commit.
    pub revision: Revision,
    /// The app.
    pub app: AppName,
    /// The release.
    pub release: Version,
    /// The devices.
    pub devices: BTreeSet<DeviceId>,
}

/// Why it cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VariantError {
    /// There is no such release that devices could be given.
    #[error(transparent)]
    None(#[from] NoVariant),
    /// The commit cannot be read now.
    #[error("commit {commit} cannot be read now: {why}")]
    Unread {
        /// The first digits of the commit.
        commit: String,
        /// Why.
        why: String,
    },
    /// The watcher has too much to do.
    #[error("the controller has too much to do; try again in a moment")]
    Busy,
}

/// A branch beside the stages, to be read for one of them.
#[derive(Clone, Debug)]
pub struct AskedBranch {
    /// The branch.
    pub branch: StageName,
    /// The commit that it must be at.
    pub commit: CommitId,
    /// The stage, whose services may have this and that of the host, and whose signers count.
    pub stage: StageName,
    /// What counts for the stage; the branch must contain it.
    pub base: Revision,
}

/// What a branch means.
#[derive(Clone, Debug)]
pub struct Branched {
    /// Its newest commit.
    pub commit: CommitId,
    /// What that means.
    pub desired: Arc<Desired>,
}

/// Why a branch cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// The remote could not be asked.
    #[error("the fleet repo is unavailable: {0}")]
    Unavailable(String),
    /// No such branch.
    #[error("the fleet repo has no branch {0}")]
    NoBranch(StageName),
    /// Somebody pushed to it meanwhile.
    #[error("branch {branch} is at {is}, not at {asked}")]
    Elsewhere {
        /// The branch.
        branch: StageName,
        /// Where it is: the first digits.
        is: String,
        /// Where it was said to be.
        asked: String,
    },
    /// It lacks what counts.
    #[error("branch {branch} does not contain {base}, which counts for {stage}")]
    Behind {
        /// The branch.
        branch: StageName,
        /// The first digits of what counts.
        base: String,
        /// The stage.
        stage: StageName,
    },
    /// The stage takes signed commits only.
    #[error(
        "the newest commit of {branch} is not signed as {stage} asks for: {why}; it takes commits signed by {wanted}"
    )]
    Unsigned {
        /// The branch.
        branch: StageName,
        /// The stage.
        stage: StageName,
        /// Why the signature does not count.
        why: String,
        /// Whose would.
        wanted: String,
    },
    /// It cannot be read.
    #[error("branch {branch} cannot be read: {why}")]
    Unread {
        /// The branch.
        branch: StageName,
        /// Why.
        why: String,
    },
    /// The watcher has too much to do.
    #[error("the controller has too much to do; try again in a moment")]
    Busy,
}

impl Waker {
    /// What the newest commit of a branch beside the stages means.
    pub async fn branch(&self, asked: AskedBranch) -> Result<Branched, BranchError> {
        let (answer, answered) = oneshot::channel();
        let asked = Box::new(asked);
        self.0.try_send(Request::Branch { asked, answer }).map_err(|_| BranchError::Busy)?;
        answered.await.map_err(|_| BranchError::Busy)?
    }

    /// What an app is on devices in some release.
    pub async fn variant(&self, asked: AskedVariant) -> Result<Variant, VariantError> {
        let (answer, answered) = oneshot::channel();
        let asked = Box::new(asked);
        self.0.try_send(Request::Variant { asked, answer }).map_err(|_| VariantError::Busy)?;
        answered.await.map_err(|_| VariantError::Busy)?
    }
}

impl Watcher {
    pub(super) fn branch(&mut self, asked: &AskedBranch) -> Result<Branched, BranchError> {
        let AskedBranch { branch, commit, stage, base } = asked;
        let heads = self.heads_with(branch)?;
        let head = heads.get(branch).ok_or_else(|| BranchError::NoBranch(branch.clone()))?;
        if head.commit != *commit {
            let (is, asked) = (head.commit.short().to_owned(), commit.short().to_owned());
            return Err(BranchError::Elsewhere { branch: branch.clone(), is, asked });
        }
        let unread = |error: RepoError| BranchError::Unread { branch: branch.clone(), why: show_chain(&error) };
        if !self.repo.contains(commit, &base.commit).map_err(unread)? {
            return Err(BranchError::Behind { branch: branch.clone(), base: base.short(), stage: stage.clone() });
        }
        match self.repo.signature(stage, commit, clock::now()).map_err(unread)? {
            Signature::NotAsked | Signature::By(_) => {}
            Signature::Refused { why, wanted } => {
                return Err(BranchError::Unsigned { branch: branch.clone(), stage: stage.clone(), why, wanted });
            }
        }
        let files = self.repo.snapshot(commit).map_err(unread)?;
        let mut resolver = Resolver::with_rights(self.rights(stage));
        let source = self.reader.inventory(&mut resolver, &files, base.inventory.as_ref());
        let source = source.ok_or_else(|| BranchError::Unread {
            branch: branch.clone(),
            why: "its list of devices is not here any more".to_owned(),
        })?;
        let mut desired = resolver.resolve_from(&files, &source, &SecretTable::Unasked);
        let secrets = desired.secrets();
        if !secrets.is_empty() {
            let table = self.reader.table(&files, &secrets);
            desired = resolver.resolve_from(&files, &source, &table);
        }
        Ok(Branched { commit: commit.clone(), desired: desired.for_fleet(&self.options.fleet) })
    }

    /// Where the remote's stages and one more branch are. Stages that moved are seen again by the next look.
    fn heads_with(&mut self, branch: &StageName) -> Result<BTreeMap<StageName, Head>, BranchError> {
        let stages = self.options.stage_names();
        let all: Vec<StageName> = stages.iter().chain([branch]).cloned().collect();
        for _ in 0..2 {
            match self.repo.fetch(&all) {
                Fetch::Fetched(heads) => return Ok(heads),
                Fetch::Unavailable { reason } => return Err(BranchError::Unavailable(reason)),
                // The same was asked the last time, and the answer is not here any more: it is when something else was asked.
                Fetch::NotModified => _ = self.repo.fetch(&stages),
            }
        }
        Err(BranchError::Busy)
    }

    fn rights(&self, stage: &StageName) -> HostRights {
        let policy = self.options.stages.iter().find(|policy| policy.name == *stage);
        policy.map(|policy| policy.host.clone()).unwrap_or_default()
    }

    pub(super) fn variant(&mut self, asked: &AskedVariant) -> Result<Variant, VariantError> {
        let AskedVariant { stage, revision, app, release, devices } = asked;
        let unread = |why: String| VariantError::Unread { commit: revision.short(), why };
        let files = self.repo.snapshot(&revision.commit).map_err(|error| unread(show_chain(&error)))?;
        let mut resolver = Resolver::with_rights(self.rights(stage));
        let source = self.reader.inventory(&mut resolver, &files, revision.inventory.as_ref());
        let source = source.ok_or_else(|| unread("its list of devices is not here any more".to_owned()))?;
        let of_app = (app, release);
        let found = resolver.variant(&files, &source, &SecretTable::Unasked, of_app, devices)?;
        if found.secrets.is_empty() {
            return Ok(found);
        }
        let table = self.reader.table(&files, &found.secrets);
        Ok(resolver.variant(&files, &source, &table, of_app, devices)?)
    }
}
