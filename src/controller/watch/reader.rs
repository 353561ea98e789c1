//! Reads what the stages' commits mean, from what a look at the fleet repo found.

use super::News;
use super::listed::{Found, Listed};
use crate::controller::lists::Lists;
use crate::controller::owner::show_chain;
use crate::controller::vault::Vault;
use crate::controller::{RepoStatus, SharedWorld};
use crate::domain::desired::{Desired, InventorySource, Resolver, SecretState, SecretTable};
use crate::domain::digest::Digest;
use crate::domain::fleet::Revision;
use crate::domain::ids::{CommitId, SecretName, StageName};
use crate::domain::manifest::compose::HostRights;
use crate::domain::manifest::inventory::Inventory;
use crate::domain::manifest::listed_by::ListedBy;
use crate::domain::overview::secrets::{SecretRow, SecretsAnswer, users};
use crate::domain::plan::gate::{Candidate, Lineage};
use crate::domain::plan::pass::{Meaning, StageView};
use crate::domain::snapshot::{Entry, Head, Snapshot};
use crate::domain::time::Timestamp;
use crate::ports::repo::{Fetch, Repo, RepoError, Signature};
use crate::ports::secrets::{SECRETS_FOLDER, SecretFiles};
use crate::threads;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What counts, by stage.
pub type Accepted = BTreeMap<StageName, Revision>;

/// What is remembered between two looks. A restart begins with nothing and reads the accepted commits first.
#[derive(Debug)]
pub struct Reader {
    /// What services of a stage may have of the host; nothing for one that is not listed.
    rights: BTreeMap<StageName, HostRights>,
    /// Values of secrets.
    vault: Arc<Vault>,
    /// Meanings of the commits that are in use. Where stages allow different things of the host, one commit has several.
    meanings: BTreeMap<(Revision, HostRights), Known>,
    /// One per stage, so that a stage's unchanged files stay remembered while other stages are read.
    resolvers: BTreeMap<StageName, Resolver>,
    /// What was known of the secrets of each stage's commit that was read last.
    tables: BTreeMap<StageName, SecretTable>,
    heads: BTreeMap<StageName, Head>,
    /// Lists of devices from outside the commits.
    listed: Listed,
    /// Where commits say that their devices are listed.
    listings: BTreeMap<CommitId, ListedBy>,
    /// What the heads' devices were listed by when they were read.
    found: BTreeMap<StageName, (ListedBy, Found)>,
    status: RepoStatus,
    /// What was last said of the signatures of commits that do not count yet.
    signatures: BTreeMap<StageName, Signature>,
    /// The commits that counted when the stages were last read; `None` before the first time. Then the accepted commits are
    /// read even if the remote is unavailable.
    bases: Option<Accepted>,
}

/// Why a stage could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its commit could not be.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A list of devices could not be kept or read.
    #[error("the list of devices could not be kept")]
    List(#[from] std::io::Error),
    /// The list of devices that counts with a commit is not here any more.
    #[error("the list of devices of {0} is not here any more")]
    NoList(String),
}

/// What one commit means, and what is needed to ask for its secrets again.
#[derive(Debug)]
struct Known {
    desired: Arc<Desired>,
    secrets: BTreeSet<SecretName>,
    files: SecretFiles,
    table: SecretTable,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(BTreeMap::new(), Arc::new(Vault::empty()))
    }
}

impl Reader {
    /// Nothing was read yet; services may have this of the host, and values of secrets come from this vault.
    pub fn new(rights: BTreeMap<StageName, HostRights>, vault: Arc<Vault>) -> Self {
        Self {
            rights,
            vault,
            meanings: BTreeMap::new(),
            resolvers: BTreeMap::new(),
            tables: BTreeMap::new(),
            heads: BTreeMap::new(),
            listed: Listed::default(),
            listings: BTreeMap::new(),
            found: BTreeMap::new(),
            status: RepoStatus::default(),
            signatures: BTreeMap::new(),
            bases: None,
        }
    }

    /// Lists of devices from outside the commits come from these places.
    pub fn with_lists(self, lists: Arc<Lists>, world: SharedWorld) -> Self {
        Self { listed: Listed::new(lists, world), ..self }
    }

    /// Whether another list is the newest for a branch than when the branch was read.
    fn lists_changed(&mut self) -> bool {
        let Self { listed, found, .. } = self;
        found.values().any(|(by, known)| listed.newest(by).map_or(true, |newest| newest != *known))
    }

    /// The inventory of a commit whose list of devices has this digest; `None` if the list is not here any more.
    pub fn inventory(
        &mut self,
        resolver: &mut Resolver,
        files: &Snapshot,
        digest: Option<&Digest>,
    ) -> Option<InventorySource> {
        let fleet = resolver.fleet(files);
        self.listed.source(&fleet.listed_by, &fleet.rules, digest).ok().flatten()
    }

    /// What is known of secrets that a commit refers to.
    pub fn table(&self, files: &Snapshot, secrets: &BTreeSet<SecretName>) -> SecretTable {
        self.vault.table(&secret_files(files), secrets)
    }

