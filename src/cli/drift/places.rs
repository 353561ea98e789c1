//! Where a device is written down in a work tree of the fleet repo.

use crate::domain::finding::Place;
use crate::domain::ids::DeviceId;
use crate::domain::manifest::vars_folder::EXTENSIONS;
use std::path::Path;

/// A work tree.
pub(super) struct Written<'a> {
    folder: &'a Path,
}

impl<'a> Written<'a> {
    pub(super) fn beside(folder: &'a Path) -> Self {
        Self { folder }
    }

    /// The file of the device's own values; the inventory, if it has none.
    pub(super) fn place(&self, device: &DeviceId) -> Place {
        let own = EXTENSIONS.iter().map(|extension| format!("host_vars/{device}{extension}"));
        let own = own.map(|inside| self.inside(&inside)).find(|inside| Path::new(inside).is_file());
        Place::file(&own.unwrap_or_else(|| self.inside("inventory.yml")))
    }

    /// A path as the workflow sees it, which runs in the root of the checkout.
    fn inside(&self, path: &str) -> String {
        let folder = self.folder.to_string_lossy();
        match folder.trim_start_matches("./").trim_end_matches('/') {
            "" | "." => path.to_owned(),
            folder => format!("{folder}/{path}"),
        }
    }
}
