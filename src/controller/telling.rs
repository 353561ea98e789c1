//! Tells the forge how the commits of the stages fare, on a thread of its own: a forge that hangs or refuses holds up nothing else.
//!
//! What is to be said is decided by [`crate::domain::forge::follow`]. Before anything is said it is noted in the store, and again once
//! it is there; what was noted and not confirmed is looked for on the forge before it is said again.

use super::owner::{CommandError, Handle};
use super::{Options, SharedWorld};
use crate::clock;
use crate::domain::fleet::{Certainty, Change, Standing, Told, Topic};
use crate::domain::forge::comment::{Placement, Seen, marked, place};
use crate::domain::forge::follow::{Look, Say, follow, pause_secs};
use crate::domain::ids::StageName;
use crate::ports::forge::{Forge, ForgeError, MergeRequest, Progress};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How often it is looked at what there is to say, at the least.
const LOOK_SECS: u64 = 10;
/// How much is said at one look: what is new meanwhile comes first again.
const MAX_AT_ONCE: usize = 10;
/// What marks comments that ask a person to act.
const KIND: &str = "act";

/// Makes the forge ready. It is called again after the forge has refused: tokens are changed while a controller runs.
pub type Open = Box<dyn Fn() -> Result<Box<dyn Forge>, String> + Send>;

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The stages, least gated first.
    pub stages: Vec<StageName>,
    /// Where people read more.
    pub link: Option<String>,
}

/// Ends the thread when it is dropped.
#[derive(Clone, Debug)]
pub struct Teller {
    _goes_on: SyncSender<()>,
}

/// Starts the thread.
pub fn start(
    telling: Telling,
    options: &Arc<Options>,
    open: Open,
    world: SharedWorld,
    owner: Handle,
) -> std::io::Result<Teller> {
    let (sender, receiver) = sync_channel(0);
    let every = Duration::from_secs(options.poll_secs.clamp(1, LOOK_SECS));
    let offline_after_secs = options.offline_after_secs;
    let thread = Thread { telling, offline_after_secs, open, forge: None, world, owner, failures: 0, last: None };
    std::thread::Builder::new().name("tell".to_owned()).spawn(move || thread.run(&receiver, every))?;
    Ok(Teller { _goes_on: sender })
}

struct Thread {
    telling: Telling,
    offline_after_secs: i64,
    open: Open,
    forge: Option<Box<dyn Forge>>,
    world: SharedWorld,
    owner: Handle,
    /// How often in a row the forge has failed.
    failures: u32,
    /// What was logged about that last.
    last: Option<String>,
}

/// Why something was not said.
enum Unsaid {
    /// The forge did not take it.
    Forge(ForgeError),
    /// It could not be made ready.
    Closed(String),
    /// It could not be noted, so it was not said.
    Store(CommandError),
}

