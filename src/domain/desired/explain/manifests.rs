//! What stands in files that a device is pointed at: Compose files of its releases, and the entry of its OS image.
//!
//! No layer overrides any of it, so each key has one place.

use super::super::findings::place;
use super::History;
use crate::domain::ids::{AppName, VariableName};
use crate::domain::manifest::compose::{Defaulted, Filled, Service, fill};
use crate::domain::manifest::os::OsEntry;
use crate::domain::manifest::sealed::as_written;
use crate::domain::manifest::yaml::{Field, Kind, Node};
use std::sync::Arc;

impl History<'_> {
    /// `<app>/<service>.image` and so on; the environment is told with what overrides it.
    pub(super) fn service(&mut self, compose_file: &Arc<str>, app_and_service: &str, service: &Service) {
        let explained = service.written.iter().filter(|field| &*field.key.text != "environment");
        explained.for_each(|field| self.leaves(compose_file, app_and_service, field));
    }

    /// `os.version` and so on.
    pub(super) fn image(&mut self, OsEntry { file, span: _, spec: _, written }: &OsEntry) {
        written.iter().for_each(|field| self.leaves(file, "os", field));
    }

    /// `<app>.networks.<name>` and `<app>.volumes.<name>`: what the Compose file declares beside its services.
    pub(super) fn declared(&mut self, compose_file: &Arc<str>, app: &AppName, declared: &[Field]) {
        for Field { key: kind, value } in declared {
            let Kind::Map(map) = &value.kind else { continue };
            for field in &map.entries {
                if field.value.is_null() {
                    // `data:` and `data: {}` are the same to Compose, and nothing is taken away here.
                    let key = format!("{app}.{}.{}", kind.text, field.key.text);
                    self.push(key, "{}".to_owned(), place(compose_file, field.key.span), None);
                } else {
                    self.leaves(compose_file, &format!("{app}.{}", kind.text), field);
                }
            }
        }
    }

    /// A key, or the keys of the mapping that it holds; lists stay whole.
    fn leaves(&mut self, file: &Arc<str>, above: &str, field: &Field) {
        let key = format!("{above}.{}", field.key.text);
        match &field.value.kind {
            Kind::Map(map) if !map.entries.is_empty() && field.value.tag.is_none() => {
                map.entries.iter().for_each(|field| self.leaves(file, &key, field));
            }
            Kind::Map(_) | Kind::List(_) | Kind::Scalar(_) => {
                let (written, place) = (as_written(&field.value), place(file, field.key.span));
                match filled_in(&field.value) {
                    Some(filled) => self.push_filled(key, written, place, filled),
                    None => self.push(key, written, place, None),
                }
            }
        }
    }
}

/// A value with the variables of its texts filled in; `None` if there are none, or if they cannot be.
fn filled_in(node: &Node) -> Option<Filled> {
    let mut defaulted = Vec::new();
    let mut node = node.clone();
    fill_texts(&mut node, &mut defaulted)?.then(|| Filled { text: as_written(&node), defaulted })
}

/// Whether something was filled in.
fn fill_texts(node: &mut Node, defaulted: &mut Vec<Defaulted>) -> Option<bool> {
    match &mut node.kind {
        Kind::Scalar(scalar) if scalar.text.contains('$') => {
            let filled = fill(&scalar.text).ok()?;
            scalar.text = filled.text.into();
            defaulted.extend(filled.defaulted);
            Some(true)
        }
        Kind::Scalar(_) => Some(false),
        Kind::List(items) => fill_all(items.iter_mut(), defaulted),
        Kind::Map(map) => fill_all(map.entries.iter_mut().map(|field| &mut field.value), defaulted),
    }
}

fn fill_all<'a>(nodes: impl IntoIterator<Item = &'a mut Node>, defaulted: &mut Vec<Defaulted>) -> Option<bool> {
    let mut any = false;
    for node in nodes {
        any |= fill_texts(node, defaulted)?;
    }
    Some(any)
}

/// A variable of the environment as the Compose file has it, and filled in; `None` if that is the same.
pub(super) fn filled_in_environment(service: &Service, variable: &VariableName) -> Option<(String, Filled)> {
    let environment = service.written.iter().find(|field| &*field.key.text == "environment")?;
    let text = |node: &Node| match &node.kind {
        Kind::Scalar(scalar) => Some(scalar.text.to_string()),
        Kind::List(_) | Kind::Map(_) => None,
    };
    let written = match &environment.value.kind {
        Kind::Map(map) => text(map.value(variable.as_str())?)?,
        Kind::List(items) => items.iter().filter_map(text).find_map(|item| {
            let (_, value) = item.split_once('=').filter(|(name, _)| *name == variable.as_str())?;
            Some(value.to_owned())
        })?,
        Kind::Scalar(_) => return None,
    };
    let filled = fill(&written).ok().filter(|filled| filled.text != written)?;
    Some((written, filled))
}
