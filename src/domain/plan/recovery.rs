//! What a device's ledger says about the controller's own memory.
//!
//! A controller that was restored from an old backup finds devices ahead of it. It learns from their reports: the place in
//! the ledger becomes the floor, and what is assigned is issued again beyond it. This happens at most [`MAX_REISSUES`] times
//! in a row and only for small leads; anything else is a conflict, which a person must look at.

use crate::domain::assignment::{Assignment, Mark};
use crate::domain::fleet::{Conflict, Control};
use crate::domain::generation::{Epoch, Order};
use crate::domain::planted::{Bug, planted};
use crate::domain::time::Timestamp;

/// The largest lead that is believed. A device that lost its mind, or lies, must not push the counter far.
pub const MAX_LEAD: u64 = 10_000;
/// How often in a row an assignment is issued again. More often means that two controllers speak to one device.
pub const MAX_REISSUES: u32 = 3;

/// What a ledger's place comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The device has what was assigned, or is still behind it: nothing to recover.
    None,
    /// The device has caught up after a recovery: the count of re-issues starts again.
    Settled,
    /// The device is ahead: its place becomes the floor, and what is assigned must be issued again.
    Adopt {
        /// The device's place.
        floor: Order,
    },
    /// A person must look.
    Conflict(Conflict),
}

/// Compares what a device's ledger holds with what it was assigned.
pub fn recover(
    control: &Control,
    assignment: Option<&Assignment>,
    observed: Option<&Mark>,
    epoch: Epoch,
    now: Timestamp,
) -> Recovery {
    let Some(observed) = observed else { return Recovery::None };
    if assignment.map(Assignment::mark) == Some(*observed) {
        return if control.reissues > 0 { Recovery::Settled } else { Recovery::None };
    }
    let known = assignment.map(|assignment| assignment.order).max(control.floor);
    let ahead = match assignment {
        // The same place with other content also means that something else assigned it.
        Some(assignment) => observed.order >= assignment.order,
        None => control.floor.is_none_or(|floor| observed.order > floor),
    };
    if !ahead || planted(Bug::NeverRecover) {
        return Recovery::None;
    }
    let conflict = |reason: &str, message: String| {
        Recovery::Conflict(Conflict { since: now, reason: reason.to_owned(), message, device: Some(*observed) })
    };
    // What a person believed once is not asked again.
    let believed = control.floor.is_some_and(|floor| floor >= observed.order);
    if observed.order.epoch > epoch && !believed {
        return conflict(
            "NewerEpoch",
            format!(
                "the device has an assignment of epoch {}, this controller is in epoch {epoch}",
                observed.order.epoch
            ),
        );
    }
    let generation_known =
        known.filter(|known| known.epoch == observed.order.epoch).map_or(0, |known| known.generation.value());
    let lead = observed.order.generation.value().saturating_sub(generation_known);
    if lead > MAX_LEAD {
        return conflict(
            "DeviceAhead",
            format!("the device is {lead} generations ahead; at most {MAX_LEAD} are believed"),
        );
    }
    if assignment.is_some() && control.reissues >= MAX_REISSUES {
        return conflict(
            "DeviceAhead",
            format!("the device was ahead again after {MAX_REISSUES} re-issues: does another controller speak to it?"),
        );
    }
    Recovery::Adopt { floor: known.map_or(observed.order, |known| known.max(observed.order)) }
}