impl Thread {
    fn run(mut self, stop: &Receiver<()>, every: Duration) {
        let mut pause = every;
        loop {
            match stop.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) | Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            pause = match self.look() {
                Ok(()) => {
                    if self.last.take().is_some() {
                        tracing::info!("the forge takes what it is told again");
                    }
                    self.failures = 0;
                    every
                }
                Err(Unsaid::Store(CommandError::Stopping)) => return,
                Err(unsaid) => Duration::from_secs(self.failed(&unsaid)).max(every),
            };
        }
    }

    /// For how many seconds nothing more is tried. A person reads of each trouble once.
    fn failed(&mut self, unsaid: &Unsaid) -> u64 {
        let (words, named) = match unsaid {
            Unsaid::Forge(error) => (error.to_string(), Some(error)),
            Unsaid::Closed(error) => (error.clone(), None),
            Unsaid::Store(error) => (error.to_string(), None),
        };
        if matches!(unsaid, Unsaid::Forge(ForgeError::Denied { .. } | ForgeError::NotFound { .. })) {
            self.forge = None;
        }
        let wait = match named {
            Some(ForgeError::RateLimited { wait_secs }) => Some(*wait_secs),
            _ => None,
        };
        let pause = pause_secs(self.failures, wait);
        self.failures = self.failures.saturating_add(1);
        if self.last.as_ref() != Some(&words) {
            tracing::warn!(error = %words, "the forge is not told how rollouts go; they go on, and it is told later");
            self.last = Some(words);
        }
        pause
    }

    fn look(&mut self) -> Result<(), Unsaid> {
        let now = clock::now();
        let talk = {
            let world = self.world.read();
            let Telling { stages, .. } = &self.telling;
            follow(&Look { state: &world.state, stages, offline_after_secs: self.offline_after_secs, now })
        };
        if !talk.forget.is_empty() {
            let gone = talk.forget.into_iter().map(Change::ToldGone).collect();
            self.owner.note(gone).map_err(Unsaid::Store)?;
        }
        for say in talk.say.into_iter().take(MAX_AT_ONCE) {
            self.tell(&say)?;
        }
        Ok(())
    }

    fn tell(&mut self, say: &Say) -> Result<(), Unsaid> {
        let mut told = say.intended(clock::now());
        self.note(&say.topic, &told)?;
        let link = self.telling.link.clone();
        if self.forge.is_none() {
            self.forge = Some((self.open)().map_err(Unsaid::Closed)?);
        }
        let Some(forge) = &mut self.forge else { return Ok(()) };
        match &say.topic {
            Topic::Progress { stage, commit } => {
                let progress = Progress {
                    stage: stage.clone(),
                    commit: commit.clone(),
                    mark: say.topic.mark(),
                    standing: say.standing,
                    text: say.text.clone(),
                    link,
                };
                let id = match told.id {
                    Some(id) => id,
                    None => deployment(&mut **forge, &progress).map_err(Unsaid::Forge)?,
                };
                if told.id != Some(id) {
                    told.id = Some(id);
                    self.note(&say.topic, &told)?;
                }
                // It was made ready above.
                if let Some(forge) = &mut self.forge {
                    show(&mut **forge, say, &progress, id).map_err(Unsaid::Forge)?;
                }
            }
            Topic::Held { .. } | Topic::Rollout { .. } => {
                told.id = comment(&mut **forge, say).map_err(Unsaid::Forge)?;
            }
        }
        tracing::info!(stage = %say.topic.stage(), commit = say.topic.commit().short(), standing = ?say.standing, "told the forge");
        told.certainty = Certainty::Said;
        self.note(&say.topic, &told)
    }

    fn note(&self, topic: &Topic, told: &Told) -> Result<(), Unsaid> {
        self.owner.note(vec![Change::Told(topic.clone(), told.clone())]).map_err(Unsaid::Store)
    }
}

/// The deployment of a commit to a stage: the one that is there, or a new one.
fn deployment(forge: &mut dyn Forge, progress: &Progress) -> Result<u64, ForgeError> {
    match forge.deployment(progress)? {
        Some(id) => Ok(id),
        None => forge.deploy(progress),
    }
}

/// Says how a commit stands, beside the commit and in its deployment.
fn show(forge: &mut dyn Forge, say: &Say, progress: &Progress, deployment: u64) -> Result<(), ForgeError> {
    if !(say.is_in_doubt() && forge.shows_status(progress)?) {
        forge.set_status(progress)?;
    }
    if !(say.is_in_doubt() && forge.shows_deployment(deployment, progress)?) {
        forge.set_deployment(deployment, progress)?;
    }
    Ok(())
}

/// Writes the one comment of a topic anew, or for the first time. `None` if the commit came by no merge request.
fn comment(forge: &mut dyn Forge, say: &Say) -> Result<Option<u64>, ForgeError> {
    let mark = say.topic.mark();
    let body = marked(KIND, &mark, &say.text);
    if let Some(id) = say.before.as_ref().and_then(|before| before.id) {
        return match forge.edit_comment(id, &body) {
            // Somebody has deleted it, and wants none.
            Ok(_) | Err(ForgeError::NotFound { .. }) => Ok(Some(id)),
            Err(error) => Err(error),
        };
    }
    let requests = forge.requests_of(say.topic.commit())?;
    let stage = say.topic.stage().as_str();
    let is_of_stage = |one: &&MergeRequest| one.base == stage;
    let Some(request) = requests.iter().find(is_of_stage).or(requests.first()) else { return Ok(None) };
    let me = forge.me()?;
    let comments = forge.comments(request.number)?;
    let seen: Vec<Seen<'_>> =
        comments.iter().map(|one| Seen { id: one.id, author: &one.author, body: &one.body }).collect();
    match place(KIND, &mark, &say.text, &me, &seen) {
        Placement::Keep(id) => Ok(Some(id)),
        Placement::Edit(id) => forge.edit_comment(id, &body).map(|one| Some(one.id)),
        // Nobody has to do anything, and nobody was asked.
        Placement::Write if say.standing == Standing::Success => Ok(None),
        Placement::Write => forge.comment(request.number, &body).map(|one| Some(one.id)),
    }
}
