//! What becomes of devices that a rollout takes back.

use super::super::text::{count, plain};
use super::Lists;
use crate::domain::overview::rollouts::taken_back::{BackCounts, BackRow, BackState};
use crate::domain::overview::rollouts::{RolloutDetail, RolloutRow};
use std::fmt::Write as _;

/// How many devices that are not back are named in a short list.
const NAMED: usize = 10;

/// Where the devices are of a rollout that is taken back as a whole.
pub(super) fn undone(row: &RolloutRow) -> Option<&BackCounts> {
    let is_undone = matches!(row.status.as_str(), "ROLLING_BACK" | "ROLLED_BACK");
    row.back.as_ref().filter(|_| is_undone)
}

/// `3 of 5 devices have what they had; 1 keeps what it got`.
pub(super) fn sentence(back: &BackCounts) -> String {
    let BackCounts { waiting, going, went_back, away, kept } = *back;
    let have = if back.all() == 1 { "has what it had" } else { "have what they had" };
    let mut text = format!("{went_back} of {} {have}", count(back.all(), "device"));
    let others = [
        (waiting, "waits for its turn", "wait for their turn"),
        (going, "was told", "were told"),
        (away, "is not heard of", "are not heard of"),
        (kept, "keeps what it got", "keep what they got"),
    ];
    for (number, one, more) in others.into_iter().filter(|(number, _, _)| *number > 0) {
        let _ = write!(text, "; {number} {}", if number == 1 { one } else { more });
    }
    text
}

/// The devices that are not back, each with why; all of them in a whole list.
pub(super) fn list(found: &RolloutDetail, lists: Lists) -> String {
    let Some(back) = &found.row.back else { return String::new() };
    let rows = || found.taken_back.iter().filter(|row| lists == Lists::Whole || row.state != BackState::WentBack);
    let (all, most) = match lists {
        Lists::Short => (back.all() - back.went_back, NAMED),
        Lists::Whole => (back.all(), usize::MAX),
    };
    if all == 0 {
        return String::new();
    }
    let title = if lists == Lists::Short { "not back" } else { "taken back" };
    let mut text = format!("\n{title}:\n");
    let mut shown = 0;
    for BackRow { device, state, was, why } in rows().take(most) {
        let why = why.as_deref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
        let _ = writeln!(text, "  {device} {state}, was {was}{why}");
        shown += 1;
    }
    if all > shown {
        let _ = writeln!(text, "  and {} more", all - shown);
    }
    text
}
