//! Ways in which deployment, GitOps and device management software has failed the people who used it, where fleet repos are
//! concerned, each with the test that shows that it does not happen here. The list is data, so that a test which is renamed or
//! lost is missed.

use crate::harness::fleet::outcome;
use crate::harness::git::FleetRepo;
use crate::harness::process::{BELLWETHER, program};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A failure, and the names of the tests that show that it does not happen.
const FAILURES: &[(&str, &[&str])] = &[
    // Sources that cannot be read. "Unknown" and "empty" are different things.
    (
        "a source that is away for a moment means: delete everything",
        &[
            "an_unreachable_remote_changes_nothing_and_is_told",
            "a_branch_that_is_gone_and_an_inventory_that_is_gone_change_nothing",
        ],
    ),
    ("a source that is no repository means: nothing is wanted", &["what_is_no_repository_is_unavailable"]),
    (
        "the page of a server under maintenance is taken for an answer",
        &["a_page_of_a_server_under_maintenance_is_no_inventory"],
    ),
    (
        "a look that is skipped because nothing is new deletes what it would have found",
        &["a_look_that_finds_nothing_new_writes_nothing"],
    ),
    (
        "a restart of the part that reads the source loses what was wanted",
        &["a_restarted_controller_goes_on_where_it_was_even_without_the_remote"],
    ),
    (
        "a damaged copy of the repository is read as an empty one",
        &["a_mirror_that_lost_its_objects_is_made_anew", "damaged_objects_of_the_remote_never_reach_the_mirror"],
    ),
    (
        "a branch that is deleted or rewritten takes its devices with it",
        &["a_branch_that_is_deleted_or_rewritten_changes_nothing_by_itself", "a_rewritten_branch_is_held"],
    ),
    // What is written and not meant.
    (
        "a malformed inventory ends green, with no device found",
        &["an_inventory_that_cannot_be_read_refuses_the_commit", "a_malformed_inventory_is_never_green"],
    ),
    (
        "a mistyped kind or key leaves nothing, and nothing means delete",
        &["a_mistyped_key_of_the_inventory_does_not_empty_it"],
    ),
    (
        "a file under another name leaves nothing, and nothing means delete",
        &["an_inventory_under_another_name_is_missing_and_not_empty", "a_missing_inventory_refuses_the_commit"],
    ),
    (
        "one bad host file blocks the fleet",
        &["a_broken_host_file_touches_that_host_only", "each_bad_file_keeps_back_its_own_device_and_all_others_go_on"],
    ),
    (
        "a bad host file hands the device to another branch",
        &["a_broken_host_file_on_production_does_not_hand_the_device_to_main"],
    ),
    (
        "names that stand twice are accepted, the last one wins",
        &[
            "a_group_or_host_that_stands_twice_is_an_error_and_nobody_is_dropped",
            "one_name_in_two_files_does_not_silently_take_the_last",
        ],
    ),
    (
        "variables of a host that nobody lists are ignored in silence",
        &["variables_of_a_host_that_nobody_lists_are_told"],
    ),
    (
        "a key that is not known is dropped in silence",
        &["a_key_that_is_not_known_is_never_dropped_in_silence", "what_is_not_supported_is_named"],
    ),
    (
        "a key with a hyphen needs another spelling, or is missing",
        &["a_label_or_tag_with_a_hyphen_is_a_label_like_any_other"],
    ),
    ("\"false\" in quotes switches something on", &["false_in_quotes_is_false_and_no_does_not_become_anything"]),
    ("1.10 becomes 1.1, and NO becomes false", &["typed_keys_take_the_text_as_written"]),
    (
        "a quote in a value breaks the document, or adds keys to it",
        &["a_quote_in_a_value_neither_breaks_nor_adds_anything"],
    ),
    (
        "links and paths lead out of the repository",
        &[
            "links_and_submodules_are_refused_wherever_they_matter",
            "hostile_trees_that_git_itself_would_not_make_are_findings",
        ],
    ),
    (
        "a repository fills the memory of whoever reads it",
        &[
            "one_long_file_named_often_is_refused",
            "bombs_are_errors_and_not_memory",
            "a_file_that_is_too_long_is_not_read",
        ],
    ),
    (
        "a release that is missing aborts the work that was pending, and nothing replaces it",
        &["a_release_that_is_missing_keeps_what_its_devices_have_and_nobody_elses"],
    ),
    ("one bad duration stops everybody", &["a_bad_duration_keeps_back_what_it_is_for_and_nobody_else"]),
    (
        "deletions are carried out although the rest of the commit failed",
        &[
            "a_commit_that_is_refused_lets_nobody_go",
            "an_inventory_that_cannot_be_read_refuses_the_commit",
            "deleting_a_line_leaves_the_device_running",
        ],
    ),
    (
        "an attribute that several sources say is whoever's comes first",
        &["an_attribute_that_several_sources_say_is_each_ones_own"],
    ),
    ("one device without a type fails the run", &["a_device_without_a_type_keeps_back_only_itself"]),
    // What deleting and moving means.
    (
        "a line that is deleted wipes the device",
        &["deleting_a_line_leaves_the_device_running", "deleting_lines_wipes_nothing_and_deleting_many_is_held"],
    ),
    (
        "a device that no branch lists any more is forgotten without a word",
        &["a_plan_and_the_status_call_a_device_that_another_branch_still_lists_the_same"],
    ),
    (
        "deleting much needs no more than deleting little",
        &["unmanaging_a_whole_stage_is_held_until_exactly_that_is_approved"],
    ),
    (
        "two branches claim one device, and each push takes it back",
        &["two_branches_that_claim_a_device_never_alternate"],
    ),
    (
        "a device between two branches belongs to nobody, and nobody says so",
        &["moving_a_device_goes_through_in_transit"],
    ),
    (
        "a forgotten branch with old defaults takes live devices back to old content",
        &["a_stage_that_is_seen_for_the_first_time_takes_no_running_device_until_approved"],
    ),
    ("what a device says of itself moves it to another branch", &["a_device_chooses_only_among_what_the_stage_allows"]),
    ("a commit raises the limits that would have held it", &["a_commit_cannot_raise_its_own_limits"]),
    (
        "an older run that ends later brings old content back",
        &["a_view_that_is_older_than_the_state_brings_no_old_content_back"],
    ),
    ("a restored database pushes old content to everybody", &["a_restored_older_database_converges_without_a_person"]),
    // Plans that tell less than the truth.
    ("a dry run leaves deletions out", &["a_plan_tells_every_device_that_is_let_go"]),
    ("a dry run changes something", &["checking_planning_and_explaining_change_nothing"]),
    (
        "a plan is approved, and something else is done",
        &["an_approved_mass_change_goes_out_once", "unmanaging_a_whole_stage_is_held_until_exactly_that_is_approved"],
    ),
    (
        "what could not be determined is printed as fine",
        &["a_baseline_whose_commits_the_clone_lacks_leaves_something_unknown"],
    ),
    // Work and noise out of proportion.
    (
        "a commit that changes nothing touches every device",
        &["a_first_commit_assigns_and_a_second_look_writes_nothing"],
    ),
    (
        "every push sends everything again to devices that have not reported yet",
        &["a_first_commit_assigns_and_a_second_look_writes_nothing", "a_look_that_finds_nothing_new_writes_nothing"],
    ),
    (
        "what other tools left on the device drifts for ever",
        &["what_belongs_to_others_is_not_touched", "any_device_reaches_any_assignment_and_then_rests"],
    ),
    ("drift is judged by version numbers and not by content", &["what_is_changed_by_hand_is_found_and_mended"]),
    ("drift is overwritten before anybody sees it", &["drift_is_reported_before_it_is_mended"]),
    (
        "an image that fails is tried again with every push, for ever",
        &["an_image_that_does_not_come_up_is_reported_and_not_tried_again"],
    ),
    // Secrets.
    (
        "a secret that is missing or empty is deployed, and half of the work is done already",
        &["a_secret_without_a_value_is_an_error_of_its_users_alone"],
    ),
    (
        "values of secrets are seen in diffs, errors, logs and reports",
        &["values_of_secrets_stand_in_containers_and_nowhere_else", "a_token_is_seen_nowhere_whatever_goes_wrong"],
    ),
    (
        "a secret that was changed reaches nobody, or everybody",
        &[
            "a_changed_secret_changes_its_holders_and_nobody_else",
            "secrets_that_the_repo_keeps_encrypted_reach_their_devices_and_are_rotated_by_a_commit",
        ],
    ),
    (
        "a provider of secrets that is away is taken for one without secrets",
        &["a_folder_that_is_away_is_not_a_folder_without_secrets"],
    ),
    ("a template reads files or runs programs", &["a_template_reads_no_file_and_runs_no_program"]),
    (
        "whoever can push to any branch controls every device",
        &["an_unsigned_commit_waits_until_somebody_signs_who_may", "a_commit_cannot_raise_its_own_limits"],
    ),
    (
        "a feature that is switched off stays installed",
        &["an_app_that_is_not_assigned_any_more_goes_and_leaves_its_volumes"],
    ),
    (
        "a fleet that runs already cannot be taken into a repo",
        &[
            "a_running_fleet_becomes_a_repo_that_changes_nothing_on_any_device",
            "an_imported_inventory_says_what_it_said_before",
        ],
    ),
    // What is shown.
    (
        "what devices say reaches a person's terminal or a forge's markup",
        &["a_text_from_elsewhere_cannot_act_on_the_terminal", "markdown_shows_what_is_there_and_nothing_else"],
    ),
];

