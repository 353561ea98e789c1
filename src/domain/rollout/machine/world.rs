//! What a rollout asks about devices while it decides.

use crate::domain::digest::Digest;
use crate::domain::generation::Order;
use crate::domain::ids::{DeviceId, LabelName};
use crate::domain::rollout::budget::Group;
use crate::domain::rollout::freeze::Freezes;
use crate::domain::rollout::policy::Selector;
use crate::domain::time::Timestamp;
use crate::domain::window::Opening;

/// Whether a device may be given back what it had before a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// It may.
    Now,
    /// Somebody holds it: not before that ends.
    Held,
    /// What it is assigned is not the rollout's any more, or nobody knows whose the device is.
    Never,
}

/// What is known of devices at one moment. Every answer is a value that was read before: nothing here waits for anything.
pub trait World {
    /// Whether a selector matches a device, by the commit of the rollout.
    fn selects(&self, selector: &Selector, device: &DeviceId) -> bool;

    /// Why a device cannot take part: what it is cannot take the change, somebody holds it, it is unmanaged. `None` if it can.
    fn excluded(&self, device: &DeviceId) -> Option<String>;

    /// Whether a device may be given back what it had. What it has may be another's by now, and holds always win.
    fn returns(&self, _device: &DeviceId) -> Returns {
        Returns::Now
    }

    /// The place of what a device is assigned, if that is this content of the rollout.
    fn order(&self, _device: &DeviceId, _digest: &Digest) -> Option<Order> {
        None
    }

    /// Whether a device was heard of lately.
    fn is_online(&self, device: &DeviceId) -> bool;

    /// How the device's maintenance windows stand.
    fn opening(&self, device: &DeviceId, now: Timestamp) -> Opening;

    /// The device's value of a label.
    fn label<'a>(&'a self, label: &LabelName, device: &DeviceId) -> Option<&'a str>;

    /// The devices with one value of a label: how many there are, how many are away (those and only those that are not
    /// [online](World::is_online)), and how many slots of this group *other* rollouts hold.
    fn group(&self, label: &LabelName, value: &str) -> Group;

    /// The times in which nothing new is offered.
    fn freezes(&self) -> &Freezes;
}
