//! From text to the syntax tree of the CEL library, within bounds.
//!
//! The library's parser recurses, so what could drive it deep is counted before it is asked. What it cannot read becomes one
//! error with a place in the text, in our words: its own speak of the grammar.

use super::{FilterError, MAX_CHAIN, MAX_DEPTH, MAX_FILTER_BYTES, floor};
use cel::common::ast::{CallExpr, Expr, IdedExpr, SourceInfo};
use std::ops::Range;

/// A filter as it was written.
pub struct Parsed<'a> {
    /// The text.
    pub text: &'a str,
    /// The tree.
    pub root: IdedExpr,
    places: SourceInfo,
}

/// Reads a filter.
pub fn parse(text: &str) -> Result<Parsed<'_>, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        let message = format!("the filter is {} bytes long; at most {MAX_FILTER_BYTES} are read", text.len());
        return Err(FilterError::new(0..0, message));
    }
    if text.trim().is_empty() {
        return Err(FilterError::new(0..0, "the filter is empty")
            .hint("write a question about a device, such as `\"kiosks\" in groups`"));
    }
    scan(text)?;
    // Without macros `has(…)` stays a call as it was written.
    let parser = cel::Env::default()
        .with_optional_support(false)
        .parser()
        .enable_ident_escape_syntax(true)
        .error_recovery_limit(1);
    // The bounds above keep the library within its stack. Should it fail all the same, that is one bad filter and not the end of
    // the process.
    let parsed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| parser.parse_with_source_info(text)));
    match parsed {
        Ok(Ok((root, places))) => Ok(Parsed { text, root, places }),
        Ok(Err(errors)) => {
            let first = errors.errors.iter().find(|error| error.pos.0 > 0);
            Err(syntax(text, first.map_or((1, 1), |error| error.pos)))
        }
        Err(_) => Err(FilterError::new(0..text.len(), "the filter cannot be read")),
    }
}

/// Counts what the parser would recurse over.
fn scan(text: &str) -> Result<(), FilterError> {
    let bytes = text.as_bytes();
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut chain = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let next = bytes.get(at + 1).copied();
        match byte {
            b'"' | b'\'' => {
                at = after_string(bytes, at);
                continue;
            }
            b'/' if next == Some(b'/') => {
                at += bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'(' | b'[' | b'{' => {
                open.push((at, chain + 1));
                chain = 0;
                if open.len() > MAX_DEPTH {
                    let message = format!("brackets are nested deeper than {MAX_DEPTH}");
                    return Err(FilterError::new(at..at + 1, message));
                }
            }
            b')' | b']' | b'}' => {
                // What is too many is for the parser to say.
                chain = open.pop().map_or(0, |(_, chain)| chain);
            }
            b'&' | b'|' if next == Some(byte) => {
                chain = 0;
                at += 1;
            }
            b',' => chain = 0,
            b'.' | b'!' | b'-' | b'+' | b'*' | b'/' | b'%' | b'?' | b':' | b'=' | b'<' | b'>' => chain += 1,
            // Words count too: `a in b in c` nests.
            b'i' if next == Some(b'n') => chain += 1,
            _ => {}
        }
        if chain > MAX_CHAIN {
            let message = format!("more than {MAX_CHAIN} operators follow each other");
            return Err(FilterError::new(at..at + 1, message).hint("a filter is made of comparisons with && and ||"));
        }
        at += 1;
    }
    Ok(())
}

