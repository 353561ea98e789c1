//! Random files, random edits: the result means what was wanted, and every other line is the very same.

use super::{Dialect, Edit, EditError, Value, edit, find};
use crate::domain::manifest::yaml::{Kind, Node, parse};
use proptest::prelude::*;
use std::fmt::Write as _;

/// A document before it is written in one of many ways.
#[derive(Clone, Debug)]
enum Tree {
    Scalar(String, u8),
    Map(Vec<(String, Self)>, Layout),
}

/// How a mapping is written.
#[derive(Clone, Debug)]
struct Layout {
    flow: bool,
    indent: usize,
    comment_before: bool,
    comment_after: bool,
    blank: bool,
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,6}",
        "[0-9]\\.[0-9]{1,2}(\\.[0-9])?",
        "(yes|NO|null|017|1e3|~)",
        "[ -~]{0,12}",
        "[a-zé\\n\\t\"'#: ]{0,8}",
    ]
}

fn layout() -> impl Strategy<Value = Layout> {
    (any::<bool>(), 1..5usize, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(flow, indent, comment_before, comment_after, blank)| Layout {
            flow,
            indent,
            comment_before,
            comment_after,
            blank,
        },
    )
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = (words(), 0..5u8).prop_map(|(text, style)| Tree::Scalar(text, style));
    leaf.prop_recursive(3, 24, 4, |inner| {
        (prop::collection::btree_map("[a-d]", inner, 0..4), layout())
            .prop_map(|(map, layout)| Tree::Map(map.into_iter().collect(), layout))
    })
}

fn quoted(text: &str, style: u8, flow: bool) -> String {
    let simple = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let printable = text.chars().all(|c| !c.is_control());
    match style {
        0 | 1 if simple => text.to_owned(),
        2 if printable => format!("'{}'", text.replace('\'', "''")),
        // Nothing at all, which is null.
        3 if text.is_empty() && !flow => String::new(),
        _ => serde_json::to_string(text).expect("a string"),
    }
}

/// Writes a tree; `line_break` is put where lines end.
fn write(tree: &Tree, indent: usize, flow: bool, out: &mut String) {
    match tree {
        Tree::Scalar(text, 4)
            if !flow && indent > 0 && text.bytes().all(|b| b.is_ascii_alphabetic()) && !text.is_empty() =>
        {
            let _ = write!(out, " |\n{}{text}\n{}more", " ".repeat(indent), " ".repeat(indent));
        }
        Tree::Scalar(text, style) => {
            let _ = write!(out, " {}", quoted(text, *style, flow));
        }
        Tree::Map(entries, layout) if flow || layout.flow || entries.is_empty() => {
            out.push_str(" {");
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                let _ = write!(out, "{key}:");
                write(value, indent, true, out);
            }
            out.push('}');
        }
        Tree::Map(entries, layout) => {
            if layout.comment_after {
                out.push_str("  # after");
            }
            block(entries, layout, indent, out);
        }
    }
}

fn block(entries: &[(String, Tree)], layout: &Layout, indent: usize, out: &mut String) {
    for (key, value) in entries {
        if !out.is_empty() {
            out.push('\n');
        }
        let pad = " ".repeat(indent);
        if layout.blank {
            out.push('\n');
        }
        if layout.comment_before {
            let _ = writeln!(out, "{pad}# before {key}");
        }
        let _ = write!(out, "{pad}{key}:");
        write(value, indent + layout.indent, false, out);
        if layout.comment_after && matches!(value, Tree::Scalar(_, 0..4)) {
            out.push_str(" # \u{e9} after");
        }
    }
}

/// A file: its text with the wanted line ends, with or without the last one.
fn file() -> impl Strategy<Value = String> {
    (prop::collection::btree_map("[a-d]", tree(), 0..4), layout(), any::<bool>(), any::<bool>()).prop_map(
        |(map, layout, crlf, last)| {
            let mut text = String::new();
            block(&map.into_iter().collect::<Vec<_>>(), &layout, 0, &mut text);
            if last && !text.is_empty() {
                text.push('\n');
            }
            if crlf { text.replace('\n', "\r\n") } else { text }
        },
    )
}

fn an_edit() -> impl Strategy<Value = Edit> {
    let path = prop::collection::vec("[a-e]", 1..4);
    prop_oneof![
        3 => (path.clone(), words()).prop_map(|(path, text)| Edit::Set { path, value: Value::Text(text) }),
        1 => path.clone().prop_map(|path| Edit::Set { path, value: Value::Null }),
        2 => (path, 0..2usize).prop_map(|(path, keep)| Edit::Remove { path, keep }),
    ]
}

