//! Looking at free variables: what Ansible refuses, what it passes over, and what becomes something else than it looks like.

use crate::domain::finding::codes;
use crate::domain::manifest::ansible_value::{is_known_tag, surprise};
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::scalar::{Typed, is_real_date, is_surely_text, typed};
use crate::domain::manifest::yaml::{Field, Kind, Map, Node, Scalar, Span, YamlError, parse};

/// What keys are that stand twice in a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// Found elsewhere already.
    Known,
    /// Warnings: the last one counts, as in Ansible.
    Warnings,
}

/// What a file begins with that Ansible Vault encrypted as a whole.
const VAULT_HEADER: &[u8] = b"$ANSIBLE_VAULT;";

/// Reads a file of variables. One that is encrypted as a whole says so.
pub(super) fn document(bytes: &[u8]) -> Result<Option<Node>, YamlError> {
    if bytes.starts_with(VAULT_HEADER) {
        return Err(YamlError {
            code: codes::ENCRYPTED_FILE,
            span: Span { line: 1, column: 1, start: 0, end: VAULT_HEADER.len() as u32 },
            message: "the file is encrypted with Ansible Vault as a whole".to_owned(),
            hint: Some("encrypt single values with `ansible-vault encrypt_string`, or use `secret('NAME')`"),
        });
    }
    parse(bytes)
}

/// Whether a value counts as nothing: Python's idea of false.
pub(super) fn is_falsy(scalar: &Scalar) -> bool {
    match typed(scalar) {
        Typed::Null | Typed::Bool(false) | Typed::Int(0) => true,
        Typed::Text(text) => text.is_empty(),
        Typed::Float(number) => number == 0.0,
        Typed::Bool(true) | Typed::Int(_) | Typed::BigInt(_) | Typed::Date(_) => false,
    }
}

/// Looks at all variables of a source as Ansible would: surprising types are not for it to say.
pub(super) fn look_at(map: &Map, duplicates: Duplicates, problems: &mut Problems) {
    Look { duplicates, surprises: false, problems }.map(map);
}

/// Looks at the free variables beside typed keys, surprising types included.
pub(super) fn look_at_fields(fields: &[Field], problems: &mut Problems) {
    let mut look = Look { duplicates: Duplicates::Known, surprises: true, problems };
    fields.iter().for_each(|field| look.node(&field.value));
}

struct Look<'a> {
    duplicates: Duplicates,
    surprises: bool,
    problems: &'a mut Problems,
}

impl Look<'_> {
    fn map(&mut self, map: &Map) {
        if self.duplicates == Duplicates::Warnings {
            for key in &map.duplicates {
                let message = format!("the key `{}` stands here and again further down", show(&key.text));
                let hint = Some("the last one counts; keep one of them".to_owned());
                self.problems.warning(key.span, codes::DUPLICATE_KEY, message, hint);
            }
        }
        map.entries.iter().for_each(|field| self.node(&field.value));
    }

    fn node(&mut self, node: &Node) {
        if let Some(tag) = &node.tag
            && !is_known_tag(tag)
        {
            let message = format!("Ansible does not know the tag `{}`", show(tag));
            self.problems.error(node.span, codes::UNSUPPORTED_TAG, message);
        }
        match &node.kind {
            Kind::List(items) => items.iter().for_each(|item| self.node(item)),
            Kind::Map(map) => self.map(map),
            Kind::Scalar(scalar) => self.scalar(node, scalar),
        }
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar) {
        if node.tag.is_some() || is_surely_text(scalar) {
            return;
        }
        match typed(scalar) {
            Typed::Date(text) if !is_real_date(&text) => {
                let message = format!("`{}` looks like a date, and there is none such", show(&text));
                self.problems.error_hint(node.span, codes::BAD_DATE, message, "put it in quotes");
            }
            Typed::Text(_) | Typed::Null => {}
            Typed::Bool(_) | Typed::Int(_) | Typed::BigInt(_) | Typed::Float(_) | Typed::Date(_) => {
                if let Some(becomes) = self.surprises.then(|| surprise(scalar)).flatten() {
                    let text = show(&scalar.text);
                    let message = format!("`{text}` without quotes is {} in YAML 1.1", show(&becomes));
                    let hint = Some(format!("write \"{text}\" for the text, or {} for what it is", show(&becomes)));
                    self.problems.warning(node.span, codes::SURPRISING_TYPE, message, hint);
                }
            }
        }
    }
}
