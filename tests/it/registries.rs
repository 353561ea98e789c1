//! `release new` against real image registries that want to know who asks: tokens of a token service, TLS with a certificate of
//! their own, and logins that a helper keeps.

use crate::harness::fleet::outcome;
use crate::harness::git::FleetRepo;
use crate::harness::process::{BELLWETHER, Running, program};
use crate::harness::run::{has_real_parts, run};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A test vector of bcrypt, the only form that the registry takes: the password is `U*U`.
const PASSWORDS: &str = "ada:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
const PASSWORD: &str = "U*U";

/// A registry on the loopback, at a port that it chose.
struct Registry {
    port: u16,
    _process: Running,
}

/// Starts a registry on a folder of images, with these lines after `http:` and at the top.
fn serve(folder: &Path, http: &str, more: &str) -> Registry {
    let configuration = format!(
        "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp:\n  addr: 127.0.0.1:0\n{http}{more}",
        folder.display()
    );
    let path = run().scratch("registry").join("config.yml");
    std::fs::write(&path, configuration).expect("write the registry's configuration");
    let mut command = run().command("docker-registry");
    command.arg("serve").arg(path);
    let mut process = Running::start("registry", command);
    let line = process.line_with("listening on 127.0.0.1:");
    let port = line.split("listening on 127.0.0.1:").nth(1).expect("the line has an address");
    let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
    Registry { port: digits.parse().expect("a port"), _process: process }
}

/// Puts an image without layers into a folder of images; its digest.
fn pushed(folder: &Path) -> String {
    let registry = serve(folder, "", "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::new();
    let config =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
    let digest = |text: &str| bellwether::domain::digest::Digest::of(text.as_bytes()).to_string();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(),
            "digest": digest(config),
        },
        "layers": [],
    })
    .to_string();
    let base = format!("http://127.0.0.1:{}/v2/web", registry.port);
    runtime.block_on(async {
        let begun = http.post(format!("{base}/blobs/uploads/")).send().await.expect("begin an upload");
        let location = begun.headers()["location"].to_str().expect("an address").to_owned();
        let to = format!("{location}&digest={}", digest(config).replace(':', "%3A"));
        let put = http.put(to).header("content-type", "application/octet-stream").body(config).send().await;
        assert_eq!(put.expect("upload the configuration").status(), 201);
        let put = http
            .put(format!("{base}/manifests/1.0.0"))
            .header("content-type", "application/vnd.docker.distribution.manifest.v2+json")
            .body(manifest.clone())
            .send()
            .await;
        assert_eq!(put.expect("upload the manifest").status(), 201);
    });
    digest(&manifest)
}

/// An authority, and a server's certificate and key that it signed, as files.
struct Certificates {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    pair: KeyPair,
    der: Vec<u8>,
}

fn certificates() -> Certificates {
    let folder = run().scratch("certificates");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("make a key");
    let authority_pem = authority.self_signed(&authority_key).expect("make an authority").pem();
    let issuer = Issuer::new(authority, authority_key);
    let pair = KeyPair::generate().expect("make a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
    let certificate = params.signed_by(&pair, &issuer).expect("make a certificate");
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("write a file");
        folder.join(name)
    };
    Certificates {
        authority: file("authority.pem", &authority_pem),
        certificate: file("certificate.pem", &certificate.pem()),
        key: file("key.pem", &pair.serialize_pem()),
        der: certificate.der().to_vec(),
        pair,
    }
}

/// A token service that gives tokens for `ada` alone, signed as registries want them.
struct TokenService {
    port: u16,
}

impl TokenService {
    fn start(certificates: &Certificates) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on the loopback");
        let port = listener.local_addr().expect("an address").port();
        let random = ring::rand::SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &certificates.pair.serialize_der(), &random);
        let (pair, chain) = (pair.expect("a key"), STANDARD.encode(&certificates.der));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, |claims| {
                    let header = serde_json::json!({ "typ": "JWT", "alg": "ES256", "x5c": [chain] });
                    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
                    let signed = format!("{}.{}", part(&header), part(claims));
                    let signature = pair.sign(&random, signed.as_bytes()).expect("sign a token");
                    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
                });
            }
        });
        Self { port }
    }
}

