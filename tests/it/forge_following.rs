//! After a merge: a real controller tells GitHub how the commits of its stages fare. Every request is held against GitHub's own description
//! of its API, and every answer is made from it.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::forge::{Asked, GitHub, Instead, answer};
use crate::harness::process::eventually;
use crate::harness::run::run;
use serde_json::{Value, json};

const ME: &str = "bellwether-of-acme";
const TOKEN: &str = "ghs_canary0123456789";
const DEPLOYMENTS: &str = "/repos/{owner}/{repo}/deployments";
const PULLS: &str = "/repos/{owner}/{repo}/commits/{commit_sha}/pulls";

/// GitHub's stand-in without any deployment of ours yet; the merge request of each commit is number 1347.
fn github(purpose: &str) -> GitHub {
    GitHub::start(purpose, |examples| {
        *examples.of("get", DEPLOYMENTS, "200") = json!([]);
        examples.of("get", "/user", "200")["login"] = json!(ME);
        let pulls = examples.of("get", PULLS, "200");
        (pulls[0]["requested_teams"], pulls[0]["base"]["ref"]) = (json!([]), json!("main"));
    })
}

fn fleet(name: &str, github: &GitHub, stages: &str, device: &str) -> Fleet {
    let token = run().scratch(&format!("{name}-token")).join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).expect("write the token");
    let forge = format!(
        "forge:\n  repository: acme/fleet\n  api: {}\n  token_file: {}\n  stages: main\n  link: https://fleet.example/\n",
        github.url(),
        token.display()
    );
    let inventory = format!("all:\n  hosts:\n    {device}: {{ branch: main }}\n");
    let first = step("first");
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", &*inventory),
        (STEP, &*first),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", COMPOSE),
    ];
    Fleet::configured(name, On::Simulated, &format!("{stages}{forge}"), &files)
}

const STEP: &str = "group_vars/all.yml";
const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";

/// Each word is other content for the device.
fn step(word: &str) -> String {
    format!("pins: {{ web: latest }}\nvariables: {{ STEP: {word} }}\n")
}

/// What was asked so far, with what is asked until some request of it is there.
fn until(github: &GitHub, all: &mut Vec<Asked>, what: &str, is: impl Fn(&Asked) -> bool) -> Asked {
    eventually(what, || {
        all.extend(github.asked());
        all.iter().find(|one| is(one)).cloned()
    })
}

fn state(one: &Asked) -> &str {
    one.body["state"].as_str().unwrap_or_default()
}

fn is_status(one: &Asked, commit: &str, wanted: &str) -> bool {
    one.what == format!("POST /repos/acme/fleet/statuses/{commit}") && state(one) == wanted
}

/// That a deployment says how it ended: the last thing that is said about a commit.
fn is_end(one: &Asked, wanted: &str) -> bool {
    one.what.starts_with("POST /repos/acme/fleet/deployments/") && state(one) == wanted
}

fn count(all: &[Asked], is: impl Fn(&Asked) -> bool) -> usize {
    all.iter().filter(|one| is(one)).count()
}

fn is_deploy(one: &Asked, commit: &str) -> bool {
    one.what == "POST /repos/acme/fleet/deployments" && one.body["ref"] == json!(commit)
}

#[test]
fn a_commit_has_a_status_and_one_deployment_that_follow_it_and_a_restart_says_nothing_again() {
    let github = github("github-follows");
    let mut fleet = fleet("follows", &github, "stages: [main, canary, production]\n", "followed-1");
    fleet.enroll(&["followed-1"]);
    let first = fleet.repo.tip("main");
    let mut all = Vec::new();
    let end = |all: &mut Vec<Asked>, commit: &str| {
        until(&github, all, "the status of the commit", |one| is_status(one, commit, "success"));
        let at = all.iter().position(|one| is_status(one, commit, "success")).expect("it was found");
        eventually("the deployment's end", || {
            all.extend(github.asked());
            all[at..].iter().any(|one| is_end(one, "success")).then_some(())
        });
    };
    end(&mut all, &first);
    let second = {
        fleet.push("main", "Go on", &[(STEP, &step("second"))]);
        fleet.settled_on("main", &["followed-1"]);
        fleet.repo.tip("main")
    };
    end(&mut all, &second);

    let success = all.iter().find(|one| is_status(one, &second, "success")).expect("a status");
    assert_eq!(
        success.body,
        json!({
            "state": "success", "description": "1 of 1 devices", "context": "bellwether/main",
            "target_url": "https://fleet.example/",
        })
    );
    let deploy = all.iter().find(|one| is_deploy(one, &second)).expect("a deployment");
    assert_eq!(
        deploy.body,
        json!({
            "ref": second, "task": "bellwether", "auto_merge": false, "required_contexts": [],
            "payload": { "bellwether": format!("main {second}") }, "environment": "main", "description": "stage main",
        })
    );
    for commit in [&first, &second] {
        assert_eq!(count(&all, |one| is_deploy(one, commit)), 1);
        assert_eq!(count(&all, |one| is_status(one, commit, "success")), 1);
    }
    assert!(all.iter().all(|one| !one.what.contains("comments")), "nobody has to do anything, and nobody is bothered");
    assert!(!fleet.controller_log().contains(TOKEN));

    // After a restart only what is new is told.
    fleet.stop_controller();
    all.extend(github.asked());
    let before = all.len();
    fleet.start_controller();
    fleet.push("main", "Once more", &[(STEP, &step("third"))]);
    fleet.settled_on("main", &["followed-1"]);
    let third = fleet.repo.tip("main");
    end(&mut all, &third);
    let old = |one: &Asked| one.what.contains(&first) || one.what.contains(&second) || one.body["ref"] == json!(second);
    assert_eq!(count(&all[before..], old), 0, "{:?}", &all[before..]);
}

