//! Real servers of Git on this machine's loopback: `git http-backend` behind a small HTTPS server, and OpenSSH's `sshd`.
//!
//! The unit tests of the transports use this file too, so it knows neither the rest of the harness nor Bellwether itself. Both
//! servers are asked for a port by binding to none, start a process for each connection, and end with their listener.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest body that is taken.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// How an HTTP server behaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Behaviour {
    /// As a Git server.
    Serves,
    /// As one that wants this header `Authorization`.
    Wants(String),
    /// Sends everybody elsewhere.
    Redirects(String),
    /// Shows a page for people, with status 200.
    ShowsPage,
    /// Answers with this status.
    Answers(u16),
    /// Serves, but sends rubbish instead of packs.
    SendsRubbish,
    /// Serves, but goes away in the middle of a pack.
    GoesAway,
    /// Takes the request and never answers.
    Hangs,
}

/// A server of the bare repositories in a folder.
pub struct GitHttp {
    pub address: SocketAddr,
    /// The authority of its certificate.
    pub ca_pem: String,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    behaviour: Mutex<Behaviour>,
    /// Values of the header `Authorization`, `-` where there was none.
    authorizations: Mutex<Vec<String>>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GitHttp {
    /// Serves with TLS.
    pub fn with_tls(root: &Path) -> Self {
        let (config, ca_pem) = certificate();
        Self::start(root, Some(Arc::new(config)), ca_pem)
    }

    /// Serves without.
    pub fn plain(root: &Path) -> Self {
        Self::start(root, None, String::new())
    }

    fn start(root: &Path, tls: Option<Arc<rustls::ServerConfig>>, ca_pem: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on the loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            behaviour: Mutex::new(Behaviour::Serves),
            authorizations: Mutex::default(),
            tls,
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                // Whoever hangs up in the middle is not our business.
                std::thread::spawn(move || serve_connection(stream, &shared));
            }
        });
        Self { address, ca_pem, shared }
    }

    /// The address of a repository.
    pub fn url(&self, repository: &str) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{repository}", self.address)
    }

    /// Behaves so from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.shared.behaviour) = behaviour;
    }

    /// The credentials that were sent so far.
    pub fn authorizations(&self) -> Vec<String> {
        locked(&self.shared.authorizations).clone()
    }
}

/// A certificate for the loopback, and its authority in PEM.
fn certificate() -> (rustls::ServerConfig, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().expect("make a key");
    let ca_pem = authority.self_signed(&ca_key).expect("make an authority").pem();
    let issuer = Issuer::new(authority, ca_key);
    let key = KeyPair::generate().expect("make a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
    let certificate = params.signed_by(&key, &issuer).expect("make a certificate");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    (config, ca_pem)
}

fn serve_connection(stream: TcpStream, shared: &Shared) {
    match &shared.tls {
        Some(config) => {
            let Ok(connection) = rustls::ServerConnection::new(config.clone()) else { return };
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let _ = serve(&mut stream, shared);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        None => {
            let mut stream = stream;
            let _ = serve(&mut stream, shared);
        }
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// One request and its answer; then the connection ends.
fn serve(stream: &mut (impl Read + Write), shared: &Shared) -> std::io::Result<()> {
    let request = read_request(stream)?;
    let authorization = request.headers.get("authorization").cloned();
    locked(&shared.authorizations).push(authorization.clone().unwrap_or_else(|| "-".to_owned()));
    let behaviour = locked(&shared.behaviour).clone();
    let is_pack = request.method == "POST" && String::from_utf8_lossy(&request.body).contains("fetch");
    match behaviour {
        Behaviour::Wants(wanted) if authorization.as_ref() != Some(&wanted) => {
            answer(stream, "401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"git\"")], b"who are you?")
        }
        Behaviour::Redirects(to) => answer(stream, "302 Found", &[("Location", &to)], b""),
        Behaviour::ShowsPage => {
            answer(stream, "200 OK", &[("Content-Type", "text/html")], b"<html>We are back soon.</html>")
        }
        Behaviour::Answers(status) => answer(stream, &format!("{status} So it is"), &[], b""),
        Behaviour::Hangs => {
            // Until the client gives up.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).map(|_| ())
        }
        Behaviour::SendsRubbish if is_pack => {
            let kind = ("Content-Type", "application/x-git-upload-pack-result");
            answer(stream, "200 OK", &[kind], b"000dpackfile\n0014\x01PACKrubbish!!!!0000")
        }
        Behaviour::GoesAway if is_pack => {
            let (status, headers, body) = backend(&request, shared)?;
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            head(stream, &status, &headers, body.len())?;
            stream.write_all(&body[..body.len() / 2])?;
            stream.flush()
        }
        Behaviour::Serves | Behaviour::Wants(_) | Behaviour::SendsRubbish | Behaviour::GoesAway => {
            let (status, headers, body) = backend(&request, shared)?;
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            answer(stream, &status, &headers, &body)
        }
    }
}

fn read_request(stream: &mut (impl Read + Write)) -> std::io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    if headers.get("expect").is_some_and(|expect| expect.contains("100")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|encoding| encoding.contains("chunked")) {
        let mut reader = BufReader::new(&mut *stream);
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            (&mut reader).take(size.min(MAX_BODY_BYTES)).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length").and_then(|length| length.parse::<u64>().ok()) {
        stream.take(length.min(MAX_BODY_BYTES)).read_to_end(&mut body)?;
    }
    Ok(Request { path: path.to_owned(), query: query.to_owned(), method, headers, body })
}

type Answer = (String, Vec<(String, String)>, Vec<u8>);

/// Asks `git http-backend`, as a web server would.
fn backend(request: &Request, shared: &Shared) -> std::io::Result<Answer> {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = backend.stdin.take().expect("stdin was piped");
    let body = request.body.clone();
    let writing = std::thread::spawn(move || stdin.write_all(&body));
    let output = backend.wait_with_output()?.stdout;
    let _ = writing.join();
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(output.len());
    let mut status = "200 OK".to_owned();
    let mut headers = Vec::new();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        match line.split_once(": ") {
            Some(("Status", value)) => status = value.to_owned(),
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => {}
        }
    }
    Ok((status, headers, output.get(end + 4..).unwrap_or_default().to_vec()))
}

