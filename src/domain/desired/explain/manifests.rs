//! What stands in files that a device is pointed at: Compose files of its releases, and the entry of its OS image.
//!
//! No layer overrides any of it, so each key has one place.

use super::super::findings::place;
use super::History;
use crate::domain::manifest::compose::Service;
use crate::domain::manifest::os::OsEntry;
use crate::domain::manifest::sealed::as_written;
use crate::domain::manifest::yaml::{Field, Kind};
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

    /// A key, or the keys of the mapping that it holds; lists stay whole.
    fn leaves(&mut self, file: &Arc<str>, above: &str, field: &Field) {
        let key = format!("{above}.{}", field.key.text);
        match &field.value.kind {
            Kind::Map(map) if !map.entries.is_empty() && field.value.tag.is_none() => {
                map.entries.iter().for_each(|field| self.leaves(file, &key, field));
            }
            Kind::Map(_) | Kind::List(_) | Kind::Scalar(_) => {
                self.push(key, as_written(&field.value), place(file, field.key.span), None);
            }
        }
    }
}
