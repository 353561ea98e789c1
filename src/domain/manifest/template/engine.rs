//! Rendering with bounds.

use super::filters;
use super::value::{Literal, OutPiece, SecretPieces};
use super::{MAX_OUTPUT_BYTES, Template};
use crate::domain::manifest::problems::show;
use crate::domain::manifest::yaml::Span;
use crate::domain::secret::Encoding;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::OnceLock;

/// How many steps one template may take. A line of text takes a handful, a loop over a hundred hosts some thousand.
const FUEL: u64 = 20_000;

/// Why a template cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Which bytes of the template it is about, if that is known.
    pub range: Option<Range<usize>>,
    /// The variable that is not defined, if that is the reason.
    pub undefined: Option<String>,
}

impl Fault {
    /// A fault of the whole template.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, range: None, undefined: None }
    }

    /// Where the fault is in the file, for a template that stands on one line as it is written; the whole template otherwise.
    pub fn place(&self, source: &str, span: Span) -> Span {
        let (Some(range), false) = (&self.range, source.contains('\n')) else { return span };
        let written = (span.end as usize).saturating_sub(span.start as usize);
        // As it is, or between quotes without escapes.
        let before = match written.checked_sub(source.len()) {
            Some(0) => 0,
            Some(2) => 1,
            Some(_) | None => return span,
        };
        let (Some(head), Ok(start), Ok(end)) =
            (source.get(..range.start), u32::try_from(range.start), u32::try_from(range.end))
        else {
            return span;
        };
        let column = u32::try_from(head.chars().count()).unwrap_or(0);
        Span {
            line: span.line,
            column: span.column + before + column,
            start: span.start + before + start,
            end: span.start + before + end,
        }
    }

    pub(super) fn at(self, byte: usize) -> Self {
        Self { range: Some(byte..byte + 2), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// What a template comes to.
#[derive(Clone, Debug)]
pub enum Out {
    /// Text alone.
    Text(String),
    /// Text that holds secrets.
    Secret(Vec<OutPiece>),
}

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(64);
        environment.set_debug(true);
        environment.set_formatter(print);
        filters::add(&mut environment);
        environment
    })
}

/// The names that a template uses. Fails where its syntax is wrong.
pub(super) fn names(source: &str) -> Result<std::sync::Arc<[Box<str>]>, Fault> {
    let template = environment().template_from_str(source).map_err(|error| fault(&error, source))?;
    let names: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
    Ok(names.into_iter().filter(|name| !filters::FUNCTIONS.contains(&name.as_str())).map(Into::into).collect())
}

/// Renders a template with these variables.
pub fn render(template: &Template, context: &Value) -> Result<Out, Fault> {
    let source = &*template.source;
    let compiled = environment().template_from_str(source).map_err(|error| fault(&error, source))?;
    let mut bounded = Bounded { text: Vec::new(), beyond: false };
    let rendered = compiled.render_captured_to(context.clone(), &mut bounded);
    if bounded.beyond {
        let message = format!("the template comes to more than {MAX_OUTPUT_BYTES} bytes");
        return Err(Fault::new(message));
    }
    rendered.map_err(|error| fault(&error, source))?;
    let text = String::from_utf8(bounded.text).map_err(|_| Fault::new("the template does not come to text"))?;
    Ok(pieces(text))
}

/// The value of a template that is one expression and nothing else; `None` for any other.
pub fn evaluate(template: &Template, context: &Value) -> Option<Result<Value, Fault>> {
    let inner = template.source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    if inner.contains("{{") || inner.contains("}}") || inner.contains("{%") {
        return None;
    }
    let inner = inner.trim_matches(['-', '+']).trim();
    let expression = environment().compile_expression(inner).ok()?;
    Some(match expression.eval(context.clone()) {
        Ok(value) if value.is_undefined() => {
            let message = format!("`{}` is not defined", show(inner));
            Err(Fault { undefined: Some(inner.to_owned()), ..Fault::new(message) })
        }
        Ok(value) => Ok(value),
        Err(error) => Err(fault(&error, inner)),
    })
}

