//! `requires` of a release: what a device must be, and where it must come from, to run it.

use crate::domain::finding::codes;
use crate::domain::ids::{DeviceType, Version};
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys};
use crate::domain::manifest::yaml::{Node, Span};
use std::collections::BTreeSet;

/// What a device must be, and where it must come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Its type is one of these; empty for all.
    pub device_types: BTreeSet<DeviceType>,
    /// Its agent is at least this version.
    pub min_agent: Option<semver::Version>,
    /// Its OS has a version in this range.
    pub os: Option<VersionRange>,
    /// It runs one of these releases, or none of the app yet; empty for any.
    pub from: Vec<FromRelease>,
}

/// A range of versions, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The text.
    pub text: String,
    /// What it allows.
    pub range: semver::VersionReq,
}

/// Earlier releases from which a device can come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromRelease {
    /// Where it is written.
    pub span: Span,
    /// Which.
    pub which: FromVersions,
}

/// Which earlier releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromVersions {
    /// This one.
    Exact(semver::Version),
    /// Those in a range.
    Range(VersionRange),
}

impl FromVersions {
    /// Whether a version is among them.
    pub fn allows(&self, version: &semver::Version) -> bool {
        match self {
            Self::Exact(exact) => exact == version,
            Self::Range(range) => range.range.matches(version),
        }
    }
}

impl std::fmt::Display for FromVersions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(version) => write!(f, "{version}"),
            Self::Range(range) => f.write_str(&range.text),
        }
    }
}

impl Requirements {
    /// Whether a device of any kind, from anywhere, can run the release.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a device that runs `version` of the app can go on to the release.
    pub fn reachable_from(&self, version: &Version) -> bool {
        if self.from.is_empty() {
            return true;
        }
        // A version that cannot be compared is none that anybody named.
        let Ok(version) = semver::Version::parse(version.as_str()) else { return false };
        self.from.iter().any(|from| from.which.allows(&version))
    }
}

/// The version that an OS reports, as far as it can be compared: up to three numbers with dots between them, as in `2025.10`.
pub fn comparable(text: &str) -> Option<semver::Version> {
    if let Ok(version) = semver::Version::parse(text) {
        return Some(version);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut parts = text[..end].trim_end_matches('.').split('.');
    let mut number = || parts.next().map_or(Some(0), |part| part.parse().ok());
    let version = semver::Version::new(number()?, number()?, number()?);
    (parts.next().is_none() && text.starts_with(|c: char| c.is_ascii_digit())).then_some(version)
}

/// Reads `requires` of the release with this version.
pub(super) fn read(node: &Node, own: &semver::Version, problems: &mut Problems) -> Requirements {
    const KEYS: Keys = Keys {
        what: "`requires`",
        known: &["device_types", "min_agent", "os", "from"],
        later: &[],
        extensions: Extensions::Unknown,
    };
    let mut requires = Requirements::default();
    for field in read::fields(node, &KEYS, problems).unwrap_or_default() {
        let value = &field.value;
        match &*field.key.text {
            "device_types" => {
                for item in read::list(value, "`device_types`", problems).unwrap_or_default() {
                    requires.device_types.extend(read::name::<DeviceType>(item, "a device type", problems));
                }
            }
            "min_agent" => requires.min_agent = version(value, "`min_agent`", problems),
            "os" => requires.os = range(value, "`os`", problems),
            _ => {
                let Some(items) = read::list(value, "`from`", problems) else { continue };
                requires.from = items.iter().filter_map(|item| from(item, own, problems)).collect();
                if items.is_empty() {
                    let message = "`from` names no release, so no device could get this one";
                    problems.error_hint(value.span, codes::BAD_FROM, message, "leave it out if any release will do");
                }
            }
        }
    }
    requires
}

fn version(node: &Node, what: &str, problems: &mut Problems) -> Option<semver::Version> {
    let text = read::text(node, what, problems)?;
    let version = semver::Version::parse(text).ok();
    if version.is_none() {
        let message = format!("`{}` is not a semantic version", show(text));
        problems.error_hint(node.span, codes::BAD_VERSION, message, "write it as 1.4.2");
    }
    version
}

fn range(node: &Node, what: &str, problems: &mut Problems) -> Option<VersionRange> {
    let text = read::text(node, what, problems)?;
    let range = parse_range(text);
    if range.is_none() {
        let message = format!("`{}` is not a range of versions", show(text));
        problems.error_hint(node.span, codes::BAD_VERSION, message, "write it as `>=2.3, <4`");
    }
    range
}

/// A range says that it is one: a bare `1.4` would mean `^1.4` to some and `=1.4` to others.
fn parse_range(text: &str) -> Option<VersionRange> {
    let says_so = text.starts_with(['^', '~', '>', '<', '=', '*']) || text.ends_with(".*") || text.ends_with(".x");
    let range = semver::VersionReq::parse(text).ok().filter(|_| says_so)?;
    Some(VersionRange { text: text.to_owned(), range })
}

fn from(node: &Node, own: &semver::Version, problems: &mut Problems) -> Option<FromRelease> {
    let text = read::text(node, "a release in `from`", problems)?;
    let which = match semver::Version::parse(text) {
        Ok(version) if version >= *own => {
            // Only a later release could name this one in return, so there can be no circle without such an entry.
            let message = format!("`from` names {version}, which is not earlier than {own}");
            let hint = "name earlier releases; a release cannot be reached from itself or from a later one";
            problems.error_hint(node.span, codes::BAD_FROM, message, hint);
            return None;
        }
        Ok(version) => FromVersions::Exact(version),
        Err(_) => match parse_range(text) {
            Some(range) => FromVersions::Range(range),
            None => {
                let message = format!("`{}` is neither a version nor a range", show(text));
                let hint = "write a version such as `1.4.2`, or a range such as `^1.4`";
                problems.error_hint(node.span, codes::BAD_VERSION, message, hint);
                return None;
            }
        },
    };
    Some(FromRelease { span: node.span, which })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_an_os_are_compared_as_far_as_they_are_numbers() {
        let check = |text: &str| comparable(text).map(|version| version.to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(check("2025.10"), some("2025.10.0"));
        assert_eq!(check("7"), some("7.0.0"));
        assert_eq!(check("2.3.4-rc.1"), some("2.3.4-rc.1"));
        assert_eq!(check("2025.10-pi4"), some("2025.10.0"));
        assert_eq!(check("1.2.3.4"), None);
        assert_eq!(check("bookworm"), None);
        assert_eq!(check(""), None);
        assert_eq!(check("99999999999999999999999"), None);
    }
}
