//! `fleet.yml`: what holds for the whole fleet.

use super::listed_by::ListedBy;
use super::problems::{Draft, Problems, show};
use super::read::{self, Extensions, Keys};
use super::rollouts::Rollouts;
use super::saved::saved;
use super::vars::{KeyRules, Standing, Strictness, Vars};
use super::yaml::{Kind, Node, Span, parse};
use crate::domain::desired::RepoLimits;
use crate::domain::filter::DynamicGroups;
use crate::domain::filter::views::Saved;
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, FleetName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What `fleet.yml` says. All of it can be left out, and so can the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetFile {
    /// The fleet's name.
    pub name: Option<FleetName>,
    /// The apps with their descriptions; `None` if every folder of `releases/` is an app.
    pub apps: Option<BTreeMap<AppName, ListedApp>>,
    /// Where the devices are listed.
    pub listed_by: ListedBy,
    /// Typed keys below every group.
    pub defaults: Option<Arc<Vars>>,
    /// How vars files are read.
    pub rules: KeyRules,
    /// Limits.
    pub limits: RepoLimits,
    /// Dynamic groups and views.
    pub saved: Arc<Saved>,
    /// In which steps changes go out.
    pub rollouts: Arc<Rollouts>,
    /// What is wrong with groups and views: they are for people, so it holds nothing up.
    pub saved_findings: Vec<Draft>,
    /// What is wrong with the file; its errors concern the whole commit.
    pub findings: Vec<Draft>,
}

/// An app that `fleet.yml` lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedApp {
    /// Where.
    pub span: Span,
    /// What it is for.
    pub description: Option<String>,
}

impl FleetFile {
    /// Reads the file.
    pub fn read(file: &Arc<str>, bytes: &[u8]) -> Self {
        let mut problems = Problems::new(file);
        let mut fleet = Self::default();
        match parse(bytes) {
            Ok(Some(node)) if !node.is_null() => {
                fleet.fill(&node, &mut problems);
                let mut about_saved = Problems::new(file);
                fleet.saved = Arc::new(read_saved(&node, bytes, &mut about_saved));
                fleet.saved_findings = about_saved.finish();
                fleet.rollouts = Arc::new(read_rollouts(&node, &fleet.saved.groups, bytes, &mut problems));
            }
            Ok(_) => {}
            Err(error) => problems.yaml(error),
        }
        fleet.findings = problems.finish();
        if let Some(defaults) = &fleet.defaults {
            fleet.findings.extend(defaults.findings.iter().cloned());
        }
        fleet
    }

    fn fill(&mut self, node: &Node, problems: &mut Problems) {
        const KEYS: Keys = Keys {
            what: "fleet.yml",
            known: &[
                "name",
                "apps",
                "defaults",
                "key_prefix",
                "strict",
                "limits",
                "groups",
                "views",
                "inventory",
                "rollouts",
                "rollout",
                "freezes",
            ],
            later: &["policies", "windows", "budgets"],
            extensions: Extensions::Ignored,
        };
        for field in read::fields(node, &KEYS, problems).unwrap_or_default() {
            let value = &field.value;
            match &*field.key.text {
                "name" => self.name = read::name(value, "`name`", problems),
                "apps" => self.apps = apps(value, problems),
                "defaults" => self.defaults = Some(defaults(value, problems)),
                "key_prefix" => self.rules.prefix = prefix(value, problems).unwrap_or_default(),
                "strict" if read::boolean(value, "`strict`", problems) == Some(true) => {
                    self.rules.strictness = Strictness::Strict;
                }
                "inventory" => self.listed_by = ListedBy::read(value, problems).unwrap_or_default(),
                "limits" => self.limits = limits(value, problems).unwrap_or_default(),
                // Read apart: what is wrong there does not concern the commit.
                _ => {}
            }
        }
    }
}

fn read_saved(node: &Node, bytes: &[u8], problems: &mut Problems) -> Saved {
    let Kind::Map(map) = &node.kind else { return Saved::default() };
    let written = |key: &str| map.value(key).filter(|node| !node.is_null());
    saved(written("groups"), written("views"), bytes, problems)
}

/// Half a policy lets through what nobody meant to let through, so what is wrong there concerns the commit.
fn read_rollouts(node: &Node, groups: &DynamicGroups, bytes: &[u8], problems: &mut Problems) -> Rollouts {
    let Kind::Map(map) = &node.kind else { return Rollouts::default() };
    let (rollouts, rollout) = (map.value("rollouts"), map.value("rollout"));
    let mut read = Rollouts::read(rollouts, rollout, map.value("freezes"), problems);
    read.compile(rollouts, rollout, groups, bytes, problems);
    read
}

fn defaults(node: &Node, problems: &Problems) -> Arc<Vars> {
    let vars = Vars::from_node(problems.file(), node, &KeyRules::default(), Standing::Closed);
    Arc::new(vars)
}

fn apps(node: &Node, problems: &mut Problems) -> Option<BTreeMap<AppName, ListedApp>> {
    const KEYS: Keys = Keys { what: "an app", known: &["description"], later: &[], extensions: Extensions::Ignored };
    let mut apps = BTreeMap::new();
    for field in &read::map(node, "`apps`", problems)?.entries {
        let Some(name) = read::parse_name::<AppName>(&field.key.text, field.key.span, problems) else { continue };
        let mut description = None;
        if !field.value.is_null() {
            for field in read::fields(&field.value, &KEYS, problems).unwrap_or_default() {
                description = read::text(&field.value, "`description`", problems).map(str::to_owned);
            }
        }
        apps.insert(name, ListedApp { span: field.key.span, description });
    }
    Some(apps)
}

fn prefix(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = read::text(node, "`key_prefix`", problems)?;
    let fits = text.len() <= 32
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        let message = format!("`{}` cannot begin a variable's name", show(text));
        problems.error_hint(node.span, codes::BAD_VALUE, message, "letters, digits and `_`, such as `bw_`");
        return None;
    }
    Some(text.to_owned())
}

fn limits(node: &Node, problems: &mut Problems) -> Option<RepoLimits> {
    const KEYS: Keys =
        Keys { what: "`limits`", known: &["max_unstaged"], later: &["max_unmanaged"], extensions: Extensions::Unknown };
    let mut limits = RepoLimits::default();
    for field in read::fields(node, &KEYS, problems)? {
        let most = read::number(&field.value, "`max_unstaged`", 0..=1_000_000_000, problems);
        limits.max_unstaged = most.and_then(|most| usize::try_from(most).ok());
    }
    Some(limits)
}