/// The lines, without their ends.
fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// How many lines of the old text are not in the new one at the same place from either end.
fn touched(before: &str, after: &str) -> usize {
    let (old, new) = (lines(before), lines(after));
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    old.len() - head - tail
}

/// Every comment of a text.
fn comments(text: &str) -> usize {
    lines(text)
        .iter()
        .filter(|line| line.contains("# before") || line.contains("# after") || line.contains("# \u{e9} after"))
        .count()
}

/// Every path with its text, null written apart.
fn leaves(node: &Node, path: &mut Vec<String>, all: &mut Vec<(Vec<String>, Option<String>)>) {
    match &node.kind {
        Kind::Scalar(_) if node.is_null() => all.push((path.clone(), None)),
        Kind::Scalar(scalar) => all.push((path.clone(), Some(scalar.text.to_string()))),
        Kind::List(_) => {}
        Kind::Map(map) => {
            for field in &map.entries {
                path.push(field.key.text.to_string());
                leaves(&field.value, path, all);
                path.pop();
            }
        }
    }
}

fn all_leaves(text: &str) -> Vec<(Vec<String>, Option<String>)> {
    let mut all = Vec::new();
    if let Some(root) = parse(text.as_bytes()).expect("YAML") {
        leaves(&root, &mut Vec::new(), &mut all);
    }
    all.retain(|(path, _)| !path.is_empty());
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn an_edit_changes_what_it_names_and_no_other_line(text in file(), one in an_edit()) {
        prop_assume!(parse(text.as_bytes()).is_ok());
        let before = all_leaves(&text);
        match edit(&text, std::slice::from_ref(&one), Dialect::Yaml) {
            Ok(after) => {
                let now = all_leaves(&after);
                let below = |path: &[String]| path.starts_with(one.path());
                // What holds nothing may come and go with its last entry.
                let others = |all: &[(Vec<String>, Option<String>)]| -> Vec<_> {
                    all.iter().filter(|(path, value)| !below(path) && !one.path().starts_with(path) && value.is_some()).cloned().collect()
                };
                prop_assert_eq!(others(&before), others(&now));
                match &one {
                    Edit::Set { path, value } => {
                        let wanted = match value { Value::Text(text) => Some(text.clone()), Value::Null => None };
                        prop_assert!(now.contains(&(path.clone(), wanted)), "{after:?}");
                        // One line for a new key, or the lines of the old value; never a comment.
                        let old = before.iter().find(|(known, _)| known == path);
                        let most = old.and_then(|(_, text)| text.as_ref()).map_or(1, |text| 1 + text.matches('\n').count().max(2));
                        prop_assert!(touched(&text, &after) <= most, "{text:?}\n{after:?}");
                        prop_assert_eq!(comments(&text), comments(&after), "{:?}", after);
                    }
                    Edit::Remove { path, .. } => prop_assert!(find(&after, path).is_none(), "{after:?}"),
                }
            }
            // These files have no aliases, and one document: an edit that can be made is made.
            Err(EditError::NotThere { .. }) => {
                let removes = matches!(one, Edit::Remove { .. });
                prop_assert!(removes);
            }
            Err(EditError::NotAMapping { .. } | EditError::NotASingleValue { .. }) => {}
            Err(error) => prop_assert!(false, "{error:?} in {text:?}"),
        }
    }

    #[test]
    fn setting_twice_is_setting_once_and_taking_away_what_was_new_gives_the_file_back(text in file(), path in prop::collection::vec("[a-e]", 1..4), value in words()) {
        prop_assume!(parse(text.as_bytes()).is_ok());
        let set = Edit::Set { path: path.clone(), value: Value::Text(value) };
        let Ok(once) = edit(&text, std::slice::from_ref(&set), Dialect::Yaml) else { return Ok(()) };
        prop_assert_eq!(&edit(&once, &[set], Dialect::Yaml).expect("it was possible before"), &once);
        let parent_has_others = path.len() == 1 && parse(text.as_bytes()).expect("YAML").is_some();
        if parent_has_others && find(&text, &path).is_none() {
            prop_assert_eq!(edit(&once, &[Edit::Remove { path, keep: 0 }], Dialect::Yaml).expect("it is there"), text);
        }
    }
}

proptest! {
    // Small and odd: many are cheap.
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_text_makes_the_editor_panic(text in "[-a-c:{}\\[\\]&*|>'\"#,? \\n\\r\\t]{0,40}", one in an_edit()) {
        let _ = edit(&text, &[one], Dialect::Yaml);
    }
}
