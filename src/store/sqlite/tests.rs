mod rollouts;

use super::*;
use crate::domain::fleet::{HoldScope, POISONED};
use crate::ports::store::contract::{self, Harness, event, sample};
use tempfile::TempDir;

struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("fleet.db")
    }

    /// Runs statements behind the store's back.
    fn meddle(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

impl Harness for OnDisk {
    type Store = SqliteStore;

    fn open(&mut self) -> SqliteStore {
        SqliteStore::open(&self.path()).unwrap()
    }

    fn writes(&mut self, _: &SqliteStore) -> u64 {
        // Every write goes through the log, and nothing truncates it while the store is open.
        std::fs::metadata(beside(&self.path(), "-wal")).unwrap().len()
    }

    fn break_next_commit(&mut self, store: &mut SqliteStore) {
        store
            .connection
            .execute_batch(
                "CREATE TEMP TRIGGER doomed BEFORE INSERT ON main.events WHEN new.subject = 'doomed'
                 BEGIN SELECT RAISE(ABORT, 'planned fault'); END",
            )
            .unwrap();
    }
}

contract::tests!(OnDisk::new());

fn text(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn only_one_controller_owns_a_database() {
    let mut disk = OnDisk::new();
    let first = disk.open();
    assert!(matches!(SqliteStore::open(&disk.path()), Err(StoreError::InUse)));
    drop(first);
    disk.open();
}

#[test]
fn the_oldest_events_go_when_there_are_too_many() {
    let mut disk = OnDisk::new();
    let mut store = disk.open();
    store.keep_events = 3;
    store.commit(&(1..=5).map(|at| Change::Event(event("a", at))).collect::<Vec<_>>()).unwrap();
    store.commit(&[Change::Event(event("a", 6))]).unwrap();
    let left: Vec<i64> = store.events(None, 10).unwrap().iter().map(|event| event.at.millis()).collect();
    assert_eq!(left, [6, 5, 4]);
}

#[test]
fn a_backup_is_a_store_of_its_own() {
    let mut disk = OnDisk::new();
    let mut store = disk.open();
    store.commit(&sample::changes()).unwrap();
    let copy = disk.0.path().join("backup.db");
    store.backup(&copy).unwrap();
    store.commit(&sample::removals()).unwrap();
    assert_eq!(SqliteStore::open(&copy).unwrap().load().unwrap(), sample::state());
    assert!(store.backup(&copy).is_err(), "an existing file is not overwritten");
}

#[test]
fn a_damaged_file_is_refused_with_a_hint() {
    let mut disk = OnDisk::new();
    disk.open().commit(&sample::changes()).unwrap();
    let mut bytes = std::fs::read(disk.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    std::fs::write(disk.path(), &bytes).unwrap();
    let error = SqliteStore::open(&disk.path()).err().expect("damage is noticed");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.hint().unwrap().contains("backup"));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let disk = OnDisk::new();
    let text = "this is a shopping list, not a database\n".repeat(100);
    std::fs::write(disk.path(), &text).unwrap();
    let error = SqliteStore::open(&disk.path()).err().expect("it is no database");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(disk.path()).unwrap(), text);
}

#[test]
fn a_database_of_a_newer_build_is_refused_and_left_alone() {
    let mut disk = OnDisk::new();
    disk.open();
    disk.meddle("INSERT INTO migrations VALUES (99, 'later', 'sha256:00')");
    let error = SqliteStore::open(&disk.path()).err().expect("it is newer");
    assert_eq!(text(&error), "the database has schema version 99; this build knows versions up to 6");
}

#[test]
fn a_database_with_other_steps_is_refused() {
    let mut disk = OnDisk::new();
    disk.open();
    disk.meddle("UPDATE migrations SET digest = 'sha256:00'");
    let error = SqliteStore::open(&disk.path()).err().expect("the step differs");
    assert_eq!(text(&error), "schema step 1 of the database is not the one that this build knows");
}

#[test]
fn a_step_that_fails_leaves_the_schema_as_it_was() {
    let mut connection = Connection::open_in_memory().unwrap();
    let broken = migrate::Migration { name: "broken", sql: "CREATE TABLE half (x INTEGER) STRICT; CREATE TABLE;" };
    assert!(migrate::run(&mut connection, &[broken]).is_err());
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 0);
}

