//! Findings: problems in manifests, as data, each with its place and a hint.

pub mod codes;
mod render;

pub use codes::Code;
pub use render::render_findings;

use super::ids::DeviceId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that the finding affects gets nothing new from this commit.
    Error,
    /// Works, but probably not as meant.
    Warning,
}

/// Where in the fleet repo something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Path from the root of the repo, with `/`.
    pub file: String,
    /// Line, from 1. 0 where the finding is about the whole file.
    pub line: u32,
    /// Column in characters, from 1. 0 where the finding is about the whole line or file.
    pub column: u32,
}

impl Place {
    /// A whole file.
    pub fn file(file: &str) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0 }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// The source line of a finding, cut to a readable length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Excerpt {
    /// The line, at most 160 characters, without its line break and control characters.
    pub text: String,
    /// Where the underline begins, in characters from 0.
    pub start: u32,
    /// How many characters are underlined, at least 1.
    pub length: u32,
}

/// What a finding touches. Everything else goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Affects {
    /// The commit as a whole cannot be accepted.
    Commit,
    /// These devices keep what they have.
    Devices(BTreeSet<DeviceId>),
    /// No device: a file that nothing uses, or a mere warning.
    Nothing,
}

/// One problem in a manifest. The order of the fields is the order in which findings are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// Where it is.
    pub place: Place,
    /// How bad it is.
    pub severity: Severity,
    /// A stable name for programs, in kebab case, such as `unknown-device-type`. `docs/findings.md` lists all.
    pub code: String,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The source line, where there is one and it is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
    /// What it touches.
    pub affects: Affects,
}
