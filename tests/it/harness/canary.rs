//! Everything that a controller tells or keeps, for tests that look for what must stand nowhere in it.

use super::fleet::{Fleet, outcome};
use bellwether::domain::overview::rollouts::RolloutRow;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

const USUAL: &[&str] = &["table", "wide", "json", "yaml", "md"];
const NARROW: &[&str] = &["table", "json", "yaml"];
const ROLLOUT: &[&str] = &["table", "wide", "json", "yaml"];
const DRIFT: &[&str] = &["table", "wide", "json", "yaml", "md", "html", "junit", "sarif"];
const SIMULATION: &[&str] = &["table", "wide", "json", "yaml", "html", "svg"];

/// Every command that answers about a device or the fleet, and the forms that it has. Each must succeed.
const COMMANDS: &[(&[&str], &[&str])] = &[
    (&["why", DEVICE], USUAL),
    (&["why", DEVICE, "--repo", "."], USUAL),
    (&["device", DEVICE], USUAL),
    (&["devices"], USUAL),
    (&["drift"], DRIFT),
    (&["drift", "--suggest"], USUAL),
    (&["drift", "--suggest", "--mended"], USUAL),
    (&["events"], USUAL),
    (&["status"], USUAL),
    (&["rollouts"], USUAL),
    (&["ls"], USUAL),
    (&["secret", "list"], USUAL),
    (&["enroll", "--pending"], USUAL),
    (&["plan", "--stage", "main"], USUAL),
    (&["diff", "--stage", "main"], &["table", "json", "yaml", "md"]),
    (&["simulate", "--stage", "main", "--all", "--policy", "cautious", "--runs", "2"], SIMULATION),
    (&["check", "."], &["table", "json", "yaml", "sarif"]),
    (&["release", "list"], USUAL),
    (&["release", "show", "web", "1.0.0"], NARROW),
    (&["pin", DEVICE, "web", "1.0.0", "--dry-run"], NARROW),
];
/// What is asked of each rollout.
const OF_ROLLOUTS: &[(&[&str], &[&str])] = &[
    (&["rollout", ROLLOUT_NAME], ROLLOUT),
    (&["rollout", ROLLOUT_NAME, "--history"], USUAL),
    (&["rollout", ROLLOUT_NAME, "--explain"], ROLLOUT),
    (&["rollout", "failures", ROLLOUT_NAME], ROLLOUT),
];
/// Pages and answers of the controller.
const PATHS: &[&str] = &[
    "/",
    "/metrics",
    "/v1/baseline",
    "/v1/devices",
    "/v1/drift",
    "/v1/events",
    "/v1/export",
    "/v1/groups",
    "/v1/inventory?registry=",
    "/v1/rollouts",
    "/v1/status",
];
/// Answers of an agent to applications on its device.
const LOCAL_PATHS: &[&str] = &["/v1/status", "/v1/assignment", "/v1/locks"];
/// Stands for the device that is asked about.
const DEVICE: &str = "<device>";
/// Stands for each rollout.
const ROLLOUT_NAME: &str = "<rollout>";

/// Every answer that people can ask for, in every form that there is for it, each with its name. `device` is one of theirs.
#[track_caller]
pub fn answers(fleet: &Fleet, device: &str) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (arguments, forms) in COMMANDS {
        all.extend(answered(fleet, &named(arguments, DEVICE, device), forms));
    }
    let rollouts: Vec<RolloutRow> = fleet.get("/v1/rollouts");
    for rollout in &rollouts {
        for (arguments, forms) in OF_ROLLOUTS {
            all.extend(answered(fleet, &named(arguments, ROLLOUT_NAME, rollout.rollout.as_str()), forms));
        }
    }
    all.push(("the artifact of a plan".to_owned(), artifact(fleet)));
    for path in PATHS {
        all.push(((*path).to_owned(), page(&fleet.socket(), path)));
    }
    let agent = fleet.state_dir(device).join("agent.sock");
    for path in LOCAL_PATHS {
        all.push((format!("{path} of the agent"), page(&agent, path)));
    }
    all
}

fn named<'a>(arguments: &[&'a str], stands: &str, name: &'a str) -> Vec<&'a str> {
    arguments.iter().map(|one| if *one == stands { name } else { *one }).collect()
}

/// What a command says in each form. All of them must succeed: what fails says little, and hides nothing by that.
#[track_caller]
fn answered(fleet: &Fleet, arguments: &[&str], forms: &[&str]) -> Vec<(String, Vec<u8>)> {
    let answer = |form: &&str| {
        let name = format!("{arguments:?} -o {form}");
        let (status, stdout, stderr) = outcome(fleet.cli(arguments).args(["-o", form]).current_dir(fleet.repo.work()));
        assert_eq!(status, Some(0), "{name}: {stderr}");
        let said = format!("{stdout}{stderr}");
        assert!(!said.is_empty(), "{name} says nothing");
        (name, said.into_bytes())
    };
    forms.iter().map(answer).collect()
}

/// The whole plan, as a file.
#[track_caller]
fn artifact(fleet: &Fleet) -> Vec<u8> {
    let path = fleet.data_dir().with_file_name("plan-artifact.json");
    let mut command = fleet.cli(&["plan", "--stage", "main", "--artifact"]);
    let (status, _, stderr) = outcome(command.arg(&path).current_dir(fleet.repo.work()));
    assert_eq!(status, Some(0), "plan --artifact: {stderr}");
    std::fs::read(path).expect("the artifact")
}

/// An answer over a socket, with its head.
#[track_caller]
fn page(socket: &Path, path: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).expect("connect");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("ask");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let first = String::from_utf8_lossy(&answer);
    // A device that has no assignment yet says so with 204.
    assert!(["HTTP/1.1 200", "HTTP/1.1 204"].iter().any(|fine| first.starts_with(fine)), "{path}: {first}");
    answer
}

/// Every value in the controller's database, put together where SQLite spreads it over pages.
#[track_caller]
pub fn database(fleet: &Fleet) -> Vec<(String, Vec<u8>)> {
    use rusqlite::types::ValueRef;
    let path = fleet.data_dir().join("bellwether.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(path, flags).expect("open the database");
    let texts = |sql: &str| -> Vec<Vec<u8>> {
        let mut statement = connection.prepare(sql).expect("a statement");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        let mut found = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..columns {
                match row.get_ref(column).expect("a value") {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => found.push(bytes.to_owned()),
                    ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => {}
                }
            }
        }
        found
    };
    let tables = texts("SELECT name FROM sqlite_master WHERE type = 'table'");
    let mut all = Vec::new();
    for table in tables {
        let table = String::from_utf8(table).expect("a name");
        let values = texts(&format!("SELECT * FROM \"{table}\""));
        all.extend(values.into_iter().map(|value| (format!("the table {table}"), value)));
    }
    assert!(all.len() > 10, "the database holds something");
    all
}