/// The byte after a string that begins here; the end of the text if it does not end.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let raw = start > 0 && matches!(bytes[start - 1], b'r' | b'R');
    let triple = bytes[start..].starts_with(&[quote; 3]);
    let (mut at, end): (usize, &[u8]) =
        if triple { (start + 3, &[quote; 3][..]) } else { (start + 1, &bytes[start..=start]) };
    while at < bytes.len() {
        if bytes[at] == b'\\' && !raw {
            at += 2;
        } else if bytes[at..].starts_with(end) {
            return at + end.len();
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// What is wrong at a line and column of the parser's, in our words.
fn syntax(text: &str, (line, column): (isize, isize)) -> FilterError {
    let number = |value: isize| usize::try_from(value - 1).unwrap_or(0);
    let begin: usize = text.split_inclusive('\n').take(number(line)).map(str::len).sum();
    let rest = &text[begin.min(text.len())..];
    let offset = rest.char_indices().nth(number(column)).map_or(rest.len(), |(offset, _)| offset);
    let at = floor(text, begin + offset);
    let token = token(&text[at..]);
    let word = &text[at..at + token];
    if word.trim().is_empty() {
        return FilterError::new(at..at, "the filter ends before it is complete");
    }
    let before = text[..at].trim_end();
    let error = FilterError::new(at..at + token, format!("`{word}` is not expected here"));
    // The parser stops where it cannot go on, which is often just after the mistake.
    let last = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    match (word, last) {
        ("=", _) => error.hint("write `==` to compare"),
        ("and", _) | (_, "and") => error.hint("write `&&`"),
        ("or", _) | (_, "or") => error.hint("write `||`"),
        ("not", _) | (_, "not") => error.hint("write `!`"),
        ("&" | "|", _) => error.hint("write it twice: `&&`, `||`"),
        ("~", _) => error.hint("write `.matches(\"…\")` for a regular expression"),
        _ => error,
    }
}

/// How long the word or sign is that a text begins with, in bytes.
fn token(text: &str) -> usize {
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    let length: usize = text.chars().take_while(word).map(char::len_utf8).sum();
    if length > 0 { length } else { text.chars().next().map_or(0, char::len_utf8) }
}

impl Parsed<'_> {
    /// Where an expression stands, with everything in it.
    pub fn span(&self, node: &IdedExpr) -> Range<usize> {
        let mut span = self.own(node.id);
        let mut add = |child: &IdedExpr| {
            let child = self.span(child);
            span = if span.is_empty() { child } else { span.start.min(child.start)..span.end.max(child.end) };
        };
        match &node.expr {
            Expr::Call(CallExpr { target, args, .. }) => {
                target.iter().for_each(|target| add(target));
                args.iter().for_each(&mut add);
            }
            Expr::Select(select) => {
                add(&select.operand);
                let dot = span.end;
                span.end = self.field(node, dot).end;
            }
            Expr::List(list) => list.elements.iter().for_each(&mut add),
            _ => {}
        }
        span
    }

    /// Where the name after the dot stands, of an expression with one.
    pub fn field(&self, node: &IdedExpr, from: usize) -> Range<usize> {
        let Expr::Select(select) = &node.expr else { return self.own(node.id) };
        let from = floor(self.text, from.max(self.own(node.id).start));
        let start = self.text[from..].find(select.field.as_str()).map_or(from, |at| from + at);
        start..floor(self.text, start + select.field.len())
    }

    /// Where the name of a called function stands.
    pub fn function(&self, node: &IdedExpr, name: &str) -> Range<usize> {
        let Expr::Call(call) = &node.expr else { return self.own(node.id) };
        let from = call.target.as_ref().map_or(0, |target| self.span(target).end);
        let near = self.own(node.id).start;
        // The place of a call is its bracket; its name stands before it.
        let until = floor(self.text, near + name.len() + 1);
        let from = floor(self.text, from.min(until));
        let start = self.text[from..until].rfind(name).map_or(near, |at| from + at);
        start..floor(self.text, start + name.len())
    }

    fn own(&self, id: u64) -> Range<usize> {
        let (start, stop) = self.places.offset_for(id).unwrap_or_default();
        let start = floor(self.text, start as usize);
        // The last byte is included; it may be the first of a longer character.
        let mut end = (stop as usize).saturating_add(1).min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        start..end.max(start)
    }
}
