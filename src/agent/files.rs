//! Files that survive a crash, and the directory that belongs to one agent.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Only the owner may read or write.
pub(crate) const PRIVATE: u32 = 0o600;

/// Writes a file so that a crash leaves the old content or the new one, never a part, and the new one once this returned.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, Sync::Durable)
}

/// Writes a file so that a reader sees the old content or the new one. A power cut may lose the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, Sync::No)
}

/// Renames a file so that it has the new name for good once this returned; does nothing if it is not there.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes a directory, and those above it, so that they are there for good once this returned: whatever is kept in a directory
/// is lost with its name.
fn create_durably(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.exists() {
        create_durably(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    File::open(parent)?.sync_all()
}

/// Whether a write waits until it would survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Durable,
    No,
}

fn replace(path: &Path, bytes: &[u8], sync: Sync) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // One fixed name: what a crash leaves behind goes with the next write.
    name.push(".new");
    let temporary = directory.join(name);
    // Made anew, or it would keep the mode of what was left behind.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&temporary)?;
    file.write_all(bytes)?;
    if sync == Sync::Durable {
        file.sync_all()?;
    }
    drop(file);
    std::fs::rename(&temporary, path)?;
    match sync {
        Sync::Durable => File::open(directory)?.sync_all(),
        Sync::No => Ok(()),
    }
}

/// Reads a file of at most `longest` bytes; `None` if it is not there.
pub(crate) fn read_bounded(path: &Path, longest: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(longest as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > longest {
        return Err(io::Error::other(format!("longer than {longest} bytes")));
    }
    Ok(Some(bytes))
}

/// The directory of one agent, locked as long as this lives.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirectoryError {
    /// Another agent uses it.
    #[error("another agent uses the state directory {0}")]
    InUse(PathBuf),
    /// The file system refused.
    #[error("could not open the state directory {path}")]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
}

impl StateDirectory {
    /// Makes the directory if need be, and locks it: two agents with one ledger would act against each other.
    pub fn open(path: &Path) -> Result<Self, StateDirectoryError> {
        let failed = |source| StateDirectoryError::Failed { path: path.to_owned(), source };
        if !path.exists() {
            create_durably(path).map_err(failed)?;
            // It will hold the device's key.
            std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let lock = lock_file(&path.join("lock")).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateDirectoryError::InUse(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Waits for the lock of a file that several processes change in turn; it is released when the answer is dropped.
pub(crate) fn lock_waiting(path: &Path) -> io::Result<File> {
    let file = lock_file(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_with_the_same_state_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        let first = StateDirectory::open(&path).expect("the first has it alone");
        assert!(matches!(StateDirectory::open(&path), Err(StateDirectoryError::InUse(_))));
        drop(first);
        assert!(StateDirectory::open(&path).is_ok());
    }

    #[test]
    fn a_half_written_file_of_an_earlier_crash_is_never_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger");
        write_durably(&path, b"old").expect("written");
        std::fs::write(directory.path().join("ledger.new"), b"ne").expect("written");
        assert_eq!(read_bounded(&path, 10).expect("readable"), Some(b"old".to_vec()));
        write_durably(&path, b"newer").expect("written");
        assert_eq!(read_bounded(&path, 10).expect("readable"), Some(b"newer".to_vec()));
        assert!(read_bounded(&path, 4).is_err());
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
    }
}
