//! Files below one directory, reached step by step so that no symbolic link leads out of it, and replaced whole.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

/// How the name of a file ends that is being written. It begins with a dot, which no file of the fleet repo does.
const UNFINISHED: &str = ".bellwether-new";
/// The mode of folders that are made.
const FOLDER_MODE: u32 = 0o755;

/// A directory.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// What is there under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file: its bytes, at most as many as were asked for and one more, its mode, and its length.
    File(Vec<u8>, u32, u64),
    /// A symbolic link, and where it leads.
    Link(String),
    /// A directory, a device or something else.
    Other,
}

/// Whether folders on the way are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They are.
    Make,
    /// They have to be there.
    Find,
}

impl Folder {
    /// A directory that is trusted, links on the way to it included.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// The folder that a relative path stands in, and the last name of the path. Nothing on the way may be a link.
    pub fn walk<'a>(&self, path: &'a str, way: Way) -> io::Result<(Self, &'a str)> {
        let mut folder = Self(self.0.try_clone()?);
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            folder = folder.step(part, way)?;
        }
        Ok((folder, name))
    }

    fn step(&self, name: &str, way: Way) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::NOENT) if way == Way::Make => {
                match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(FOLDER_MODE)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                rustix::fs::fsync(&self.0)?;
                Ok(Self(rustix::fs::openat(&self.0, name, flags, Mode::empty())?))
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(io::Error::other(format!("`{name}` on the way to it is no folder")))
            }
            opened => Ok(Self(opened?)),
        }
    }

    /// What is there under a name; `None` if nothing is.
    pub fn entry(&self, name: &str, longest: u64) -> io::Result<Option<Entry>> {
        let stat = match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&self.0, name, Vec::new())?;
                return Ok(Some(Entry::Link(target.to_string_lossy().into_owned())));
            }
            _ => return Ok(Some(Entry::Other)),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.0, name, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(longest + 1).read_to_end(&mut bytes)?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Some(Entry::File(bytes, stat.st_mode & 0o7777, length)))
    }

    /// Has a file with these bytes and this mode under a name. A crash leaves what was there, or this, whole.
    pub fn write(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.replace(name, |unfinished| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&self.0, unfinished, flags, Mode::from_raw_mode(0o600))?);
            file.write_all(bytes)?;
            // Set by itself: the one above goes through the process's mask.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            file.sync_all()
        })
    }

    /// Has a symbolic link under a name.
    pub fn link(&self, name: &str, target: &str) -> io::Result<()> {
        self.replace(name, |unfinished| Ok(rustix::fs::symlinkat(target, &self.0, unfinished)?))
    }

    fn replace(&self, name: &str, make: impl FnOnce(&str) -> io::Result<()>) -> io::Result<()> {
        let unfinished = format!(".{name}{UNFINISHED}");
        // One fixed name: what a crash leaves behind goes with the next write.
        self.unlink(&unfinished)?;
        make(&unfinished)?;
        rustix::fs::renameat(&self.0, &unfinished, &self.0, name)?;
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Removes a file; one that is not there is removed already.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.unlink(name)?;
        Ok(rustix::fs::fsync(&self.0)?)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
