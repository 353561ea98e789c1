//! Where the fleet repo is, and bringing its commits from there.
//!
//! A remote on this machine is read by libgit2; one behind https or ssh by the installed `git`, into the same mirror.

mod hints;
mod local;
mod missing;
mod network;
mod url;

pub use url::{NetworkUrl, RemoteUrl, RemoteUrlError, Transport};

use super::access::UnfitPath;
use super::program::{ProgramError, Stop};
use super::secret::SecretError;
use super::trees::Trees;
use super::{Access, Tips};
use crate::domain::ids::StageName;
use git2::Repository;
use local::Local;
use network::Network;
use std::path::{Path, PathBuf};

/// Why a remote could not be asked. Shown to people; none of it is a reason to believe that anything is gone.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("{path} could not be opened as a Git repository: {}", source.message())]
    Open { path: PathBuf, source: git2::Error },
    #[error("branch {branch} could not be read: {}", source.message())]
    Branch { branch: StageName, source: git2::Error },
    #[error("the repository has no branch at all")]
    NoBranches,
    /// A page for people with status 200 looks so to Git.
    #[error("{0} shows no branch at all: it is empty, or it is no Git server but a login or maintenance page, perhaps")]
    ShowsNoBranches(String),
    #[error("its commits could not be copied: {}", .0.message())]
    Copy(git2::Error),
    #[error("{url} could not be {attempted}: {source}{}", hints::hint(source))]
    Program { url: String, attempted: &'static str, source: ProgramError },
    #[error("{0} names its branches in a way that cannot be read; is it a repository with SHA-1 ids?")]
    Unintelligible(String),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Path(#[from] UnfitPath),
}

/// A remote that can be asked.
pub(super) enum Remote<'a> {
    Local(Local),
    Network(Network<'a>),
}

impl<'a> Remote<'a> {
    /// Connects to a remote; `mirror` is the folder that its commits will come to.
    pub(super) fn connect(
        url: &'a RemoteUrl,
        access: &'a Access,
        mirror: &'a Path,
        stop: &'a Stop,
    ) -> Result<Self, RemoteError> {
        match url {
            RemoteUrl::Local(path) => Local::open(path).map(Self::Local),
            RemoteUrl::Network(url) => Network::new(url, access, mirror, stop).map(Self::Network),
        }
    }

    /// The heads of these branches. A branch that does not exist is left out, unless no branch exists at all: then something
    /// is wrong with the remote, and saying that every stage is gone would be a guess.
    pub(super) fn heads(&self, stages: &[StageName]) -> Result<Tips, RemoteError> {
        match self {
            Self::Local(local) => local.heads(stages),
            Self::Network(network) => network.heads(stages),
        }
    }

    /// Copies the commits that lead to `wanted` into `mirror`, except those that lead to `known`. Answers with the heads as they
    /// were copied: a branch may move between two questions.
    /// Trees that are read on the way are left in `trees`.
    pub(super) fn bring(
        &self,
        mirror: &Repository,
        wanted: Tips,
        known: &Tips,
        trees: &mut Trees,
    ) -> Result<Tips, RemoteError> {
        match self {
            Self::Local(local) => local.bring(mirror, wanted, known, trees),
            Self::Network(network) => network.bring(mirror, &wanted, known),
        }
    }
}
