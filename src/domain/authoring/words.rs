//! Texts of typed keys as vars files have them, where two braces begin a template.

use crate::domain::manifest::template::{MAX_TEMPLATE_BYTES, is_template};
use crate::domain::secret::{Encoding, Piece, SecretText};
use serde_json::Value;

/// Why a text cannot be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsayable {
    #[error("the text has braces in it and is too long for a template")]
    TooLong,
    #[error("a secret that is encoded as JSON stands without quotes")]
    Unquoted,
}

/// A text that means itself.
pub(super) fn plain(text: &str) -> Result<Value, Unsayable> {
    if !is_template(text) {
        return Ok(Value::from(text));
    }
    let mut template = String::new();
    literal(text, &mut template);
    fitting(template)
}

/// A text that holds secrets by their names.
pub(super) fn secret(text: &SecretText) -> Result<Value, Unsayable> {
    let mut template = String::new();
    let mut pieces = text.0.iter().peekable();
    // The quotes around a secret come with the filter.
    let (mut opened, mut skipped) = (false, "");
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Text(text) => {
                let mut text = text.strip_prefix(skipped).ok_or(Unsayable::Unquoted)?;
                skipped = "";
                if let Some(Piece::Secret { encoding: Encoding::Json, .. }) = pieces.peek() {
                    text = text.strip_suffix(QUOTE).ok_or(Unsayable::Unquoted)?;
                    opened = true;
                }
                literal(text, &mut template);
            }
            Piece::Secret { reference, encoding } => {
                let filter = match encoding {
                    Encoding::Plain => "",
                    Encoding::Json if !std::mem::take(&mut opened) => return Err(Unsayable::Unquoted),
                    Encoding::Json => {
                        skipped = QUOTE;
                        " | to_json"
                    }
                    Encoding::Base64 => " | b64encode",
                };
                template.push_str(&format!("{{{{ secret('{}'){filter} }}}}", reference.name));
            }
        }
    }
    if skipped.is_empty() { fitting(template) } else { Err(Unsayable::Unquoted) }
}

const QUOTE: &str = "\"";

fn fitting(template: String) -> Result<Value, Unsayable> {
    if template.len() > MAX_TEMPLATE_BYTES { Err(Unsayable::TooLong) } else { Ok(Value::from(template)) }
}

/// Text inside a template. A line end at the very end would be dropped, and a brace could meet another one.
fn literal(text: &str, template: &mut String) {
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('{', None | Some('{' | '%' | '#' | '\r' | '\n')) => template.push_str("{{ '{' }}"),
            ('\n', None) => template.push_str("{{ '\\n' }}"),
            ('\r', None) => template.push_str("{{ '\\r' }}"),
            ('\r', Some('\n')) => template.push_str("{{ '\\r' }}"),
            (c, _) => template.push(c),
        }
    }
}
