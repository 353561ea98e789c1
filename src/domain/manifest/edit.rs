//! Changing YAML in place: comments, order, quotes, line ends and anchors stay as they are.
//!
//! An edit is a splice: bytes at one place are replaced, all others are the very same. Where it goes is read off the spans of the
//! parsed tree. After each edit the text is parsed again and must mean exactly the old document with that one change;
//! otherwise the edit is refused. So the worst that an unusual layout can cause is a refusal.

#[cfg(test)]
mod laws;
mod locate;
mod meaning;
mod scalar;
mod source;
mod splice;
#[cfg(test)]
mod tests;

use super::yaml::{YamlError, parse};
use splice::Splice;

pub use locate::{Found, find};
pub use source::set_at_source;

/// One change of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Sets a value; mappings on the way are made where they are missing.
    Set {
        /// The keys from the outside in, at least one.
        path: Vec<String>,
        /// The value.
        value: Value,
    },
    /// Takes a key away, with whatever it holds. Mappings that become empty go too: an empty value often means more than none.
    Remove {
        /// The keys from the outside in, at least one.
        path: Vec<String>,
        /// How many of the keys stay even if nothing is left under them.
        keep: usize,
    },
}

/// A single value that an edit writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// This text, whatever it looks like; quoted where it would be read as something else.
    Text(String),
    /// `null`.
    Null,
}

/// Which texts a file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Any YAML.
    Yaml,
    /// JSON: every key and text in double quotes.
    Json,
}

impl Dialect {
    /// The dialect of a file, by its extension.
    pub fn of_path(path: &str) -> Self {
        if path.ends_with(".json") { Self::Json } else { Self::Yaml }
    }
}

/// Why a document was not changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EditError {
    /// It cannot be read.
    #[error("the file is not YAML: line {}: {}", .0.span.line, .0.message)]
    Yaml(YamlError),
    /// A key on the way holds something else.
    #[error("`{path}` is not a mapping")]
    NotAMapping {
        /// The keys so far.
        path: String,
    },
    /// The value to set is a mapping or a list now.
    #[error("`{path}` is not a single value")]
    NotASingleValue {
        /// The keys.
        path: String,
    },
    /// A key on the way is an alias: what is changed there is changed elsewhere too.
    #[error("`{path}` is an alias of something that is written elsewhere")]
    Alias {
        /// The keys so far.
        path: String,
    },
    /// A key on the way stands twice.
    #[error("`{path}` stands twice")]
    Duplicate {
        /// The keys so far.
        path: String,
    },
    /// There is nothing to take away.
    #[error("there is no `{path}`")]
    NotThere {
        /// The keys.
        path: String,
    },
    /// The file is laid out in a way that cannot be edited without touching anything else.
    #[error("`{path}` is laid out in a way that cannot be changed without touching its neighbours")]
    Layout {
        /// The keys.
        path: String,
    },
    /// The change would mean more than was asked for.
    #[error("changing `{path}` would change something else too")]
    Unfaithful {
        /// The keys.
        path: String,
        /// What the file would have become, as advice.
        attempted: String,
    },
}

/// Makes the changes one after the other, and answers with the new text.
pub fn edit(text: &str, edits: &[Edit], dialect: Dialect) -> Result<String, EditError> {
    let mut text = text.to_owned();
    for one in edits {
        text = edit_once(&text, one, dialect)?;
    }
    Ok(text)
}

fn edit_once(text: &str, edit: &Edit, dialect: Dialect) -> Result<String, EditError> {
    let root = parse(text.as_bytes()).map_err(EditError::Yaml)?;
    let Splice { start, end, with } = splice::plan(text, root.as_ref(), edit, dialect)?;
    let (Some(before), Some(after)) = (text.get(..start), text.get(end.max(start)..)) else {
        return Err(EditError::Layout { path: edit.path().join(".") });
    };
    let attempted = [before, &with, after].concat();
    let means = parse(attempted.as_bytes());
    if means.is_ok_and(|after| meaning::is_faithful(root, edit, after.as_ref())) {
        return Ok(attempted);
    }
    Err(EditError::Unfaithful { path: edit.path().join("."), attempted })
}

impl Edit {
    /// Sets a text.
    pub fn set(path: &[&str], text: &str) -> Self {
        Self::Set { path: owned(path), value: Value::Text(text.to_owned()) }
    }

    /// Takes a key away with every mapping that becomes empty.
    pub fn remove(path: &[&str]) -> Self {
        Self::Remove { path: owned(path), keep: 0 }
    }

    /// The keys from the outside in.
    pub fn path(&self) -> &[String] {
        match self {
            Self::Set { path, .. } | Self::Remove { path, .. } => path,
        }
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|key| (*key).to_owned()).collect()
}
