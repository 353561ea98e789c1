//! The way back: each device gets what it had before.

use super::agenda::{Turnback, keys};
use super::member::{Back, Exposure, Member, Phase, Reversal, Slot};
use super::work::Work;
use super::{Effect, Returns, Rollout, Status, World};
use crate::domain::ids::DeviceId;

impl Rollout {
    /// Whether all that have not gone back yet are held: nobody knows when that ends.
    pub fn waits_for_holds<W: World + ?Sized>(&self, world: &W) -> bool {
        let waiting = &self.agenda.returning;
        let rolls_back = matches!(self.head.status, Status::RollingBack { .. }) && self.agenda.timers.is_empty();
        rolls_back && waiting.iter().all(|(_, _, device)| world.returns(device) == Returns::Held)
    }
}

impl<W: World + ?Sized> Work<'_, W> {
    /// Every device that got something of this rollout goes back to what it had; the others get nothing.
    pub(super) fn roll_back(&mut self) {
        self.rollout.head.status = Status::RollingBack { since: self.now };
        self.note("RollingBack", "every device goes back to what it had".to_owned());
        self.withdraw(&Phase::Canceled);
        let touched = self.rollout.members.iter();
        // Also one that waits to try again, or was left out since: it had what is bad, or has it.
        let had_it = |member: &Member| member.phase.is_acknowledged() || member.exposure == Exposure::Acknowledged;
        let touched = touched.filter(|(_, member)| had_it(member) && member.back.is_none());
        let touched: Vec<DeviceId> = touched.map(|(device, _)| device.clone()).collect();
        for device in touched {
            let member = self.rollout.members[&device].clone();
            let back = match (member.previous, member.reversal) {
                (Some(_), Reversal::Possible) => Back::Waiting,
                (None, _) | (Some(_), Reversal::Impossible) => Back::Kept,
            };
            self.put(&device, Member { back: Some(back), ..member });
        }
    }

    /// Everybody who waits for a turn, or has not acknowledged an offer, gets nothing any more.
    pub(super) fn withdraw(&mut self, to: &Phase) {
        let open = self.rollout.members.iter();
        let open = open.filter(|(_, member)| matches!(member.phase, Phase::Queued { .. } | Phase::Offered { .. }));
        let open: Vec<(DeviceId, bool)> =
            open.map(|(device, member)| (device.clone(), matches!(member.phase, Phase::Offered { .. }))).collect();
        for (device, offered) in open {
            self.set(&device, to.clone());
            if offered {
                self.turn.effects.push(Effect::Withdraw { device });
            }
        }
    }

    /// Tells devices to go back: those that are not well at once, those that work as their budgets allow.
    pub(super) fn send_back(&mut self) {
        let waiting: Vec<_> = self.rollout.agenda.returning.iter().cloned().collect();
        for (turn, _, device) in waiting {
            match self.world.returns(&device) {
                Returns::Now => {}
                Returns::Held => continue,
                Returns::Never => {
                    let member = self.rollout.members[&device].clone();
                    self.put(&device, Member { back: Some(Back::Kept), ..member });
                    continue;
                }
            }
            let away = turn == Turnback::Sick || !self.world.is_online(&device);
            let keys = keys(&self.rollout.head, self.world, &device);
            if away {
                self.return_one(&device, Slot::Free);
            } else if keys.iter().all(|(at, value)| self.shortage(*at, value, 1).is_none()) {
                self.return_one(&device, Slot::Held);
            }
        }
        let returning = self.rollout.agenda.returning.is_empty();
        if !matches!(self.rollout.head.status, Status::RollingBack { .. }) {
            if !returning {
                self.look_again();
            }
            return;
        }
        if returning && self.rollout.agenda.timers.is_empty() {
            self.rollout.head.status = Status::RolledBack { at: self.now };
            self.note("RolledBack", "whoever can be reached has what it had".to_owned());
        } else if !returning {
            self.look_again();
        }
    }

    pub(super) fn return_one(&mut self, device: &DeviceId, slot: Slot) {
        let member = self.rollout.members[device].clone();
        let (Some(digest), Reversal::Possible) = (member.previous, member.reversal) else {
            return self.put(device, Member { back: Some(Back::Kept), ..member });
        };
        let back = match self.world.returns(device) {
            Returns::Now => Back::Offered { since: self.now, slot },
            Returns::Held => Back::Waiting,
            Returns::Never => Back::Kept,
        };
        self.put(device, Member { back: Some(back), ..member });
        if !matches!(back, Back::Offered { .. }) {
            return;
        }
        self.turn.effects.push(Effect::GoBack { device: device.clone(), digest });
    }

    /// A device has what it had.
    pub(super) fn came_back(&mut self, device: &DeviceId) {
        let member = self.rollout.members[device].clone();
        self.put(device, Member { back: Some(Back::Done), ..member });
    }

    /// A device has not said for a long time that it went back. It is told whenever it asks; nobody waits for it.
    pub(super) fn back_expired(&mut self, device: &DeviceId, member: Member) {
        let digest = member.previous;
        self.put(device, Member { back: Some(Back::Away), ..member });
        debug_assert!(digest.is_some(), "only a device that had something goes back");
    }
}
