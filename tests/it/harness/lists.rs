//! A server of lists of devices, with real TLS: what it answers can be changed while it runs, and it can be stopped and started.

use super::run::{free_port, run};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use bellwether::domain::digest::Digest;
use ed25519_dalek::{Signer as _, SigningKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// Whether the server asks clients for certificates.
#[derive(Clone, Copy, PartialEq)]
pub enum Asks {
    Nobody,
    EveryClient,
}

/// What paths answer, and how often each was asked for a body.
#[derive(Default)]
struct Pages {
    pages: BTreeMap<String, Vec<u8>>,
    /// Full answers, without those that said that nothing changed.
    sent: usize,
    not_modified: usize,
}

/// The server, its authority, and a key that signs lists.
pub struct ListServer {
    folder: PathBuf,
    address: SocketAddr,
    asks: Asks,
    key: SigningKey,
    pages: Arc<Mutex<Pages>>,
    running: Option<Runtime>,
}

impl ListServer {
    /// Starts one, and writes the files that the controller's configuration names.
    #[track_caller]
    pub fn start(name: &str, asks: Asks) -> Self {
        let folder = run().scratch(name);
        let address = ([127, 0, 0, 1], free_port()).into();
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut server = Self { folder, address, asks, key, pages: Arc::default(), running: None };
        server.write_files();
        server.go_on();
        server
    }

    fn write_files(&self) {
        let write = |name: &str, text: &str| std::fs::write(self.folder.join(name), text).expect("write a file");
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        write("ca.pem", &params.self_signed(&ca_key).expect("a certificate").pem());
        let issuer = Issuer::new(params, ca_key);
        for name in ["localhost", "client"] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
            write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).expect("a certificate").pem());
            write(&format!("{name}.key"), &key.serialize_pem());
        }
        let public = [
            &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..],
            self.key.verifying_key().as_bytes(),
        ]
        .concat();
        let public = base64::engine::general_purpose::STANDARD.encode(public);
        write("lists.pub", &format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n"));
    }

    /// A file for the controller's configuration.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The address of the list.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/fleet.json", self.address.port())
    }

    /// Publishes a list with its signature.
    pub fn publish(&self, list: &str) {
        self.publish_unsigned(list);
        let signature = self.key.sign(list.as_bytes()).to_bytes().to_vec();
        self.pages.lock().unwrap().pages.insert("/fleet.json.sig".to_owned(), signature);
    }

    /// Publishes a list and leaves the signature as it was.
    pub fn publish_unsigned(&self, list: &str) {
        self.pages.lock().unwrap().pages.insert("/fleet.json".to_owned(), list.as_bytes().to_vec());
    }

    /// How often the list was sent, and how often it was said that nothing changed.
    pub fn answers(&self) -> (usize, usize) {
        let pages = self.pages.lock().unwrap();
        (pages.sent, pages.not_modified)
    }

    /// Nobody answers any more.
    pub fn stop(&mut self) {
        self.running.take().expect("the server runs").shutdown_background();
    }

    /// Starts it again at the same address.
    #[track_caller]
    pub fn go_on(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let config = RustlsConfig::from_config(Arc::new(self.tls()));
        let router = Router::new().fallback(answer).with_state(self.pages.clone());
        let address = self.address;
        let handle = axum_server::Handle::new();
        let listening = handle.clone();
        runtime.spawn(async move {
            let server = axum_server::bind_rustls(address, config).handle(handle);
            server.serve(router.into_make_service()).await.expect("serve lists");
        });
        runtime.block_on(listening.listening()).expect("the server listens");
        self.running = Some(runtime);
    }

    fn tls(&self) -> rustls::ServerConfig {
        let read = |name: &str| std::fs::read(self.folder.join(name)).expect("a file");
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&read("localhost.pem")).collect::<Result<_, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(&read("localhost.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions of TLS");
        let builder = match self.asks {
            Asks::Nobody => builder.with_no_client_auth(),
            Asks::EveryClient => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(&read("ca.pem")).expect("PEM")).expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        builder.with_single_cert(chain, key).expect("a certificate with its key")
    }
}

impl Drop for ListServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(pages): State<Arc<Mutex<Pages>>>, uri: Uri, headers: HeaderMap) -> Response {
    let mut pages = pages.lock().unwrap();
    let Some(body) = pages.pages.get(uri.path()).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    let etag = format!("\"{}\"", Digest::of(&body).hex());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        pages.not_modified += 1;
        return StatusCode::NOT_MODIFIED.into_response();
    }
    pages.sent += usize::from(uri.path() == "/fleet.json");
    ([(header::ETAG, etag)], body).into_response()
}
