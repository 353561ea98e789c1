//! JSON read piece by piece, for lists of devices that are too long to be held as a tree.
//!
//! Values that are kept become the same [`Node`]s that YAML gives: numbers keep their text, and a text is never taken for anything
//! else. One pass over the bytes; every error says where.

use super::yaml::{Field, Key, Kind, MAX_DEPTH, Map, Node, Scalar, Span, Style};
use std::collections::BTreeMap;

/// Why a text is no JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JsonError {
    /// Where.
    pub span: Span,
    /// What is wrong.
    pub message: String,
}

/// Whether a text stands for itself.
enum Escapes {
    None,
    Some,
}

/// A place in a JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    /// Where the line begins, in bytes.
    line_start: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The beginning of a text.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, line_start: 0, depth: 0 }
    }

    /// From here to a byte that was passed. Columns count bytes: these texts are long lines that programs write.
    fn span_to(&self, end: usize) -> Span {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Span {
            line: self.line,
            column: number(self.at.saturating_sub(self.line_start) + 1),
            start: number(self.at),
            end: number(end),
        }
    }

    /// How many bytes were passed.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Where the next value begins.
    pub fn span(&mut self) -> Span {
        self.blank();
        self.span_to(self.at)
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, JsonError> {
        Err(JsonError { span: self.span_to(self.at), message: message.into() })
    }

    fn blank(&mut self) {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.line_start = self.at + 1;
                }
                b' ' | b'\t' | b'\r' => {}
                _ => return,
            }
            self.at += 1;
        }
    }

    /// The first byte of the next value; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("`{}`", found.escape_debug()),
            None => "the end of the text".to_owned(),
        };
        self.wrong(format!("expected `{}`, found {found}", char::from(byte)))
    }

    fn deeper(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.wrong(format!("values are nested deeper than {MAX_DEPTH} levels"));
        }
        Ok(())
    }

    /// Nothing but blanks may follow.
    pub fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.wrong("something follows the end of the value"),
        }
    }

    /// Goes through an object. `each` must read or skip the value of its key.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut each: impl FnMut(&mut Self, Key) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'{')?;
        self.deeper()?;
        if self.peek() != Some(b'}') {
            loop {
                let (span, text) = self.string()?;
                self.take(b':')?;
                each(self, Key { span, text: text.into(), style: Style::Double })?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.take(b'}').map_err(E::from)
    }

    /// Goes through an array. `each` must read or skip one item.
    pub fn array<E: From<JsonError>>(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.take(b'[')?;
        self.deeper()?;
        if self.peek() != Some(b']') {
            loop {
                each(self)?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.take(b']').map_err(E::from)
    }

    /// Where the text that begins here ends, and whether it stands for itself.
    fn text_end(&mut self) -> Result<(usize, Escapes), JsonError> {
        if self.peek() != Some(b'"') {
            self.take(b'"')?;
        }
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        let mut escapes = Escapes::None;
        loop {
            match bytes.get(end) {
                Some(b'"') => return Ok((end, escapes)),
                Some(b'\\') => {
                    escapes = Escapes::Some;
                    end += 2;
                }
                Some(byte) => {
                    if *byte < b' ' {
                        // The library says what is wrong with it.
                        escapes = Escapes::Some;
                    }
                    end += 1;
                }
                None => return self.wrong("a text has no end"),
            }
        }
    }

    /// A text.
    pub fn string(&mut self) -> Result<(Span, String), JsonError> {
        let (end, escapes) = self.text_end()?;
        let span = self.span_to(end + 1);
        let inner = &self.text[self.at + 1..end];
        let text = match escapes {
            Escapes::None => inner.to_owned(),
            Escapes::Some => match serde_json::from_str(&self.text[self.at..=end]) {
                Ok(text) => text,
                Err(error) => return self.wrong(format!("a text cannot be read: {error}")),
            },
        };
        self.at = end + 1;
        Ok((span, text))
    }

    /// A number, `true`, `false` or `null`, as it is written.
    fn word(&mut self) -> Result<(Span, &'a str), JsonError> {
        self.blank();
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')))
            .unwrap_or(rest.len());
        let word = &rest[..length];
        let known = matches!(word, "true" | "false" | "null");
        if !known && serde_json::from_str::<serde_json::Number>(word).is_err() {
            return self.wrong("this is no value of JSON");
        }
        let span = self.span_to(self.at + length);
        self.at += length;
        Ok((span, word))
    }

    /// Passes over a value.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.object(|reader, _| reader.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b'"') => {
                let (end, _) = self.text_end()?;
                self.at = end + 1;
                Ok(())
            }
            _ => self.word().map(|_| ()),
        }
    }

    /// A value as a tree. Recursion is bounded by [`MAX_DEPTH`].
    pub fn node(&mut self) -> Result<Node, JsonError> {
        let start = self.span();
        let (tag, kind) = match self.peek() {
            Some(b'{') => wrapped(self.map()?),
            Some(b'[') => {
                let mut items = Vec::new();
                self.array(|reader| reader.node().map(|node| items.push(node)))?;
                (None, Kind::List(items))
            }
            Some(b'"') => {
                let (_, text) = self.string()?;
                (None, Kind::Scalar(Scalar { text: text.into(), style: Style::Double }))
            }
            _ => {
                let (_, word) = self.word()?;
                (None, Kind::Scalar(Scalar { text: number(word).into(), style: Style::Plain }))
            }
        };
        let end = u32::try_from(self.at).unwrap_or(u32::MAX);
        Ok(Node { span: Span { end, ..start }, tag, kind })
    }

    fn map(&mut self) -> Result<Map, JsonError> {
        let mut map = Map::default();
        let mut known: BTreeMap<Box<str>, usize> = BTreeMap::new();
        self.object(|reader, key| {
            let value = reader.node()?;
            if let Some(&index) = known.get(&key.text) {
                let old: &mut Field = &mut map.entries[index];
                map.duplicates.push(std::mem::replace(old, Field { key, value }).key);
            } else {
                known.insert(key.text.clone(), map.entries.len());
                map.entries.push(Field { key, value });
            }
            Ok::<(), JsonError>(())
        })?;
        Ok(map)
    }
}

