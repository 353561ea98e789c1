//! `releases/<app>/<version>/`: one released version of an app.

pub mod requires;

use super::compose::{self, Compose, Rules, Service};
use super::problems::{Draft, Problems, show};
use super::read::{self, Extensions, Keys};
use super::yaml::{Field, Node, Span, parse};
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, NetworkName, ServiceName, Version, VolumeName};
use crate::domain::spec::NetworkSpec;
use requires::Requirements;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One release.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The app.
    pub app: AppName,
    /// The version: the name of the folder.
    pub version: Version,
    /// Where `release.yml` says it; zero throughout if it does not.
    pub version_span: Span,
    /// The version for comparing.
    pub precedence: semver::Version,
    /// `release.yml`.
    pub file: Arc<str>,
    /// `compose.yml`.
    pub compose_file: Arc<str>,
    /// Whether devices should get it.
    pub status: ReleaseStatus,
    /// What a device must be, and where it must come from.
    pub requires: Arc<Requirements>,
    /// Whether going back from it is impossible.
    pub reversibility: Reversibility,
    /// What changed, for people.
    pub notes: Option<String>,
    /// Free metadata.
    pub tags: BTreeMap<String, String>,
    /// The services.
    pub services: BTreeMap<ServiceName, Service>,
    /// Named volumes.
    pub volumes: BTreeSet<VolumeName>,
    /// Networks that are not as plain as they could be.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// `networks` and `volumes` of `compose.yml` as written, for people.
    pub declared: Vec<Field>,
    /// What is wrong with both files.
    pub findings: Vec<Draft>,
    /// Whether there are errors; then no device gets this release.
    pub broken: bool,
}

/// Whether devices should get a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseStatus {
    /// Yes.
    Final,
    /// Not by `latest` or a range: it is being tried.
    Draft,
    /// Not by `latest` or a range: it turned out to be bad.
    Invalidated {
        /// Why.
        reason: String,
    },
}

/// Whether a device can go back to an earlier release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reversibility {
    /// It can.
    Reversible,
    /// It cannot: data was changed for good.
    Irreversible,
}

/// The two files of a release; `Err` is a file that is missing or could not be read.
pub struct ReleaseFiles<'a> {
    /// `release.yml`.
    pub release: Result<&'a [u8], Box<Draft>>,
    /// `compose.yml`.
    pub compose: Result<&'a [u8], Box<Draft>>,
}

impl Release {
    /// Reads a release. `version` is the name of its folder.
    pub fn read(app: &AppName, version: &Version, files: &ReleaseFiles<'_>, rules: Rules<'_>) -> Self {
        let folder = format!("releases/{app}/{version}");
        let file: Arc<str> = format!("{folder}/release.yml").into();
        let compose_file: Arc<str> = format!("{folder}/compose.yml").into();
        let mut problems = Problems::new(&file);
        let precedence = match semver::Version::parse(version.as_str()) {
            Ok(precedence) => precedence,
            Err(error) => {
                let message = format!("the folder `{version}` is not a semantic version: {error}");
                problems.error_hint(Span::default(), codes::BAD_VERSION, message, "write it as 1.4.2");
                semver::Version::new(0, 0, 0)
            }
        };
        let mut release = Self {
            app: app.clone(),
            version: version.clone(),
            version_span: Span::default(),
            precedence,
            file,
            compose_file: compose_file.clone(),
            status: ReleaseStatus::Final,
            requires: Arc::default(),
            reversibility: Reversibility::Reversible,
            notes: None,
            tags: BTreeMap::new(),
            services: BTreeMap::new(),
            volumes: BTreeSet::new(),
            networks: BTreeMap::new(),
            declared: Vec::new(),
            findings: Vec::new(),
            broken: false,
        };
        match files.release.clone().map(parse) {
            Ok(Ok(Some(node))) => release.fill(&node, &mut problems),
            Ok(Ok(None)) => read::missing(Span::default(), "the release", "version", &mut problems),
            Ok(Err(error)) => problems.yaml(error),
            Err(draft) => problems.add(*draft),
        }
        let mut compose_problems = Problems::new(&compose_file);
        match files.compose.clone() {
            Ok(bytes) => {
                let compose = compose::read(bytes, rules, &mut compose_problems);
                let Compose { services, volumes, networks, declared } = compose;
                (release.services, release.volumes, release.networks) = (services, volumes, networks);
                release.declared = declared;
            }
            Err(draft) => compose_problems.add(*draft),
        }
        release.broken = problems.errors() + compose_problems.errors() > 0;
        release.findings = problems.finish();
        release.findings.extend(compose_problems.finish());
        release
    }

    fn fill(&mut self, node: &Node, problems: &mut Problems) {
        const KEYS: Keys = Keys {
            what: "a release",
            known: &["version", "draft", "invalidated", "notes", "tags", "requires", "irreversible"],
            later: &["image", "signatures"],
            extensions: Extensions::Ignored,
        };
        let Some(fields) = read::fields(node, &KEYS, problems) else { return };
        let (mut named, mut draft, mut invalidated) = (false, false, None);
        for field in fields {
            let value = &field.value;
            match &*field.key.text {
                "version" => {
                    named = true;
                    self.version_span = value.span;
                    self.check_version(value, problems);
                }
                "draft" => draft = read::boolean(value, "`draft`", problems).unwrap_or(true),
                "invalidated" => invalidated = invalidation(value, problems),
                "notes" => self.notes = read::text(value, "`notes`", problems).map(str::to_owned),
                "tags" => self.tags = tags(value, problems),
                "requires" => self.requires = Arc::new(requires::read(value, &self.precedence, problems)),
                _ => {
                    if read::boolean(value, "`irreversible`", problems) == Some(true) {
                        self.reversibility = Reversibility::Irreversible;
                    }
                }
            }
        }
        if !named {
            read::missing(node.span, "the release", "version", problems);
        }
        self.status = match (invalidated, draft) {
            (Some(reason), _) => ReleaseStatus::Invalidated { reason },
            (None, true) => ReleaseStatus::Draft,
            (None, false) => ReleaseStatus::Final,
        };
    }

    fn check_version(&self, node: &Node, problems: &mut Problems) {
        let Some(text) = read::text(node, "`version`", problems) else { return };
        if text != self.version.as_str() {
            let message = format!("the version is `{}`, but the folder is `{}`", show(text), self.version);
            problems.error(node.span, codes::VERSION_MISMATCH, message);
        }
    }
}

fn invalidation(node: &Node, problems: &mut Problems) -> Option<String> {
    const KEYS: Keys = Keys { what: "`invalidated`", known: &["reason"], later: &[], extensions: Extensions::Unknown };
    // Whatever is wrong with the reason, the release must not be taken for a good one.
    let mut reason = None;
    for field in read::fields(node, &KEYS, problems).unwrap_or_default() {
        reason = read::text(&field.value, "`reason`", problems).map(str::to_owned);
    }
    if reason.is_none() {
        read::missing(node.span, "`invalidated`", "reason", problems);
    }
    Some(reason.unwrap_or_default())
}

fn tags(node: &Node, problems: &mut Problems) -> BTreeMap<String, String> {
    let Some(map) = read::map(node, "`tags`", problems) else { return BTreeMap::new() };
    map.entries
        .iter()
        .filter_map(|field| {
            let value = read::text(&field.value, "a tag", problems)?;
            Some((field.key.text.to_string(), value.to_owned()))
        })
        .collect()
}
