//! However a snapshot is reached, it is the same.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One entry of a made-up commit, in folders that are sometimes files and sometimes relevant.
#[derive(Clone, Debug)]
enum Made {
    File(u8),
    Executable(u8),
    Symlink,
    Submodule,
}

fn paths() -> impl Strategy<Value = String> {
    let part = || prop::sample::select(vec!["a", "a.yml", "b", "é", "a-", "a0"]);
    let root = prop::sample::select(vec!["host_vars", "group_vars", "releases", "docs", "os"]);
    prop_oneof![
        Just("fleet.yml".to_owned()),
        Just("inventory.yml".to_owned()),
        Just("host_vars".to_owned()),
        Just("README.md".to_owned()),
        (root, prop::collection::vec(part(), 1..4)).prop_map(|(root, parts)| format!("{root}/{}", parts.join("/"))),
    ]
}

fn commits() -> impl Strategy<Value = Vec<BTreeMap<String, Made>>> {
    let made = prop_oneof![
        6 => (0..4u8).prop_map(Made::File),
        1 => (0..4u8).prop_map(Made::Executable),
        1 => Just(Made::Symlink),
        1 => Just(Made::Submodule),
    ];
    prop::collection::vec(prop::collection::btree_map(paths(), made, 0..12), 1..7)
}

/// The tree of a made-up commit; where a path is both a file and a folder, the folder wins.
fn tree_of(disk: &OnDisk, files: &BTreeMap<String, Made>) -> Oid {
    let mut index = git2::Index::new().unwrap();
    for (path, made) in files {
        if files.keys().any(|other| other.starts_with(&format!("{path}/"))) {
            continue;
        }
        let (mode, id) = match made {
            Made::File(content) => (FileMode::Blob, disk.blob(&[*content])),
            Made::Executable(content) => (FileMode::BlobExecutable, disk.blob(&[*content])),
            Made::Symlink => (FileMode::Link, disk.blob(b"/etc/passwd")),
            Made::Submodule => (FileMode::Commit, disk.blob(b"any id")),
        };
        index.add(&index_entry(path, id, mode)).unwrap();
    }
    index.write_tree_to(&disk.remote).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_does_not_depend_on_what_was_read_before(history in commits()) {
        let disk = OnDisk::new();
        let mut warm = objects::Snapshots::default();
        for files in &history {
            let tree = tree_of(&disk, files);
            let (cold, _) = objects::Snapshots::default().read(&disk.remote, tree).unwrap();
            let (read, soundness) = warm.read(&disk.remote, tree).unwrap();
            prop_assert_eq!(&read, &cold);
            prop_assert_eq!(soundness, objects::Soundness::Sound);
            let relevant = |path: &str| Snapshot::is_relevant(path) || Snapshot::is_relevant(&format!("{path}/"));
            prop_assert!(cold.entries.keys().all(|path| relevant(path)));
        }
    }
}

const FILES: Files<'static> = &[
    ("fleet.yml", "f"),
    ("README.md", "not looked at"),
    ("group_vars/all.yml", "g"),
    ("host_vars/kiosk-1/net.yml", "h"),
];

#[test]
fn a_work_tree_reads_as_its_commit_does() {
    let mut disk = OnDisk::new();
    let tree = disk.tree(FILES);
    let (mut mirror, commit) = disk.mirror_of(tree);
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in FILES {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let snapshot = read_worktree(folder.path()).unwrap();
    assert_eq!(snapshot, mirror.snapshot(&commit).unwrap());
    insta::assert_snapshot!(show(&snapshot), @r#"
    fleet.yml: "f"
    group_vars/all.yml: "g"
    host_vars/kiosk-1/net.yml: "h"
    "#);
}

#[test]
fn a_clone_reads_as_the_mirror_does() {
    let mut disk = OnDisk::new();
    let tree = disk.tree(FILES);
    let (mut mirror, commit) = disk.mirror_of(tree);
    let later = disk.commit(&[&commit], &[("fleet.yml", "f2"), ("README.md", "new")]);
    disk.point("main", &later);
    let mut clone = open_clone(&disk.path()).unwrap();
    assert_eq!(clone.snapshot(&commit).unwrap(), mirror.snapshot(&commit).unwrap());
    assert_eq!(clone.resolve_rev("main~1").unwrap(), commit);
    assert_eq!(clone.resolve_rev("main").unwrap(), later);
    assert_eq!(clone.resolve_rev(later.as_str()).unwrap(), later);
    assert_eq!(
        clone.resolve_rev("maim").unwrap_err().to_string(),
        "\"maim\" names no commit: revspec 'maim' not found"
    );
    let changed: Vec<String> = clone.changed_paths(&commit, &later).unwrap().into_iter().collect();
    assert_eq!(changed, ["README.md", "fleet.yml", "group_vars/all.yml", "host_vars/kiosk-1/net.yml"]);
    assert_eq!(clone.merge_base(&commit, &later).unwrap(), Some(commit.clone()));
    let Fetch::Fetched(heads) = clone.fetch(&main()) else { panic!("the first answer tells everything") };
    assert_eq!(heads["main"].commit, later);
    assert_eq!(clone.fetch(&main()), Fetch::NotModified);
}

#[test]
fn equal_contents_are_held_once() {
    let mut disk = OnDisk::new();
    let tree = disk.tree(&[("fleet.yml", "same"), ("inventory.yml", "same")]);
    let (mut mirror, commit) = disk.mirror_of(tree);
    let snapshot = mirror.snapshot(&commit).unwrap();
    let contents: Vec<_> = snapshot
        .entries
        .values()
        .map(|entry| match entry {
            Entry::File { bytes, .. } => bytes.as_ptr(),
            Entry::Refused(refused) => panic!("{refused:?}"),
        })
        .collect();
    assert_eq!(contents[0], contents[1]);
}
