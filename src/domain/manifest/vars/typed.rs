//! Reading typed keys.

use super::{Base, BranchRule, ConfigValue, KeyRules, Merge, Pin, ServiceKey, Standing, Strictness, TypedKeys};
use crate::domain::desired::RepoHold;
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, StageName, VariableName, Version};
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys, Setting, setting};
use crate::domain::manifest::yaml::{Field, Key, Kind, Map, Node};
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
];
/// Keys that will have a meaning.
const LATER: &[&str] = &["maintenance"];

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
                typed.branch = setting(value, problems, branch);
                if typed.branch.is_none() {
                    branch_known = BranchKnown::No;
                }
            }
            "device_type" => typed.device_type = setting(value, problems, |node, all| name(node, "`device_type`", all)),
            "pins" => typed.pins = merge(value, "`pins`", problems, name_key::<AppName>, pin),
            "variables" => typed.variables = variables(value, problems),
            "services" => typed.services = merge(value, "`services`", problems, service_key, service),
            "config" => typed.config = config(value, problems),
            "os" => typed.os = setting(value, problems, |node, all| words(node, "`os`", all)),
            "tags" => {
                typed.tags = merge(value, "`tags`", problems, word_key, |node, all| value_text(node, "a tag", all))
            }
            "labels" => {
                typed.labels =
                    merge(value, "`labels`", problems, word_key, |node, all| value_text(node, "a label", all));
            }
            "hold" => typed.hold = setting(value, problems, hold),
            "profiles" => typed.profiles = setting(value, problems, profiles),
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
    if standing == Standing::Closed || bare.is_some_and(|bare| LATER.contains(&bare)) {
        let keys = Keys { what: "`defaults`", known: KNOWN, later: LATER, extensions: Extensions::Unknown };
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

/// Text of a typed key. Templates are refused until they are understood: a device must not get their source.
fn value_text(node: &Node, what: &str, problems: &mut Problems) -> Option<String> {
    let text = read::text(node, what, problems)?;
    if text.contains("{{") || text.contains("{%") {
        problems.error(node.span, codes::TEMPLATE, format!("{what} is a template, which is not supported yet"));
        return None;
    }
    Some(text.to_owned())
}

fn name<T: FromStr<Err = crate::domain::ids::NameError>>(
    node: &Node,
    what: &str,
    problems: &mut Problems,
) -> Option<T> {
    let text = value_text(node, what, problems)?;
    read::parse_name(&text, node.span, problems)
}

fn words(node: &Node, what: &str, problems: &mut Problems) -> Option<String> {
    let text = value_text(node, what, problems)?;
    word(&text, node.span, what, problems)
}

fn word(text: &str, span: crate::domain::manifest::yaml::Span, what: &str, problems: &mut Problems) -> Option<String> {
    if text.is_empty() || text.chars().nth(MAX_WORDS).is_some() || text.chars().any(char::is_control) {
        let message = format!("{what} must have 1 to {MAX_WORDS} characters without control characters");
        problems.error(span, codes::BAD_VALUE, message);
        return None;
    }
    Some(text.to_owned())
}

/// A mapping that merges; `null` for the whole removes what was inherited.
fn merge<K: Ord, V>(
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

/// `{NAME: value}`.
pub(super) fn variables(node: &Node, problems: &mut Problems) -> Option<Merge<VariableName, String>> {
    merge(node, "`variables`", problems, variable_name, |node, all| value_text(node, "a variable", all))
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
fn service(node: &Node, problems: &mut Problems) -> Option<Merge<VariableName, String>> {
    const KEYS: Keys = Keys { what: "a service", known: &["variables"], later: &[], extensions: Extensions::Unknown };
    let mut all = Merge { span: node.span, base: Base::Inherited, entries: BTreeMap::new() };
    for field in read::fields(node, &KEYS, problems)? {
        all = variables(&field.value, problems)?;
    }
    Some(all)
}

fn branch(node: &Node, problems: &mut Problems) -> Option<BranchRule> {
    const KEYS: Keys =
        Keys { what: "`branch`", known: &["from", "allowed"], later: &[], extensions: Extensions::Unknown };
    const FORM: &str = "write a branch name, or `{from: device, allowed: [main, canary]}`";
    match &node.kind {
        Kind::Scalar(_) => name(node, "`branch`", problems).map(BranchRule::Stage),
        Kind::List(_) => {
            problems.error_hint(node.span, codes::BRANCH_FORM, "`branch` is a list", FORM);
            None
        }
        Kind::Map(map) => {
            let errors = problems.errors();
            read::fields(node, &KEYS, problems)?;
            match map.value("from").map(|from| read::text(from, "`from`", problems)) {
                Some(Some("device")) => {}
                Some(None) => {}
                Some(Some(_)) | None => {
                    problems.error_hint(node.span, codes::BRANCH_FORM, "`from` must be `device`", FORM);
                }
            }
            let allowed = match map.value("allowed") {
                Some(allowed) => read::list(allowed, "`allowed`", problems)?
                    .iter()
                    .filter_map(|stage| name::<StageName>(stage, "a stage", problems))
                    .collect(),
                None => BTreeSet::new(),
            };
            if allowed.is_empty() && problems.errors() == errors {
                problems.error_hint(node.span, codes::BRANCH_FORM, "`allowed` names no branch", FORM);
            }
            (problems.errors() == errors).then_some(BranchRule::FromDevice(allowed))
        }
    }
}

fn pin(node: &Node, problems: &mut Problems) -> Option<Pin> {
    const HINT: &str = "write `latest`, a version such as `1.4.2`, or a range such as `^1.4` or `>=1.2, <2`";
    let text = value_text(node, "a pin", problems)?;
    if text == "latest" {
        return Some(Pin::Latest);
    }
    if semver::Version::parse(&text).is_ok() {
        return read::parse_name::<Version>(&text, node.span, problems).map(Pin::Exact);
    }
    let looks_like_range =
        text.starts_with(['^', '~', '>', '<', '=', '*']) || text.ends_with(".*") || text.ends_with(".x");
    match semver::VersionReq::parse(&text) {
        Ok(range) if looks_like_range => Some(Pin::Range { text, range }),
        Ok(_) | Err(_) => {
            let message = format!("`{}` is neither a version nor a range", show(&text));
            problems.error_hint(node.span, codes::BAD_VERSION, message, HINT);
            None
        }
    }
}

fn config(node: &Node, problems: &mut Problems) -> Option<Merge<String, ConfigValue>> {
    const KEYS: Keys = Keys {
        what: "`config`",
        known: &["poll_interval_secs", "persistent_logging"],
        later: &[],
        extensions: Extensions::Ignored,
    };
    if node.is_null() {
        return Some(Merge { span: node.span, base: Base::Empty, entries: BTreeMap::new() });
    }
    let mut entries = BTreeMap::new();
    for field in &read::map(node, KEYS.what, problems)?.entries {
        let key = &*field.key.text;
        let value = match key {
            "poll_interval_secs" => setting(&field.value, problems, |node, all| {
                let secs = read::number(node, "`poll_interval_secs`", 1..=86_400, all)?;
                u32::try_from(secs).ok().map(ConfigValue::Secs)
            }),
            "persistent_logging" => setting(&field.value, problems, |node, all| {
                read::boolean(node, "`persistent_logging`", all).map(ConfigValue::Flag)
            }),
            _ if key.starts_with("x-") => {
                let _ = word_key(&field.key, problems)?;
                setting(&field.value, problems, |node, all| value_text(node, "an `x-` key", all).map(ConfigValue::Text))
            }
            _ => {
                read::unknown(field, &KEYS, problems);
                None
            }
        };
        if let Some(value) = value {
            entries.insert(key.to_owned(), Setting { span: field.key.span, ..value });
        }
    }
    Some(Merge { span: node.span, base: Base::Inherited, entries })
}

/// `[name, …]`: which services with `profiles` run.
fn profiles(node: &Node, problems: &mut Problems) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for item in read::list(node, "`profiles`", problems)? {
        names.extend(words(item, "a profile", problems));
    }
    Some(names)
}

fn hold(node: &Node, problems: &mut Problems) -> Option<RepoHold> {
    const KEYS: Keys =
        Keys { what: "`hold`", known: &["reason", "until"], later: &[], extensions: Extensions::Unknown };
    let errors = problems.errors();
    let (mut reason, mut until) = (None, None);
    for field in read::fields(node, &KEYS, problems)? {
        match &*field.key.text {
            "reason" => reason = words(&field.value, "`reason`", problems),
            _ if field.value.is_null() => {}
            _ => until = read::timestamp(&field.value, "`until`", problems),
        }
    }
    if reason.is_none() && problems.errors() == errors {
        read::missing(node.span, "`hold`", "reason", problems);
    }
    let reason = reason?;
    (problems.errors() == errors).then_some(RepoHold { reason, until })
}
