//! Shapes that many keys share: text, lists, and pairs written as a mapping or as a list.

use super::words::{FillError, fill};
use crate::domain::finding::codes;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Kind, Node, Span};

/// Text as Compose reads it, with its variables filled in.
pub(super) fn text(node: &Node, what: &str, problems: &mut Problems) -> Option<String> {
    let text = read::text(node, what, problems)?;
    match fill(text) {
        Ok(filled) => {
            if let Some(one) = filled.defaulted.first() {
                let message = format!("{what} takes the default of `{}`, which nothing sets here", show(&one.name));
                let hint = "set variables of a service with `variables:` in vars files";
                problems.warning(node.span, codes::INTERPOLATION, message, Some(hint.to_owned()));
            }
            Some(filled.text)
        }
        Err(error) => {
            let hint = match error {
                FillError::Invalid => "write `$$` for a dollar",
                FillError::Unset(_) => "write `$$` for a dollar, and set variables with `variables:` in vars files",
            };
            problems.error_hint(node.span, codes::INTERPOLATION, format!("in {what}: {error}"), hint);
            None
        }
    }
}

/// Says that a value cannot be right.
pub(super) fn bad(span: Span, message: String, hint: &str, problems: &mut Problems) {
    problems.error_hint(span, codes::BAD_VALUE, message, hint);
}

/// Text that a rule takes.
pub(super) fn parsed<T>(
    node: &Node,
    what: &str,
    hint: &str,
    problems: &mut Problems,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let text = text(node, what, problems)?;
    let value = parse(&text);
    if value.is_none() {
        bad(node.span, format!("`{}` cannot be {what}", show(&text)), hint, problems);
    }
    value
}

/// A list of texts.
pub(super) fn texts(node: &Node, what: &str, problems: &mut Problems) -> Vec<(String, Span)> {
    if node.is_null() {
        return Vec::new();
    }
    let items = read::list(node, what, problems).unwrap_or_default();
    items.iter().filter_map(|item| Some((text(item, what, problems)?, item.span))).collect()
}

/// One text, or a list of them.
pub(super) fn one_or_many(node: &Node, what: &str, problems: &mut Problems) -> Vec<(String, Span)> {
    match &node.kind {
        Kind::Scalar(_) if !node.is_null() => {
            text(node, what, problems).into_iter().map(|text| (text, node.span)).collect()
        }
        Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => texts(node, what, problems),
    }
}

/// A key with its value, which may be missing.
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) span: Span,
}

/// `key: value`, or `- key=value`.
pub(super) fn pairs(node: &Node, what: &str, problems: &mut Problems) -> Vec<Pair> {
    match &node.kind {
        _ if node.is_null() => Vec::new(),
        Kind::Map(_) => {
            let entries = read::map(node, what, problems).map_or(&[][..], |map| &map.entries);
            let pair = |field: &crate::domain::manifest::yaml::Field| {
                let value = if field.value.is_null() { None } else { Some(text(&field.value, what, problems)?) };
                Some(Pair { key: field.key.text.to_string(), value, span: field.key.span })
            };
            entries.iter().filter_map(pair).collect()
        }
        Kind::List(_) | Kind::Scalar(_) => {
            let pair = |(line, span): (String, Span)| match line.split_once('=') {
                Some((key, value)) => Pair { key: key.to_owned(), value: Some(value.to_owned()), span },
                None => Pair { key: line, value: None, span },
            };
            texts(node, what, problems).into_iter().map(pair).collect()
        }
    }
}

/// A path of a container or of the host as engines report it back: absolute, without a slash at the end, `.` or `..`.
pub(super) fn absolute(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').filter(|part| !part.is_empty()).collect();
    let fits = parts.iter().all(|part| !matches!(*part, "." | ".."));
    // A colon would end the path in an engine's short form.
    (fits && !path.contains(':') && !path.chars().any(char::is_control)).then(|| format!("/{}", parts.join("/")))
}
