//! Writing a text so that it is read as that text.

use super::Dialect;
use crate::domain::manifest::scalar::{Typed, typed};
use crate::domain::manifest::yaml::{Scalar, Style};

/// Where a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// On lines of its own.
    Block,
    /// Between `{` and `}`.
    Flow,
}

/// A text in the style that was there before, if the style can hold it; a new one as plainly as it can be.
pub(super) fn write(text: &str, before: Option<&Scalar>, context: Context, dialect: Dialect) -> String {
    if dialect == Dialect::Json {
        return double(text);
    }
    match before.map(|scalar| scalar.style) {
        Some(Style::Double) => double(text),
        Some(Style::Single) if fits_single(text) => single(text),
        _ if fits_plain(text, before, context) => text.to_owned(),
        _ if fits_single(text) && text.contains(['"', '\\']) => single(text),
        _ => double(text),
    }
}

/// A key.
pub(super) fn key(text: &str, context: Context, dialect: Dialect) -> String {
    write(text, None, context, dialect)
}

/// JSON's strings are YAML's, with the same escapes.
fn double(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Not printable in YAML, or a line break to some readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn fits_single(text: &str) -> bool {
    text.chars().all(is_easy)
}

fn is_easy(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric()
}

/// Whether a text without quotes is read as that text, here and by YAML 1.1: it must not become a number that is written
/// otherwise, a boolean, a date or nothing, unless what was there before was of that kind already.
fn fits_plain(text: &str, before: Option<&Scalar>, context: Context) -> bool {
    let starts_well =
        text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '^' | '~' | '$' | '+'));
    let breaks = text.contains(": ") || text.contains(" #") || text.ends_with([':', ' ']) || text.starts_with("...");
    let in_flow = context == Context::Flow && text.contains(['[', ']', '{', '}', ',']);
    if !starts_well || breaks || in_flow || !text.chars().all(is_easy) {
        return false;
    }
    let kind = |text: &str| typed(&Scalar { text: text.into(), style: Style::Plain });
    let now = kind(text);
    match &now {
        Typed::Text(_) => true,
        Typed::Int(number) => number.to_string() == text,
        Typed::Null => false,
        Typed::Bool(_) | Typed::BigInt(_) | Typed::Float(_) | Typed::Date(_) => {
            let alike = |scalar: &Scalar| std::mem::discriminant(&kind(&scalar.text)) == std::mem::discriminant(&now);
            before.is_some_and(|scalar| scalar.style == Style::Plain && alike(scalar))
        }
    }
}
