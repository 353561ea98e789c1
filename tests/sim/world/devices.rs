//! The agents' processes: their start and end, what their machines ask for, and what comes of it.

use super::{Happening, World, note};
use crate::device::{Device, Running, spend};
use crate::fleet::STAGES;
use crate::network::{Ask, CallKind, Say};
use bellwether::domain::device::action::{Action, Failure, Why};
use bellwether::domain::device::errand::Errand;
use bellwether::domain::device::machine::{About, Effect, Event, Machine, Moment, Pace, Timer};
use bellwether::domain::ids::{DeviceId, StageName};
use bellwether::domain::time::Timestamp;
use bellwether::protocol::v1::messages::EnrollRequest;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

impl World {
    /// The agent's process starts.
    pub(super) fn start_device(&mut self, name: &DeviceId) {
        let now = self.now;
        let poll = self.poll;
        let Some(device) = self.devices.get_mut(name) else { return };
        if device.running.is_some() {
            return;
        }
        device.life += 1;
        device.running =
            Some(Running { machine: None, timers: BTreeMap::new(), calls: BTreeMap::new(), work: None, told: None });
        if !device.enrolled {
            return self.enroll(name);
        }
        if self.chance.devices.happens(200) {
            device.choice = self.chance.devices.pick(&STAGES).and_then(|name| StageName::new(name).ok());
        }
        let about = About { device: name.clone(), branch: device.choice.clone(), attributes: BTreeMap::new() };
        let pace = Pace { poll, ..Pace::default() };
        let start_id = format!("{:016x}{:016x}", self.chance.keys.next(), self.chance.keys.next());
        let clock = Moment { wall: Timestamp::from_millis(now + device.skew), steady_millis: now };
        let (machine, effects) = Machine::start(about, pace, device.disk.clone(), start_id, clock);
        device.running.as_mut().expect("it was just made").machine = Some(machine);
        note!(self, "{name}  agent starts");
        self.perform(name, effects);
    }

    pub(super) fn enroll(&mut self, name: &DeviceId) {
        let Some(device) = self.devices.get(name) else { return };
        let request = EnrollRequest {
            device: name.clone(),
            key: device.key.clone(),
            token: device.token.clone(),
            attributes: BTreeMap::new(),
        };
        self.call(name, CallKind::Enroll, Ask::Enroll(Box::new(request)));
    }

    pub(super) fn enrolled(&mut self, name: &DeviceId, say: &Say) {
        note!(self, "{name}  enrollment: {say:?}");
        let Some(device) = self.devices.get_mut(name) else { return };
        let life = device.life;
        if matches!(say, Say::Enrolled) {
            device.enrolled = true;
            device.running = None;
            return self.at(0, Happening::DeviceStarts { device: name.clone() });
        }
        let delay = self.chance.devices.between(1_000, 30_000);
        self.at(delay, Happening::EnrollAgain { device: name.clone(), life });
    }

