//! A store in memory, for tests and the simulation. It keeps what a real one keeps, counts what is written, and fails on demand.

use super::{MAX_EVENTS, Store, StoreError};
use crate::domain::fleet::{Change, Event, FleetState};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store in memory. Clones share what is kept, as two openings of one file do, so that a test can drop a controller
/// and start another on the same store.
#[derive(Clone, Debug, Default)]
pub struct FakeStore {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    state: FleetState,
    /// Newest first.
    events: VecDeque<Event>,
    counts: WriteCounts,
    faults: VecDeque<Fault>,
}

/// What was written since the store was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Transactions that were committed.
    pub transactions: u64,
    /// Changes in them.
    pub changes: u64,
}

/// How the next commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written, and the caller is told.
    NotWritten,
    /// Everything is written, and the caller is told that it failed: the answer was lost.
    AnswerLost,
}

impl FakeStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written so far.
    pub fn counts(&self) -> WriteCounts {
        self.disk().counts
    }

    /// The next commit with changes fails. Faults queue up.
    pub fn fail_next(&self, fault: Fault) {
        self.disk().faults.push_back(fault);
    }

    /// A store of its own with what this one has now: a backup.
    pub fn backup(&self) -> Self {
        let disk = Disk { faults: VecDeque::new(), ..self.disk().clone() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        // A test that panicked while it held the lock has failed already; the others may go on.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn write(&mut self, changes: &[Change]) {
        self.state.apply(changes);
        for change in changes {
            if let Change::Event(event) = change {
                self.events.push_front(event.clone());
            }
        }
        self.events.truncate(MAX_EVENTS);
        self.counts.transactions += 1;
        self.counts.changes += changes.len() as u64;
    }
}

impl Store for FakeStore {
    fn load(&mut self) -> Result<FleetState, StoreError> {
        Ok(self.disk().state.clone())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut disk = self.disk();
        let fault = disk.faults.pop_front();
        if fault != Some(Fault::NotWritten) {
            disk.write(changes);
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(StoreError::Failed { attempted: "commit a transaction", source: "planned fault".into() }),
        }
    }

    fn events(&mut self, subject: Option<&str>, limit: usize) -> Result<Vec<Event>, StoreError> {
        let disk = self.disk();
        let about = disk.events.iter().filter(|event| subject.is_none_or(|subject| event.subject == subject));
        Ok(about.take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{self, Harness, sample};
    use super::*;

    #[derive(Default)]
    struct InMemory(FakeStore);

    impl Harness for InMemory {
        type Store = FakeStore;
        fn open(&mut self) -> FakeStore {
            self.0.clone()
        }
        fn writes(&mut self, _: &FakeStore) -> u64 {
            self.0.counts().transactions
        }
        fn break_next_commit(&mut self, _: &mut FakeStore) {
            self.0.fail_next(Fault::NotWritten);
        }
    }

    contract::tests!(InMemory::default());

    #[test]
    fn a_lost_answer_leaves_the_changes_written() {
        let mut store = FakeStore::new();
        store.fail_next(Fault::AnswerLost);
        assert!(store.commit(&sample::changes()).is_err());
        assert_eq!(store.load().unwrap(), sample::state());
    }

    #[test]
    fn a_backup_stands_still() {
        let mut store = FakeStore::new();
        let mut backup = store.backup();
        store.commit(&sample::changes()).unwrap();
        assert_eq!(backup.load().unwrap(), FleetState::default());
    }
}
