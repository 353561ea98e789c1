//! Every name, type and function of a filter is known before it is asked of any device.

mod column;
mod mentions;
mod operand;

pub use column::{Column, attribute};
pub use mentions::mentions;

use super::parse::Parsed;
use super::{
    Answer, Attribute, DynamicGroups, FilterError, MAX_PATTERN_BYTES, MAX_REGEX_BYTES, Predicate, Relation, Term, Test,
    Value,
};
use crate::domain::manifest::near::nearest;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use operand::{Kind, Operand, describe, named};

/// Names that stand alone, and what they are.
pub const NAMES: &[&str] =
    &["device", "stage", "device_type", "groups", "tags", "labels", "vars", "reported", "registry"];

/// What the agent reports by itself that is a whole number.
pub const REPORTED_NUMBERS: &[&str] = &["cpu_count", "memory_mb"];

/// Functions: as they are called, and what they answer.
pub const FUNCTIONS: &[&str] = &["has", "in_group", "int", "startsWith", "endsWith", "contains", "matches"];

/// The bound of the recursion over the checked tree. The parser's own bounds keep real filters far below.
const MAX_TREE: usize = 256;

/// Checks a parsed filter.
pub fn check(parsed: &Parsed<'_>, groups: &DynamicGroups) -> Result<Test, FilterError> {
    Checker { parsed, groups }.test(&parsed.root, 0)
}

struct Checker<'a> {
    parsed: &'a Parsed<'a>,
    groups: &'a DynamicGroups,
}

type Checked<T> = Result<T, FilterError>;

