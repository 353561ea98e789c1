//! Reading typed values from nodes. Every function either gives the value or adds a finding and gives `None`.

use super::near::nearest;
use super::problems::{Problems, show};
use super::yaml::{Field, Kind, Map, Node, Span};
use crate::domain::finding::codes;
use crate::domain::ids::NameError;
use crate::domain::time::Timestamp;
use std::str::FromStr;

/// How many entries a typed mapping or list may have. A device document is configuration, not data.
pub const MAX_ENTRIES: usize = 1000;
/// The longest typed text, in bytes.
pub const MAX_TEXT_BYTES: usize = 32 << 10;

/// A value with its place. `None` is written `null`: it removes what was inherited.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting<T> {
    /// Where it is written.
    pub span: Span,
    /// What is written.
    pub value: Option<T>,
}

/// The value of a key: `null` gives a setting that removes, a bad value a finding and `None`.
pub fn setting<T>(
    node: &Node,
    problems: &mut Problems,
    read: impl FnOnce(&Node, &mut Problems) -> Option<T>,
) -> Option<Setting<T>> {
    if node.is_null() {
        return Some(Setting { span: node.span, value: None });
    }
    read(node, problems).map(|value| Setting { span: node.span, value: Some(value) })
}

/// A mapping.
pub fn map<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> Option<&'a Map> {
    let Kind::Map(map) = &node.kind else {
        problems.error(node.span, codes::WRONG_TYPE, format!("{what} must be a mapping, not {}", node.describe()));
        return None;
    };
    duplicates(map, problems);
    if map.entries.len() > MAX_ENTRIES {
        let message = format!("{what} has {} entries; at most {MAX_ENTRIES} are accepted", map.entries.len());
        problems.error(node.span, codes::TOO_LARGE, message);
        return None;
    }
    Some(map)
}

/// A list.
pub fn list<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> Option<&'a [Node]> {
    let Kind::List(items) = &node.kind else {
        problems.error(node.span, codes::WRONG_TYPE, format!("{what} must be a list, not {}", node.describe()));
        return None;
    };
    if items.len() > MAX_ENTRIES {
        let message = format!("{what} has {} items; at most {MAX_ENTRIES} are accepted", items.len());
        problems.error(node.span, codes::TOO_LARGE, message);
        return None;
    }
    Some(items)
}

/// Reports keys that stand twice in this mapping.
pub fn duplicates(map: &Map, problems: &mut Problems) {
    for key in &map.duplicates {
        let message = format!("the key `{}` stands here and again further down", show(&key.text));
        problems.error_hint(key.span, codes::DUPLICATE_KEY, message, "keep one of them");
    }
}

/// Reports keys that stand twice anywhere below this node.
pub fn all_duplicates(node: &Node, problems: &mut Problems) {
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::List(items) => items.iter().for_each(|item| all_duplicates(item, problems)),
        Kind::Map(map) => {
            duplicates(map, problems);
            map.entries.iter().for_each(|field| all_duplicates(&field.value, problems));
        }
    }
}

/// The keys of a mapping that may have only these.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// What the mapping is, for messages.
    pub what: &'static str,
    /// Keys that mean something.
    pub known: &'static [&'static str],
    /// Keys that are understood and do nothing yet.
    pub later: &'static [&'static str],
    /// Whether `x-…` keys are left alone.
    pub extensions: Extensions,
}

/// Whether keys that begin with `x-` are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extensions {
    /// They are.
    Ignored,
    /// They are unknown like any other.
    Unknown,
}

/// The fields of a mapping whose keys are known; each of the others becomes an error.
pub fn fields<'a>(node: &'a Node, keys: &Keys, problems: &mut Problems) -> Option<Vec<&'a Field>> {
    let map = map(node, keys.what, problems)?;
    let mut known = Vec::with_capacity(map.entries.len());
    for field in &map.entries {
        let key = &*field.key.text;
        if keys.known.contains(&key) {
            known.push(field);
        } else if !(keys.extensions == Extensions::Ignored && key.starts_with("x-")) {
            unknown(field, keys, problems);
        }
    }
    Some(known)
}

