//! Repositories made by the `git` program: packed references, packed objects, annotated tags, clones.

use super::*;
use std::process::Command;

pub(super) fn git(folder: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=anna", "-c", "user.email=anna@example.org", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("the tests need git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn work(folder: &Path, file: &str, text: &str) {
    std::fs::write(folder.join(file), text).unwrap();
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-qm", file]);
}

#[test]
fn pushes_are_seen_also_after_the_remote_was_packed() {
    let folder = tempfile::tempdir().unwrap();
    let (remote, clone) = (folder.path().join("fleet.git"), folder.path().join("clone"));
    git(folder.path(), &["init", "-q", "--bare", "fleet.git"]);
    git(folder.path(), &["clone", "-q", "fleet.git", "clone"]);
    work(&clone, "fleet.yml", "one");
    git(&clone, &["tag", "-a", "v1", "-m", "a tag"]);
    git(&clone, &["push", "-q", "origin", "HEAD:main", "HEAD:canary", "v1"]);
    git(&remote, &["gc", "-q"]);

    let url = RemoteUrl::parse(&format!("file://{}", remote.display())).unwrap();
    let mut mirror = GitMirror::open(&folder.path().join("mirror"), url).unwrap();
    let stages: Vec<StageName> = vec!["main".parse().unwrap(), "canary".parse().unwrap()];
    let Fetch::Fetched(heads) = mirror.fetch(&stages) else { panic!("the first answer tells everything") };
    assert_eq!(heads["main"], heads["canary"]);
    assert_eq!(mirror.fetch(&stages), Fetch::NotModified);

    work(&clone, "inventory.yml", "two");
    git(&clone, &["push", "-q", "origin", "HEAD:main"]);
    git(&remote, &["pack-refs", "--all"]);
    let Fetch::Fetched(later) = mirror.fetch(&stages) else { panic!("main has moved") };
    assert_eq!(later["canary"], heads["canary"]);
    assert_eq!(show(&mirror.snapshot(&later["main"].commit).unwrap()), "fleet.yml: \"one\"\ninventory.yml: \"two\"");

    git(&clone, &["commit", "-q", "--amend", "-m", "rewritten"]);
    git(&clone, &["push", "-qf", "origin", "HEAD:main"]);
    let Fetch::Fetched(rewritten) = mirror.fetch(&stages) else { panic!("main was rewritten") };
    assert!(!mirror.contains(&rewritten["main"].commit, &later["main"].commit).unwrap());
    assert_eq!(rewritten["main"].tree, later["main"].tree);
}

#[test]
fn a_mirror_stays_sound_for_git() {
    let mut disk = OnDisk::new();
    let a = disk.commit(&[], &[("fleet.yml", "a")]);
    let b = disk.commit(&[&a], &[("fleet.yml", "b")]);
    let other = disk.commit(&[], &[("secret.yml", "another branch's")]);
    disk.point("main", &a);
    disk.point("feature", &other);
    let mut mirror = disk.mirror("mirror");
    mirror.fetch(&main());
    disk.point("main", &b);
    mirror.fetch(&main());
    let folder = disk.folder.path().join("mirror");
    git(&folder, &["fsck", "--full", "--strict"]);
    assert!(matches!(mirror.head(&other), Err(RepoError::NoCommit(_))), "branches that are no stages are not copied");
}

#[test]
fn a_clone_answers_with_what_it_fetched_last() {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q", "fleet"]);
    work(&folder.path().join("fleet"), "fleet.yml", "one");
    git(&folder.path().join("fleet"), &["branch", "canary"]);
    git(folder.path(), &["clone", "-q", "fleet", "clone"]);
    let path = folder.path().join("clone/host_vars");
    std::fs::create_dir(&path).unwrap();
    let mut clone = open_clone(&path).unwrap();
    assert_eq!(clone.current_branch(), Some("main".parse().unwrap()));
    assert!(clone.work_tree().unwrap().ends_with("clone"));
    let Fetch::Fetched(heads) = clone.fetch(&["main".parse().unwrap(), "canary".parse().unwrap()]) else {
        panic!("the first answer tells everything")
    };
    assert_eq!(heads["main"].commit, heads["canary"].commit);
    assert!(open_clone(Path::new("/")).is_err());
}
