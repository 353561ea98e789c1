//! How devices get into the fleet, through real processes: with a token for their name, with a person's yes, and otherwise
//! not at all.

use crate::harness::fleet::{Fleet, On};
use crate::harness::process::{BELLWETHER_AGENT, Running, eventually, program};
use bellwether::domain::fleet::IdentityStatus;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

fn start(name: &str, devices: &[&str]) -> Fleet {
    let hosts: String = devices.iter().map(|device| format!("    {device}: {{ branch: main }}\n")).collect();
    let inventory = format!("all:\n  hosts:\n{hosts}");
    Fleet::start(name, On::Simulated, &[("fleet.yml", "name: acme\n"), ("inventory.yml", &inventory)])
}

fn identity(fleet: &Fleet, device: &str) -> Option<IdentityStatus> {
    fleet.rows().contains_key(device).then(|| fleet.device(device).identity.map(|identity| identity.status)).flatten()
}

fn wait_for_pending(fleet: &Fleet, device: &str) {
    eventually(&format!("{device} waits for approval"), || {
        fleet.status().status.pending.iter().any(|one| one.as_str() == device).then_some(())
    });
}

#[test]
fn a_device_without_a_token_waits_until_a_person_says_yes_or_no() {
    let mut fleet = start("asking", &["guest", "stranger"]);
    let ca = fleet.ca_file().display().to_string();
    fleet.start_agent("guest", &["--ca-file", &ca]);
    fleet.start_agent("stranger", &["--ca-file", &ca]);
    wait_for_pending(&fleet, "guest");
    wait_for_pending(&fleet, "stranger");
    assert_eq!(fleet.assigned("guest"), None, "nothing is assigned to a device that nobody knows");

    fleet.act("/v1/devices/guest/approve", &serde_json::json!({}));
    fleet.settled(&["guest"]);
    let done = fleet.act("/v1/devices/stranger/reject", &serde_json::json!({}));
    assert!(done.events[0].actor.as_str().starts_with("uid "), "the actor is recorded: {:?}", done.events);
    fleet.agents.get_mut("stranger").expect("it runs").line_with("rejected");
    assert_eq!(identity(&fleet, "stranger"), Some(IdentityStatus::Rejected));
    assert_eq!(fleet.assigned("stranger"), None);
    // It asked politely and goes on asking; a rejected device must not end up enrolled by that.
    fleet.agents.remove("stranger");
    fleet.start_agent("stranger", &["--ca-file", &ca]);
    fleet.agents.get_mut("stranger").expect("it runs").line_with("rejected");
    assert_eq!(identity(&fleet, "stranger"), Some(IdentityStatus::Rejected));
}

#[test]
fn a_token_lets_in_the_names_that_it_is_bound_to_and_once_each() {
    let mut fleet = start("tokens", &["bound", "unbound", "late"]);
    let token = fleet.token(&["bound"]);
    fleet.start_agent("unbound", &["--token", &token]);
    fleet.agents.get_mut("unbound").expect("it runs").line_with("not valid for device unbound");
    fleet.start_agent("bound", &["--token", &token]);
    fleet.settled(&["bound"]);

    // One digit of the secret is another.
    let token = fleet.token(&["late"]);
    let mut parts: Vec<String> = token.split('_').map(str::to_owned).collect();
    let other = if parts[2].starts_with('0') { "1" } else { "0" };
    parts[2].replace_range(..1, other);
    fleet.start_agent("late", &["--token", &parts.join("_")]);
    fleet.agents.get_mut("late").expect("it runs").line_with("not valid for device late");
    assert_eq!(identity(&fleet, "late"), None);
    assert_eq!(identity(&fleet, "unbound"), None);

    // Its one use is used up: another device with its name and its token waits for a person, see below.
    let mut command = program(BELLWETHER_AGENT);
    command.args(["run", "--server", &fleet.url(), "--device", "bound", "--engine", "simulated", "--token"]);
    command.arg(fleet.token(&["unbound"])).arg("--state-dir").arg(fleet.state_dir("bound-again"));
    let mut again = Running::start("bound-again", command);
    again.line_with("not valid for device bound");
}

#[test]
fn another_key_for_a_name_waits_for_approval_while_the_first_goes_on() {
    let mut fleet = start("again", &["twice"]);
    fleet.enroll(&["twice"]);
    fleet.settled(&["twice"]);

    // The board was replaced: a new state directory, the same name, a fresh token.
    let mut command = program(BELLWETHER_AGENT);
    command.args(["run", "--server", &fleet.url(), "--device", "twice", "--engine", "simulated", "--os", "simulated"]);
    command.args(["--poll-interval-secs", "1", "--look-interval-secs", "1", "--token"]).arg(fleet.token(&["twice"]));
    command.arg("--state-dir").arg(fleet.state_dir("twice-new"));
    let new = Running::start("twice-new", command);
    eventually("the second key is told", || {
        fleet.device("twice").waits.into_iter().find(|wait| wait.code == "contender")
    });
    fleet.push(
        "main",
        "Go on",
        &[("group_vars/all.yml", "tags: { note: changed }\nconfig: { poll_interval_secs: 1 }\n")],
    );
    fleet.settled_on("main", &["twice"]);
    assert!(!new.log().contains("started"), "the new one does nothing yet:\n{}", new.log());

    fleet.act("/v1/devices/twice/approve", &serde_json::json!({}));
    let mut new = new;
    new.line_with("started");
    fleet.settled(&["twice"]);
    // The old key is worth nothing from now on.
    fleet.agents.get_mut("twice").expect("it runs").line_with("not known");
}

