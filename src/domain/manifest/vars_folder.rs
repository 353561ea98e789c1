//! Which files of `group_vars` or `host_vars` are read for a name: Ansible's rules.
//!
//! For `web` that is the folder or file `web`, else `web.yml`, `web.yaml` or `web.json`; the first that is there hides the others.
//! Of a folder every file in it counts, in byte order, apart from hidden ones, backups and unknown extensions.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// Extensions in the order in which they are tried.
pub const EXTENSIONS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// What stands in a folder of variables, by the name that it is for. `K` is a text, `F` what stands for a file.
#[derive(Clone, Debug)]
pub struct VarsFolder<K, F> {
    slots: BTreeMap<K, Vec<Candidate<F>>>,
}

/// One file or folder for a name. Its files are sorted once all are there.
#[derive(Clone, Debug)]
struct Candidate<F> {
    /// An index into [`EXTENSIONS`].
    rank: usize,
    files: Vec<F>,
}

/// A path inside a folder of variables, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The name that it is for.
    pub name: &'a str,
    /// Which of several files for one name is read: the smallest.
    pub rank: usize,
    /// Whether a file here is read at all. A file that is not still shows that its folder is there.
    pub counts: bool,
}

/// Takes a path inside a folder of variables apart.
pub fn place(path: &str) -> Place<'_> {
    let (first, inside) = match path.split_once('/') {
        Some((first, inside)) => (first, Some(inside)),
        None => (path, None),
    };
    let (name, rank) = ranked(first);
    Place { name, rank, counts: inside.is_none_or(counts) }
}

/// The name without its extension, and which one that was.
fn ranked(first: &str) -> (&str, usize) {
    for (rank, extension) in EXTENSIONS.iter().enumerate().skip(1) {
        if let Some(stem) = first.strip_suffix(extension).filter(|stem| !stem.is_empty()) {
            return (stem, rank);
        }
    }
    (first, 0)
}

impl<K, F> Default for VarsFolder<K, F> {
    fn default() -> Self {
        Self { slots: BTreeMap::new() }
    }
}

impl<K: Ord + Borrow<str>, F> VarsFolder<K, F> {
    /// Adds a file, or with `None` only that something is there.
    pub fn insert(&mut self, name: K, rank: usize, file: Option<F>) {
        let candidates = self.slots.entry(name).or_default();
        match candidates.iter_mut().find(|candidate| candidate.rank == rank) {
            Some(candidate) => candidate.files.extend(file),
            None => candidates.push(Candidate { rank, files: file.into_iter().collect() }),
        }
    }

    /// Puts the files of every folder into the order in which they are read. `path` is the path of a file.
    pub fn sort(&mut self, path: impl Fn(&F) -> &str) {
        for candidate in self.slots.values_mut().flatten().filter(|candidate| candidate.files.len() > 1) {
            // By parts, not by the whole path: a folder comes before a file that goes on with `-`.
            candidate.files.sort_by(|a, b| path(a).split('/').cmp(path(b).split('/')));
        }
    }

    /// The files that are read for a name, in order.
    pub fn files(&self, name: &str) -> &[F] {
        self.first(name).map_or(&[], |candidate| &candidate.files)
    }

    /// The files that are read for a name that may itself end like a file: `web.yml` is then also for a host `web.yml`.
    pub fn files_of_any_name(&self, name: &str) -> &[F] {
        // What is called `web.yml` may be meant for something that is called so itself.
        let (stem, rank) = ranked(name);
        let exact = (rank > 0).then(|| self.candidate(stem, rank)).flatten();
        exact.or_else(|| self.first(name)).map_or(&[], |candidate| &candidate.files)
    }

    fn candidate(&self, name: &str, rank: usize) -> Option<&Candidate<F>> {
        self.slots.get(name)?.iter().find(|candidate| candidate.rank == rank)
    }

    fn first(&self, name: &str) -> Option<&Candidate<F>> {
        self.slots.get(name)?.iter().min_by_key(|candidate| candidate.rank)
    }

    /// Every name with the files that are read for it.
    pub fn names(&self) -> impl Iterator<Item = (&K, &[F])> {
        self.slots.iter().filter_map(|(name, candidates)| {
            let first = candidates.iter().min_by_key(|candidate| candidate.rank)?;
            Some((name, first.files.as_slice()))
        })
    }

    /// Files that another one of the same name hides.
    pub fn hidden(&self) -> impl Iterator<Item = (&K, &F)> {
        self.slots.iter().filter(|(_, candidates)| candidates.len() > 1).flat_map(|(name, candidates)| {
            let first = candidates.iter().map(|candidate| candidate.rank).min();
            let hidden = candidates.iter().filter(move |candidate| Some(candidate.rank) != first);
            hidden.flat_map(|candidate| &candidate.files).map(move |file| (name, file))
        })
    }
}

/// Whether a part of a path is hidden, or a backup.
pub fn ignored(part: &str) -> bool {
    part.starts_with('.') || part.ends_with('~')
}

/// Whether a path inside a folder for a name is read.
fn counts(inside: &str) -> bool {
    let mut parts = inside.split('/').peekable();
    while let Some(part) = parts.next() {
        let fits = match (parts.peek(), extension(part)) {
            // A folder with an extension is no folder of variables.
            (Some(_), extension) => extension.is_empty(),
            (None, extension) => EXTENSIONS.contains(&extension),
        };
        if part.is_empty() || ignored(part) || !fits {
            return false;
        }
    }
    true
}

/// The extension with its dot, as Python's `splitext` sees it: dots at the beginning do not count.
fn extension(part: &str) -> &str {
    let lead = part.len() - part.trim_start_matches('.').len();
    part[lead..].rfind('.').map_or("", |at| &part[lead + at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(paths: &[&str], name: &str, wanted: &str) {
        let mut folder: VarsFolder<&str, &str> = VarsFolder::default();
        for path in paths {
            let Place { name, rank, counts } = place(path);
            folder.insert(name, rank, counts.then_some(*path));
        }
        folder.sort(|path| path);
        assert_eq!(folder.files_of_any_name(name).join(" "), wanted, "{name} in {paths:?}");
    }

    #[test]
    fn the_first_of_folder_and_extensions_is_read() {
        check(&["web.json", "web.yaml", "web.yml"], "web", "web.yml");
        check(&["web.json", "web.yaml"], "web", "web.yaml");
        check(&["web.json", "web"], "web", "web");
        check(&["web.yml", "web/a.yml"], "web", "web/a.yml");
        check(&["web.yml", "web/notes.txt"], "web", "");
        check(&["web.yml/a.yml"], "web", "web.yml/a.yml");
        check(&["web.txt"], "web", "");
        check(&[], "web", "");
    }

    #[test]
    fn a_name_may_look_like_a_file() {
        check(&["web.yml"], "web.yml", "web.yml");
        check(&["web.yml.yml"], "web.yml", "web.yml.yml");
        check(&["web.yml", "web.yml.yml"], "web.yml", "web.yml");
    }

    #[test]
    fn files_of_a_folder_are_in_byte_order_of_their_parts() {
        let paths = [
            "g/9.yml",
            "g/10.yml",
            "g/sub/x",
            "g/sub-a.yml",
            "g/.h.yml",
            "g/b.yml~",
            "g/c.conf",
            "g/d.d/e.yml",
            "g/Z.json",
        ];
        check(&paths, "g", "g/10.yml g/9.yml g/Z.json g/sub/x g/sub-a.yml");
    }
}