    /// Forgets what commits mean of which a secret has another value now, or is no longer to be had. Answers whether there are
    /// any.
    fn forget_rotated(&mut self) -> bool {
        let vault = &self.vault;
        let before = self.meanings.len();
        self.meanings.retain(|_, Known { desired: _, secrets, files, table }| {
            secrets.is_empty() || vault.table(files, secrets) == *table
        });
        self.meanings.len() < before
    }

    /// The secrets that devices of each stage refer to in the commit that counts, without values; and the stages whose commit
    /// has not been read.
    pub fn secrets(&self, accepted: &Accepted) -> SecretsAnswer {
        let mut answer = SecretsAnswer::default();
        for (stage, revision) in accepted {
            let rights = self.rights.get(stage).cloned().unwrap_or_default();
            let Some(known) = self.meanings.get(&(revision.clone(), rights)) else {
                answer.unread.insert(stage.clone());
                continue;
            };
            let users = users(&known.desired, stage);
            let mut looked = self.vault.look(&known.files, &users.keys().cloned().collect());
            let rows = users.into_iter().filter_map(|(name, users)| {
                let looked = looked.remove(&name)?;
                Some(SecretRow::new(name, stage.clone(), looked, users))
            });
            answer.secrets.extend(rows);
        }
        answer
    }

    /// One look. `accepted` is what counts, `views` what is known of the stages until now.
    pub fn look(
        &mut self,
        repo: &mut dyn Repo,
        stages: &[StageName],
        accepted: &Accepted,
        views: &BTreeMap<StageName, StageView>,
        now: Timestamp,
    ) -> News {
        let fetched = repo.fetch(stages);
        self.look_after(repo, Some(fetched), stages, accepted, views, now)
    }

    /// One look at lists of devices alone.
    pub fn look_at_lists(
        &mut self,
        repo: &mut dyn Repo,
        stages: &[StageName],
        accepted: &Accepted,
        views: &BTreeMap<StageName, StageView>,
        now: Timestamp,
    ) -> News {
        match self.lists_changed() {
            true => self.look_after(repo, None, stages, accepted, views, now),
            false => News { views: None, status: self.status.clone() },
        }
    }

