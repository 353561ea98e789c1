//! `--yaml`: the answer as `ansible-inventory --yaml` lays it out, written as its library for YAML writes.

use crate::domain::manifest::scalar::{Typed, typed};
use crate::domain::manifest::yaml::{Scalar, Style};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What stands for values that Ansible decrypts, and for text that it never takes for a template. In YAML only the first is marked.
const TAGS: [(&str, &str); 2] = [("__ansible_vault", "!vault"), ("__ansible_unsafe", "")];

/// Groups inside groups, from the flat answer. A host has its variables where it stands first, and a group that was shown is only
/// named again.
pub fn nested(list: &Value) -> Value {
    let hosts = list.get("_meta").and_then(|meta| meta.get("hostvars"));
    let mut nesting = Nesting { list, hosts, seen_hosts: BTreeSet::new(), seen_groups: BTreeSet::new() };
    Value::Object(nesting.group("all"))
}

struct Nesting<'a> {
    list: &'a Value,
    hosts: Option<&'a Value>,
    seen_hosts: BTreeSet<&'a str>,
    seen_groups: BTreeSet<&'a str>,
}

impl<'a> Nesting<'a> {
    /// The group under its name; nothing for an empty one. Groups have no circles: that was checked when they were read.
    fn group(&mut self, name: &str) -> Map<String, Value> {
        let (list, hosts) = (self.list, self.hosts);
        let body = list.get(name);
        let names = |key: &str| {
            let items = body.and_then(|body| body.get(key)).and_then(Value::as_array);
            items.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<&'a str>>()
        };
        let mut children = Map::new();
        for child in names("children") {
            if self.seen_groups.contains(child) {
                children.insert(child.to_owned(), Value::Object(Map::new()));
            } else {
                children.append(&mut self.group(child));
                self.seen_groups.insert(child);
            }
        }
        let mut own = Map::new();
        for host in names("hosts") {
            let vars = hosts.and_then(|hosts| hosts.get(host)).filter(|_| self.seen_hosts.insert(host));
            own.insert(host.to_owned(), vars.cloned().unwrap_or_else(|| Value::Object(Map::new())));
        }
        let vars = body.and_then(|body| body.get("vars")).and_then(Value::as_object).cloned().unwrap_or_default();
        let parts = [("children", children), ("hosts", own), ("vars", vars)];
        let parts = parts.into_iter().filter(|(_, part)| !part.is_empty());
        let parts: Map<String, Value> = parts.map(|(key, part)| (key.to_owned(), Value::Object(part))).collect();
        if parts.is_empty() { Map::new() } else { [(name.to_owned(), Value::Object(parts))].into_iter().collect() }
    }
}

/// A document.
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => mapping(fields, 0, &mut text),
        Value::Array(items) if !items.is_empty() => list(items, 0, &mut text),
        other => {
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
    text
}

fn mapping(fields: &Map<String, Value>, indent: usize, text: &mut String) {
    for (index, (key, value)) in fields.iter().enumerate() {
        if index > 0 {
            text.extend(std::iter::repeat_n(' ', indent));
        }
        text.push_str(&words(key));
        text.push(':');
        match value {
            Value::Object(inner) if tagged(inner).is_none() && !inner.is_empty() => {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent + 2));
                mapping(inner, indent + 2, text);
            }
            // A list stands as far left as its key.
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent));
                list(items, indent, text);
            }
            other => leaf(other, indent, text),
        }
    }
}

fn list(items: &[Value], indent: usize, text: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.extend(std::iter::repeat_n(' ', indent));
        }
        text.push('-');
        match item {
            Value::Object(fields) if tagged(fields).is_none() && !fields.is_empty() => {
                text.push(' ');
                mapping(fields, indent + 2, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push(' ');
                list(items, indent + 2, text);
            }
            other => leaf(other, indent, text),
        }
    }
}

/// A value on the line of its key.
fn leaf(value: &Value, indent: usize, text: &mut String) {
    match value.as_object().and_then(tagged) {
        Some(("!vault", sealed)) => {
            text.push_str(" !vault |\n");
            for line in sealed.lines() {
                let _ = writeln!(text, "{:indent$}  {line}", "");
            }
        }
        Some((_, plain)) => {
            let _ = writeln!(text, " {}", words(plain));
        }
        None => {
            let _ = writeln!(text, " {}", scalar(value));
        }
    }
}

fn tagged(fields: &Map<String, Value>) -> Option<(&'static str, &str)> {
    let (key, value) = fields.iter().next().filter(|_| fields.len() == 1)?;
    let (_, tag) = TAGS.iter().find(|(name, _)| name == key)?;
    Some((tag, value.as_str()?))
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => words(text),
        Value::Number(number) => {
            let number = number.to_string();
            // Without a point it would be read as text.
            match number.split_once(['e', 'E']) {
                Some((digits, power)) if !digits.contains('.') => format!("{digits}.0e{}", signed(power)),
                Some((digits, power)) => format!("{digits}e{}", signed(power)),
                None => number,
            }
        }
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn signed(power: &str) -> String {
    if power.starts_with(['-', '+']) { power.to_owned() } else { format!("+{power}") }
}

/// A text without quotes where it is text without them, else in the simplest ones that hold it.
fn words(text: &str) -> String {
    let is_text = matches!(typed(&Scalar { text: text.into(), style: Style::Plain }), Typed::Text(_));
    let begins = match text.as_bytes() {
        [] => false,
        [b'-' | b'?' | b':'] => false,
        [b'-' | b'?' | b':', next, ..] => !b" ,[]{}".contains(next),
        [first, ..] => !b",[]{}#&*!|>'\"%@` ".contains(first),
    };
    let inside = !text.contains(": ") && !text.contains(" #") && !text.ends_with([':', ' ']);
    let is_marker = text.starts_with("---") || text.starts_with("...") || text == "<<" || text == "=";
    if is_text && begins && inside && !is_marker && text.chars().all(is_printable) {
        return text.to_owned();
    }
    quoted(text)
}

fn quoted(text: &str) -> String {
    let is_spaced = text.starts_with(' ') || text.ends_with(' ');
    if text.chars().all(is_printable) && (!is_spaced || !text.trim().is_empty()) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    Value::from(text).to_string()
}

fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
        && !matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::manifest::{scalar as types, yaml};
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let text =
            prop_oneof![any::<String>(), "[ -~]{0,12}", "(?i)(true|no|null|~|1e3|0x1f|12:30|1_000|<<|=|-|---|\\?|y)"];
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_the_same(value in values()) {
            let text = document(&value);
            let read = yaml::parse(text.as_bytes()).map_err(|error| TestCaseError::fail(format!("{error:?}\n{text}")))?;
            prop_assert_eq!(read.as_ref().map_or(Value::Null, types::json), value, "{}", text);
        }
    }
}
