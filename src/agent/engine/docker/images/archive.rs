//! Images that came with the device, or on a stick: archives in a directory, in the layout of the OCI.
//!
//! What is wanted is found by its digest and followed from there: the manifest has that digest, and names its parts by theirs.
//! Every byte is checked on its way into the engine. An archive that holds something else, or only a part, is passed over.

use super::super::DockerEngine;
use super::Named;
use super::sizes::Manifest;
use crate::domain::digest::{Digest, hex};
use crate::ports::engine::EngineError;
use bollard::query_parameters::ImportImageOptions;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How many archives of a directory are looked into.
const MAX_ARCHIVES: usize = 64;
/// How many parts of one archive are looked at: a hundred images of a hundred layers.
const MAX_PARTS: usize = 10_000;
/// The longest manifest that is read, in bytes; as of registries.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// How much is handed to the engine at once, in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Of what tar files are made, in bytes.
const BLOCK_BYTES: usize = 512;

/// An archive that is open, and where its parts are.
struct Archive {
    file: File,
    /// Offset and size of each blob, by digest.
    blobs: BTreeMap<String, (u64, u64)>,
}

/// Parts of one image, in the order in which they are sent.
struct Parts {
    /// Digest, offset and size.
    blobs: Vec<(String, u64, u64)>,
    /// What tells the engine how they belong together.
    list: Vec<u8>,
}

impl DockerEngine {
    /// Loads an image from an archive, if one has it; `false` if none does.
    pub(super) async fn load_archive_of(&self, image: &str) -> Result<bool, EngineError> {
        let (Some(directory), Some(hex)) = (&self.images.archives, Named::parse(image).hex) else { return Ok(false) };
        let mark = self.marks().mark(&hex);
        for path in archives(directory) {
            let (archive, parts) = match open(&path, &hex, &mark) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an archive of images cannot be used");
                    continue;
                }
            };
            tracing::info!(image, path = %path.display(), "loading an image from an archive");
            match self.load(archive, parts).await {
                Ok(()) if self.present(image).await?.is_some() => return Ok(true),
                Ok(()) => tracing::warn!(image, path = %path.display(), "the engine does not have it after loading it"),
                Err(reason) => tracing::warn!(image, path = %path.display(), reason, "it could not be loaded"),
            }
        }
        Ok(false)
    }

    async fn load(&self, archive: Archive, parts: Parts) -> Result<(), String> {
        if let Some(disk) = self.disk().await.map_err(|error| error.to_string())? {
            let bytes = parts.blobs.iter().map(|(_, _, size)| *size).fold(0, u64::saturating_add);
            // What is in the archive is unpacked once more.
            disk.check(bytes.saturating_mul(2)).map_err(|error| error.to_string())?;
        }
        let stream = futures_util::stream::iter(Sending::new(archive, parts));
        let options = ImportImageOptions { quiet: true, ..Default::default() };
        let docker = self.docker().await.map_err(|error| error.to_string())?;
        let mut steps = std::pin::pin!(docker.import_image_stream(options, stream, None));
        while let Some(step) = steps.next().await {
            step.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// The archives of a directory, by name.
fn archives(directory: &Path) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::debug!(directory = %directory.display(), %error, "no archives of images");
            return Vec::new();
        }
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "tar")).collect();
    paths.sort();
    paths.truncate(MAX_ARCHIVES);
    paths
}

/// The parts of the image with this digest; `None` if the archive does not have it.
fn open(path: &Path, wanted: &str, mark: &str) -> io::Result<Option<(Archive, Parts)>> {
    let mut archive = Archive::open(path)?;
    let Some(mut manifest) = archive.manifest(wanted)? else { return Ok(None) };
    if let Some(digest) = manifest.for_this_machine().map(str::to_owned) {
        let missing = || io::Error::other(format!("it lacks {digest}"));
        manifest = archive.manifest(digest.trim_start_matches("sha256:"))?.ok_or_else(missing)?;
    }
    let config = manifest.config.ok_or_else(|| io::Error::other("it has no image for this machine"))?.digest;
    let place = |digest: &str| format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
    let layers: Vec<String> = manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
    let list = serde_json::json!([{
        "Config": place(&config),
        "RepoTags": [mark],
        "Layers": layers.iter().map(|layer| place(layer)).collect::<Vec<_>>(),
    }]);
    let mut blobs: Vec<(String, u64, u64)> = Vec::new();
    for digest in [config].into_iter().chain(layers) {
        let hex = digest.trim_start_matches("sha256:").to_owned();
        let found = archive.blobs.get(&hex).ok_or_else(|| io::Error::other(format!("it lacks {digest}")))?;
        // A layer can be there twice in one image, and needs to be sent once.
        if blobs.iter().all(|(sent, _, _)| *sent != hex) {
            blobs.push((hex, found.0, found.1));
        }
    }
    Ok(Some((archive, Parts { blobs, list: list.to_string().into_bytes() })))
}

