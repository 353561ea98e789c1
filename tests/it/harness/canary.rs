//! Everything that a controller tells or keeps, for tests that look for what must stand nowhere in it.

use super::fleet::{Fleet, outcome};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

const USUAL: &[&str] = &["table", "wide", "json", "yaml", "md"];
const NARROW: &[&str] = &["table", "json", "yaml"];
const DRIFT: &[&str] = &["table", "wide", "json", "yaml", "md", "html", "junit", "sarif"];

/// Every answer that people can ask for, in every form that there is for it, each with its name. `device` is one of theirs.
#[track_caller]
pub fn answers(fleet: &Fleet, device: &str) -> Vec<(String, Vec<u8>)> {
    let commands: &[(&[&str], &[&str])] = &[
        (&["why", device], USUAL),
        (&["why", device, "--repo", "."], USUAL),
        (&["device", device], USUAL),
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
        (&["check", "."], &["table", "json", "yaml", "sarif"]),
        (&["release", "list"], USUAL),
        (&["release", "show", "web", "1.0.0"], NARROW),
        (&["pin", device, "web", "1.0.0", "--dry-run"], NARROW),
    ];
    let mut all = Vec::new();
    for (arguments, formats) in commands {
        for format in *formats {
            let (status, stdout, stderr) =
                outcome(fleet.cli(arguments).args(["-o", format]).current_dir(fleet.repo.work()));
            assert!(matches!(status, Some(0 | 1 | 3 | 4)), "{arguments:?} -o {format}: {stderr}");
            assert!(!format!("{stdout}{stderr}").is_empty(), "{arguments:?} -o {format} says nothing");
            all.push((format!("{arguments:?} -o {format}"), format!("{stdout}{stderr}").into_bytes()));
        }
    }
    for path in ["/metrics", "/v1/baseline", "/v1/export"] {
        let mut stream = UnixStream::connect(fleet.socket()).expect("connect to the controller");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("ask");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&answer));
        all.push((path.to_owned(), answer));
    }
    all
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
