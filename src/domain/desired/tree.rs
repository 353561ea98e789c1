//! The paths of a snapshot, sorted by what they mean.

use crate::domain::finding::codes;
use crate::domain::ids::{AppName, ObjectId, Version};
use crate::domain::manifest::problems::{Draft, show};
use crate::domain::manifest::vars_folder::{self, VarsFolder};
use crate::domain::manifest::yaml::Span;
use crate::domain::snapshot::{Entry, MAX_FILE_BYTES, RefusedEntry};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A path with what is there.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The path.
    pub path: &'a Arc<str>,
    /// What is there.
    pub entry: &'a Entry,
}

/// What something that was read is made from: equal contents at one path give equal values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// A file.
    File(ObjectId),
    /// Something that was not read.
    Refused(RefusedEntry),
    /// Nothing.
    Missing,
}

impl<'a> Source<'a> {
    /// What identifies the content.
    pub fn content(&self) -> Content {
        match self.entry {
            Entry::File { id, .. } => Content::File(id.clone()),
            Entry::Refused(refused) => Content::Refused(*refused),
        }
    }

    /// The bytes, or why there are none.
    pub fn bytes(&self) -> Result<&'a [u8], Box<Draft>> {
        match self.entry {
            Entry::File { bytes, .. } => Ok(bytes),
            Entry::Refused(refused) => Err(Box::new(refused_draft(self.path, *refused))),
        }
    }
}

/// Why a path was not read, as a finding.
fn refused_draft(path: &Arc<str>, refused: RefusedEntry) -> Draft {
    let error = |code, message: &str| Draft::error(path, Span::default(), code, message);
    match refused {
        RefusedEntry::Symlink => error(codes::NOT_REGULAR, "this is a symbolic link, which is never followed")
            .hint("put the file itself here"),
        RefusedEntry::Submodule => error(codes::NOT_REGULAR, "this is a submodule, which is never followed")
            .hint("put the files themselves here"),
        RefusedEntry::TooLong { size } => {
            let message = format!("the file is {size} bytes long; at most {MAX_FILE_BYTES} are read");
            error(codes::FILE_TOO_LONG, &message)
        }
        RefusedEntry::BadPath => error(codes::BAD_PATH, "the path is not UTF-8, or leaves the tree"),
        RefusedEntry::TooDeep => error(codes::TOO_DEEP, "the folder is nested deeper than can be meant"),
        RefusedEntry::Unreadable => error(codes::UNREADABLE, "the content could not be read from the repository"),
    }
}

/// The files of `group_vars` or `host_vars` by the name that they are for.
pub type VarsByName<'a> = VarsFolder<&'a str, Source<'a>>;

/// A snapshot's paths by meaning.
#[derive(Debug, Default)]
pub struct Tree<'a> {
    /// `fleet.yml`.
    pub fleet: Option<Source<'a>>,
    /// `inventory.yml`.
    pub inventory: Option<Source<'a>>,
    /// `group_vars`.
    pub group_vars: VarsByName<'a>,
    /// `host_vars`.
    pub host_vars: VarsByName<'a>,
    /// `releases/<app>/<version>/`: the two files, where they are there.
    pub releases: BTreeMap<(AppName, Version), ReleaseFolder<'a>>,
    /// `os/<name>.yml`.
    pub os: BTreeMap<&'a str, Source<'a>>,
    /// What concerns no device.
    pub loose: Vec<Draft>,
    /// What concerns the commit as a whole.
    pub structure: Vec<Draft>,
}

/// The files of one release.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReleaseFolder<'a> {
    /// `release.yml`.
    pub release: Option<Source<'a>>,
    /// `compose.yml`.
    pub compose: Option<Source<'a>>,
    /// The folder itself, if it is not one.
    pub folder: Option<Source<'a>>,
}

impl<'a> Tree<'a> {
    /// Sorts the paths of a snapshot, or some of them.
    pub fn of_paths(paths: impl IntoIterator<Item = (&'a Arc<str>, &'a Entry)>) -> Self {
        let mut tree = Self::default();
        let mut group_vars = Vec::new();
        let mut host_vars = Vec::new();
        for (path, entry) in paths {
            let source = Source { path, entry };
            match path.split_once('/') {
                None => tree.top(source),
                Some(("group_vars", rest)) => group_vars.push((rest, source)),
                Some(("host_vars", rest)) => host_vars.push((rest, source)),
                Some(("releases", rest)) => tree.release(rest, source),
                Some(("os", rest)) => tree.image(rest, source),
                Some(("inventory", _)) => tree.unexpected(source, Some("the inventory is `inventory.yml`")),
                Some(_) => {}
            }
        }
        tree.group_vars = by_name(group_vars, &mut tree.loose);
        tree.host_vars = by_name(host_vars, &mut tree.loose);
        tree
    }