/// Spoils one column and shows what becomes of the record.
fn check_poisoned(sql: &str) -> FleetState {
    let mut disk = OnDisk::new();
    disk.open().commit(&sample::changes()).unwrap();
    disk.meddle(sql);
    let mut store = disk.open();
    let state = store.load().unwrap();
    assert_eq!(state.quarantined.len(), 1, "{:?}", state.quarantined);
    assert_eq!(store.load().unwrap(), state, "reading again shows the same");
    state
}

#[test]
fn a_device_whose_record_cannot_be_read_waits_for_a_person() {
    for part in ["identity", "control", "assignment"] {
        let state = check_poisoned(&format!("UPDATE devices SET {part} = '{{\"no' WHERE device = 'kiosk-1'"));
        assert_eq!(state.quarantined[0].kind, part);
        assert_eq!(state.quarantined[0].subject, "kiosk-1");
        let conflict = state.devices["kiosk-1"].control.conflict.as_ref().unwrap();
        // One that was there before stays: it is the older reason.
        let expected = if part == "control" { POISONED } else { "DeviceAhead" };
        assert_eq!(conflict.reason, expected);
        assert_eq!(state.devices["kiosk-2"], sample::state().devices["kiosk-2"], "the others go on");
    }
}

#[test]
fn a_report_that_cannot_be_read_is_only_missing() {
    let state = check_poisoned("UPDATE devices SET reported = 'null' WHERE device = 'kiosk-1'");
    assert_eq!(state.devices["kiosk-1"].reported, None);
    assert_eq!(state.devices["kiosk-1"].assignment, sample::state().devices["kiosk-1"].assignment);
}

#[test]
fn a_row_whose_key_is_no_device_name_is_set_apart() {
    let state = check_poisoned("INSERT INTO devices (device) VALUES ('no such name!')");
    assert_eq!(state.devices, sample::state().devices);
}

#[test]
fn a_hold_that_cannot_be_read_still_holds() {
    let state = check_poisoned("UPDATE holds SET document = '?' WHERE scope LIKE '%\"stage\"%'");
    let hold = &state.holds[&HoldScope::Stage("production".parse().unwrap())];
    assert_eq!(hold.until, None);
    let state = check_poisoned("UPDATE holds SET scope = 'everything' WHERE scope LIKE '%\"stage\"%'");
    assert!(state.holds.contains_key(&HoldScope::Fleet));
}

#[test]
fn an_epoch_that_cannot_be_read_stops_everything() {
    let mut disk = OnDisk::new();
    disk.open().commit(&sample::changes()).unwrap();
    disk.meddle("UPDATE meta SET document = '0'");
    let error = disk.open().load().unwrap_err();
    assert!(matches!(error, StoreError::BadDocument { kind: "epoch", .. }), "{error}");
}

#[test]
fn what_could_not_be_read_is_kept_when_something_newer_takes_its_place() {
    let mut disk = OnDisk::new();
    disk.open().commit(&sample::changes()).unwrap();
    disk.meddle("UPDATE devices SET assignment = 'spoilt' WHERE device = 'kiosk-1'");
    let mut store = disk.open();
    store.load().unwrap();
    store.commit(&sample::device_parts("kiosk-1", 4)).unwrap();
    store.commit(&sample::device_parts("kiosk-1", 5)).unwrap();
    let kept: Vec<(String, String, String)> = store
        .connection
        .prepare("SELECT kind, subject, document FROM quarantine")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(kept, [("assignment".to_owned(), "kiosk-1".to_owned(), "spoilt".to_owned())]);
    assert_eq!(store.load().unwrap().quarantined, []);
}

#[test]
fn a_commit_is_on_the_disk_when_it_returns() {
    let mut disk = OnDisk::new();
    let store = disk.open();
    let setting = |name| -> String {
        let value = |row: &rusqlite::Row<'_>| Ok(format!("{:?}", row.get_ref(0)?));
        store.connection.pragma_query_value(None, name, value).unwrap()
    };
    // 2 is FULL: the log is synced at each commit.
    assert_eq!((setting("synchronous").as_str(), setting("foreign_keys").as_str()), ("Integer(2)", "Integer(1)"));
    let mode: String = store.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}