/// Ansible wraps a text that is no template, and one that is encrypted.
fn wrapped(map: Map) -> (Option<Box<str>>, Kind) {
    if let [Field { key, value: Node { kind: Kind::Scalar(scalar), .. } }] = map.entries.as_slice() {
        match &*key.text {
            "__ansible_unsafe" => return (Some("!unsafe".into()), Kind::Scalar(scalar.clone())),
            "__ansible_vault" => return (Some("!vault".into()), Kind::Scalar(scalar.clone())),
            _ => {}
        }
    }
    (None, Kind::Map(map))
}

/// YAML 1.1 takes a number with an exponent for one only with a point and a sign.
fn number(word: &str) -> String {
    let Some((mantissa, exponent)) = word.split_once(['e', 'E']).filter(|_| !matches!(word, "true" | "false")) else {
        return word.to_owned();
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::manifest::scalar::json;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Node, JsonError> {
        let mut reader = Reader::new(text);
        let node = reader.node()?;
        reader.end()?;
        Ok(node)
    }

    #[test]
    fn numbers_keep_their_text_and_their_kind() {
        let Kind::Map(map) = read(r#"{"a": 1.10, "b": 1e5, "c": "NO", "d": true, "e": null, "f": "1"}"#).unwrap().kind
        else {
            panic!("a map")
        };
        let texts: Vec<String> = map.entries.iter().map(|field| format!("{:?}", field.value.kind)).collect();
        assert!(texts[0].contains("\"1.10\""), "{}", texts[0]);
        let node = read(r#"{"b": 1e5, "c": "NO", "d": true, "e": null, "f": "1"}"#).unwrap();
        assert_eq!(json(&node).to_string(), r#"{"b":100000.0,"c":"NO","d":true,"e":null,"f":"1"}"#);
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        let place = |text: &str| {
            let error = read(text).unwrap_err();
            format!("{}:{} {}", error.span.line, error.span.column, error.message)
        };
        insta::assert_snapshot!(place("{\n  \"a\": ]}"), @"2:8 this is no value of JSON");
        insta::assert_snapshot!(place("{\"a\": 1"), @"1:8 expected `}`, found the end of the text");
        insta::assert_snapshot!(place("{\"a\" 1}"), @"1:6 expected `:`, found `1`");
        insta::assert_snapshot!(place("\"a"), @"1:1 a text has no end");
        insta::assert_snapshot!(place("\"\\"), @"1:1 a text has no end");
        insta::assert_snapshot!(place("\"\\x\""), @"1:1 a text cannot be read: invalid escape at line 1 column 3");
        insta::assert_snapshot!(place("[1] x"), @"1:5 something follows the end of the value");
        insta::assert_snapshot!(place(""), @"1:1 this is no value of JSON");
        insta::assert_snapshot!(place(&"[".repeat(100)), @"1:66 values are nested deeper than 64 levels");
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::Array),
                prop::collection::btree_map("[^_]{0,6}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_what_the_library_writes(value in values(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(json(&read(&text).unwrap()), value);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}:,\"\\\\ a0-9.e+-]{0,40}") {
            let known = serde_json::from_str::<serde_json::Value>(&text);
            // Of equal keys the library keeps the last as well.
            prop_assert_eq!(read(&text).is_ok(), known.is_ok());
        }
    }
}
