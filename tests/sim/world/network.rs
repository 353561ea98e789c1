//! What the network does to calls and answers.

use super::{CALL_LIMIT_MILLIS, Happening, MAX_CAPTURED, World};
use crate::controller::Controller;
use crate::network::{Ask, Call, CallKind, Say, Weather};
use bellwether::domain::device::action::Failure;
use bellwether::domain::device::machine::Event;
use bellwether::domain::ids::DeviceId;
use bellwether::domain::reported::ReportId;
use bellwether::domain::time::Timestamp;
use bellwether::protocol::v1::actions::verify;
use bellwether::protocol::v1::envelope::{Trust, offer};
use std::sync::Arc;

impl World {
    pub(super) fn weather(&self) -> Weather {
        if self.now < self.storm_until { Weather::STORM } else { self.weather }
    }

    pub(super) fn delay(&mut self) -> i64 {
        let slow = self.weather().slow;
        if self.chance.network.happens(slow) {
            self.chance.network.between(1_000, 90_000)
        } else {
            self.chance.network.between(5, 200)
        }
    }

    /// A device asks.
    pub(super) fn call(&mut self, device: &DeviceId, kind: CallKind, ask: Ask) {
        self.sequence += 1;
        let id = self.sequence;
        let Some(one) = self.devices.get_mut(device) else { return };
        let call = Call { id, device: device.clone(), life: one.life, kind, key: one.key.clone() };
        let Some(running) = one.running.as_mut() else { return };
        running.calls.insert(kind, id);
        let waits = match &ask {
            Ask::Poll { wait_secs, .. } => Controller::hold_secs(*wait_secs) * 1000,
            Ask::Enroll(_) | Ask::Report(_) => 0,
        };
        self.at(waits + CALL_LIMIT_MILLIS, Happening::CallEnds { call: call.clone() });
        let ask = Arc::new(ask);
        let weather = self.weather();
        let copies = if self.chance.network.happens(weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if self.chance.network.happens(weather.lost) {
                self.counts.count("messages lost");
                continue;
            }
            let delay = self.delay();
            self.at(delay, Happening::Arrives { call: call.clone(), ask: ask.clone() });
        }
    }

    pub(super) fn arrive(&mut self, call: &Call, ask: &Ask) {
        let now = self.clock();
        let said = self.controller.receive(call, ask, now);
        match said {
            Some(say) => self.answer(call.clone(), say),
            None => {
                if let Ask::Poll { wait_secs, .. } = ask {
                    let wait = Controller::hold_secs(*wait_secs) * 1000;
                    self.at(wait, Happening::PollEnds { call: call.id });
                }
            }
        }
    }

    /// The controller answers.
    pub(super) fn answer(&mut self, call: Call, say: Say) {
        let weather = self.weather();
        if self.chance.network.happens(weather.lost) {
            self.counts.count("messages lost");
            return;
        }
        let say = match say {
            Say::Envelope(bytes) => {
                if self.captured.len() < MAX_CAPTURED {
                    self.captured.push(bytes.clone());
                } else {
                    let place = self.chance.network.below(MAX_CAPTURED as u64) as usize;
                    self.captured[place] = bytes.clone();
                }
                if self.chance.network.happens(weather.forged) { self.forge(&bytes) } else { Say::Envelope(bytes) }
            }
            other => other,
        };
        if let Say::Actions(tag, bytes) = &say
            && self.captured_actions.len() < MAX_CAPTURED
        {
            self.captured_actions.push((tag.clone(), bytes.clone()));
        }
        let replay = call.kind == CallKind::Poll && self.chance.network.happens(weather.replayed);
        let replayed = replay.then(|| self.chance.network.pick(&self.captured).cloned()).flatten();
        let say = replayed.map_or(say, |bytes| {
            self.counts.count("envelopes replayed");
            Say::Envelope(bytes)
        });
        let delay = self.delay();
        let old = call.kind == CallKind::Poll && self.chance.actions.happens(weather.replayed);
        let old = old.then(|| self.chance.actions.pick(&self.captured_actions).cloned()).flatten();
        let say = old.map_or(say, |(tag, bytes)| {
            self.counts.count("lists of actions replayed");
            Say::Actions(tag, bytes)
        });
        let told = matches!(say, Say::Envelope(_) | Say::Actions(..) | Say::NotModified | Say::Nothing);
        let recorded = told.then(|| self.controller.recorded(&call.device));
        self.at(delay, Happening::Answered { call, say, recorded });
    }

