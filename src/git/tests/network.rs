//! Fetching over https and ssh, from real servers: that it does what every fleet repo must do, and what becomes of it when
//! something is wrong on the way. Whatever goes wrong, the token is never seen.

use super::program::git;
use super::servers::{Behaviour, GitHttp, GitSsh};
use super::*;
use crate::git::secret::{Secret, SecretSource};
use std::time::Duration;

/// Planted as the token, and looked for in everything that is told.
const CANARY: &str = "bw-canary-7f3a91";

fn secret() -> SecretSource {
    SecretSource::Text(Secret::new(CANARY, "a test").unwrap())
}

/// A remote behind a network, and its mirrors.
struct Behind<S> {
    disk: OnDisk,
    server: S,
    access: Access,
    url: String,
}

impl Behind<GitHttp> {
    fn https() -> Self {
        let disk = OnDisk::new();
        let server = GitHttp::with_tls(disk.folder.path());
        let ca_file = disk.folder.path().join("ca.pem");
        std::fs::write(&ca_file, &server.ca_pem).unwrap();
        let url = server.url("fleet.git");
        let access = Access { ca_file: Some(ca_file), token: Some(secret()), ..Access::default() };
        Self { disk, server, access, url }
    }
}

impl Behind<GitSsh> {
    fn ssh() -> Self {
        let disk = OnDisk::new();
        let folder = disk.folder.path().join("ssh server");
        std::fs::create_dir(&folder).unwrap();
        let server = GitSsh::start(&folder);
        let url = server.url(&disk.path());
        let access = Access {
            ssh_key: Some(server.file("user_key")),
            known_hosts: Some(server.file("known_hosts")),
            ..Access::default()
        };
        Self { disk, server, access, url }
    }
}

impl<S> Behind<S> {
    fn open(&self, name: &str, access: Access) -> GitMirror {
        let url = RemoteUrl::parse(&self.url).unwrap();
        GitMirror::open(&self.disk.folder.path().join(name), url).unwrap().with_access(access)
    }

    /// Why a new mirror cannot fetch with this access. Never holds the canary, and nothing is left behind.
    fn refusal(&self, name: &str, access: Access) -> String {
        assert!(!format!("{access:?}").contains(CANARY));
        let mut mirror = self.open(name, access);
        let Fetch::Unavailable { reason } = mirror.fetch(&main()) else { panic!("{name}: it must not be fetched") };
        let left = tree_of(&self.disk.folder.path().join(name));
        assert!(!left.contains(CANARY), "{left}");
        assert!(!reason.contains(CANARY), "{reason}");
        reason.replace(&self.url, "URL")
    }
}

/// Everything in a folder: names and contents.
fn tree_of(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        text.push_str(&entry.path().display().to_string());
        text.push('\n');
        match entry.file_type().unwrap().is_dir() {
            true => text.push_str(&tree_of(&entry.path())),
            false => text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap())),
        }
    }
    text
}

impl<S> Harness for Behind<S> {
    type Repo = GitMirror;

    fn repo(&mut self) -> GitMirror {
        self.disk.mirrors += 1;
        self.open(&format!("mirror-{}", self.disk.mirrors), self.access.clone())
    }
    fn commit(&mut self, parents: &[&CommitId], files: Files<'_>) -> CommitId {
        self.disk.commit(parents, files)
    }
    fn point(&mut self, branch: &str, commit: &CommitId) {
        self.disk.point(branch, commit);
    }
    fn delete(&mut self, branch: &str) {
        self.disk.delete(branch);
    }
    fn go_away(&mut self) {
        self.disk.go_away();
    }
    fn come_back(&mut self) {
        self.disk.come_back();
    }
}

mod over_https {
    use super::*;
    contract::tests!(Behind::https());
}

mod over_ssh {
    use super::*;
    contract::tests!(Behind::ssh());
}

/// A remote with one commit on `main`.
fn with_a_commit<S>(mut behind: Behind<S>) -> (Behind<S>, CommitId) {
    let a = behind.commit(&[], &[("fleet.yml", "a")]);
    behind.point("main", &a);
    (behind, a)
}