    fn look_after(
        &mut self,
        repo: &mut dyn Repo,
        fetched: Option<Fetch>,
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
        read |= self.forget_rotated();
        read |= self.lists_changed();
        match fetched {
            None => {}
            Some(Fetch::Fetched(heads)) => {
                status.last_contact = Some(now);
                status.unavailable = None;
                status.missing = stages.iter().filter(|stage| !heads.contains_key(*stage)).cloned().collect();
                // A branch that is gone keeps its last head: gone is not empty.
                self.heads.extend(heads);
                read = true;
            }
            Some(Fetch::NotModified) => {
                status.last_contact = Some(now);
                status.unavailable = None;
            }
            Some(Fetch::Unavailable { reason }) => {
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
        let heads = self.heads.iter().map(|(stage, head)| {
            let inventory = self.found.get(stage).and_then(|(_, found)| found.digest());
            Revision { commit: head.commit.clone(), inventory }
        });
        let in_use: BTreeSet<Revision> = accepted.values().cloned().chain(heads).collect();
        self.meanings.retain(|(revision, _), _| in_use.contains(revision));
        self.listings.retain(|commit, _| self.heads.values().any(|head| head.commit == *commit));
        self.listed.sweep(&in_use.iter().filter_map(|revision| revision.inventory).collect());
        views
    }

    fn read_stage(
        &mut self,
        repo: &mut dyn Repo,
        stage: &StageName,
        accepted: Option<&Revision>,
        now: Timestamp,
    ) -> Result<StageView, ReadError> {
        let mut view = StageView::default();
        if let Some(revision) = accepted {
            view.accepted = match self.meaning(repo, stage, revision, None) {
                Ok(desired) => Some(Meaning { revision: revision.clone(), desired }),
                // After a restore the commit or its list of devices may be gone here and at the remote: last claims and
                // assignments stand.
                Err(ReadError::Repo(RepoError::NoCommit(_)) | ReadError::NoList(_)) => None,
                Err(error) => return Err(error),
            };
        }
        let Some(head) = self.heads.get(stage).cloned() else { return Ok(view) };
        let found = self.find(repo, stage, &head.commit)?;
        let revision = Revision { commit: head.commit.clone(), inventory: found.digest() };
        let same_commit = accepted.is_some_and(|accepted| accepted.commit == head.commit);
        // A commit that counts goes on counting with the list that it has while its source gives none.
        if Some(&revision) == accepted || (same_commit && matches!(found, Found::Nothing(_))) {
            return Ok(view);
        }
        let missing = match &found {
            Found::Nothing(why) => Some(why.as_str()),
            Found::InCommit | Found::List(_) => None,
        };
        let desired = self.meaning(repo, stage, &revision, missing)?;
        if same_commit {
            let (inventory, base) = (revision.inventory, accepted.cloned());
            view.candidate = Some(Candidate { head, inventory, desired, base, lineage: Lineage::Extends });
            return Ok(view);
        }
        let signature = repo.signature(stage, &head.commit, now)?;
        let desired = match &signature {
            Signature::NotAsked | Signature::By(_) => desired,
            Signature::Refused { why, wanted } => desired.unsigned(&head.commit, why, wanted),
        };
        self.signatures.insert(stage.clone(), signature);
        let extends = match accepted {
            None => true,
            Some(accepted) => repo.contains(&head.commit, &accepted.commit)?,
        };
        let lineage = if extends { Lineage::Extends } else { Lineage::Rewrites };
        let inventory = revision.inventory;
        view.candidate = Some(Candidate { head, inventory, desired, base: accepted.cloned(), lineage });
        Ok(view)
    }

    /// What the devices of a branch's newest commit are listed by now.
    fn find(&mut self, repo: &mut dyn Repo, stage: &StageName, commit: &CommitId) -> Result<Found, ReadError> {
        let by = match self.listings.get(commit) {
            Some(by) => by.clone(),
            None => {
                let snapshot = repo.snapshot(commit)?;
                let by = self.resolver(stage).fleet(&snapshot).listed_by.clone();
                self.listings.insert(commit.clone(), by.clone());
                by
            }
        };
        let found = self.listed.newest(&by)?;
        self.found.insert(stage.clone(), (by, found.clone()));
        Ok(found)
    }

    /// The resolver of a stage.
    fn resolver(&mut self, stage: &StageName) -> &mut Resolver {
        let rights = self.rights.get(stage).cloned().unwrap_or_default();
        self.resolvers.entry(stage.clone()).or_insert_with(|| threads::resolver().allowing(rights))
    }

    /// Whether something else is to be said of a signature than last time: keys expire, and files of signers are edited, while a
    /// commit waits.
    fn signatures_changed(&self, repo: &mut dyn Repo, accepted: &Accepted, now: Timestamp) -> bool {
        self.signatures.iter().any(|(stage, known)| {
            let counts = accepted.get(stage).map(|revision| &revision.commit);
            let Some(head) = self.heads.get(stage).filter(|head| counts != Some(&head.commit)) else {
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
        revision: &Revision,
        missing: Option<&str>,
    ) -> Result<Arc<Desired>, ReadError> {
        let rights = self.rights.get(stage).cloned().unwrap_or_default();
        let key = (revision.clone(), rights);
        if let Some(known) = self.meanings.get(&key).filter(|_| missing.is_none()) {
            return Ok(known.desired.clone());
        }
        let snapshot = repo.snapshot(&revision.commit)?;
        let fleet = self.resolver(stage).fleet(&snapshot);
        if let Some(why) = missing {
            let inventory = Inventory::missing(fleet.listed_by.missing(why));
            let source = InventorySource::Given(Arc::new(inventory));
            return Ok(self.resolver(stage).resolve_with(&snapshot, &source));
        }
        let inventory = revision.inventory.as_ref();
        let source = self.listed.source(&fleet.listed_by, &fleet.rules, inventory)?;
        let source = source.ok_or_else(|| ReadError::NoList(revision.short()))?;
        let fresh = || threads::resolver().allowing(key.1.clone());
        let resolver = self.resolvers.entry(stage.clone()).or_insert_with(fresh);
        // Most commits refer to the secrets that the one before referred to.
        let mut table = self.tables.get(stage).cloned().unwrap_or(SecretTable::Asked(BTreeMap::new()));
        let mut desired = resolver.resolve_from(&snapshot, &source, &table);
        let secrets = desired.secrets();
        let files = secret_files(&snapshot);
        let asked = self.vault.table(&files, &secrets);
        if asked != table {
            log(stage, &asked);
            desired = resolver.resolve_from(&snapshot, &source, &asked);
            table = asked;
            self.tables.insert(stage.clone(), table.clone());
        }
        self.meanings.insert(key, Known { desired: desired.clone(), secrets, files, table });
        Ok(desired)
    }
}

/// The files of a commit that providers may read.
pub fn secret_files(snapshot: &Snapshot) -> SecretFiles {
    let file = |(path, entry): (&Arc<str>, &Entry)| match entry {
        Entry::File { id: _, bytes } => Some((path.clone(), bytes.clone())),
        Entry::Refused(_) => None,
    };
    let files = snapshot.entries.iter().filter(|(path, _)| path.starts_with(SECRETS_FOLDER));
    files.filter_map(file).collect()
}

fn log(stage: &StageName, table: &SecretTable) {
    let states = match table {
        SecretTable::Asked(states) => states,
        SecretTable::Unasked | SecretTable::Assigned(_) => return,
    };
    for (name, state) in states {
        match state {
            SecretState::Known(_) | SecretState::Unasked => {}
            SecretState::Missing => tracing::warn!(%stage, secret = %name, "no provider has this secret"),
            SecretState::Empty => tracing::warn!(%stage, secret = %name, "this secret is empty"),
            SecretState::Unusable(reason) => {
                tracing::warn!(%stage, secret = %name, %reason, "this secret cannot be used");
            }
            SecretState::Unavailable(reason) => {
                tracing::warn!(%stage, secret = %name, %reason, "this secret is not available; its devices keep what they have");
            }
        }
    }
}