struct Bounded {
    text: Vec<u8>,
    beyond: bool,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.text.len() + bytes.len() > MAX_OUTPUT_BYTES {
            self.beyond = true;
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Prints a value. Secrets become marks between NUL characters, which no other text may contain.
fn print(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let failed = |message: &'static str| Err(Error::new(ErrorKind::InvalidOperation, message));
    if let Some(SecretPieces(pieces)) = value.downcast_object_ref::<SecretPieces>() {
        for piece in pieces {
            match piece {
                OutPiece::Text(text) => out.write_str(text)?,
                OutPiece::Secret(name, encoding) => {
                    let encoding = match encoding {
                        Encoding::Plain => "plain",
                        Encoding::Json => "json",
                        Encoding::Base64 => "base64",
                    };
                    write!(out, "\0{encoding} {name}\0")?;
                }
            }
        }
        return Ok(());
    }
    if let Some(literal) = value.downcast_object_ref::<Literal>() {
        return Ok(out.write_str(&literal.text)?);
    }
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => failed("it is null, which has no text; give it a value, or use `default('', true)`"),
        ValueKind::Seq | ValueKind::Iterable => failed("it is a list; use `join(',')` or `to_json`"),
        ValueKind::Map => failed("it is a mapping; name one of its keys, or use `to_json`"),
        ValueKind::Bool | ValueKind::Number | ValueKind::String | ValueKind::Bytes | ValueKind::Plain => {
            let text = value.to_string();
            if text.contains('\0') {
                return failed("a secret can only be printed as it is, or through `to_json` or `b64encode`");
            }
            Ok(out.write_str(&text)?)
        }
        _ => failed("it has no text"),
    }
}

/// Takes text and marks apart.
fn pieces(text: String) -> Out {
    if !text.contains('\0') {
        return Out::Text(text);
    }
    let mut pieces = Vec::new();
    for (index, part) in text.split('\0').enumerate() {
        if index % 2 == 0 {
            if !part.is_empty() {
                pieces.push(OutPiece::Text(part.to_owned()));
            }
        } else if let Some((encoding, name)) = part.split_once(' ')
            && let Ok(name) = name.parse()
        {
            let encoding = match encoding {
                "json" => Encoding::Json,
                "base64" => Encoding::Base64,
                _ => Encoding::Plain,
            };
            pieces.push(OutPiece::Secret(name, encoding));
        }
    }
    Out::Secret(pieces)
}

/// An error of the template language in our words.
fn fault(error: &Error, source: &str) -> Fault {
    // What a variable came to is a fault of its own, with its own words.
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    let error = inner.downcast_ref::<Error>().unwrap_or(error);
    let range = error.range().filter(|range| source.get(range.clone()).is_some());
    let named = range.clone().and_then(|range| source.get(range)).map(str::trim).filter(|text| !text.is_empty());
    let detail = error.detail().map(show_whole).unwrap_or_default();
    let (message, undefined) = match error.kind() {
        ErrorKind::UndefinedError => {
            // A filter was given something that is not there: the name stands before it.
            let before = range.clone().and_then(|range| source.get(..range.start)).and_then(filtered);
            let named = before.or(named);
            (format!("`{}` is not defined", show(named.unwrap_or("a value"))), named.map(str::to_owned))
        }
        ErrorKind::OutOfFuel => (format!("the template takes more than {FUEL} steps"), None),
        ErrorKind::SyntaxError => (format!("the template cannot be read: {detail}"), None),
        ErrorKind::UnknownFilter => (format!("templates have no filter {}", quoted(&detail)), None),
        ErrorKind::UnknownTest => (format!("templates have no test {}", quoted(&detail)), None),
        ErrorKind::UnknownFunction => (format!("templates have no function {}", quoted(&detail)), None),
        _ => {
            let mut message = String::new();
            if let Some(named) = named.filter(|_| error.kind() == ErrorKind::InvalidOperation) {
                let _ = write!(message, "`{}`: ", show(named));
            }
            let _ = write!(message, "{}", if detail.is_empty() { error.kind().to_string() } else { detail });
            (message, None)
        }
    };
    Fault { message, hint: None, range, undefined }
}

/// The name that a filter is applied to, at the end of a text.
fn filtered(before: &str) -> Option<&str> {
    let value = before.trim_end().strip_suffix('|')?.trim_end();
    let start = value.rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).map_or(0, |at| at + 1);
    Some(&value[start..]).filter(|name| !name.is_empty())
}

/// The template language says `filter x is unknown` and the like.
fn quoted(detail: &str) -> String {
    detail
        .split_whitespace()
        .find(|word| !matches!(*word, "filter" | "test" | "function"))
        .map_or_else(|| "of that name".to_owned(), |word| format!("`{}`", show(word.trim_matches(['`', '"', '\'']))))
}

fn show_whole(detail: &str) -> String {
    detail.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
