//! The controller's own bare repository, a mirror of the stages' branches.
//!
//! The mirror is a cache: if it is damaged it is made anew. It keeps commits that a branch no longer contains, so that the
//! commit a stage last accepted stays readable after a forced push.

use super::objects::{Snapshots, Soundness};
use super::program::ProgramError;
use super::remote::{Remote, RemoteError};
use super::signature::Signers;
use super::{Access, RemoteUrl, Stop, Tips, blame, contains, find_commit, head_of, object_id, upkeep};
use crate::domain::history::{LastChanges, Lines};
use crate::domain::ids::{CommitId, StageName};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::ports::repo::{Fetch, Head, Repo, RepoError, Signature};
use git2::{Repository, RepositoryInitOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the branches of the remote are kept. Not `refs/heads`, so that nobody takes the mirror for a clone to work in.
const HEADS: &str = "refs/bellwether/heads/";

/// A file in the mirror's folder that says whose it is: only a folder with it is ever emptied.
const MARKER: &str = "bellwether-mirror";

/// Why the mirror cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The folder holds something that is not a mirror of ours.
    #[error("{0} holds something else than a mirror of the fleet repo")]
    Foreign(PathBuf),
    /// The file system failed.
    #[error("the mirror {path} could not be {attempted}")]
    Folder {
        /// The mirror's folder.
        path: PathBuf,
        /// What was attempted.
        attempted: &'static str,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// Git failed.
    #[error("the mirror {path} could not be made: {}", source.message())]
    Git {
        /// The mirror's folder.
        path: PathBuf,
        /// What failed; its text is in the message.
        source: git2::Error,
    },
}

/// A mirror of the fleet repo.
pub struct GitMirror {
    folder: PathBuf,
    repo: Repository,
    remote: RemoteUrl,
    access: Access,
    signers: BTreeMap<StageName, Signers>,
    stop: Stop,
    snapshots: Snapshots,
    /// What the last fetch answered; `None` before the first.
    last: Option<BTreeMap<StageName, Head>>,
    health: Health,
}

/// Whether the mirror's objects can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    Sound,
    /// Something could not be read: made anew at the next fetch.
    Damaged,
    /// Made anew for these heads. If it is damaged still, the remote itself is, and only other heads are worth another try.
    MadeAnew(Tips),
}

impl GitMirror {
    /// Opens the mirror in a folder, or makes it. A mirror that cannot be opened is made anew.
    pub fn open(folder: &Path, remote: RemoteUrl) -> Result<Self, MirrorError> {
        let repo = match folder.join(MARKER).exists() {
            true => Repository::open_bare(folder).or_else(|_| make_anew(folder))?,
            false => make(folder)?,
        };
        // Whoever fetched last may have been killed.
        upkeep::sweep(folder);
        Ok(Self {
            folder: folder.to_owned(),
            repo,
            remote,
            access: Access::default(),
            signers: BTreeMap::new(),
            stop: Stop::default(),
            snapshots: Snapshots::default(),
            last: None,
            health: Health::Sound,
        })
    }

    /// Fetches over networks with these credentials and bounds.
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Asks for signatures on the newest commits of these stages.
    pub fn with_signers(self, signers: BTreeMap<StageName, Signers>) -> Self {
        Self { signers, ..self }
    }