#[test]
fn the_token_goes_to_the_server_and_nowhere_else() {
    let (behind, a) = with_a_commit(Behind::https());
    // x-access-token:bw-canary-7f3a91
    let header = "Basic eC1hY2Nlc3MtdG9rZW46YnctY2FuYXJ5LTdmM2E5MQ==";
    behind.server.behave(Behaviour::Wants(header.to_owned()));
    let mut mirror = behind.open("mirror", behind.access.clone());
    assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == a));
    assert!(behind.server.authorizations().iter().all(|sent| sent == header));
    assert!(!tree_of(&behind.disk.folder.path().join("mirror")).contains(CANARY));

    let wrong = Secret::new("bw-canary-wrong", "a test").unwrap();
    for (name, token) in [("wrong", Some(SecretSource::Text(wrong))), ("none", None)] {
        let reason = behind.refusal(name, Access { token, ..behind.access.clone() });
        assert!(reason.contains("(hint: the remote wants other credentials"), "{reason}");
        assert!(!reason.contains("bw-canary-wrong"), "{reason}");
    }
    let gone = Access { token: Some(SecretSource::File("/no/such/token".into())), ..behind.access.clone() };
    assert!(behind.refusal("gone", gone).starts_with("the token's file /no/such/token could not be read"));
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_before_the_token_is_sent() {
    let (behind, _) = with_a_commit(Behind::https());
    let reason = behind.refusal("mirror", Access { ca_file: None, ..behind.access.clone() });
    assert!(reason.starts_with("URL could not be asked: git: "), "{reason}");
    assert!(reason.contains("(hint: the remote's certificate is not trusted"), "{reason}");
    assert_eq!(behind.server.authorizations(), [] as [&str; 0]);
}

#[test]
fn a_redirect_is_not_followed_and_the_token_does_not_go_along() {
    let (behind, _) = with_a_commit(Behind::https());
    let elsewhere = GitHttp::plain(behind.disk.folder.path());
    let location = format!("{}/info/refs?service=git-upload-pack", elsewhere.url("fleet.git"));
    behind.server.behave(Behaviour::Redirects(location));
    let reason = behind.refusal("mirror", behind.access.clone());
    assert!(reason.contains("hint: redirects are not followed"), "{reason}");
    assert_eq!(elsewhere.authorizations(), [] as [&str; 0]);
}

#[test]
fn servers_that_answer_something_else_are_unavailable() {
    let (behind, a) = with_a_commit(Behind::https());
    let mut mirror = behind.open("mirror", behind.access.clone());
    assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(_)));
    for (behaviour, words) in [
        (Behaviour::ShowsPage, "no Git server but a login or maintenance page"),
        (Behaviour::Answers(404), "is the address right"),
        (Behaviour::Answers(403), "the remote wants other credentials"),
        (Behaviour::Answers(500), "error: 500"),
    ] {
        behind.server.behave(behaviour.clone());
        let reason = behind.refusal("other", behind.access.clone());
        assert!(reason.contains(words), "{behaviour:?}: {reason}");
        assert!(matches!(mirror.fetch(&main()), Fetch::Unavailable { .. }), "{behaviour:?}");
        assert_eq!(show(&mirror.snapshot(&a).unwrap()), "fleet.yml: \"a\"");
    }
    behind.server.behave(Behaviour::Serves);
    assert_eq!(mirror.fetch(&main()), Fetch::NotModified);
}

#[test]
fn a_server_that_breaks_off_or_sends_rubbish_changes_nothing() {
    for behaviour in [Behaviour::GoesAway, Behaviour::SendsRubbish] {
        let (mut behind, a) = with_a_commit(Behind::https());
        let mut mirror = behind.open("mirror", behind.access.clone());
        assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(_)));
        let long = "x".repeat(100_000);
        let b = behind.commit(&[&a], &[("fleet.yml", "b"), ("inventory.yml", &long)]);
        behind.point("main", &b);
        behind.server.behave(behaviour.clone());
        let Fetch::Unavailable { reason } = mirror.fetch(&main()) else { panic!("{behaviour:?}") };
        assert!(reason.contains("could not be fetched from: git: "), "{reason}");
        assert!(!reason.contains(CANARY));
        assert!(matches!(mirror.head(&b), Err(RepoError::NoCommit(_))));
        behind.server.behave(Behaviour::Serves);
        assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == b));
        git(&behind.disk.folder.path().join("mirror"), &["fsck", "--full", "--strict"]);
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let (behind, _) = with_a_commit(Behind::https());
    behind.server.behave(Behaviour::Hangs);
    let timeout = Duration::from_millis(500);
    let reason = behind.refusal("mirror", Access { timeout, ..behind.access.clone() });
    assert!(reason.starts_with("URL could not be asked: git did not come to an end within 0 s"), "{reason}");
    assert!(reason.contains("git: {timeout_secs: …}"), "{reason}");
}

#[test]
fn only_the_host_with_the_known_key_is_believed() {
    let (behind, a) = with_a_commit(Behind::ssh());
    for (name, file) in [("wrong", "wrong_known_hosts"), ("empty", "empty_known_hosts"), ("missing", "no such file")] {
        let known_hosts = Some(behind.server.file(file));
        let reason = behind.refusal(name, Access { known_hosts, ..behind.access.clone() });
        assert!(reason.contains("hint: the host's key is not the one in"), "{name}: {reason}");
    }
    for (name, key) in [("other", "other_key"), ("no-key", "no such file")] {
        let ssh_key = Some(behind.server.file(key));
        let reason = behind.refusal(name, Access { ssh_key, ..behind.access.clone() });
        assert!(reason.contains("hint: the host does not take the key"), "{name}: {reason}");
    }
    let mut mirror = behind.open("mirror", behind.access.clone());
    assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == a));
}

