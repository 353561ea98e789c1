use super::*;

fn reference(text: &str) -> SecretRef {
    text.parse().expect("a reference")
}

fn values(pairs: &[(&str, &str)]) -> SecretValues {
    SecretValues(pairs.iter().map(|(name, value)| (reference(name), (*value).to_owned())).collect())
}

fn text(json: &str) -> SecretText {
    serde_json::from_str(json).expect("pieces")
}

const T: &str = "secret:T@0123456789abcdef";

#[test]
fn references_are_written_as_they_are_read() {
    for text in ["secret:T@0123456789abcdef", "secret:db.password", "secret:_A-b"] {
        assert_eq!(reference(text).to_string(), text);
    }
    for text in ["T", "secret:", "secret:T@", "secret:T@0123456789ABCDEF", "secret:T@0123", "secret:../x", "secret:1"] {
        assert!(text.parse::<SecretRef>().is_err(), "{text}");
    }
}

#[test]
fn a_text_is_filled_with_values_as_they_are() {
    let bearer = text(&format!(r#"["Bearer ", {{"reference": "{T}"}}]"#));
    assert_eq!(bearer.to_string(), format!("Bearer {T}"));
    assert_eq!(bearer.fill(&values(&[(T, "a\"b\nc")])).expect("there"), "Bearer a\"b\nc");
    assert_eq!(bearer.fill(&SecretValues::default()), Err(&reference(T)));
}

#[test]
fn a_value_that_looks_like_a_reference_is_not_filled_again() {
    let twice = text(&format!(r#"["{T} ", {{"reference": "{T}"}}]"#));
    let all = values(&[(T, "secret:U@0123456789abcdef"), ("secret:U@0123456789abcdef", "never")]);
    assert_eq!(twice.fill(&all).expect("there"), format!("{T} secret:U@0123456789abcdef"));
}

/// A peer's failure: quotes and line ends in a value break the document that it is pasted into.
#[test]
fn a_value_inside_json_cannot_break_out_of_it() {
    let document = text(&format!(r#"["{{\"t\": \"", {{"reference": "{T}", "encoding": "json"}}, "\"}}"]"#));
    for value in ["plain", "a\"b", "line\nend", "back\\slash", "\u{1}\u{7f}ü", "\", \"admin\": true, \"x\": \""] {
        let filled = document.fill(&values(&[(T, value)])).expect("there");
        let read: serde_json::Value = serde_json::from_str(&filled).expect(value);
        assert_eq!(read, serde_json::json!({ "t": value }));
    }
}

#[test]
fn values_are_never_shown() {
    let all = values(&[(T, "canary")]);
    assert_eq!(format!("{all:?}"), "{secret:T@0123456789abcdef}");
    assert_eq!(all.conceal("failed: canary in Y2FuYXJ5"), format!("failed: {T} in {T}"));
}
