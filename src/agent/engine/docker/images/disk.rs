//! Room for images on the engine's disk.

use super::super::DockerEngine;
use crate::ports::engine::EngineError;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How many bytes an image takes for each byte that is downloaded: the layer as it comes, and beside it what is in it, which is
/// about twice as much for programs and libraries.
const BYTES_PER_DOWNLOADED: u64 = 3;

/// The engine's disk and what stays free on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    root: PathBuf,
    reserve_bytes: u64,
}

impl Disk {
    /// Whether so much fits beside the reserve. A disk that cannot be asked is not in the way.
    pub(super) fn check(&self, needed_bytes: u64) -> Result<(), EngineError> {
        let Some(free_bytes) = free_bytes(&self.root) else { return Ok(()) };
        if needed_bytes.saturating_add(self.reserve_bytes) <= free_bytes {
            return Ok(());
        }
        let (reserve_bytes, place) = (self.reserve_bytes, self.root.clone());
        Err(EngineError::DiskFull { needed_bytes, free_bytes, reserve_bytes, place })
    }
}

/// What an unprivileged program could still write.
fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

impl DockerEngine {
    /// The disk on which the engine keeps images; `None` if it is not one of this machine's that the agent can see.
    pub(super) async fn disk(&self) -> Result<Option<Disk>, EngineError> {
        let ask = || async { Ok(self.root_dir().await?.filter(|root| root.is_dir())) };
        let root = self.root.get_or_try_init(ask).await?;
        Ok(root.clone().map(|root| Disk { root, reserve_bytes: self.images.reserve_bytes }))
    }

    /// Makes sure that these images fit, before a byte of them is fetched: if they do not, images that nobody needs go first.
    pub(super) async fn make_room(
        &self,
        missing: &BTreeSet<String>,
        keep: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        let Some(disk) = self.disk().await? else { return Ok(()) };
        let mut download_bytes = 0_u64;
        for image in missing {
            // What cannot be known beforehand is watched while it comes.
            download_bytes = download_bytes.saturating_add(self.download_bytes(image).await.unwrap_or(0));
        }
        let needed_bytes = download_bytes.saturating_mul(BYTES_PER_DOWNLOADED);
        tracing::debug!(images = missing.len(), download_bytes, "about to be brought");
        if disk.check(needed_bytes).is_ok() {
            return Ok(());
        }
        let removed = self.tidy_now(keep).await?;
        tracing::info!(images = removed.len(), "removed what nobody needs, to make room");
        disk.check(needed_bytes)
    }
}
