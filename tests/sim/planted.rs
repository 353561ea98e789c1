//! The simulation finds bugs: each that can be planted makes a seed fail, and by the rule that it breaks.

use crate::oracle::{
    ASSIGNED_ONLY, AT_MOST_ONCE, BLAST_RADIUS, BROKEN_COMMITS, CLAIMED_ONLY, CLAIMS, CONTENT, DELETION_BUDGET, DRIFT,
    ENROLLED_ONLY, GOOD, HOLDS, IMAGES_FIRST, LEDGER_FIRST, LEDGER_GROWS, LEFT_ALONE, LOCKS, NO_IDLE_WRITES,
    ONE_CONTENT, OWNER, PLACES_GROW, REWRITES, STALE_REPORTS, TOLD_FIRST, WENT_BACK,
};
use crate::rest::CONVERGES;
use crate::rollouts::{
    AROUND, BUDGET, CLOCK, EMPTY, EXPOSURE, HEARD, LEASES, NEWCOMERS, QUARANTINE, SERVED, SETTLES, SITES, STANDS_STILL,
    Trial, UNMET,
};
use crate::world::World;
use crate::{ROLLOUT_SEEDS, SEEDS, run};
use bellwether::domain::planted::{Bug, with_planted};

/// Plants a bug and runs seeds until one fails. Some bugs break one of two rules, whichever comes first.
fn check(bug: Bug, rules: &[&str]) {
    for seed in 0..if is_of_rollouts(bug) { ROLLOUT_SEEDS } else { SEEDS } {
        if is_of_rollouts(bug) {
            let Err(broken) = with_planted(Some(bug), || Trial::new(seed, 0).run()) else { continue };
            assert!(rules.contains(&broken.rule), "seed {seed} fails by {:?}: {}", broken.rule, broken.message);
            return;
        }
        let mut world = World::new(seed, 0);
        let Err(broken) = with_planted(Some(bug), || run(&mut world)) else { continue };
        assert!(rules.contains(&broken.rule), "seed {seed} fails by {:?}: {}", broken.rule, broken.message);
        return;
    }
    panic!("{SEEDS} seeds do not notice {bug:?}");
}

/// Whether a bug is one that only fleets with rollouts can meet.
fn is_of_rollouts(bug: Bug) -> bool {
    bug >= Bug::ServeStopped
}

macro_rules! planted {
    ($($name:ident: $bug:ident breaks $($rule:ident)|+;)*) => {
        $(
            #[test]
            fn $name() {
                check(Bug::$bug, &[$($rule),+]);
            }
        )*

        #[test]
        fn every_bug_has_its_test() {
            assert_eq!([$(Bug::$bug),*], Bug::ALL);
        }
    };
}

planted! {
    accepting_older_assignments_is_noticed: AcceptOlder breaks LEDGER_GROWS;
    accepting_changed_content_is_noticed: AcceptChangedContent breaks ONE_CONTENT;
    acting_before_the_ledger_is_written_is_noticed: SkipLedger breaks LEDGER_FIRST;
    mending_before_telling_is_noticed: MendUntold breaks TOLD_FIRST;
    making_services_anew_for_nothing_is_noticed: RecreateAlways breaks LEFT_ALONE;
    believing_envelopes_for_others_is_noticed: BelieveAnyDevice breaks ASSIGNED_ONLY;
    believing_forged_envelopes_is_noticed: BelieveAnySignature breaks ASSIGNED_ONLY;
    letting_the_least_gated_stage_win_is_noticed: OwnerLeastGated breaks OWNER;
    taking_unread_for_empty_is_noticed: UnreadMeansEmpty breaks CLAIMS;
    taking_unknown_for_released_is_noticed: UnknownMeansReleased breaks CLAIMS;
    assigning_to_unclaimed_devices_is_noticed: AssignUnclaimed breaks CLAIMED_ONLY;
    assigning_to_strangers_is_noticed: AssignStrangers breaks ENROLLED_ONLY;
    ignoring_holds_is_noticed: IgnoreHolds breaks HOLDS;
    accepting_broken_commits_is_noticed: AcceptBroken breaks BROKEN_COMMITS;
    ignoring_the_deletion_budget_is_noticed: IgnoreDeletionBudget breaks DELETION_BUDGET;
    ignoring_the_blast_radius_is_noticed: IgnoreBlastRadius breaks BLAST_RADIUS;
    ignoring_rewritten_branches_is_noticed: IgnoreRewrites breaks REWRITES;
    reusing_a_generation_is_noticed: ReuseGeneration breaks PLACES_GROW;
    never_recovering_is_noticed: NeverRecover breaks CONVERGES | PLACES_GROW;
    writing_without_a_change_is_noticed: WriteAlways breaks NO_IDLE_WRITES;
    deciding_from_late_views_is_noticed: UseLateViews breaks CLAIMS | CONTENT;
    trusting_stale_reports_is_noticed: TrustStaleReports breaks STALE_REPORTS;
    overlooking_variables_is_noticed: OverlookVariables breaks DRIFT | TOLD_FIRST;
    stopping_before_the_images_are_there_is_noticed: StopBeforeImages breaks IMAGES_FIRST;
    ignoring_locks_is_noticed: IgnoreLocks breaks LOCKS;
    trying_what_failed_again_is_noticed: RetryFailedDigest breaks WENT_BACK | CONVERGES;
    taking_for_good_what_has_not_soaked_is_noticed: SkipSoak breaks GOOD;
    beginning_actions_again_is_noticed: RepeatActions breaks AT_MOST_ONCE;
    handing_out_what_was_stopped_is_noticed: ServeStopped breaks SERVED;
    assigning_what_went_wrong_is_noticed: IgnoreQuarantine breaks QUARANTINE | AROUND;
    passing_empty_steps_is_noticed: PassEmptySteps breaks EMPTY;
    passing_unmet_steps_is_noticed: PassUnmetSteps breaks UNMET;
    releasing_everybody_at_once_is_noticed: ReleaseAtOnce breaks EXPOSURE;
    offering_while_paused_is_noticed: OfferWhilePaused breaks STANDS_STILL;
    forgetting_budgets_is_noticed: ForgetBudgets breaks BUDGET;
    assigning_around_rollouts_is_noticed: AssignAround breaks AROUND;
    forgetting_who_was_away_is_noticed: ForgetTheSilent breaks SETTLES;
    letting_newcomers_get_ahead_is_noticed: JoinAtOnce breaks NEWCOMERS;
    keeping_slots_of_what_failed_is_noticed: KeepSlots breaks LEASES;
    freeing_slots_of_the_sick_is_noticed: FreeSickSlots breaks BUDGET;
    losing_who_was_heard_of_is_noticed: LoseTheHeard breaks HEARD;
    splitting_sites_is_noticed: SplitSites breaks SITES;
    running_while_paused_is_noticed: RunWhilePaused breaks CLOCK;
    passing_without_reports_is_noticed: PassUnreported breaks UNMET;
}
