//! The loop: performs the machine's effects and brings it the answers. It contains no choices.

use super::api::Api;
use super::dumps::DumpFolder;
use super::enrolling::chain;
use super::errands::{self, Hands};
use super::ledger::LedgerFile;
use super::link::{Link, Polled};
use super::locks::LockFiles;
use super::manager::{Word, feeding, tell};
use super::secrets::SecretsFile;
use crate::clock;
use crate::domain::device::action::{Action, Failure};
use crate::domain::device::concealing::conceal_report;
use crate::domain::device::dump::CoreDump;
use crate::domain::device::errand::Errand;
use crate::domain::device::health::{ServiceId, suspects};
use crate::domain::device::host::{Change, FoundHost, HookFailure, HostAction, HostAsk};
use crate::domain::device::ledger::Ledger;
use crate::domain::device::machine::{Effect, Event, Excerpts, Look, Machine, Moment, Question, Timer};
use crate::domain::device::progress::Progress;
use crate::domain::device::steps::Observed;
use crate::domain::device::terminal::{MAX_LOG_LINES, excerpt};
use crate::domain::digest::Digest;
use crate::domain::reported::{Phase, Refusal};
use crate::domain::secret::SecretValues;
use crate::domain::spec::{DeviceSpec, MAX_STOP_GRACE_SECS};
use crate::ports::engine::{Batch, Engine, LogBound, perform};
use crate::ports::host::Host;
use crate::ports::os::{self, Os};
use crate::protocol::v1::envelope::Trust;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a look may take; an engine that says nothing for so long does not answer.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// How long reading the last lines of a container may take. They are of use, and nothing depends on them.
const LOG_LIMIT: Duration = Duration::from_secs(20);
/// What of it is of use: the lines that a failure carries, which may be longer than what of each is kept.
const EXCERPT: LogBound = LogBound { lines: MAX_LOG_LINES as u32, bytes: 32 << 10 };
/// How long an action may take, stopping a stubborn container included.
const ACTION_LIMIT: Duration = Duration::from_secs(180);
/// How long removing a service may take: as long as any may take to stop, and then as any other action.
const REMOVE_LIMIT: Duration = Duration::from_secs(MAX_STOP_GRACE_SECS as u64 + 180);
/// How long bringing an image may take. Large images over thin links take long, and starting over would take longer.
const PULL_LIMIT: Duration = Duration::from_secs(4 * 3600);
/// How long a stop waits for the action under way. A crash at any point is recovered, so nothing is lost by going.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Everything outside the machine.
pub(super) struct Parts {
    pub(super) link: Link,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) os: Arc<dyn Os>,
    pub(super) host: Arc<dyn Host>,
    pub(super) file: LedgerFile,
    pub(super) secrets: Arc<SecretsFile>,
    pub(super) trust: Arc<Trust>,
    pub(super) locks: Arc<LockFiles>,
    pub(super) reboot: Arc<[String]>,
    /// Where core dumps are, if anybody said so.
    pub(super) dumps: Option<DumpFolder>,
}

type Lane<T = Event> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is under way.
#[derive(Default)]
struct Lanes {
    work: Option<Lane>,
    errands: Option<Lane>,
    poll: Option<Lane<Polled>>,
    report: Option<Lane>,
    tidy: Option<Lane<()>>,
    /// A core dump that is sent, and the last one for which that was begun.
    dump: Option<Lane<()>>,
    dump_begun: Option<CoreDump>,
    /// How far the images have come that are being brought.
    progress: Option<watch::Receiver<Progress>>,
    probes: Option<Lane>,
    timers: BTreeMap<Timer, Instant>,
}

/// Whether the machine wants to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    Exit,
}

