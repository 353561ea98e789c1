//! Downloaded OS images: at most one, in pieces that survive everything, whole only with the right digest.
//!
//! `<key>.part` is the beginning of an image, `<key>.json` what the server said of it, `<key>.image` a whole one. A download
//! goes on where the last one ended if the server lets it (`Range`, and `If-Range` with what it called the image before).

use crate::agent::files::{read_bounded, rename_durably, write_durably};
use crate::domain::device::os::ImageFile;
use crate::domain::digest::Digest;
use crate::domain::spec::OsSpec;
use crate::ports::os::OsError;
use crate::trust;
use reqwest::header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// The largest image, in bytes: more than any flash that a device boots from.
pub const MAX_IMAGE_BYTES: u64 = 1 << 40;
/// How long a download goes on before services get their turn; what was fetched stays.
const SLICE: Duration = Duration::from_secs(20);
/// How long a server may say nothing in the middle of an image.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a connection may take; long enough for a satellite link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How many redirections are followed: image stores send people to mirrors, and mirrors to caches.
const MAX_REDIRECTS: usize = 5;
/// After so many bytes it is looked whether there still is room: others write to the same disk.
const ROOM_STEP_BYTES: u64 = 16 << 20;
/// A link that broke after so many bytes is taken up again at once; after fewer, only with a pause.
const WORTHWHILE_BYTES: u64 = 1 << 20;
/// The longest file of what a server said, in bytes.
const MAX_SAID_BYTES: usize = 4 << 10;
/// How much is hashed before other work gets its turn, in bytes.
const HASH_BYTES: usize = 1 << 20;
/// Where distributions keep the authorities that they believe.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// The longest file of authorities, in bytes; distributions' are some hundred KiB.
const MAX_AUTHORITIES_BYTES: usize = 4 << 20;

/// Where images are kept, and how they are fetched.
#[derive(Clone, Debug)]
pub struct Images {
    directory: PathBuf,
    reserve_bytes: u64,
    ca_file: Option<PathBuf>,
}

/// What a server said of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    /// Its strong entity tag or its date, for `If-Range`.
    validator: Option<String>,
    total: Option<u64>,
}

impl Images {
    /// Images in this directory, which is made when the first one comes.
    pub fn new(directory: PathBuf, reserve_bytes: u64, ca_file: Option<PathBuf>) -> Self {
        Self { directory, reserve_bytes, ca_file }
    }

