//! What is known of the devices, with the dice for what is not.

use super::Odds;
use crate::domain::digest::Digest;
use crate::domain::ids::{DeviceId, LabelName};
use crate::domain::rollout::budget::Group;
use crate::domain::rollout::freeze::Freezes;
use crate::domain::rollout::machine::World;
use crate::domain::rollout::policy::Selector;
use crate::domain::rollout::share::Share;
use crate::domain::time::Timestamp;
use crate::domain::window::Opening;

/// The world, with devices that are away as the dice say.
pub(super) struct Imagined<'a, W: World + ?Sized> {
    pub(super) world: &'a W,
    pub(super) odds: Odds,
    pub(super) seed: u64,
}

impl<W: World + ?Sized> Imagined<'_, W> {
    /// An even number below `below`, drawn for a device and a purpose.
    pub(super) fn draw(&self, purpose: &str, device: &DeviceId, below: u64) -> u64 {
        let seed = self.seed.to_be_bytes();
        let parts = [b"bellwether.simulate.v1".as_slice(), &seed, purpose.as_bytes(), device.as_str().as_bytes()];
        let drawn = (u128::from(Digest::of_parts(parts).first_u64()) * u128::from(below)) >> 64;
        u64::try_from(drawn).expect("less than what it is below")
    }

    pub(super) fn happens(&self, purpose: &str, device: &DeviceId, share: Share) -> bool {
        self.draw(purpose, device, Share::WHOLE.into()) < u64::from(share.count())
    }
}

impl<W: World + ?Sized> World for Imagined<'_, W> {
    fn selects(&self, selector: &Selector, device: &DeviceId) -> bool {
        self.world.selects(selector, device)
    }

    fn excluded(&self, device: &DeviceId) -> Option<String> {
        self.world.excluded(device)
    }

    fn is_online(&self, device: &DeviceId) -> bool {
        !self.happens("offline", device, self.odds.offline)
    }

    fn opening(&self, device: &DeviceId, now: Timestamp) -> Opening {
        self.world.opening(device, now)
    }

    fn label<'a>(&'a self, label: &LabelName, device: &DeviceId) -> Option<&'a str> {
        self.world.label(label, device)
    }

    fn group(&self, label: &LabelName, value: &str) -> Group {
        // Who is away is drawn, and nothing says who of a group that is: as many as are to be expected.
        let group = self.world.group(label, value);
        Group { away: self.odds.offline.floor_of(group.members), slots: 0, ..group }
    }

    fn freezes(&self) -> &Freezes {
        self.world.freezes()
    }
}
