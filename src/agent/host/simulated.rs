//! A host that lives in a file.

use crate::agent::files::{read_bounded, write_durably};
use crate::domain::device::action::Failure;
use crate::domain::device::host::{Change, FoundHost, HookEnd, HookFailure, HostAsk};
use crate::domain::ids::HookName;
use crate::domain::spec::{MAX_SPEC_BYTES, Subject};
use crate::ports::host::fake::FakeHost;
use crate::ports::host::{Host, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

/// The longest file that is read, in bytes: contents of files can double as JSON, and secrets in them come on top.
const MAX_STATE_BYTES: usize = 8 * MAX_SPEC_BYTES;

/// A simulated host in a file.
#[derive(Clone, Debug)]
pub struct SimulatedHost {
    file: PathBuf,
}

impl SimulatedHost {
    /// The host in this file, which is made if need be.
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// What it holds now.
    pub fn contents(&self) -> io::Result<FakeHost> {
        match read_bounded(&self.file, MAX_STATE_BYTES)? {
            Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
            None => Ok(FakeHost::default()),
        }
    }

    /// Changes what it holds, as somebody does who does not ask.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut FakeHost) -> T) -> io::Result<T> {
        let mut host = self.contents()?;
        let answer = edit(&mut host);
        write_durably(&self.file, &serde_json::to_vec(&host)?)?;
        Ok(answer)
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure { reason: "HostNotChanged", message: format!("the simulated host cannot be used: {error}") }
}

impl Host for SimulatedHost {
    fn look<'a>(&'a self, ask: &'a HostAsk) -> Told<'a, FoundHost> {
        Box::pin(async {
            match self.contents() {
                Ok(host) => host.look(ask),
                Err(error) => {
                    let unread = ask.subjects.iter().map(|subject| (subject.clone(), broken(&error))).collect();
                    FoundHost { unread, ..FoundHost::default() }
                }
            }
        })
    }

    fn change<'a>(&'a self, changes: &'a [Change]) -> Told<'a, BTreeMap<Subject, Failure>> {
        Box::pin(async {
            self.edit(|host| host.change(changes))
                .unwrap_or_else(|error| changes.iter().map(|change| (change.subject(), broken(&error))).collect())
        })
    }

    fn run_hook<'a>(&'a self, hook: &'a HookName, _: &'a BTreeSet<Subject>) -> Told<'a, Result<HookEnd, HookFailure>> {
        Box::pin(async {
            let ended = self.edit(|host| host.run_hook(hook));
            ended.unwrap_or_else(|error| Err(HookFailure { failure: broken(&error), log: Vec::new() }))
        })
    }

    fn reboot(&self) -> Told<'_, Result<(), Failure>> {
        Box::pin(async { self.edit(FakeHost::reboot).map_err(|error| broken(&error)) })
    }
}