/// Every function with a name of several words in the project's sources.
fn functions() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = vec![root.join("src"), root.join("tests")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let names =
                    text.split("#[test]").skip(1).filter_map(|after| after.split_once("fn ")?.1.split_once('('));
                found.extend(names.map(|(name, _)| name.to_owned()));
            }
        }
    }
    found
}

#[test]
fn every_failure_of_the_list_has_its_tests() {
    let known = functions();
    let tests = FAILURES.iter().flat_map(|(failure, tests)| tests.iter().map(move |test| (failure, test)));
    let missing: Vec<String> =
        tests.filter(|(_, test)| !known.contains(**test)).map(|(failure, test)| format!("{failure}: {test}")).collect();
    assert_eq!(missing, Vec::<String>::new());
}

const COMPOSE: &str =
    "services:\n  web:\n    image: web@sha256:0000000000000000000000000000000000000000000000000000000000000000\n";

/// A repository with two commits of `main`: all three devices, then what the second one makes of the inventory.
fn repo(name: &str, second: &str) -> FleetRepo {
    let repo = FleetRepo::new(name);
    repo.commit(
        "First",
        &[
            ("fleet.yml", "name: acme\n"),
            ("inventory.yml", "all: { hosts: { a: , b: , c: } }\n"),
            ("group_vars/all.yml", "branch: main\npins: { app: 1.0.0 }\n"),
            ("releases/app/1.0.0/release.yml", "version: 1.0.0\n"),
            ("releases/app/1.0.0/compose.yml", COMPOSE),
        ],
    );
    repo.commit("Second", &[("inventory.yml", second)]);
    repo
}

