//! Watches the fleet repo: asks for news at each look, and tells the owner what the commits mean.

mod aside;
mod listed;
mod reader;

pub use aside::{AskedBranch, AskedVariant, BranchError, Branched, VariantError};
pub use reader::{Accepted, Reader};

use super::lists::Lists;
use super::owner::{CommandError, Handle, show_chain};
use super::vault::Vault;
use super::{Options, RepoStatus, SharedWorld};
use crate::clock::{self, Deadline};
use crate::domain::desired::{Explanation, Resolver, Variant};
use crate::domain::fleet::{FleetState, Revision, StageRecord};
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::manifest::compose::HostRights;
use crate::domain::overview::secrets::SecretsAnswer;
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

/// How long changes of lists of devices are gathered: one that enrolls is mostly followed by others, and each look reads a list anew.
const LISTS_PAUSE: Duration = Duration::from_secs(1);

/// What the watcher is asked.
enum Request {
    /// Look now.
    Look,
    /// Lists of devices changed: look at them soon, without asking for the fleet repo.
    Lists,
    /// Where the values of a device come from.
    Explain { revision: Revision, device: DeviceId, answer: oneshot::Sender<Option<Explanation>> },
    /// What an app is on devices in some release.
    Variant { asked: Box<AskedVariant>, answer: oneshot::Sender<Result<Variant, VariantError>> },
    /// What the newest commit of a branch means that is no stage.
    Branch { asked: Box<AskedBranch>, answer: oneshot::Sender<Result<Branched, BranchError>> },
    /// Which secrets there are, and who uses them.
    Secrets { answer: oneshot::Sender<SecretsAnswer> },
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

    /// Makes the watcher look at lists of devices soon. Several wake-ups before it looks are one.
    pub fn lists_changed(&self) {
        // A full channel means that it is about to look anyway.
        let _ = self.0.try_send(Request::Lists);
    }

    /// Where the values of a device come from, as a commit sees it; `None` if the commit cannot be read now.
    pub async fn explain(&self, revision: Revision, device: DeviceId) -> Option<Explanation> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Request::Explain { revision, device, answer }).ok()?;
        answered.await.ok().flatten()
    }

    /// The secrets that devices refer to, without values; `None` if the watcher has too much to do.
    pub async fn secrets(&self) -> Option<SecretsAnswer> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Request::Secrets { answer }).ok()?;
        answered.await.ok()
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
    lists: Arc<Lists>,
) -> std::io::Result<Running> {
    let (sender, receiver) = sync_channel(QUEUE);
    let watcher = Watcher::new(options, repo, world, owner, vault, lists);
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
        lists: Arc<Lists>,
    ) -> Self {
        let rights = options.stages.iter().map(|stage| (stage.name.clone(), stage.host.clone())).collect();
        let reader = Reader::new(rights, vault).with_lists(lists, world.clone());
        Self { options, repo, world, owner, reader }
    }

    fn run(mut self, requests: &Receiver<Request>) {
        let interval = Duration::from_secs(self.options.poll_secs.max(1));
        let mut wanted = Look::All;
        let mut due = clock::deadline(interval);
        loop {
            if self.look(wanted).is_err() {
                return;
            }
            if wanted == Look::All {
                due = clock::deadline(interval);
            }
            wanted = match self.answer_until_due(requests, due) {
                Due::Look(wanted) => wanted,
                Due::Stop => return,
            };
        }
    }

    /// Answers requests until it is time to look again.
    fn answer_until_due(&mut self, requests: &Receiver<Request>, due: Deadline) -> Due {
        let mut soon: Option<Deadline> = None;
        loop {
            let left = soon.map_or(due.left(), |soon| soon.left().min(due.left()));
            match requests.recv_timeout(left) {
                Ok(Request::Look) => return Due::Look(Look::All),
                Err(RecvTimeoutError::Timeout) if due.left().is_zero() => return Due::Look(Look::All),
                Err(RecvTimeoutError::Timeout) => return Due::Look(Look::Lists),
                Ok(Request::Lists) => {
                    soon.get_or_insert_with(|| clock::deadline(LISTS_PAUSE));
                }
                Ok(Request::Explain { revision, device, answer }) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.explain(&revision, &device));
                }
                Ok(Request::Variant { asked, answer }) => {
                    let _ = answer.send(self.variant(&asked));
                }
                Ok(Request::Branch { asked, answer }) => {
                    let _ = answer.send(self.branch(&asked));
                }
                Ok(Request::Secrets { answer }) => {
                    let accepted = accepted(&self.world.read().state);
                    let _ = answer.send(self.reader.secrets(&accepted));
                }
                Err(RecvTimeoutError::Disconnected) => return Due::Stop,
            }
        }
    }

    fn explain(&mut self, revision: &Revision, device: &DeviceId) -> Option<Explanation> {
        let commit = &revision.commit;
        let files = self.repo.snapshot(commit).ok()?;
        let rights = HostRights::of_any(self.options.stages.iter().map(|stage| &stage.host));
        let mut resolver = Resolver::with_rights(rights);
        let source = self.reader.inventory(&mut resolver, &files, revision.inventory.as_ref())?;
        let explanation = resolver.explain_with(&files, &source, device)?;
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
    pub(super) fn look(&mut self, wanted: Look) -> Result<(), CommandError> {
        let (accepted, views) = {
            let world = self.world.read();
            (accepted(&world.state), world.views.clone())
        };
        let stages = self.options.stage_names();
        let (repo, now) = (self.repo.as_mut(), clock::now());
        let news = match wanted {
            Look::All => self.reader.look(repo, &stages, &accepted, &views, now),
            Look::Lists => self.reader.look_at_lists(repo, &stages, &accepted, &views, now),
        };
        if news.views.is_none() && wanted == Look::Lists {
            return Ok(());
        }
        self.owner.news(news)?;
        self.owner.tick()
    }
}

/// The commits that count now.
pub fn accepted(state: &FleetState) -> Accepted {
    let stages = state.stages.iter();
    stages.filter_map(|(stage, record)| Some((stage.clone(), StageRecord::counts(record)?))).collect()
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Look {
    /// The fleet repo, and lists of devices.
    All,
    /// Lists of devices alone.
    Lists,
}

/// What the watcher's thread does next.
enum Due {
    Look(Look),
    Stop,
}