    /// The same envelope with another stage in it: the signature does not fit any more, the shape does.
    pub(super) fn forge(&mut self, bytes: &[u8]) -> Say {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let mut envelope: serde_json::Value = serde_json::from_slice(bytes).expect("it was just written");
        let payload = base64.decode(envelope["payload"].as_str().expect("a payload")).expect("it is base64");
        let mut statement: serde_json::Value = serde_json::from_slice(&payload).expect("it was just written");
        let generation = statement["generation"].as_u64().expect("a generation");
        statement["generation"] = (generation + 1 + self.chance.network.below(3)).into();
        envelope["payload"] = base64.encode(statement.to_string()).into();
        self.counts.count("envelopes forged");
        Say::Envelope(envelope.to_string().into_bytes().into())
    }

    pub(super) fn answered(&mut self, call: &Call, say: Say, recorded: Option<ReportId>) {
        let Some(device) = self.devices.get_mut(&call.device) else { return };
        let life = device.life;
        let Some(running) = device.running.as_mut() else { return };
        if life != call.life || running.calls.get(&call.kind) != Some(&call.id) {
            return;
        }
        running.calls.remove(&call.kind);
        let failure = |reason: &str| Failure { reason: "Unreachable", message: reason.to_owned() };
        let event = match (call.kind, say) {
            (CallKind::Enroll, say) => return self.enrolled(&call.device, &say),
            (CallKind::Report, Say::Recorded) => Event::ReportAnswered,
            (CallKind::Report, other) => {
                Event::ReportFailed { failure: failure(&format!("{other:?}")), retry_after_secs: None }
            }
            (CallKind::Poll, Say::NotModified) => Event::NotModified,
            (CallKind::Poll, Say::Nothing) => Event::NothingAssigned,
            (CallKind::Poll, Say::Envelope(bytes)) => {
                let trust = Trust {
                    fleet: self.controller.fleet.clone(),
                    device: call.device.clone(),
                    key: self.controller.key.verifying_key(),
                };
                let clock = Timestamp::from_millis(self.now + device.skew);
                match offer(&bytes, &trust, Some(clock)) {
                    Ok(held) => Event::Offered(Box::new(held)),
                    Err(refusal) => Event::Refused(refusal),
                }
            }
            (CallKind::Poll, Say::Actions(tag, bytes)) => {
                let trust = Trust {
                    fleet: self.controller.fleet.clone(),
                    device: call.device.clone(),
                    key: self.controller.key.verifying_key(),
                };
                let clock = Timestamp::from_millis(self.now + device.skew);
                match verify(&bytes, &trust, Some(clock)) {
                    Ok(list) => Event::ActionsListed(list),
                    Err(error) => {
                        let failure = Failure { reason: error.reason(), message: error.to_string() };
                        Event::ActionsRefused { tag, failure }
                    }
                }
            }
            (CallKind::Poll, other) => {
                if matches!(other, Say::Refused(401)) {
                    // A person has to join it to the controller again.
                    device.enrolled = false;
                }
                Event::LinkFailed { failure: failure(&format!("{other:?}")), retry_after_secs: None }
            }
        };
        if let Some(recorded) = recorded {
            self.tell(&call.device, Event::Recorded(recorded));
        }
        self.tell(&call.device, event);
    }
}
