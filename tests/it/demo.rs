//! The demo as a newcomer runs it: it tells its story, ends with the right status, and leaves nothing behind.

use crate::harness::engine::Engine;
use crate::harness::process::{BELLWETHER, Running, program};
use crate::harness::run::run;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A demo whose temporary files go to a directory of its own.
fn demo(name: &str, arguments: &[&str]) -> (Command, PathBuf) {
    let temporary = run().scratch(name);
    let mut command = program(BELLWETHER);
    command.arg("demo").args(arguments).env("TMPDIR", &temporary);
    (command, temporary)
}

/// Files that are left, and processes that still use the directory.
fn left_behind(temporary: &Path) -> Vec<String> {
    let files = std::fs::read_dir(temporary).expect("list the temporary directory");
    let mut left: Vec<String> = files.map(|entry| entry.expect("an entry").path().display().to_string()).collect();
    for process in std::fs::read_dir("/proc").expect("list processes") {
        let path = process.expect("an entry").path().join("cmdline");
        // Not every entry is a process, and a process may be gone by now.
        let command = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).replace('\0', " ");
        if command.contains(&temporary.display().to_string()) {
            left.push(command);
        }
    }
    left
}

#[test]
fn the_simulated_demo_tells_its_story_and_leaves_nothing() {
    let (command, temporary) = demo("demo-simulated", &[]);
    let mut demo = Running::start("demo-simulated", command);
    let status = demo.status();
    let log = demo.log();
    assert!(status.success(), "{log}");
    for part in [
        "canary is merged into production",
        "running at https://localhost:",
        "kiosk-station rolled-back: telemetry/collector: it ended with status 3",
        "ROLLED_BACK; 1 of 3 devices were offered it",
        "every device runs what it ran before",
        "DONE; 3 of 3 devices were offered it",
        "everything converged",
    ] {
        assert!(log.contains(part), "the story lacks {part:?}:\n{log}");
    }
    assert!(!log.contains('\u{1b}'), "no colours without a terminal:\n{log}");
    assert_eq!(left_behind(&temporary), Vec::<String>::new());
}

#[test]
fn an_interrupted_demo_leaves_nothing_and_says_so_by_its_status() {
    let (command, temporary) = demo("demo-interrupted", &[]);
    let mut demo = Running::start("demo-interrupted", command);
    demo.line_with("A new release reaches main");
    demo.signal(Signal::INT);
    let status = demo.status();
    assert!(status.code().is_some_and(|code| code != 0), "{status}:\n{}", demo.log());
    assert_eq!(left_behind(&temporary), Vec::<String>::new());
}

#[test]
fn the_demo_with_real_containers_leaves_nothing_on_the_engine() {
    // An engine of its own: its devices have the example's names, and "nothing left" must mean nothing.
    let Some(engine) = Engine::start("demo") else { return };
    let everything = || {
        let lists = [
            &["ps", "--all", "--quiet"][..],
            &["images", "--all", "--quiet"],
            &["volume", "ls", "--quiet"],
            &["network", "ls", "--quiet"],
        ];
        lists.map(|list| engine.docker(list))
    };
    let before = everything();
    let socket = engine.docker_socket().display().to_string();
    let (command, temporary) = demo("demo-docker", &["--engine", "docker", "--docker-socket", &socket]);
    let mut demo = Running::start("demo-docker", command);
    let status = demo.status();
    assert!(status.success(), "{}", demo.log());
    assert!(demo.log().contains("everything converged"), "{}", demo.log());
    assert_eq!(everything(), before);
    assert_eq!(left_behind(&temporary), Vec::<String>::new());

    let (command, temporary) =
        self::demo("demo-docker-interrupted", &["--engine", "docker", "--docker-socket", &socket]);
    let mut demo = Running::start("demo-docker-interrupted", command);
    demo.line_with("A new release reaches main");
    demo.signal(Signal::INT);
    let status = demo.status();
    assert!(status.code().is_some_and(|code| code != 0), "{status}:\n{}", demo.log());
    assert_eq!(everything(), before, "after an interruption too");
    assert_eq!(left_behind(&temporary), Vec::<String>::new());
}

#[test]
fn a_demo_without_an_engine_says_what_is_missing() {
    let (command, temporary) =
        demo("demo-no-engine", &["--engine", "docker", "--docker-socket", "/nonexistent/docker.sock"]);
    let mut demo = Running::start("demo-no-engine", command);
    assert_eq!(demo.status().code(), Some(1), "{}", demo.log());
    assert!(demo.log().contains("/nonexistent/docker.sock"), "{}", demo.log());
    assert_eq!(left_behind(&temporary), Vec::<String>::new());
}
