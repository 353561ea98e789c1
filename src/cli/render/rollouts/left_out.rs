//! Who takes no part in a rollout.

use super::super::text::plain;
use super::Lists;
use crate::domain::overview::rollouts::RolloutDetail;
use crate::domain::overview::rollouts::left_out::LeftOutRow;
use std::fmt::Write as _;

/// How many devices are named in a short list.
const NAMED: usize = 5;

/// The devices that are left out, each with why.
pub(super) fn list(found: &RolloutDetail, lists: Lists) -> String {
    let all = found.phases.get("EXCLUDED").copied().unwrap_or(0);
    if all == 0 {
        return String::new();
    }
    let most = match lists {
        Lists::Short => NAMED,
        Lists::Whole => usize::MAX,
    };
    let mut text = "\nleft out:\n".to_owned();
    let mut shown = 0;
    for LeftOutRow { device, step: _, reason } in found.left_out.iter().take(most) {
        let _ = writeln!(text, "  {device}: {}", plain(reason));
        shown += 1;
    }
    if all > shown {
        let _ = writeln!(text, "  and {} more", all - shown);
    }
    text
}
