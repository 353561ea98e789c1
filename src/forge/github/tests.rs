//! What can be told without a server. Requests and answers are held against GitHub's own description in `tests/it`.

use super::app::AppKey;
use super::requests::{limited, said};
use super::*;
use crate::domain::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octocrab::secrecy::ExposeSecret as _;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Made for this test and used nowhere else.
const KEY: &[u8] = include_bytes!("tests/app.pem");

fn token(text: &str) -> Login {
    Login::Token(Token::new(text).expect("a token"))
}

#[test]
fn a_token_goes_nowhere_where_others_could_read_it() {
    let check = |api: &str, repository: &str| match GitHub::new(api, repository, token("t")) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    for api in [
        "https://api.github.com",
        "https://forge.example/api/v3",
        "https://forge.example:8443/api/v3/",
        "http://127.0.0.1:4010",
    ] {
        assert_eq!(check(api, "acme/fleet"), "ok", "{api}");
    }
    for api in ["http://forge.example/api/v3", "ftp://forge.example", "forge.example", "", "file:///etc/passwd"] {
        assert!(check(api, "acme/fleet").contains("is no address of an API"), "{api}");
    }
    for repository in ["acme", "acme/", "/fleet", "a/b/c", "acme/..", "acme/fl eet", "acme/fleet?x", "../../user"] {
        assert!(check("https://api.github.com", repository).contains("names no repository"), "{repository}");
    }
}

#[test]
fn a_token_is_never_shown_and_what_cannot_be_one_is_none() {
    let shown = format!("{:?}", Token::new("  ghs_abc\n"));
    assert!(shown.starts_with("Some(Token(") && !shown.contains("ghs"), "{shown}");
    for text in ["", " ", "two words", "a\u{1b}b", "é", &"a".repeat(5_000)] {
        assert!(Token::new(text).is_none(), "{text:?}");
    }
}

#[test]
fn an_app_signs_that_it_is_itself_and_for_a_short_time() {
    let key = AppKey::new(KEY).expect("a key");
    let token = key.token(7, Timestamp::from_millis(1_700_000_000_000)).expect("a token").secret();
    let token = token.expose_secret();
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else { panic!("three parts: {token}") };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64");
    assert_eq!(String::from_utf8_lossy(&decoded(head)), r#"{"alg":"RS256","typ":"JWT"}"#);
    assert_eq!(String::from_utf8_lossy(&decoded(claims)), r#"{"exp":1700000300,"iat":1699999940,"iss":"7"}"#);
    let public = key.public_key();
    let verified = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, public)
        .verify(format!("{head}.{claims}").as_bytes(), &decoded(signature));
    assert_eq!(verified, Ok(()));
    for bad in [&b""[..], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff\xfe"] {
        assert!(AppKey::new(bad).is_err());
    }
}

fn limit(status: u16, headers: &[(&'static str, &str)], reason: &str) -> Option<u64> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value")))
        .collect();
    limited(StatusCode::from_u16(status).expect("a status"), &headers, reason)
}

#[test]
fn a_limit_is_told_from_a_refusal() {
    assert_eq!(limit(403, &[("retry-after", "30")], ""), Some(30));
    assert_eq!(limit(429, &[], ""), Some(60));
    assert_eq!(limit(403, &[], "You have exceeded a secondary rate limit"), Some(60));
    assert_eq!(limit(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], ""), Some(0));
    assert_eq!(limit(403, &[("x-ratelimit-remaining", "0")], ""), Some(60));
    assert_eq!(limit(403, &[("x-ratelimit-remaining", "17")], "Resource not accessible by integration"), None);
    assert_eq!(limit(404, &[("retry-after", "30")], ""), None);
}

#[test]
fn what_a_forge_says_is_one_line_of_bounded_length() {
    let check = |message: &str, errors: Value| said(message, errors.as_array().map(Vec::as_slice).unwrap_or_default());
    assert_eq!(check("Not\nFound", json!([])), "Not Found");
    assert_eq!(
        check("Validation Failed", json!([{ "message": "body is too long" }, "x", { "code": "y" }])),
        r#"Validation Failed; body is too long; x; {"code":"y"}"#
    );
    assert_eq!(check(&"é".repeat(5_000), json!([])).chars().count(), 300);
}
