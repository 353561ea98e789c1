//! Free variables as Ansible has them: types of YAML 1.1, Ansible's tags, and the texts that Python makes of both.
//!
//! `ansible-inventory` prints JSON with sorted keys and an indentation of four, and so does this, byte for byte, from the tree
//! of the file without anything between.

use super::scalar::{Typed, is_surely_text, iso_format, typed};
use super::yaml::{Key, Kind, Map, Node, Scalar, Style};
use std::borrow::Cow;

/// Whether texts that are not templates are marked as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// `{"__ansible_unsafe": …}`, so that another Ansible reads the same.
    Marked,
    /// As plain text.
    Plain,
}

/// A scalar with its tag resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved {
    /// A plain value.
    Plain(Typed),
    /// A text that is not a template (`!unsafe`).
    Unsafe(Typed),
    /// An encrypted text (`!vault`). It is never decrypted, and shown only where Ansible shows it.
    Vault(String),
}

/// What a scalar is, by its tag or else by its text.
pub fn resolved(tag: Option<&str>, scalar: &Scalar) -> Resolved {
    let plain = || Scalar { text: scalar.text.clone(), style: Style::Plain };
    let text = || Typed::Text(scalar.text.to_string());
    match tag {
        None | Some("!") => Resolved::Plain(typed(scalar)),
        // Ansible resolves these as if there were no quotes.
        Some("!unsafe") => Resolved::Unsafe(typed(&plain())),
        Some("!vault" | "!vault-encrypted") => Resolved::Vault(scalar.text.to_string()),
        Some(tag) => Resolved::Plain(match tag.strip_prefix(CORE).map(|kind| (kind, typed(&plain()))) {
            Some(("int", Typed::Float(number))) => Typed::Int(number as i128),
            Some(("float", Typed::Int(number))) => Typed::Float(number as f64),
            Some(("float", Typed::Text(text))) => text.parse().map_or(Typed::Text(text), Typed::Float),
            Some(("null", _)) => Typed::Null,
            Some(("int" | "float" | "bool" | "timestamp", typed)) => typed,
            Some(_) | None => text(),
        }),
    }
}

/// What the tags of YAML itself begin with.
const CORE: &str = "tag:yaml.org,2002:";

/// Whether Ansible knows a tag. A file with another one does not load.
pub fn is_known_tag(tag: &str) -> bool {
    let core = ["str", "int", "float", "bool", "null", "timestamp", "binary", "map", "seq", "set", "omap", "pairs"];
    matches!(tag, "!" | "!unsafe" | "!vault" | "!vault-encrypted")
        || tag.strip_prefix(CORE).is_some_and(|kind| core.contains(&kind))
}

/// The text that a key has in JSON.
pub fn key_text(key: &Key) -> Cow<'_, str> {
    let first = key.text.as_bytes().first().copied().unwrap_or(b' ');
    // Nothing else begins a plain scalar that is not text.
    let may_differ = key.style == Style::Plain
        && (matches!(first, b'-' | b'+' | b'.' | b'0'..=b'9' | b'~' | b' ') || key.text.len() <= 5);
    if !may_differ {
        return Cow::Borrowed(&key.text);
    }
    match typed(&Scalar { text: key.text.clone(), style: key.style }) {
        Typed::Text(_) => Cow::Borrowed(&key.text),
        other => {
            let mut text = String::new();
            bare(&other, &mut text);
            Cow::Owned(text)
        }
    }
}

/// The entries of a mapping as JSON has them: keys as text, sorted, of equal ones the last.
pub fn sorted(map: &Map) -> Vec<(Cow<'_, str>, &Node)> {
    let mut entries: Vec<(Cow<'_, str>, &Node)> =
        map.entries.iter().map(|field| (key_text(&field.key), &field.value)).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.reverse();
    entries.dedup_by(|later, kept| later.0 == kept.0);
    entries.reverse();
    entries
}

/// Writes JSON, nested so many levels deep.
pub fn write_json(node: &Node, depth: usize, marks: Unsafe, out: &mut String) {
    Writer { marks, out }.node(node, depth, Trust::Template);
}

/// Whether texts here may be templates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Template,
    Unsafe,
}

