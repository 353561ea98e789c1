//! Who sees every ledger and every answer of the controller, and remembers what must never go back.

use bellwether::domain::assignment::Mark;
use bellwether::domain::device::ledger::Ledger;
use bellwether::domain::digest::Digest;
use bellwether::domain::generation::Order;
use bellwether::domain::ids::DeviceId;
use std::collections::BTreeMap;
use std::path::Path;

/// What was ever seen of a fleet.
#[derive(Default)]
pub struct Witness {
    /// What each place of each device contains.
    contents: BTreeMap<(DeviceId, Order), Digest>,
    /// The newest place in each device's ledger, and how often its agent had started.
    ledgers: BTreeMap<DeviceId, (Option<Mark>, u64)>,
    /// The newest place that the controller told of each device.
    controller: BTreeMap<DeviceId, Mark>,
    /// How often something was seen.
    pub sights: u64,
}

impl Witness {
    /// Reads a device's ledger. A ledger is whole whenever it is read, also just after its writer was killed.
    pub fn look_into_ledger(&mut self, device: &DeviceId, state: &Path) -> Option<Ledger> {
        let text = std::fs::read_to_string(state.join("ledger")).ok()?;
        let ledger = Ledger::parse(&text).unwrap_or_else(|error| panic!("the ledger of {device}: {error}\n{text}"));
        let (mark, starts) = (ledger.mark(), ledger.starts);
        self.place(device, mark, "its ledger");
        if let Some((before, starts_before)) = self.ledgers.insert(device.clone(), (mark, starts)) {
            assert!(starts >= starts_before, "{device}: start {starts_before} went back to {starts}");
            not_back(device, before, mark, "its ledger");
        }
        Some(ledger)
    }

    /// A device's ledger is moved away: its next one begins anew.
    pub fn forget_ledger(&mut self, device: &DeviceId) {
        self.ledgers.remove(device);
    }

    /// Hears what the controller says that a device was assigned. It knows at least what any ledger held before, because it
    /// writes an assignment down before it gives it to anybody.
    pub fn hear_controller(&mut self, device: &DeviceId, mark: Option<Mark>) {
        self.place(device, mark, "the controller");
        not_back(device, self.controller.get(device).copied(), mark, "the controller");
        not_back(
            device,
            self.ledgers.get(device).and_then(|(mark, _)| *mark),
            mark,
            "the controller, after its ledger",
        );
        if let Some(mark) = mark {
            self.controller.insert(device.clone(), mark);
        }
    }

    /// How many places were seen, of all devices together.
    pub fn places(&self) -> usize {
        self.contents.len()
    }

    fn place(&mut self, device: &DeviceId, mark: Option<Mark>, by: &str) {
        self.sights += 1;
        let Some(Mark { order, digest }) = mark else { return };
        let known = *self.contents.entry((device.clone(), order)).or_insert(digest);
        assert_eq!(known, digest, "{device} has other content in the same place {order}, says {by}");
    }
}

fn not_back(device: &DeviceId, before: Option<Mark>, after: Option<Mark>, by: &str) {
    let (before, after) = (before.map(|mark| mark.order), after.map(|mark| mark.order));
    assert!(after >= before, "{device} went back from {before:?} to {after:?}, says {by}");
}
