//! Registries as they should not be, and token services. The real registry is asked in the tests of the executables.

use super::{MAX_MANIFEST_BYTES, Registries, RegistryError, RegistrySettings};
use crate::domain::digest::Digest;
use crate::logins::Credentials;
use crate::logins::challenge::Challenge;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use std::collections::BTreeSet;

/// How a registry behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers HEAD with a digest.
    Good,
    /// Names no digest, so the manifest itself is read.
    Silent,
    /// Wants a token, and gives one to everybody.
    Tokens,
    /// Wants a token, and gives one to ada.
    TokensForAda,
    /// Wants a password.
    Basic,
    /// Sends everybody round in a circle.
    Circle,
    /// Sends a manifest that is too long.
    Endless,
    /// Names something that is no digest.
    Nonsense,
    /// Names a token service elsewhere that is not ours to talk to.
    StrangeRealm,
    /// Has had enough.
    Busy,
    /// Shows nothing to anybody.
    Forbidden,
}

const MANIFEST: &str = "{\"schemaVersion\":2}";

fn digest() -> String {
    Digest::of(MANIFEST.as_bytes()).to_string()
}

async fn serve(State((manner, address)): State<(Manner, String)>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = |headers: &HeaderMap| {
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let with = authorization(request.headers());
    let ada = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("ada:hunter2"));
    if path == "/token" {
        let query = request.uri().query().unwrap_or_default();
        assert!(query.contains("service=ours") && query.contains("scope=repository%3Ashop%2Fweb%3Apull"), "{query}");
        return match manner {
            Manner::TokensForAda if with != ada => StatusCode::UNAUTHORIZED.into_response(),
            _ => "{\"token\": \"t0ken\"}".into_response(),
        };
    }
    if !path.starts_with("/v2/shop/web/manifests/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let challenge = |text: String| (StatusCode::UNAUTHORIZED, [("www-authenticate", text)]).into_response();
    let named = [("docker-content-digest", digest())].into_response();
    match manner {
        Manner::Good => named,
        Manner::Silent if request.method() == Method::HEAD => StatusCode::OK.into_response(),
        Manner::Silent => MANIFEST.into_response(),
        Manner::Tokens | Manner::TokensForAda if with == "Bearer t0ken" => named,
        Manner::Tokens | Manner::TokensForAda => {
            challenge(format!("Bearer realm=\"http://{address}/token\",service=\"ours\",scope=\"x\""))
        }
        Manner::Basic if with == ada => named,
        Manner::Basic => challenge("Basic realm=\"ours\"".to_owned()),
        Manner::Circle => (StatusCode::FOUND, [("location", path)]).into_response(),
        Manner::Endless if request.method() == Method::HEAD => StatusCode::OK.into_response(),
        Manner::Endless => vec![b' '; MAX_MANIFEST_BYTES + 1].into_response(),
        Manner::Nonsense => [("docker-content-digest", "sha256:zz")].into_response(),
        Manner::StrangeRealm => challenge("Bearer realm=\"ftp://elsewhere/token\"".to_owned()),
        Manner::Busy => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Manner::Forbidden => StatusCode::FORBIDDEN.into_response(),
    }
}

const ADA: &str = "hunter2";

fn credentials(registry: &str, password: &str) -> Credentials {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("ada:{password}"));
    let text = format!("{{\"auths\": {{\"https://{registry}/v2/\": {{\"auth\": \"{auth}\"}}}}}}");
    Credentials::parse(text.as_bytes()).expect("a file of credentials")
}

/// The answer about an image of a registry with these manners; `REGISTRY` stands for its address.
fn ask(manner: Manner, image: &str, password: Option<&str>) -> Result<Digest, RegistryError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let app = axum::Router::new().fallback(serve).with_state((manner, address.clone()));
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let credentials = password.map(|password| credentials(&address, password)).unwrap_or_default();
        let plain_http = BTreeSet::from([address.clone()]);
        let registries = Registries::new(RegistrySettings { plain_http, credentials, ..RegistrySettings::default() });
        let answer = registries.expect("a client").digest(&image.replace("REGISTRY", &address)).await;
        server.abort();
        answer
    })
}

/// The digest, or the error without the registry's address.
#[track_caller]
fn check(manner: Manner, password: Option<&str>, expected: &str) {
    let answer = match ask(manner, "REGISTRY/shop/web:1.0", password) {
        Ok(found) => {
            assert_eq!(found.to_string(), digest());
            "found".to_owned()
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(ADA), "no password is ever shown: {text}");
            let port = text.find("127.0.0.1:").map_or("", |at| text[at..].split([' ', '/']).next().unwrap_or_default());
            text.replace(port, "REGISTRY")
        }
    };
    assert_eq!(answer, expected);
}

#[test]
fn a_digest_is_taken_from_the_answer_or_computed() {
    check(Manner::Good, None, "found");
    check(Manner::Silent, None, "found");
}