#[test]
fn a_key_that_others_can_read_is_named_as_the_problem() {
    use std::os::unix::fs::PermissionsExt as _;
    let (behind, _) = with_a_commit(Behind::ssh());
    let key = behind.server.file("user_key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let reason = behind.refusal("mirror", behind.access.clone());
    assert!(reason.contains("hint: let only the controller's user read the key"), "{reason}");
}

#[test]
fn what_a_killed_fetch_left_behind_blocks_nothing() {
    let (mut behind, a) = with_a_commit(Behind::https());
    behind.open("mirror", behind.access.clone()).fetch(&main());
    let folder = behind.disk.folder.path().join("mirror");
    let litter = [
        "packed-refs.lock",
        "config.lock",
        "HEAD.lock",
        "shallow.lock",
        "refs/bellwether/heads/main.lock",
        "refs/bellwether/incoming/main.lock",
        "objects/pack/tmp_pack_abcdef",
        "objects/pack/pack-0000.keep",
    ];
    let scatter = || {
        std::fs::create_dir_all(folder.join("refs/bellwether/incoming")).unwrap();
        for path in litter {
            std::fs::write(folder.join(path), "left").unwrap();
        }
    };
    scatter();
    let b = behind.commit(&[&a], &[("fleet.yml", "b")]);
    behind.point("main", &b);
    let mut mirror = behind.open("mirror", behind.access.clone());
    assert!(litter.iter().all(|path| !folder.join(path).exists()));
    // And the same while the controller goes on, after a fetch that was given up.
    scatter();
    assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == b));
}

#[test]
fn a_mirror_that_lost_its_objects_is_made_anew_over_a_network_too() {
    let (mut behind, a) = with_a_commit(Behind::https());
    behind.open("mirror", behind.access.clone()).fetch(&main());
    let packs = behind.disk.folder.path().join("mirror/objects/pack");
    for entry in std::fs::read_dir(packs).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let b = behind.commit(&[&a], &[("fleet.yml", "b")]);
    behind.point("main", &b);
    let mut mirror = behind.open("mirror", behind.access.clone());
    let first = mirror.fetch(&main());
    let fetched = if matches!(first, Fetch::Unavailable { .. }) { mirror.fetch(&main()) } else { first };
    assert!(matches!(fetched, Fetch::Fetched(heads) if heads["main"].commit == b));
    assert_eq!(show(&mirror.snapshot(&b).unwrap()), "fleet.yml: \"b\"");
}

#[test]
fn a_hundred_thousand_files_come_over_a_network_and_one_change_alone() {
    const FILES: usize = 100_000;
    let behind = Behind::https();
    let path = behind.disk.path();
    let author = "committer anna <anna@example.org> 1700000000 +0000\ndata 1\nx\n";
    let mut all = format!("commit refs/heads/main\n{author}");
    // In folders of a thousand: fast-import looks through a whole folder for each file.
    for file in 0..FILES {
        let text = format!("branch: main\nvariables: {{ID: \"{file}\"}}\n");
        all.push_str(&format!(
            "M 644 inline host_vars/kiosk-{:03}/{:03}.yml\ndata {}\n{text}\n",
            file / 1000,
            file % 1000,
            text.len()
        ));
    }
    fast_import(&path, &all);
    let mut mirror = behind.open("mirror", behind.access.clone());
    let Fetch::Fetched(heads) = mirror.fetch(&main()) else { panic!("it can be fetched") };
    let before = mirror.snapshot(&heads["main"].commit).unwrap();
    assert_eq!(before.entries.len(), FILES);

    let from = heads["main"].commit.clone();
    let one = "M 644 inline host_vars/kiosk-000/007.yml\ndata 13\nbranch: main\n\n";
    fast_import(&path, &format!("commit refs/heads/main\n{author}from {from}\n{one}"));
    let Fetch::Fetched(heads) = mirror.fetch(&main()) else { panic!("one file has changed") };
    let after = mirror.snapshot(&heads["main"].commit).unwrap();
    let changed: Vec<&str> = after
        .entries
        .iter()
        .filter(|(path, entry)| before.entries.get(&***path) != Some(entry))
        .map(|(path, _)| &**path)
        .collect();
    assert_eq!(changed, ["host_vars/kiosk-000/007.yml"]);
    // The second fetch brought the commit, two folders and the file, and not the fleet again.
    let mut sizes: Vec<u64> = std::fs::read_dir(behind.disk.folder.path().join("mirror/objects/pack"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    sizes.sort_unstable();
    assert!(sizes.len() == 2 && sizes[0] * 2 < sizes[1], "{sizes:?}");
}

fn fast_import(repo: &Path, stream: &str) {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut git = Command::new("git")
        .args(["fast-import", "--quiet", "--force"])
        .current_dir(repo)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .spawn()
        .expect("the tests need git");
    git.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success());
}
