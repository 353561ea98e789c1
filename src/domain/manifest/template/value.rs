//! The values that templates work with, beyond those of the template language itself.

use crate::domain::ids::SecretName;
use crate::domain::manifest::scalar::{Typed, typed};
use crate::domain::manifest::yaml::Scalar;
use crate::domain::secret::Encoding;
use minijinja::value::{Object, ObjectRepr, Value};
use std::fmt;
use std::sync::Arc;

/// A part of what a template comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutPiece {
    /// Literal text.
    Text(String),
    /// A secret's value, which is put in on the device.
    Secret(SecretName, Encoding),
}

/// Text that holds secrets. It can be printed, passed on and encoded; nothing can be read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPieces(pub Vec<OutPiece>);

impl Object for SecretPieces {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    /// Marked so that the printer refuses whatever was made from it: only the object itself can be printed.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\0secret\0")
    }
}

/// A scalar whose text is not what its type would print: `NO`, `1.10`, `017`. It prints its text and counts as its type.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    pub(super) text: Box<str>,
    pub(super) typed: Typed,
}

impl Literal {
    /// The value of its type.
    pub(super) fn native(&self) -> Value {
        match &self.typed {
            Typed::Null => Value::from(()),
            Typed::Bool(value) => Value::from(*value),
            Typed::Int(value) => Value::from(*value),
            Typed::Float(value) => Value::from(*value),
            Typed::BigInt(text) | Typed::Date(text) | Typed::Text(text) => Value::from(text.as_str()),
        }
    }
}

impl Object for Literal {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.native().is_true()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A scalar of a free variable.
pub fn literal(scalar: &Scalar) -> Value {
    let typed = typed(scalar);
    let native = match &typed {
        Typed::Text(text) => return Value::from(text.as_str()),
        Typed::Null => return Value::from(()),
        Typed::Bool(value) => Value::from(*value),
        Typed::Int(value) => Value::from(*value),
        Typed::Float(value) => Value::from(*value),
        Typed::BigInt(_) | Typed::Date(_) => Value::UNDEFINED,
    };
    if native.to_string() == *scalar.text {
        return native;
    }
    Value::from_object(Literal { text: scalar.text.clone(), typed })
}
