//! The local API of a real agent: what people and applications on the device get, and what garbage gets.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::{BELLWETHER_AGENT, eventually, program};
use crate::harness::run::{has_real_parts, run};
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::domain::device::local::LocalStatus;
use bellwether::protocol::v1::messages::ErrorBody;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

const FILES: &[(&str, &str)] = &[
    ("fleet.yml", "name: acme\n"),
    (
        "inventory.yml",
        "all:\n  hosts:\n    kiosk-1: { branch: main, pins: { web: 1.0.0 }, variables: { GREETING: hello } }\n",
    ),
    ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
    ("releases/web/1.0.0/compose.yml", "services:\n  nav:\n    image: registry.example/nav:1\n"),
];

fn agent(fleet: &Fleet, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = program(BELLWETHER_AGENT);
    command.args(arguments).arg("--state-dir").arg(fleet.state_dir("kiosk-1"));
    outcome(&mut command)
}

fn status(fleet: &Fleet) -> LocalStatus {
    let (code, out, error) = agent(fleet, &["status", "-o", "json"]);
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str(&out).expect("a status")
}

/// What comes back for these bytes, until the agent hangs up: its first line and what our body says.
fn raw(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).expect("the agent listens");
    // It may hang up before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let first = text.lines().next().unwrap_or("hung up").replace("HTTP/1.1 ", "");
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    match serde_json::from_str::<ErrorBody>(body) {
        Ok(body) => format!("{first}: {}", body.code),
        Err(_) => first,
    }
}

fn request(socket: &Path, method: &str, path: &str, body: &str) -> String {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    raw(socket, format!("{head}{body}").as_bytes())
}

