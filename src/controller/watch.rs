//! Watches the fleet repo: asks for news at each look, and tells the owner what the commits mean.

use super::owner::{CommandError, Handle, show_chain};
use super::{Options, RepoStatus, SharedWorld};
use crate::clock;
use crate::domain::desired::{Desired, Explanation, Resolver, explain};
use crate::domain::ids::{CommitId, DeviceId, StageName};
use crate::domain::plan::gate::{Candidate, Lineage};
use crate::domain::plan::pass::{Meaning, StageView};
use crate::domain::snapshot::Head;
use crate::ports::repo::{Fetch, Repo, RepoError};
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
) -> std::io::Result<Running> {
    let (sender, receiver) = sync_channel(QUEUE);
    let watcher = Watcher::new(options, repo, world, owner);
    let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || watcher.run(&receiver))?;
    Ok(Running { waker: Waker(sender), thread })
}

pub(super) struct Watcher {
    options: Arc<Options>,
    repo: Box<dyn Repo>,
    world: SharedWorld,
    owner: Handle,
    /// Meanings of the commits that are in use.
    meanings: BTreeMap<CommitId, Arc<Desired>>,
    /// One per stage, so that a stage's unchanged files stay remembered while other stages are read.
    resolvers: BTreeMap<StageName, Resolver>,
    heads: BTreeMap<StageName, Head>,
    status: RepoStatus,
    /// The commits that counted when the stages were last read.
    bases: BTreeMap<StageName, CommitId>,
    /// At the first look the accepted commits are read even if the remote is unavailable.
    first: bool,
}

impl Watcher {
    pub(super) fn new(options: Arc<Options>, repo: Box<dyn Repo>, world: SharedWorld, owner: Handle) -> Self {
        Self {
            options,
            repo,
            world,
            owner,
            meanings: BTreeMap::new(),
            resolvers: BTreeMap::new(),
            heads: BTreeMap::new(),
            status: RepoStatus::default(),
            bases: BTreeMap::new(),
            first: true,
        }
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
                    let explained = self.repo.snapshot(&commit).ok().and_then(|files| explain(&files, &device));
                    // Whoever asked may have gone.
                    let _ = answer.send(explained);
                }
                Err(RecvTimeoutError::Disconnected) => return Due::Stop,
            }
        }
    }

    /// One look. `Err` means that the owner is gone.
    pub(super) fn look(&mut self) -> Result<(), CommandError> {
        let mut status = self.status.clone();
        // What could not be read is read again; and what was read against a commit that no longer counts.
        let mut read = self.first || !status.unreadable.is_empty() || self.bases != self.accepted();
        match self.repo.fetch(&self.options.stage_names()) {
            Fetch::Fetched(heads) => {
                status.last_contact = Some(clock::now());
                status.unavailable = None;
                status.missing =
                    self.options.stage_names().into_iter().filter(|stage| !heads.contains_key(stage)).collect();
                // A branch that is gone keeps its last head: gone is not empty.
                self.heads.extend(heads);
                read = true;
            }
            Fetch::NotModified => {
                status.last_contact = Some(clock::now());
                status.unavailable = None;
            }
            Fetch::Unavailable { reason } => {
                if status.unavailable.as_ref() != Some(&reason) {
                    tracing::warn!(error = %reason, "the fleet repo is unavailable; everything goes on as it is");
                }
                status.unavailable = Some(reason);
            }
        }
        let views = read.then(|| self.read_stages(&mut status));
        self.first = false;
        self.status = status.clone();
        self.owner.news(News { views, status })?;
        self.owner.tick()
    }

    /// The commits that count now.
    fn accepted(&self) -> BTreeMap<StageName, CommitId> {
        let world = self.world.read();
        let stages = world.state.stages.iter();
        stages.filter_map(|(stage, record)| Some((stage.clone(), record.accepted.clone()?))).collect()
    }

    /// Works out what each stage's commits mean. What cannot be read keeps its last meaning.
    fn read_stages(&mut self, status: &mut RepoStatus) -> BTreeMap<StageName, StageView> {
        let accepted = self.accepted();
        self.bases.clone_from(&accepted);
        status.unreadable.clear();
        let mut views = BTreeMap::new();
        for stage in self.options.stage_names() {
            match self.read_stage(&stage, accepted.get(&stage)) {
                Ok(view) => {
                    views.insert(stage, view);
                }
                Err(error) => {
                    let reason = show_chain(&error);
                    tracing::error!(stage = %stage, error = %reason, "a stage could not be read; its last commit counts");
                    if let Some(view) = self.world.read().views.get(&stage) {
                        views.insert(stage.clone(), view.clone());
                    }
                    status.unreadable.insert(stage, reason);
                }
            }
        }
        let in_use: Vec<CommitId> =
            accepted.into_values().chain(self.heads.values().map(|head| head.commit.clone())).collect();
        self.meanings.retain(|commit, _| in_use.contains(commit));
        views
    }

    fn read_stage(&mut self, stage: &StageName, accepted: Option<&CommitId>) -> Result<StageView, RepoError> {
        let mut view = StageView::default();
        if let Some(commit) = accepted {
            view.accepted = match self.meaning(stage, commit) {
                Ok(desired) => Some(Meaning { commit: commit.clone(), desired }),
                // After a restore the commit may be gone here and at the remote: last claims and assignments stand.
                Err(RepoError::NoCommit(_)) => None,
                Err(error) => return Err(error),
            };
        }
        let Some(head) = self.heads.get(stage).cloned() else { return Ok(view) };
        if Some(&head.commit) == accepted {
            return Ok(view);
        }
        let desired = self.meaning(stage, &head.commit)?;
        let extends = match accepted {
            None => true,
            Some(accepted) => self.repo.contains(&head.commit, accepted)?,
        };
        let lineage = if extends { Lineage::Extends } else { Lineage::Rewrites };
        view.candidate = Some(Candidate { head, desired, base: accepted.cloned(), lineage });
        Ok(view)
    }

    fn meaning(&mut self, stage: &StageName, commit: &CommitId) -> Result<Arc<Desired>, RepoError> {
        if let Some(known) = self.meanings.get(commit) {
            return Ok(known.clone());
        }
        let snapshot = self.repo.snapshot(commit)?;
        let desired = self.resolvers.entry(stage.clone()).or_default().resolve(&snapshot);
        self.meanings.insert(commit.clone(), desired.clone());
        Ok(desired)
    }
}

/// What the watcher's thread does next.
enum Due {
    Look,
    Stop,
}
