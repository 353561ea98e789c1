//! Images: from where they come, how those that Bellwether brought are told from others, and when they go.
//!
//! An image that is pinned by digest and was brought by this agent gets one more tag, [`Marks`]: the engine itself then knows what
//! belongs to whom, a mirror's or an archive's image is found under the digest that was wanted, and nobody's clearing up of images
//! without tags takes it away. Images that were there already, and images that are named by a tag, belong to others and never go.

mod archive;
mod disk;
mod pull;
mod reference;
mod sizes;

use super::asking::ImageSummary;
use super::names::Owner;
use super::{DockerEngine, read, told};
use crate::domain::device::canonical::ImageDefaults;
use crate::domain::device::progress::Progress;
use crate::domain::digest::Digest;
use crate::ports::engine::{Batch, EngineError};
use bollard::errors::Error;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptionsBuilder};
use futures_util::StreamExt as _;
use pull::Tally;
pub(super) use reference::Named;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// How many images are brought at the same time unless the settings say otherwise. An engine fetches three layers of each at once,
/// so two already fill a thin link, and more only make each of them later.
const PARALLEL_PULLS: usize = 2;
/// How many bytes stay free on the engine's disk unless the settings say otherwise: the ledger, logs and the engine's own
/// state have to be written whatever is downloaded.
const RESERVE_BYTES: u64 = 128_000_000;
/// How long a pull may go without any news, unless the settings say otherwise. Engines tell several times a second while bytes
/// come, and when they wait to try again; their own connections never time out.
const STALL_LIMIT: Duration = Duration::from_secs(300);

/// How images are brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSettings {
    /// The file with logins, as `docker login` writes it. It is read at every pull.
    pub credentials: Option<PathBuf>,
    /// Where images of a registry are looked for before the registry itself, by the registry's name.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// How many images are brought at the same time, at least 1.
    pub parallel_pulls: usize,
    /// The directory with archives of images.
    pub archives: Option<PathBuf>,
    /// How many bytes stay free on the engine's disk.
    pub reserve_bytes: u64,
    /// How long a pull may go without any news.
    pub stall_limit: Duration,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            credentials: None,
            mirrors: BTreeMap::new(),
            parallel_pulls: PARALLEL_PULLS,
            archives: None,
            reserve_bytes: RESERVE_BYTES,
            stall_limit: STALL_LIMIT,
        }
    }
}

/// The tags of images that one device brought. No registry can have them: the name can never be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    repository: String,
}

/// How all tags of this kind begin, of whichever device.
const MARK_HOST: &str = "bellwether.invalid/";

impl Marks {
    pub(super) fn of(owner: &Owner) -> Self {
        let parts = [owner.fleet.as_str(), owner.device.as_str()].map(str::as_bytes);
        Self { repository: format!("{MARK_HOST}{}", &Digest::of_parts(parts).hex()[..16]) }
    }

    fn mark(&self, hex: &str) -> String {
        format!("{}:{hex}", self.repository)
    }

    /// The digest, if this is a tag of ours.
    fn hex<'a>(&self, tag: &'a str) -> Option<&'a str> {
        tag.strip_prefix(self.repository.as_str())?.strip_prefix(':')
    }
}

/// An image in the engine, as it can be named there.
pub(super) struct Present {
    pub(super) name: String,
    pub(super) defaults: ImageDefaults,
}

impl DockerEngine {
    /// The image that a reference of a spec means, under its own name or ours.
    pub(super) async fn present(&self, reference: &str) -> Result<Option<Present>, EngineError> {
        if let Some(defaults) = self.image(reference).await? {
            return Ok(Some(Present { name: reference.to_owned(), defaults }));
        }
        let Some(hex) = Named::parse(reference).hex else { return Ok(None) };
        let name = self.marks().mark(&hex);
        Ok(self.image(&name).await?.map(|defaults| Present { name, defaults }))
    }

    fn marks(&self) -> Marks {
        Marks::of(&self.owner)
    }