/// Answers one request for a token.
fn answer(mut stream: TcpStream, sign: impl Fn(&serde_json::Value) -> String) {
    let mut lines = BufReader::new(stream.try_clone().expect("share a connection")).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let wanted = format!("authorization: Basic {}", STANDARD.encode(format!("ada:{PASSWORD}")));
    let mut knows = false;
    for line in lines.take_while(|line| !line.is_empty()) {
        knows |= line.eq_ignore_ascii_case(&wanted);
    }
    let asked = first.contains("service=registry.test") && first.contains("scope=repository%3Aweb%3Apull");
    let (status, body) = if knows && asked {
        let claims = serde_json::json!({
            "iss": "issuer.test", "sub": "ada", "aud": "registry.test", "jti": "1",
            "iat": 0, "nbf": 0, "exp": 4_102_444_800_u64,
            "access": [{ "type": "repository", "name": "web", "actions": ["pull"] }],
        });
        ("200 OK", serde_json::json!({ "token": sign(&claims) }).to_string())
    } else {
        ("401 Unauthorized", "{}".to_owned())
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn repo(name: &str) -> FleetRepo {
    let repo = FleetRepo::new(name);
    repo.commit(
        "Begin the fleet",
        &[("fleet.yml", "name: acme\n"), ("inventory.yml", "all: { hosts: { kiosk-1: } }\n")],
    );
    repo
}

/// Makes a release of the registry's image: the status it ends with, and everything that it prints.
fn make(repo: &FleetRepo, port: u16, flags: &[&str], helpers: Option<&Path>) -> (Option<i32>, String) {
    let compose = run().scratch("compose").join("compose.yml");
    let text = format!("services:\n  app:\n    image: 127.0.0.1:{port}/web:1.0.0\n");
    std::fs::write(&compose, text).expect("write a Compose file");
    let mut command = program(BELLWETHER);
    if let Some(helpers) = helpers {
        command.env("PATH", format!("{}:/usr/bin:/bin", helpers.display()));
    }
    command.args(["release", "new", "web", "1.0.0", "--yes", "--compose"]).arg(compose);
    command.args(flags).arg("--repo").arg(repo.work());
    let (status, stdout, stderr) = outcome(&mut command);
    let said = format!("{stdout}{stderr}");
    assert!(!said.contains(PASSWORD) && !said.contains(&STANDARD.encode(format!("ada:{PASSWORD}"))), "{said}");
    (status, said)
}

fn config(text: &str) -> String {
    let path = run().scratch("logins").join("config.json");
    std::fs::write(&path, text).expect("write logins");
    path.display().to_string()
}

#[track_caller]
fn assert_made(repo: &FleetRepo, made: (Option<i32>, String), digest: &str) {
    assert_eq!(made.0, Some(0), "{}", made.1);
    let compose = std::fs::read_to_string(repo.work().join("releases/web/1.0.0/compose.yml")).expect("a release");
    assert!(compose.contains(&format!("web:1.0.0@{digest}")), "{compose}");
}

#[test]
fn a_registry_that_wants_a_token_is_shown_one_of_its_token_service() {
    if !has_real_parts(&["docker-registry"]) {
        return;
    }
    let folder = run().scratch("images");
    let digest = pushed(&folder);
    let certificates = certificates();
    let service = TokenService::start(&certificates);
    let auth = format!(
        "auth:\n  token:\n    realm: http://127.0.0.1:{}/token\n    service: registry.test\n    issuer: issuer.test\n    rootcertbundle: {}\n",
        service.port,
        certificates.authority.display()
    );
    let registry = serve(&folder, "", &auth);
    let repo = repo("token-registry");
    let plain = format!("127.0.0.1:{}", registry.port);
    let (status, said) = make(&repo, registry.port, &["--plain-http", &plain], None);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("asked without credentials"), "{said}");
    let login = STANDARD.encode(format!("ada:{PASSWORD}"));
    let config = config(&format!("{{\"auths\": {{\"{plain}\": {{\"auth\": \"{login}\"}}}}}}"));
    let made = make(&repo, registry.port, &["--plain-http", &plain, "--registry-config", &config], None);
    assert_made(&repo, made, &digest);
}

#[test]
fn a_registry_with_a_certificate_of_its_own_gets_the_login_that_a_helper_keeps() {
    if !has_real_parts(&["docker-registry"]) {
        return;
    }
    let folder = run().scratch("images");
    let digest = pushed(&folder);
    let certificates = certificates();
    let passwords = run().scratch("passwords").join("htpasswd");
    std::fs::write(&passwords, PASSWORDS).expect("write the registry's passwords");
    let tls = format!(
        "  tls:\n    certificate: {}\n    key: {}\n",
        certificates.certificate.display(),
        certificates.key.display()
    );
    let auth = format!("auth:\n  htpasswd:\n    realm: ours\n    path: {}\n", passwords.display());
    let registry = serve(&folder, &tls, &auth);
    let name = format!("127.0.0.1:{}", registry.port);
    let repo = repo("tls-registry");
    let helpers = run().scratch("helpers");
    let helper = |script: &str| {
        let path = helpers.join("docker-credential-ours");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write a helper");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it a program");
    };
    let authority = certificates.authority.display().to_string();
    let config = config(&format!("{{\"credHelpers\": {{\"{name}\": \"ours\"}}}}"));
    let with = ["--registry-config", &config, "--registry-ca", &authority];

    let (status, said) = make(&repo, registry.port, &with[..2], Some(&helpers));
    assert_eq!(status, Some(1), "its certificate is nobody's: {said}");
    assert!(said.contains("cannot be reached"), "{said}");
    let (status, said) = make(&repo, registry.port, &with, Some(&helpers));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("`docker-credential-ours` cannot be run"), "{said}");
    helper("echo the key ring is locked; exit 1");
    let (status, said) = make(&repo, registry.port, &with, Some(&helpers));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("`docker-credential-ours` failed: the key ring is locked"), "{said}");
    helper(&format!(
        "[ \"$1\" = get ] && read -r name; [ \"$name\" = {name} ] && echo '{{\"Username\":\"ada\",\"Secret\":\"{PASSWORD}\"}}'"
    ));
    assert_made(&repo, make(&repo, registry.port, &with, Some(&helpers)), &digest);
}
