//! What has a value in an expression: literals, lists, attributes.

use super::{Checked, Checker, FUNCTIONS, MAX_TREE, NAMES, REPORTED_NUMBERS, relation};
use crate::domain::filter::{Attribute, FilterError, MAX_LIST, Reading, STEP, Source, Term, Value};
use crate::domain::manifest::near::nearest;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

/// What an expression is, if it is not a test.
pub(super) enum Operand {
    Literal(Value),
    Term(Term, Kind),
    List(Vec<Value>),
    /// `groups`.
    Groups,
    /// `tags` and its like, as a whole.
    Source(Source),
}

/// What the value of an attribute can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// Whatever stands in the file.
    Any,
}

impl Checker<'_> {
    /// Something that has a value.
    pub(super) fn operand(&self, node: &IdedExpr, depth: usize) -> Checked<Operand> {
        if depth > MAX_TREE {
            return Err(self.error(node, "the filter is nested too deep"));
        }
        match &node.expr {
            Expr::Literal(literal) => self.literal(node, literal),
            Expr::Ident(name) => self.name(node, name),
            Expr::Select(select) => {
                let span = self.parsed.field(node, self.parsed.span(&select.operand).end);
                self.below(&select.operand, &select.field, span, depth)
            }
            Expr::List(list) => {
                if list.elements.len() > MAX_LIST {
                    let message = format!("the list has {} items; at most {MAX_LIST} are read", list.elements.len());
                    return Err(self.error(node, message));
                }
                let mut values = Vec::with_capacity(list.elements.len());
                for item in &list.elements {
                    match self.operand(item, depth + 1)? {
                        Operand::Literal(value) => values.push(value),
                        other => {
                            let message = format!("a list holds values, not {}", other.describe());
                            return Err(self.error(item, message));
                        }
                    }
                }
                Ok(Operand::List(values))
            }
            Expr::Call(call) => self.value_call(node, call, depth),
            Expr::Map(_) | Expr::Struct(_) => Err(self.error(node, "a mapping has no meaning in a filter")),
            Expr::Comprehension(_) | Expr::Unspecified => Err(self.error(node, "this has no meaning in a filter")),
        }
    }

    fn literal(&self, node: &IdedExpr, literal: &LiteralValue) -> Checked<Operand> {
        Ok(Operand::Literal(match literal {
            LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
            LiteralValue::Int(value) => Value::Int(*value.inner()),
            LiteralValue::UInt(value) => match i64::try_from(*value.inner()) {
                Ok(value) => Value::Int(value),
                Err(_) => return Err(self.error(node, "the number is too large")),
            },
            LiteralValue::Double(value) => Value::Double(*value.inner()),
            LiteralValue::String(text) => Value::Text(text.inner().into()),
            LiteralValue::Null => {
                return Err(self.error(node, "`null` has no meaning in a filter").hint("write `!has(…)`"));
            }
            LiteralValue::Bytes(_) => return Err(self.error(node, "bytes have no meaning in a filter")),
        }))
    }

    fn name(&self, node: &IdedExpr, name: &str) -> Checked<Operand> {
        let device = |name: &str| {
            let attribute = Attribute { source: Source::Device, name: name.into() };
            Operand::Term(Term { attribute, reading: Reading::Plain }, Kind::Text)
        };
        Ok(match name {
            "device" | "stage" | "device_type" => device(name),
            "groups" => Operand::Groups,
            "tags" => Operand::Source(Source::Tags),
            "labels" => Operand::Source(Source::Labels),
            "vars" => Operand::Source(Source::Variables),
            "reported" => Operand::Source(Source::Reported),
            "registry" => Operand::Source(Source::Registry),
            _ => {
                let hint = match nearest(name, NAMES.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known names: {}; text stands in quotes", NAMES.join(", ")),
                };
                return Err(self.error(node, format!("there is no `{name}`")).hint(hint));
            }
        })
    }

    /// `tags.site`, `tags["site"]`
    fn below(&self, parent: &IdedExpr, name: &str, span: std::ops::Range<usize>, depth: usize) -> Checked<Operand> {
        match self.operand(parent, depth + 1)? {
            Operand::Source(source) => {
                let number = source == Source::Reported && REPORTED_NUMBERS.contains(&name);
                let (reading, kind) = match (number, source) {
                    (true, _) => (Reading::Int, Kind::Number),
                    (false, Source::Variables) => (Reading::Plain, Kind::Any),
                    (false, _) => (Reading::Plain, Kind::Text),
                };
                named(name, span)?;
                Ok(Operand::Term(Term { attribute: Attribute { source, name: name.into() }, reading }, kind))
            }
            // Variables hold mappings; what the others hold is flat.
            Operand::Term(Term { attribute, reading: Reading::Plain }, Kind::Any) => {
                named(name, span)?;
                let name = format!("{}{STEP}{name}", attribute.name).into();
                Ok(Operand::Term(
                    Term { attribute: Attribute { name, ..attribute }, reading: Reading::Plain },
                    Kind::Any,
                ))
            }
            other => Err(FilterError::new(span, format!("{} has nothing below it", other.describe()))),
        }
    }

    fn value_call(&self, node: &IdedExpr, call: &CallExpr, depth: usize) -> Checked<Operand> {
        match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            (operators::INDEX, None, [parent, key]) => match &key.expr {
                Expr::Literal(LiteralValue::String(name)) => {
                    self.below(parent, name.inner(), self.parsed.span(key), depth)
                }
                _ => Err(self.error(key, "the name of an attribute must stand here, in quotes")),
            },
            (operators::NEGATE, None, [one]) => match self.operand(one, depth + 1)? {
                Operand::Literal(Value::Int(value)) => match value.checked_neg() {
                    Some(value) => Ok(Operand::Literal(Value::Int(value))),
                    None => Err(self.error(node, "the number is too large")),
                },
                Operand::Literal(Value::Double(value)) => Ok(Operand::Literal(Value::Double(-value))),
                other => Err(self.error(node, format!("{} cannot be negative", other.describe()))),
            },
            ("int", None, [one]) => match self.operand(one, depth + 1)? {
                Operand::Term(term, _) => Ok(Operand::Term(Term { reading: Reading::Int, ..term }, Kind::Number)),
                other => Err(self.error(one, format!("`int` takes an attribute, not {}", other.describe()))),
            },
            _ if self.is_test(call) => Err(self
                .error(node, "this is true or false, and not a value to compare")
                .hint("combine it with && and ||")),
            _ => Err(self.unknown_function(node, call)),
        }
    }

    fn is_test(&self, call: &CallExpr) -> bool {
        let name = call.func_name.as_str();
        let tests = [operators::LOGICAL_AND, operators::LOGICAL_OR, operators::LOGICAL_NOT, operators::IN];
        tests.contains(&name) || relation(name).is_some() || (FUNCTIONS.contains(&name) && name != "int")
    }
}

/// Whether a text can name an attribute.
pub(super) fn named(name: &str, span: std::ops::Range<usize>) -> Checked<()> {
    if name.is_empty() {
        return Err(FilterError::new(span, "an attribute has a name"));
    }
    if name.chars().any(char::is_control) {
        return Err(FilterError::new(span, "no attribute has such a name"));
    }
    Ok(())
}

impl Operand {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Literal(value) => describe(value).to_owned(),
            Self::Term(term, _) => format!("`{}`", term.attribute),
            Self::List(_) => "a list".to_owned(),
            Self::Groups => "`groups`".to_owned(),
            Self::Source(source) => format!("`{}`", source.prefix().unwrap_or_default()),
        }
    }
}

pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::Double(_) => "a number",
        Value::Text(_) => "text",
        Value::Other => "nothing",
    }
}
