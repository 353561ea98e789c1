//! A disk that forgets what nobody waited for.
//!
//! POSIX promises little about a power cut: a file's bytes are there for good once the file was synced, and its name once its
//! directory was. What was neither may be there or not, each by itself. Real file systems keep more, and differ in what.

use super::trace::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

type Names = BTreeMap<PathBuf, Node>;

/// Files as they are seen, and as they would be after a power cut.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    seen: Names,
    kept: Names,
    files: Vec<File>,
}

#[derive(Clone, Debug, Default)]
struct File {
    seen: Vec<u8>,
    kept: Vec<u8>,
}

/// What a power cut does to what nobody waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// Nothing of it is there.
    Everything,
    /// Names are there, bytes are not.
    Bytes,
    /// Names are there, and half of each file's new bytes.
    HalfOfBytes,
    /// Bytes are there, under the old names.
    Names,
    /// Everything is there: the process alone was killed.
    Nothing,
}

impl Cut {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Everything, Self::Bytes, Self::HalfOfBytes, Self::Names, Self::Nothing];
}

/// Files by path, without directories.
pub type Content = BTreeMap<PathBuf, Vec<u8>>;

impl Disk {
    /// A disk on which this directory has long been.
    pub fn with(directory: &Path) -> Self {
        let root = Names::from([(directory.to_owned(), Node::Directory)]);
        Self { seen: root.clone(), kept: root, files: Vec::new() }
    }

    /// What a change leaves.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::MakeDirectory(path) => {
                self.seen.insert(path.clone(), Node::Directory);
            }
            Change::Open { path, emptied } => match self.seen.get(path) {
                Some(Node::File(number)) if *emptied => self.files[*number].seen.clear(),
                Some(_) => {}
                None => {
                    self.files.push(File::default());
                    self.seen.insert(path.clone(), Node::File(self.files.len() - 1));
                }
            },
            Change::Append(path, bytes) => self.file(path).seen.extend(bytes),
            Change::SetLength(path, length) => {
                let length = usize::try_from(*length).expect("a short file");
                self.file(path).seen.resize(length, 0);
            }
            Change::Sync(path) => match self.seen.get(path) {
                Some(Node::File(_)) => {
                    let file = self.file(path);
                    file.kept = file.seen.clone();
                }
                Some(Node::Directory) => self.keep_names(path),
                None => panic!("{} was synced, and nobody made it", path.display()),
            },
            Change::Rename(from, to) => {
                match self.seen.remove(from) {
                    Some(file @ Node::File(_)) => self.seen.insert(to.clone(), file),
                    // A socket: it is made without being opened, and nothing is in it.
                    None => self.seen.remove(to),
                    Some(Node::Directory) => panic!("directories are not renamed"),
                };
            }
            Change::Remove(path) => {
                self.seen.remove(path);
            }
        }
    }

    /// What is found after a power cut, or a kill, at this moment.
    pub fn after(&self, cut: Cut) -> Content {
        let names = match cut {
            Cut::Everything | Cut::Names => &self.kept,
            Cut::Bytes | Cut::HalfOfBytes | Cut::Nothing => &self.seen,
        };
        // A name is found where all directories above it are.
        let is_found = |path: &Path| {
            path.ancestors().skip(1).take_while(|above| self.is_known(above)).all(|above| names.contains_key(above))
        };
        let files = names.iter().filter(|(path, _)| is_found(path));
        let bytes = |number: usize| {
            let File { seen, kept } = &self.files[number];
            match cut {
                Cut::Everything | Cut::Bytes => kept.clone(),
                Cut::HalfOfBytes if seen == kept => kept.clone(),
                Cut::HalfOfBytes => seen[..seen.len() / 2].to_vec(),
                Cut::Names | Cut::Nothing => seen.clone(),
            }
        };
        files
            .filter_map(|(path, node)| match node {
                Node::Directory => None,
                Node::File(number) => Some((path.clone(), bytes(*number))),
            })
            .collect()
    }

    /// Whether a path is one of this disk's, in any state; what lies above is somebody else's and safe.
    fn is_known(&self, path: &Path) -> bool {
        self.seen.contains_key(path) || self.kept.contains_key(path)
    }

    fn file(&mut self, path: &Path) -> &mut File {
        match self.seen.get(path) {
            Some(Node::File(number)) => &mut self.files[*number],
            other => panic!("{} is written, and it is {other:?}", path.display()),
        }
    }

    fn keep_names(&mut self, directory: &Path) {
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        let gone: BTreeSet<PathBuf> = self.kept.keys().filter(inside).cloned().collect();
        for path in gone {
            self.kept.remove(&path);
        }
        let now: Vec<(PathBuf, Node)> =
            self.seen.iter().filter(|(path, _)| inside(path)).map(|(path, node)| (path.clone(), *node)).collect();
        self.kept.extend(now);
    }
}
