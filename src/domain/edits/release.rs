//! Making releases, and saying that one is bad.

use super::place::shared_first_line;
use super::{Desk, ProposeError};
use crate::domain::ids::{AppName, DeviceType, Version};
use crate::domain::manifest::edit::{Dialect, Edit, edit};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It turned out to be bad.
    Invalidated {
        /// Why, for everybody who wonders.
        reason: String,
    },
    /// It is good after all.
    Good,
}

/// The folder of a release.
pub fn folder(app: &AppName, version: &Version) -> String {
    format!("releases/{app}/{version}")
}

/// Marks a release in its `release.yml`.
pub fn mark(desk: &mut Desk<'_>, app: &AppName, version: &Version, mark: &Mark) -> Result<(), ProposeError> {
    let path = format!("{}/release.yml", folder(app, version));
    if desk.text(&path)?.is_none() {
        return Err(ProposeError::NoRelease { app: app.clone(), version: version.clone() });
    }
    let change = match mark {
        Mark::Invalidated { reason } => Edit::set(&["invalidated", "reason"], reason),
        Mark::Good => Edit::remove(&["invalidated"]),
    };
    desk.edit(&path, &[change])
}

/// What a new release says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Whether it is a draft.
    pub draft: bool,
    /// What changed, for people.
    pub notes: Option<String>,
    /// Free metadata.
    pub tags: BTreeMap<String, String>,
    /// Device types that it runs on; empty for all.
    pub device_types: BTreeSet<DeviceType>,
}

/// Writes a new release. `compose` is its Compose file.
pub fn create(
    desk: &mut Desk<'_>,
    app: &AppName,
    version: &Version,
    about: &About,
    compose: &str,
) -> Result<(), ProposeError> {
    let folder = folder(app, version);
    let within = format!("{folder}/");
    if desk.snapshot.entries.keys().any(|path| **path == *folder || path.starts_with(&within)) {
        return Err(ProposeError::ReleaseExists { app: app.clone(), version: version.clone() });
    }
    let path = format!("{folder}/compose.yml");
    desk.write(&path, compose.to_owned());
    let path = format!("{folder}/release.yml");
    let is_one = |path: &str| path.starts_with("releases/") && path.ends_with("/release.yml");
    let first_line = shared_first_line(desk.snapshot, is_one).unwrap_or_default();
    let text = release_file(&first_line, version, about)
        .map_err(|source| ProposeError::Edit { path: path.clone(), source })?;
    desk.write(&path, text);
    Ok(())
}

fn release_file(
    first_line: &str,
    version: &Version,
    about: &About,
) -> Result<String, crate::domain::manifest::edit::EditError> {
    let About { draft, notes, tags, device_types } = about;
    let mut edits = vec![Edit::set(&["version"], version.as_str())];
    edits.extend(notes.as_ref().map(|notes| Edit::set(&["notes"], notes)));
    edits.extend(tags.iter().map(|(key, value)| Edit::set(&["tags", key], value)));
    let mut text = edit(first_line, &edits, Dialect::Yaml)?;
    // A list and a boolean are no texts; both come from types that need no quotes.
    if *draft {
        text.push_str("draft: true\n");
    }
    if !device_types.is_empty() {
        let names: Vec<&str> = device_types.iter().map(DeviceType::as_str).collect();
        text.push_str(&format!("requires:\n  device_types: [{}]\n", names.join(", ")));
    }
    Ok(text)
}