impl Checker<'_> {
    fn error(&self, node: &IdedExpr, message: impl Into<String>) -> FilterError {
        FilterError::new(self.parsed.span(node), message)
    }

    /// A whole expression: something that is true or false.
    fn test(&self, node: &IdedExpr, depth: usize) -> Checked<Test> {
        if depth > MAX_TREE {
            return Err(self.error(node, "the filter is nested too deep"));
        }
        match &node.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => Ok(Test::Is(Answer::from(*value.inner()))),
            Expr::Call(call) => self.call(node, call, depth),
            _ => Err(self.no_test(node, &self.operand(node, depth)?)),
        }
    }

    fn call(&self, node: &IdedExpr, call: &CallExpr, depth: usize) -> Checked<Test> {
        let name = call.func_name.as_str();
        match (name, call.target.as_deref(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, None, [one]) => Ok(Test::Not(Box::new(self.test(one, depth + 1)?))),
            (operators::LOGICAL_AND, None, both) => {
                let mut tests = Vec::new();
                for one in both {
                    match self.test(one, depth + 1)? {
                        Test::All(more) => tests.extend(more),
                        test => tests.push(test),
                    }
                }
                Ok(Test::All(tests))
            }
            (operators::LOGICAL_OR, None, both) => {
                let mut tests = Vec::new();
                for one in both {
                    match self.test(one, depth + 1)? {
                        Test::Any(more) => tests.extend(more),
                        test => tests.push(test),
                    }
                }
                Ok(Test::Any(tests))
            }
            (operators::IN, None, [left, right]) => self.member(left, right, depth),
            (operators::INDEX | operators::NEGATE | "int", None, _) => {
                Err(self.no_test(node, &self.operand(node, depth)?))
            }
            (_, None, [left, right]) if relation(name).is_some() => {
                let relation = relation(name).unwrap_or(Relation::Equal);
                self.compare(node, left, relation, right, depth)
            }
            ("has", None, [one]) => self.has(one, depth),
            ("in_group", None, [one]) => self.in_group(one, depth),
            ("startsWith" | "endsWith" | "contains" | "matches", Some(subject), [argument]) => {
                self.text(subject, name, argument, depth)
            }
            _ => Err(self.unknown_function(node, call)),
        }
    }

    fn no_test(&self, node: &IdedExpr, operand: &Operand) -> FilterError {
        let hint = match operand {
            Operand::Term(_, Kind::Any) => "compare it, such as with `== true`, or write `has(…)`",
            Operand::Term(..) => "compare it with something, or write `has(…)`",
            Operand::Literal(_) | Operand::List(_) | Operand::Groups | Operand::Source(_) => {
                "a filter is made of comparisons"
            }
        };
        self.error(node, format!("{} is neither true nor false", operand.describe())).hint(hint)
    }

    fn unknown_function(&self, node: &IdedExpr, call: &CallExpr) -> FilterError {
        let name = call.func_name.as_str();
        if let Some(sign) = sign(name) {
            return self
                .error(node, format!("`{sign}` has no meaning in a filter"))
                .hint("a filter is made of comparisons with &&, || and !");
        }
        let span = self.parsed.function(node, name);
        if FUNCTIONS.contains(&name) {
            let usage = match name {
                "has" => "has(tags.site)",
                "in_group" => "in_group(\"co/cisco\")",
                "int" => "int(tags.rack) > 4",
                "startsWith" => "tags.site.startsWith(\"hk\")",
                "endsWith" => "tags.site.endsWith(\"1\")",
                "contains" => "reported.kernel.contains(\"rt\")",
                _ => "device.matches(\"^kiosk-[0-9]+$\")",
            };
            return FilterError::new(span, format!("`{name}` is not used like this")).hint(format!("write `{usage}`"));
        }
        let hint = match nearest(name, FUNCTIONS.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known functions: {}", FUNCTIONS.join(", ")),
        };
        FilterError::new(span, format!("there is no function `{name}`")).hint(hint)
    }

    fn compare(
        &self,
        node: &IdedExpr,
        left: &IdedExpr,
        relation: Relation,
        right: &IdedExpr,
        depth: usize,
    ) -> Checked<Test> {
        match (self.operand(left, depth)?, self.operand(right, depth)?) {
            (Operand::Term(term, kind), Operand::Literal(value)) => {
                self.with_literal(right, term, kind, relation, value)
            }
            (Operand::Literal(value), Operand::Term(term, kind)) => {
                self.with_literal(left, term, kind, relation.turned(), value)
            }
            (Operand::Term(one, kind), Operand::Term(other, other_kind)) => {
                if kind != other_kind && kind != Kind::Any && other_kind != Kind::Any {
                    let message = format!("`{}` and `{}` are of different types", one.attribute, other.attribute);
                    return Err(self.error(node, message).hint("`int(…)` reads text as a whole number"));
                }
                Ok(Test::Two(one, relation, other))
            }
            (Operand::Literal(one), Operand::Literal(other)) => match one.compare(&other) {
                Some(order) => Ok(Test::Is(relation.holds(order).into())),
                None => Err(self.error(node, "values of different types are never equal")),
            },
            (Operand::Groups, _) | (_, Operand::Groups) => {
                Err(self.error(node, "`groups` is a list and cannot be compared").hint("write `\"kiosks\" in groups`"))
            }
            (Operand::Source(source), _) | (_, Operand::Source(source)) => {
                let name = source.prefix().unwrap_or_default();
                let hint = format!("name one of them: `{name}.site`");
                Err(self.error(node, format!("`{name}` is a whole set of attributes")).hint(hint))
            }
            (Operand::List(_), _) | (_, Operand::List(_)) => {
                Err(self.error(node, "a list cannot be compared").hint("write `tags.site in [\"a\", \"b\"]`"))
            }
        }
    }

    fn with_literal(
        &self,
        literal: &IdedExpr,
        term: Term,
        kind: Kind,
        relation: Relation,
        value: Value,
    ) -> Checked<Test> {
        self.fits(literal, &term, kind, &value)?;
        Ok(Test::One(term.attribute, Predicate::Compare(term.reading, relation, value)))
    }

    /// Whether an attribute can be compared with a literal at all.
    fn fits(&self, literal: &IdedExpr, term: &Term, kind: Kind, value: &Value) -> Checked<()> {
        let problem = match (kind, value) {
            (Kind::Text, Value::Text(_))
            | (Kind::Number, Value::Int(_) | Value::Double(_))
            | (Kind::Any, _)
            // No literal is of this kind.
            | (_, Value::Other) => return Ok(()),
            (Kind::Text, Value::Int(_) | Value::Double(_)) => {
                (format!("`{}` is text", term.attribute), format!("write \"{value}\", or `int({})`", term.attribute))
            }
            (Kind::Text, Value::Bool(_)) => {
                (format!("`{}` is text", term.attribute), format!("write \"{value}\" in quotes"))
            }
            (Kind::Number, Value::Text(_) | Value::Bool(_)) => (
                format!("`{}` is a number here", term.attribute),
                "compare it with a number, without quotes".to_owned(),
            ),
        };
        Err(self.error(literal, format!("{}, and this is {}", problem.0, describe(value))).hint(problem.1))
    }

    /// `x in y`
    fn member(&self, left: &IdedExpr, right: &IdedExpr, depth: usize) -> Checked<Test> {
        let member = self.operand(left, depth)?;
        match (member, self.operand(right, depth)?) {
            (Operand::Literal(Value::Text(group)), Operand::Groups) => Ok(Test::InGroup(group)),
            (_, Operand::Groups) => Err(self
                .error(left, "the name of a group must stand here")
                .hint("write it in quotes: `\"kiosks\" in groups`")),
            (Operand::Literal(Value::Text(name)), Operand::Source(source)) => {
                named(&name, self.parsed.span(left))?;
                Ok(Test::One(Attribute { source, name }, Predicate::Present))
            }
            (Operand::Term(term, kind), Operand::List(values)) => {
                for (value, node) in values.iter().zip(items(right)) {
                    self.fits(node, &term, kind, value)?;
                }
                let mut values = values;
                values.sort();
                values.dedup();
                Ok(Test::One(term.attribute, Predicate::OneOf(term.reading, values.into())))
            }
            (_, Operand::List(_)) => Err(self.error(left, "an attribute must stand before `in`")),
            (_, other) => Err(self
                .error(right, format!("nothing can be in {}", other.describe()))
                .hint("`in` takes `groups`, a list such as [\"a\", \"b\"], or a set of attributes such as `tags`")),
        }
    }

    fn has(&self, node: &IdedExpr, depth: usize) -> Checked<Test> {
        match self.operand(node, depth)? {
            Operand::Term(Term { attribute, .. }, _) => Ok(Test::One(attribute, Predicate::Present)),
            other => Err(self
                .error(node, format!("`has` takes an attribute, not {}", other.describe()))
                .hint("write `has(tags.site)`")),
        }
    }

    fn in_group(&self, node: &IdedExpr, depth: usize) -> Checked<Test> {
        let Operand::Literal(Value::Text(path)) = self.operand(node, depth)? else {
            return Err(self.error(node, "the path of a dynamic group must stand here, in quotes"));
        };
        match self.groups.index_of(&path) {
            Some(group) => Ok(Test::InDynamic(group)),
            None => {
                let hint = match nearest(path.trim_matches('/'), self.groups.paths()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if self.groups.is_empty() => "fleet.yml names none under `groups:`".to_owned(),
                    None => "`bellwether ls` lists them; groups of the inventory are `\"name\" in groups`".to_owned(),
                };
                Err(self.error(node, format!("no dynamic group is called `{path}`")).hint(hint))
            }
        }
    }

    fn text(&self, subject: &IdedExpr, name: &str, argument: &IdedExpr, depth: usize) -> Checked<Test> {
        let Operand::Term(term, kind) = self.operand(subject, depth)? else {
            return Err(self.error(subject, "an attribute must stand here"));
        };
        if kind == Kind::Number {
            return Err(self
                .error(subject, format!("`{}` is a number here", term.attribute))
                .hint("compare it with a number"));
        }
        let Operand::Literal(Value::Text(part)) = self.operand(argument, depth)? else {
            return Err(self.error(argument, format!("`{name}` takes text in quotes")));
        };
        let predicate = match name {
            "startsWith" => Predicate::StartsWith(part),
            "endsWith" => Predicate::EndsWith(part),
            "contains" => Predicate::Contains(part),
            _ => Predicate::Matches(self.pattern(argument, &part)?),
        };
        Ok(Test::One(term.attribute, predicate))
    }

    fn pattern(&self, node: &IdedExpr, text: &str) -> Checked<regex::Regex> {
        if text.len() > MAX_PATTERN_BYTES {
            let message = format!("the expression is {} bytes long; at most {MAX_PATTERN_BYTES} are read", text.len());
            return Err(self.error(node, message));
        }
        regex::RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).build().map_err(
            |error| {
                let last =
                    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                self.error(node, "this is not a regular expression").hint(last)
            },
        )
    }
}

fn items(list: &IdedExpr) -> &[IdedExpr] {
    match &list.expr {
        Expr::List(list) => &list.elements,
        _ => &[],
    }
}

fn relation(name: &str) -> Option<Relation> {
    Some(match name {
        operators::EQUALS => Relation::Equal,
        operators::NOT_EQUALS => Relation::NotEqual,
        operators::LESS => Relation::Less,
        operators::LESS_EQUALS => Relation::AtMost,
        operators::GREATER => Relation::Greater,
        operators::GREATER_EQUALS => Relation::AtLeast,
        _ => return None,
    })
}

/// The sign of an operator that CEL has and filters do not.
fn sign(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::CONDITIONAL => "? :",
        operators::ADD => "+",
        operators::SUBSTRACT | operators::NEGATE => "-",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        _ => return None,
    })
}