/// Reports a key that is not known.
pub fn unknown(field: &Field, keys: &Keys, problems: &mut Problems) {
    let key = &*field.key.text;
    if keys.later.contains(&key) {
        let message = format!("`{key}` is not supported yet");
        problems.error_hint(field.key.span, codes::UNSUPPORTED_KEY, message, "leave it out");
        return;
    }
    let message = format!("{} has no key `{}`", keys.what, show(key));
    let hint = match nearest(key, keys.known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known keys: {}", keys.known.join(", ")),
    };
    problems.error_hint(field.key.span, codes::UNKNOWN_KEY, message, hint);
}

/// Reports that a key is missing.
pub fn missing(span: Span, what: &str, key: &str, problems: &mut Problems) {
    problems.error(span, codes::MISSING_KEY, format!("{what} has no `{key}`"));
}

/// The text of a scalar exactly as written, whatever type YAML would give it.
pub fn text<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> Option<&'a str> {
    let Kind::Scalar(scalar) = &node.kind else {
        problems.error(node.span, codes::WRONG_TYPE, format!("{what} must be text, not {}", node.describe()));
        return None;
    };
    if node.is_null() {
        problems.error(node.span, codes::WRONG_TYPE, format!("{what} must be text, not nothing"));
        return None;
    }
    if let Some(tag) = node.tag.as_deref().filter(|tag| *tag != "tag:yaml.org,2002:str") {
        problems.error(node.span, codes::UNSUPPORTED_TAG, format!("the tag `{}` has no meaning for {what}", show(tag)));
        return None;
    }
    if scalar.text.len() > MAX_TEXT_BYTES {
        let message = format!("{what} is {} bytes long; at most {MAX_TEXT_BYTES} are accepted", scalar.text.len());
        problems.error(node.span, codes::TOO_LARGE, message);
        return None;
    }
    if scalar.text.contains('\0') {
        problems.error(node.span, codes::BAD_VALUE, format!("{what} contains a NUL character"));
        return None;
    }
    Some(&scalar.text)
}

/// A name: text that its type accepts.
pub fn name<T: FromStr<Err = NameError>>(node: &Node, what: &str, problems: &mut Problems) -> Option<T> {
    let text = text(node, what, problems)?;
    parse_name(text, node.span, problems)
}

/// A name from a text at a place.
pub fn parse_name<T: FromStr<Err = NameError>>(text: &str, span: Span, problems: &mut Problems) -> Option<T> {
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let NameError { kind, text, rule } = error;
            problems.error_hint(
                span,
                codes::BAD_NAME,
                format!("`{}` is not a {kind}", show(&text)),
                format!("a {kind} is {rule}"),
            );
            None
        }
    }
}

/// `true` or `false`. YAML 1.1's other spellings are refused, because half of the tools read them as text.
pub fn boolean(node: &Node, what: &str, problems: &mut Problems) -> Option<bool> {
    let text = text(node, what, problems)?;
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => {
            let message = format!("{what} must be true or false, not `{}`", show(text));
            problems.error_hint(node.span, codes::WRONG_TYPE, message, "write `true` or `false`");
            None
        }
    }
}

/// A whole number in a range.
pub fn number(node: &Node, what: &str, range: std::ops::RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
    let text = text(node, what, problems)?;
    // A leading zero would be octal in YAML 1.1; nobody means that here.
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    match text.parse::<u64>() {
        Ok(number) if plain && range.contains(&number) => Some(number),
        Ok(_) | Err(_) => {
            let message = format!(
                "{what} must be a whole number from {} to {}, not `{}`",
                range.start(),
                range.end(),
                show(text)
            );
            problems.error(node.span, codes::BAD_NUMBER, message);
            None
        }
    }
}

/// A point in time.
pub fn timestamp(node: &Node, what: &str, problems: &mut Problems) -> Option<Timestamp> {
    let text = text(node, what, problems)?;
    match text.parse() {
        Ok(at) => Some(at),
        Err(_) => {
            let message = format!("{what} must be a date and time, not `{}`", show(text));
            problems.error_hint(node.span, codes::BAD_DATE, message, "write it as 2026-12-01T18:00:00Z");
            None
        }
    }
}
