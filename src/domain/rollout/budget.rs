//! Disruption budgets: how many devices with the same label value may be away at once.
//!
//! A budget names a label (`site`), and every value of it (`zurich-hb`, `bern`) is a group of its own. Two things can be asked:
//!
//! - `max_unavailable`: how many devices of a group rollouts may have taken at the same time. Each holds a *slot* from the offer
//!   until its outcome. Slots are leases: a device that is lost, held or offline gives its slot back, so that a few sick devices
//!   never stop the others.
//! - `min_available`: how many devices of a group must stay available whatever happens. Here every device counts that is away,
//!   also one that is away by itself, so sick devices *do* hold up their group, and only theirs.

use super::share::Amount;
use crate::domain::ids::LabelName;
use serde::{Deserialize, Serialize};

/// What must stay available of every group of devices with the same value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The label.
    pub label: LabelName,
    /// How many of a group rollouts may have taken at once, a share of the group rounded down but at least one; `None` for any
    /// number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Amount>,
    /// How many of a group must be available, a share of the group rounded up; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<Amount>,
}

/// The devices with one value of a label, as they are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// All of them.
    pub members: u32,
    /// Those that are away without holding a slot: offline, lost, failed.
    pub away: u32,
    /// Those that hold a slot, of whatever rollout.
    pub slots: u32,
}

/// Why a device must wait for others of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortage {
    /// As many as may hold a slot do.
    Slots {
        /// How many hold one.
        taken: u32,
        /// How many may.
        most: u32,
    },
    /// Too few would be left.
    Available {
        /// How many would be left.
        left: u32,
        /// How many must be.
        least: u32,
    },
}

impl Budget {
    /// Whether `more` devices of a group may be taken now.
    pub fn allows(&self, group: Group, more: u32) -> Result<(), Shortage> {
        let Group { members, away, slots } = group;
        if let Some(most) = self.max_unavailable.map(|amount| amount.floor_of(members))
            && slots.saturating_add(more) > most
        {
            return Err(Shortage::Slots { taken: slots, most });
        }
        let left = members.saturating_sub(away).saturating_sub(slots).saturating_sub(more);
        match self.min_available.map(|amount| amount.ceil_of(members)) {
            Some(least) if left < least => Err(Shortage::Available { left, least }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether `more` of a group could be taken if all of it were available and nobody held a slot. If not, they wait for ever.
    pub fn could_allow(&self, members: u32, more: u32) -> bool {
        self.allows(Group { members, away: 0, slots: 0 }, more).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::share::Share;
    use proptest::prelude::*;

    fn budget(max_unavailable: Option<Amount>, min_available: Option<Amount>) -> Budget {
        Budget { label: LabelName::new("site").expect("a name"), max_unavailable, min_available }
    }

    #[test]
    fn sick_devices_do_not_keep_their_slots() {
        let two = budget(Some(Amount::Count(2)), None);
        let three_lost = Group { members: 10, away: 3, slots: 0 };
        assert_eq!(two.allows(three_lost, 2), Ok(()));
        assert_eq!(two.allows(Group { slots: 2, ..three_lost }, 1), Err(Shortage::Slots { taken: 2, most: 2 }));
    }

    #[test]
    fn what_must_stay_available_counts_whoever_is_away() {
        let most = budget(None, Some(Amount::Share(Share::percent(75))));
        assert_eq!(most.allows(Group { members: 10, away: 1, slots: 0 }, 1), Ok(()));
        let denied = most.allows(Group { members: 10, away: 1, slots: 1 }, 1);
        assert_eq!(denied, Err(Shortage::Available { left: 7, least: 8 }));
    }

    #[test]
    fn a_small_group_with_a_small_share_is_still_served_one_by_one() {
        let tenth = budget(Some(Amount::Share(Share::percent(10))), None);
        assert_eq!(tenth.allows(Group { members: 3, ..Group::default() }, 1), Ok(()));
        assert!(
            !budget(None, Some(Amount::Count(1))).could_allow(1, 1),
            "a lone device that must always be there waits"
        );
    }

    proptest! {
        #[test]
        fn never_more_than_the_budget_is_taken(
            members in 1_u32..40, most in 0_u32..10, least in 0_u32..40, acts in prop::collection::vec(0_u8..4, 0..200),
        ) {
            let budget = budget(Some(Amount::Count(most)), Some(Amount::Count(least)));
            let mut group = Group { members, away: 0, slots: 0 };
            for act in acts {
                match act {
                    0 | 1 if group.slots + group.away < members && budget.allows(group, 1).is_ok() => {
                        group.slots += 1;
                        prop_assert!(group.slots <= most && members - group.away - group.slots >= least);
                    }
                    2 if group.slots > 0 => group.slots -= 1,
                    3 if group.slots > 0 => {
                        // Lost: away, and its slot is free.
                        group.slots -= 1;
                        group.away += 1;
                    }
                    _ => {}
                }
            }
        }
    }
}
