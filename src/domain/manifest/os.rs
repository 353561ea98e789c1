//! `os/<name>.yml`: one OS image for every device type that it was built for.

use super::compose::units;
use super::problems::{Draft, Problems, show};
use super::read::{self, Extensions, Keys};
use super::yaml::{Field, Kind, Node, Span, parse};
use crate::domain::digest::Digest;
use crate::domain::finding::codes;
use crate::domain::ids::DeviceType;
use crate::domain::spec::{OsSpec, Transfer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One image of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct OsImage {
    /// The file.
    pub file: Arc<str>,
    /// What each device type runs.
    pub entries: BTreeMap<DeviceType, Arc<OsEntry>>,
    /// What is wrong with the file.
    pub findings: Vec<Draft>,
    /// Whether there are errors; then no device gets this image.
    pub broken: bool,
}

/// An image for one device type.
#[derive(Clone, Debug, PartialEq)]
pub struct OsEntry {
    /// The file.
    pub file: Arc<str>,
    /// Where in it.
    pub span: Span,
    /// What a device is told.
    pub spec: OsSpec,
    /// Its keys as written, for people.
    pub written: Vec<Field>,
}

impl OsImage {
    /// Reads a file of the catalog.
    pub fn read(file: &Arc<str>, name: &str, bytes: &[u8]) -> Self {
        let mut problems = Problems::new(file);
        let entries = match parse(bytes) {
            Ok(Some(node)) => entries(&node, file, name, &mut problems),
            Ok(None) => {
                problems.error(Span::default(), codes::MISSING_KEY, "the image names no device type");
                BTreeMap::new()
            }
            Err(error) => {
                problems.yaml(error);
                BTreeMap::new()
            }
        };
        Self { file: file.clone(), entries, broken: problems.errors() > 0, findings: problems.finish() }
    }

    /// A file that could not be read at all.
    pub fn unreadable(finding: Draft) -> Self {
        Self { file: finding.file.clone(), entries: BTreeMap::new(), findings: vec![finding], broken: true }
    }
}

fn entries(node: &Node, file: &Arc<str>, name: &str, problems: &mut Problems) -> BTreeMap<DeviceType, Arc<OsEntry>> {
    let Some(map) = read::map(node, "an OS image", problems) else { return BTreeMap::new() };
    let mut entries = BTreeMap::new();
    for field in &map.entries {
        if field.key.text.starts_with("x-") {
            continue;
        }
        let device_type = read::parse_name::<DeviceType>(&field.key.text, field.key.span, problems);
        let spec = entry(&field.value, name, problems);
        if let (Some(device_type), Some(spec)) = (device_type, spec) {
            let entry = OsEntry { file: file.clone(), span: field.key.span, spec, written: written(&field.value) };
            entries.insert(device_type, Arc::new(entry));
        }
    }
    entries
}

fn written(node: &Node) -> Vec<Field> {
    let Kind::Map(map) = &node.kind else { return Vec::new() };
    map.entries.iter().filter(|field| !field.key.text.starts_with("x-")).cloned().collect()
}

fn entry(node: &Node, name: &str, problems: &mut Problems) -> Option<OsSpec> {
    const KEYS: Keys = Keys {
        what: "an image",
        known: &["version", "url", "digest", "size", "streaming"],
        later: &["delta", "min_version"],
        extensions: Extensions::Ignored,
    };
    let errors = problems.errors();
    let (mut version, mut url, mut digest, mut size_bytes) = (None, None, None, None);
    let mut transfer = Transfer::Download;
    for field in read::fields(node, &KEYS, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "version" => version = read::name(value, "`version`", problems),
            "url" => url = web_address(value, problems),
            "size" => size_bytes = size(value, problems),
            "streaming" if read::boolean(value, "`streaming`", problems) == Some(true) => transfer = Transfer::Stream,
            "streaming" => {}
            _ => {
                digest = read::text(value, "`digest`", problems).and_then(|text| match text.parse::<Digest>() {
                    Ok(digest) => Some(digest),
                    Err(error) => {
                        problems.error(value.span, codes::BAD_VALUE, error.to_string());
                        None
                    }
                });
            }
        }
    }
    if version.is_none() && problems.errors() == errors {
        read::missing(node.span, "an image", "version", problems);
    }
    let version = version?;
    (problems.errors() == errors).then(|| OsSpec { name: name.to_owned(), version, url, digest, size_bytes, transfer })
}

/// From one byte to a tebibyte, as a number or as Compose writes sizes (`512m`).
fn size(node: &Node, problems: &mut Problems) -> Option<u64> {
    let text = read::text(node, "`size`", problems)?;
    let bytes = units::bytes(text).filter(|bytes| (1..=1 << 40).contains(bytes));
    if bytes.is_none() {
        let message = format!("`{}` is not a size", show(text));
        problems.error_hint(node.span, codes::BAD_VALUE, message, "bytes, or a number with k, m or g, at most 1024g");
    }
    bytes
}

fn web_address(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = read::text(node, "`url`", problems)?;
    let fits =
        text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).is_some_and(|rest| !rest.is_empty());
    if !fits || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let message = format!("`{}` is not a web address", show(text));
        problems.error_hint(node.span, codes::BAD_VALUE, message, "it begins with https:// or http://");
        return None;
    }
    Some(text.to_owned())
}