/// Runs a started machine until it exits.
pub(super) async fn run(started: (Machine, Vec<Effect>), parts: Parts, mut api: Api, stop: impl Future<Output = ()>) {
    let (mut machine, effects) = started;
    // The zero of the clock that never jumps.
    let started_at = Instant::now();
    let mut lanes = Lanes::default();
    let mut queue = perform_all(effects, &machine, &mut lanes, &parts);
    let mut stop = std::pin::pin!(stop);
    let mut deadline: Option<Instant> = None;
    tell(Word::Ready);
    // Only while this loop turns. This clock is the runtime's and goes on while the wall clock jumps; like all waiting here it is
    // this shell's business, and the machine hears only of what came due.
    let feeding = feeding();
    let mut feed_at = feeding.map(|every| Instant::now() + every);
    loop {
        while let Some(event) = queue.pop() {
            log_event(&event);
            let before = machine.phase();
            // The one reading of the wall clock: the machine takes the time of an event as a value.
            let now = Moment { wall: clock::now(), steady_millis: since(started_at) };
            let (next, effects) = machine.step(event, now);
            machine = next;
            log_phase(before, &machine);
            if going(&effects) == Going::Exit {
                return;
            }
            queue.extend(perform_all(effects, &machine, &mut lanes, &parts));
        }
        send_dump(&machine, &mut lanes, &parts);
        let event = tokio::select! {
            () = &mut stop, if deadline.is_none() => {
                tell(Word::Stopping);
                tracing::info!("asked to stop");
                deadline = Some(Instant::now() + STOP_LIMIT);
                Event::StopRequested
            }
            () = at(deadline) => return,
            event = next_of(&mut lanes.work) => event,
            Polled { recorded, answer, secrets } = next_of(&mut lanes.poll) => {
                queue.push(keep_secrets(answer, secrets, &parts.secrets));
                match recorded {
                    // Goes before the answer: the queue is taken from its end.
                    Some(recorded) => Event::Recorded(recorded),
                    None => continue,
                }
            }
            event = next_of(&mut lanes.report) => event,
            () = next_of(&mut lanes.tidy) => continue,
            () = next_of(&mut lanes.dump) => continue,
            progress = next_progress(&mut lanes.progress) => Event::Brought(progress),
            event = next_of(&mut lanes.errands) => event,
            request = api.next() => match request.answer(&machine, clock::now()) {
                Some(event) => event,
                None => continue,
            },
            event = next_of(&mut lanes.probes) => event,
            timer = next_timer(&lanes.timers) => {
                lanes.timers.remove(&timer);
                Event::TimerDue(timer)
            }
            () = at(feed_at) => {
                tell(Word::Alive);
                feed_at = feeding.map(|every| Instant::now() + every);
                continue;
            }
        };
        queue.push(event);
    }
}

/// Starts every effect, in order. Writing the ledger happens here and now, and its answer is returned.
fn perform_all(effects: Vec<Effect>, machine: &Machine, lanes: &mut Lanes, parts: &Parts) -> Vec<Event> {
    let wanted = wanted(machine);
    let around = Batch { image: String::new(), next: machine.next_images(), keep: machine.ledger().images() };
    let mut answers = Vec::new();
    for effect in effects {
        match effect {
            Effect::Persist(ledger) => answers.push(persist(&ledger, parts)),
            Effect::Tidy { keep } => lanes.tidy = Some(tidy(parts, keep)),
            Effect::Look { images } => {
                let ask = HostAsk::of(machine.ledger());
                lanes.work = Some(look(parts, images, wanted.clone(), machine.excerpts(), ask));
            }
            Effect::Act(action) => match (machine.forbids(&action, &parts.locks.look()), action) {
                (Some(failure), _) => answers.push(Event::Failed(failure)),
                (None, Action::Pull { image }) => {
                    let (tell, told) = watch::channel(Progress::default());
                    lanes.progress = Some(told);
                    tracing::info!(image, "bringing");
                    lanes.work = Some(bring(parts, Batch { image, ..around.clone() }, tell));
                }
                (None, Action::Host(action)) => lanes.work = Some(act_on_host(parts, action)),
                (None, action) => lanes.work = Some(act(parts, action)),
            },
            Effect::Errands(all) => lanes.errands = Some(do_errands(parts, all)),
            Effect::Probe(questions) => lanes.probes = Some(probe(parts, questions)),
            Effect::Report(mut report) => {
                conceal_report(&mut report, &parts.secrets.values());
                let link = parts.link.clone();
                tracing::debug!(seq = report.seq, phase = ?report.phase, found = report.found.len(), "reporting");
                lanes.report = Some(Box::pin(async move { link.report(&report).await }));
            }
            Effect::Poll { etag, wait_secs } => {
                let (link, trust) = (parts.link.clone(), Arc::clone(&parts.trust));
                // Without the values the assignment must come once more, so the tag is not told.
                let etag = etag.filter(|_| wanted.as_ref().is_none_or(|spec| parts.secrets.has_all(spec)));
                let actions = machine.known_actions();
                let poll = async move { link.poll(&trust, etag.as_deref(), &actions, wait_secs).await };
                lanes.poll = Some(Box::pin(poll));
            }
            Effect::Wake { timer, after_millis } => {
                let after = Duration::from_millis(u64::try_from(after_millis).unwrap_or(0));
                lanes.timers.insert(timer, Instant::now() + after);
            }
            Effect::Exit => {}
        }
    }
    answers
}

