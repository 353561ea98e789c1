//! A file of variables: `group_vars`, `host_vars`, inline `vars:` of the inventory, and `defaults` of `fleet.yml`.
//!
//! Some top-level keys have a meaning to Bellwether. They take the text as written, and their mappings merge per key. All others
//! are free variables, which belong to Ansible and to people.

mod branch;
mod config;
mod free;
mod hold;
mod maintenance;
mod typed;

pub use branch::{BRANCH_FORM, BranchRule, TheDevice};
pub use config::{ConfigKey, ConfigValue, SYSCTL, parse_hostname, parse_sysctl, parse_zone_name};
pub use hold::{HoldKey, HoldValue};
pub use maintenance::{MaintenanceKey, MaintenanceValue, WrittenWindow, parse_zone, read_window};
pub use typed::{is_typed_key, parse_label, parse_pin, parse_text, parse_words};

use super::problems::{Draft, Problems};
use super::read::Setting;
use super::template::Value;
use super::yaml::{Field, Kind, Node, Span};
use crate::domain::finding::{Severity, codes};
use crate::domain::ids::{AppName, DeviceType, ServiceName, VariableName, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One source of variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Vars {
    /// The file.
    pub file: Arc<str>,
    /// Keys with a meaning.
    pub typed: TypedKeys,
    /// All other keys.
    pub free: Vec<Field>,
    /// What is wrong with it.
    pub findings: Vec<Draft>,
    /// Whether it can be relied on.
    pub health: Health,
    /// Whether what it says can depend on the device that reads it.
    pub wording: Wording,
}

/// Whether what a source says can depend on the device that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// The same for every device.
    Plain,
    /// Some value holds the marks of a template, which can name the device.
    Templated,
}

impl Wording {
    fn of(node: &Node) -> Self {
        let templated = match &node.kind {
            Kind::Scalar(scalar) => ["{{", "{%", "{#"].iter().any(|mark| scalar.text.contains(mark)),
            Kind::List(items) => items.iter().any(|item| Self::of(item) == Self::Templated),
            Kind::Map(map) => map.entries.iter().any(|field| Self::of(&field.value) == Self::Templated),
        };
        if templated { Self::Templated } else { Self::Plain }
    }
}

/// Whether a file can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// No errors.
    Sound,
    /// It has errors: what it touches gets nothing new, but the branch is known.
    Faulty,
    /// It has errors so that even the branch is not known.
    Unreadable,
}

/// The typed keys of one source, each `None` if it is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TypedKeys {
    /// `branch` or `subscribed_branch`.
    pub branch: Option<Setting<BranchRule>>,
    /// `device_type`.
    pub device_type: Option<Setting<DeviceType>>,
    /// `pins`.
    pub pins: Option<Merge<AppName, Value<Pin>>>,
    /// `variables`.
    pub variables: Option<Variables>,
    /// `services`.
    pub services: Option<Merge<ServiceKey, Variables>>,
    /// `config`.
    pub config: Option<Merge<ConfigKey, ConfigValue>>,
    /// `os`.
    pub os: Option<Setting<Value<String>>>,
    /// `tags`.
    pub tags: Option<Merge<String, Value<String>>>,
    /// `labels`.
    pub labels: Option<Merge<String, Value<String>>>,
    /// `hold`.
    pub hold: Option<Merge<HoldKey, HoldValue>>,
    /// `profiles`.
    pub profiles: Option<Setting<BTreeSet<String>>>,
    /// `maintenance`.
    pub maintenance: Option<Merge<MaintenanceKey, MaintenanceValue>>,
}

/// Variables of an environment.
pub type Variables = Merge<VariableName, Value<String>>;

/// A mapping that is laid over inherited ones key by key (RFC 7396).
#[derive(Clone, Debug, PartialEq)]
pub struct Merge<K: Ord, V> {
    /// Where it stands.
    pub span: Span,
    /// Written `null` as a whole: everything inherited goes.
    pub base: Base,
    /// What it sets and removes.
    pub entries: BTreeMap<K, Setting<V>>,
}

/// What a mapping is laid over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// What was inherited.
    Inherited,
    /// Nothing.
    Empty,
}

/// Which release of an app a device shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The newest final release in the tree.
    Latest,
    /// This one.
    Exact(Version),
    /// The newest final release in a range.
    Range {
        /// As written.
        text: String,
        /// What it allows.
        range: semver::VersionReq,
    },
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Exact(version) => write!(f, "{version}"),
            Self::Range { text, .. } => f.write_str(text),
        }
    }
}

/// A key of `services`: a service, or one of a certain app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The app, where it is named.
    pub app: Option<AppName>,
    /// The service.
    pub service: ServiceName,
}

