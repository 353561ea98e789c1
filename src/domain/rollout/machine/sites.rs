//! Sites: devices that start together, and succeed together or go back together, also those that are late or have joined.

use super::World;
use super::member::{Member, Phase};
use super::offers::Kept;
use super::steps::number;
use super::work::Work;
use crate::domain::ids::DeviceId;

impl<W: World + ?Sized> Work<'_, W> {
    /// The devices that start together with this one: itself, or those of its site that wait.
    pub(super) fn unit(&self, device: &DeviceId) -> Vec<DeviceId> {
        let member = &self.rollout.members[device];
        let Some(site) = &member.site else { return vec![device.clone()] };
        let key = (member.step.unwrap_or(0), site.clone());
        let site = self.rollout.agenda.sites.get(&key).into_iter().flatten();
        let waiting = site.filter(|one| matches!(self.rollout.members[*one].phase, Phase::Queued { .. }));
        waiting.cloned().collect()
    }

    /// What keeps a device that is late, if anything does. One that joined a site whose turn is still to come waits for that.
    pub(super) fn kept_late(&self, device: &DeviceId, unit: &[DeviceId]) -> Option<Kept> {
        let in_time = unit.iter().find(|one| !self.is_late(&self.rollout.members[*one]));
        match in_time {
            Some(other) => Some(Kept::Site { device: other.clone() }),
            None => self.kept(device, unit),
        }
    }

    /// The site whose fate a device shares that joins the last step while it is under way. `None` where that has sites no more than
    /// the device, and where what becomes of the site is settled already.
    pub(super) fn site_to_join(&self, device: &DeviceId) -> Option<Box<str>> {
        let head = &self.rollout.head;
        let last = head.steps.len().saturating_sub(1);
        // Whoever is there when it begins is put into sites then.
        head.steps.get(last)?.started?;
        let label = head.policy.step(last).site.as_ref()?;
        let site: Box<str> = self.world.label(label, device)?.into();
        let of_site = self.rollout.agenda.sites.get(&(number(last), site.clone())).into_iter().flatten();
        let others = of_site.filter(|one| *one != device).map(|one| &self.rollout.members[one]);
        let mut others = others.filter(|one| !matches!(one.phase, Phase::Excluded { .. })).peekable();
        let is_settled = others.peek().is_some() && others.all(|one: &Member| one.phase.is_outcome());
        (!is_settled).then_some(site)
    }
}
