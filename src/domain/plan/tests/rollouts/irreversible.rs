//! Going back, and releases that nobody goes back over.

use super::ways::{STEPS, commit, on_the_first};
use super::*;

/// What the canary runs after the rollout to 2.0.0 went wrong with it and was rolled back; each mark says more of 2.0.0.
fn after_a_rollback(release: &str) -> (String, String) {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.0.0", &format!("1.0.0 {release}"), STEPS), Lineage::Extends);
    // It says that it failed, and stays with what it got.
    world.is_well("canary");
    world.goes_back("canary");
    world.ask("main-00000000", Act::Rollback);
    world.later(60);
    let runs = world.state.devices["canary"].assignment.as_ref().expect("something is assigned");
    let back = world.state.rollouts["main-00000000"].members["canary"].back;
    (
        runs.spec.spec.apps["web"].release.to_string(),
        format!("{back:?}").split(' ').next().unwrap_or_default().to_owned(),
    )
}

#[test]
fn a_rollback_leads_nobody_back_over_an_irreversible_release() {
    assert_eq!(after_a_rollback("2.0.0").0, "1.0.0");
    assert_eq!(after_a_rollback("2.0.0?"), ("2.0.0".to_owned(), "Some(Kept)".to_owned()));
}
