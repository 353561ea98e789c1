//! How single devices and sites stand in a rollout.

use super::{Held, Oracle};
use crate::oracle::{Broken, hold};
use bellwether::domain::fleet::RolloutRecord;
use bellwether::domain::ids::DeviceId;
use bellwether::domain::rollout::gate::Failure;
use bellwether::domain::rollout::machine::member::Slot;
use bellwether::domain::rollout::machine::{Back, Member, Phase, Status};
use bellwether::domain::time::Timestamp;
use std::collections::BTreeMap;

pub const HEARD: &str = "no device is lost that was heard of";
pub const LEASES: &str = "who is lost or has failed holds no slot";
pub const SITES: &str = "the devices of a site succeed together";
pub const CLOCK: &str = "the clock of a step stands still while its rollout is paused";

/// Whether a device is taken out of service by a rollout, so that its site has one less.
pub fn is_at_work(member: &Member) -> bool {
    match (&member.back, &member.phase) {
        (Some(back), _) => matches!(back, Back::Offered { slot: Slot::Held, .. }),
        (None, Phase::Offered { .. } | Phase::InProgress { slot: Slot::Held, .. }) => true,
        (None, _) => false,
    }
}

/// A slot is a lease.
pub fn gives_slot_back(device: &DeviceId, member: &Member) -> Held {
    let over = matches!(member.phase, Phase::Bad { .. } | Phase::Succeeded { .. }) && member.back.is_none();
    hold!(!(over && member.holds_slot()), LEASES, "{device} is {} and holds a slot", member.phase.as_str());
    Ok(())
}

/// While a rollout is paused its step does not grow older.
pub fn clock_stands(was: &RolloutRecord, is: &RolloutRecord, now: Timestamp) -> Held {
    let paused = |record: &RolloutRecord| matches!(record.head.status, Status::Paused { .. });
    let Some(step) = is.head.steps.get(is.head.current).filter(|_| paused(is)) else { return Ok(()) };
    let stands = step.clock.shown_ms(now) == step.clock.shown_ms(now.plus_secs(3600));
    let before = was.head.steps.get(is.head.current).filter(|_| paused(was) && was.head.current == is.head.current);
    let same = before.is_none_or(|before| before.clock.shown_ms(now) == step.clock.shown_ms(now));
    hold!(stands && same, CLOCK, "{} is paused, and its clock runs", is.head.name);
    Ok(())
}

/// A site has succeeded when all of it has.
pub fn sites_together(record: &RolloutRecord) -> Held {
    /// One of a site that has succeeded, and one that has not.
    type Pair<'a> = (Option<&'a DeviceId>, Option<&'a DeviceId>);
    let mut sites: BTreeMap<(Option<u32>, &str), Pair<'_>> = BTreeMap::new();
    for (device, member) in &record.members {
        let Some(site) = &member.site else { continue };
        let (good, other) = sites.entry((member.step, site)).or_default();
        match &member.phase {
            Phase::Excluded { .. } => {}
            Phase::Succeeded { .. } => *good = Some(device),
            _ => *other = Some(device),
        }
    }
    for ((_, site), pair) in sites {
        if let (Some(good), Some(other)) = pair {
            let phase = record.members[other].phase.as_str();
            hold!(false, SITES, "of {site} in {}, {good} has succeeded and {other} is {phase}", record.head.name);
        }
    }
    Ok(())
}

impl Oracle {
    /// A device is given up only if it has not reached the controller for as long as the policy says.
    pub(super) fn lost(
        &self,
        record: &RolloutRecord,
        device: &DeviceId,
        was: Option<&Member>,
        member: &Member,
        now: Timestamp,
    ) -> Held {
        let is_lost = |phase: &Phase| matches!(phase, Phase::Bad { failure: Failure::Lost, .. });
        if !is_lost(&member.phase) || was.is_some_and(|was| is_lost(&was.phase)) {
            return Ok(());
        }
        let lost_after = i64::from(record.head.policy.lost_after_secs);
        let heard = self.heard.get(device).filter(|heard| now < heard.plus_secs(lost_after));
        hold!(
            heard.is_none(),
            HEARD,
            "{device} is lost in {} at {now}, and was heard of at {heard:?}",
            record.head.name
        );
        Ok(())
    }
}