#[test]
fn a_device_sends_nothing_to_a_controller_with_another_fingerprint() {
    let mut fleet = start("fingerprint", &["careful"]);
    let token = fleet.token(&["careful"]);
    let (rest, fingerprint) = token.rsplit_once('_').expect("a token has parts");
    let wrong = format!("{rest}_{}", "0".repeat(fingerprint.len()));
    fleet.start_agent("careful", &["--token", &wrong]);
    fleet.agents.get_mut("careful").expect("it runs").line_with("could not enroll");
    assert_eq!(identity(&fleet, "careful"), None);
    // The token was not used up, because it was never sent.
    fleet.agents.remove("careful");
    fleet.start_agent("careful", &["--token", &token]);
    fleet.settled(&["careful"]);
}

#[test]
fn a_device_says_no_secret_to_what_does_not_speak_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let mut fleet = start("plain", &["quiet"]);
    let token = fleet.token(&["quiet"]);
    let secret = token.split('_').nth(2).expect("a token has parts").to_owned();
    let mut command = program(BELLWETHER_AGENT);
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    command.args(["run", "--server", &url, "--device", "quiet", "--engine", "simulated", "--token", &token]);
    command.arg("--state-dir").arg(fleet.state_dir("quiet"));
    let agent = Running::start("quiet", command);
    let (mut stream, _) = listener.accept().expect("the agent connects");
    let mut first = vec![0; 4096];
    let length = stream.read(&mut first).expect("the agent speaks first");
    assert!(length > 0 && first[0] == 22, "it begins a TLS handshake");
    assert!(!String::from_utf8_lossy(&first[..length]).contains(&secret));
    drop(agent);
    // An address without TLS is refused before anything is sent.
    let mut command = program(BELLWETHER_AGENT);
    command.args(["run", "--server", &url.replace("https", "http"), "--device", "quiet", "--engine", "simulated"]);
    command.args(["--token", &token]).arg("--state-dir").arg(fleet.state_dir("quiet-plain"));
    let mut agent = Running::start("quiet-plain", command);
    assert_eq!(agent.status().code(), Some(1), "{}", agent.log());
    insta::assert_snapshot!(agent.log().replace(&url.replace("https", "http"), "[url]"), @"bellwether-agent: server from the command line cannot be used: it does not begin with https://");
    fleet.agents.clear();
}

/// Stands between devices and a controller. The answer to the first request gets lost on the way; everything else passes.
fn losing_the_first_answer(controller: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for (number, device) in listener.incoming().enumerate() {
            let (Ok(device), Ok(server)) = (device, TcpStream::connect(&controller)) else { return };
            // Sent back to the device: of the first connection only the server's half of the handshake, which is its first
            // answer; the request follows it, and what follows the request is lost.
            let handshake_only = number == 0;
            let ends = (device.try_clone().expect("share"), server.try_clone().expect("share"));
            std::thread::spawn(move || passing(ends.0, ends.1, false));
            std::thread::spawn(move || passing(server, device, handshake_only));
        }
    });
    port
}

fn passing(mut from: TcpStream, mut to: TcpStream, first_flight_only: bool) {
    let mut bytes = vec![0; 64 << 10];
    let mut passed = false;
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if (!passed || !first_flight_only) && to.write_all(&bytes[..length]).is_err() {
            return;
        }
        passed = true;
    }
}

#[test]
fn an_agent_killed_between_the_new_controllers_answer_and_its_file_is_still_of_the_old_fleet_and_can_join_again() {
    let mut old = start("leaving", &["mover"]);
    old.enroll(&["mover"]);
    old.settled(&["mover"]);
    old.agents.clear();
    let state = old.state_dir("mover");
    let before = std::fs::read(state.join("identity.json")).expect("it has an identity");

    let new = start("joining", &["mover"]);
    let port = losing_the_first_answer(new.url().trim_start_matches("https://").to_owned());
    let (url, token) = (format!("https://localhost:{port}"), new.token(&["mover"]));
    let join = || {
        let mut command = program(BELLWETHER_AGENT);
        command.args(["join", &url, &token, "--state-dir"]).arg(&state).arg("--ca-file").arg(new.ca_file());
        Running::start("join", command)
    };
    let mut first = join();
    eventually("the new controller lets the device in", || {
        (identity(&new, "mover") == Some(IdentityStatus::Enrolled)).then_some(())
    });
    first.kill();
    assert_eq!(std::fs::read(state.join("identity.json")).expect("there"), before, "it knows nothing of an answer");

    // The token is used up; what lets it in is the key that it wrote down before it asked.
    let mut again = join();
    assert!(again.status().success(), "{}", again.log());
    let told = again.log();
    assert!(
        told.contains("mover belongs to the fleet of https://localhost:") && told.contains("for going back"),
        "{told}"
    );
    let kept = std::fs::read(state.join("identity.json.previous")).expect("the way back is kept");
    assert_eq!(kept, before);
    assert!(state.join("ledger.previous").exists());
    let mut command = program(BELLWETHER_AGENT);
    command.args(["run", "--engine", "simulated", "--os", "simulated", "--poll-interval-secs", "1"]);
    command.args(["--look-interval-secs", "1", "--state-dir"]).arg(&state);
    let _agent = Running::start("mover", command);
    new.settled(&["mover"]);
}
