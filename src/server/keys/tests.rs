use super::*;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tempfile::TempDir;

/// 2026-11-20T18:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_197_600_000);
const DAY: i64 = 24 * 3600;

fn self_made(names: &[&str]) -> CertificateSource {
    CertificateSource::SelfMade { names: names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>() }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("keys").join(name)
    }

    fn open(&self, names: &[&str], now: Timestamp) -> Result<Keys, KeysError> {
        Keys::open(&self.path(""), &self_made(names), now)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn error(&self) -> String {
        let error = self.open(&["fleet.example"], NOW).err().expect("it must fail");
        error.to_string().replace(self.path("").to_str().unwrap(), "keys/")
    }
}

/// Whether a client that trusts the authority believes the server's certificate under a name, at some time.
fn check_believed(folder: &Folder, name: &str, at: Timestamp) -> Result<(), rustls::Error> {
    let server: make::Server = serde_json::from_str(&folder.text("server.json")).unwrap();
    let certificate = read::certificate(&server.certificate, Path::new("server.json")).unwrap();
    let ca = read::certificate(&folder.text("ca.crt"), Path::new("ca.crt")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.millis()).unwrap()));
    verifier.verify_server_cert(&certificate, &[], &name, &[], at).map(|_| ())
}

#[test]
fn keys_are_made_once_and_read_ever_after() {
    let folder = Folder::new();
    assert!(!Keys::exist(&folder.path("")).unwrap());
    let first = folder.open(&["fleet.example"], NOW).unwrap();
    assert!(Keys::exist(&folder.path("")).unwrap());
    let second = folder.open(&["fleet.example"], NOW).unwrap();
    assert_eq!(first.signing.as_bytes(), second.signing.as_bytes());
    assert_eq!(first.ca_fingerprint, second.ca_fingerprint);
    assert_eq!(first.ca_pem, second.ca_pem);
    assert_eq!(first.ca_pem, folder.text("ca.crt"));
    assert_eq!(first.tls.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    let other = Folder::new().open(&["fleet.example"], NOW).unwrap();
    assert_ne!(other.signing.as_bytes(), first.signing.as_bytes());
    assert_ne!(other.ca_fingerprint, first.ca_fingerprint);
}

#[test]
fn nobody_else_can_read_them() {
    let folder = Folder::new();
    folder.open(&[], NOW).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path("")), 0o700);
    let files: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "no temporary file is left: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
}