    /// Brings an image, and beside it those that will be wanted next. It is an error if one of them cannot be brought.
    pub(super) async fn bring_now(
        &self,
        batch: &Batch,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let Batch { image, next, keep } = batch;
        let mut missing = BTreeSet::new();
        for image in [image].into_iter().chain(next) {
            if self.present(image).await?.is_none() && !self.load_archive_of(image).await? {
                missing.insert(image.clone());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let keep = keep.iter().chain(&missing).cloned().collect();
        self.make_room(&missing, &keep).await?;
        let tally = Tally::new(missing.len(), tell);
        let pull = |image: &String| {
            let (image, tally) = (image.clone(), &tally);
            async move { self.pull_from_somewhere(&image, tally).await }
        };
        let pulls: Vec<_> = missing.iter().map(pull).collect();
        let ended = futures_util::stream::iter(pulls).buffer_unordered(self.images.parallel_pulls.max(1));
        let ended: Vec<Result<(), EngineError>> = ended.collect().await;
        ended.into_iter().collect()
    }

    /// Notes that an image is one that this agent brought. `source` is its name in the engine.
    pub(super) async fn mark(&self, image: &str, source: &str) -> Result<(), EngineError> {
        let Some(hex) = Named::parse(image).hex else { return Ok(()) };
        let marks = self.marks();
        let options = TagImageOptionsBuilder::default().repo(&marks.repository).tag(&hex).build();
        self.docker().await?.tag_image(source, Some(options)).await.map_err(|error| told("tag", source, error))
    }

    /// Removes the images that this agent brought and nobody needs, but for these; returns their names.
    ///
    /// An image that any container has, running or not, or that has a tag of somebody else, stays.
    pub(super) async fn tidy_now(&self, keep: &BTreeSet<String>) -> Result<Vec<String>, EngineError> {
        let kept: BTreeSet<String> = keep.iter().filter_map(|image| Named::parse(image).hex).collect();
        let docker = self.docker().await?;
        // Digests come unasked; a Podman that is asked for them answers nothing at all.
        let images = self.list_images().await?;
        let marks = self.marks();
        let ours: Vec<Ours> = images.iter().filter_map(|image| self.ours(image, &marks)).collect();
        let mut removed = Vec::new();
        if ours.iter().all(|image| image.hexes.iter().any(|hex| kept.contains(hex))) {
            return Ok(removed);
        }
        let containers = self.list_containers(&[]).await?;
        let used: BTreeSet<String> = containers.into_iter().filter_map(|container| container.image_id).collect();
        for Ours { id, hexes, references } in ours {
            if used.contains(&id) || hexes.iter().any(|hex| kept.contains(hex)) {
                continue;
            }
            for reference in &references {
                let answer = docker.remove_image(reference, None::<RemoveImageOptions>, None).await;
                match answer.map(drop) {
                    Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
                    Err(error) => return Err(told("remove", reference, error)),
                }
            }
            removed.extend(references.into_iter().next());
        }
        Ok(removed)
    }

    /// Removes one image to make room, unless it is pinned by digest and somebody else brought it.
    pub(super) async fn remove_image_now(&self, image: &str) -> Result<(), EngineError> {
        let mut names = self.sources(image);
        if let Some(hex) = Named::parse(image).hex {
            let mark = self.marks().mark(&hex);
            if self.image(&mark).await?.is_none() {
                return Ok(());
            }
            // The mark last: until it is gone, the image is known to be ours.
            names.push(mark);
        }
        for name in names {
            match self.docker().await?.remove_image(&name, None::<RemoveImageOptions>, None).await.map(drop) {
                // 409: something else uses it. It stays, and nobody is the worse for it.
                Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
                Err(error) => return Err(told("remove", &name, error)),
            }
        }
        Ok(())
    }

    /// An image that this agent brought and that nobody else names.
    fn ours(&self, image: &ImageSummary, marks: &Marks) -> Option<Ours> {
        // Podman lists digests among the tags as well.
        let tags = || image.repo_tags.iter().flatten().filter(|tag| !tag.contains('@'));
        let hexes: BTreeSet<String> = tags().filter_map(|tag| marks.hex(tag)).map(str::to_owned).collect();
        if hexes.is_empty() || tags().any(|tag| marks.hex(tag).is_none()) {
            return None;
        }
        let named: Vec<(&String, Named)> =
            image.repo_digests.iter().flatten().map(|reference| (reference, Named::parse(reference))).collect();
        let is_mirror = |named: &Named| self.images.mirrors.values().flatten().any(|mirror| named.is_below(mirror));
        let origins: BTreeSet<(&String, &String)> = named
            .iter()
            .filter(|(_, named)| !is_mirror(named) && named.registry != MARK_HOST.trim_end_matches('/'))
            .map(|(_, named)| (&named.registry, &named.repository))
            .collect();
        // Two places, and only one can be ours; and a digest that was never asked for is somebody else's.
        let is_known = |named: &Named| named.hex.as_ref().is_some_and(|hex| hexes.contains(hex));
        if origins.len() > 1 || !named.iter().all(|(_, named)| is_known(named)) {
            return None;
        }
        // The marks last: until they are gone, the image is known to be ours.
        let digests = image.repo_digests.iter().flatten().filter(|digest| !digest.starts_with(MARK_HOST));
        let references = digests.chain(tags()).cloned().collect();
        Some(Ours { id: image.id.clone(), hexes, references })
    }

    /// The engine's id of an image and what it supplies.
    pub(super) async fn image(&self, reference: &str) -> Result<Option<ImageDefaults>, EngineError> {
        Ok(self.inspect_image(reference).await?.map(|image| read::image_defaults(image.config)))
    }
}

/// An image that this agent brought and that nobody else names.
struct Ours {
    id: String,
    hexes: BTreeSet<String>,
    references: Vec<String>,
}
