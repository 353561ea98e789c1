//! What is encrypted with Ansible Vault, kept out of everything that people are shown.
//!
//! Ciphertext is no secret by itself, but whoever has it can try passwords on it for ever: logs, pages and reports outlive them.

use super::ansible_value::{Resolved, resolved};
use super::scalar::Typed;
use super::yaml::{Kind, Map, Node, Scalar};

/// What stands for an encrypted value.
pub const ENCRYPTED: &str = "!vault (encrypted)";

/// What ciphertext begins with.
const HEADER: &str = "$ANSIBLE_VAULT";
/// What encrypted values are called in JSON.
const JSON_KEY: &str = "__ansible_vault";
/// What tags of encrypted values begin with.
const TAG: &str = "!vault";
/// Ciphertext is broken after 80 hexadecimal digits; no digest that people write is as long as this but one of SHA-512.
const MANY_DIGITS: usize = 65;
/// How many lines before a place may tell that it is encrypted. Ciphertext shows itself by its digits, so these are for values that
/// are marked as encrypted and are not.
const MAX_LINES_ABOVE: usize = 200;
/// How much of a line may tell, in bytes.
const MAX_LINE: usize = 1 << 10;

/// Whether a text is ciphertext, or holds some.
pub fn is_sealed(text: &str) -> bool {
    text.contains(HEADER)
}

/// A text, unless it is ciphertext.
pub fn opened(text: String) -> String {
    if is_sealed(&text) { ENCRYPTED.to_owned() } else { text }
}

/// A value for people: numbers, booleans and dates as they are written, texts inside of lists and mappings in quotes, and nothing
/// of what is encrypted.
pub fn as_written(node: &Node) -> String {
    match &node.kind {
        Kind::Scalar(scalar) if !is_encrypted(node) && !node.is_null() => opened(scalar.text.to_string()),
        Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => {
            let mut text = String::new();
            write(node, &mut text);
            text
        }
    }
}

fn write(node: &Node, out: &mut String) {
    if is_encrypted(node) {
        return out.push_str(ENCRYPTED);
    }
    match &node.kind {
        Kind::Scalar(_) if node.is_null() => out.push_str("null"),
        Kind::Scalar(scalar) if is_text(node, scalar) => quoted(&scalar.text, out),
        Kind::Scalar(scalar) => out.push_str(&scalar.text),
        Kind::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        Kind::Map(Map { entries, .. }) => {
            out.push('{');
            for (index, field) in entries.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                quoted(&field.key.text, out);
                out.push(':');
                write(&field.value, out);
            }
            out.push('}');
        }
    }
}

fn is_text(node: &Node, scalar: &Scalar) -> bool {
    match resolved(node.tag.as_deref(), scalar) {
        Resolved::Plain(Typed::Text(_)) | Resolved::Unsafe(_) | Resolved::Vault(_) => true,
        Resolved::Plain(
            Typed::Null | Typed::Bool(_) | Typed::Int(_) | Typed::BigInt(_) | Typed::Float(_) | Typed::Date(_),
        ) => false,
    }
}

fn is_encrypted(node: &Node) -> bool {
    let by_content = match &node.kind {
        Kind::Scalar(scalar) => is_sealed(&scalar.text),
        Kind::Map(map) => map.value(JSON_KEY).is_some(),
        Kind::List(_) => false,
    };
    by_content || node.tag.as_deref().is_some_and(|tag| tag.starts_with(TAG))
}

fn quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(opened(text.to_owned())).to_string());
}

