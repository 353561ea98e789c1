//! Things in a commit or a folder that are not read.

use super::*;
use crate::domain::snapshot::MAX_FILE_BYTES;
use std::os::unix::ffi::OsStrExt as _;

fn check_commit(build: impl FnOnce(&OnDisk) -> Oid) -> String {
    let mut disk = OnDisk::new();
    let tree = build(&disk);
    let (mut mirror, commit) = disk.mirror_of(tree);
    match mirror.snapshot(&commit) {
        Ok(snapshot) => show(&snapshot),
        Err(error) => format!("{error}: {}", std::error::Error::source(&error).unwrap()),
    }
}

#[test]
fn links_and_submodules_are_refused_wherever_they_matter() {
    let shown = check_commit(|disk| {
        let target = disk.blob(b"/etc/shadow");
        let vars = disk.raw_tree(&[("120000", b"all.yml", target), ("100644", b"web.yml", disk.blob(b"fine"))]);
        disk.raw_tree(&[
            ("120000", b"README.md", target),
            ("120000", b"fleet.yml", target),
            ("40000", b"group_vars", vars),
            ("120000", b"host_vars", target),
            ("100644", b"inventory.yml", disk.blob(b"fine")),
            ("160000", b"releases", disk.blob(b"any id")),
            ("160000", b"vendor", disk.blob(b"any id")),
        ])
    });
    insta::assert_snapshot!(shown, @r#"
    fleet.yml: Symlink
    group_vars/all.yml: Symlink
    group_vars/web.yml: "fine"
    host_vars: Symlink
    inventory.yml: "fine"
    releases: Submodule
    "#);
}

#[test]
fn bad_names_are_refused_and_shown_without_control_characters() {
    let shown = check_commit(|disk| {
        let id = disk.blob(b"x");
        let inner = disk.raw_tree(&[("100644", b"x", id)]);
        let vars = disk.raw_tree(&[
            ("40000", b"..", inner),
            ("40000", b".GIT", inner),
            ("100644", b"a\\b", id),
            ("100644", "café.yml".as_bytes(), id),
            ("100644", b"caf\xe9.yml", id),
            ("100644", b"clear\x1b[2J", id),
        ]);
        disk.raw_tree(&[("40000", b"host_vars", vars)])
    });
    insta::assert_snapshot!(shown, @r#"
    host_vars/..: BadPath
    host_vars/.GIT: BadPath
    host_vars/a\\b: BadPath
    host_vars/caf\xe9.yml: BadPath
    host_vars/café.yml: "x"
    host_vars/clear\x1b[2J: BadPath
    "#);
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let shown = check_commit(|disk| {
        let long = disk.blob(&vec![b'#'; MAX_FILE_BYTES as usize + 1]);
        let longest = disk.blob(&vec![b'#'; MAX_FILE_BYTES as usize]);
        let vars = disk.raw_tree(&[("100644", b"a.yml", long), ("100644", b"b.yml", longest)]);
        disk.raw_tree(&[("40000", b"host_vars", vars)])
    });
    insta::assert_snapshot!(shown, @r"
    host_vars/a.yml: TooLong { size: 33554433 }
    host_vars/b.yml: 33554432 bytes
    ");
}

#[test]
fn folders_are_followed_only_so_deep() {
    let shown = check_commit(|disk| {
        let mut tree = disk.raw_tree(&[("100644", b"x", disk.blob(b"deepest"))]);
        for _ in 0..40 {
            tree = disk.raw_tree(&[("40000", b"d", tree), ("100644", b"x", disk.blob(b"x"))]);
        }
        disk.raw_tree(&[("40000", b"os", tree)])
    });
    let last = shown.lines().next().unwrap();
    assert_eq!(shown.lines().filter(|line| line.ends_with("\"x\"")).count(), MAX_DEPTH - 1);
    assert_eq!(last, format!("os{}: TooDeep", "/d".repeat(MAX_DEPTH - 1)));
}

/// Reads a tree within 1,000 files and folders and 10,000 bytes.
fn check_limits(build: impl FnOnce(&OnDisk) -> Oid) -> String {
    let disk = OnDisk::new();
    let tree = build(&disk);
    let limits = objects::Limits { files: 1000, bytes: 10_000 };
    match objects::Snapshots::with_limits(limits).read(&disk.remote, tree) {
        Ok((snapshot, _)) => format!("{} entries", snapshot.entries.len()),
        Err(error) => error.to_string(),
    }
}

/// A tree with the same entry under many names.
fn often(disk: &OnDisk, mode: &str, id: Oid, count: usize) -> Oid {
    let names: Vec<String> = (0..count).map(|number| format!("{number:04}")).collect();
    disk.raw_tree(&names.iter().map(|name| (mode, name.as_bytes(), id)).collect::<Vec<_>>())
}

/// Folders of 20 names each that all lead to one tree, so many levels deep: 20^levels of it.
fn doubled(disk: &OnDisk, mut tree: Oid, levels: usize) -> Oid {
    for _ in 0..levels {
        tree = often(disk, "40000", tree, 20);
    }
    disk.raw_tree(&[("40000", b"os", tree)])
}

#[test]
fn a_few_trees_that_name_billions_of_files_are_refused() {
    let bomb = |levels| check_limits(|disk| doubled(disk, often(disk, "100644", disk.blob(b"x"), 20), levels));
    assert_eq!(bomb(1), "400 entries");
    assert_eq!(bomb(9), "it has more than 1000 files and folders");
}

#[test]
fn empty_folders_that_name_each_other_are_refused() {
    let bomb = |levels| check_limits(|disk| doubled(disk, disk.raw_tree(&[]), levels));
    assert_eq!(bomb(2), "0 entries");
    assert_eq!(bomb(9), "it has more than 1000 files and folders");
}

#[test]
fn one_long_file_named_often_is_refused() {
    let bomb = |count| check_limits(|disk| doubled(disk, often(disk, "100644", disk.blob(&[b'#'; 1000]), count), 0));
    assert_eq!(bomb(10), "10 entries");
    assert_eq!(bomb(11), "its files are longer than 10000 bytes together");
}

#[test]
fn a_tree_out_of_order_is_refused() {
    let shown = check_commit(|disk| {
        let id = disk.blob(b"x");
        let vars = disk.raw_tree(&[("100644", b"b", id), ("100644", b"a", id)]);
        disk.raw_tree(&[("40000", b"host_vars", vars)])
    });
    assert_eq!(
        shown,
        "the repository could not read the files of a commit: folder \"host_vars/\" could not be read: \
         its entries are not in order"
    );
}

#[test]
fn a_folder_on_disk_is_refused_the_same_things() {
    let folder = tempfile::tempdir().unwrap();
    let vars = folder.path().join("host_vars");
    std::fs::create_dir_all(vars.join("sub/.git")).unwrap();
    std::fs::create_dir_all(vars.join("d/".repeat(40))).unwrap();
    std::fs::write(vars.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    std::fs::write(vars.join("ok.yml"), "fine").unwrap();
    std::fs::File::create(vars.join("long.yml")).unwrap().set_len(MAX_FILE_BYTES + 7).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", vars.join("link.yml")).unwrap();
    std::os::unix::fs::symlink("/etc", folder.path().join("group_vars")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", folder.path().join("inventory.yml")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, vars.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    let shown = show(&read_worktree(folder.path()).unwrap());
    let deep = format!("host_vars{}", "/d".repeat(MAX_DEPTH - 1));
    insta::assert_snapshot!(shown.replace(&deep, "host_vars/d/…"), @r#"
    group_vars: Symlink
    host_vars/caf\xe9: BadPath
    host_vars/d/…: TooDeep
    host_vars/link.yml: Symlink
    host_vars/long.yml: TooLong { size: 33554439 }
    host_vars/ok.yml: "fine"
    host_vars/sub: Submodule
    inventory.yml: Symlink
    "#);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let error = read_worktree(Path::new("/no/such/folder")).unwrap_err();
    assert_eq!(error.to_string(), "folder /no/such/folder could not be read");
}
