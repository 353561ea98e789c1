//! Where the values of secrets are kept: adapters of [`crate::ports::secrets`].
//!
//! The order is fixed: the controller's environment, a folder of files, files of the fleet repo that SOPS or age encrypted. Which
//! of them there are is the controller's configuration; the fleet repo can only name secrets.

mod age;
mod directory;
mod environment;
mod repo;
mod sops;

pub use directory::Directory;
pub use environment::{AllowList, BadPattern, Environment};
pub use repo::{Identities, IdentityError, RepoFiles};

use crate::ports::secrets::{Chain, Provider};
use std::path::PathBuf;

/// Which providers there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Which environment variables of the controller may be secrets.
    pub environment: Option<AllowList>,
    /// A folder with one file for each secret.
    pub directory: Option<PathBuf>,
    /// The file with age identities that decrypt what is in the fleet repo.
    pub identity: Option<PathBuf>,
}

impl Sources {
    /// Opens them. Only the identity is read now; everything else is read when it is asked for.
    pub fn open(&self) -> Result<Chain, IdentityError> {
        let Self { environment, directory, identity } = self;
        let mut providers: Vec<Box<dyn Provider>> = Vec::new();
        if let Some(allowed) = environment {
            providers.push(Box::new(Environment::of_process(allowed.clone())));
        }
        if let Some(folder) = directory {
            providers.push(Box::new(Directory::new(folder)));
        }
        if let Some(path) = identity {
            providers.push(Box::new(RepoFiles::new(Identities::read(path)?)));
        }
        Ok(Chain(providers))
    }
}