fn bellwether(repo: &FleetRepo, arguments: &[&str]) -> (Option<i32>, String, String) {
    outcome(program(BELLWETHER).args(arguments).current_dir(repo.work()))
}

#[test]
fn a_malformed_inventory_is_never_green() {
    for (name, inventory) in [
        ("malformed", "all: { hosts: { a: , b:\n"),
        ("empty", ""),
        ("list", "- a\n- b\n"),
        ("hosts-as-list", "all: { hosts: [a, b] }\n"),
        ("twice", "all: { hosts: { a: } }\nall: { hosts: { b: } }\n"),
    ] {
        let repo = repo(name, inventory);
        for command in
            [&["check", "."][..], &["check", ".", "--rev", "HEAD"], &["plan", "--stage", "main", "--exit-code"]]
        {
            let (status, out, errors) = bellwether(&repo, command);
            assert_ne!(status, Some(0), "{name}: {command:?} is green\n{out}{errors}");
        }
    }
}

#[test]
fn a_plan_tells_every_device_that_is_let_go() {
    let repo = repo("deletions", "all: { hosts: { a: } }\n");
    let (status, out, _) =
        bellwether(&repo, &["plan", "--stage", "main", "--base", "HEAD^", "--exit-code", "-o", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(status, Some(3), "{out}");
    let field = |value: &serde_json::Value, name: &str| value[name].as_str().unwrap_or("-").to_owned();
    let list = |of: &str| plan[of].as_array().expect("a list").clone();
    let changes = list("changes")
        .iter()
        .map(|one| format!("{} {}\n", field(one, "device"), field(one, "action")))
        .collect::<String>();
    let held = list("held").iter().map(|one| format!("held: {one}\n")).collect::<String>();
    insta::assert_snapshot!(changes + &held, @r#"
    b unmanage
    c unmanage
    held: {"allowed":1,"kind":"deletion-budget","unmanaged":2}
    "#);
    let (_, out, _) = bellwether(&repo, &["plan", "--stage", "main", "--base", "HEAD^", "-o", "md"]);
    assert!(out.contains("b, c"), "{out}");
}

#[test]
fn a_commit_that_is_refused_lets_nobody_go() {
    let repo = repo("refused", "all: { hosts: { a: } }\n");
    let planned = |repo: &FleetRepo| bellwether(repo, &["plan", "--stage", "main", "--base", "HEAD~", "-o", "json"]);
    // By itself the commit lets two devices go.
    let (_, out, _) = planned(&repo);
    assert!(out.contains("\"unmanage\""), "{out}");
    for (name, file, text) in [
        ("fleet.yml", "fleet.yml", "name: [acme\n"),
        ("a key that is not known", "fleet.yml", "name: acme\nstages: { main: {} }\n"),
        ("a group twice", "inventory.yml", "all: { hosts: { a: }, children: { g: }, children: { h: } }\n"),
    ] {
        repo.commit(name, &[(file, text)]);
        let (status, out, errors) =
            bellwether(&repo, &["plan", "--stage", "main", "--base", "HEAD~2", "--exit-code", "-o", "json"]);
        assert_eq!(status, Some(4), "{name}\n{out}{errors}");
        assert!(!out.contains("\"unmanage\"") && out.contains("cannot be accepted"), "{name}: {out}");
        repo.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    }
}

/// Every file below a folder with its content.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push((path.clone(), std::fs::read(path).expect("a file")))
            }
        }
    }
    found.sort();
    found
}

#[test]
fn checking_planning_and_explaining_change_nothing() {
    let repo = repo("dry", "all: { hosts: { a: , b: } }\n");
    let before = (everything(repo.work()), everything(repo.bare()));
    for command in [
        &["check", "."][..],
        &["plan", "--stage", "main", "--base", "HEAD^"],
        &["diff", "--stage", "main", "--base", "HEAD^"],
        &["why", "a", "--repo", "."],
        &["schema", "vars"],
    ] {
        let (status, out, errors) = bellwether(&repo, command);
        assert_eq!(status, Some(0), "{command:?}\n{out}{errors}");
        assert!((everything(repo.work()), everything(repo.bare())) == before, "{command:?} changed something");
    }
}
