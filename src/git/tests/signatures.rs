//! Signatures made by `git` with real keys of `ssh-keygen` and `gpg`.

use super::program::git;
use super::*;
use crate::domain::time::Timestamp;
use crate::git::signature::Signers;
use crate::ports::repo::Signature;
use std::process::{Command, Stdio};

/// A clone in which people sign commits, and their keys.
struct Signing {
    folder: TempDir,
    now: Timestamp,
}

impl Signing {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q", "work"]);
        Self { folder, now: crate::clock::now() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program)
            .args(arguments)
            .env("GNUPGHOME", self.path("gnupg"))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("the tests need {program}: {error}"));
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn ssh_key(&self, name: &str, kind: &[&str]) -> String {
        let path = self.path(name);
        self.run("ssh-keygen", &[&["-q", "-N", "", "-C", name, "-f", &path], kind].concat());
        let public = std::fs::read_to_string(format!("{path}.pub")).unwrap();
        public.rsplit_once(' ').unwrap().0.to_owned()
    }

    /// Commits with this configuration of Git.
    fn commit(&self, config: &[&str]) -> String {
        let work = self.folder.path().join("work");
        std::fs::write(work.join("fleet.yml"), format!("{config:?}")).unwrap();
        git(&work, &["add", "-A"]);
        let gnupg = format!("gpg.program={}", self.path("gpg"));
        std::fs::write(self.path("gpg"), format!("#!/bin/sh\nGNUPGHOME={} exec gpg \"$@\"\n", self.path("gnupg")))
            .unwrap();
        self.run("chmod", &["+x", &self.path("gpg")]);
        let mut arguments = vec!["-c", &gnupg];
        for one in config {
            arguments.extend(["-c", one]);
        }
        arguments.extend(["commit", "-q", "--allow-empty", "-m", "a change"]);
        git(&work, &arguments);
        self.tip()
    }

    fn commit_ssh(&self, key: &str) -> String {
        let key = format!("user.signingKey={}", self.path(key));
        self.commit(&["commit.gpgSign=true", "gpg.format=ssh", &key])
    }

    fn tip(&self) -> String {
        let repo = Repository::open(self.folder.path().join("work")).unwrap();
        repo.head().unwrap().target().unwrap().to_string()
    }

    /// Writes a commit that differs from another in its bytes.
    fn altered(&self, commit: &str, change: impl Fn(&str) -> String) -> String {
        let repo = Repository::open(self.folder.path().join("work")).unwrap();
        let odb = repo.odb().unwrap();
        let bytes = odb.read(Oid::from_str(commit).unwrap()).unwrap().data().to_vec();
        let text = change(std::str::from_utf8(&bytes).unwrap());
        odb.write(git2::ObjectType::Commit, text.as_bytes()).unwrap().to_string()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).into()
    }

    fn judge(&self, commit: &str, signers: &Signers) -> String {
        let repo = Repository::open(self.folder.path().join("work")).unwrap();
        let judged = signers.judge(&repo, &ObjectId::new(commit).unwrap(), self.now, &Stop::default());
        match judged {
            Ok(Signature::By(name)) => format!("by {name}"),
            Ok(Signature::Refused { why, wanted }) => {
                let fingerprint = why.find("SHA256:").map(|at| why[at..at + 50].to_owned());
                let why = fingerprint.map_or(why.clone(), |fingerprint| why.replace(&fingerprint, "SHA256:…"));
                format!("{why}; wanted {wanted}")
            }
            Ok(Signature::NotAsked) => "not asked".to_owned(),
            Err(error) => {
                let mut source = std::error::Error::source(&error);
                let mut text = error.to_string();
                while let Some(one) = source {
                    text = one.to_string();
                    source = one.source();
                }
                text.replace(self.folder.path().to_str().unwrap(), "")
            }
        }
    }
}

fn ssh(path: PathBuf) -> Signers {
    Signers::of(Some(path), None).unwrap()
}

#[test]
fn a_commit_counts_that_an_allowed_ssh_key_signed() {
    let signing = Signing::new();
    for (name, kind) in [
        ("ed25519", ["-t", "ed25519"].as_slice()),
        ("ecdsa", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "3072"]),
    ] {
        let key = signing.ssh_key(name, kind);
        let commit = signing.commit_ssh(name);
        let signers = ssh(signing.file("allowed", &format!("# those who may\n{name}@fleet.example {key}\n")));
        assert_eq!(signing.judge(&commit, &signers), format!("by {name}@fleet.example"));
        let altered = signing.altered(&commit, |text| text.replace("a change", "b change"));
        assert_eq!(
            signing.judge(&altered, &signers),
            format!(
                "its SSH signature by SHA256:… does not fit it; was the commit altered?; wanted {name}@fleet.example"
            )
        );
    }
}