#[test]
fn a_deployment_whose_answer_was_lost_is_found_again_after_the_controller_was_killed() {
    let github = github("github-lost");
    let mut fleet = fleet("lost", &github, "stages: [main, canary, production]\n", "lost-1");
    fleet.enroll(&["lost-1"]);
    fleet.settled(&["lost-1"]);
    let mut all = Vec::new();
    until(&github, &mut all, "the first deployment's end", |one| is_end(one, "success"));
    github.rule("POST /repos/acme/fleet/deployments", Instead::Lost);
    fleet.push("main", "Go on", &[(STEP, &step("second"))]);
    let commit = fleet.repo.tip("main");
    // A forge that is in trouble stops nothing.
    fleet.settled_on("main", &["lost-1"]);
    let lost = until(&github, &mut all, "the deployment is made", |one| is_deploy(one, &commit));
    let known = json!([{ "id": 42, "payload": lost.body["payload"] }, { "id": 43, "payload": "of somebody else" }]);
    github.rule("GET /repos/acme/fleet/deployments?", answer("200 OK", "", &known));
    eventually("the controller says so", || fleet.controller_log().contains("the forge is not told").then_some(()));
    fleet.kill_controller();
    fleet.start_controller();
    until(&github, &mut all, "it is told in the deployment that is there", |one| {
        one.what == "POST /repos/acme/fleet/deployments/42/statuses" && state(one) == "success"
    });
    assert_eq!(count(&all, |one| is_deploy(one, &commit)), 1);
}

#[test]
fn a_held_commit_asks_for_a_person_on_its_merge_request_once() {
    let github = github("github-held");
    let stages = "stages:\n  - { name: main, max_unstaged: 0 }\n  - canary\n  - production\n";
    let mut fleet = fleet("asks", &github, stages, "asked-1");
    fleet.enroll(&["asked-1"]);
    fleet.settled(&["asked-1"]);
    fleet.push("main", "Change it", &[(STEP, &step("second"))]);
    let commit = fleet.repo.tip("main");
    let mut all = Vec::new();
    let asks =
        until(&github, &mut all, "a person is asked", |one| one.what == "POST /repos/acme/fleet/issues/1347/comments");
    let body = asks.body["body"].as_str().expect("a text").to_owned();
    assert!(body.contains("stage `main` waits for approval") && body.contains(&commit), "{body}");
    let digest = body.split("bellwether approve ").nth(1).and_then(|rest| rest.lines().next()).expect("a digest");
    let held = until(&github, &mut all, "its status waits", |one| is_status(one, &commit, "pending"));
    assert!(held.body["description"].as_str().is_some_and(|text| text.starts_with("held: ")), "{held:?}");

    let (status, _, stderr) = outcome(&mut fleet.cli(&["approve", digest]));
    assert_eq!(status, Some(0), "{stderr}");
    let over = until(&github, &mut all, "the same comment says that it is over", |one| {
        one.what.starts_with("PATCH /repos/acme/fleet/issues/comments/")
    });
    assert!(over.body["body"].as_str().is_some_and(|text| text.contains("nobody has to do anything")), "{over:?}");
    until(&github, &mut all, "the commit is everywhere", |one| is_status(one, &commit, "success"));
    assert_eq!(count(&all, |one| one.what.starts_with("POST ") && one.what.contains("/comments")), 1);
}

/// Commits without a merge request are nobody's to be asked about; credentials that end hold nothing up.
#[test]
fn without_a_merge_request_nobody_is_asked_and_a_forge_that_denies_holds_nothing_up() {
    let github = github("github-denies");
    let stages = "stages:\n  - { name: main, max_unstaged: 0 }\n  - canary\n  - production\n";
    let mut fleet = fleet("denied", &github, stages, "denied-1");
    fleet.enroll(&["denied-1"]);
    fleet.settled(&["denied-1"]);
    github.rule("GET /repos/acme/fleet/commits/", answer("200 OK", "", &json!([])));
    fleet.push("main", "Change it", &[(STEP, &step("second"))]);
    let commit = fleet.repo.tip("main");
    let mut all = Vec::new();
    until(&github, &mut all, "its status waits", |one| is_status(one, &commit, "pending"));
    assert_eq!(count(&all, |one| one.what.contains("/comments")), 0);

    let denied = json!({ "message": "Bad credentials" });
    github.rule("POST /repos/acme/fleet/", answer("401 Unauthorized", "", &denied));
    let waiting = fleet.stage(&"main".parse().expect("a stage")).waiting.expect("it is held");
    let digest = match serde_json::to_value(&waiting.why).expect("JSON")["digest"].as_str() {
        Some(digest) => digest.to_owned(),
        None => panic!("{waiting:?}"),
    };
    let (status, _, stderr) = outcome(&mut fleet.cli(&["approve", &digest]));
    assert_eq!(status, Some(0), "{stderr}");
    fleet.settled_on("main", &["denied-1"]);
    until(&github, &mut all, "it is told later", |one| is_status(one, &commit, "success"));
    assert!(fleet.controller_log().contains("Bad credentials"), "{}", fleet.controller_log());
    let posted: Vec<&Value> =
        all.iter().filter(|one| is_status(one, &commit, "success")).map(|one| &one.body).collect();
    assert!(posted.len() <= 2, "once refused and once taken: {posted:?}");
}
