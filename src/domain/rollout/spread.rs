//! Who comes when within a step: evenly over its window, in an order that nobody can foresee and that never changes.
//!
//! The order is by a hash that is salted with the rollout and the step, so that it is not always the same device that tries
//! everything first. By rank the k-th of N devices comes at `(k + ½)/N` of the window: the number of devices that are free at any
//! moment is never more than one off the ideal line. Where N is not known beforehand there is the position of the hash itself,
//! which is even only on average.

use crate::domain::digest::Digest;
use crate::domain::ids::{DeviceId, RolloutName};
use serde::{Deserialize, Serialize};

/// How devices are spread over a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// By rank: exactly even.
    #[default]
    Rank,
    /// By the hash alone: a device's place does not depend on who else takes part.
    Hash,
}

/// A device's place in the order of a step.
///
/// The hash is the whole of SHA-256, so ties do not happen; sort by `(place, device)` all the same.
pub fn place(rollout: &RolloutName, step: u32, device: &DeviceId) -> Digest {
    let step = step.to_be_bytes();
    Digest::of_parts([b"bellwether.rank.v1".as_slice(), rollout.as_str().as_bytes(), &step, device.as_str().as_bytes()])
}

/// Devices in the order in which they come.
pub fn ranked<'a>(
    rollout: &RolloutName,
    step: u32,
    devices: impl IntoIterator<Item = &'a DeviceId>,
) -> Vec<&'a DeviceId> {
    let mut placed: Vec<_> =
        devices.into_iter().map(|device| (*place(rollout, step, device).bytes(), device)).collect();
    placed.sort_unstable();
    placed.into_iter().map(|(_, device)| device).collect()
}

/// When the device of rank `k` (from 0) of `n` comes, in milliseconds from the beginning of a window of `window_ms`.
pub fn rank_offset(k: u32, n: u32, window_ms: u64) -> u64 {
    let middle = (2 * u128::from(k) + 1) * u128::from(window_ms) / (2 * u128::from(n.max(1)));
    u64::try_from(middle).unwrap_or(u64::MAX)
}

/// When a device comes by its place alone, in milliseconds from the beginning of a window of `window_ms`.
pub fn hash_offset(place: &Digest, window_ms: u64) -> u64 {
    let offset = (u128::from(place.first_u64()) * u128::from(window_ms)) >> 64;
    u64::try_from(offset).expect("less than the window")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn rollout(name: &str) -> RolloutName {
        RolloutName::new(name).expect("a name")
    }

    fn devices(count: usize) -> Vec<DeviceId> {
        (0..count).map(|number| DeviceId::new(&format!("device-{number}")).expect("a name")).collect()
    }

    proptest! {
        #[test]
        fn release_times_are_even_never_more_than_one_device_off_the_ideal_line(
            n in 1_u32..3000, window in 1_u64..=400 * 86_400_000, probe in 0_u64..=10_000,
        ) {
            let at = u64::try_from(u128::from(window) * u128::from(probe) / 10_000).expect("fits");
            let free = (0..n).filter(|k| rank_offset(*k, n, window) <= at).count() as u128;
            let (actual, ideal) = (free * u128::from(window), u128::from(n) * u128::from(at));
            // Times are whole milliseconds, so a device can be that much early: `n` of the ideal line's units.
            prop_assert!(actual.abs_diff(ideal) <= u128::from(window) + u128::from(n));
        }

        #[test]
        fn nobody_comes_after_the_window_and_ranks_come_in_order(n in 1_u32..500, window in 0_u64..=86_400_000) {
            let times: Vec<u64> = (0..n).map(|k| rank_offset(k, n, window)).collect();
            prop_assert!(times.is_sorted() && times.iter().all(|time| *time <= window));
        }

        #[test]
        fn the_order_depends_on_who_takes_part_and_not_on_how_they_are_listed(
            devices in proptest::sample::subsequence(devices(40), 0..40).prop_shuffle(),
        ) {
            let once = ranked(&rollout("main-1"), 0, &devices);
            let mut sorted = devices.clone();
            sorted.sort();
            prop_assert_eq!(once, ranked(&rollout("main-1"), 0, &sorted));
        }
    }

    #[test]
    fn positions_by_hash_alone_are_even_on_average() {
        let devices = devices(2000);
        let mut offsets: Vec<u64> =
            devices.iter().map(|device| hash_offset(&place(&rollout("main-1"), 0, device), 1_000_000)).collect();
        offsets.sort_unstable();
        // Kolmogorov and Smirnov: with 2000 devices, more than 1.95/√2000 happens once in a thousand names.
        let worst = offsets.iter().enumerate().map(|(k, at)| (k as u64 * 500).abs_diff(*at)).max();
        assert!(worst.expect("devices") < 43_600, "{worst:?} of a million");
    }

    #[test]
    fn the_same_devices_are_not_always_first_as_they_are_with_permanent_wariness() {
        let devices = devices(100);
        let first: BTreeSet<&DeviceId> = (0..50)
            .filter_map(|number| ranked(&rollout(&format!("main-{number}")), 0, &devices).first().copied())
            .collect();
        assert!(first.len() > 30, "only {} devices were ever first in 50 rollouts", first.len());
        let name = rollout("main-1");
        assert_ne!(ranked(&name, 0, &devices), ranked(&name, 1, &devices), "steps have orders of their own");
    }

    #[test]
    fn a_later_share_of_the_fleet_does_not_fire_at_once_as_waves_by_seed_do() {
        // Where a wave's offset is taken from the position in the whole fleet, everybody in a late wave is overdue when it
        // begins. Here a step begins with nobody, whatever came before it.
        let (n, window) = (400, 86_400_000);
        let in_the_first_hour = (0..n).filter(|k| rank_offset(*k, n, window) <= window / 24).count();
        assert_eq!(in_the_first_hour, 17);
    }
}
