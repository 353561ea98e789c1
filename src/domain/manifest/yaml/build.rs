//! From the parser's events to the tree.

use super::{Field, Key, Kind, MAX_COPIED_NODES, MAX_DEPTH, MAX_NODES, Map, Node, Scalar, Span, Style, YamlError};
use crate::domain::finding::codes;
use granit_parser::{Event, Marker, Parser, ScalarStyle};
use std::collections::BTreeMap;

/// Reads one file. `Ok(None)` if it holds no document, or only comments.
pub fn parse(bytes: &[u8]) -> Result<Option<Node>, YamlError> {
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    // Marks are kept in 32 bits; snapshots bound files far below that.
    if u32::try_from(text.len()).is_err() {
        return Err(error(codes::FILE_TOO_LONG, Span::default(), "the file is longer than 4 GiB"));
    }
    let (text, skipped) = match text.strip_prefix('\u{feff}') {
        Some(rest) => (rest, '\u{feff}'.len_utf8() as u32),
        None => (text, 0),
    };
    let options = granit_parser::options! {
        emit_comments: false,
        // The scanner looks ahead of the parser, so it needs the same bound.
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder { skipped, numbers: Numbers::of(text), ..Builder::default() };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take(event, span)?,
            Err(problem) => return Err(builder.syntax(text, &problem)),
        }
    }
    Ok(builder.root)
}

fn error(code: crate::domain::finding::Code, span: Span, message: &str) -> YamlError {
    YamlError { code, span, message: message.to_owned(), hint: None }
}

fn not_utf8(bytes: &[u8], at: usize) -> YamlError {
    let before = &bytes[..at];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let column = 1 + String::from_utf8_lossy(&before[line_start..]).chars().count();
    let span =
        Span { line: narrow(line), column: narrow(column), start: narrow(at), end: narrow(at.saturating_add(1)) };
    YamlError {
        code: codes::NOT_UTF8,
        span,
        message: format!("the file is not UTF-8: byte 0x{:02x} cannot stand here", bytes.get(at).copied().unwrap_or(0)),
        hint: Some("save the file with the encoding UTF-8"),
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A collection that is still open.
enum Open {
    List { span: Span, tag: Option<Box<str>>, anchor: usize, items: Vec<Node> },
    Map { span: Span, tag: Option<Box<str>>, anchor: usize, fields: Vec<Field>, merges: Vec<Node>, key: Option<Key> },
}

/// What numbers look like. Ansible reads a file as JSON first, and `1e3` is a number there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Numbers {
    #[default]
    Yaml,
    Json,
}

impl Numbers {
    fn of(text: &str) -> Self {
        let may_be = text.trim_start().starts_with('{');
        match may_be && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            true => Self::Json,
            false => Self::Yaml,
        }
    }

    /// The tag of a number that YAML 1.1 would take for text.
    fn tag(self, scalar: &Scalar) -> Option<Box<str>> {
        let text = scalar.text.as_bytes();
        let number = self == Self::Json
            && scalar.style == Style::Plain
            && matches!(text.first(), Some(b'-' | b'0'..=b'9'))
            && text.iter().any(|byte| matches!(byte, b'e' | b'E'));
        number.then(|| "tag:yaml.org,2002:float".into())
    }
}

