//! The files of update locks, in a directory of the host.
//!
//! | file | whose lock |
//! |---|---|
//! | `device.lock` | the device's |
//! | `services/<app>/<service>/update.lock` | a service's; the folder is mounted into the service if its release asks for it |
//! | `services/<app>/<service>/handover-complete` | nobody's: the container that takes over says that it has |
//!
//! What is in them is [`crate::domain::device::locks`]' business. Apps write them, so nothing is taken for granted: no link is
//! followed, nothing that blocks is waited for, nothing long is read.

use crate::domain::device::locks::{Lock, LockText, Locks, MAX_LOCK_BYTES, MAX_LOCKS, Place};
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::time::Timestamp;
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Where locks are unless the settings say otherwise: in memory, so that a restart of the machine breaks them all.
pub const DEFAULT_DIRECTORY: &str = "/run/bellwether/locks";
/// The device's lock.
const DEVICE_FILE: &str = "device.lock";
/// A service's lock, in its folder.
const SERVICE_FILE: &str = "update.lock";
/// What a service writes beside it when it has taken over from the container before.
const HANDED_OVER_FILE: &str = "handover-complete";
/// A service takes and gives back its own lock under any user, and cannot see another's.
const FOLDER_MODE: u32 = 0o1777;

/// The directory of locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFiles {
    directory: PathBuf,
}

