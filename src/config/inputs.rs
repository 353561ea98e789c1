//! The sources laid over each other.

use super::fragment::{Environment, Fragment, Given, KEYS, Place};
use super::{ConfigError, FILE_NAME, MAX_FILE_BYTES, SYSTEM_FOLDER, ServeFlags, file};
use crate::domain::desired::finding_in;
use crate::domain::finding::{Affects, Finding, codes};
use crate::domain::manifest::problems::{Draft, Problems};
use crate::domain::manifest::yaml::Span;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that was said, and where.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub(super) all: Fragment,
    /// The file, for showing its lines.
    pub(super) source: Source,
    /// What is wrong with the sources themselves.
    pub(super) drafts: Vec<Draft>,
}

/// The configuration file as it was read. Without one it has no bytes, and a name that says where one would be.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) bytes: Vec<u8>,
}

impl Source {
    /// Drafts as sorted findings, with their lines of the file.
    pub(super) fn findings(&self, drafts: Vec<Draft>) -> Vec<Finding> {
        // The line of an address with a password is not shown.
        let can_be_shown = |draft: &Draft| draft.file == self.name && draft.code != codes::URL_CREDENTIALS;
        let bytes = |draft: &Draft| can_be_shown(draft).then_some(self.bytes.as_slice());
        let mut findings: Vec<Finding> =
            drafts.into_iter().map(|draft| finding_in(bytes(&draft), draft, Affects::Nothing)).collect();
        findings.sort();
        findings
    }
}

/// One setting as it counts, for people: its key, its text and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The setting's key.
    pub key: &'static str,
    /// Its text; `None` if nobody says and there is no default.
    pub value: Option<String>,
    /// A place in the file, a variable, a flag, or `default`.
    pub origin: String,
}

impl Inputs {
    /// Reads file, environment and flags.
    pub fn gather(flags: &ServeFlags, environment: &Environment, folder: &Path) -> Result<Self, ConfigError> {
        let here: Arc<Path> = Arc::from(folder);
        let mut drafts = Vec::new();
        let mut all = Fragment::default();
        let source = read_file(flags, environment, folder)?;
        if let Some((path, source)) = &source {
            let mut problems = Problems::new(&source.name);
            let beside: Arc<Path> = path.parent().map_or_else(|| here.clone(), Arc::from);
            match file::read(&source.bytes, &beside, &mut problems) {
                Ok(fragment) => all = fragment,
                Err(error) => {
                    // Nothing in it is known, so nothing else that seems to be missing is worth telling.
                    problems.yaml(error);
                    return Err(ConfigError::Invalid(source.findings(problems.finish())));
                }
            }
            drafts.extend(problems.finish());
        }
        for (name, meant) in environment.misspelled() {
            let message = "there is no such environment variable";
            let draft = Draft::error(&Arc::from(name), Span::default(), codes::UNKNOWN_KEY, message);
            drafts.push(draft.hint(format!("did you mean `{meant}`?")));
        }
        let all = all.overlaid_with(environment.fragment(&here)).overlaid_with(flags.fragment(&here));
        let none = || Source { name: Arc::from(FILE_NAME), bytes: Vec::new() };
        Ok(Self { all, source: source.map_or_else(none, |(_, source)| source), drafts })
    }

    /// Every setting that is one text, as it counts.
    pub fn effective(&self) -> Vec<Effective> {
        let one = |setting: &'static super::Setting| match self.all.texts.get(setting.key) {
            Some(Given { value, place }) => {
                Effective { key: setting.key, value: Some(value.clone()), origin: place.to_string() }
            }
            None => {
                Effective { key: setting.key, value: setting.default.map(str::to_owned), origin: "default".to_owned() }
            }
        };
        KEYS.iter().map(one).collect()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.span.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}:{}", self.source, self.span.column),
        }
    }
}

/// The file that is named, or the first of the usual ones that is there.
fn read_file(
    flags: &ServeFlags,
    environment: &Environment,
    folder: &Path,
) -> Result<Option<(PathBuf, Source)>, ConfigError> {
    let named = flags.config.clone().or_else(|| environment.value("BELLWETHER_CONFIG").map(PathBuf::from));
    let usual = [PathBuf::from(FILE_NAME), Path::new(SYSTEM_FOLDER).join(FILE_NAME)];
    let found = match named {
        Some(path) => path,
        None => match usual.into_iter().find(|path| folder.join(path).exists()) {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    let path = folder.join(&found);
    let bytes = read_bounded(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
    let name = Arc::from(found.to_string_lossy());
    Ok(Some((path, Source { name, bytes })))
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
