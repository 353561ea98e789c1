//! Lists of devices from outside the commits, kept durably: the newest that each source gave, and every one that counts somewhere.
//!
//! A list is a file named by its SHA-256. It is written and durable before anything can name it, and taken away once nothing does.
//! What a source gave last goes on being its newest list whatever happens to the source: unavailable, unsigned or forbidden never
//! means "no devices".

use crate::domain::digest::Digest;
use crate::domain::manifest::inventory::MAX_LIST_BYTES;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each source gave last.
const INDEX: &str = "sources.json";
/// The longest index, in bytes: at most 64 sources with a few texts each.
const MAX_INDEX_BYTES: u64 = 1 << 20;

/// How one source of lists was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStatus {
    /// SHA-256 of the list that it gave last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Digest>,
    /// When it gave that list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it last answered as it should. Not durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact: Option<Timestamp>,
    /// Why its answer does not count, or why there is none. Not durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What is durable of a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    newest: Digest,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// One source.
#[derive(Clone, Debug, Default)]
struct Source {
    known: Option<Known>,
    last_contact: Option<Timestamp>,
    trouble: Option<String>,
}

/// What is the newest list of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newest {
    /// This one.
    List(Digest),
    /// It never gave one that counts, and why.
    Nothing(String),
    /// The controller's configuration does not know the source.
    NotAllowed,
}

/// Lists by their SHA-256, and the sources that they come from.
#[derive(Debug)]
pub struct Lists {
    folder: PathBuf,
    sources: Mutex<BTreeMap<String, Source>>,
}

