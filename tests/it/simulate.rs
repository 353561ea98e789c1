//! `simulate` as people run it: the same answer every time, and an end when they are tired of waiting.

use crate::harness::git::FleetRepo;
use crate::harness::process::{BELLWETHER, Running, program};
use rustix::process::Signal;
use std::process::Command;

const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";

/// A fleet of so many kiosks whose newest commit brings release 1.1.0.
fn repo(name: &str, kiosks: u32) -> FleetRepo {
    let repo = FleetRepo::new(name);
    let policy = "rollouts: {slow: {steps: [{name: some, take: 10%, window: 1h, soak: 10m}], final: {window: 2h}}}\n";
    let fleet = format!("name: acme\n{policy}rollout: [{{stage: main, policy: slow}}]\n");
    let inventory = format!("all: {{hosts: {{'kiosk-[1:{kiosks}]': }}}}\n");
    repo.commit(
        "the first",
        &[
            ("fleet.yml", &fleet),
            ("inventory.yml", &inventory),
            ("group_vars/all.yml", "branch: main\npins: { web: 1.0.0 }\n"),
            ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
            ("releases/web/1.0.0/compose.yml", COMPOSE),
            ("releases/web/1.1.0/release.yml", "version: 1.1.0\n"),
            ("releases/web/1.1.0/compose.yml", COMPOSE),
        ],
    );
    repo.commit("the next", &[("group_vars/all.yml", "branch: main\npins: { web: 1.1.0 }\n")]);
    repo
}

fn simulate(repo: &FleetRepo, flags: &[&str]) -> Command {
    let mut command = program(BELLWETHER);
    command.args(["simulate", "--stage", "main", "--base", "HEAD^", "--repo"]).arg(repo.work()).args(flags);
    command
}

#[test]
fn with_a_seed_the_answer_is_the_same_to_the_byte_whenever_it_is_asked_for() {
    let repo = repo("simulate-seed", 40);
    let flags = ["--seed", "7", "--runs", "5", "--failure-rate", "20%", "--offline", "10%"];
    let answer = |form: &str| {
        let output = simulate(&repo, &flags).args(["-o", form]).output().expect("start it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for form in ["wide", "json", "svg", "html"] {
        // Between the two the clock goes on, and nobody says when the rollout begins.
        assert!(answer(form) == answer(form), "{form} differs");
    }
    let text = String::from_utf8(answer("table")).expect("text");
    let made = repo.git(&["log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"]);
    let line = text.lines().find(|line| line.contains("beginning at")).unwrap_or_default();
    assert_eq!(line, format!("5 runs of each kind from seed 7, beginning at {}", made.trim()), "the commit's own time");
}

#[test]
fn ctrl_c_ends_a_simulation_at_once_and_nothing_half_is_printed() {
    let repo = repo("simulate-stopped", 2000);
    let command = simulate(&repo, &["--runs", "5000", "--seed", "1", "-o", "html"]);
    // As a shell does it: the answer goes to a file, the rest to a person.
    let file = repo.work().with_file_name("chart.html");
    let mut running = Running::start_apart("simulate-stopped", command, &file);
    running.line_with("runs of a good change");
    running.signal(Signal::INT);
    let status = running.status();
    assert_eq!(status.code(), Some(1), "{status}:\n{}", running.log());
    assert!(running.log().contains("stopped before all runs were made; nothing was printed"), "{}", running.log());
    assert_eq!(std::fs::read(&file).expect("the file that a shell would have made"), b"");
}
