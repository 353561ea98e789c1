//! Templates in values of typed keys: Jinja as Ansible writes it, over the variables of one device.
//!
//! A template decides nothing but its own text. It sees no files, no network, no clock and no other device, and what it may use
//! is bounded: its length, its statements, its steps, and the length of what comes out.

mod engine;
mod filters;
mod scan;
mod value;

pub use engine::{Fault, Out, evaluate, render};
pub use value::{OutPiece, SecretPieces, literal};

use super::yaml::Span;
use std::fmt;
use std::sync::Arc;

/// The longest template, in bytes. Text without `{{` and `{%` may be longer.
pub const MAX_TEMPLATE_BYTES: usize = 8 << 10;
/// The longest text that a template may come to, in bytes: as long as a typed text may be.
pub const MAX_OUTPUT_BYTES: usize = 32 << 10;

/// A text that each device renders for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As written.
    pub source: Arc<str>,
    /// Where it is written.
    pub span: Span,
    /// The names that it uses, sorted.
    pub names: Arc<[Box<str>]>,
}

/// Whether a text is a template.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

impl Template {
    /// Reads a template: its syntax is checked once here and not for each device.
    pub fn new(source: &str, span: Span) -> Result<Self, Fault> {
        scan::check(source)?;
        let names = engine::names(source)?;
        Ok(Self { source: source.into(), span, names })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// A value of a typed key as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<T> {
    /// Known for every device alike.
    Known(T),
    /// Each device renders it for itself.
    Template(Template),
}

impl<T: fmt::Display> fmt::Display for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Template(template) => template.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
