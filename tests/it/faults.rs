//! Bad moments of one device, with the real agent on a real engine: it recovers or stops where it stands, says why, and loses nothing.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, copy_directory};
use crate::harness::process::{Running, eventually, output_of};
use crate::harness::run::{has_real_parts, run};
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::domain::condition::ConditionStatus;
use bellwether::domain::overview::device::DeviceDetail;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn step(word: &str) -> String {
    format!("branch: main\npins: {{ web: latest }}\nvariables: {{ STEP: {word} }}\n")
}

fn fleet(name: &str, device: &str) -> Option<Fleet> {
    let engine = Engine::shared()?;
    let image = engine.registry().worker[0].by_digest();
    let files = [
        ("fleet.yml", "name: acme\n".to_owned()),
        ("inventory.yml", format!("all:\n  hosts:\n    {device}:\n")),
        ("group_vars/all.yml", step("one")),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n".to_owned()),
        ("releases/web/1.0.0/compose.yml", format!("services:\n  app:\n    image: {image}\n")),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    Some(Fleet::start(name, On::Engine(engine), &files))
}

/// The device's own condition of this kind, once it has this status; its reason and message.
fn condition(fleet: &Fleet, device: &str, kind: &str, status: ConditionStatus) -> String {
    eventually(&format!("{device} says {kind} {status:?}"), || {
        let conditions = fleet.device(device).conditions;
        let found = conditions.into_iter().find(|one| one.kind == kind && one.status == status)?;
        Some(format!("{}: {}", found.reason, found.message))
    })
}

#[test]
fn a_device_whose_disk_is_full_runs_on_says_so_and_goes_on_when_there_is_room() {
    let Some(mut fleet) = fleet("full", "full-1") else { return };
    let fill = small_disk(&fleet.state_dir("full-1"));
    fleet.enroll(&["full-1"]);
    fleet.settled(&["full-1"]);
    let before = fleet.containers("full-1");
    let assigned = fleet.assigned("full-1");

    let filler = fill();
    fleet.push("main", "two", &[("group_vars/all.yml", &step("two"))]);
    let told = condition(&fleet, "full-1", "LedgerWritable", ConditionStatus::False);
    assert!(told.starts_with("LedgerNotWritten: ") && told.contains("No space left on device"), "{told}");
    assert_ne!(fleet.assigned("full-1"), assigned, "it was told something newer");
    assert_eq!(fleet.containers("full-1"), before, "and does nothing that it could not remember");
    // A restart changes nothing about it, and the old ledger is whole.
    fleet.agents.get_mut("full-1").expect("it runs").kill();
    let ca = fleet.ca_file().display().to_string();
    fleet.start_agent("full-1", &["--ca-file", &ca]);
    let name = "full-1";
    eventually("it runs on", || fleet.agents.get_mut(name)?.log().contains("started").then_some(()));
    assert_eq!(fleet.containers("full-1"), before);

    std::fs::remove_file(&filler).expect("make room");
    fleet.settled_on("main", &["full-1"]);
    assert_ne!(fleet.containers("full-1"), before, "it went on by itself");
}

/// A disk of half a megabyte as the state directory of a device, and what fills it.
fn small_disk(state: &Path) -> impl Fn() -> PathBuf + use<> {
    std::fs::create_dir_all(state).expect("make the state directory");
    let mut mount = run().command("mount");
    mount.args(["-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs"]).arg(state);
    output_of(&mut mount).expect("mount a small disk");
    let filler = state.join("filler");
    move || {
        let mut file = std::fs::File::create(&filler).expect("make a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        filler.clone()
    }
}

#[test]
fn a_full_disk_keeps_neither_an_identity_nor_a_secret_from_being_whole() {
    if !has_real_parts(&["mount"]) {
        return;
    }
    let name = "full-2";
    let vars = |token: &str| format!("branch: main\npins: {{ web: 1.0.0 }}\nvariables: {{ TOKEN: \"{token}\" }}\n");
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", "all:\n  hosts:\n    full-2:\n"),
        ("group_vars/all.yml", &vars("none")),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", "services:\n  app:\n    image: registry.example/app:1\n"),
    ];
    let mut fleet =
        Fleet::configured("full-identity", On::Simulated, "stages: [main]\nsecrets: {env: TOKEN}\n", &files);
    fleet.stop_controller();
    fleet.controller_environment.insert("TOKEN".to_owned(), "canary-token-55aa".to_owned());
    fleet.start_controller();
    fleet.seen("main");
    let state = fleet.state_dir(name);
    let fill = small_disk(&state);

    // It asks for nothing with a key that it might forget.
    let filler = fill();
    let token = fleet.token(&[name]);
    let mut command = fleet.agent_command(name);
    command.args(["--token", &token]);
    let mut stranger = Running::start("full-2-stranger", command);
    assert!(!stranger.status().success());
    let log = stranger.log();
    assert!(log.contains("could not write the device's identity: No space left on device"), "{log}");
    assert!(fleet.try_get::<DeviceDetail>(&format!("/v1/devices/{name}")).is_ok_and(|one| one.identity.is_none()));
    std::fs::remove_file(&filler).expect("make room");
    fleet.start_agent(name, &["--token", &token]);
    fleet.settled(&[name]);

    // What needs a secret is accepted only once its value is kept.
    let filler = fill();
    let assigned = fleet.assigned(name);
    fleet.push("main", "With a secret", &[("group_vars/all.yml", &vars("{{ secret('TOKEN') }}"))]);
    eventually("it says what it lacks", || {
        let conditions = fleet.device(name).conditions;
        let found = conditions.into_iter().find(|one| one.reason == "SecretsNotWritten")?;
        found.message.contains("No space left on device").then_some(())
    });
    assert_ne!(fleet.assigned(name), assigned);
    std::fs::remove_file(&filler).expect("make room");
    fleet.settled_on("main", &[name]);
    let engine = SimulatedEngine::open(&state.join("engine")).expect("an engine");
    let shown = format!("{:?}", engine.contents().expect("readable"));
    assert!(shown.contains("canary-token-55aa"), "the service has its value");
}

#[test]
fn a_second_agent_and_a_damaged_ledger_stop_before_anything_is_touched() {
    let Some(mut fleet) = fleet("twice", "twice-1") else { return };
    fleet.enroll(&["twice-1"]);
    fleet.settled(&["twice-1"]);
    let before = fleet.containers("twice-1");

    let ca = fleet.ca_file();
    let again = |fleet: &Fleet, name: &str| {
        let mut command = fleet.agent_command("twice-1");
        command.arg("--ca-file").arg(&ca);
        Running::start(name, command)
    };
    let mut second = again(&fleet, "twice-1-again");
    assert!(!second.status().success());
    assert!(second.log().contains("another agent uses the state directory"), "{}", second.log());

    fleet.agents.get_mut("twice-1").expect("it runs").kill();
    let ledger = fleet.state_dir("twice-1").join("ledger");
    let whole = std::fs::read(&ledger).expect("it has a ledger");
    std::fs::write(&ledger, &whole[..whole.len() / 2]).expect("damage it");
    let mut damaged = again(&fleet, "twice-1-damaged");
    assert!(!damaged.status().success());
    let log = damaged.log();
    assert!(log.contains("cannot be used; nothing was changed and everything keeps running"), "{log}");
    assert_eq!(fleet.containers("twice-1"), before);

    // As the message says: without the ledger the device takes its assignment anew, and finds that everything is there.
    std::fs::rename(&ledger, ledger.with_extension("damaged")).expect("move it away");
    fleet.start_agent("twice-1", &["--ca-file", &ca.display().to_string()]);
    fleet.push("main", "two", &[("group_vars/all.yml", &step("two"))]);
    fleet.settled_on("main", &["twice-1"]);
}

#[test]
fn two_agents_with_one_identity_make_one_set_of_containers() {
    let Some(mut fleet) = fleet("cloned", "cloned-1") else { return };
    fleet.enroll(&["cloned-1"]);
    fleet.settled(&["cloned-1"]);
    let before = fleet.containers("cloned-1");

    // As when a device's disk was copied, or the agent runs as a service and in a container at once.
    let (state, copy) = (fleet.state_dir("cloned-1"), fleet.state_dir("cloned-1-again"));
    copy_directory(&state, &copy);
    let mut command = fleet.agent_command("cloned-1");
    command.arg("--state-dir").arg(&copy).arg("--ca-file").arg(fleet.ca_file());
    let mut second = Running::start("cloned-1-again", command);
    second.line_with("started");
    for (word, message) in [("two", "Change it"), ("three", "Change it again")] {
        fleet.push("main", message, &[("group_vars/all.yml", &step(word))]);
        fleet.settled_on("main", &["cloned-1"]);
    }
    let offered = |agent: &Running| agent.log().matches("offered generation").count();
    eventually("the second one was told as well", || (offered(&second) >= 1).then_some(()));
    assert!(second.try_status().is_none(), "{}", second.log());
    second.terminate();
    // One of them may just have taken away what the other one had made, and only something newer shows that the first one has
    // nothing more to do that it had begun before.
    fleet.push("main", "Change it once more", &[("group_vars/all.yml", &step("four"))]);
    let is_newest = |id: &String| {
        let environment = fleet.engine().try_docker(&["inspect", "--format", "{{.Config.Env}}", id]);
        environment.is_ok_and(|environment| environment.contains("four"))
    };
    eventually("one set of containers runs what is newest", || {
        let after = fleet.containers("cloned-1");
        (after.len() == before.len() && after.values().all(is_newest)).then_some(())
    });
}