    fn top(&mut self, source: Source<'a>) {
        match &**source.path {
            "fleet.yml" => self.fleet = Some(source),
            "inventory.yml" => self.inventory = Some(source),
            // A folder that is something else must not look like an empty folder.
            "group_vars" | "host_vars" | "releases" | "os" => self.structure.push(match source.bytes() {
                Ok(_) => Draft::error(source.path, Span::default(), codes::NOT_REGULAR, "this must be a folder"),
                Err(draft) => *draft,
            }),
            _ => {}
        }
    }

    fn release(&mut self, rest: &'a str, source: Source<'a>) {
        let mut parts = rest.splitn(3, '/');
        let (app, version, file) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let Some(version) = version else {
            return self.unexpected(source, Some("releases are folders: `releases/<app>/<version>/`"));
        };
        let names = (AppName::new(app), Version::new(version));
        let (Ok(app), Ok(version)) = names else {
            if let Err(draft) = source.bytes() {
                return self.loose.push(*draft);
            }
            let message = format!("`{}` does not name an app and a version", show(rest));
            return self.loose.push(Draft::error(source.path, Span::default(), codes::BAD_NAME, message));
        };
        match (file, source.entry) {
            (Some("release.yml"), _) => self.releases.entry((app, version)).or_default().release = Some(source),
            (Some("compose.yml"), _) => self.releases.entry((app, version)).or_default().compose = Some(source),
            (None, Entry::Refused(_)) => self.releases.entry((app, version)).or_default().folder = Some(source),
            (None, Entry::File { .. }) => {
                self.unexpected(source, Some("releases are folders: `releases/<app>/<version>/`"));
            }
            (Some(name), _) => {
                let hint = match name {
                    "release.yaml" => Some("call it `release.yml`"),
                    "compose.yaml" | "docker-compose.yml" | "docker-compose.yaml" => Some("call it `compose.yml`"),
                    _ => None,
                };
                match hint {
                    // The release that was meant is there, and broken.
                    Some(_) => {
                        self.releases.entry((app, version)).or_default();
                        self.unexpected(source, hint);
                    }
                    // Notes and the like may stand beside.
                    None => self.refused(source),
                }
            }
        }
    }

    fn image(&mut self, rest: &'a str, source: Source<'a>) {
        match rest.strip_suffix(".yml") {
            Some(name) if !name.is_empty() && !name.contains('/') => {
                self.os.insert(name, source);
            }
            _ if rest.ends_with(".md") => self.refused(source),
            _ => self.unexpected(source, Some("images are `os/<name>.yml`")),
        }
    }

    fn unexpected(&mut self, source: Source<'a>, hint: Option<&str>) {
        let draft = match source.bytes() {
            Ok(_) => Draft::warning(source.path, Span::default(), codes::UNEXPECTED_FILE, "nothing reads this file")
                .maybe_hint(hint.map(str::to_owned)),
            Err(draft) => *draft,
        };
        self.loose.push(draft);
    }

    fn refused(&mut self, source: Source<'a>) {
        self.loose.extend(source.bytes().err().map(|draft| *draft));
    }
}

/// The name that a path in `host_vars` is for.
pub fn named(rest: &str) -> &str {
    vars_folder::place(rest).name
}

fn by_name<'a>(paths: Vec<(&'a str, Source<'a>)>, loose: &mut Vec<Draft>) -> VarsByName<'a> {
    let mut folder = VarsByName::default();
    for (path, source) in paths {
        let vars_folder::Place { name, rank, counts } = vars_folder::place(path);
        let hidden = name.is_empty() || vars_folder::ignored(path.split('/').next().unwrap_or_default());
        if hidden || !counts {
            loose.extend(source.bytes().err().map(|draft| *draft));
        }
        if !hidden {
            folder.insert(name, rank, counts.then_some(source));
        }
    }
    folder.sort(|source| source.path);
    for (name, source) in folder.hidden() {
        let message = format!("another file or folder for `{}` comes first, so this file is not read", show(name));
        let draft = Draft::warning(source.path, Span::default(), codes::HIDDEN_VARS_FILE, message);
        loose.push(draft.hint("move what it says into the other one"));
    }
    folder
}