    /// Brings the machine an event, and does what it asks.
    pub(super) fn tell(&mut self, name: &DeviceId, event: Event) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(name) else { return };
        let clock = Moment { wall: Timestamp::from_millis(now + device.skew), steady_millis: now };
        let Some(machine) = device.running.as_mut().and_then(|running| running.machine.take()) else { return };
        if let Event::Refused(_) = event {
            self.counts.count("refusals");
        }
        let (machine, effects) = machine.step(event, clock);
        device.running.as_mut().expect("it runs").machine = Some(machine);
        self.perform(name, effects);
    }

    /// Starts every effect, in order. Writing the ledger happens here and now; its answers come when all are started.
    pub(super) fn perform(&mut self, name: &DeviceId, effects: Vec<Effect>) {
        let mut answers = VecDeque::new();
        for effect in effects {
            if let Some(event) = self.perform_one(name, effect) {
                answers.push_back(event);
            }
            if self.devices[name].running.is_none() {
                return;
            }
        }
        for event in answers {
            self.tell(name, event);
        }
    }

    pub(super) fn perform_one(&mut self, name: &DeviceId, effect: Effect) -> Option<Event> {
        let dies = !self.calm && self.chance.devices.happens(3);
        if dies {
            note!(self, "{name}  agent dies before an effect");
            self.kill_device(name);
            return None;
        }
        let life = self.devices[name].life;
        match effect {
            Effect::Persist(ledger) => {
                let device = self.devices.get_mut(name).expect("it is there");
                if spend(&mut device.faults.writes) {
                    self.counts.count("ledger writes failed");
                    let message = "planned fault".to_owned();
                    return Some(Event::PersistFailed(Failure { reason: "LedgerNotWritten", message }));
                }
                device.disk = *ledger;
                let mark = device.disk.mark();
                note!(self, "{name}  ledger: {:?}", mark.map(|mark| mark.order));
                let held = self.oracle.ledger(&self.devices[name]);
                self.check(held);
                if !self.calm && self.chance.devices.happens(5) {
                    note!(self, "{name}  agent dies after writing its ledger");
                    self.kill_device(name);
                    return None;
                }
                return Some(Event::Persisted);
            }
            // The simulated engines keep every image.
            Effect::Tidy { keep: _ } => {}
            Effect::Look { images } => {
                let work = self.begin_work(name);
                let delay = self.chance.devices.between(20, 400);
                self.at(delay, Happening::LookEnds { device: name.clone(), life, work, images });
            }
            Effect::Act(action) => {
                self.acts += 1;
                self.counts.count("actions");
                let device = &self.devices[name];
                let machine = device.running.as_ref().and_then(|running| running.machine.as_ref());
                if let Some(failure) = machine.and_then(|machine| machine.forbids(&action, &device.locks)) {
                    self.counts.count("actions kept off by a lock");
                    return Some(Event::Failed(failure));
                }
                let held = self.oracle.acts(device, &action);
                note!(self, "{name}  {action}");
                self.check(held);
                let work = self.begin_work(name);
                let delay = self.chance.devices.between(50, 3_000);
                self.at(delay, Happening::ActEnds { device: name.clone(), life, work, action: Box::new(action) });
            }
            Effect::Errands(errands) => return self.do_errands(name, &errands),
            // Nothing of the simulation has probes.
            Effect::Probe(questions) => {
                let answers = questions.into_iter().map(|one| (one.id, Some(Ok(())))).collect();
                return Some(Event::Probed(answers));
            }
            Effect::Report(report) => {
                note!(
                    self,
                    "{name}  reports {}.{} {:?} {:?}",
                    report.start,
                    report.seq,
                    report.phase,
                    report.observed.map(|mark| mark.order)
                );
                let running = self.devices.get_mut(name).and_then(|device| device.running.as_mut());
                running.expect("it runs").told = Some(Box::as_ref(&report).clone());
                self.call(name, CallKind::Report, Ask::Report(report));
            }
            Effect::Poll { etag, wait_secs } => {
                let machine = self.devices[name].running.as_ref().and_then(|running| running.machine.as_ref());
                let actions = machine.expect("it asks").known_actions();
                self.call(name, CallKind::Poll, Ask::Poll { etag, actions, wait_secs });
            }
            Effect::Wake { timer, after_millis } => {
                self.sequence += 1;
                let setting = self.sequence;
                let running = self.devices.get_mut(name).and_then(|device| device.running.as_mut());
                running.expect("it runs").timers.insert(timer, setting);
                self.at(after_millis, Happening::TimerEnds { device: name.clone(), life, timer, setting });
            }
            Effect::Exit => self.kill_device(name),
        }
        None
    }

    /// Does what an operator asked for, at once; the agent may die before it knows.
    fn do_errands(&mut self, name: &DeviceId, errands: &[Errand]) -> Option<Event> {
        self.counts.count("actions of operators begun");
        note!(self, "{name}  asked for {errands:?}");
        let held = self.oracle.begins(&self.devices[name]);
        self.check(held);
        let device = self.devices.get_mut(name).expect("it is there");
        device.touched = true;
        let mut ended = Ok(None);
        for errand in errands {
            let done = match errand {
                Errand::Restart { app, service } => device.engine.restart(app, service),
                Errand::Remove { app, service } => device.engine.perform(&Action::RemoveService {
                    app: app.clone(),
                    service: service.clone(),
                    why: Why::NotAssigned,
                }),
                Errand::Purge { app, volume } => {
                    device.engine.purge_volume(app, volume);
                    Ok(())
                }
                Errand::Reboot | Errand::Logs { .. } => Ok(()),
            };
            if let Err(error) = done {
                ended = Err(error.failure());
                break;
            }
        }
        if !self.calm && self.chance.actions.happens(150) {
            note!(self, "{name}  agent dies with it");
            self.kill_device(name);
            return None;
        }
        Some(Event::ErrandsEnded(ended))
    }

    pub(super) fn begin_work(&mut self, name: &DeviceId) -> u64 {
        self.sequence += 1;
        let work = self.sequence;
        let running = self.devices.get_mut(name).and_then(|device| device.running.as_mut());
        running.expect("it runs").work = Some(work);
        work
    }

    /// The agent's process ends, by itself or not; the service manager starts it again.
    pub fn kill_device(&mut self, name: &DeviceId) {
        self.counts.count("agents ended");
        if let Some(device) = self.devices.get_mut(name) {
            device.running = None;
        }
        let delay = if self.calm { 1_000 } else { self.chance.devices.between(500, 40_000) };
        self.at(delay, Happening::DeviceStarts { device: name.clone() });
    }

    pub(super) fn timer(&mut self, name: &DeviceId, life: u64, timer: Timer, setting: u64) {
        let Some(device) = self.devices.get_mut(name).filter(|device| device.life == life) else { return };
        let Some(running) = device.running.as_mut() else { return };
        if running.timers.get(&timer) != Some(&setting) {
            return;
        }
        running.timers.remove(&timer);
        self.tell(name, Event::TimerDue(timer));
    }

    /// The device, if this is the work that it does now.
    pub(super) fn working(&mut self, name: &DeviceId, life: u64, work: u64) -> Option<&mut Device> {
        let device = self.devices.get_mut(name).filter(|device| device.life == life)?;
        let running = device.running.as_mut().filter(|running| running.work == Some(work))?;
        running.work = None;
        Some(device)
    }

    pub(super) fn look_ends(&mut self, name: &DeviceId, life: u64, work: u64, images: &BTreeSet<String>) {
        let now = self.now;
        let Some(device) = self.working(name, life, work) else { return };
        let look = device.look(images, now);
        self.tell(name, Event::Looked(Box::new(look)));
    }

    pub(super) fn act_ends(&mut self, name: &DeviceId, life: u64, work: u64, action: &Action) {
        let now = self.now;
        let hardware = self.devices[name].hardware;
        let Some(device) = self.working(name, life, work) else {
            // The agent died; the engine may go on with what it was asked.
            if self.chance.devices.happens(500) {
                let delay = self.chance.devices.between(0, 5_000);
                self.at(delay, Happening::LateAct { device: name.clone(), hardware, action: Box::new(action.clone()) });
            }
            return;
        };
        if let Action::Host(action) = action {
            let event = device.on_host(action);
            if !self.calm && self.chance.devices.happens(10) {
                note!(self, "{name}  agent dies after {action}");
                return self.kill_device(name);
            }
            return self.tell(name, event);
        }
        let performed = device.perform(action, now);
        let held = self.oracle.volumes(&self.devices[name]);
        self.check(held);
        if !self.calm && self.chance.devices.happens(10) {
            note!(self, "{name}  agent dies after {action}");
            return self.kill_device(name);
        }
        match performed {
            Ok(()) => self.tell(name, Event::Done),
            Err(failure) => {
                note!(self, "{name}  {failure}");
                self.counts.count("actions failed");
                self.tell(name, Event::Failed(failure));
            }
        }
    }

    pub(super) fn act_late(&mut self, name: &DeviceId, hardware: u64, action: &Action) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(name).filter(|device| device.hardware == hardware) else { return };
        device.touched = true;
        // Nobody waits for the answer any more.
        match action {
            // The host is changed by the agent itself, which is gone.
            Action::Host(_) => return,
            _ => _ = device.perform(action, now),
        }
        self.counts.count("late actions");
        note!(self, "{name}  late: {action}");
    }

    /// Asks a running agent to stop.
    pub fn stop_device(&mut self, name: &DeviceId) {
        self.tell(name, Event::StopRequested);
    }
}
