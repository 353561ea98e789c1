use super::*;
use crate::config::CertificateSource;
use crate::server::keys::Keys;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use std::collections::BTreeMap;
use tempfile::TempDir;

type Answer = BTreeMap<String, String>;

/// A server that answers what it was asked, and with errors.
fn echo() -> Router {
    let who = |headers: HeaderMap| async move {
        let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        Json(BTreeMap::from([("authorization", text("authorization")), ("agent", text("user-agent"))]))
    };
    let error = || async {
        let body = ErrorBody { code: "not-held".into(), message: "it is not held".into(), hint: Some("look".into()) };
        (StatusCode::CONFLICT, Json(body))
    };
    Router::new()
        .route("/v1/who", get(who).delete(who))
        .route("/v1/echo", post(|body: Json<Answer>| async move { body }))
        .route("/v1/error", get(error))
        .route("/v1/page", get(|| async { "<html>a proxy's page</html>" }))
        .route("/v1/odd", get(|| async { (StatusCode::BAD_GATEWAY, "<html>a proxy's page</html>") }))
        .route("/v1/away", get(|| async { axum::response::Redirect::temporary("https://elsewhere.example/") }))
}

fn shown(error: &ClientError) -> String {
    let mut text = error.to_string();
    if let Some(hint) = error.hint() {
        text = format!("{text} ({hint})");
    }
    text
}

async fn on_socket() -> (TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bellwether.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { axum::serve(listener, echo()).await });
    (folder, Client::unix(&path).unwrap())
}

#[tokio::test]
async fn a_socket_is_asked_without_a_key() {
    let (_folder, client) = on_socket().await;
    let answer: Answer = client.get("/v1/who").await.unwrap();
    assert_eq!(answer["authorization"], "");
    assert_eq!(answer["agent"], format!("bellwether/{}", env!("CARGO_PKG_VERSION")));
    let sent = Answer::from([("a".to_owned(), "b".to_owned())]);
    assert_eq!(client.post::<Answer>("/v1/echo", &sent).await.unwrap(), sent);
    assert_eq!(client.delete::<Answer>("/v1/who").await.unwrap(), answer);
}

#[tokio::test]
async fn refusals_come_in_the_controllers_words() {
    let (_folder, client) = on_socket().await;
    let error = client.get::<Answer>("/v1/error").await.unwrap_err();
    assert_eq!(shown(&error), "it is not held (look)");
    assert!(matches!(error, ClientError::Refused { status: 409, body } if body.code == "not-held"));
    let misunderstood = |status| {
        format!(
            "the answer with status {status} was not understood \
             (is this a Bellwether controller, and of the same version?)"
        )
    };
    for (path, status) in [("/v1/page", 200), ("/v1/odd", 502), ("/v1/none", 404), ("/v1/away", 307)] {
        assert_eq!(shown(&client.get::<Answer>(path).await.unwrap_err()), misunderstood(status), "{path}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_from_not_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bellwether.sock");
    let ask = || async { shown(&Client::unix(&path).unwrap().get::<Answer>("/v1/who").await.unwrap_err()) };
    let expected = format!(
        "no controller answers at {} (is `bellwether serve` running? name another controller with `--server`)",
        path.display()
    );
    assert_eq!(ask().await, expected, "no socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(ask().await, expected, "a socket that nobody listens on any more");
}

/// A server with keys of its own.
struct Secure {
    folder: TempDir,
    keys: Keys,
    url: String,
}

impl Secure {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = CertificateSource::SelfMade { names: Default::default() };
        let keys = Keys::open(&folder.path().join("keys"), &names, crate::clock::now()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let tls = axum_server::tls_rustls::RustlsConfig::from_config(keys.tls.clone());
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
        tokio::spawn(server.serve(echo().into_make_service()));
        Self { folder, keys, url }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    async fn ask(&self, trust: &Trust) -> Result<Answer, ClientError> {
        let key = self.file("key", "s3cret\n");
        Client::https(&self.url, Some(&key), trust)?.get("/v1/who").await
    }
}

#[tokio::test]
async fn https_carries_the_key_to_the_right_controller_only() {
    let server = Secure::start();
    let ca = server.file("authority.pem", &server.keys.ca_pem);
    for trust in [Trust::File(ca), Trust::Fingerprint(server.keys.ca_fingerprint)] {
        assert_eq!(server.ask(&trust).await.unwrap()["authorization"], "Bearer s3cret", "{trust:?}");
    }
    let names = CertificateSource::SelfMade { names: Default::default() };
    let other = Keys::open(&server.folder.path().join("other"), &names, crate::clock::now()).unwrap();
    let other_ca = server.file("other.pem", &other.ca_pem);
    for trust in [Trust::File(other_ca), Trust::Fingerprint(other.ca_fingerprint), Trust::System] {
        let error = server.ask(&trust).await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{trust:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself_can_be_told_by_its_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let source = CertificateSource::Files { certificate, key };
    let keys = Keys::open(&folder.path().join("keys"), &source, crate::clock::now()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let tls = axum_server::tls_rustls::RustlsConfig::from_config(keys.tls.clone());
    tokio::spawn(axum_server::from_tcp_rustls(listener, tls).unwrap().serve(echo().into_make_service()));
    let client = Client::https(&url, None, &Trust::Fingerprint(keys.ca_fingerprint)).unwrap();
    assert_eq!(client.get::<Answer>("/v1/who").await.unwrap()["authorization"], "");
}

#[test]
fn addresses_and_keys_that_cannot_be_meant_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::Fingerprint(Digest::of(b"any"));
    for url in ["http://fleet.example", "fleet.example", "https://", "https://anna:pw@fleet.example", "https://a?b=c"] {
        let error = Client::https(url, None, &trust).err().expect(url);
        assert_eq!(error.to_string(), format!("{url:?} is not an address such as https://fleet.example:8443"));
    }
    let file = |text: &str| {
        let path = folder.path().join("key");
        std::fs::write(&path, text).unwrap();
        Client::https("https://fleet.example", Some(&path), &trust)
    };
    assert!(file("  abc \n").is_ok());
    for text in ["", "\n", "two words", "a\nb", "ü"] {
        assert!(matches!(file(text), Err(ClientError::BadKey { .. })), "{text:?}");
    }
    assert!(matches!(file(&"a".repeat(5000)), Err(ClientError::Unreadable { .. })));
    let missing = Client::https("https://fleet.example", Some(Path::new("/none")), &trust);
    assert!(matches!(missing, Err(ClientError::Unreadable { .. })));
    let not_pem = folder.path().join("ca");
    std::fs::write(&not_pem, "no certificate").unwrap();
    let error = Client::https("https://fleet.example", None, &Trust::File(not_pem)).err().unwrap();
    assert!(matches!(error, ClientError::Trust(_)));
}