    /// What is there.
    pub fn look(&self) -> io::Result<ImageFile> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ImageFile::Absent),
            Err(error) => return Err(error),
        };
        let mut found = ImageFile::Absent;
        for entry in entries {
            let path = entry?.path();
            let Some(image) = key_of(&path) else { continue };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("image") => return Ok(ImageFile::Whole { image }),
                Some("part") => {
                    let bytes = path.metadata()?.len();
                    found = ImageFile::Partly { image, bytes, total: self.said(image).total };
                }
                Some(_) | None => {}
            }
        }
        Ok(found)
    }

    /// The file of a whole image.
    pub fn whole(&self, os: &OsSpec) -> Option<PathBuf> {
        let path = self.file(os.key(), "image");
        path.is_file().then_some(path)
    }

    /// Removes everything.
    pub fn discard(&self) -> io::Result<()> {
        self.keep_only(None)
    }

    /// Brings more of an image: all that is missing, or what comes in a while.
    pub async fn fetch(&self, os: &OsSpec) -> Result<(), OsError> {
        if self.whole(os).is_some() {
            return Ok(());
        }
        let no_address = |reason: &str| {
            let (name, version) = (os.name.clone(), os.version.clone());
            OsError::NoAddress { name, version, reason: reason.to_owned() }
        };
        let url = os.url.as_deref().ok_or_else(|| no_address("the catalog has no `url` for it"))?;
        if url.starts_with("http://") && os.digest.is_none() {
            return Err(no_address("over http it needs a `digest`, or anybody on the way could change it"));
        }
        let failed = |reason: String| {
            let (name, version) = (os.name.clone(), os.version.clone());
            OsError::Download { name, version, reason }
        };
        let by_io = |error: io::Error| failed(format!("on {}: {error}", self.directory.display()));
        std::fs::create_dir_all(&self.directory).map_err(by_io)?;
        self.keep_only(Some(os.key())).map_err(by_io)?;
        let mut part = Part::open(self, os).map_err(by_io)?;
        if part.total != Some(part.bytes) {
            let answer = part.ask(&self.client().map_err(&failed)?, url).await.map_err(&failed)?;
            self.make_sure_of_room(os, part.bytes, part.total)?;
            let end = part.receive(self, os, answer).await?;
            part.file.sync_data().map_err(by_io)?;
            match end {
                End::Whole => {}
                End::Slice => return Ok(()),
                End::Broken(reason) => return Err(failed(reason)),
            }
        }
        self.finish(os, part).await.map_err(by_io)?
    }

    /// Checks a whole image and gives it its name.
    async fn finish(&self, os: &OsSpec, part: Part) -> io::Result<Result<(), OsError>> {
        let image = os.key();
        let path = self.file(image, "part");
        if let Some(wanted) = os.digest {
            let found = digest_of(&path).await?;
            if found != wanted {
                self.discard()?;
                let (name, version) = (os.name.clone(), os.version.clone());
                let (wanted, found) = (wanted.to_string(), found.to_string());
                return Ok(Err(OsError::WrongDigest { name, version, wanted, found }));
            }
        }
        part.file.sync_all()?;
        rename_durably(&path, &self.file(image, "image"))?;
        remove(&self.file(image, "json"))?;
        Ok(Ok(()))
    }

    fn make_sure_of_room(&self, os: &OsSpec, bytes: u64, total: Option<u64>) -> Result<(), OsError> {
        let needed = total.or(os.size_bytes).unwrap_or(0).saturating_sub(bytes);
        let (name, version) = (os.name.clone(), os.version.clone());
        let free = match free_bytes(&self.directory) {
            Ok(free) => free.saturating_sub(self.reserve_bytes),
            Err(error) => {
                return Err(OsError::Download { name, version, reason: format!("the free space is unknown: {error}") });
            }
        };
        // What has no known size needs room for what comes until the next look.
        if free < needed.max(ROOM_STEP_BYTES.min(total.map_or(ROOM_STEP_BYTES, |_| needed))) {
            return Err(OsError::NoRoom { name, version, needed, free, reserve: self.reserve_bytes });
        }
        Ok(())
    }

    fn client(&self) -> Result<Client, String> {
        let path = match &self.ca_file {
            Some(path) => path.as_path(),
            None => {
                let found = AUTHORITIES.iter().map(Path::new).find(|path| path.is_file());
                found.ok_or("this device has no file of authorities: set os_ca_file")?
            }
        };
        let shown = path.display();
        let bytes = read_bounded(path, MAX_AUTHORITIES_BYTES).map_err(|error| format!("{shown}: {error}"))?;
        let bytes = bytes.ok_or_else(|| format!("{shown} is not there"))?;
        let config = trust::by_bundle(&bytes).map_err(|error| format!("{shown}: {error}"))?;
        Client::builder()
            .tls_backend_preconfigured(config)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::custom(|attempt| {
                let was_safe = attempt.previous().iter().all(|url| url.scheme() == "https");
                if attempt.previous().len() > MAX_REDIRECTS {
                    attempt.error("redirected too often")
                } else if was_safe && attempt.url().scheme() != "https" {
                    attempt.error("redirected from https to another scheme")
                } else {
                    attempt.follow()
                }
            }))
            .user_agent(concat!("bellwether-agent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| because(&error))
    }

    fn keep_only(&self, wanted: Option<Digest>) -> io::Result<()> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if key_of(&path).is_some_and(|image| Some(image) != wanted) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn said(&self, image: Digest) -> Said {
        let bytes = read_bounded(&self.file(image, "json"), MAX_SAID_BYTES).ok().flatten();
        // What cannot be read was never said: the download begins anew, and ends with the right digest all the same.
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn file(&self, image: Digest, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", image.hex()))
    }
}

/// The beginning of an image, open for more.
struct Part {
    file: File,
    bytes: u64,
    total: Option<u64>,
    said: Said,
    said_file: PathBuf,
    is_checked: bool,
    resumes: Resumes,
}

/// Whether a server goes on in the middle of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resumes {
    Yes,
    /// It did not say so: what is broken off would begin anew.
    Unknown,
}

/// How receiving ended.
enum End {
    Whole,
    Slice,
    Broken(String),
}

impl Part {
    fn open(images: &Images, os: &OsSpec) -> io::Result<Self> {
        let image = os.key();
        let path = images.file(image, "part");
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        let said = images.said(image);
        let is_checked = os.digest.is_some();
        let said_file = images.file(image, "json");
        let mut part = Self { file, bytes, total: said.total, said, said_file, is_checked, resumes: Resumes::Unknown };
        let is_hopeless = part.total.is_some_and(|total| total < bytes);
        // Without a name for what was there and a digest for what comes out, two images could be put together.
        if is_hopeless || (part.said.validator.is_none() && !is_checked) {
            part.start_over()?;
        }
        Ok(part)
    }

