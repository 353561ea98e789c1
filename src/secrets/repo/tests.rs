//! Against a file that the original implementation of SOPS (version 1.18, in Python) encrypted, with its data key encrypted to
//! an age recipient.

use super::*;

const SOPS: &str = include_str!("fixture/values.sops.yml");
const AGE: &[u8] = include_bytes!("fixture/PLAIN.age");
const IDENTITY: &str = include_str!("fixture/identity.txt");

fn provider(identity: &str) -> RepoFiles {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("identity.txt");
    std::fs::write(&path, identity).expect("written");
    RepoFiles::new(Identities::read(&path).expect("an identity"))
}

fn files(sops: &str) -> SecretFiles {
    [("secrets/fleet.sops.yml", sops.as_bytes()), ("secrets/PLAIN.age", AGE), ("secrets/README.md", b"notes")]
        .map(|(path, bytes)| (Arc::from(path), Arc::from(bytes)))
        .into()
}

fn ask(files: &SecretFiles, name: &str) -> Result<Option<String>, ProviderError> {
    provider(IDENTITY).value(files, &name.parse().expect("a name"))
}

#[test]
fn values_are_read_as_sops_wrote_them() {
    let files = files(SOPS);
    for (name, value) in [
        ("API_TOKEN", "sops-canary-7f3a"),
        ("EMPTY", ""),
        ("port", "8080"),
        ("ratio", "1.5"),
        ("enabled", "true"),
        ("off", "false"),
        ("db.user", "kiosk"),
        ("db.password", "p\"a\\ss\nwörd"),
        ("note_unencrypted", "plain"),
        ("PLAIN", "age-canary-51cd"),
    ] {
        assert_eq!(ask(&files, name), Ok(Some(value.to_owned())), "{name}");
    }
    assert_eq!(ask(&files, "nobody"), Ok(None));
    assert_eq!(ask(&files, "sops.mac"), Ok(None));
}

/// What a changed file says instead of a value.
fn check_changed(change: impl Fn(&str) -> String, expected: &str) {
    let changed = change(SOPS);
    assert_ne!(changed, SOPS, "the test changes something");
    let error = ask(&files(&changed), "API_TOKEN").expect_err("it is not used");
    assert_eq!(error, ProviderError::Unusable(format!("secrets/fleet.sops.yml: {expected}")));
}

#[test]
fn a_file_that_was_changed_is_not_used_at_all() {
    let bad_mac = "its MAC does not fit: a value was added, removed or changed after it was encrypted";
    check_changed(|text| text.replace("note_unencrypted: plain", "note_unencrypted: other"), bad_mac);
    check_changed(|text| text.replace("note_unencrypted: plain", "n: 1"), bad_mac);
    check_changed(|text| text.lines().skip(1).map(|line| format!("{line}\n")).collect(), bad_mac);
    check_changed(
        |text| text.replace("API_TOKEN:", "OTHER:"),
        "the value of `OTHER` was changed after it was encrypted",
    );
    check_changed(
        |text| text.replace("off: ENC[AES256_GCM,data:", "off: ENC[AES256_GCM,data:AAAA"),
        "the value of `off` was changed after it was encrypted",
    );
    check_changed(|text| text.replace("sops:\n", "soap:\n"), "it is not a file that SOPS encrypted");
}

#[test]
fn a_file_for_somebody_else_says_so() {
    use age::secrecy::ExposeSecret as _;
    let other = age::x25519::Identity::generate();
    let provider = provider(other.to_string().expose_secret());
    let name = |text: &str| text.parse::<SecretName>().expect("a name");
    let error = provider.value(&files(SOPS), &name("API_TOKEN")).expect_err("not for this identity");
    let reason =
        "secrets/fleet.sops.yml: its data key cannot be decrypted: it is not encrypted to the controller's identity";
    assert_eq!(error, ProviderError::Unusable(reason.to_owned()));
    let error = provider.value(&files(SOPS), &name("PLAIN")).expect_err("not for this identity");
    let reason = "secrets/PLAIN.age: it is not encrypted to the controller's identity";
    assert_eq!(error, ProviderError::Unusable(reason.to_owned()));
}

#[test]
fn a_file_without_identities_is_refused_without_being_quoted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("identity.txt");
    for text in ["", "# nothing\n", "AGE-SECRET-KEY-1NONSENSE\n"] {
        std::fs::write(&path, text).expect("written");
        let error = Identities::read(&path).err().expect("no identity").to_string();
        assert!(error.ends_with("which are lines that begin with AGE-SECRET-KEY-1"), "{error}");
        assert!(!error.contains("NONSENSE"));
    }
}