struct Writer<'a> {
    marks: Unsafe,
    out: &'a mut String,
}

impl Writer<'_> {
    fn node(&mut self, node: &Node, depth: usize, trust: Trust) {
        let tag = node.tag.as_deref();
        let trust = if tag == Some("!unsafe") { Trust::Unsafe } else { trust };
        match &node.kind {
            Kind::Scalar(scalar) if tag.is_none() && trust == Trust::Template && is_surely_text(scalar) => {
                quoted(&scalar.text, self.out);
            }
            Kind::Scalar(scalar) => match resolved(tag, scalar) {
                Resolved::Vault(text) => self.wrapped("__ansible_vault", &text, depth),
                Resolved::Plain(Typed::Text(text)) | Resolved::Unsafe(Typed::Text(text))
                    if trust == Trust::Unsafe && self.marks == Unsafe::Marked =>
                {
                    self.wrapped("__ansible_unsafe", &text, depth);
                }
                Resolved::Plain(value) | Resolved::Unsafe(value) => json_scalar(&value, self.out),
            },
            Kind::List(items) => {
                let pairs = matches!(tag.and_then(|tag| tag.strip_prefix(CORE)), Some("omap" | "pairs"));
                self.list(items.iter(), depth, |writer, item| match &item.kind {
                    Kind::Map(map) if pairs && map.entries.len() == 1 => writer.pair(&map.entries[0], depth + 1, trust),
                    _ => writer.node(item, depth + 1, trust),
                });
            }
            Kind::Map(map) if tag == Some("tag:yaml.org,2002:set") => {
                let entries = sorted(map);
                self.list(entries.iter(), depth, |writer, (key, _)| quoted(key, writer.out));
            }
            Kind::Map(map) => self.map(map, depth, trust),
        }
    }

    fn map(&mut self, map: &Map, depth: usize, trust: Trust) {
        if map.entries.is_empty() {
            return self.out.push_str("{}");
        }
        self.out.push('{');
        for (index, (key, value)) in sorted(map).into_iter().enumerate() {
            separate(index, depth + 1, self.out);
            quoted(&key, self.out);
            self.out.push_str(": ");
            self.node(value, depth + 1, trust);
        }
        new_line(depth, self.out);
        self.out.push('}');
    }

    fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, depth: usize, mut write: impl FnMut(&mut Self, T)) {
        if items.len() == 0 {
            return self.out.push_str("[]");
        }
        self.out.push('[');
        for (index, item) in items.enumerate() {
            separate(index, depth + 1, self.out);
            write(self, item);
        }
        new_line(depth, self.out);
        self.out.push(']');
    }

    fn pair(&mut self, field: &super::yaml::Field, depth: usize, trust: Trust) {
        self.out.push('[');
        separate(0, depth + 1, self.out);
        quoted(&key_text(&field.key), self.out);
        separate(1, depth + 1, self.out);
        self.node(&field.value, depth + 1, trust);
        new_line(depth, self.out);
        self.out.push(']');
    }

    fn wrapped(&mut self, key: &str, text: &str, depth: usize) {
        self.out.push('{');
        separate(0, depth + 1, self.out);
        quoted(key, self.out);
        self.out.push_str(": ");
        quoted(text, self.out);
        new_line(depth, self.out);
        self.out.push('}');
    }
}

/// A comma if something came before, and a new line.
pub fn separate(index: usize, depth: usize, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
    new_line(depth, out);
}

/// A new line, indented.
pub fn new_line(depth: usize, out: &mut String) {
    const SPACES: &str = "                                                                ";
    out.push('\n');
    let mut left = depth * 4;
    while left > 0 {
        let some = left.min(SPACES.len());
        out.push_str(&SPACES[..some]);
        left -= some;
    }
}

fn json_scalar(value: &Typed, out: &mut String) {
    match value {
        Typed::Date(text) => quoted(&iso_format(text), out),
        Typed::Text(text) => quoted(text, out),
        Typed::Null | Typed::Bool(_) | Typed::Int(_) | Typed::BigInt(_) | Typed::Float(_) => bare(value, out),
    }
}