    /// Lets `stop` end what a fetch has started.
    pub fn stopped_by(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    fn try_fetch(&mut self, stages: &[StageName]) -> Result<Fetch, FetchError> {
        let (url, access, folder, stop) =
            (self.remote.clone(), self.access.clone(), self.folder.clone(), self.stop.clone());
        let remote = Remote::connect(&url, &access, &folder, &stop)?;
        let mut wanted = remote.heads(stages)?;
        self.mend(&wanted)?;
        let known = self.heads()?;
        if known != wanted {
            let brought = remote.bring(&self.repo, wanted, &known, self.snapshots.trees());
            // A fetch also fails because the mirror is damaged; then it is to be made anew.
            wanted =
                brought.or_else(|error| self.described(&known).map_err(FetchError::Mirror).and(Err(error.into())))?;
        }
        let heads = self.described(&wanted)?;
        self.point(&known, &wanted)?;
        self.tidy();
        if self.last.as_ref() == Some(&heads) {
            return Ok(Fetch::NotModified);
        }
        self.last = Some(heads.clone());
        Ok(Fetch::Fetched(heads))
    }

    /// Makes a damaged mirror anew, once for the same heads.
    fn mend(&mut self, wanted: &Tips) -> Result<(), FetchError> {
        if self.health == Health::Damaged {
            self.snapshots.clear();
            self.repo = make_anew(&self.folder)?;
            self.health = Health::MadeAnew(wanted.clone());
        }
        Ok(())
    }

    /// The branches as the mirror has them.
    fn heads(&self) -> Result<Tips, git2::Error> {
        let mut heads = BTreeMap::new();
        for reference in self.repo.references_glob(&format!("{HEADS}*"))? {
            let reference = reference?;
            let stage = reference.name().ok().and_then(|name| name.strip_prefix(HEADS)).map(StageName::new);
            if let (Some(Ok(stage)), Some(commit)) = (stage, reference.target()) {
                heads.insert(stage, commit);
            }
        }
        Ok(heads)
    }

    /// The heads with their trees. Fails if one is not there, so that no branch ever points at what cannot be read.
    fn described(&self, wanted: &Tips) -> Result<BTreeMap<StageName, Head>, git2::Error> {
        let mut heads = BTreeMap::new();
        for (stage, commit) in wanted {
            let tree = self.repo.find_commit(*commit)?.tree()?.id();
            heads.insert(stage.clone(), Head { commit: object_id(*commit), tree: object_id(tree) });
        }
        Ok(heads)
    }

    /// Moves the mirror's branches. What is gone goes first: `a` may have made place for `a/b`.
    fn point(&self, known: &Tips, wanted: &Tips) -> Result<(), git2::Error> {
        for stage in known.keys().filter(|stage| !wanted.contains_key(*stage)) {
            self.repo.find_reference(&format!("{HEADS}{stage}"))?.delete()?;
        }
        for (stage, commit) in wanted.iter().filter(|(stage, commit)| known.get(*stage) != Some(commit)) {
            self.repo.reference(&format!("{HEADS}{stage}"), *commit, true, "fetched")?;
        }
        Ok(())
    }

    /// Puts packs and loose objects together once there are many. It is never worth failing a fetch for.
    fn tidy(&mut self) {
        if upkeep::packs(&self.folder) <= upkeep::MAX_PACKS && upkeep::loose(&self.folder) <= upkeep::MAX_LOOSE {
            return;
        }
        match upkeep::compact(&self.folder, &self.stop) {
            // The old handle would go on looking into packs that are gone.
            Ok(()) => match Repository::open_bare(&self.folder) {
                Ok(repo) => self.repo = repo,
                Err(_) => self.found_damaged(),
            },
            Err(ProgramError::Stopped) => {}
            Err(error) => {
                tracing::warn!(error = %error, "the mirror's packs could not be put together; reading gets slower")
            }
        }
    }

    fn found_damaged(&mut self) {
        // Heads for which it was just made anew are not worth a second time.
        let same = match &self.health {
            Health::MadeAnew(heads) => self.heads().is_ok_and(|known| known == *heads),
            Health::Sound | Health::Damaged => false,
        };
        if !same {
            self.health = Health::Damaged;
            // The next fetch must not answer that nothing has moved.
            self.last = None;
        }
    }
}

/// Why a fetch came to nothing.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("the mirror could not be read or written: {}", .0.message())]
    Mirror(#[from] git2::Error),
    #[error(transparent)]
    Made(#[from] MirrorError),
}

impl Repo for GitMirror {
    fn fetch(&mut self, stages: &[StageName]) -> Fetch {
        self.snapshots.keep(stages.len() + 1);
        self.try_fetch(stages).unwrap_or_else(|error| {
            if matches!(error, FetchError::Mirror(_)) {
                self.found_damaged();
            }
            Fetch::Unavailable { reason: error.to_string() }
        })
    }

    fn snapshot(&mut self, commit: &CommitId) -> Result<Snapshot, RepoError> {
        let tree = find_commit(&self.repo, commit)?.tree_id();
        match self.snapshots.read(&self.repo, tree) {
            Ok((snapshot, Soundness::Sound)) => Ok(snapshot),
            Ok((snapshot, Soundness::Damaged)) => {
                self.found_damaged();
                Ok(snapshot)
            }
            Err(error) => {
                if let super::objects::ReadError::Tree { .. } = error {
                    self.found_damaged();
                }
                Err(RepoError::Failed { attempted: "read the files of a commit", source: Box::new(error) })
            }
        }
    }

    fn head(&mut self, commit: &CommitId) -> Result<Head, RepoError> {
        head_of(&self.repo, commit)
    }

    fn last_changes(&mut self, commit: &CommitId, files: &Snapshot, lines: &Lines) -> Result<LastChanges, RepoError> {
        blame::last_changes(&self.repo, commit, files, lines)
    }

    fn contains(&mut self, newer: &CommitId, older: &CommitId) -> Result<bool, RepoError> {
        contains(&self.repo, newer, older)
    }

    fn signature(&mut self, stage: &StageName, commit: &CommitId, now: Timestamp) -> Result<Signature, RepoError> {
        match self.signers.get(stage) {
            None => Ok(Signature::NotAsked),
            Some(signers) => signers.judge(&self.repo, commit, now, &self.stop),
        }
    }
}

/// Makes a mirror in a folder that is not there or empty.
fn make(folder: &Path) -> Result<Repository, MirrorError> {
    let io = |attempted| move |source| MirrorError::Folder { path: folder.to_owned(), attempted, source };
    std::fs::create_dir_all(folder).map_err(io("made"))?;
    if std::fs::read_dir(folder).map_err(io("read"))?.next().is_some() {
        return Err(MirrorError::Foreign(folder.to_owned()));
    }
    // The marker first: if the machine stops between the two, the rest is ours to make anew.
    std::fs::write(
        folder.join(MARKER),
        "The controller's mirror of the fleet repo. It can be deleted; it is made anew.\n",
    )
    .map_err(io("marked"))?;
    init(folder)
}

/// Empties a folder that is marked as a mirror, and makes the mirror.
fn make_anew(folder: &Path) -> Result<Repository, MirrorError> {
    let io = |source| MirrorError::Folder { path: folder.to_owned(), attempted: "emptied", source };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name() == MARKER {
            continue;
        }
        match entry.file_type().map_err(io)?.is_dir() {
            true => std::fs::remove_dir_all(entry.path()).map_err(io)?,
            false => std::fs::remove_file(entry.path()).map_err(io)?,
        }
    }
    init(folder)
}

fn init(folder: &Path) -> Result<Repository, MirrorError> {
    // No template: hooks and settings of this machine's user have no business here.
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false);
    Repository::init_opts(folder, &options).map_err(|source| MirrorError::Git { path: folder.to_owned(), source })
}
