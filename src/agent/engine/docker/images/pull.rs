//! Fetching one image: from a mirror, or from its registry, with progress, and given up when nothing comes or the disk fills.

use super::super::{DockerEngine, split_reference};
use super::Named;
use super::disk::Disk;
use crate::domain::device::progress::Progress;
use crate::logins::{Credentials, Login};
use crate::ports::engine::EngineError;
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;

/// How many layers of all images are followed. An image has at most 127.
const MAX_LAYERS: usize = 4096;

/// The layers that are coming, of all images together.
pub(super) struct Tally<'a> {
    images: usize,
    tell: &'a (dyn Fn(Progress) + Send + Sync),
    /// Bytes that have come and bytes in all, by image and layer.
    layers: Mutex<BTreeMap<(String, String), (u64, u64)>>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(images: usize, tell: &'a (dyn Fn(Progress) + Send + Sync)) -> Self {
        Self { images, tell, layers: Mutex::default() }
    }

    /// Takes one message of the engine's. Only downloading is counted: what is unpacked has come.
    fn add(&self, image: &str, step: &CreateImageInfo) {
        let Some(layer) = &step.id else { return };
        let key = (image.to_owned(), layer.clone());
        let mut layers = self.layers.lock().expect("nobody panics with the lock");
        match (step.status.as_deref(), &step.progress_detail) {
            (Some("Downloading"), Some(detail)) => {
                let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
                if layers.len() < MAX_LAYERS {
                    layers.insert(key, (bytes(detail.current), bytes(detail.total)));
                }
            }
            (Some("Download complete"), _) => {
                if let Some((done, total)) = layers.get_mut(&key) {
                    *done = *total;
                }
            }
            _ => return,
        }
        let (done_bytes, total_bytes) =
            layers.values().fold((0, 0), |(done, all), (more, total)| (done + more, all + total));
        drop(layers);
        (self.tell)(Progress { images: self.images, done_bytes, total_bytes });
    }
}

/// Why one source did not give an image.
enum Refusal {
    /// Another source may.
    Source(String),
    /// None can.
    Final(EngineError),
}

/// Whether a registry answered that it has no such image. Engines hand on its words and little else; a registry that hides what
/// one may not see says something about access instead, which is no such answer.
fn is_unknown_to_registry(reason: &str) -> bool {
    // The codes of the OCI distribution specification, as engines print them.
    let codes = ["manifest unknown", "MANIFEST_UNKNOWN", "name unknown", "NAME_UNKNOWN"];
    // What containerd makes of them.
    codes.iter().any(|words| reason.contains(words)) || reason.ends_with(": not found")
}

impl DockerEngine {
    /// Fetches an image from its registry's mirrors, in their order, and then from the registry itself.
    pub(super) async fn pull_from_somewhere(&self, image: &str, tally: &Tally<'_>) -> Result<(), EngineError> {
        let failed = |reason: String| EngineError::Pull { image: image.to_owned(), reason };
        let credentials = self.credentials().map_err(failed)?;
        let mut reasons = Vec::new();
        let mut is_unknown = false;
        for source in self.sources(image) {
            match self.pull_from(image, &source, &credentials, tally).await {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Source(reason)) if source == image => {
                    is_unknown = is_unknown_to_registry(&reason);
                    reasons.push(reason);
                }
                Err(Refusal::Source(reason)) => {
                    reasons.push(format!("mirror {}: {reason}", Named::parse(&source).registry))
                }
            }
        }
        let reason = reasons.join("; ");
        if is_unknown {
            return Err(EngineError::NoSuchImage { image: image.to_owned(), reason });
        }
        Err(failed(reason))
    }

    /// Where an image may come from, as it is named there: its registry's mirrors in their order, and the registry itself.
    pub(super) fn sources(&self, image: &str) -> Vec<String> {
        let named = Named::parse(image);
        let mirrors = self.images.mirrors.get(&named.registry).into_iter().flatten();
        mirrors.filter_map(|mirror| named.at(mirror)).chain([image.to_owned()]).collect()
    }

    async fn pull_from(
        &self,
        image: &str,
        source: &str,
        credentials: &Credentials,
        tally: &Tally<'_>,
    ) -> Result<(), Refusal> {
        let (name, tag) = split_reference(source);
        let options = CreateImageOptionsBuilder::default().from_image(name);
        let options = match tag {
            Some(tag) => options.tag(tag),
            None => options,
        };
        let named = Named::parse(source);
        let login = login(credentials, &named).map(|login| for_engine(login, &named));
        let docker = self.docker().await.map_err(Refusal::Final)?;
        let disk: Option<Disk> = self.disk().await.map_err(Refusal::Final)?;
        let mut steps = std::pin::pin!(docker.create_image(Some(options.build()), None, login));
        let limit = self.images.stall_limit;
        loop {
            let step = match tokio::time::timeout(limit, steps.next()).await {
                Ok(Some(Ok(step))) => step,
                Ok(Some(Err(error))) => return Err(Refusal::Source(error.to_string())),
                Ok(None) => break,
                Err(_) => return Err(Refusal::Source(format!("nothing came for {} seconds", limit.as_secs()))),
            };
            tracing::trace!(image, layer = step.id, status = step.status, "pulling");
            tally.add(image, &step);
            if let Some(disk) = &disk {
                // Whatever was known beforehand: others write to the disk too.
                disk.check(0).map_err(Refusal::Final)?;
            }
        }
        match self.image(source).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Refusal::Source("the engine does not have it after pulling it".to_owned())),
            Err(error) => return Err(Refusal::Final(error)),
        }
        match self.mark(image, source).await {
            Err(error) if source != image => Err(Refusal::Final(error)),
            Err(error) => {
                // It is there all the same; it only will never go by itself.
                tracing::warn!(image, %error, "could not be marked as brought by Bellwether");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Who we are at registries. A file that others may read is not used: whoever put it there has to know.
    pub(super) fn credentials(&self) -> Result<Credentials, String> {
        let Some(path) = &self.images.credentials else { return Ok(Credentials::default()) };
        check_mode(path)?;
        let credentials = Credentials::read(path).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            format!("{error}{cause}")
        })?;
        if let Some(helper) = credentials.helpers().next() {
            tracing::warn!(helper, "the logins that a credential helper keeps are not asked for on a device");
        }
        Ok(credentials)
    }
}

