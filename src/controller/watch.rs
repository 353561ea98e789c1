//! Watches the fleet repo: asks for news at each look, and tells the owner what the commits mean.

mod reader;

pub use reader::{Accepted, Reader};

use super::owner::{CommandError, Handle, show_chain};
use super::vault::Vault;
use super::{Options, RepoStatus, SharedWorld};
use crate::clock;
use crate::domain::desired::{Explanation, Resolver};
use crate::domain::fleet::FleetState;
use crate::domain::ids::{CommitId, DeviceId, StageName};
use crate::domain::manifest::compose::HostRights;
use crate::domain::plan::pass::StageView;
use crate::ports::repo::Repo;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// What the watcher found.
#[derive(Debug)]
pub struct News {
    /// What the stages' commits mean; `None` if nothing moved or nothing could be asked.
    pub views: Option<BTreeMap<StageName, StageView>>,
    /// How the repo was found.
    pub status: RepoStatus,
}

/// How many requests may wait for the watcher. It answers between two looks.
const QUEUE: usize = 64;

/// What the watcher is asked.
enum Request {
    /// Look now.
    Look,
    /// Where the values of a device come from.
    Explain { commit: CommitId, device: DeviceId, answer: oneshot::Sender<Option<Explanation>> },
}

/// Wakes the watcher before its time, and asks it what only it can read.
#[derive(Clone, Debug)]
pub struct Waker(SyncSender<Request>);

impl Waker {
    /// Makes the watcher look now. Several wake-ups before it looks are one.
    pub fn wake(&self) {
        // A full channel means that it is about to look anyway.
        let _ = self.0.try_send(Request::Look);
    }

    /// Where the values of a device come from, as a commit sees it; `None` if the commit cannot be read now.
    pub async fn explain(&self, commit: CommitId, device: DeviceId) -> Option<Explanation> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Request::Explain { commit, device, answer }).ok()?;
        answered.await.ok().flatten()
    }
}

/// A running watcher. It stops after its current look once every [`Waker`] is dropped or the owner is gone.
pub struct Running {
    /// To wake it.
    pub waker: Waker,
    /// Its thread.
    pub thread: std::thread::JoinHandle<()>,
}

/// Starts the watcher's thread.
pub fn start(
    options: Arc<Options>,
    repo: Box<dyn Repo>,
    world: SharedWorld,
    owner: Handle,
    vault: Arc<Vault>,
) -> std::io::Result<Running> {
    let (sender, receiver) = sync_channel(QUEUE);
    let watcher = Watcher::new(options, repo, world, owner, vault);
    let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || watcher.run(&receiver))?;
    Ok(Running { waker: Waker(sender), thread })
}

pub(super) struct Watcher {
    options: Arc<Options>,
    repo: Box<dyn Repo>,
    world: SharedWorld,
    owner: Handle,
    reader: Reader,
}

impl Watcher {
    pub(super) fn new(
        options: Arc<Options>,
        repo: Box<dyn Repo>,
        world: SharedWorld,
        owner: Handle,
        vault: Arc<Vault>,
    ) -> Self {
        let rights = options.stages.iter().map(|stage| (stage.name.clone(), stage.host.clone())).collect();
        Self { options, repo, world, owner, reader: Reader::new(rights, vault) }
    }

    fn run(mut self, requests: &Receiver<Request>) {
        let interval = Duration::from_secs(self.options.poll_secs.max(1));
        loop {
            if self.look().is_err() {
                return;
            }
            match self.answer_until_due(requests, interval) {
                Due::Look => {}
                Due::Stop => return,
            }
        }
    }

    /// Answers requests until it is time to look again.
    fn answer_until_due(&mut self, requests: &Receiver<Request>, interval: Duration) -> Due {
        let due = clock::deadline(interval);
        loop {
            match requests.recv_timeout(due.left()) {
                Ok(Request::Look) | Err(RecvTimeoutError::Timeout) => return Due::Look,
                Ok(Request::Explain { commit, device, answer }) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.explain(&commit, &device));
                }
                Err(RecvTimeoutError::Disconnected) => return Due::Stop,
            }
        }
    }

    fn explain(&mut self, commit: &CommitId, device: &DeviceId) -> Option<Explanation> {
        let files = self.repo.snapshot(commit).ok()?;
        let rights = HostRights::of_any(self.options.stages.iter().map(|stage| &stage.host));
        let explanation = Resolver::with_rights(rights).explain(&files, device)?;
        match self.repo.last_changes(commit, &files, &explanation.lines()) {
            Ok(changes) => Some(explanation.with_changes(&changes)),
            // Where values come from is worth telling without who wrote them.
            Err(error) => {
                tracing::warn!(commit = commit.short(), error = %show_chain(&error), "the history could not be followed");
                Some(explanation)
            }
        }
    }

    /// One look. `Err` means that the owner is gone.
    pub(super) fn look(&mut self) -> Result<(), CommandError> {
        let (accepted, views) = {
            let world = self.world.read();
            (accepted(&world.state), world.views.clone())
        };
        let stages = self.options.stage_names();
        let news = self.reader.look(self.repo.as_mut(), &stages, &accepted, &views, clock::now());
        self.owner.news(news)?;
        self.owner.tick()
    }
}

/// The commits that count now.
pub fn accepted(state: &FleetState) -> Accepted {
    let stages = state.stages.iter();
    stages.filter_map(|(stage, record)| Some((stage.clone(), record.accepted.clone()?))).collect()
}

/// What the watcher's thread does next.
enum Due {
    Look,
    Stop,
}