#[test]
fn a_commit_without_a_good_ssh_signature_is_refused_and_says_who_should_sign() {
    let signing = Signing::new();
    let (ada, ben) = (signing.ssh_key("ada", &["-t", "ed25519"]), signing.ssh_key("ben", &["-t", "ed25519"]));
    let (unsigned, by_ada) = (signing.commit(&[]), signing.commit_ssh("ada"));
    let check = |commit: &str, allowed: &str, expected: &str| {
        assert_eq!(signing.judge(commit, &ssh(signing.file("allowed", allowed))), expected, "{allowed}");
    };
    let both = format!("ada@fleet.example {ada}\nben@fleet.example {ben}\n");
    check(&unsigned, &both, "it is not signed; wanted ada@fleet.example, ben@fleet.example");
    check(&by_ada, &format!("ben {ben}"), "it is signed by SHA256:…, which is not an allowed signer; wanted ben");
    check(
        &by_ada,
        &format!("ada valid-before=\"20200101\" {ada}\nben {ben}"),
        "it is signed by ada, whose key is no longer valid; wanted ben",
    );
    check(
        &by_ada,
        &format!("ada valid-after=\"29990101\" {ada}\nben {ben}"),
        "it is signed by ada, whose key is not valid yet; wanted ben",
    );
    check(
        &by_ada,
        &format!("ada namespaces=\"file\" {ada}"),
        "it is signed by ada, whose key is not for commits; wanted nobody: no signer is valid now",
    );
    // A renewed key stands on a line of its own.
    check(&by_ada, &format!("ada valid-before=\"20200101\" {ada}\nada valid-after=\"20200101\" {ada}"), "by ada");
    check(
        &by_ada,
        &format!("ada cert-authority {ada}"),
        "/allowed:1: certificates are not supported: name the keys of the signers themselves",
    );
    check(
        &by_ada,
        &format!("ben {ben}\nada valid-before=\"soon\" {ada}"),
        "/allowed:2: a time is written YYYYMMDD or YYYYMMDDHHMM[SS], with a Z for UTC",
    );
    let missing = ssh(signing.path("nobody").into());
    let judged = signing.judge(&by_ada, &missing);
    assert!(judged.contains("No such file"), "{judged}");
}

#[test]
fn a_signature_of_a_file_is_none_of_a_commit() {
    let signing = Signing::new();
    let ada = signing.ssh_key("ada", &["-t", "ed25519"]);
    let unsigned = signing.commit(&[]);
    let repo = Repository::open(signing.folder.path().join("work")).unwrap();
    let content = repo.odb().unwrap().read(Oid::from_str(&unsigned).unwrap()).unwrap().data().to_vec();
    std::fs::write(signing.path("content"), content).unwrap();
    signing
        .run("ssh-keygen", &["-Y", "sign", "-q", "-n", "file", "-f", &signing.path("ada"), &signing.path("content")]);
    let signature = std::fs::read_to_string(signing.path("content.sig")).unwrap();
    let header = format!("gpgsig {}\n", signature.trim_end().replace('\n', "\n "));
    let forged = signing.altered(&unsigned, |text| text.replacen("\n\n", &format!("\n{header}\n"), 1));
    let signers = ssh(signing.file("allowed", &format!("ada {ada}\n")));
    assert_eq!(
        signing.judge(&forged, &signers),
        "its SSH signature is for the namespace `file`, not for `git`; wanted ada"
    );
    let rubbish =
        signing.altered(&unsigned, |text| text.replacen("\n\n", "\ngpgsig -----BEGIN SSH SIGNATURE-----\n\n", 1));
    assert_eq!(signing.judge(&rubbish, &signers), "its SSH signature cannot be read, or uses SHA-1; wanted ada");
    let other = signing.altered(&unsigned, |text| text.replacen("\n\n", "\ngpgsig something\n\n", 1));
    assert_eq!(signing.judge(&other, &signers), "its signature is neither of SSH nor of OpenPGP; wanted ada");
}

#[test]
fn a_commit_counts_that_an_openpgp_key_of_the_keyring_signed() {
    let mut signing = Signing::new();
    std::fs::create_dir(signing.path("gnupg")).unwrap();
    signing.run("chmod", &["700", &signing.path("gnupg")]);
    for (who, expires) in [("ada", "1y"), ("ben", "never")] {
        let name = format!("{who} <{who}@fleet.example>");
        signing.run("gpg", &["--batch", "--passphrase", "", "--quick-gen-key", &name, "ed25519", "sign", expires]);
        signing.run("gpg", &["--batch", "--armor", "--output", &signing.path(who), "--export", who]);
    }
    let by = |who: &str| signing.commit(&["commit.gpgSign=true", &format!("user.signingKey={who}@fleet.example")]);
    let (by_ada, by_ben, unsigned) = (by("ada"), by("ben"), signing.commit(&[]));
    // Keys that were made this second are not yet valid at its beginning.
    signing.now = crate::clock::now().plus_secs(5);
    let ada = Signers::of(None, Some(signing.path("ada").into())).unwrap();
    let who = "ada <ada@fleet.example>";
    assert_eq!(signing.judge(&by_ada, &ada), format!("by {who}"));
    assert_eq!(signing.judge(&unsigned, &ada), format!("it is not signed; wanted {who}"));
    let stranger = signing.judge(&by_ben, &ada);
    assert!(stranger.starts_with("it is signed with the OpenPGP key "), "{stranger}");
    assert!(
        stranger.ends_with(&format!(", which is not an allowed signer or cannot be used; wanted {who}")),
        "{stranger}"
    );
    let altered = signing.altered(&by_ada, |text| text.replace("a change", "b change"));
    assert_eq!(
        signing.judge(&altered, &ada),
        format!("its OpenPGP signature by {who} does not fit it; was the commit altered?; wanted {who}")
    );
    let nothing = Signers::of(None, Some(signing.file("nothing", "no keys\n"))).unwrap();
    assert_eq!(signing.judge(&by_ada, &nothing), "/nothing holds no OpenPGP public key");
    let ssh_only = ssh(signing.file("allowed", ""));
    assert_eq!(
        signing.judge(&by_ada, &ssh_only),
        "it is signed with an OpenPGP key, and only SSH keys are accepted; wanted nobody: no signer is valid now"
    );
    // Two years later her key is no longer valid.
    signing.now = signing.now.plus_secs(2 * 365 * 86_400);
    assert_eq!(
        signing.judge(&by_ada, &ada),
        format!("it is signed by {who}, whose key is no longer valid; wanted {who}")
    );
    signing.run("gpgconf", &["--kill", "all"]);
}