fn check_mode(path: &Path) -> Result<(), String> {
    let found = std::fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    match found.permissions().mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(format!("{} has mode {mode:03o} and others may read it: chmod 600 it", path.display())),
    }
}

/// The login for an image.
pub(super) fn login<'a>(credentials: &'a Credentials, named: &Named) -> Option<&'a Login> {
    // `docker login` writes Docker Hub down under an older name.
    let registry = if named.registry == "docker.io" { "index.docker.io" } else { &named.registry };
    credentials.login(registry, &named.repository)
}

/// The same as the engine takes it.
fn for_engine(login: &Login, named: &Named) -> DockerCredentials {
    let serveraddress = Some(named.registry.clone());
    match login.clone() {
        Login::Password { user, password } => {
            DockerCredentials { username: Some(user), password: Some(password), serveraddress, ..Default::default() }
        }
        Login::Identity { token } => {
            DockerCredentials { identitytoken: Some(token), serveraddress, ..Default::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn a_file_of_credentials_that_others_may_read_is_not_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.json");
        std::fs::write(&path, "{}").expect("written");
        let check = |mode: u32| {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
            check_mode(&path).map_err(|reason| reason.replace(&path.display().to_string(), "FILE"))
        };
        assert_eq!(check(0o600), Ok(()));
        assert_eq!(check(0o400), Ok(()));
        let refused = |mode: &str| Err(format!("FILE has mode {mode} and others may read it: chmod 600 it"));
        assert_eq!(check(0o640), refused("640"));
        assert_eq!(check(0o604), refused("604"));
        std::fs::remove_file(&path).expect("removed");
        assert!(check_mode(&path).is_err_and(|reason| reason.starts_with("cannot read")), "it is not there");
    }

    #[test]
    fn bytes_of_all_layers_are_added_up() {
        let told = Mutex::new(Vec::new());
        let tell = |progress: Progress| told.lock().expect("not poisoned").push(progress.to_string());
        let tally = Tally::new(2, &tell);
        let step = |layer: &str, status: &str, current: i64, total: i64| CreateImageInfo {
            id: Some(layer.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(bollard::models::ProgressDetail { current: Some(current), total: Some(total) }),
            ..Default::default()
        };
        tally.add("a", &step("1", "Pulling fs layer", 0, 0));
        tally.add("a", &step("1", "Downloading", 500, 1000));
        tally.add("b", &step("1", "Downloading", 1000, 4000));
        tally.add("a", &step("2", "Already exists", 0, 0));
        tally.add("a", &step("1", "Download complete", 0, 0));
        tally.add("a", &step("1", "Extracting", 10, 1000));
        assert_eq!(
            told.into_inner().expect("not poisoned"),
            ["500 B of 1.0 kB of 2 images", "1.5 kB of 5.0 kB of 2 images", "2.0 kB of 5.0 kB of 2 images"]
        );
    }
}