impl Lists {
    /// Opens the folder; `urls` are the sources that the configuration knows.
    pub fn open(folder: &Path, urls: impl IntoIterator<Item = String>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        // A broken index is no reason not to start: the sources are asked again, and lists that count are found by their names.
        let known: BTreeMap<String, Known> = read_bounded(&folder.join(INDEX), MAX_INDEX_BYTES)?
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let exists = |known: &&Known| folder.join(file_name(&known.newest)).exists();
        let source = |url: String| {
            let known = known.get(&url).filter(exists).cloned();
            (url, Source { known, ..Source::default() })
        };
        let sources = urls.into_iter().map(source).collect();
        Ok(Self { folder: folder.to_owned(), sources: Mutex::new(sources) })
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a list durable under its digest.
    pub fn keep(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.folder.join(file_name(&digest));
        if !path.exists() {
            write_durably(&self.folder, &path, bytes)?;
        }
        Ok(digest)
    }

    /// A list by its digest; `None` if it is not here, or is not what it was.
    pub fn load(&self, digest: &Digest) -> io::Result<Option<Arc<[u8]>>> {
        let bytes = read_bounded(&self.folder.join(file_name(digest)), MAX_LIST_BYTES as u64)?;
        Ok(bytes.filter(|bytes| Digest::of(bytes) == *digest).map(Arc::from))
    }

    /// The newest list of a source.
    pub fn newest(&self, url: &str) -> Newest {
        match self.sources().get(url) {
            None => Newest::NotAllowed,
            Some(Source { known: Some(known), .. }) => Newest::List(known.newest),
            Some(Source { trouble, .. }) => {
                Newest::Nothing(trouble.clone().unwrap_or_else(|| "it was not asked yet".to_owned()))
            }
        }
    }

    /// By what a source can tell whether its newest list is still the newest.
    pub fn etag(&self, url: &str) -> Option<String> {
        self.sources().get(url)?.known.as_ref()?.etag.clone()
    }

    /// A source gave a list. Answers whether it is another one than before.
    pub fn gave(&self, url: &str, bytes: &[u8], etag: Option<String>, now: Timestamp) -> io::Result<bool> {
        let newest = self.keep(bytes)?;
        let mut sources = self.sources();
        let source = sources.entry(url.to_owned()).or_default();
        let other = source.known.as_ref().is_none_or(|known| known.newest != newest);
        let since = source.known.as_ref().filter(|_| !other).map_or(now, |known| known.since);
        let changed = other || source.known.as_ref().is_some_and(|known| known.etag != etag);
        *source = Source { known: Some(Known { newest, since, etag }), last_contact: Some(now), trouble: None };
        if changed {
            self.write_index(&sources)?;
        }
        Ok(other)
    }

    /// A source says that its newest list is still the newest.
    pub fn confirmed(&self, url: &str, now: Timestamp) {
        if let Some(source) = self.sources().get_mut(url) {
            source.last_contact = Some(now);
            source.trouble = None;
        }
    }

    /// Why a source's answer does not count. Answers whether that is news.
    pub fn failed(&self, url: &str, reason: &str) -> bool {
        let mut sources = self.sources();
        let Some(source) = sources.get_mut(url) else { return false };
        let news = source.trouble.as_deref() != Some(reason);
        source.trouble = Some(reason.to_owned());
        news
    }

    /// How the sources were found.
    pub fn status(&self) -> BTreeMap<String, ListStatus> {
        let status = |(url, source): (&String, &Source)| {
            let Source { known, last_contact, trouble } = source.clone();
            let (newest, since) = known.map(|known| (known.newest, known.since)).unzip();
            (url.clone(), ListStatus { newest, since, last_contact, trouble })
        };
        self.sources().iter().map(status).collect()
    }

    /// Takes away lists that nothing names: not `in_use`, and no source's newest.
    pub fn sweep(&self, in_use: &BTreeSet<Digest>) {
        let sources = self.sources();
        let newest = sources.values().filter_map(|source| Some(source.known.as_ref()?.newest));
        let kept: BTreeSet<String> = newest.chain(in_use.iter().copied()).map(|digest| file_name(&digest)).collect();
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != INDEX && !kept.contains(&name) {
                // Whatever stays is taken away the next time.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn write_index(&self, sources: &BTreeMap<String, Source>) -> io::Result<()> {
        let known: BTreeMap<&String, &Known> =
            sources.iter().filter_map(|(url, source)| Some((url, source.known.as_ref()?))).collect();
        let text = serde_json::to_vec_pretty(&known).map_err(io::Error::other)?;
        write_durably(&self.folder, &self.folder.join(INDEX), &text)
    }
}

fn file_name(digest: &Digest) -> String {
    format!("{}.json", digest.hex())
}

fn read_bounded(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// Writes beside, then renames, so that a name never stands for half a file.
fn write_durably(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://cmdb.example/fleet.json";
    const NOW: Timestamp = Timestamp::from_millis(0);

    #[test]
    fn the_newest_list_of_a_source_stays_whatever_happens_to_the_source() {
        let folder = tempfile::tempdir().unwrap();
        let lists = Lists::open(folder.path(), [URL.to_owned()]).unwrap();
        assert_eq!(lists.newest(URL), Newest::Nothing("it was not asked yet".to_owned()));
        assert!(lists.failed(URL, "no answer"));
        assert!(!lists.failed(URL, "no answer"), "the same is told once");
        assert_eq!(lists.newest(URL), Newest::Nothing("no answer".to_owned()));
        assert!(lists.gave(URL, b"one", Some("\"1\"".to_owned()), NOW).unwrap());
        assert!(!lists.gave(URL, b"one", Some("\"1\"".to_owned()), NOW.plus_secs(5)).unwrap());
        lists.failed(URL, "no answer");
        assert_eq!(lists.newest(URL), Newest::List(Digest::of(b"one")));
        assert_eq!(lists.newest("https://other.example/"), Newest::NotAllowed);
        drop(lists);
        let lists = Lists::open(folder.path(), [URL.to_owned()]).unwrap();
        assert_eq!(lists.newest(URL), Newest::List(Digest::of(b"one")));
        assert_eq!(lists.etag(URL).as_deref(), Some("\"1\""));
        assert_eq!(lists.load(&Digest::of(b"one")).unwrap().as_deref(), Some(b"one".as_slice()));
    }

    #[test]
    fn what_nothing_names_is_taken_away_and_what_is_damaged_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let lists = Lists::open(folder.path(), [URL.to_owned()]).unwrap();
        lists.gave(URL, b"newest", None, NOW).unwrap();
        let (used, unused) = (lists.keep(b"used").unwrap(), lists.keep(b"unused").unwrap());
        lists.sweep(&BTreeSet::from([used]));
        let there = |digest: &Digest| lists.load(digest).unwrap().is_some();
        assert_eq!((there(&used), there(&unused), there(&Digest::of(b"newest"))), (true, false, true));
        fs::write(folder.path().join(file_name(&used)), b"other").unwrap();
        assert!(!there(&used));
    }
}
