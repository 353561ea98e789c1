//! Collecting what is wrong with one file.

use super::sealed;
use super::yaml::{Span, YamlError};
use crate::domain::finding::{Code, Severity, codes};
use std::sync::Arc;

/// How many findings one file can have. A file with more has one mistake that was repeated, or was not written by a person.
pub const MAX_FINDINGS_PER_FILE: usize = 100;
/// How much of somebody's text is shown in a message, in characters.
pub const MAX_SHOWN: usize = 60;

/// A finding before it is known which devices it touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Draft {
    /// The file.
    pub file: Arc<str>,
    /// Where in the file.
    pub span: Span,
    /// How bad it is.
    pub severity: Severity,
    /// Which kind.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Draft {
    /// An error. What it touches gets nothing new.
    pub fn error(file: &Arc<str>, span: Span, code: Code, message: impl Into<String>) -> Self {
        Self { file: file.clone(), span, severity: Severity::Error, code, message: message.into(), hint: None }
    }

    /// A warning. It changes nothing.
    pub fn warning(file: &Arc<str>, span: Span, code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, span, code, message) }
    }

    /// Says what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what to do about it, if somebody knows.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// The findings of one file, bounded by [`MAX_FINDINGS_PER_FILE`].
#[derive(Clone, Debug)]
pub struct Problems {
    file: Arc<str>,
    found: Vec<Draft>,
    beyond: usize,
    errors: usize,
}

impl Problems {
    /// Nothing wrong so far.
    pub fn new(file: &Arc<str>) -> Self {
        Self { file: file.clone(), found: Vec::new(), beyond: 0, errors: 0 }
    }

    /// The file that they are about.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Adds one.
    pub fn add(&mut self, draft: Draft) {
        if draft.severity == Severity::Error {
            self.errors += 1;
        }
        if self.found.len() < MAX_FINDINGS_PER_FILE {
            self.found.push(draft);
        } else {
            self.beyond += 1;
        }
    }

    /// Adds an error.
    pub fn error(&mut self, span: Span, code: Code, message: impl Into<String>) {
        self.add(Draft::error(&self.file, span, code, message));
    }

    /// Adds an error with a hint.
    pub fn error_hint(&mut self, span: Span, code: Code, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Draft::error(&self.file, span, code, message).hint(hint));
    }

    /// Adds a warning.
    pub fn warning(&mut self, span: Span, code: Code, message: impl Into<String>, hint: Option<String>) {
        self.add(Draft::warning(&self.file, span, code, message).maybe_hint(hint));
    }

    /// Adds that the file cannot be read as YAML.
    pub fn yaml(&mut self, error: YamlError) {
        let YamlError { code, span, message, hint } = error;
        self.add(Draft::error(&self.file, span, code, message).maybe_hint(hint.map(str::to_owned)));
    }

    /// How many errors there are so far, the ones beyond the bound included.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// The findings; the last one says how many more there are, if the bound was reached.
    pub fn finish(mut self) -> Vec<Draft> {
        if self.beyond > 0 {
            let message = format!("{} more findings in this file are not shown", self.beyond);
            let draft = if self.errors > 0 { Draft::error } else { Draft::warning };
            self.found.push(draft(&self.file, Span::default(), codes::TOO_MANY_FINDINGS, message));
        }
        self.found
    }
}

/// Somebody's text for a message: cut to [`MAX_SHOWN`] characters, without control characters, and nothing of what is encrypted.
pub fn show(text: &str) -> String {
    if sealed::is_sealed(text) {
        return sealed::ENCRYPTED.to_owned();
    }
    let mut shown: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