/// A value without quotes, as JSON has it.
fn bare(value: &Typed, out: &mut String) {
    match value {
        Typed::Null => out.push_str("null"),
        Typed::Bool(true) => out.push_str("true"),
        Typed::Bool(false) => out.push_str("false"),
        Typed::Int(number) => out.push_str(&number.to_string()),
        Typed::Float(number) if number.is_nan() => out.push_str("NaN"),
        Typed::Float(number) if number.is_infinite() => {
            out.push_str(if *number > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Typed::Float(number) => out.push_str(&float_text(*number)),
        Typed::BigInt(text) | Typed::Text(text) => out.push_str(text),
        Typed::Date(text) => out.push_str(&iso_format(text)),
    }
}

/// A text in quotes, escaped as Python's `json` does without `ensure_ascii`.
pub fn quoted(text: &str, out: &mut String) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => {
                out.push_str(&text[clean..at]);
                out.push_str(&format!("\\u{byte:04x}"));
                clean = at + 1;
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[clean..at]);
        out.push_str(escape);
        clean = at + 1;
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

/// A float as Python's `repr` writes it: the shortest digits, with an exponent from 1e16 on and below 1e-4.
pub fn float_text(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A value as Python's `str` writes it, which is what `--graph --vars` shows. Encrypted values stay closed.
pub fn python_text(node: &Node) -> String {
    let mut out = String::new();
    python(node, Quotes::Outside, &mut out);
    out
}

/// Whether a text stands inside something else, where Python quotes it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Outside,
    Inside,
}

fn python(node: &Node, quotes: Quotes, out: &mut String) {
    match &node.kind {
        Kind::Scalar(scalar) => match resolved(node.tag.as_deref(), scalar) {
            Resolved::Vault(_) => out.push_str("<encrypted>"),
            Resolved::Plain(value) | Resolved::Unsafe(value) => python_scalar(&value, quotes, out),
        },
        Kind::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                python(item, Quotes::Inside, out);
            }
            out.push(']');
        }
        Kind::Map(map) => {
            out.push('{');
            for (index, field) in map.entries.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                let key = Scalar { text: field.key.text.clone(), style: field.key.style };
                python_scalar(&typed(&key), Quotes::Inside, out);
                out.push_str(": ");
                python(&field.value, Quotes::Inside, out);
            }
            out.push('}');
        }
    }
}

fn python_scalar(value: &Typed, quotes: Quotes, out: &mut String) {
    match value {
        Typed::Null => out.push_str("None"),
        Typed::Bool(truth) => out.push_str(if *truth { "True" } else { "False" }),
        Typed::Float(number) if number.is_nan() => out.push_str("nan"),
        Typed::Float(number) if number.is_infinite() => out.push_str(if *number > 0.0 { "inf" } else { "-inf" }),
        Typed::Text(text) if quotes == Quotes::Inside => python_quoted(text, out),
        // Outside, Python prints a space where the ISO form has a `T`.
        Typed::Date(text) => out.push_str(&iso_format(text).replacen('T', " ", 1)),
        Typed::Int(_) | Typed::BigInt(_) | Typed::Float(_) | Typed::Text(_) => bare(value, out),
    }
}

fn python_quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            character if character == quote => {
                out.push('\\');
                out.push(character);
            }
            character if character.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(character))),
            character => out.push(character),
        }
    }
    out.push(quote);
}

