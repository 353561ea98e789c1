//! Reading typed keys.

use super::{Base, KeyRules, Merge, Pin, ServiceKey, Standing, Strictness, TypedKeys, Variables};
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, VariableName, Version};
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Draft, Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys, Setting, setting};
use crate::domain::manifest::template::{Template, Value, is_template};
use crate::domain::manifest::yaml::{Field, Key, Map, Node, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// The longest reason of a hold, key of a tag or name of an image, in characters.
const MAX_WORDS: usize = 256;

/// Keys with a meaning, without their prefix.
const KNOWN: &[&str] = &[
    "branch",
    "subscribed_branch",
    "device_type",
    "pins",
    "variables",
    "services",
    "config",
    "os",
    "tags",
    "labels",
    "hold",
    "profiles",
    "maintenance",
];

/// Whether a key has a meaning in vars files that have no prefix.
pub fn is_typed_key(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Whether the file says clearly which branch it wants, if any.
pub(super) enum BranchKnown {
    Yes,
    No,
}

pub(super) fn read(
    map: &Map,
    rules: &KeyRules,
    standing: Standing,
    problems: &mut Problems,
) -> (TypedKeys, Vec<Field>, BranchKnown) {
    let prefix = match standing {
        Standing::Open => rules.prefix.as_str(),
        Standing::Closed => "",
    };
    let mut typed = TypedKeys::default();
    let mut free = Vec::new();
    let mut branch_known = BranchKnown::Yes;
    read::duplicates(map, problems);
    if map.duplicates.iter().any(|key| is_branch(key, prefix)) {
        branch_known = BranchKnown::No;
    }
    let mut branches = map.entries.iter().filter(|field| is_branch(&field.key, prefix));
    if let (Some(_), Some(second)) = (branches.next(), branches.next()) {
        let message = format!("`{prefix}branch` and `{prefix}subscribed_branch` are the same key");
        problems.error_hint(second.key.span, codes::BOTH_BRANCH_KEYS, message, "keep one of them");
        branch_known = BranchKnown::No;
    }
    for field in &map.entries {
        let key = field.key.text.strip_prefix(prefix).unwrap_or_default();
        let value = &field.value;
        match key {
            "branch" | "subscribed_branch" => {
                typed.branch = setting(value, problems, super::branch::branch);
                if typed.branch.is_none() {
                    branch_known = BranchKnown::No;
                }
            }
            "device_type" => typed.device_type = setting(value, problems, |node, all| name(node, "`device_type`", all)),
            "pins" => typed.pins = merge(value, "`pins`", problems, name_key::<AppName>, pin),
            "variables" => typed.variables = variables(value, problems),
            "services" => typed.services = merge(value, "`services`", problems, service_key, service),
            "config" => typed.config = super::config::config(value, problems),
            "os" => typed.os = setting(value, problems, |node, all| templated(node, "`os`", all, parse_words)),
            "tags" => {
                typed.tags =
                    merge(value, "`tags`", problems, word_key, |node, all| templated(node, "a tag", all, parse_text));
            }
            "labels" => typed.labels = merge(value, "`labels`", problems, label_key, label),
            "hold" => typed.hold = super::hold::hold(value, problems),
            "profiles" => typed.profiles = setting(value, problems, profiles),
            "maintenance" => typed.maintenance = super::maintenance::maintenance(value, problems),
            _ => {
                other(field, prefix, rules, standing, problems);
                read::all_duplicates(value, problems);
                free.push(field.clone());
            }
        }
    }
    (typed, free, branch_known)
}

fn is_branch(key: &Key, prefix: &str) -> bool {
    matches!(key.text.strip_prefix(prefix), Some("branch" | "subscribed_branch"))
}

/// A key without a meaning: free, a slip of the fingers, or an error.
fn other(field: &Field, prefix: &str, rules: &KeyRules, standing: Standing, problems: &mut Problems) {
    let key = &*field.key.text;
    let bare = key.strip_prefix(prefix);
    if standing == Standing::Closed {
        let keys = Keys { what: "`defaults`", known: KNOWN, later: &[], extensions: Extensions::Unknown };
        read::unknown(field, &keys, problems);
        return;
    }
    let near = bare.and_then(|bare| nearest(bare, KNOWN.iter().copied()));
    let hint = near.map(|near| format!("did you mean `{prefix}{near}`?"));
    match (rules.strictness, hint) {
        // Ansible's own settings are for Ansible.
        (Strictness::Strict, _) if key.starts_with("ansible_") => {}
        (Strictness::Strict, hint) => {
            let message = format!("`{}` has no meaning here, and `strict` is set in fleet.yml", show(key));
            problems.error_hint(
                field.key.span,
                codes::STRICT_UNKNOWN_KEY,
                message,
                hint.unwrap_or_else(|| "take the key away, or `strict`".to_owned()),
            );
        }
        (Strictness::Lenient, Some(hint)) => {
            let message = format!("`{}` is a free variable, but spelled almost like a key with a meaning", show(key));
            problems.warning(field.key.span, codes::NEAR_TYPED_KEY, message, Some(hint));
        }
        (Strictness::Lenient, None) => {}
    }
}

/// A value that may be a template.
pub(super) fn templated<T>(
    node: &Node,
    what: &'static str,
    problems: &mut Problems,
    parse: impl FnOnce(&str, Span, &'static str, &mut Problems) -> Option<T>,
) -> Option<Value<T>> {
    let text = read::text(node, what, problems)?;
    if !is_template(text) {
        return parse(text, node.span, what, problems).map(Value::Known);
    }
    match Template::new(text, node.span) {
        Ok(template) => Some(Value::Template(template)),
        Err(fault) => {
            let span = fault.place(text, node.span);
            let draft = Draft::error(problems.file(), span, codes::TEMPLATE, fault.message).maybe_hint(fault.hint);
            problems.add(draft);
            None
        }
    }
}

/// Any text.
pub fn parse_text(text: &str, _: Span, _: &'static str, _: &mut Problems) -> Option<String> {
    Some(text.to_owned())
}

/// A few words on one line.
pub fn parse_words(text: &str, span: Span, what: &'static str, problems: &mut Problems) -> Option<String> {
    word(text, span, what, problems)
}

/// Text of a key whose value decides by itself what is looked up: it cannot depend on other variables.
pub(super) fn value_text(node: &Node, what: &str, problems: &mut Problems) -> Option<String> {
    let text = read::text(node, what, problems)?;
    if is_template(text) {
        problems.error(node.span, codes::TEMPLATE, format!("{what} cannot be a template"));
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn name<T: FromStr<Err = crate::domain::ids::NameError>>(
    node: &Node,
    what: &str,
    problems: &mut Problems,
) -> Option<T> {
    let text = value_text(node, what, problems)?;
    read::parse_name(&text, node.span, problems)
}

pub(super) fn words(node: &Node, what: &str, problems: &mut Problems) -> Option<String> {
    let text = value_text(node, what, problems)?;
    word(&text, node.span, what, problems)
}

fn word(text: &str, span: Span, what: &str, problems: &mut Problems) -> Option<String> {
    if text.is_empty() || text.chars().nth(MAX_WORDS).is_some() || text.chars().any(char::is_control) {
        let message = format!("{what} must have 1 to {MAX_WORDS} characters without control characters");
        problems.error(span, codes::BAD_VALUE, message);
        return None;
    }
    Some(text.to_owned())
}

/// A mapping that merges; `null` for the whole removes what was inherited.
pub(super) fn merge<K: Ord, V>(
    node: &Node,
    what: &str,
    problems: &mut Problems,
    key: impl Fn(&Key, &mut Problems) -> Option<K>,
    value: impl Fn(&Node, &mut Problems) -> Option<V>,
) -> Option<Merge<K, V>> {
    if node.is_null() {
        return Some(Merge { span: node.span, base: Base::Empty, entries: BTreeMap::new() });
    }
    let mut entries = BTreeMap::new();
    for field in &read::map(node, what, problems)?.entries {
        let name = key(&field.key, problems);
        let value = setting(&field.value, problems, &value);
        if let (Some(name), Some(value)) = (name, value) {
            entries.insert(name, Setting { span: field.key.span, ..value });
        }
    }
    Some(Merge { span: node.span, base: Base::Inherited, entries })
}

fn name_key<T: FromStr<Err = crate::domain::ids::NameError>>(key: &Key, problems: &mut Problems) -> Option<T> {
    read::parse_name(&key.text, key.span, problems)
}

fn word_key(key: &Key, problems: &mut Problems) -> Option<String> {
    word(&key.text, key.span, "a key", problems)
}

/// Labels decide what may go down together, so their keys and values are names, not prose.
fn label_key(key: &Key, problems: &mut Problems) -> Option<String> {
    parse_label(&key.text, key.span, "a key of `labels`", problems)
}

fn label(node: &Node, problems: &mut Problems) -> Option<Value<String>> {
    templated(node, "a label", problems, parse_label)
}

/// A key or value of `labels`.
pub fn parse_label(text: &str, span: Span, what: &'static str, problems: &mut Problems) -> Option<String> {
    let bytes = text.as_bytes();
    let fits = (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/'));
    if !fits {
        let message = format!("`{}` cannot be {what}", show(text));
        let rule = "1 to 63 letters, digits, `_`, `.`, `/` or `-`, with a letter or digit at both ends";
        problems.error_hint(span, codes::BAD_NAME, message, format!("write {rule}"));
        return None;
    }
    Some(text.to_owned())
}

/// `{NAME: value}`.
fn variables(node: &Node, problems: &mut Problems) -> Option<Variables> {
    let value = |node: &Node, all: &mut Problems| templated(node, "a variable", all, parse_text);
    merge(node, "`variables`", problems, variable_name, value)
}

fn variable_name(key: &Key, problems: &mut Problems) -> Option<VariableName> {
    let name: VariableName = name_key(key, problems)?;
    if name.as_str().starts_with("BELLWETHER_") {
        let message = format!("`{name}` begins with `BELLWETHER_`, which belongs to Bellwether");
        problems.error(key.span, codes::RESERVED_NAME, message);
        return None;
    }
    Some(name)
}

fn service_key(key: &Key, problems: &mut Problems) -> Option<ServiceKey> {
    match key.text.split_once('/') {
        None => Some(ServiceKey { app: None, service: name_key(key, problems)? }),
        Some((app, service)) => Some(ServiceKey {
            app: Some(read::parse_name(app, key.span, problems)?),
            service: read::parse_name(service, key.span, problems)?,
        }),
    }
}

/// `{variables: {…}}`.
fn service(node: &Node, problems: &mut Problems) -> Option<Variables> {
    const KEYS: Keys = Keys { what: "a service", known: &["variables"], later: &[], extensions: Extensions::Unknown };
    let mut all = Merge { span: node.span, base: Base::Inherited, entries: BTreeMap::new() };
    for field in read::fields(node, &KEYS, problems)? {
        all = variables(&field.value, problems)?;
    }
    Some(all)
}

fn pin(node: &Node, problems: &mut Problems) -> Option<Value<Pin>> {
    templated(node, "a pin", problems, parse_pin)
}

/// `latest`, a version or a range.
pub fn parse_pin(text: &str, span: Span, _: &'static str, problems: &mut Problems) -> Option<Pin> {
    const HINT: &str = "write `latest`, a version such as `1.4.2`, or a range such as `^1.4` or `>=1.2, <2`";
    if text == "latest" {
        return Some(Pin::Latest);
    }
    if semver::Version::parse(text).is_ok() {
        return read::parse_name::<Version>(text, span, problems).map(Pin::Exact);
    }
    let looks_like_range =
        text.starts_with(['^', '~', '>', '<', '=', '*']) || text.ends_with(".*") || text.ends_with(".x");
    match semver::VersionReq::parse(text) {
        Ok(range) if looks_like_range => Some(Pin::Range { text: text.to_owned(), range }),
        Ok(_) | Err(_) => {
            let message = format!("`{}` is neither a version nor a range", show(text));
            problems.error_hint(span, codes::BAD_VERSION, message, HINT);
            None
        }
    }
}

/// `[name, …]`: which services with `profiles` run.
fn profiles(node: &Node, problems: &mut Problems) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for item in read::list(node, "`profiles`", problems)? {
        names.extend(words(item, "a profile", problems));
    }
    Some(names)
}