#[test]
fn tokens_and_passwords_open_what_they_are_for() {
    check(Manner::Tokens, None, "found");
    check(Manner::TokensForAda, Some(ADA), "found");
    check(Manner::Basic, Some(ADA), "found");
    let no_access = "REGISTRY does not give access to `REGISTRY/shop/web:1.0`, or has no such image";
    check(Manner::TokensForAda, None, &format!("{no_access} (asked without credentials)"));
    check(Manner::TokensForAda, Some("wrong"), &format!("{no_access} (asked as ada)"));
    check(Manner::Basic, None, &format!("{no_access} (asked without credentials)"));
    check(Manner::Basic, Some("wrong"), &format!("{no_access} (asked as ada)"));
    check(Manner::Forbidden, None, &format!("{no_access} (asked without credentials)"));
}

#[test]
fn no_registry_can_keep_us_busy_or_make_us_talk() {
    check(Manner::Circle, None, "REGISTRY cannot be reached");
    let endless =
        format!("REGISTRY answered in a way that cannot be used: the answer is longer than {MAX_MANIFEST_BYTES} bytes");
    check(Manner::Endless, None, &endless);
    check(Manner::Nonsense, None, "REGISTRY answered in a way that cannot be used: `sha256:zz` is no SHA-256");
    let realm = "REGISTRY answered in a way that cannot be used: its token service has an address without TLS";
    check(Manner::StrangeRealm, Some(ADA), realm);
    check(Manner::Busy, None, "REGISTRY answers no more for now: too many requests");
}

#[test]
fn an_image_that_does_not_exist_is_told_from_a_name_that_is_none() {
    let missing = ask(Manner::Good, "REGISTRY/shop/nothing:1.0", None);
    assert!(matches!(missing, Err(RegistryError::NotFound { .. })), "{missing:?}");
    let bad = ask(Manner::Good, "Not An Image", None);
    assert!(matches!(bad, Err(RegistryError::BadReference { .. })), "{bad:?}");
    let other = format!("REGISTRY/shop/web@sha256:{}", "0".repeat(64));
    let other = ask(Manner::Good, &other, None);
    assert!(matches!(other, Err(RegistryError::BadAnswer { .. })), "{other:?}");
}

#[test]
fn challenges_are_read_as_registries_write_them() {
    let bearer = |realm: &str, service: Option<&str>| {
        Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
    };
    let check = |header: &str, wanted: Option<Challenge>| assert_eq!(Challenge::parse(header), wanted, "{header}");
    check("Basic realm=\"x\"", Some(Challenge::Basic));
    check("basic", Some(Challenge::Basic));
    check("Bearer realm=\"https://a/t\",service=\"s\"", bearer("https://a/t", Some("s")));
    check("Bearer realm=\"https://a/t, x\", scope=\"a,b=c\" , service=s", bearer("https://a/t, x", Some("s")));
    check("bearer REALM=\"h\\\"i", bearer("h\"i", None));
    check("Bearer scope=\"x\"", None);
    check("Bearer =", None);
    check("Negotiate abc", None);
    check("", None);
}

#[test]
fn logins_are_found_for_the_registry_that_they_are_for() {
    let file = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
        "r.example:5000": {"username": "r", "password": "p"},
        "r.example:5000/team": {"identitytoken": "tt"},
        "kept.example": {}
    }, "credsStore": "secretservice", "credHelpers": {"other.example": "x"}}"#;
    let credentials = Credentials::parse(file.as_bytes()).expect("a file of credentials");
    let show = |registry: &str, repository: &str| format!("{:?}", credentials.login(registry, repository));
    assert_eq!(show("index.docker.io", "library/nginx"), "Some(Password { user: \"hub\", .. })");
    assert_eq!(show("r.example:5000", "web"), "Some(Password { user: \"r\", .. })");
    assert_eq!(show("r.example:5000", "team/web"), "Some(Identity { .. })");
    assert_eq!(show("r.example:5000", "teams/web"), "Some(Password { user: \"r\", .. })");
    assert_eq!(show("example", "web"), "None");
    assert_eq!(credentials.keeper("other.example"), Some(("x", "other.example")));
    assert_eq!(credentials.keeper("kept.example"), Some(("secretservice", "kept.example")));
    assert_eq!(credentials.keeper("index.docker.io"), Some(("secretservice", "https://index.docker.io/v1/")));
    assert_eq!(Credentials::parse(b"{}").expect("an empty file").keeper("kept.example"), None);
    for bad in
        ["", "[]", "{\"auths\": {\"a\": {\"auth\": \"%\"}}}", "{\"auths\": {\"a\": {\"auth\": \"bm9jb2xvbg==\"}}}"]
    {
        assert_eq!(Credentials::parse(bad.as_bytes()), None, "{bad}");
    }
}
