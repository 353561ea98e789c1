//! The closed list of what templates can call. Each either takes time and space in proportion to what it is given, or has a
//! bound of its own.

use super::MAX_OUTPUT_BYTES;
use super::value::{Literal, OutPiece, SecretPieces};
use crate::domain::ids::SecretName;
use crate::domain::secret::Encoding;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, filters, functions, tests};

/// Functions that templates have, so that they are not taken for variables.
pub(super) const FUNCTIONS: &[&str] = &["secret", "lookup", "range"];
/// How deep a value may be nested that is written as JSON. YAML itself is bounded at this depth.
const MAX_DEPTH: usize = 64;

/// Adds them all.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_function("secret", secret);
    environment.add_function("lookup", lookup);
    environment.add_function("range", functions::range);
    add_filters(environment);
    add_tests(environment);
}

fn add_filters(environment: &mut Environment<'static>) {
    environment.add_filter("lower", filters::lower);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("title", filters::title);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("split", filters::split);
    environment.add_filter("length", filters::length);
    environment.add_filter("count", filters::length);
    environment.add_filter("default", filters::default);
    environment.add_filter("d", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("min", filters::min);
    environment.add_filter("max", filters::max);
    environment.add_filter("sort", filters::sort);
    environment.add_filter("unique", filters::unique);
    environment.add_filter("reverse", filters::reverse);
    environment.add_filter("list", filters::list);
    environment.add_filter("items", filters::items);
    environment.add_filter("dictsort", filters::dictsort);
    environment.add_filter("round", |value: Value, precision: Option<i32>, more: Kwargs| {
        filters::round(native(&value), precision, None, more)
    });
    environment.add_filter("abs", |value: Value| filters::abs(native(&value)));
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment
        .add_filter("string", |value: Value| if is_secret(&value) { value } else { Value::from(value.to_string()) });
    environment.add_filter("bool", truth);
    environment.add_filter("mandatory", |value: Value| {
        if value.is_undefined() { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(value) }
    });
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("to_json", to_json);
    environment.add_filter("tojson", to_json);
    environment.add_filter("b64encode", b64encode);
}

fn add_tests(environment: &mut Environment<'static>) {
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("none", tests::is_none);
    environment.add_test("string", tests::is_string);
    environment.add_test("number", |value: Value| tests::is_number(&native(&value)));
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("sequence", tests::is_sequence);
    environment.add_test("iterable", tests::is_iterable);
    environment.add_test("odd", tests::is_odd);
    environment.add_test("even", tests::is_even);
    environment.add_test("in", tests::is_in);
    environment.add_test("startingwith", tests::is_startingwith);
    environment.add_test("endingwith", tests::is_endingwith);
    environment.add_test("truthy", |value: Value| value.is_true());
    environment.add_test("falsy", |value: Value| !value.is_true());
}

fn failed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn is_secret(value: &Value) -> bool {
    value.downcast_object_ref::<SecretPieces>().is_some()
}

/// The value of a scalar's type, where its text is kept apart.
fn native(value: &Value) -> Value {
    value.downcast_object_ref::<Literal>().map_or_else(|| value.clone(), Literal::native)
}

fn number(value: &Value) -> Result<Value, Error> {
    if is_secret(value) {
        return Err(failed("the value of a secret is not known here"));
    }
    Ok(native(value))
}

fn int(value: &Value) -> Result<i64, Error> {
    let value = number(value)?;
    let text = value.to_string();
    let whole = i64::try_from(value).ok().or_else(|| text.trim().parse::<i64>().ok());
    whole.or_else(|| text.trim().parse::<f64>().ok().map(|float| float as i64)).ok_or_else(|| no_number(&text))
}

fn float(value: &Value) -> Result<f64, Error> {
    let value = number(value)?;
    let text = value.to_string();
    f64::try_from(value).ok().or_else(|| text.trim().parse().ok()).ok_or_else(|| no_number(&text))
}

fn no_number(text: &str) -> Error {
    failed(format!("`{}` is not a number", super::super::problems::show(text)))
}

/// `secret('NAME')`: a reference. Its value is put in on the device.
fn secret(name: &str) -> Result<Value, Error> {
    let name: SecretName = name.parse().map_err(|error: crate::domain::ids::NameError| {
        failed(format!("`{}` is not a {}: it is {}", error.text, error.kind, error.rule))
    })?;
    Ok(Value::from_object(SecretPieces(vec![OutPiece::Secret(name, Encoding::Plain)])))
}

/// Ansible's `lookup('env', 'NAME')`: the same. Other look-ups would read files or the network.
fn lookup(kind: &str, name: &str) -> Result<Value, Error> {
    match kind {
        "env" | "ansible.builtin.env" => secret(name),
        _ => Err(failed(format!("there is no look-up `{kind}`; templates have `lookup('env', 'NAME')` alone"))),
    }
}

/// As Ansible has it: the text `false` is false.
fn truth(value: &Value) -> Result<bool, Error> {
    let value = number(value)?;
    match value.kind() {
        ValueKind::String => match value.to_string().to_ascii_lowercase().as_str() {
            "yes" | "on" | "1" | "true" | "t" | "y" => Ok(true),
            "no" | "off" | "0" | "false" | "f" | "n" | "" => Ok(false),
            other => Err(failed(format!("`{}` is neither true nor false", super::super::problems::show(other)))),
        },
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        _ => Ok(value.is_true()),
    }
}

fn replace(_: &State<'_, '_>, text: String, from: String, to: String) -> Result<String, Error> {
    let times = if from.is_empty() { text.chars().count() + 1 } else { text.matches(&from).count() };
    if text.len() + times * to.len() > MAX_OUTPUT_BYTES {
        return Err(failed(format!("the text would have more than {MAX_OUTPUT_BYTES} bytes")));
    }
    Ok(text.replace(&from, &to))
}

fn join(list: Value, between: Option<String>) -> Result<Value, Error> {
    let between = between.unwrap_or_default();
    let mut pieces = Vec::new();
    let mut length = 0;
    for (index, item) in list.try_iter()?.enumerate() {
        let mut more = Vec::new();
        if index > 0 {
            more.push(OutPiece::Text(between.clone()));
        }
        match item.downcast_object_ref::<SecretPieces>() {
            Some(SecretPieces(inner)) => more.extend(inner.iter().cloned()),
            None => more.push(OutPiece::Text(item.to_string())),
        }
        for piece in more {
            if let OutPiece::Text(text) = &piece {
                length += text.len();
            }
            pieces.push(piece);
        }
        if length > MAX_OUTPUT_BYTES || pieces.len() > MAX_OUTPUT_BYTES {
            return Err(failed(format!("the text would have more than {MAX_OUTPUT_BYTES} bytes")));
        }
    }
    Ok(together(pieces))
}

/// Text if there is nothing else in it.
fn together(pieces: Vec<OutPiece>) -> Value {
    let mut text = String::new();
    let mut joined = Vec::new();
    for piece in pieces {
        match piece {
            OutPiece::Text(more) => text.push_str(&more),
            secret @ OutPiece::Secret(..) => {
                joined.push(OutPiece::Text(std::mem::take(&mut text)));
                joined.push(secret);
            }
        }
    }
    if joined.is_empty() {
        return Value::from(text);
    }
    joined.push(OutPiece::Text(text));
    joined.retain(|piece| *piece != OutPiece::Text(String::new()));
    Value::from_object(SecretPieces(joined))
}

/// JSON, with the values of secrets put in as JSON on the device.
fn to_json(value: Value, _: Kwargs) -> Result<Value, Error> {
    let mut pieces = Vec::new();
    write_json(&value, 0, &mut pieces)?;
    Ok(together(pieces))
}

fn write_json(value: &Value, depth: usize, pieces: &mut Vec<OutPiece>) -> Result<(), Error> {
    if depth > MAX_DEPTH || pieces.len() > MAX_OUTPUT_BYTES {
        return Err(failed("the value is too large or nested too deep to be written as JSON"));
    }
    let text = |text: String| OutPiece::Text(text);
    if let Some(SecretPieces(inner)) = value.downcast_object_ref::<SecretPieces>() {
        pieces.push(text("\"".to_owned()));
        for piece in inner {
            pieces.push(match piece {
                OutPiece::Text(literal) => {
                    let quoted = serde_json::Value::from(literal.as_str()).to_string();
                    text(quoted[1..quoted.len() - 1].to_owned())
                }
                OutPiece::Secret(name, Encoding::Plain) => OutPiece::Secret(name.clone(), Encoding::Json),
                // Nothing in base64 has to be escaped.
                OutPiece::Secret(name, Encoding::Base64) => OutPiece::Secret(name.clone(), Encoding::Base64),
                OutPiece::Secret(_, Encoding::Json) => return Err(failed("a secret can be written as JSON only once")),
            });
        }
        pieces.push(text("\"".to_owned()));
        return Ok(());
    }
    let value = native(value);
    match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Seq | ValueKind::Iterable => {
            pieces.push(text("[".to_owned()));
            for (index, item) in value.try_iter()?.enumerate() {
                if index > 0 {
                    pieces.push(text(", ".to_owned()));
                }
                write_json(&item, depth + 1, pieces)?;
            }
            pieces.push(text("]".to_owned()));
        }
        ValueKind::Map => {
            pieces.push(text("{".to_owned()));
            for (index, key) in value.try_iter()?.enumerate() {
                if index > 0 {
                    pieces.push(text(", ".to_owned()));
                }
                pieces.push(text(format!("{}: ", serde_json::Value::from(key.to_string()))));
                write_json(&value.get_item(&key)?, depth + 1, pieces)?;
            }
            pieces.push(text("}".to_owned()));
        }
        _ => {
            let written = serde_json::to_string(&value).map_err(|error| failed(error.to_string()))?;
            if written.contains("\\u0000") {
                return Err(failed("a secret can only be printed as it is, or through `to_json` or `b64encode`"));
            }
            pieces.push(text(written));
        }
    }
    Ok(())
}

fn b64encode(value: &Value) -> Result<Value, Error> {
    use base64::Engine as _;
    match value.downcast_object_ref::<SecretPieces>().map(|pieces| pieces.0.as_slice()) {
        None => Ok(Value::from(base64::engine::general_purpose::STANDARD.encode(value.to_string()))),
        Some([OutPiece::Secret(name, Encoding::Plain)]) => {
            Ok(Value::from_object(SecretPieces(vec![OutPiece::Secret(name.clone(), Encoding::Base64)])))
        }
        Some(_) => Err(failed("only a secret by itself can be written in base64, not a text that holds one")),
    }
}
