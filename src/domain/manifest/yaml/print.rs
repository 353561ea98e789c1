//! YAML out of JSON values. Whatever is not plainly safe is quoted as in JSON, which YAML reads the same.

use serde_json::Value;
use std::fmt::Write as _;

/// A document.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// Writes a value whose first line begins where the text ends, with its further lines indented.
fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (key, value)) in fields.iter().enumerate() {
                if index > 0 {
                    text.extend(std::iter::repeat_n(' ', indent));
                }
                text.push_str(&scalar(key));
                text.push(':');
                field(value, indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.extend(std::iter::repeat_n(' ', indent));
                }
                text.push_str("- ");
                block(item, indent + 2, text);
            }
        }
        Value::Object(_) => text.push_str("{}\n"),
        Value::Array(_) => text.push_str("[]\n"),
        Value::String(string) => {
            text.push_str(&scalar(string));
            text.push('\n');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let _ = writeln!(text, "{value}");
        }
    }
}

fn field(value: &Value, indent: usize, text: &mut String) {
    let nested = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if nested {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', indent + 2));
    } else {
        text.push(' ');
    }
    block(value, indent + 2, text);
}

fn scalar(string: &str) -> String {
    if is_plain(string) { string.to_owned() } else { quoted(string) }
}

/// Whether a text is itself in every version of YAML, without quotes.
fn is_plain(string: &str) -> bool {
    // Words that some version of YAML reads as a truth value or nothing.
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"];
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    // Beginning with a letter, it is no number and no date.
    string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/')
        && string.chars().all(inner)
        && !WORDS.contains(&string.to_ascii_lowercase().as_str())
}

/// A text in double quotes, with everything escaped that YAML does not take as it is.
pub(super) fn quoted(string: &str) -> String {
    let json = Value::from(string).to_string();
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // JSON takes these as they are, YAML does not, or breaks lines at them.
        if matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nesting_is_shown_by_indenting() {
        let value = json!({
            "device": "kiosk-1", "version": "1.10", "empty": [], "none": null, "no": "no",
            "apps": {"web": {"image": "example/web:1", "ports": [80, 443]}},
            "waits": [{"code": "held", "message": "held: \"x\""}, [[1], {}], "a b"],
        });
        insta::assert_snapshot!(to_yaml(&value), @r#"
        apps:
          web:
            image: "example/web:1"
            ports:
              - 80
              - 443
        device: kiosk-1
        empty: []
        "no": "no"
        none: null
        version: "1.10"
        waits:
          - code: held
            message: "held: \"x\""
          - - - 1
            - {}
          - "a b"
        "#);
    }

    use crate::domain::manifest::{scalar, yaml};
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[ -~]{0,12}", "(?i)(true|no|null|~|1e3|0x1f|12:30|1_000|<<|=|-|---)"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_the_same(value in values()) {
            let text = to_yaml(&value);
            let read = yaml::parse(text.as_bytes()).map_err(|error| TestCaseError::fail(format!("{error:?}\n{text}")))?;
            prop_assert_eq!(read.as_ref().map_or(Value::Null, scalar::json), value, "{}", text);
        }
    }
}