impl Archive {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut blobs = BTreeMap::new();
        let mut entries = tar::Archive::new(&mut file);
        for entry in entries.entries_with_seek()?.take(MAX_PARTS) {
            let entry = entry?;
            let name = entry.path_bytes();
            let name = name.strip_prefix(b"./".as_slice()).unwrap_or(&name);
            let Some(hex) = name.strip_prefix(b"blobs/sha256/".as_slice()) else { continue };
            if entry.header().entry_type().is_file()
                && let Ok(hex) = std::str::from_utf8(hex)
            {
                blobs.insert(hex.to_owned(), (entry.raw_file_position(), entry.size()));
            }
        }
        Ok(Self { file, blobs })
    }

    /// The manifest or index with this digest, if it is there and really has it.
    fn manifest(&mut self, hex: &str) -> io::Result<Option<Manifest>> {
        let Some((offset, size)) = self.blobs.get(hex).copied().filter(|(_, size)| *size <= MAX_MANIFEST_BYTES) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(offset))?;
        (&mut self.file).take(size).read_to_end(&mut bytes)?;
        if Digest::of(&bytes).hex() != hex {
            return Err(io::Error::other(format!("what it calls sha256:{hex} is something else")));
        }
        Ok(Some(serde_json::from_slice(&bytes)?))
    }
}

/// The bytes of a tar file for the engine, chunk by chunk. It ends with an error where a part is not what its digest says, and
/// the engine then keeps nothing of it.
struct Sending {
    archive: Archive,
    /// Parts that are still to come, the next one last.
    blobs: Vec<(String, u64, u64)>,
    list: Option<Vec<u8>>,
    /// What is being sent.
    open: Option<Open>,
    is_over: bool,
}

struct Open {
    hex: String,
    left: u64,
    size: u64,
    hash: Sha256,
}

impl Sending {
    fn new(archive: Archive, parts: Parts) -> Self {
        let Parts { mut blobs, list } = parts;
        blobs.reverse();
        Self { archive, blobs, list: Some(list), open: None, is_over: false }
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(open) = &mut self.open {
            if open.left > 0 {
                let length = usize::try_from(open.left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
                let mut chunk = vec![0; length];
                self.archive.file.read_exact(&mut chunk)?;
                open.hash.update(&chunk);
                open.left -= length as u64;
                return Ok(Some(chunk));
            }
            let Open { hex: wanted, size, hash, .. } = self.open.take().expect("it was looked at above");
            if hex(&hash.finalize()) != wanted {
                return Err(io::Error::other(format!("what it calls sha256:{wanted} is something else")));
            }
            return Ok(Some(padding(size)));
        }
        if let Some((hex, offset, size)) = self.blobs.pop() {
            self.archive.file.seek(SeekFrom::Start(offset))?;
            let header = header(&format!("blobs/sha256/{hex}"), size)?;
            self.open = Some(Open { hex, left: size, size, hash: Sha256::new() });
            return Ok(Some(header));
        }
        if let Some(list) = self.list.take() {
            let size = list.len() as u64;
            return Ok(Some([header("manifest.json", size)?, list, padding(size)].concat()));
        }
        if self.is_over {
            return Ok(None);
        }
        self.is_over = true;
        Ok(Some(vec![0; 2 * BLOCK_BYTES]))
    }
}

impl Iterator for Sending {
    type Item = io::Result<bytes::Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chunk().transpose().map(|chunk| chunk.map(bytes::Bytes::from))
    }
}

fn header(name: &str, size: u64) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

fn padding(size: u64) -> Vec<u8> {
    let over = usize::try_from(size % BLOCK_BYTES as u64).unwrap_or(0);
    vec![0; if over == 0 { 0 } else { BLOCK_BYTES - over }]
}
