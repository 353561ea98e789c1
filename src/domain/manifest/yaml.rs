//! YAML as a tree that remembers where everything stands and how it was written.
//!
//! The parser's events become [`Node`]s; nothing is guessed on the way. A scalar keeps its text and style, so that typed keys
//! can take the text (`1.10` stays `1.10`) while free variables get the types of YAML 1.1. Parsing is total and bounded.

mod build;
pub mod print;
#[cfg(test)]
mod tests;
pub mod write;

use super::super::finding::Code;
pub use build::parse;

/// How deep a document may be nested. Real manifests stay below ten.
pub const MAX_DEPTH: usize = 64;
/// How many nodes one file may have: an inventory of 100,000 hosts with ten lines each has two million.
pub const MAX_NODES: usize = 4_000_000;
/// How many nodes may come from copying: aliases and merge keys. Beyond that somebody builds a bomb.
pub const MAX_COPIED_NODES: usize = 100_000;

/// A piece of a file. Zero throughout where the whole file is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// First byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: the only style that can be anything but text.
    Plain,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// One value of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// An explicit tag such as `!vault` or `!!str`, as its resolved address.
    pub tag: Option<Box<str>>,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text, a number, a boolean, or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping.
    Map(Map),
}

/// A scalar as it was written, after escapes and folding.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The text.
    pub text: Box<str>,
    /// How it was written.
    pub style: Style,
}

/// A mapping in the order of the file. Keys are unique: of equal ones the last counts and the others are remembered apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    /// Keys and values in the order of the file.
    pub entries: Vec<Field>,
    /// Keys that came before an equal one.
    pub duplicates: Vec<Key>,
}

/// One key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Node,
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Where it stands.
    pub span: Span,
    /// Its text.
    pub text: Box<str>,
    /// How it was written.
    pub style: Style,
}

/// Why a file is not a document that can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct YamlError {
    /// Which kind of problem.
    pub code: Code,
    /// Where.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl Node {
    /// Whether this is written as nothing: an empty value, `~` or `null` without quotes.
    pub fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar(scalar) => {
                scalar.style == Style::Plain
                    && self.tag.is_none()
                    && matches!(&*scalar.text, "" | "~" | "null" | "Null" | "NULL")
            }
            Kind::List(_) | Kind::Map(_) => false,
        }
    }

    /// What the node is, for messages.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(_) if self.is_null() => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// How many nodes there are, this one included.
    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::List(items) => items.iter().map(Self::size).sum(),
            Kind::Map(map) => map.entries.iter().map(|field| field.value.size()).sum(),
        }
    }

    /// How many levels there are, this one included.
    fn depth(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Map(map) => map.entries.iter().map(|field| field.value.depth()).max().unwrap_or(0),
        }
    }
}

impl Map {
    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|field| &*field.key.text == key).map(|field| &field.value)
    }
}