/// Why a lock could not be taken or given back.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error("{}", .0.describe(*.1))]
    Held(Box<Lock>, Timestamp),
    /// Nobody holds it.
    #[error("{0} is held by nobody")]
    NotHeld(Place),
    /// The file could not be written or removed.
    #[error("{path} could not be written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl LockFiles {
    /// The locks in a directory, which need not be there yet.
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The folder that is mounted into a service.
    pub fn folder(&self, app: &AppName, service: &ServiceName) -> PathBuf {
        self.directory.join("services").join(app.as_str()).join(service.as_str())
    }

    /// Makes a service's folder, so that it can be mounted.
    pub fn make_folder(&self, app: &AppName, service: &ServiceName) -> io::Result<()> {
        let folder = self.folder(app, service);
        std::fs::create_dir_all(&folder)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(FOLDER_MODE))
    }

    /// The file of a lock.
    pub fn file(&self, place: &Place) -> PathBuf {
        match place {
            Place::Device => self.directory.join(DEVICE_FILE),
            Place::Service { app, service } => self.folder(app, service).join(SERVICE_FILE),
        }
    }

    /// Every lock that is held. A directory that cannot be read is one too.
    pub fn look(&self) -> Locks {
        match self.try_look() {
            Ok(locks) => locks,
            Err(error) => {
                let reason = format!("the locks in {} cannot be read: {error}", self.directory.display());
                Locks { held: vec![Lock::unreadable(reason)], handed_over: BTreeSet::new() }
            }
        }
    }

    fn try_look(&self) -> io::Result<Locks> {
        let mut held: Vec<Lock> = self.lock(Place::Device).into_iter().collect();
        let mut handed_over = BTreeSet::new();
        let mut folders = 0_usize;
        for app in names::<AppName>(&self.directory.join("services"))? {
            for service in names::<ServiceName>(&self.directory.join("services").join(app.as_str()))? {
                folders += 1;
                if folders > MAX_LOCKS {
                    return Err(io::Error::other(format!("there are more than {MAX_LOCKS}")));
                }
                if self.folder(&app, &service).join(HANDED_OVER_FILE).symlink_metadata().is_ok() {
                    handed_over.insert((app.clone(), service.clone()));
                }
                held.extend(self.lock(Place::Service { app: app.clone(), service }));
            }
        }
        Ok(Locks { held, handed_over })
    }

    /// Takes away what an earlier container said when it took over.
    pub fn forget_handover(&self, app: &AppName, service: &ServiceName) -> io::Result<()> {
        match std::fs::remove_file(self.folder(app, service).join(HANDED_OVER_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// One lock, if it is held.
    pub fn lock(&self, place: Place) -> Option<Lock> {
        match read(&self.file(&place)) {
            Ok((bytes, since)) => Some(Lock::of_file(place, since, Ok(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Lock::of_file(place, None, Err(error.to_string()))),
        }
    }

    /// Takes a lock, unless somebody holds it.
    pub fn take(&self, place: &Place, text: &LockText, now: Timestamp) -> Result<(), LockError> {
        let path = self.file(place);
        let failed = |source| LockError::File { path: path.clone(), source };
        match place {
            Place::Device => std::fs::create_dir_all(&self.directory).map_err(failed)?,
            Place::Service { app, service } => self.make_folder(app, service).map_err(failed)?,
        }
        // The flag makes it whole in one step: of two takers one gets the file and the other an error.
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path) {
            Ok(mut file) => file.write_all(text.to_text().as_bytes()).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let lock = self.lock(place.clone()).ok_or_else(|| failed(error))?;
                Err(LockError::Held(Box::new(lock), now))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Gives a lock back. With an owner, only if it is his.
    pub fn release(&self, place: &Place, owner: Option<&str>, now: Timestamp) -> Result<(), LockError> {
        let lock = self.lock(place.clone()).ok_or_else(|| LockError::NotHeld(place.clone()))?;
        if owner.is_some_and(|owner| owner != lock.owner) {
            return Err(LockError::Held(Box::new(lock), now));
        }
        let path = self.file(place);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LockError::NotHeld(place.clone())),
            Err(source) => Err(LockError::File { path, source }),
        }
    }
}

/// The names in a folder that can be names at all; none if it is not there.
fn names<T: std::str::FromStr>(folder: &Path) -> io::Result<Vec<T>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries.take(MAX_LOCKS + 1) {
        names.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    names.sort();
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// A file's content, and when it was written.
fn read(path: &Path) -> io::Result<(Vec<u8>, Option<Timestamp>)> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let written = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let since = written.and_then(|at| i64::try_from(at.as_millis()).ok()).map(Timestamp::from_millis);
    let mut bytes = Vec::new();
    file.take(MAX_LOCK_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::device::locks::{Deed, Respect};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn files() -> (tempfile::TempDir, LockFiles) {
        let directory = tempfile::tempdir().expect("a directory");
        let files = LockFiles::at(&directory.path().join("locks"));
        (directory, files)
    }

    fn place() -> Place {
        Place::Service { app: "web".parse().expect("an app"), service: "nav".parse().expect("a service") }
    }

    fn by(owner: &str) -> LockText {
        LockText { owner: Some(owner.to_owned()), ..LockText::default() }
    }

    #[test]
    fn nothing_is_locked_where_no_directory_is() {
        assert_eq!(files().1.look(), Locks::default());
    }

    #[test]
    fn a_lock_is_taken_once_and_given_back_by_its_owner() {
        let (_directory, files) = files();
        files.take(&place(), &by("anna"), NOW).expect("it is free");
        assert!(
            matches!(files.take(&place(), &by("bert"), NOW), Err(LockError::Held(lock, _)) if lock.owner == "anna")
        );
        assert!(matches!(files.release(&place(), Some("bert"), NOW), Err(LockError::Held(..))));
        files.take(&Place::Device, &by("carla"), NOW).expect("it is another one");
        let owners: Vec<String> = files.look().held.into_iter().map(|lock| lock.owner).collect();
        assert_eq!(owners, ["carla", "anna"]);
        files.release(&place(), Some("anna"), NOW).expect("it is hers");
        assert!(matches!(files.release(&place(), None, NOW), Err(LockError::NotHeld(_))));
    }

    #[test]
    fn what_an_app_puts_there_holds_and_is_not_followed_read_or_waited_for() {
        let (directory, files) = files();
        files.make_folder(&"web".parse().expect("an app"), &"nav".parse().expect("a service")).expect("a folder");
        let path = files.file(&place());
        let secret = directory.path().join("secret");
        std::fs::write(&secret, r#"{"owner": "root"}"#).expect("a file");
        std::os::unix::fs::symlink(&secret, &path).expect("a link");
        let held = |files: &LockFiles| files.look().held.pop().expect("it is held");
        assert_eq!((held(&files).owner.as_str(), held(&files).scope.len()), ("nav", 3));
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("a folder in its place");
        assert_eq!(held(&files).trouble.as_deref(), Some("it is not a plain file"));
        std::fs::remove_dir(&path).expect("removed");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o644.into(), 0).expect("a pipe");
        assert_eq!(held(&files).trouble.as_deref(), Some("it is not a plain file"));
    }

    #[test]
    fn a_directory_that_cannot_be_read_locks_the_device() {
        let (directory, files) = files();
        std::fs::write(directory.path().join("locks"), "").expect("a file in its place");
        let locks = files.look();
        assert!(locks.in_the_way(Deed::Reboot, Respect::Locks).is_some(), "{locks:?}");
    }
}
