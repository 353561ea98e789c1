//! Setting a value where it is written, although others have it from there by an alias or a merge key.

use super::locate::Text;
use super::meaning::same;
use super::scalar::{self, Context};
use super::{Dialect, EditError};
use crate::domain::manifest::yaml::{Field, Key, Kind, Node, Scalar, Span, Style, parse};

/// Sets a single value of a YAML document at the place where it is written. Unlike [`super::Edit::Set`] it follows aliases and
/// merge keys, so all that share the entry have the new value. A change of anything else is refused.
pub fn set_at_source(text: &str, path: &[String], value: &str) -> Result<String, EditError> {
    let layout = || EditError::Layout { path: path.join(".") };
    let mut root = parse(text.as_bytes()).map_err(EditError::Yaml)?.ok_or_else(layout)?;
    let Field { key: Key { span: place, .. }, value: node } = entry(&root, path)?;
    let Kind::Scalar(before) = &node.kind else { return Err(EditError::NotASingleValue { path: path.join(".") }) };
    let (place, is_null) = (*place, node.is_null());
    let field = entry(&root, path)?;
    let source = Text(text);
    let alias = source.alias(field);
    let (start, end) = alias.or_else(|| source.scalar(field)).ok_or_else(layout)?;
    // What stands between lines can stand between brackets; which of both is here is not told from the copy of an entry.
    let with = scalar::write(value, Some(before).filter(|_| alias.is_none() && !is_null), Context::Flow, Dialect::Yaml);
    let (Some(head), Some(tail)) = (text.get(..start), text.get(end.max(start)..)) else { return Err(layout()) };
    let attempted = [head, &with, tail].concat();
    let style = match with.as_bytes().first() {
        Some(b'"') => Style::Double,
        Some(b'\'') => Style::Single,
        Some(_) | None => Style::Plain,
    };
    let kept = if alias.is_some() { None } else { node.tag.clone() };
    let wanted = Node { span: place, tag: kept, kind: Kind::Scalar(Scalar { text: value.into(), style }) };
    replace(&mut root, place, &wanted);
    match parse(attempted.as_bytes()) {
        Ok(Some(after)) if same(&root, &after, None) => Ok(attempted),
        Ok(_) | Err(_) => Err(EditError::Unfaithful { path: path.join("."), attempted }),
    }
}

fn entry<'a>(root: &'a Node, path: &[String]) -> Result<&'a Field, EditError> {
    let not_there = || EditError::NotThere { path: path.join(".") };
    let (mut node, mut found) = (root, None);
    for key in path {
        let Kind::Map(map) = &node.kind else { return Err(not_there()) };
        let field = map.entries.iter().find(|field| *field.key.text == **key).ok_or_else(not_there)?;
        (node, found) = (&field.value, Some(field));
    }
    found.ok_or_else(not_there)
}

/// Gives every copy of the entry whose key stands at this place another value.
fn replace(node: &mut Node, place: Span, value: &Node) {
    match &mut node.kind {
        Kind::Scalar(_) => {}
        Kind::List(items) => items.iter_mut().for_each(|item| replace(item, place, value)),
        Kind::Map(map) => {
            for field in &mut map.entries {
                if field.key.span == place {
                    field.value = value.clone();
                } else {
                    replace(&mut field.value, place, value);
                }
            }
        }
    }
}