/// Sends the core dump of a failure, once in the life of the agent, beside everything else.
fn send_dump(machine: &Machine, lanes: &mut Lanes, parts: &Parts) {
    let (Some(folder), Some(dump)) = (&parts.dumps, machine.dump_to_send()) else { return };
    if lanes.dump_begun.as_ref() != Some(dump) {
        lanes.dump_begun = Some(dump.clone());
        lanes.dump = Some(Box::pin(folder.clone().send(parts.link.clone(), dump.clone())));
    }
}

fn going(effects: &[Effect]) -> Going {
    if effects.contains(&Effect::Exit) { Going::Exit } else { Going::On }
}

/// What the device has to reach, as the ledger has it.
fn wanted(machine: &Machine) -> Option<Arc<DeviceSpec>> {
    machine.target().map(|held| Arc::clone(&held.spec.spec))
}

/// Writes values before anything can be accepted that needs them.
fn keep_secrets(answer: Event, secrets: SecretValues, file: &SecretsFile) -> Event {
    match file.add(secrets) {
        Ok(()) => answer,
        Err(error) => {
            let offered = match &answer {
                Event::Offered(held) => Some(held.mark),
                _ => None,
            };
            let message = format!("the values of its secrets could not be kept: {}", chain(&error));
            Event::Refused(Refusal { offered, reason: "SecretsNotWritten".to_owned(), message })
        }
    }
}

fn persist(ledger: &Ledger, parts: &Parts) -> Event {
    match parts.file.write(ledger) {
        Ok(()) => {
            // Also those of what it may go back to, which nobody would send once more.
            let kept = ledger.accepted.iter().chain(&ledger.previous);
            let needed = kept.flat_map(|held| held.spec.spec.secrets()).collect();
            if let Err(error) = parts.secrets.keep(&needed) {
                // They stay a little longer; the next write tries again.
                tracing::warn!(error = %error, "values of secrets that are needed no more could not be dropped");
            }
            tracing::debug!(mark = ?ledger.mark(), applied = ?ledger.applied, "the ledger was written");
            Event::Persisted
        }
        Err(error) => Event::PersistFailed(Failure { reason: "LedgerNotWritten", message: chain(&error) }),
    }
}

fn look(
    parts: &Parts,
    images: BTreeSet<String>,
    wanted: Option<Arc<DeviceSpec>>,
    wanted_lines: Excerpts,
    ask: HostAsk,
) -> Lane {
    let (engine, os) = (Arc::clone(&parts.engine), Arc::clone(&parts.os));
    let (secrets, locks, host) = (Arc::clone(&parts.secrets), Arc::clone(&parts.locks), Arc::clone(&parts.host));
    let folder = parts.dumps.clone().filter(|_| wanted_lines == Excerpts::Wanted);
    Box::pin(async move {
        let apps = async { engine.look(&images).await.map_err(|error| error.failure()) };
        let apps = tokio::time::timeout(LOOK_LIMIT, apps).await.unwrap_or_else(|_| Err(timed_out(LOOK_LIMIT)));
        let values = secrets.values();
        let concealed = |Failure { reason, message }| Failure { reason, message: values.conceal(&message) };
        let apps = apps.map_err(concealed).map(|mut observed| {
            secrets.conceal(&mut observed, wanted.as_deref());
            observed
        });
        let os = async { os.look().await.map_err(|error| error.failure()) };
        let os = tokio::time::timeout(LOOK_LIMIT, os).await.unwrap_or_else(|_| Err(timed_out(LOOK_LIMIT)));
        let os = os.map_err(concealed);
        let logs = match (&apps, wanted_lines) {
            (Ok(observed), Excerpts::Wanted) => excerpts(engine.as_ref(), observed, &secrets.values()).await,
            (Ok(_), Excerpts::Unwanted) | (Err(_), _) => BTreeMap::new(),
        };
        let host = look_at_host(host.as_ref(), &ask, wanted.as_deref(), &values).await;
        let dumps = folder.map(|folder| folder.look(&values)).unwrap_or_default();
        Event::Looked(Box::new(Look { apps, os, locks: locks.look(), logs, dumps, host }))
    })
}

