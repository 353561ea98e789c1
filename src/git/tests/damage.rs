//! Remotes and mirrors that are broken in some way. None of it may look like an empty fleet.

use super::*;

fn reason(fetch: Fetch) -> String {
    match fetch {
        Fetch::Unavailable { reason } => reason,
        other => panic!("expected Unavailable, found {other:?}"),
    }
}

fn loose(repo: &Path, id: &ObjectId) -> PathBuf {
    let (folder, file) = id.as_str().split_at(2);
    repo.join("objects").join(folder).join(file)
}

fn overwrite(path: &Path, bytes: &[u8]) {
    // Objects are written read-only.
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_no_repository_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let remote = folder.path().join("fleet.git");
    let mut mirror = GitMirror::open(&folder.path().join("mirror"), RemoteUrl::Local(remote.clone())).unwrap();
    assert!(reason(mirror.fetch(&main())).contains("could not be opened as a Git repository"));
    std::fs::write(&remote, "a file").unwrap();
    assert!(reason(mirror.fetch(&main())).contains("could not be opened as a Git repository"));
    std::fs::remove_file(&remote).unwrap();
    std::fs::create_dir(&remote).unwrap();
    assert!(reason(mirror.fetch(&main())).contains("could not be opened as a Git repository"));
}

#[test]
fn a_remote_with_a_broken_head_still_answers_for_its_branches() {
    let mut disk = OnDisk::new();
    let a = disk.commit(&[], &[("fleet.yml", "a")]);
    disk.point("main", &a);
    std::fs::write(disk.path().join("HEAD"), "ref: refs/heads/nowhere\n").unwrap();
    assert!(matches!(disk.repo().fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == a));
    std::fs::write(disk.path().join("HEAD"), "").unwrap();
    let fetch = disk.repo().fetch(&main());
    assert!(
        matches!(&fetch, Fetch::Unavailable { .. })
            || matches!(&fetch, Fetch::Fetched(heads) if heads["main"].commit == a),
        "{fetch:?}"
    );
}

#[test]
fn a_branch_that_points_nowhere_is_unavailable() {
    let mut disk = OnDisk::new();
    let a = disk.commit(&[], &[("fleet.yml", "a")]);
    disk.point("main", &a);
    let mut mirror = disk.repo();
    mirror.fetch(&main());
    std::fs::write(disk.path().join("refs/heads/main"), format!("{}\n", "ab".repeat(20))).unwrap();
    assert!(reason(mirror.fetch(&main())).starts_with("branch main could not be read"));
    std::fs::write(disk.path().join("refs/heads/main"), "rubbish").unwrap();
    assert!(reason(mirror.fetch(&main())).starts_with("branch main could not be read"));
    std::fs::write(disk.path().join("refs/heads/main"), format!("{a}\n")).unwrap();
    assert_eq!(mirror.fetch(&main()), Fetch::NotModified);
}

#[test]
fn damaged_objects_of_the_remote_never_reach_the_mirror() {
    for damage in ["missing", "rubbish", "other"] {
        for what in ["blob", "tree"] {
            let mut disk = OnDisk::new();
            let a = disk.commit(&[], &[("fleet.yml", "a")]);
            disk.point("main", &a);
            let mut mirror = disk.repo();
            mirror.fetch(&main());
            let tree = disk.tree(&[("fleet.yml", "b"), ("inventory.yml", "c")]);
            let b = disk.commit_tree(tree, &[&a]);
            disk.point("main", &b);
            let broken = match what {
                "blob" => object_id(disk.blob(b"c")),
                _ => object_id(tree),
            };
            let broken = loose(&disk.path(), &broken);
            let other = std::fs::read(loose(&disk.path(), &object_id(disk.blob(b"other")))).unwrap();
            let sound = std::fs::read(&broken).unwrap();
            match damage {
                "missing" => std::fs::remove_file(&broken).unwrap(),
                "rubbish" => overwrite(&broken, b"rubbish"),
                _ => overwrite(&broken, &other),
            }
            assert!(!reason(mirror.fetch(&main())).is_empty(), "{damage} {what}");
            assert!(!reason(mirror.fetch(&main())).is_empty(), "{damage} {what}, asked again");
            assert_eq!(show(&mirror.snapshot(&a).unwrap()), "fleet.yml: \"a\"");
            overwrite_or_make(&broken, &sound);
            assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == b));
            assert_eq!(show(&mirror.snapshot(&b).unwrap()), "fleet.yml: \"b\"\ninventory.yml: \"c\"");
        }
    }
}

fn overwrite_or_make(path: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

/// Deletes all objects of a mirror behind its back.
fn lose_objects(mirror: &Path) {
    for entry in std::fs::read_dir(mirror.join("objects/pack")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn a_mirror_that_lost_its_objects_is_made_anew() {
    let mut disk = OnDisk::new();
    let a = disk.commit(&[], &[("fleet.yml", "a")]);
    disk.point("main", &a);
    disk.mirror("mirror").fetch(&main());
    lose_objects(&disk.folder.path().join("mirror"));
    let mut mirror = disk.mirror("mirror");
    assert!(reason(mirror.fetch(&main())).starts_with("the mirror could not be read or written"));
    assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == a));
    assert_eq!(show(&mirror.snapshot(&a).unwrap()), "fleet.yml: \"a\"");
}

#[test]
fn a_mirror_that_is_no_repository_any_more_is_made_anew() {
    let mut disk = OnDisk::new();
    let a = disk.commit(&[], &[("fleet.yml", "a")]);
    disk.point("main", &a);
    disk.mirror("mirror").fetch(&main());
    std::fs::remove_file(disk.folder.path().join("mirror/HEAD")).unwrap();
    let mut mirror = disk.mirror("mirror");
    assert!(matches!(mirror.fetch(&main()), Fetch::Fetched(heads) if heads["main"].commit == a));
}

#[test]
fn a_folder_with_other_things_is_never_emptied() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("photo.jpg"), "irreplaceable").unwrap();
    let error = GitMirror::open(folder.path(), RemoteUrl::Local("/srv/fleet.git".into())).err().unwrap();
    assert!(error.to_string().ends_with("holds something else than a mirror of the fleet repo"));
    assert!(folder.path().join("photo.jpg").exists());
}
