//! Attributes as columns and sort keys of views name them.

use super::Checker;
use super::operand::Operand;
use crate::domain::filter::parse::parse;
use crate::domain::filter::{DynamicGroups, FilterError, Term};
use std::sync::Arc;

/// Reads an attribute as a column or sort key of a view names it.
pub fn attribute(text: &str) -> Result<Column, FilterError> {
    let parsed = parse(text)?;
    let groups = DynamicGroups::default();
    let checker = Checker { parsed: &parsed, groups: &groups };
    match checker.operand(&parsed.root, 0)? {
        Operand::Term(term, _) => Ok(Column::Attribute(term)),
        Operand::Groups => Ok(Column::Groups),
        other => Err(checker.error(&parsed.root, format!("a column is an attribute, not {}", other.describe()))),
    }
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// One attribute.
    Attribute(Term),
    /// All groups of the inventory.
    Groups,
}

impl Column {
    /// As filters write it.
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Attribute(term) => term.attribute.to_string().into(),
            Self::Groups => "groups".into(),
        }
    }
}