/// What the host is set to, with nothing of a secret but the digest that a file with secrets shall have, which stays here.
async fn look_at_host(host: &dyn Host, ask: &HostAsk, wanted: Option<&DeviceSpec>, values: &SecretValues) -> FoundHost {
    if ask.is_empty() {
        return FoundHost::default();
    }
    let mut found = tokio::time::timeout(LOOK_LIMIT, host.look(ask)).await.unwrap_or_else(|_| {
        let unread = ask.subjects.iter().map(|subject| (subject.clone(), timed_out(LOOK_LIMIT))).collect();
        FoundHost { unread, ..FoundHost::default() }
    });
    let files = wanted.into_iter().flat_map(|spec| &spec.config.files);
    for (path, file) in files.filter(|(_, file)| file.secret_content.is_some()) {
        let digest = file.fill(values).ok().map(|content| Digest::of(content.as_bytes()));
        found.secret_files.extend(digest.map(|digest| (path.clone(), digest)));
    }
    found
}

/// Changes the host, or runs one of its programs.
fn act_on_host(parts: &Parts, action: HostAction) -> Lane {
    let (host, secrets) = (Arc::clone(&parts.host), Arc::clone(&parts.secrets));
    tracing::info!(%action, "acting");
    Box::pin(async move {
        let values = secrets.values();
        let acted = async {
            match action {
                HostAction::Change(changes) => match filled(changes, &values) {
                    Ok(changes) => Event::HostChanged(host.change(&changes).await),
                    Err(failure) => Event::Failed(failure),
                },
                HostAction::RunHook { hook, because } => {
                    let ended = host.run_hook(&hook, &because).await;
                    Event::HookEnded(ended.map_err(|HookFailure { failure, log }| HookFailure {
                        failure: Failure { reason: failure.reason, message: values.conceal(&failure.message) },
                        log: log.iter().map(|line| values.conceal(line)).collect(),
                    }))
                }
                HostAction::Reboot { hook: _ } => host.reboot().await.map_or_else(Event::Failed, |()| Event::Done),
            }
        };
        tokio::time::timeout(ACTION_LIMIT, acted).await.unwrap_or_else(|_| Event::Failed(timed_out(ACTION_LIMIT)))
    })
}

/// Changes as the host gets them: with values in place of references.
fn filled(mut changes: Vec<Change>, values: &SecretValues) -> Result<Vec<Change>, Failure> {
    for change in &mut changes {
        if let Change::Write(path, file) = change {
            file.content = file.fill(values).map_err(|missing| {
                let message = format!("files/{path} needs {missing}, whose value has not come yet");
                Failure { reason: "SecretMissing", message }
            })?;
            file.secret_content = None;
        }
    }
    Ok(changes)
}

/// Brings images, and tells how far it has come.
fn bring(parts: &Parts, batch: Batch, tell: watch::Sender<Progress>) -> Lane {
    let engine = Arc::clone(&parts.engine);
    Box::pin(async move {
        let tell = move |progress| _ = tell.send_replace(progress);
        match tokio::time::timeout(PULL_LIMIT, engine.bring(&batch, &tell)).await {
            Ok(Ok(())) => Event::Done,
            Ok(Err(error)) => Event::Failed(error.failure()),
            Err(_) => Event::Failed(timed_out(PULL_LIMIT)),
        }
    })
}

/// Removes images that nobody needs. A failure is no more than that: the next time does it.
fn tidy(parts: &Parts, keep: BTreeSet<String>) -> Lane<()> {
    let engine = Arc::clone(&parts.engine);
    Box::pin(async move {
        match tokio::time::timeout(ACTION_LIMIT, engine.tidy(&keep)).await {
            Ok(Ok(removed)) => {
                removed.iter().for_each(|image| tracing::info!(image, "removed, because nobody needs it"))
            }
            Ok(Err(error)) => tracing::warn!(%error, "images that nobody needs could not be removed"),
            Err(_) => tracing::warn!("images that nobody needs could not be removed in time"),
        }
    })
}