#[derive(Default)]
struct Builder {
    /// Bytes of a byte order mark before the text.
    skipped: u32,
    numbers: Numbers,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    copied: usize,
    anchors: BTreeMap<usize, Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: granit_parser::Span) -> Result<(), YamlError> {
        let span = self.span(&span);
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) => Ok(()),
            Event::DocumentStart(..) => self.document(span),
            Event::UnresolvedAlias(_) => Err(error(codes::YAML_SYNTAX, span, "the alias has no anchor")),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar { text: text.into(), style: style_of(style) };
                let tag = tag_of(tag).or_else(|| self.numbers.tag(&scalar));
                self.node(Node { span, tag, kind: Kind::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.push(Open::List { span, tag: tag_of(tag), anchor, items: Vec::new() }, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                let (tag, fields, merges) = (tag_of(tag), Vec::new(), Vec::new());
                self.push(Open::Map { span, tag, anchor, fields, merges, key: None }, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            // The parser may learn new events; none of them can be a value, because values are those above.
            _ => Ok(()),
        }
    }

    fn document(&mut self, span: Span) -> Result<(), YamlError> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(error(codes::SEVERAL_DOCUMENTS, span, "the file holds more than one document"));
        }
        Ok(())
    }

    fn push(&mut self, collection: Open, span: Span) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.open.push(collection);
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), YamlError> {
        match self.open.pop() {
            Some(Open::List { mut span, tag, anchor, items }) => {
                span.end = end.start.max(span.start);
                self.node(Node { span, tag, kind: Kind::List(items) }, anchor)
            }
            Some(Open::Map { mut span, tag, anchor, fields, merges, key: _ }) => {
                span.end = end.start.max(span.start);
                let map = self.map(fields, merges)?;
                self.node(Node { span, tag, kind: Kind::Map(map) }, anchor)
            }
            None => Ok(()),
        }
    }

    /// Takes a finished node: as the root, as an item, as a key or as a value.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the file has more than {MAX_NODES} values");
            return Err(error(codes::TOO_MANY_NODES, node.span, &message));
        }
        if anchor != 0 {
            self.copying(&node, node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { fields, merges, key, .. }) => match key.take() {
                None => *key = Some(key_of(node)?),
                Some(key) if &*key.text == "<<" && key.style == Style::Plain => merges.push(node),
                Some(key) => fields.push(Field { key, value: node }),
            },
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), YamlError> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(error(codes::ALIAS_BOMB, span, "the alias stands inside what it stands for"));
        };
        let copy = node.clone();
        if self.open.len() + copy.depth() > MAX_DEPTH {
            let message = format!("with its aliases the document is nested deeper than {MAX_DEPTH} levels");
            return Err(error(codes::TOO_DEEP, span, &message));
        }
        self.copying(&copy, span)?;
        self.node(copy, 0)
    }

    /// Counts nodes that are about to exist once more.
    fn copying(&mut self, node: &Node, span: Span) -> Result<(), YamlError> {
        self.copied += node.size();
        if self.copied > MAX_COPIED_NODES {
            let message = format!("aliases and anchors copy more than {MAX_COPIED_NODES} values");
            return Err(YamlError {
                hint: Some("write the values out, or set them once in a group"),
                ..error(codes::ALIAS_BOMB, span, &message)
            });
        }
        Ok(())
    }

    /// Finishes a mapping: equal keys are told apart, merge keys fill in what is not written.
    fn map(&mut self, fields: Vec<Field>, merges: Vec<Node>) -> Result<Map, YamlError> {
        let mut map = unique(fields);
        if merges.is_empty() {
            return Ok(map);
        }
        let mut sources = Vec::new();
        // Of several `<<` the last counts most; in a list of mappings the first does.
        for node in merges.into_iter().rev() {
            let span = node.span;
            match node.kind {
                Kind::Map(source) => sources.push(source),
                Kind::List(items) => {
                    for item in items {
                        match item.kind {
                            Kind::Map(source) => sources.push(source),
                            Kind::Scalar(_) | Kind::List(_) => return Err(bad_merge(item.span)),
                        }
                    }
                }
                Kind::Scalar(_) => return Err(bad_merge(span)),
            }
        }
        // What is written beats what is merged; earlier sources beat later ones.
        let mut present: std::collections::BTreeSet<Box<str>> =
            map.entries.iter().map(|field| field.key.text.clone()).collect();
        for source in sources {
            for field in source.entries {
                if present.insert(field.key.text.clone()) {
                    map.entries.push(field);
                }
            }
        }
        Ok(map)
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        self.between(&span.start, &span.end)
    }

    fn between(&self, start: &Marker, end: &Marker) -> Span {
        let byte = |marker: &Marker| narrow(marker.byte_offset().unwrap_or(0)).saturating_add(self.skipped);
        Span {
            line: narrow(start.line()),
            column: narrow(start.col().saturating_add(1)),
            start: byte(start),
            end: byte(end),
        }
    }

    fn syntax(&self, text: &str, problem: &granit_parser::ScanError) -> YamlError {
        let span = self.between(problem.marker(), problem.marker());
        if *problem.kind() == granit_parser::ErrorKind::RecursionLimitExceeded {
            return too_deep(span);
        }
        let tab = text
            .lines()
            .nth(span.line.saturating_sub(1) as usize)
            .is_some_and(|line| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t'));
        YamlError {
            code: codes::YAML_SYNTAX,
            span,
            message: problem.kind().to_string(),
            hint: tab.then_some("YAML is indented with spaces, never with tabs"),
        }
    }
}

fn too_deep(span: Span) -> YamlError {
    error(codes::TOO_DEEP, span, &format!("the document is nested deeper than {MAX_DEPTH} levels"))
}

fn bad_merge(span: Span) -> YamlError {
    error(codes::BAD_MERGE_KEY, span, "`<<` takes a mapping or a list of mappings")
}

fn key_of(node: Node) -> Result<Key, YamlError> {
    match node.kind {
        Kind::Scalar(Scalar { text, style }) => Ok(Key { span: node.span, text, style }),
        Kind::List(_) | Kind::Map(_) => {
            Err(error(codes::COMPLEX_KEY, node.span, "a key must be a single value, not a list or a mapping"))
        }
    }
}

/// Keeps the last of equal keys, at the place of the last, and remembers the others.
fn unique(fields: Vec<Field>) -> Map {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, field) in fields.iter().enumerate() {
        last.insert(&field.key.text, index);
    }
    if last.len() == fields.len() {
        return Map { entries: fields, duplicates: Vec::new() };
    }
    let kept: std::collections::BTreeSet<usize> = last.into_values().collect();
    let mut map = Map::default();
    for (index, field) in fields.into_iter().enumerate() {
        if kept.contains(&index) {
            map.entries.push(field);
        } else {
            map.duplicates.push(field.key);
        }
    }
    map
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}

fn tag_of(tag: Option<std::borrow::Cow<'_, granit_parser::Tag>>) -> Option<Box<str>> {
    tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()).into())
}