impl std::fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.app {
            Some(app) => write!(f, "{app}/{}", self.service),
            None => write!(f, "{}", self.service),
        }
    }
}

/// How `fleet.yml` wants keys of vars files to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRules {
    /// What typed keys begin with.
    pub prefix: String,
    /// What becomes of keys without a meaning.
    pub strictness: Strictness,
}

/// What becomes of things that are allowed but doubtful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strictness {
    /// A warning at most.
    #[default]
    Lenient,
    /// An error.
    Strict,
}

/// Where variables stand: that decides what a key without a meaning is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In a vars file or the inventory, where free variables live too.
    Open,
    /// In `fleet.yml`, where only typed keys can stand.
    Closed,
}

impl Vars {
    /// Reads a file.
    pub fn read(file: &Arc<str>, bytes: &[u8], rules: &KeyRules) -> Self {
        match free::document(bytes) {
            Ok(Some(node)) => Self::from_node(file, &node, rules, Standing::Open),
            Ok(None) => Self::empty(file),
            Err(error) => {
                let mut problems = Problems::new(file);
                problems.yaml(error);
                Self { findings: problems.finish(), health: Health::Unreadable, ..Self::empty(file) }
            }
        }
    }

    /// Reads variables as Ansible knows them: none of them has a meaning here.
    pub fn free(file: &Arc<str>, node: &Node) -> Self {
        let mut problems = Problems::new(file);
        let Kind::Map(map) = &node.kind else {
            if !is_nothing(node) {
                let message = format!("variables must be a mapping, not {}", node.describe());
                problems.error(node.span, codes::WRONG_TYPE, message);
            }
            return Self { findings: problems.finish(), ..Self::empty(file) };
        };
        free::look_at(map, free::Duplicates::Warnings, &mut problems);
        Self { free: map.entries.clone(), findings: problems.finish(), ..Self::empty(file) }
    }

    /// Reads a file of variables as Ansible knows them.
    pub fn read_free(file: &Arc<str>, bytes: &[u8]) -> Self {
        match free::document(bytes) {
            Ok(Some(Node { kind: Kind::Map(map), .. })) => {
                let mut problems = Problems::new(file);
                free::look_at(&map, free::Duplicates::Warnings, &mut problems);
                Self { free: map.entries, findings: problems.finish(), ..Self::empty(file) }
            }
            Ok(Some(node)) => Self::free(file, &node),
            Ok(None) => Self::empty(file),
            Err(error) => {
                let mut problems = Problems::new(file);
                problems.yaml(error);
                Self { findings: problems.finish(), health: Health::Unreadable, ..Self::empty(file) }
            }
        }
    }

    /// A file that could not even be read.
    pub fn unreadable(finding: Draft) -> Self {
        Self { health: Health::Unreadable, findings: vec![finding.clone()], ..Self::empty(&finding.file) }
    }

    fn empty(file: &Arc<str>) -> Self {
        Self {
            file: file.clone(),
            typed: TypedKeys::default(),
            free: Vec::new(),
            findings: Vec::new(),
            health: Health::Sound,
            wording: Wording::Plain,
        }
    }

    /// Reads variables that are part of a larger file.
    pub fn from_node(file: &Arc<str>, node: &Node, rules: &KeyRules, standing: Standing) -> Self {
        if is_nothing(node) {
            return Self::empty(file);
        }
        let mut problems = Problems::new(file);
        let Kind::Map(map) = &node.kind else {
            let message = format!("variables must be a mapping, not {}", node.describe());
            problems.error(node.span, codes::WRONG_TYPE, message);
            return Self { findings: problems.finish(), health: Health::Unreadable, ..Self::empty(file) };
        };
        let (typed, free, branch_known) = typed::read(map, rules, standing, &mut problems);
        free::look_at_fields(&free, &mut problems);
        let health = match (branch_known, problems.errors()) {
            (typed::BranchKnown::No, _) => Health::Unreadable,
            (typed::BranchKnown::Yes, 0) => Health::Sound,
            (typed::BranchKnown::Yes, _) => Health::Faulty,
        };
        let wording = Wording::of(node);
        Self { file: file.clone(), typed, free, findings: problems.finish(), health, wording }
    }

    /// The first error, for people.
    pub fn first_error(&self) -> Option<&Draft> {
        self.findings.iter().find(|draft| draft.severity == Severity::Error)
    }
}

/// What Ansible takes for an empty file: nothing, or what Python holds for false.
fn is_nothing(node: &Node) -> bool {
    match &node.kind {
        Kind::List(items) => items.is_empty(),
        Kind::Map(_) => false,
        Kind::Scalar(scalar) => free::is_falsy(scalar),
    }
}