/// Asks services whether they are well, all at the same time.
fn probe(parts: &Parts, questions: Vec<Question>) -> Lane {
    let (engine, secrets) = (Arc::clone(&parts.engine), Arc::clone(&parts.secrets));
    Box::pin(async move {
        let ask = |Question { id, check, timeout_secs }: Question| {
            let (engine, values) = (Arc::clone(&engine), secrets.values());
            async move {
                let ((app, service), _) = &id;
                let limit = Duration::from_secs(timeout_secs.into());
                let answer = match tokio::time::timeout(limit, engine.probe(app, service, &check, clock::now())).await {
                    Ok(Ok(answer)) => Some(answer.map_err(|wrong| excerpt(&values.conceal(&wrong)))),
                    Ok(Err(error)) => {
                        tracing::debug!(error = %error, "a service could not be asked");
                        None
                    }
                    Err(_) => Some(Err(format!("no answer within {timeout_secs} seconds"))),
                };
                (id, answer)
            }
        };
        Event::Probed(futures_util::future::join_all(questions.into_iter().map(ask)).await)
    })
}

/// The last lines of what may not be well. Without them a failure is still a failure, so nothing here fails.
async fn excerpts(engine: &dyn Engine, observed: &Observed, values: &SecretValues) -> BTreeMap<ServiceId, Vec<String>> {
    let mut all = BTreeMap::new();
    for (app, service) in suspects(observed) {
        let text = tokio::time::timeout(LOG_LIMIT, engine.logs(&app, &service, EXCERPT)).await;
        if let Ok(Ok(text)) = text {
            // As a whole: a value may have line ends in it.
            let lines = values.conceal(&text).lines().map(excerpt).collect();
            all.insert((app, service), lines);
        }
    }
    all
}

fn act(parts: &Parts, action: Action) -> Lane {
    let (engine, updater) = (Arc::clone(&parts.engine), Arc::clone(&parts.os));
    tracing::info!(%action, "acting");
    let limit = match action {
        Action::Pull { .. } | Action::FetchOs { .. } | Action::InstallOs { .. } => PULL_LIMIT,
        Action::RemoveService { .. } | Action::Promote { .. } | Action::RemoveSuccessor { .. } => REMOVE_LIMIT,
        Action::CreateNetwork { .. }
        | Action::CreateVolume { .. }
        | Action::CreateService { .. }
        | Action::StartService { .. }
        | Action::AdjustService { .. }
        | Action::CreateSuccessor { .. }
        | Action::StartSuccessor { .. }
        | Action::RemoveImage { .. }
        | Action::RemoveNetwork { .. }
        | Action::Reboot { .. }
        | Action::ConfirmOs { .. }
        | Action::FallBackOs { .. }
        | Action::KeepOs
        | Action::DiscardOs
        | Action::Host(_) => ACTION_LIMIT,
    };
    let secrets = Arc::clone(&parts.secrets);
    Box::pin(async move {
        let values = secrets.values();
        let action = match with_secrets(action, &values) {
            Ok(action) => action,
            Err(failure) => return Event::Failed(failure),
        };
        let performed = async {
            match (perform(engine.as_ref(), &action), os::perform(updater.as_ref(), &action)) {
                (Some(answer), _) => answer.await.map_err(|error| error.failure()),
                (None, Some(answer)) => answer.await.map_err(|error| error.failure()),
                (None, None) => Ok(()),
            }
        };
        match tokio::time::timeout(limit, performed).await {
            Ok(Ok(())) => Event::Done,
            Ok(Err(Failure { reason, message })) => {
                Event::Failed(Failure { reason, message: values.conceal(&message) })
            }
            Err(_) => Event::Failed(timed_out(limit)),
        }
    })
}

fn do_errands(parts: &Parts, all: Vec<Errand>) -> Lane {
    let hands = Hands {
        engine: Arc::clone(&parts.engine),
        secrets: Arc::clone(&parts.secrets),
        reboot: Arc::clone(&parts.reboot),
    };
    Box::pin(async move {
        // As long as the longest of their parts: a service that takes its time to stop.
        let ended = tokio::time::timeout(REMOVE_LIMIT, errands::run(all, hands)).await;
        Event::ErrandsEnded(ended.unwrap_or_else(|_| Err(timed_out(REMOVE_LIMIT))))
    })
}