/// What a plain scalar becomes, if that is not what somebody who wrote it would expect.
pub fn surprise(scalar: &Scalar) -> Option<String> {
    if scalar.style != Style::Plain {
        return None;
    }
    let value = typed(scalar);
    let mut becomes = String::new();
    bare(&value, &mut becomes);
    let text = &*scalar.text;
    let expected = match &value {
        Typed::Null | Typed::Text(_) => true,
        Typed::Bool(_) => text.eq_ignore_ascii_case(&becomes),
        // A date is printed as it is written, and `.inf` can mean nothing else.
        Typed::Date(_) => text == becomes || text.len() > 10,
        Typed::Float(number) => !number.is_finite() || text == becomes,
        Typed::Int(_) | Typed::BigInt(_) => text == becomes,
    };
    (!expected).then_some(becomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::manifest::yaml::parse;

    fn check(yaml: &str, json: &str) {
        let node = parse(yaml.as_bytes()).expect("YAML").expect("a document");
        let mut out = String::new();
        write_json(&node, 0, Unsafe::Marked, &mut out);
        assert_eq!(out.split_whitespace().collect::<Vec<_>>().join(" "), json, "{yaml}");
    }

    #[test]
    fn values_are_those_that_ansible_prints() {
        check("{b: 1, a: NO, c: ~}", r#"{ "a": false, "b": 1, "c": null }"#);
        check("[1.10, 1.0e+16, 1.0e-7, 0.00001, 123456789.0, -0.0]", "[ 1.1, 1e+16, 1e-07, 1e-05, 123456789.0, -0.0 ]");
        check("[.inf, -.Inf, .nan]", "[ Infinity, -Infinity, NaN ]");
        check(
            "{1: a, 10: c, 2: b, true: x, ~: y, 1.10: z}",
            r#"{ "1": "a", "1.1": "z", "10": "c", "2": "b", "null": "y", "true": "x" }"#,
        );
        check("{}", "{}");
        check("[]", "[]");
        check("\"\\u00e4\\\"\\n\\u0001\"", r#""ä\"\n\u0001""#);
    }

    #[test]
    fn dates_are_printed_in_their_iso_form() {
        check("2025-10-10", r#""2025-10-10""#);
        check("2025-10-10T12:00:00Z", r#""2025-10-10T12:00:00+00:00""#);
        check("2025-10-10 12:00:00.5 +02:30", r#""2025-10-10T12:00:00.500000+02:30""#);
        check("2025-1-2 3:04:05", r#""2025-01-02T03:04:05""#);
        check("2025-10-10t12:00:00-5", r#""2025-10-10T12:00:00-05:00""#);
    }

    #[test]
    fn tags_are_those_of_ansible() {
        check("!!str 5", r#""5""#);
        check("[!!int \"5\", !!float \"5\", !!bool \"yes\", ! 12, !!null \"\"]", "[ 5, 5.0, true, 12, null ]");
        check("!unsafe {k: v, n: 5}", r#"{ "k": { "__ansible_unsafe": "v" }, "n": 5 }"#);
        check("!vault \"$ANSIBLE_VAULT;1.1\"", r#"{ "__ansible_vault": "$ANSIBLE_VAULT;1.1" }"#);
        check("!!set {b, a}", r#"[ "a", "b" ]"#);
        check("!!omap [b: 1, a: 2]", r#"[ [ "b", 1 ], [ "a", 2 ] ]"#);
    }

    #[test]
    fn a_type_that_surprises_is_named() {
        let surprise = |text: &str| surprise(&Scalar { text: text.into(), style: Style::Plain });
        for (text, becomes) in [
            ("NO", "false"),
            ("yes", "true"),
            ("1.10", "1.1"),
            ("017", "15"),
            ("12:30", "750"),
            ("1_000", "1000"),
            ("0x1F", "31"),
        ] {
            assert_eq!(surprise(text).as_deref(), Some(becomes), "{text}");
        }
        for text in ["true", "False", "1.5", "10", "-3", "2025-10-10", "y", "hello", "", "~", "1.2.3", "08"] {
            assert_eq!(surprise(text), None, "{text}");
        }
    }

    #[test]
    fn python_shows_containers_with_quotes_inside() {
        let shown = |yaml: &str| python_text(&parse(yaml.as_bytes()).expect("YAML").expect("a document"));
        assert_eq!(shown("{a: [x, 1, yes, ~, it's], b: {}}"), "{'a': ['x', 1, True, None, \"it's\"], 'b': {}}");
        assert_eq!(shown("plain text"), "plain text");
        assert_eq!(shown("!vault secret"), "<encrypted>");
    }
}
