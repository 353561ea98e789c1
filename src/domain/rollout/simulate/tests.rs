//! A rollout in virtual time, with each ready policy.

use super::*;
use crate::domain::digest::Digest;
use crate::domain::ids::LabelName;
use crate::domain::rollout::budget::Group;
use crate::domain::rollout::freeze::Freezes;
use crate::domain::rollout::machine::Reversal;
use crate::domain::rollout::policy::Selector;
use crate::domain::rollout::ready::Ready;
use crate::domain::rollout::share::Share;
use crate::domain::window::Opening;

struct Canaries(Freezes);

impl World for Canaries {
    fn selects(&self, selector: &Selector, device: &DeviceId) -> bool {
        *selector == Selector::All || device.as_str().ends_with('0')
    }
    fn excluded(&self, _: &DeviceId) -> Option<String> {
        None
    }
    fn is_online(&self, _: &DeviceId) -> bool {
        true
    }
    fn opening(&self, _: &DeviceId, _: Timestamp) -> Opening {
        Opening::Unrestricted
    }
    fn label<'a>(&'a self, _: &LabelName, _: &DeviceId) -> Option<&'a str> {
        None
    }
    fn group(&self, _: &LabelName, _: &str) -> Group {
        Group::default()
    }
    fn freezes(&self) -> &Freezes {
        &self.0
    }
}

fn runs(ready: Ready, failure: u16, offline: u16, count: u64) -> Vec<Run> {
    let change = |number: usize| Change {
        target: Digest::of(&number.to_be_bytes()),
        previous: Some(Digest::of(b"before")),
        detour: Vec::new(),
        reversal: Reversal::Possible,
    };
    let device = |number: usize| DeviceId::new(&format!("device-{number}")).expect("a name");
    let changes = (0..200).map(|number| (device(number), change(number))).collect();
    let simulation = Simulation {
        stage: &StageName::new("main").expect("a name"),
        commit: &CommitId::new(&"1".repeat(40)).expect("a commit"),
        policy: &ready.policy(),
        changes: &changes,
        world: &Canaries(Freezes::default()),
        odds: Odds { failure: Share::percent(failure), offline: Share::percent(offline), latency_secs: 300 },
        start: Timestamp::from_millis(1_800_000_000_000),
    };
    (0..count).map(|seed| simulate(&simulation, seed)).collect()
}

#[test]
fn a_run_is_the_same_for_a_seed_and_another_for_another() {
    assert_eq!(runs(Ready::Cautious, 10, 5, 3), runs(Ready::Cautious, 10, 5, 3));
    let runs = runs(Ready::Cautious, 10, 5, 3);
    assert_ne!(runs[0], runs[1]);
}

#[test]
fn a_bad_release_is_seen_by_few_and_a_good_one_goes_through() {
    let mut lines = Vec::new();
    for (failure, offline) in [(0, 0), (0, 10), (30, 5), (100, 0)] {
        for ready in Ready::ALL {
            let Summary { runs, stopped, exposed_median, exposed_95, done_median_secs, .. } =
                sum_up(&runs(ready, failure, offline, 20));
            lines.push(format!(
                "{failure}% fail, {offline}% away, {}: {stopped} of {runs} stopped, exposed {exposed_median:?} and \
                 {exposed_95:?}, takes {done_median_secs:?}",
                ready.name(),
            ));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    0% fail, 0% away, immediate: 0 of 20 stopped, exposed None and None, takes Some(299)
    0% fail, 0% away, cautious: 0 of 20 stopped, exposed None and None, takes Some(112630)
    0% fail, 0% away, canary-first: 0 of 20 stopped, exposed None and None, takes Some(16415)
    0% fail, 0% away, weekend: 0 of 20 stopped, exposed None and None, takes Some(158400)
    0% fail, 10% away, immediate: 0 of 20 stopped, exposed None and None, takes Some(329)
    0% fail, 10% away, cautious: 0 of 20 stopped, exposed None and None, takes Some(112724)
    0% fail, 10% away, canary-first: 0 of 20 stopped, exposed None and None, takes Some(16464)
    0% fail, 10% away, weekend: 0 of 20 stopped, exposed None and None, takes Some(158400)
    30% fail, 5% away, immediate: 20 of 20 stopped, exposed Some(190) and Some(191), takes None
    30% fail, 5% away, cautious: 20 of 20 stopped, exposed Some(1) and Some(6), takes None
    30% fail, 5% away, canary-first: 20 of 20 stopped, exposed Some(19) and Some(20), takes None
    30% fail, 5% away, weekend: 20 of 20 stopped, exposed Some(1) and Some(7), takes None
    100% fail, 0% away, immediate: 20 of 20 stopped, exposed Some(200) and Some(200), takes None
    100% fail, 0% away, cautious: 20 of 20 stopped, exposed Some(1) and Some(1), takes None
    100% fail, 0% away, canary-first: 20 of 20 stopped, exposed Some(20) and Some(20), takes None
    100% fail, 0% away, weekend: 20 of 20 stopped, exposed Some(1) and Some(1), takes None
    ");
}

#[test]
fn a_rollout_that_blocks_ends_the_run_instead_of_time() {
    let run = &runs(Ready::CanaryFirst, 0, 100, 1)[0];
    assert_eq!((run.status.as_str(), run.exposed, run.secs), ("ACTIVE", 0, 0));
}
