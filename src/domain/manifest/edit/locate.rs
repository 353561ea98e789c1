//! Where things stand in the text: what the tree does not say because it only has values.

use super::{EditError, scalar::Context};
use crate::domain::manifest::yaml::{Field, Kind, Map, Node, Scalar, Span, Style, parse};

/// What a document has at a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Where the key stands.
    pub key: Span,
    /// The value, if it is a single one.
    pub scalar: Option<Scalar>,
    /// Whether it is written as nothing.
    pub is_null: bool,
}

/// What a document has at a path; `None` if it has nothing there, or cannot be read.
pub fn find(text: &str, path: &[String]) -> Option<Found> {
    let root = parse(text.as_bytes()).ok().flatten()?;
    let (last, way) = path.split_last()?;
    let mut node = &root;
    for key in way {
        let Kind::Map(map) = &node.kind else { return None };
        node = map.value(key)?;
    }
    let Kind::Map(map) = &node.kind else { return None };
    let field = map.entries.iter().find(|field| *field.key.text == **last)?;
    let scalar = match &field.value.kind {
        Kind::Scalar(scalar) => Some(scalar.clone()),
        Kind::List(_) | Kind::Map(_) => None,
    };
    Some(Found { key: field.key.span, scalar, is_null: field.value.is_null() })
}

/// A text with the questions that edits ask about it.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(pub &'a str);

/// A mapping as it is written.
pub(super) struct Written<'a> {
    /// Its own entries in the order of the text; what merge keys bring stands elsewhere.
    pub own: Vec<&'a Field>,
    /// Its first byte.
    pub start: usize,
    /// How it is written.
    pub context: Context,
}

impl<'a> Text<'a> {
    /// The text between two bytes; nothing where the parser's marks lie outside of it, which they do for a few odd documents. What
    /// comes of that means something else, and is refused.
    pub fn slice(self, start: usize, end: usize) -> &'a str {
        self.0.get(start..end).unwrap_or_default()
    }

    /// The text from a byte on.
    pub fn from(self, start: usize) -> &'a str {
        self.slice(start, self.0.len())
    }

    fn byte(self, at: usize) -> Option<u8> {
        self.0.as_bytes().get(at).copied()
    }

    /// How a mapping is written.
    pub fn written<'n>(self, node: &Node, map: &'n Map) -> Written<'n> {
        let start = node.span.start as usize;
        let context = if self.byte(start) == Some(b'{') { Context::Flow } else { Context::Block };
        let inside = |field: &&Field| {
            // An end of zero is that of a mapping whose end the parser did not see as a token.
            field.key.span.start >= node.span.start
                && field.key.span.start < node.span.end.max(node.span.start.saturating_add(1))
        };
        let mut own: Vec<&'n Field> = map.entries.iter().filter(inside).collect();
        own.sort_by_key(|field| field.key.span.start);
        Written { own, start, context }
    }

    /// The byte after the colon of an entry, or after the key where there is none.
    pub fn after_colon(self, field: &Field) -> usize {
        let end = field.key.span.end as usize;
        let rest = self.from(end);
        let blank = rest.len() - rest.trim_start_matches(' ').len();
        if self.byte(end + blank) == Some(b':') { end + blank + 1 } else { end }
    }

    /// The alias that an entry has as its value: its first byte and the byte after its last.
    pub fn alias(self, field: &Field) -> Option<(usize, usize)> {
        let from = self.after_colon(field);
        let start = from + (self.from(from).len() - self.from(from).trim_start_matches(' ').len());
        if self.byte(start) != Some(b'*') {
            return None;
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}');
        let end = self.from(start).find(ends).map_or(self.0.len(), |length| start + length);
        Some((start, end))
    }

    /// The bytes of a single value, header and quotes included; `None` if nothing is written.
    pub fn scalar(self, field: &Field) -> Option<(usize, usize)> {
        let Kind::Scalar(scalar) = &field.value.kind else { return None };
        let (start, end) = (field.value.span.start as usize, field.value.span.end as usize);
        if matches!(scalar.style, Style::Literal | Style::Folded) {
            // The parser counts from the first line of the text on; `|` and `>` stand before it.
            let (start, header_end) = self.block_header(field)?;
            return Some((start, self.trimmed(scalar.style, start, end).max(header_end)));
        }
        if end <= start || start < field.key.span.end as usize {
            return None;
        }
        Some((start, self.trimmed(scalar.style, start, end)))
    }

    /// `|` or `>` with what belongs to it, after a tag and an anchor.
    fn block_header(self, field: &Field) -> Option<(usize, usize)> {
        let mut at = self.after_colon(field);
        loop {
            at += self.from(at).len() - self.from(at).trim_start_matches(' ').len();
            let end = self.from(at).find(char::is_whitespace).map_or(self.0.len(), |length| at + length);
            match self.byte(at)? {
                b'|' | b'>' => return Some((at, end)),
                b'&' | b'!' => at = end,
                _ => return None,
            }
        }
    }

    fn trimmed(self, style: Style, start: usize, end: usize) -> usize {
        match style {
            Style::Single | Style::Double => end,
            // The parser counts what comes before the next token too.
            Style::Plain | Style::Literal | Style::Folded => start + self.slice(start, end.max(start)).trim_end().len(),
        }
    }

    /// The byte after everything that an entry holds.
    pub fn end(self, field: &Field) -> usize {
        if let Some((_, end)) = self.alias(field) {
            return end;
        }
        self.end_of(&field.value).max(self.after_colon(field))
    }

    fn end_of(self, node: &Node) -> usize {
        let (start, end) = (node.span.start as usize, node.span.end as usize);
        let closing = |bracket: u8| if self.byte(end) == Some(bracket) { end + 1 } else { end };
        match &node.kind {
            Kind::Scalar(scalar) if end > start => self.trimmed(scalar.style, start, end),
            Kind::Scalar(_) => 0,
            Kind::List(_) if self.byte(start) == Some(b'[') => closing(b']'),
            Kind::List(items) => items.iter().map(|item| self.end_of(item)).max().unwrap_or(0).max(start),
            Kind::Map(map) => {
                let written = self.written(node, map);
                match written.context {
                    Context::Flow => closing(b'}'),
                    Context::Block => written.own.iter().map(|field| self.end(field)).max().unwrap_or(start),
                }
            }
        }
    }

    /// The first byte of the line that a byte is in.
    pub fn line_start(self, at: usize) -> usize {
        self.slice(0, at)
            .rfind('\n')
            .map_or_else(|| if self.0.starts_with('\u{feff}') { 3.min(at) } else { 0 }, |newline| newline + 1)
    }

    /// The first byte of the line after the one that a byte is in, if nothing but a comment comes before it.
    pub fn next_line(self, at: usize) -> Option<usize> {
        let end = self.from(at).find('\n').map_or(self.0.len(), |length| at + length);
        let rest = self.slice(at, end);
        let comment = rest.trim_start();
        let is_blank = comment.is_empty() || comment.starts_with('#') && comment.len() < rest.len();
        is_blank.then(|| (end + 1).min(self.0.len()))
    }

    /// How lines end around here: as the one that a byte is in, or else as the first of the text.
    pub fn line_break(self, at: usize) -> &'static str {
        let end = self.from(at).find('\n').map(|length| at + length).or_else(|| self.0.find('\n'));
        if end.is_some_and(|end| self.slice(0, end).ends_with('\r')) { "\r\n" } else { "\n" }
    }

    /// How far a mapping is indented inside another, where this text shows it.
    pub fn step(self, root: &Node) -> usize {
        fn nested(text: Text<'_>, node: &Node, outer: Option<u32>) -> Option<u32> {
            match &node.kind {
                Kind::Scalar(_) => None,
                Kind::List(items) => items.iter().find_map(|item| nested(text, item, None)),
                Kind::Map(map) => {
                    let written = text.written(node, map);
                    let column = written.own.first().filter(|_| written.context == Context::Block)?.key.span.column;
                    if let Some(outer) = outer.filter(|outer| column > *outer) {
                        return Some(column - outer);
                    }
                    written.own.iter().find_map(|field| nested(text, &field.value, Some(column)))
                }
            }
        }
        nested(self, root, None).map_or(2, |step| (step as usize).min(8))
    }
}