/// Whether a line of a file must not be shown because it belongs to something encrypted. It is judged by the text alone, as files
/// that cannot be parsed have findings too. `line` is the line that begins at this byte, or what of it is near the place.
pub fn hides(bytes: &[u8], line_start: usize, line: &str) -> bool {
    if bytes.starts_with(HEADER.as_bytes()) || carries(line) {
        return true;
    }
    let Some(end) = line_start.checked_sub(1) else { return false };
    let digits = line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
    let is_rest = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (mut indent, ..) = indented(line);
    let above = bytes[..end].rsplit(|&byte| byte == b'\n').take(MAX_LINES_ABOVE);
    for (index, above) in above.enumerate() {
        let above = String::from_utf8_lossy(&above[..above.len().min(MAX_LINE)]);
        if index == 0 && is_rest && carries(&above) {
            return true;
        }
        if indent == 0 {
            return false;
        }
        let (outer, inner, text) = indented(&above);
        if text.is_empty() {
            continue;
        }
        let alone = text.starts_with(TAG) && (outer < indent || outer == indent && outer == inner);
        // `key: !vault |`, or the tag as an item or on a line of its own.
        if inner < indent && text.contains(TAG) || alone {
            return true;
        }
        indent = indent.min(outer);
    }
    false
}

/// How far a line is indented, how far with the dashes of lists, and the rest of it.
fn indented(line: &str) -> (usize, usize, &str) {
    let line = line.trim_end();
    let outer = line.len() - line.trim_start_matches(' ').len();
    let mut rest = &line[outer..];
    while let Some(item) = rest.strip_prefix("- ") {
        rest = item.trim_start_matches(' ');
    }
    (outer, line.len() - rest.len(), rest)
}

/// Whether a line holds ciphertext, or something that is marked as such.
fn carries(line: &str) -> bool {
    let marked = |rest: &str| {
        let value = rest.trim_start_matches("-encrypted").trim_start();
        !value.is_empty() && !value.starts_with(['|', '>'])
    };
    line.contains(HEADER)
        || line.contains(JSON_KEY)
        || line.split(TAG).skip(1).any(marked)
        || line
            .split(|c: char| !c.is_ascii_hexdigit())
            .any(|run| run.len() >= MANY_DIGITS && run.bytes().any(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::manifest::yaml::parse;

    #[test]
    fn a_value_is_shown_as_it_is_written_and_closed_if_it_is_encrypted() {
        let shown = |text: &str| as_written(&parse(text.as_bytes()).expect("YAML").expect("a value"));
        for (text, expected) in [
            ("1.10", "1.10"),
            ("0o17", "0o17"),
            ("'no'", "no"),
            ("~", "null"),
            ("[1.10, no, 'no', a b, ~]", r#"[1.10,no,"no","a b",null]"#),
            ("{b: 2026-01-02, a: [x]}", r#"{"b":2026-01-02,"a":["x"]}"#),
            ("!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n", ENCRYPTED),
            ("!vault anything", ENCRYPTED),
            ("$ANSIBLE_VAULT;1.1;AES256 6162", ENCRYPTED),
            (
                "{a: {__ansible_vault: 6162}, b: !vault-encrypted x}",
                "{\"a\":!vault (encrypted),\"b\":!vault (encrypted)}",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    /// Lines that may be shown, and `-` for each of the others.
    fn lines(text: &str) -> String {
        let mut start = 0;
        let mut shown = Vec::new();
        for line in text.lines() {
            shown.push(if hides(text.as_bytes(), start, line) { "-" } else { line });
            start += line.len() + 1;
        }
        shown.join("\n")
    }

    #[test]
    fn lines_of_encrypted_values_are_told_from_the_others() {
        let digits = "6138".repeat(20);
        insta::assert_snapshot!(lines(&format!("a: 1\nb: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  {digits}\n  61\nc: 2\n")), @r"
        a: 1
        b: !vault |
        -
        -
        -
        c: 2
        ");
        insta::assert_snapshot!(lines(&format!("a:\n  - !vault |\n    not really\n  - b: !vault |\n      nor this\n    c: 61\n  - \"{digits}\n    61\"\n  - d\n")), @r#"
        a:
          - !vault |
        -
          - b: !vault |
        -
            c: 61
        -
        -
          - d
        "#);
        insta::assert_snapshot!(lines("a:\n  !vault |\n  text\nb: {c: !vault x, d: 1}\ne: { __ansible_vault: x }\nf: 61\n"), @r"
        a:
          !vault |
        -
        -
        -
        f: 61
        ");
        insta::assert_snapshot!(lines("$ANSIBLE_VAULT;1.1;AES256\n6162\n"), @r"
        -
        -
        ");
    }
}