    fn start_over(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.bytes, self.total, self.said) = (0, None, Said::default());
        Ok(())
    }

    /// Asks for what is missing.
    async fn ask(&mut self, client: &Client, url: &str) -> Result<Response, String> {
        let mut request = client.get(url);
        if self.bytes > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.bytes));
            if let Some(validator) = &self.said.validator {
                request = request.header(IF_RANGE, validator);
            }
        }
        let answer = request.send().await.map_err(|error| because(&error.without_url()))?;
        let headers = answer.headers();
        let total = match answer.status() {
            StatusCode::OK => {
                self.start_over().map_err(|error| error.to_string())?;
                if text_of(headers, ACCEPT_RANGES.as_str()) == Some("bytes") {
                    self.resumes = Resumes::Yes;
                }
                answer.content_length()
            }
            StatusCode::PARTIAL_CONTENT => {
                self.resumes = Resumes::Yes;
                let range = text_of(headers, CONTENT_RANGE.as_str()).and_then(content_range);
                match range {
                    Some((from, total)) if from == self.bytes => total,
                    Some(_) | None => return Err("the server sent another part than it was asked for".to_owned()),
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.start_over().map_err(|error| error.to_string())?;
                let _ = write_durably(&self.said_file, b"{}");
                return Err("the server has fewer bytes than were fetched before; it begins anew".to_owned());
            }
            other => return Err(format!("the server answered {other}")),
        };
        if total.is_some_and(|total| total > MAX_IMAGE_BYTES) {
            return Err(format!("the server offers more than {MAX_IMAGE_BYTES} bytes"));
        }
        let said = Said { validator: validator(headers), total };
        if said != self.said {
            let bytes = serde_json::to_vec(&said).map_err(|error| error.to_string())?;
            write_durably(&self.said_file, &bytes).map_err(|error| error.to_string())?;
        }
        (self.said, self.total) = (said, total);
        Ok(answer)
    }

    /// Writes what comes.
    async fn receive(&mut self, images: &Images, os: &OsSpec, mut answer: Response) -> Result<End, OsError> {
        let failed = |reason: String| {
            let (name, version) = (os.name.clone(), os.version.clone());
            OsError::Download { name, version, reason }
        };
        if let (Some(total), Some(size)) = (self.total, os.size_bytes)
            && total != size
        {
            return Err(failed(format!("the server offers {total} bytes, the catalog says {size}")));
        }
        // How long a slice takes decides nothing: where it ends, the next one goes on.
        let (until, from, mut looked_at) = (Instant::now() + SLICE, self.bytes, self.bytes);
        loop {
            let chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if self.total.is_none_or(|total| total == self.bytes) => return Ok(End::Whole),
                Ok(None) => return Ok(self.broken(from, "the server stopped in the middle")),
                Err(error) => return Ok(self.broken(from, &because(&error.without_url()))),
            };
            let after = self.bytes + chunk.len() as u64;
            if after > self.total.unwrap_or(MAX_IMAGE_BYTES) {
                return Err(failed("the server sent more than it said".to_owned()));
            }
            self.file.write_all(&chunk).map_err(|error| failed(error.to_string()))?;
            self.bytes = after;
            if self.bytes - looked_at > ROOM_STEP_BYTES {
                looked_at = self.bytes;
                images.make_sure_of_room(os, self.bytes, self.total)?;
                tracing::debug!(bytes = self.bytes, total = self.total, "downloading the OS image");
            }
            if self.resumes == Resumes::Yes && Instant::now() >= until && self.total != Some(self.bytes) {
                return Ok(End::Slice);
            }
        }
    }

    fn broken(&self, from: u64, reason: &str) -> End {
        let is_kept = self.is_checked || self.said.validator.is_some();
        if is_kept && self.resumes == Resumes::Yes && self.bytes - from >= WORTHWHILE_BYTES {
            return End::Slice;
        }
        let total = self.total.map_or_else(String::new, |total| format!(" of {total}"));
        End::Broken(format!("{reason}, after {}{total} bytes", self.bytes))
    }
}

/// What can be given back as `If-Range`: a strong entity tag, or else a date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let tag = text_of(headers, ETAG.as_str()).filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| text_of(headers, LAST_MODIFIED.as_str())).map(str::to_owned).filter(|text| text.len() <= 512)
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `bytes 5-9/10`: where the part begins, and how long the whole is.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some((from.parse().ok()?, if total == "*" { None } else { Some(total.parse().ok()?) }))
}

async fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
        tokio::task::yield_now().await;
    }
}

/// The image that a file belongs to; `None` for a file that is none of ours.
fn key_of(path: &Path) -> Option<Digest> {
    let stem = path.file_name()?.to_str()?.split('.').next()?;
    format!("sha256:{stem}").parse().ok()
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(directory)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn because(error: &dyn std::error::Error) -> String {
    crate::agent::enrolling::chain(error)
}
