//! What a fetch from a remote on this machine leaves in the mirror.

use super::program::git;
use super::*;

/// A fetch and what it left: how many packs, and how many objects outside of them.
fn fetched(mirror: &mut GitMirror, folder: &Path, tip: &CommitId) -> (usize, usize) {
    assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == *tip));
    (upkeep::packs(folder), upkeep::loose(folder))
}

/// So many files, each with this text.
fn files(count: usize, text: &str) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("host_vars/host-{number:03}.yml"), format!("{number} {text}"))).collect()
}

fn commit(disk: &mut OnDisk, parents: &[&CommitId], files: &[(String, String)]) -> CommitId {
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let commit = disk.commit(parents, &files);
    disk.point("main", &commit);
    commit
}

#[test]
fn a_commit_brings_what_it_changed_and_nothing_else() {
    let mut disk = OnDisk::new();
    let mut content = files(150, "first");
    content.push(("fleet.yml".to_owned(), "name: acme".to_owned()));
    let first = commit(&mut disk, &[], &content);
    let mut mirror = disk.repo();
    let folder = disk.folder.path().join("mirror-1");
    assert_eq!(fetched(&mut mirror, &folder, &first), (1, 0));
    content[7].1 = "another".to_owned();
    let second = commit(&mut disk, &[&first], &content);
    assert_eq!(fetched(&mut mirror, &folder, &second), (1, 4), "the file, its folder, the root and the commit");
    assert!(show(&mirror.snapshot(&second).unwrap()).contains("host-007.yml: \"another\""));
    // What the remote keeps in packs, and what another parent brings.
    let side = commit(&mut disk, &[&first], &files(151, "first"));
    let merged = commit(&mut disk, &[&second, &side], &content);
    git(&disk.path(), &["repack", "-a", "-d", "-q"]);
    assert_eq!(fetched(&mut mirror, &folder, &merged), (1, 9));
    let many = commit(&mut disk, &[&merged], &files(150, "changed"));
    assert_eq!(fetched(&mut mirror, &folder, &many), (2, 9), "many objects become a pack");
    git(&folder, &["fsck", "--full"]);
    let mut anew = disk.repo();
    anew.fetch(&main());
    for tip in [&merged, &many] {
        assert_eq!(show(&mirror.snapshot(tip).unwrap()), show(&anew.snapshot(tip).unwrap()));
    }
}

#[test]
fn many_small_packs_become_few_and_lose_nothing() {
    let mut disk = OnDisk::new();
    let rewritten = commit(&mut disk, &[], &[("fleet.yml".to_owned(), "rewritten".to_owned())]);
    let mut mirror = disk.repo();
    let folder = disk.folder.path().join("mirror-1");
    fetched(&mut mirror, &folder, &rewritten);
    for number in 1..=upkeep::MAX_PACKS {
        // A history of its own is packed.
        let tip = commit(&mut disk, &[], &files(101, &number.to_string()));
        fetched(&mut mirror, &folder, &tip);
    }
    few_and_nothing_lost(&mut disk, &mut mirror, &folder, &rewritten);
}

#[test]
fn many_loose_objects_become_few_and_lose_nothing() {
    let mut disk = OnDisk::new();
    let rewritten = commit(&mut disk, &[], &[("fleet.yml".to_owned(), "rewritten".to_owned())]);
    let mut mirror = disk.repo();
    let folder = disk.folder.path().join("mirror-1");
    fetched(&mut mirror, &folder, &rewritten);
    let mut tip = commit(&mut disk, &[], &files(1, "first"));
    fetched(&mut mirror, &folder, &tip);
    for number in 1..=upkeep::MAX_LOOSE / 50 {
        tip = commit(&mut disk, &[&tip], &files(60, &number.to_string()));
        fetched(&mut mirror, &folder, &tip);
    }
    few_and_nothing_lost(&mut disk, &mut mirror, &folder, &rewritten);
}

fn few_and_nothing_lost(disk: &mut OnDisk, mirror: &mut GitMirror, folder: &Path, rewritten: &CommitId) {
    let (packs, loose) = (upkeep::packs(folder), upkeep::loose(folder));
    assert!(packs < 10 && loose < 100, "{packs} packs, {loose} loose objects");
    assert_eq!(show(&mirror.snapshot(rewritten).unwrap()), "fleet.yml: \"rewritten\"");
    let tip = commit(disk, &[], &files(1, "last"));
    fetched(mirror, folder, &tip);
    assert!(mirror.head(rewritten).is_ok(), "what no branch leads to stays");
    git(folder, &["fsck", "--full"]);
}