fn head(stream: &mut impl Write, status: &str, headers: &[(&str, &str)], length: usize) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")
}

fn answer(stream: &mut impl Write, status: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<()> {
    head(stream, status, headers, body.len())?;
    stream.write_all(body)?;
    stream.flush()
}

/// A real `sshd` that lets one key in, as the user who runs the tests.
pub struct GitSsh {
    address: SocketAddr,
    user: String,
    folder: PathBuf,
}

impl GitSsh {
    /// Starts it with keys of its own in a folder.
    pub fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on the loopback");
        let address = listener.local_addr().expect("a listener has an address");
        for key in ["host_key", "user_key", "other_key"] {
            let file = folder.join(key);
            ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", &file.display().to_string()]);
        }
        std::fs::copy(folder.join("user_key.pub"), folder.join("authorized_keys")).expect("let the key in");
        let path = |name: &str| folder.join(name).display().to_string();
        let configuration = format!(
            "HostKey \"{}\"\nAuthorizedKeysFile \"{}\"\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nAcceptEnv GIT_PROTOCOL\nPidFile none\n\
             SetEnv PATH=/usr/local/bin:/usr/bin:/bin\nLogLevel ERROR\n",
            path("host_key"),
            path("authorized_keys"),
        );
        std::fs::write(folder.join("sshd_config"), configuration).expect("write sshd's configuration");
        // Where sshd keeps nothing, as root; it insists on it.
        let _ = std::fs::create_dir_all("/run/sshd");
        let config = folder.join("sshd_config");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = config.clone();
                std::thread::spawn(move || {
                    let input = std::os::fd::OwnedFd::from(stream.try_clone().expect("share a connection"));
                    let status = Command::new("/usr/sbin/sshd")
                        .args(["-i", "-e", "-f"])
                        .arg(config)
                        .stdin(Stdio::from(input))
                        .stdout(Stdio::from(std::os::fd::OwnedFd::from(stream)))
                        .stderr(Stdio::null())
                        .status();
                    status.expect("the tests need sshd (openssh-server); scripts/setup test installs it")
                });
            }
        });
        let user = Command::new("id").arg("-un").output().expect("ask who we are").stdout;
        let user = String::from_utf8_lossy(&user).trim().to_owned();
        let host_key = std::fs::read_to_string(folder.join("host_key.pub")).expect("the host's key");
        let other_key = std::fs::read_to_string(folder.join("other_key.pub")).expect("another key");
        let known = |key: &str| format!("[127.0.0.1]:{} {key}", address.port());
        std::fs::write(folder.join("known_hosts"), known(&host_key)).expect("write known hosts");
        std::fs::write(folder.join("wrong_known_hosts"), known(&other_key)).expect("write known hosts");
        std::fs::write(folder.join("empty_known_hosts"), "").expect("write known hosts");
        Self { address, user, folder: folder.to_owned() }
    }

    /// The address of a repository.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@{}{}", self.user, self.address, path.display())
    }

    /// One of its files: `user_key`, `other_key`, `known_hosts`, `wrong_known_hosts`, `empty_known_hosts`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn ssh_keygen(arguments: &[&str]) {
    let output = Command::new("ssh-keygen").args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("the tests need ssh-keygen (openssh-client); scripts/setup test installs it");
    assert!(output.status.success(), "ssh-keygen {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