/// Follows a path as far as the document has it.
pub(super) enum Way<'a> {
    /// All of it is there: the mapping that holds the last key, and its entry.
    Whole { map: &'a Node, field: &'a Field },
    /// This mapping lacks the rest.
    Missing { map: &'a Node, rest: &'a [String] },
    /// This entry is written as nothing, and lacks the rest.
    Empty { map: &'a Node, field: &'a Field, rest: &'a [String] },
}

/// Walks from the root along a path.
pub(super) fn walk<'a>(text: Text<'_>, root: &'a Node, path: &'a [String]) -> Result<Way<'a>, EditError> {
    let mut node = root;
    let so_far = |depth: usize| path[..=depth].join(".");
    for (depth, key) in path.iter().enumerate() {
        let Kind::Map(map) = &node.kind else {
            return Err(EditError::NotAMapping { path: so_far(depth.saturating_sub(1)) });
        };
        if map.duplicates.iter().any(|other| *other.text == **key) {
            return Err(EditError::Duplicate { path: so_far(depth) });
        }
        let written = text.written(node, map);
        let Some(field) = written.own.into_iter().find(|field| *field.key.text == **key) else {
            return Ok(Way::Missing { map: node, rest: &path[depth..] });
        };
        if depth + 1 == path.len() {
            return Ok(Way::Whole { map: node, field });
        }
        if text.alias(field).is_some() {
            return Err(EditError::Alias { path: so_far(depth) });
        }
        if field.value.is_null() {
            return Ok(Way::Empty { map: node, field, rest: &path[depth + 1..] });
        }
        node = &field.value;
    }
    Err(EditError::NotThere { path: String::new() })
}
