//! The tree keeps what was written, and where.

use super::{Kind, Node, parse};
use std::fmt::Write as _;

/// The tree, one node per line: place, source bytes, style and text.
fn check(text: &str) -> String {
    fn show(node: &Node, name: &str, depth: usize, source: &str, out: &mut String) {
        let pad = "  ".repeat(depth);
        let span = node.span;
        let tag = node.tag.as_deref().map_or(String::new(), |tag| format!(" {tag}"));
        let _ = write!(out, "{pad}{}:{}{tag} {name}", span.line, span.column);
        match &node.kind {
            Kind::Scalar(scalar) => {
                let bytes = &source[span.start as usize..span.end as usize];
                let _ = writeln!(out, "{:?} {:?} from {bytes:?}", scalar.style, scalar.text);
            }
            Kind::List(items) => {
                let _ = writeln!(out, "list");
                items.iter().for_each(|item| show(item, "- ", depth + 1, source, out));
            }
            Kind::Map(map) => {
                let _ = writeln!(out, "map");
                for key in &map.duplicates {
                    let _ = writeln!(
                        out,
                        "{pad}  {}:{} {} (hidden by a later one)",
                        key.span.line, key.span.column, key.text
                    );
                }
                for field in &map.entries {
                    show(&field.value, &format!("{}: ", field.key.text), depth + 1, source, out);
                }
            }
        }
    }
    match parse(text.as_bytes()) {
        Ok(None) => "no document".to_owned(),
        Err(error) => format!("{}:{} {}: {}", error.span.line, error.span.column, error.code.name, error.message),
        Ok(Some(node)) => {
            let mut out = String::new();
            show(&node, "", 0, text, &mut out);
            out
        }
    }
}

#[test]
fn scalars_keep_text_style_and_place() {
    insta::assert_snapshot!(check("plain: 1.10\n'single': 'it''s'\ndouble: \"a\\n\\u00fc\"\nempty:\nliteral: |\n  a\n  b\nfolded: >-\n  a\n  b\n"), @r#"
    1:1 map
      1:8 plain: Plain "1.10" from "1.10"
      2:11 single: Single "it's" from "'it''s'"
      3:9 double: Double "a\nü" from "\"a\\n\\u00fc\""
      4:6 empty: Plain "~" from ""
      6:3 literal: Literal "a\nb\n" from "a\n  b\n"
      9:3 folded: Folded "a b" from "a\n  b\n"
    "#);
    insta::assert_snapshot!(check("gr\u{fc}n: \u{e4}rger # comment\n- "), @"2:3 yaml-syntax: while parsing a block mapping, did not find expected key");
    insta::assert_snapshot!(check("\u{feff}ü: [é, x]\n"), @r#"
    1:1 map
      1:4 ü: list
        1:5 - Plain "é" from "é"
        1:8 - Plain "x" from "x"
    "#);
}

#[test]
fn tags_anchors_and_merge_keys_are_resolved() {
    insta::assert_snapshot!(check("base: &b {a: 1, b: 2}\nown: {<<: *b, b: 3}\nboth: {<<: [*b, {c: 4}]}\nt: !vault x\ns: !!str 5\n"), @r#"
    1:1 map
      1:10 base: map
        1:14 a: Plain "1" from "1"
        1:20 b: Plain "2" from "2"
      2:6 own: map
        2:18 b: Plain "3" from "3"
        1:14 a: Plain "1" from "1"
      3:7 both: map
        1:14 a: Plain "1" from "1"
        1:20 b: Plain "2" from "2"
        3:21 c: Plain "4" from "4"
      4:11 !vault t: Plain "x" from "x"
      5:10 tag:yaml.org,2002:str s: Plain "5" from "5"
    "#);
}

#[test]
fn the_last_of_equal_keys_counts() {
    insta::assert_snapshot!(check("a: 1\nb: 2\na: 3\n"), @r#"
    1:1 map
      1:1 a (hidden by a later one)
      2:4 b: Plain "2" from "2"
      3:4 a: Plain "3" from "3"
    "#);
}

#[test]
fn files_without_a_document_are_no_error() {
    for text in ["", "\n", "# only a comment\n", "---\n"] {
        assert!(
            matches!(parse(text.as_bytes()), Ok(None))
                || matches!(parse(text.as_bytes()), Ok(Some(node)) if node.is_null()),
            "{text:?}"
        );
    }
}

#[test]
fn what_is_not_yaml_says_where() {
    insta::assert_snapshot!(check("a: [1, 2"), @"1:4 yaml-syntax: unclosed bracket '['");
    insta::assert_snapshot!(check("a: b: c"), @"1:5 yaml-syntax: mapping values are not allowed in this context");
    insta::assert_snapshot!(check("a: *x"), @"1:4 yaml-syntax: while parsing node, found unknown anchor");
    insta::assert_snapshot!(check("a: 1\n---\nb: 2\n"), @"2:1 several-documents: the file holds more than one document");
    insta::assert_snapshot!(check("a: 'x"), @"1:4 yaml-syntax: unclosed quote");
    insta::assert_snapshot!(check("? {a: b}\n: c"), @"1:3 complex-key: a key must be a single value, not a list or a mapping");
    insta::assert_snapshot!(check("a: x\u{0}y"), @r"
    1:5 yaml-syntax: unexpected character: `\u{0}'
    ");
}

#[test]
fn only_plain_nothing_is_nothing() {
    let null = |text: &str| match parse(text.as_bytes()) {
        Ok(Some(node)) => node.is_null(),
        Ok(None) | Err(_) => panic!("{text} is a document"),
    };
    for text in ["~", "null", "Null", "NULL"] {
        assert!(null(text), "{text}");
    }
    for text in ["'null'", "\"~\"", "!!str null", "nil", "0", "[]", "{}"] {
        assert!(!null(text), "{text}");
    }
}