/// The action as the engine gets it: with values in place of references.
fn with_secrets(mut action: Action, values: &SecretValues) -> Result<Action, Failure> {
    if let Action::CreateService { app, service, spec } | Action::CreateSuccessor { app, service, spec } = &mut action {
        **spec = spec.with_secrets(values).map_err(|missing| {
            let message = format!("{app}/{service} needs {missing}, whose value has not come yet");
            Failure { reason: "SecretMissing", message }
        })?;
    }
    Ok(action)
}

/// Milliseconds since the start, on the clock that never jumps.
fn since(started_at: Instant) -> i64 {
    i64::try_from(started_at.elapsed().as_millis()).unwrap_or(i64::MAX)
}

fn timed_out(limit: Duration) -> Failure {
    Failure { reason: "TimedOut", message: format!("no answer within {} seconds", limit.as_secs()) }
}

/// What a lane comes to; never, if nothing is under way.
async fn next_of<T>(lane: &mut Option<Lane<T>>) -> T {
    match lane {
        Some(future) => {
            let ended = future.await;
            *lane = None;
            ended
        }
        None => pending().await,
    }
}

/// How far it has come, once that is news; never, if nothing is being brought.
async fn next_progress(progress: &mut Option<watch::Receiver<Progress>>) -> Progress {
    if let Some(told) = progress {
        if told.changed().await.is_ok() {
            return *told.borrow_and_update();
        }
        // The one who told has ended.
        *progress = None;
    }
    pending().await
}

async fn next_timer(timers: &BTreeMap<Timer, Instant>) -> Timer {
    match timers.iter().min_by_key(|(_, at)| **at) {
        Some((timer, at)) => {
            // The machine asked to be woken then; events come first, and take it out of the select.
            tokio::time::sleep_until(*at).await;
            *timer
        }
        None => pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        // What ends here is the waiting for something that may never come: a stop, or the watchdog's next feed.
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

fn log_event(event: &Event) {
    match event {
        Event::Offered(held) => {
            tracing::info!(generation = %held.mark.order, digest = ?held.mark.digest, commit = held.commit.short(), "offered");
        }
        Event::Refused(refusal) => {
            tracing::warn!(reason = refusal.reason, message = refusal.message, "an offer was not believed");
        }
        Event::LinkFailed { failure, .. } => tracing::warn!(%failure, "the poll came to nothing"),
        Event::ActionsRefused { failure, .. } => tracing::warn!(%failure, "a list of actions was not believed"),
        Event::ReportFailed { failure, .. } => tracing::warn!(%failure, "the report came to nothing"),
        Event::ErrandsEnded(Err(failure)) => tracing::warn!(%failure, "what an operator asked for failed"),
        Event::Failed(failure) => tracing::warn!(%failure, "the action failed"),
        Event::HostChanged(troubles) => {
            for (subject, failure) in troubles {
                tracing::warn!(%subject, %failure, "the host could not be set");
            }
        }
        Event::HookEnded(Err(HookFailure { failure, log: _ })) => tracing::warn!(%failure, "a hook failed"),
        Event::HookEnded(Ok(end)) => tracing::info!(?end, "a hook ended"),
        Event::PersistFailed(failure) => tracing::error!(%failure, "the ledger could not be written"),
        Event::Looked(look) => {
            if let Err(failure) = &look.apps {
                tracing::warn!(%failure, "the container engine could not be looked at");
            }
            if let Err(failure) = &look.os {
                tracing::warn!(%failure, "the OS updater could not be looked at");
            }
        }
        Event::Brought(progress) => tracing::debug!(%progress, "images are coming"),
        Event::Recorded(_)
        | Event::NotModified
        | Event::NothingAssigned
        | Event::Done
        | Event::Persisted
        | Event::Probed(_)
        | Event::ReportAnswered
        | Event::TimerDue(_)
        | Event::ActionsListed(_)
        | Event::ErrandsEnded(Ok(_))
        | Event::PurgeRequested(_)
        | Event::CheckRequested
        | Event::HealthTold { .. }
        | Event::StopRequested => {}
    }
}

fn log_phase(before: Phase, machine: &Machine) {
    let now = machine.phase();
    if now != before {
        let mark = machine.ledger().mark();
        let generation = mark.map_or_else(|| "none".to_owned(), |mark| mark.order.to_string());
        tracing::info!(from = ?before, to = ?now, generation, "the phase changed");
    }
}