#[test]
fn people_and_applications_on_the_device_ask_the_agent_and_garbage_is_refused() {
    let mut fleet = Fleet::start("local-api", On::Simulated, FILES);
    let locks = fleet.state_dir("kiosk-1").with_extension("locks");
    fleet.agent_flags = vec!["--lock-dir".to_owned(), locks.display().to_string()];
    let (code, _, error) = agent(&fleet, &["status"]);
    assert_eq!(code, Some(1), "nothing runs yet");
    assert!(error.contains("no agent answers at") && error.contains("systemctl start"), "{error}");
    fleet.enroll(&["kiosk-1"]);
    fleet.settled(&["kiosk-1"]);
    let socket = fleet.state_dir("kiosk-1").join("agent.sock");
    assert_eq!(std::fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777, 0o600);

    let (code, out, error) = agent(&fleet, &["status"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("Releases  web 1.0.0") && out.contains("web/nav  running"), "{out}");
    let (code, out, error) = agent(&fleet, &["logs", "nav", "-n", "50"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("GREETING=hello"), "{out}");
    assert_eq!(agent(&fleet, &["check"]).0, Some(0));
    let (code, _, error) = agent(&fleet, &["logs", "web/none"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no service web/none is assigned"), "{error}");

    // A service speaks for itself.
    let ask = |method: &str, path: &str, body: &str| request(&socket, method, path, body);
    assert_eq!(
        ask("PUT", "/v1/health", r#"{"service": "nav", "status": "unhealthy", "message": "no satellites"}"#),
        "204 No Content"
    );
    let told = status(&fleet);
    let condition = told.conditions.iter().find(|one| one.kind == "ServicesHealthy").expect("it was told");
    assert_eq!(condition.message, "web/nav says that it is not well: no satellites");
    eventually("the controller knows", || {
        fleet.device("kiosk-1").conditions.iter().any(|one| one.reason == "ToldUnhealthy").then_some(())
    });
    assert_eq!(
        ask("PUT", "/v1/health", r#"{"service": "web/nav", "status": "healthy", "for_secs": 60}"#),
        "204 No Content"
    );

    // Locks are taken once, shown, and given back by their owner.
    let lock = |arguments: &[&str]| {
        let (code, out, error) = agent(&fleet, arguments);
        format!("{code:?} {}", if out.is_empty() { error } else { out }.trim())
    };
    let took = lock(&["lock", "take", "nav", "--owner", "nav", "--reason", "on a journey"]);
    assert_eq!(took, "Some(0) Took the lock of nav.");
    let again = lock(&["lock", "take", "web/nav", "--owner", "anna"]);
    assert!(again.starts_with("Some(1)") && again.contains("on a journey"), "{again}");
    let listed = lock(&["lock", "list"]);
    assert!(listed.contains("web/nav  nav") && listed.contains("service, reboot"), "{listed}");
    eventually("the status shows it", || (status(&fleet).locks.len() == 1).then_some(()));
    assert!(lock(&["lock", "release", "nav", "--owner", "anna"]).starts_with("Some(1)"));
    assert_eq!(lock(&["lock", "release", "nav", "--owner", "nav"]), "Some(0) Gave back the lock of nav.");
    assert_eq!(lock(&["lock", "list"]), "Some(0) Nothing is locked.");
    assert_eq!(ask("PUT", "/v1/locks", "{}"), "204 No Content");
    assert_eq!(ask("PUT", "/v1/locks", "{}"), "409 Conflict: locked");
    assert_eq!(ask("DELETE", "/v1/locks", "{}"), "204 No Content");
    assert_eq!(ask("DELETE", "/v1/locks", "{}"), "404 Not Found: not-locked");
    assert_eq!(ask("POST", "/v1/locks", "{}"), "405 Method Not Allowed: wrong-method");

    // Whatever else comes is refused, and the agent goes on.
    let checks: &[(&str, &str, &str, &str)] = &[
        ("GET", "/", "", "404 Not Found: no-such-path"),
        ("GET", "/v1/../etc/passwd", "", "404 Not Found: no-such-path"),
        ("DELETE", "/v1/status", "", "405 Method Not Allowed: wrong-method"),
        ("PUT", "/v1/health", "", "400 Bad Request: bad-body"),
        ("PUT", "/v1/health", r#"{"service": "nav", "status": "splendid"}"#, "400 Bad Request: bad-body"),
        ("PUT", "/v1/health", r#"{"service": "../x", "status": "healthy"}"#, "400 Bad Request: bad-service"),
        ("PUT", "/v1/health", r#"{"service": "car", "status": "healthy"}"#, "404 Not Found: unknown-service"),
        (
            "PUT",
            "/v1/health",
            r#"{"service": "nav", "status": "healthy", "for_secs": 0}"#,
            "422 Unprocessable Entity: out-of-range",
        ),
        ("PUT", "/v1/health", &"[".repeat(4000), "400 Bad Request: bad-body"),
        ("PUT", "/v1/health", &"x".repeat(5000), "400 Bad Request: bad-body"),
        ("GET", "/v1/logs", "", "400 Bad Request: bad-query"),
        ("GET", "/v1/logs?service=nav&lines=999999", "", "400 Bad Request: bad-query"),
        ("GET", "/v1/logs?service=nav&follow=1", "", "400 Bad Request: bad-query"),
    ];
    for (method, path, body, expected) in checks {
        assert_eq!(ask(method, path, body), *expected, "{method} {path}");
    }
    assert_eq!(raw(&socket, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "400 Bad Request");
    assert_eq!(raw(&socket, b"GET / HTTP/9.9\r\n\r\n"), "400 Bad Request");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000));
    assert_eq!(raw(&socket, long.as_bytes()), "431 Request Header Fields Too Large");
    eventually("one more is told to come back", || {
        // Anew each time: whoever says nothing is hung up on after a while.
        let open: Vec<UnixStream> = (0..16).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
        let told = ask("GET", "/v1/status", "");
        drop(open);
        (told == "503 Service Unavailable").then_some(())
    });
    eventually("there is room again", || (ask("GET", "/v1/status", "") == "200 OK").then_some(()));
    assert_eq!(status(&fleet).device.as_str(), "kiosk-1");
}

#[test]
fn who_may_open_the_socket_is_the_files_business() {
    if !has_real_parts(&["setpriv", "curl"]) {
        return;
    }
    // Where others may go: what else tests have is for their user alone.
    let place = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir();
    let place = place.expect("make a directory");
    let socket = place.path().join("agent.sock");
    let mut fleet = Fleet::start("local-group", On::Simulated, FILES);
    let flags = ["--api-socket", &socket.display().to_string(), "--api-mode", "660", "--api-group", "4711"];
    fleet.agent_flags = flags.map(str::to_owned).to_vec();
    fleet.enroll(&["kiosk-1"]);
    fleet.settled(&["kiosk-1"]);
    let found = std::fs::metadata(&socket).expect("a socket");
    assert_eq!((found.permissions().mode() & 0o777, found.gid()), (0o660, 4711));
    let ask = |group: &str| {
        let mut command = run().command("setpriv");
        command.args([
            "--reuid",
            "65534",
            "--regid",
            group,
            "--clear-groups",
            "curl",
            "--silent",
            "--output",
            "/dev/null",
        ]);
        command.args(["--write-out", "%{http_code}", "--unix-socket"]).arg(&socket).arg("http://agent/v1/status");
        String::from_utf8(command.output().expect("ask as somebody else").stdout).expect("a number")
    };
    assert_eq!(ask("4711"), "200", "a member of its group");
    assert_eq!(ask("65534"), "000", "anybody else does not get in");
}

#[test]
fn a_volume_is_purged_on_the_device_and_a_device_leaves_without_losing_anything() {
    let files = [
        FILES[0],
        FILES[1],
        FILES[2],
        (
            "releases/web/1.0.0/compose.yml",
            "services:\n  nav:\n    image: registry.example/nav:1\n    volumes: [ 'cache:/cache' ]\nvolumes:\n  cache: {}\n",
        ),
    ];
    let mut fleet = Fleet::start("leaving", On::Simulated, &files);
    fleet.enroll(&["kiosk-1"]);
    fleet.settled(&["kiosk-1"]);
    let engine = SimulatedEngine::open(&fleet.state_dir("kiosk-1").join("engine")).expect("an engine");
    let did = |engine: &SimulatedEngine, what: &str| {
        let journal = engine.journal().expect("readable");
        journal.iter().filter(|entry| entry.operation == what).count()
    };
    let (code, _, error) = agent(&fleet, &["purge", "web/none", "--yes"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no volume web/none on this device"), "{error}");
    assert_eq!(agent(&fleet, &["purge", "web/cache"]).0, Some(2), "nobody said --yes");
    let (code, out, error) = agent(&fleet, &["purge", "web/cache", "--yes"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("LastAction"), "{out}");
    eventually("the volume is made anew", || (did(&engine, "create volume cache of web") == 2).then_some(()));
    eventually("what came of it is told", || {
        status(&fleet).conditions.iter().any(|one| one.kind == "LastAction" && one.reason == "Done").then_some(())
    });
    fleet.settled(&["kiosk-1"]);

    // Leaving: not while the agent runs, and what runs goes on.
    let (code, _, error) = agent(&fleet, &["leave", "--yes", "--engine", "simulated"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("another agent uses the state directory"), "{error}");
    fleet.agents.remove("kiosk-1");
    let before = engine.contents().expect("readable");
    let (code, out, error) = agent(&fleet, &["leave", "--yes", "--engine", "simulated"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("Containers keep running") && out.contains("identity.json.previous"), "{out}");
    assert_eq!(engine.contents().expect("readable"), before);
    let place = fleet.state_dir("kiosk-1");
    assert!(!place.join("identity.json").exists() && place.join("identity.json.previous").exists());
    assert!(agent(&fleet, &["leave", "--yes", "--engine", "simulated"]).1.contains("nothing to leave"));
    // Back as it was, and out again with everything but the data.
    std::fs::rename(place.join("identity.json.previous"), place.join("identity.json")).expect("renamed");
    std::fs::write(place.join("identity.json.joining"), "{}").expect("written");
    let (code, out, error) = agent(&fleet, &["leave", "--yes", "--remove", "--forget", "--engine", "simulated"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("Removed web/nav.") && out.contains("Kept volume cache of web"), "{out}");
    let left = engine.contents().expect("readable");
    let apps: Vec<String> =
        left.apps.iter().map(|(app, one)| format!("{app} {:?} {:?}", one.services.len(), one.volumes)).collect();
    assert_eq!(apps, [r#"web 0 {"cache"}"#]);
    let keys = ["identity.json", "identity.json.previous", "identity.json.joining"];
    assert!(keys.iter().all(|name| !place.join(name).exists()), "no key is left");
    let (code, _, error) = agent(&fleet, &["join"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("say which controller to join"), "{error}");
}
