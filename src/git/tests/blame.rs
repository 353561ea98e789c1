//! Who changed a line last, in real repositories.

use super::*;
use crate::domain::history::{LastChange, Lines};
use crate::git::history::{self, History};

/// Each line of a file of the work tree with who changed it last.
fn blame(history: &History, path: &str) -> String {
    blame_in(history, history.folder(), path)
}

fn blame_in(history: &History, clone: &Path, path: &str) -> String {
    let files = read_worktree(history.folder()).unwrap();
    let text = std::fs::read_to_string(history.folder().join(path)).unwrap();
    let mut clone = open_clone(clone).unwrap();
    let head = clone.resolve_rev("HEAD").unwrap();
    let lines = Lines::from([(path.to_owned(), (0..=u32::try_from(text.lines().count()).unwrap()).collect())]);
    let changes = clone.last_changes(&head, &files, &lines).unwrap();
    let said = |line: u32| match changes.get(&(path.to_owned(), line)) {
        Some(LastChange::Commit { author, at, .. }) => {
            format!("{author} {}", (at.millis() / 1000 - history::BEGIN_SECS) / 60)
        }
        Some(LastChange::NotCommitted) => "not committed".to_owned(),
        Some(LastChange::OlderThan { commits }) => format!("older than {commits}"),
        None => "unknown".to_owned(),
    };
    let numbered = (1..).zip(text.lines()).map(|(line, text)| format!("{text}: {}\n", said(line)));
    format!("whole: {}\n{}", said(0), numbered.collect::<String>())
}

const FILE: &str = "group_vars/all.yml";

#[test]
fn each_line_has_the_commit_that_brought_it_also_where_lines_moved() {
    let mut history = History::new();
    history.commit("anna", FILE, "a\nb\nc\n");
    history.commit("ben", FILE, "a\nB\nc\n");
    history.commit("cleo", "fleet.yml", "name: x\n");
    history.commit("dora", FILE, "top\na\nB\nc\nend\n");
    history.commit("emil", FILE, "top\nB\nc\nend\n");
    insta::assert_snapshot!(blame(&history, FILE), @r"
    whole: emil 5
    top: dora 4
    B: ben 2
    c: anna 1
    end: dora 4
    ");
    insta::assert_snapshot!(blame(&history, "fleet.yml"), @r"
    whole: cleo 3
    name: x: cleo 3
    ");
}

#[test]
fn what_is_only_in_the_work_tree_is_not_committed_yet() {
    let mut history = History::new();
    history.commit("anna", FILE, "a\nb\n");
    history.write(FILE, "a\nnew\nb\n");
    history.write("host_vars/kiosk-1.yml", "x\n");
    insta::assert_snapshot!(blame(&history, FILE), @r"
    whole: not committed
    a: anna 1
    new: not committed
    b: anna 1
    ");
    insta::assert_snapshot!(blame(&history, "host_vars/kiosk-1.yml"), @r"
    whole: not committed
    x: not committed
    ");
}

#[test]
fn a_merge_brings_only_what_none_of_its_parents_had() {
    let mut history = History::new();
    history.commit("anna", FILE, "a\nb\nc\n");
    history.git("ben", &["switch", "-qc", "side"]);
    history.commit("ben", FILE, "a\nb\nside\n");
    history.git("ben", &["switch", "-q", "main"]);
    history.commit("cleo", FILE, "main\nb\nc\n");
    history.later();
    history.git("dora", &["merge", "-q", "--no-commit", "-s", "ours", "side"]);
    history.write(FILE, "main\nb\nside\nmerged\n");
    history.git("dora", &["add", "-A"]);
    history.git("dora", &["commit", "-qm", "merge"]);
    insta::assert_snapshot!(blame(&history, FILE), @r"
    whole: dora 4
    main: cleo 3
    b: anna 1
    side: ben 2
    merged: dora 4
    ");
}

#[test]
fn where_a_shallow_clone_ends_is_not_taken_for_the_beginning() {
    let mut history = History::new();
    history.commit("anna", FILE, "a\nb\n");
    history.commit("ben", FILE, "a\nB\n");
    history.commit("cleo", "fleet.yml", "name: x\n");
    let shallow = tempfile::tempdir().unwrap();
    let url = format!("file://{}", history.folder().display());
    history.git("anna", &["clone", "-q", "--depth", "2", &url, shallow.path().join("clone").to_str().unwrap()]);
    insta::assert_snapshot!(blame_in(&history, &shallow.path().join("clone"), FILE), @r"
    whole: older than 2
    a: older than 2
    B: older than 2
    ");
}

#[test]
fn a_path_that_was_something_else_before_begins_where_it_became_a_file() {
    let mut history = History::new();
    history.commit("anna", "host_vars/kiosk-1/net.yml", "a\n");
    std::fs::remove_dir_all(history.folder().join("host_vars/kiosk-1")).unwrap();
    history.commit("ben", "host_vars/kiosk-1", "a\n");
    insta::assert_snapshot!(blame(&history, "host_vars/kiosk-1"), @r"
    whole: ben 2
    a: ben 2
    ");
}