#[test]
fn clients_that_trust_the_authority_believe_the_server() {
    let folder = Folder::new();
    let keys = folder.open(&["fleet.example", "192.0.2.7", "Mixed.Example"], NOW).unwrap();
    for name in ["fleet.example", "192.0.2.7", "mixed.example", "localhost", "127.0.0.1", "::1"] {
        check_believed(&folder, name, NOW).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(check_believed(&folder, "other.example", NOW).is_err());
    let soon = NOW.plus_secs(-DAY + 1);
    assert!(check_believed(&folder, "fleet.example", soon).is_ok(), "a clock that is a little late");
    assert!(check_believed(&folder, "fleet.example", NOW.plus_secs(-DAY - 1)).is_err());
    let expires = keys.expires.unwrap();
    assert_eq!(expires, NOW.plus_secs(365 * DAY));
    assert!(check_believed(&folder, "fleet.example", expires.plus_secs(-1)).is_ok());
    assert!(check_believed(&folder, "fleet.example", expires.plus_secs(1)).is_err());
}

/// Opens the keys a second time and says whether the server's certificate is still the same; the authority always is.
fn check_renewed(names: &[&str], later: i64) -> bool {
    let folder = Folder::new();
    let first = folder.open(&["fleet.example"], NOW).unwrap();
    let before = folder.text("server.json");
    let now = NOW.plus_secs(later);
    let second = folder.open(names, now).unwrap();
    assert_eq!(first.ca_fingerprint, second.ca_fingerprint);
    for name in names {
        check_believed(&folder, name, now).unwrap();
    }
    before != folder.text("server.json")
}

#[test]
fn the_server_certificate_is_renewed_when_it_must_be() {
    assert!(!check_renewed(&["fleet.example"], 0));
    assert!(!check_renewed(&["fleet.example"], 305 * DAY), "60 days left");
    assert!(check_renewed(&["fleet.example"], 305 * DAY + 1), "less than 60 days left");
    assert!(check_renewed(&["fleet.example"], 500 * DAY), "run out");
    assert!(check_renewed(&["fleet.example", "second.example"], 0), "a name more");
    assert!(check_renewed(&[], 0), "a name less");
}

#[test]
fn near_its_end_the_authority_bounds_the_server_certificate() {
    let folder = Folder::new();
    folder.open(&[], NOW).unwrap();
    let end = NOW.plus_secs(CA_DAYS * DAY);
    let keys = folder.open(&[], end.plus_secs(-10 * DAY)).unwrap();
    assert_eq!(keys.expires, Some(end));
    let before = folder.text("server.json");
    folder.open(&[], end.plus_secs(-9 * DAY)).unwrap();
    assert_eq!(folder.text("server.json"), before, "there is nothing better to make");
    assert!(matches!(folder.open(&[], end), Err(KeysError::AuthorityExpired { .. })));
}

#[test]
fn what_devices_pin_is_never_made_a_second_time() {
    for (gone, message) in [
        ("fleet.key", "keys/fleet.key is missing, and devices trust what it held"),
        ("ca.json", "keys/ca.json is missing, and devices trust what it held"),
    ] {
        let folder = Folder::new();
        folder.open(&["fleet.example"], NOW).unwrap();
        std::fs::remove_file(folder.path(gone)).unwrap();
        assert_eq!(folder.error(), message);
        assert!(!folder.path(gone).exists());
    }
}

#[test]
fn files_that_cannot_be_read_stop_the_controller_and_stay() {
    let place = "unexpected content at line 1, column 1";
    for (file, message) in [
        ("fleet.key", "keys/fleet.key is not the fleet's key: it must be 64 lower-case hexadecimal digits".to_owned()),
        ("ca.json", format!("keys/ca.json is not the controller's authority: {place}")),
        ("server.json", format!("keys/server.json is not the server's certificate: {place}")),
    ] {
        for content in ["rubbish", "\u{0}"] {
            let folder = Folder::new();
            folder.open(&["fleet.example"], NOW).unwrap();
            std::fs::write(folder.path(file), content).unwrap();
            assert_eq!(folder.error(), message);
            assert_eq!(folder.text(file), content);
        }
        let folder = Folder::new();
        folder.open(&["fleet.example"], NOW).unwrap();
        std::fs::remove_file(folder.path(file)).unwrap();
        std::fs::create_dir(folder.path(file)).unwrap();
        assert_eq!(folder.error(), format!("keys/{file} could not be read"));
    }
}

#[test]
fn errors_do_not_quote_keys() {
    let folder = Folder::new();
    folder.open(&["fleet.example"], NOW).unwrap();
    let secret = "c2VjcmV0LWtleS1tYXRlcmlhbA";
    let text = folder.text("ca.json").replace("\"expires\"", &format!("\"{secret}\""));
    std::fs::write(folder.path("ca.json"), text).unwrap();
    assert!(!folder.error().contains(secret), "{}", folder.error());
}

#[test]
fn a_start_that_stopped_half_way_is_finished() {
    let folder = Folder::new();
    let first = folder.open(&["fleet.example"], NOW).unwrap();
    std::fs::remove_file(folder.path("server.json")).unwrap();
    std::fs::remove_file(folder.path("ca.crt")).unwrap();
    let second = folder.open(&["fleet.example"], NOW).unwrap();
    assert_eq!(first.ca_fingerprint, second.ca_fingerprint);
    std::fs::remove_file(folder.path("server.json")).unwrap();
    std::fs::remove_file(folder.path("ca.json")).unwrap();
    let third = folder.open(&["fleet.example"], NOW).unwrap();
    assert_eq!(third.signing.as_bytes(), first.signing.as_bytes());
}

#[test]
fn a_clock_that_was_never_set_makes_no_keys() {
    let folder = Folder::new();
    assert!(matches!(folder.open(&[], Timestamp::EPOCH), Err(KeysError::ClockNotSet { .. })));
    assert!(!folder.path("fleet.key").exists());
}

#[test]
fn names_that_no_certificate_can_have_are_refused() {
    for name in ["", "two words", "*.example", "ünïcode.example", "a..b"] {
        let error = Folder::new().open(&[name], NOW).err().expect(name);
        assert_eq!(
            error.to_string(),
            format!("{name:?} is neither a DNS name nor an address, so no certificate can be made for it")
        );
    }
}

/// A certificate and key as somebody else would keep them.
fn foreign(folder: &Folder) -> (PathBuf, PathBuf, make::Authority) {
    let ca = make::authority(NOW).unwrap();
    let server = make::server(&ca, &["fleet.example".to_owned()], NOW).unwrap();
    let (certificate, key) = (folder.0.path().join("chain.pem"), folder.0.path().join("key.pem"));
    std::fs::write(&certificate, format!("{}{}", server.certificate, ca.certificate)).unwrap();
    std::fs::write(&key, server.key).unwrap();
    (certificate, key, ca)
}

#[test]
fn files_of_somebody_else_are_used_as_they_are() {
    let folder = Folder::new();
    let (certificate, key, ca) = foreign(&folder);
    let source = CertificateSource::Files { certificate, key };
    let keys = Keys::open(&folder.path(""), &source, NOW).unwrap();
    assert_eq!(keys.ca_pem, ca.certificate);
    assert_eq!(keys.expires, None);
    assert!(!folder.path("ca.json").exists());
}

#[test]
fn files_of_somebody_else_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let (certificate, key, _) = foreign(&folder);
    let open = |certificate: &Path, key: &Path| {
        let source = CertificateSource::Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let error = Keys::open(&folder.path(""), &source, NOW).err().expect("it must fail");
        error.to_string().replace(folder.0.path().to_str().unwrap(), "…")
    };
    assert_eq!(open(Path::new("/none.pem"), &key), "/none.pem could not be read");
    assert_eq!(open(&key, &key), "…/key.pem is not a chain of certificates in PEM: it has none");
    assert!(open(&certificate, &certificate).starts_with("…/chain.pem is not a private key in PEM"));
    let other = KeyFile::new(&folder);
    assert_eq!(open(&certificate, &other.0), "the TLS certificate cannot be used");
}

struct KeyFile(PathBuf);

impl KeyFile {
    fn new(folder: &Folder) -> Self {
        let path = folder.0.path().join("other.pem");
        std::fs::write(&path, make::authority(NOW).unwrap().key).unwrap();
        Self(path)
    }
}
