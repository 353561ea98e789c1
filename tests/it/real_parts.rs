//! The harness itself: each real part starts, does its work, and takes a crash.

use crate::harness::engine::Engine;
use crate::harness::git::FleetRepo;
use crate::harness::process::{BELLWETHER, BELLWETHER_AGENT, Running, eventually, output_of, program, was_killed};
use crate::harness::run::run;
use crate::harness::text::redacted;

#[test]
fn the_engine_pulls_by_digest_and_runs_a_container() {
    // Its own, because other tests bring these images to the shared one.
    let Some(engine) = Engine::start("smoke") else { return };
    let [_, web, _] = &engine.registry().web;
    assert!(
        engine.try_docker(&["image", "inspect", &web.by_digest()]).is_err(),
        "the image must come from the registry"
    );
    engine.docker(&["pull", "--quiet", &web.by_digest()]);
    engine.docker(&["run", "--detach", "--name", "smoke-web", "--publish", "127.0.0.1:18080:8080", &web.by_digest()]);
    let answer = eventually("the container serves", || engine.http_get(18080, "/version").ok());
    assert!(answer.ends_with("web 1.1.0\n"), "{answer}");
    engine.docker(&["stop", "smoke-web"]);
    let status = engine.docker(&["inspect", "--format", "{{.State.ExitCode}}", "smoke-web"]);
    assert_eq!(status, "0", "the image's process must answer SIGTERM");
    engine.docker(&["rm", "smoke-web"]);
}

#[test]
fn a_container_survives_a_crash_of_its_engine() {
    let Some(engine) = Engine::start("crash") else { return };
    let [worker, _] = &engine.registry().worker;
    engine.docker(&["run", "--detach", "--name", "survivor", &worker.by_tag()]);
    let process = || engine.docker(&["inspect", "--format", "{{.State.Running}} {{.State.Pid}}", "survivor"]);
    let before = process();
    engine.crash();
    assert!(engine.try_docker(&["ps"]).is_err(), "a crashed engine must not answer");
    engine.restart();
    assert_eq!(process(), before);
    assert!(before.starts_with("true "), "{before}");
}

#[test]
fn an_unreachable_registry_fails_pulls_until_it_is_back() {
    let Some(engine) = Engine::start("registry") else { return };
    let registry = engine.registry();
    let [_, worker] = &registry.worker;
    registry.stop();
    let refused = engine.try_docker(&["pull", "--quiet", &worker.by_digest()]).expect_err("nothing can be pulled now");
    assert!(refused.contains("connection refused"), "{refused}");
    registry.resume(&engine);
    engine.docker(&["pull", "--quiet", &worker.by_digest()]);
}

#[test]
fn engines_leave_the_machines_own_network_alone() {
    let Some(engine) = Engine::shared() else { return };
    let links = output_of(engine.inside("ip").args(["-brief", "link", "show", "docker0"]));
    assert!(links.is_ok(), "the engine's bridge is in its own namespace");
    let own = std::fs::read_link("/proc/self/ns/net").expect("our own namespace");
    let theirs = output_of(engine.inside("readlink").arg("/proc/self/ns/net")).expect("the engine's namespace");
    assert_ne!(own.to_string_lossy(), theirs);
}

#[test]
fn a_fleet_repo_is_edited_and_promoted() {
    let repo = FleetRepo::new("promoted");
    let first =
        repo.commit("Begin the fleet", &[("fleet.yml", "name: acme\n"), ("host_vars/kiosk-1.yml", "branch: main\n")]);
    repo.push("main");
    assert_eq!(repo.merge("main", "canary"), first, "a new stage starts at the commit that it is made from");
    repo.commit("Rename the fleet", &[("fleet.yml", "name: emca\n")]);
    repo.delete("Drop the kiosk", &["host_vars/kiosk-1.yml"]);
    repo.push("main");
    repo.merge("main", "canary");
    let bare = repo.bare().display().to_string();
    let history = repo.git(&["-C", &bare, "log", "--graph", "--format=%s (%an)%d", "main", "canary"]);
    insta::assert_snapshot!(history, @r"
    *   Promote main to canary (Ada) (canary)
    |\  
    | * Drop the kiosk (Ada) (HEAD -> main)
    | * Rename the fleet (Ada)
    |/  
    * Begin the fleet (Ada)
    ");
}

#[test]
fn the_same_edits_give_the_same_commits() {
    let commit = |name| {
        let repo = FleetRepo::new(name);
        repo.commit("Begin", &[("fleet.yml", "name: acme\n")])
    };
    assert_eq!(commit("same-1"), commit("same-2"));
}

#[test]
fn processes_are_watched_killed_and_asked_to_stop() {
    let mut command = run().command("sh");
    command.args(["-c", "trap 'echo stopping; exit 7' TERM; echo ready at $$; while :; do sleep 0.05; done"]);
    let mut process = Running::start("obedient", command);
    assert_eq!(process.line_with("ready"), format!("ready at {}", process.id()));
    assert_eq!(process.terminate().code(), Some(7));
    assert!(process.log().ends_with("stopping\n"), "{}", process.log());

    let mut command = run().command("sh");
    command.args(["-c", "echo ready; exec sleep 3600"]);
    let mut process = Running::start("killed", command);
    process.line_with("ready");
    process.kill();
    assert!(was_killed(process.status()));
}

#[test]
fn both_executables_were_built() {
    for executable in [BELLWETHER, BELLWETHER_AGENT] {
        assert!(std::path::Path::new(program(executable).get_program()).is_file(), "{executable}");
    }
}

#[test]
fn what_differs_between_runs_is_redacted() {
    let text = "2026-01-01T00:00:00Z accepted sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f \
                of commit 0123456789012345678901234567890123456789\nlistening on 127.0.0.1:41234, state in \
                /tmp/bellwether-it-a1B2c3/4-controller, took 12.5ms";
    redacted(|| {
        insta::assert_snapshot!(text, @r"
    [time] accepted sha256:[digest] of commit [commit]
    listening on 127.0.0.1:[port], state in [path], took [duration]
    ")
    });
}
