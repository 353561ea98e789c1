//! Core dumps of the device: finds them, and sends the one that a failure names.

use super::link::{Link, LinkError};
use crate::domain::device::dump::{CoreDump, DumpName, MAX_DUMPS};
use crate::domain::secret::SecretValues;
use crate::domain::time::Timestamp;
use rustix::fs::{Mode, OFlags};
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// How much of a dump is sent in one request, in bytes: little enough for a small device to hold, and for a thin link to lose.
const PART_BYTES: usize = 256 << 10;
/// How many files of the folder are looked at; in one with more the newest may be missed.
const MAX_FILES: usize = 4096;
/// How often sending is tried again after the link failed, and how long is waited before each time. A dump is of use for days,
/// and nothing waits for it.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1800),
    Duration::from_secs(7200),
    Duration::from_secs(7200),
];

/// Where dumps are.
#[derive(Clone, Debug)]
pub(super) struct DumpFolder(PathBuf);

impl DumpFolder {
    pub(super) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The newest dumps, at most [`MAX_DUMPS`]. A folder that cannot be read has none: a failure is told without one as well.
    pub(super) fn look(&self, values: &SecretValues) -> Vec<CoreDump> {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return Vec::new() };
        let mut found: Vec<CoreDump> = entries
            .take(MAX_FILES)
            .filter_map(|entry| {
                let entry = entry.ok()?;
                // A link would lead out of the folder, and it is not followed.
                let about = entry.metadata().ok().filter(Metadata::is_file)?;
                let name = entry.file_name().into_string().ok()?;
                let name =
                    DumpName::try_from(name).ok().filter(|name| values.conceal(name.as_str()) == name.as_str())?;
                Some(CoreDump { name, bytes: about.len(), at: written(&about)? })
            })
            .collect();
        found.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| one.name.cmp(&other.name)));
        found.truncate(MAX_DUMPS);
        found
    }

    /// Sends a dump; goes on where the controller's part of it ends. Says in the log what came of it.
    pub(super) async fn send(self, link: Link, dump: CoreDump) {
        let name = dump.name.as_str().to_owned();
        for pause in [Duration::ZERO].into_iter().chain(PAUSES) {
            // A link that failed is given time; nothing is decided by how much.
            tokio::time::sleep(pause).await;
            match self.try_send(&link, &dump).await {
                Ok(()) => return tracing::info!(name, bytes = dump.bytes, "the controller has the core dump"),
                Err(SendError::Link(error)) if !error.is_final() => {
                    tracing::info!(name, %error, "the core dump is sent again later");
                }
                Err(error) => return tracing::warn!(name, %error, "the core dump is not sent"),
            }
        }
        tracing::warn!(name, "the core dump is not sent: the link failed too often");
    }

    async fn try_send(&self, link: &Link, dump: &CoreDump) -> Result<(), SendError> {
        // Nothing of it at first: the controller may have a part, or all.
        let mut have = link.send_dump(&dump.name, 0, Vec::new()).await?;
        while have < dump.bytes {
            let part = self.part(dump, have).map_err(SendError::File)?;
            let now = link.send_dump(&dump.name, have, part).await?;
            if now <= have {
                return Err(SendError::Stuck);
            }
            have = now;
        }
        Ok(())
    }

    fn part(&self, dump: &CoreDump, from: u64) -> io::Result<Vec<u8>> {
        // Neither a link nor a pipe that somebody put in its place is followed or waited for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(self.0.join(dump.name.as_str()), flags, Mode::empty())?);
        let about = file.metadata()?;
        if !about.is_file() || about.len() != dump.bytes || written(&about) != Some(dump.at) {
            return Err(io::Error::other("it is another file by now"));
        }
        file.seek(SeekFrom::Start(from))?;
        let mut part = Vec::with_capacity(PART_BYTES);
        file.take(PART_BYTES as u64).read_to_end(&mut part)?;
        Ok(part)
    }
}

/// When a file was written, in whole milliseconds.
fn written(about: &Metadata) -> Option<Timestamp> {
    let since = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Timestamp::from_millis)
}

/// Why a dump was not sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("it cannot be read: {0}")]
    File(#[source] io::Error),
    #[error("the controller takes no more of it")]
    Stuck,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_files_are_found_and_links_and_secrets_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, secs: u64| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).expect("write a file");
            let at = UNIX_EPOCH + Duration::from_secs(secs);
            File::options().write(true).open(&path).and_then(|file| file.set_modified(at)).expect("set its time");
        };
        for number in 0..20 {
            write(&format!("core.{number}"), 1000 + number);
        }
        write("core.hunter2", 9000);
        write(".hidden", 9000);
        std::fs::create_dir(folder.path().join("folder")).expect("make a folder");
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).expect("make a link");

        let reference = "secret:PIN@00000000000000aa".parse().expect("a reference");
        let values = SecretValues([(reference, "hunter2".to_owned())].into());
        let found = DumpFolder::at(folder.path()).look(&values);
        assert_eq!(found.len(), MAX_DUMPS);
        let shown: Vec<String> = found.iter().map(|dump| format!("{} {}", dump.name.as_str(), dump.bytes)).collect();
        assert_eq!(shown[..2], ["core.19 7", "core.18 7"]);
        assert_eq!(found[0].at, Timestamp::from_millis(1_019_000));
        assert_eq!(DumpFolder::at(&folder.path().join("none")).look(&values), []);
    }

    #[test]
    fn parts_are_read_of_the_file_that_was_named_and_of_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("core.app");
        std::fs::write(&path, "abcdef").expect("write a dump");
        let dumps = DumpFolder::at(folder.path());
        let found = dumps.look(&SecretValues::default());
        let [dump] = &found[..] else { panic!("one dump: {found:?}") };
        assert_eq!(dumps.part(dump, 2).expect("read a part"), b"cdef");
        std::fs::rename(&path, folder.path().join("kept")).expect("move it away");
        std::os::unix::fs::symlink(folder.path().join("kept"), &path).expect("put a link in its place");
        assert!(dumps.part(dump, 0).is_err(), "a link is not followed");
        std::fs::remove_file(&path).expect("remove the link");
        std::fs::write(&path, "abcdefg").expect("write another file");
        assert!(dumps.part(dump, 0).is_err(), "another file is not sent");
    }
}
