//! An agent without a disk: the real state machine and the real link; its ledger and its engine are values.
//!
//! A thousand whole agents on one machine mostly measure that machine's file system, which real devices do not share.

use super::fleet;
use anyhow::Context as _;
use bellwether::agent::identity::Identity;
use bellwether::agent::link::{Link, Polled, enroll};
use bellwether::agent::settings::Settings;
use bellwether::clock;
use bellwether::domain::device::ledger::Ledger;
use bellwether::domain::device::locks::Locks;
use bellwether::domain::device::machine::{About, Effect, Event, Look, Machine, Moment, Timer};
use bellwether::domain::digest::Digest;
use bellwether::ports::engine::fake::FakeEngine;
use bellwether::ports::os::fake::FakeOs;
use bellwether::protocol::v1::envelope::Trust;
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

type Lane<T = Event> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// What is under way.
struct Device {
    link: Link,
    trust: Arc<Trust>,
    engine: FakeEngine,
    os: FakeOs,
    poll: Lane<Polled>,
    report: Lane,
    timers: BTreeMap<Timer, Instant>,
}

/// Runs one until it is told to stop.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let join = settings.enrollment.context("a token")?;
    let name = join.device.clone().unwrap_or_else(|| fleet::device(0));
    let mut identity = Identity::new(join.server.clone(), name.clone())?;
    enroll(&mut identity, join.token.as_ref(), &settings.attributes).await?;
    let mut device = Device {
        link: Link::of(&identity)?,
        trust: Arc::new(identity.trust()?.context("an answer that lets the device in")?),
        engine: FakeEngine::default(),
        os: FakeOs::default(),
        poll: None,
        report: None,
        timers: BTreeMap::new(),
    };
    let start_id = Digest::of(name.as_str().as_bytes()).hex()[..32].to_owned();
    let about = About { device: name, branch: None, attributes: settings.attributes };
    let (mut machine, effects) =
        Machine::start(about, settings.pace, Ledger::default(), start_id, Moment::at(clock::now()));
    let mut events = device.perform(effects);
    let mut stop = std::pin::pin!(stop);
    loop {
        while let Some(event) = events.pop() {
            let (next, effects) = machine.step(event, Moment::at(clock::now()));
            machine = next;
            events.extend(device.perform(effects));
        }
        let Device { poll, report, timers, .. } = &mut device;
        let event = tokio::select! {
            () = &mut stop => return Ok(()),
            Polled { recorded, answer, secrets: _ } = answer(poll) => {
                events.push(answer);
                match recorded {
                    // Goes before the answer: the list is taken from its end.
                    Some(recorded) => Event::Recorded(recorded),
                    None => continue,
                }
            }
            event = answer(report) => event,
            timer = due(timers) => {
                timers.remove(&timer);
                Event::TimerDue(timer)
            }
        };
        events.push(event);
    }
}

impl Device {
    /// Starts what takes time; everything else is answered at once.
    fn perform(&mut self, effects: Vec<Effect>) -> Vec<Event> {
        let mut events = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(_) => events.push(Event::Persisted),
                Effect::Tidy { keep: _ } => {}
                Effect::Look { images } => {
                    let (apps, os) = (Ok(self.engine.look(&images)), Ok(Some(self.os.look())));
                    let look = Look {
                        apps,
                        os,
                        locks: Locks::default(),
                        logs: BTreeMap::new(),
                        dumps: Vec::new(),
                        host: Default::default(),
                    };
                    events.push(Event::Looked(Box::new(look)));
                }
                Effect::Act(action) => {
                    if action.is_for_os() {
                        // The fake never refuses an image.
                        let _ = self.os.perform(&action);
                    }
                    let done = self.engine.perform(&action);
                    events.push(done.map_or_else(|error| Event::Failed(error.failure()), |()| Event::Done));
                }
                // Nobody asks these devices for anything.
                Effect::Errands(_) => events.push(Event::ErrandsEnded(Ok(None))),
                // Nothing of the benchmark has probes.
                Effect::Probe(_) => {}
                Effect::Report(report) => {
                    let link = self.link.clone();
                    self.report = Some(Box::pin(async move { link.report(&report).await }));
                }
                Effect::Poll { etag, wait_secs } => {
                    let (link, trust) = (self.link.clone(), self.trust.clone());
                    self.poll =
                        Some(Box::pin(async move { link.poll(&trust, etag.as_deref(), "none", wait_secs).await }));
                }
                Effect::Wake { timer, after_millis } => {
                    let after = Duration::from_millis(u64::try_from(after_millis).unwrap_or(0));
                    self.timers.insert(timer, Instant::now() + after);
                }
                Effect::Exit => {}
            }
        }
        events
    }
}

async fn answer<T>(lane: &mut Lane<T>) -> T {
    match lane {
        Some(future) => {
            let ended = future.await;
            *lane = None;
            ended
        }
        None => pending().await,
    }
}

async fn due(timers: &BTreeMap<Timer, Instant>) -> Timer {
    match timers.iter().min_by_key(|(_, at)| **at) {
        Some((timer, at)) => {
            tokio::time::sleep_until(*at).await;
            *timer
        }
        None => pending().await,
    }
}
