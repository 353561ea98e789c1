//! YAML out of nodes: every scalar keeps its text, what its quotes said, and its tag, so that it means the same when it is read
//! again, to whoever reads types and to whoever reads texts. Comments, anchors and the layout of the file are not in nodes.

use super::{Key, Kind, Node, Scalar, Style};
use std::fmt::Write as _;

/// What stands for the addresses of tags of YAML itself.
const CORE: &str = "tag:yaml.org,2002:";

/// Writes a value behind the colon of its key, with its line's end. `indent` is how far the key stands from the left.
pub fn field(node: &Node, indent: usize, text: &mut String) {
    value(node, Behind::Colon, indent, text);
}

/// Writes a key without its colon.
pub fn key(key: &Key, text: &mut String) {
    match key.style {
        // Nothing as a key has to be written as something.
        Style::Plain if key.text.is_empty() => text.push('~'),
        Style::Plain if fits_plain(&key.text) => text.push_str(&key.text),
        Style::Plain | Style::Single | Style::Double | Style::Literal | Style::Folded => quoted(&key.text, text),
    }
}

/// What stands before a value on its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    Colon,
    Dash,
}

fn value(node: &Node, behind: Behind, indent: usize, text: &mut String) {
    if let Some(tag) = &node.tag {
        text.push(' ');
        write_tag(tag, text);
    }
    match &node.kind {
        Kind::Scalar(one) => scalar(one, node.tag.is_some(), indent, text),
        Kind::Map(map) if map.entries.is_empty() => text.push_str(" {}\n"),
        Kind::List(items) if items.is_empty() => text.push_str(" []\n"),
        Kind::Map(map) => {
            let mut first_stands = begin(behind, node, text);
            for entry in &map.entries {
                if !std::mem::take(&mut first_stands) {
                    spaces(indent + 2, text);
                }
                key(&entry.key, text);
                text.push(':');
                value(&entry.value, Behind::Colon, indent + 2, text);
            }
        }
        Kind::List(items) => {
            let mut first_stands = begin(behind, node, text);
            for item in items {
                if !std::mem::take(&mut first_stands) {
                    spaces(indent + 2, text);
                }
                text.push('-');
                value(item, Behind::Dash, indent + 2, text);
            }
        }
    }
}

/// Goes to where the first entry of a collection stands: behind the dash if nothing is there yet, else on a line of its own, which
/// is indented by the caller. Says whether it stands there already.
fn begin(behind: Behind, node: &Node, text: &mut String) -> bool {
    let stays = behind == Behind::Dash && node.tag.is_none();
    text.push(if stays { ' ' } else { '\n' });
    stays
}

fn spaces(count: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', count));
}

fn write_tag(tag: &str, text: &mut String) {
    match tag.strip_prefix(CORE) {
        Some(kind) => {
            let _ = write!(text, "!!{kind}");
        }
        None if tag.starts_with('!') => text.push_str(tag),
        None => {
            let _ = write!(text, "!<{tag}>");
        }
    }
}

fn scalar(scalar: &Scalar, tagged: bool, indent: usize, text: &mut String) {
    match scalar.style {
        // Nothing at all, as it was. Behind a tag that is an empty text in some places and nothing in others.
        Style::Plain if scalar.text.is_empty() => text.push_str(if tagged { " ''\n" } else { "\n" }),
        Style::Plain if fits_plain(&scalar.text) => {
            let _ = writeln!(text, " {}", scalar.text);
        }
        Style::Plain | Style::Single | Style::Double | Style::Literal | Style::Folded => match lines(&scalar.text) {
            Some((mark, lines)) => {
                let _ = writeln!(text, " {mark}");
                for line in lines {
                    if !line.is_empty() {
                        spaces(indent + 2, text);
                        text.push_str(line);
                    }
                    text.push('\n');
                }
            }
            None => {
                text.push(' ');
                quoted(&scalar.text, text);
                text.push('\n');
            }
        },
    }
}

/// Whether what stood without quotes somewhere may stand without them anywhere: a text that was folded from several lines may not.
fn fits_plain(text: &str) -> bool {
    text.chars().all(is_printable) && !text.contains(": ") && !text.contains(" #") && !text.ends_with([':', ' '])
}

/// A text of several lines as a block, with its mark; `None` if a block cannot hold it.
fn lines(text: &str) -> Option<(&'static str, std::str::Lines<'_>)> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let fits = body.contains('\n') && !body.starts_with([' ', '\n', '\t']) && !body.ends_with('\n');
    let printable = body.split('\n').all(|line| line.chars().all(is_printable));
    (fits && printable).then(|| (if body.len() == text.len() { "|-" } else { "|" }, body.lines()))
}

fn quoted(text: &str, out: &mut String) {
    if text.chars().all(is_printable) {
        let _ = write!(out, "'{}'", text.replace('\'', "''"));
    } else {
        out.push_str(&super::print::quoted(text));
    }
}

fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::super::{Field, Map, Span, parse};
    use super::*;
    use proptest::prelude::*;

    fn written(node: &Node) -> String {
        let mut text = "x:".to_owned();
        field(node, 0, &mut text);
        text
    }

    /// The same without places. Quotes of any kind say the same.
    fn bare(node: &Node) -> Node {
        let style = |style: Style| if style == Style::Plain { Style::Plain } else { Style::Double };
        let kind = match &node.kind {
            // The parser says `~` of what is not there.
            Kind::Scalar(one) if one.style == Style::Plain && one.text.is_empty() => {
                Kind::Scalar(Scalar { text: "~".into(), style: Style::Plain })
            }
            Kind::Scalar(one) => Kind::Scalar(Scalar { text: one.text.clone(), style: style(one.style) }),
            Kind::List(items) => Kind::List(items.iter().map(bare).collect()),
            Kind::Map(map) => {
                let key = |key: &Key| Key { span: Span::default(), text: key.text.clone(), style: style(key.style) };
                let field = |field: &Field| Field { key: key(&field.key), value: bare(&field.value) };
                Kind::Map(Map { entries: map.entries.iter().map(field).collect(), duplicates: Vec::new() })
            }
        };
        Node { span: Span::default(), tag: node.tag.clone(), kind }
    }

    fn read(text: &str) -> Node {
        let node = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}\n{text}")).unwrap();
        let Kind::Map(map) = node.kind else { panic!("{text}") };
        map.entries.into_iter().next().unwrap().value
    }

    #[test]
    fn texts_stay_as_they_were_written() {
        let node = read(
            "x: {version: 1.10, off: NO, when: 12:30, quoted: '017', empty: , none: ~, \
             plain: a b, folded: \"one\\ntwo\\n\", odd: \"\\u0007\", list: [[1, {a: [], b: {}}], !unsafe '{{ x }}'], \
             secret: !vault \"$ANSIBLE_VAULT;1.1\\n6162\\n\", '1': one, 2: two, set: !!set {a: , b: }}",
        );
        insta::assert_snapshot!(written(&node), @r#"
        x:
          version: 1.10
          off: NO
          when: 12:30
          quoted: '017'
          empty: ~
          none: ~
          plain: a b
          folded: |
            one
            two
          odd: "\u0007"
          list:
            - - 1
              - a: []
                b: {}
            - !unsafe '{{ x }}'
          secret: !vault |
            $ANSIBLE_VAULT;1.1
            6162
          '1': one
          2: two
          set: !!set
            a: ~
            b: ~
        "#);
        assert_eq!(bare(&read(&written(&node))), bare(&node));
    }

    fn scalars() -> impl Strategy<Value = (String, Style)> {
        let plain =
            "(?i)(true|no|null|~|1e3|0x1f|12:30|1_000|2001-12-14|[a-z][a-z :#-]{0,8}[a-z]|-?[0-9]{1,4}(\\.[0-9]+)?)?"
                .prop_filter("stands without quotes", |text| !text.contains(": ") && !text.contains(" #"));
        let text = prop_oneof![any::<String>(), "[ -~\n\t]{0,16}"];
        prop_oneof![plain.prop_map(|text| (text, Style::Plain)), text.prop_map(|text| (text, Style::Double))]
    }

    fn nodes() -> impl Strategy<Value = Node> {
        let node = |tag: Option<&str>, kind| Node { span: Span::default(), tag: tag.map(Into::into), kind };
        let tag = prop_oneof![Just(None), Just(None), Just(Some("!unsafe")), Just(Some("tag:yaml.org,2002:str"))];
        let leaf = (scalars(), tag).prop_map(move |((text, style), tag)| {
            // What is behind a tag and empty is always quoted.
            let style = if tag.is_some() && text.is_empty() { Style::Double } else { style };
            node(tag, Kind::Scalar(Scalar { text: text.into(), style }))
        });
        leaf.prop_recursive(4, 32, 6, move |inner| {
            let map = prop::collection::btree_map("[ -~]{0,8}", inner.clone(), 0..5).prop_map(move |fields| {
                let key = |text: String| Key { span: Span::default(), text: text.into(), style: Style::Double };
                let entries = fields.into_iter().map(|(text, value)| Field { key: key(text), value });
                Kind::Map(Map { entries: entries.collect(), duplicates: Vec::new() })
            });
            let list = prop::collection::vec(inner, 0..5).prop_map(Kind::List);
            let tag = prop_oneof![Just(None), Just(None), Just(Some("!unsafe"))];
            (prop_oneof![map, list], tag).prop_map(move |(kind, tag)| node(tag, kind))
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_the_same(node in nodes()) {
            let text = written(&node);
            prop_assert_eq!(bare(&read(&text)), bare(&node), "{}", text);
        }
    }
}
