//! Whether a document means exactly what another means with one change.

use super::{Edit, Value};
use crate::domain::manifest::yaml::{Field, Key, Kind, Map, Node, Scalar, Span, Style};

/// Whether `after` is `before` with this change and no other.
pub(super) fn is_faithful(before: Option<Node>, edit: &Edit, after: Option<&Node>) -> bool {
    let mut wanted = before.filter(|node| !node.is_null()).unwrap_or_else(empty);
    match edit {
        Edit::Set { path, value } => set(&mut wanted, path, value),
        Edit::Remove { path, keep } => {
            remove(&mut wanted, path, *keep);
        }
    }
    let nothing = empty();
    let after = after.filter(|node| !node.is_null()).unwrap_or(&nothing);
    let changed = match edit {
        Edit::Set { path, .. } => Some(path.as_slice()),
        Edit::Remove { .. } => None,
    };
    same(&wanted, after, changed)
}

fn empty() -> Node {
    Node { span: Span::default(), tag: None, kind: Kind::Map(Map::default()) }
}

fn scalar(text: &str, style: Style) -> Node {
    Node { span: Span::default(), tag: None, kind: Kind::Scalar(Scalar { text: text.into(), style }) }
}

fn set(node: &mut Node, path: &[String], value: &Value) {
    let Some((key, rest)) = path.split_first() else {
        *node = match value {
            Value::Text(text) => scalar(text, Style::Double),
            Value::Null => scalar("", Style::Plain),
        };
        return;
    };
    if !matches!(node.kind, Kind::Map(_)) {
        node.kind = Kind::Map(Map::default());
    }
    let Kind::Map(map) = &mut node.kind else { return };
    match map.entries.iter_mut().find(|field| *field.key.text == **key) {
        Some(field) => set(&mut field.value, rest, value),
        None => {
            let key = Key { span: Span::default(), text: key.as_str().into(), style: Style::Plain };
            let mut field = Field { key, value: empty() };
            set(&mut field.value, rest, value);
            map.entries.push(field);
        }
    }
}

/// Takes a path away; whether the mapping is empty then.
fn remove(node: &mut Node, path: &[String], keep: usize) -> bool {
    let (Some((key, rest)), Kind::Map(map)) = (path.split_first(), &mut node.kind) else { return false };
    let Some(at) = map.entries.iter().position(|field| *field.key.text == **key) else { return false };
    if rest.is_empty() || remove(&mut map.entries[at].value, rest, keep.saturating_sub(1)) && keep == 0 {
        map.entries.remove(at);
    }
    map.entries.is_empty()
}

/// Equal but for places; at the changed path only the text counts, not how it is quoted.
pub(super) fn same(wanted: &Node, found: &Node, changed: Option<&[String]>) -> bool {
    if changed.is_some_and(<[String]>::is_empty) {
        return match (&wanted.kind, &found.kind) {
            (Kind::Scalar(_), Kind::Scalar(_)) if wanted.is_null() => found.is_null(),
            (Kind::Scalar(one), Kind::Scalar(other)) => !found.is_null() && one.text == other.text,
            _ => false,
        };
    }
    if wanted.tag != found.tag {
        return false;
    }
    match (&wanted.kind, &found.kind) {
        (Kind::Scalar(one), Kind::Scalar(other)) => one == other,
        (Kind::List(one), Kind::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other, None))
        }
        (Kind::Map(one), Kind::Map(other)) => same_map(one, other, changed),
        // A mapping that lost its last key, or never had one, may be written as nothing.
        (Kind::Map(map), Kind::Scalar(_)) | (Kind::Scalar(_), Kind::Map(map)) => {
            map.entries.is_empty() && (wanted.is_null() || found.is_null())
        }
        _ => false,
    }
}

fn same_map(one: &Map, other: &Map, changed: Option<&[String]>) -> bool {
    let texts = |map: &Map| map.duplicates.iter().map(|key| key.text.clone()).collect::<Vec<_>>();
    // A new key comes wherever it fits, so order is compared among the others only by their being spliced around.
    let sorted = |map: &Map| {
        let mut order: Vec<usize> = (0..map.entries.len()).collect();
        order.sort_by(|a, b| map.entries[*a].key.text.cmp(&map.entries[*b].key.text));
        order
    };
    one.entries.len() == other.entries.len()
        && texts(one) == texts(other)
        && sorted(one).into_iter().zip(sorted(other)).all(|(a, b)| {
            let (a, b) = (&one.entries[a], &other.entries[b]);
            let below = changed.and_then(|path| path.split_first()).filter(|(key, _)| **key == *a.key.text);
            a.key.text == b.key.text && same(&a.value, &b.value, below.map(|(_, rest)| rest))
        })
}
