//! Promotions: evidence from a running controller, a commit with exactly the verified tree, and a merge request on a forge whose
//! requests are held against GitHub's own description.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::forge::{Asked, GitHub, Instead, answer};
use crate::harness::git::FleetRepo;
use crate::harness::process::eventually;
use serde_json::{Value, json};

const DEVICE: &str = "promoted-1";

fn fleet(name: &str) -> Fleet {
    let inventory = format!("all:\n  hosts:\n    {DEVICE}: {{ branch: canary }}\n");
    let mut fleet = Fleet::start(name, On::Simulated, &[("fleet.yml", "name: acme\n"), ("inventory.yml", &inventory)]);
    fleet.enroll(&[DEVICE]);
    fleet
}

/// A commit as GitHub tells it.
fn commit(repo: &FleetRepo, id: &str) -> Value {
    let tree = repo.git(&["rev-parse", &format!("{id}^{{tree}}")]);
    let parents = repo.git(&["rev-list", "--parents", "-n1", id]);
    let parents: Vec<Value> = parents.split_whitespace().skip(1).map(|sha| json!({ "sha": sha })).collect();
    json!({ "sha": id, "tree": { "sha": tree.trim() }, "parents": parents })
}

fn told(github: &GitHub, begins: &str, body: &Value) {
    github.rule(begins, answer("200 OK", "", body));
}

fn writes(asked: &[Asked]) -> Vec<String> {
    let all = asked.iter().map(|one| one.what.replace("repos/acme/fleet/", "…/"));
    all.filter(|one| !one.starts_with("GET")).collect()
}

#[test]
fn what_one_stage_runs_goes_on_to_the_next_with_evidence_and_unchanged() {
    let fleet = fleet("promotes");
    // Tags are for people: no device gets anything else.
    fleet.push("canary", "Try it", &[("host_vars/promoted-1.yml", "tags: { tried: 'yes' }\n")]);
    fleet.settled(&[DEVICE]);
    let (status, stdout, stderr) = outcome(&mut fleet.cli(&["promote", "production", "--dry-run"]));
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("ready, 0 devices exercised by a rollout"), "{stdout}");
    let (_, _, stderr) = outcome(&mut fleet.cli(&["promote", "main", "--dry-run"]));
    assert!(stderr.contains("main is the first stage"), "{stderr}");

    let repo = &fleet.repo;
    let (verified, tip) = (repo.tip("canary"), repo.tip("production"));
    let github = GitHub::start("github-promotes", |examples| {
        for (method, path, status) in [
            ("post", "/repos/{owner}/{repo}/pulls", "201"),
            ("patch", "/repos/{owner}/{repo}/pulls/{pull_number}", "200"),
        ] {
            examples.of(method, path, status)["requested_teams"] = json!([]);
        }
        *examples.of("get", "/repos/{owner}/{repo}/pulls", "200") = json!([]);
    });
    let tree = repo.git(&["rev-parse", &format!("{verified}^{{tree}}")]);
    let made = repo.git(&["commit-tree", tree.trim(), "-p", &tip, "-p", &verified, "-m", "promotion"]);
    let made = made.trim();
    let stage = || {
        told(&github, &format!("GET /repos/acme/fleet/git/commits/{verified}"), &commit(repo, &verified));
        told(&github, "GET /repos/acme/fleet/git/ref/heads%2Fproduction", &json!({ "object": { "sha": tip } }));
        told(&github, &format!("GET /repos/acme/fleet/git/commits/{tip}"), &commit(repo, &tip));
    };
    stage();
    github.rule("GET /repos/acme/fleet/git/ref/heads%2Fbellwether", Instead::Status(404));
    told(&github, "POST /repos/acme/fleet/git/commits", &json!({ "sha": made }));
    let run = |fleet: &Fleet, flags: &[&str]| {
        let mut command = fleet.cli(&["promote", "production", "--repository", "acme/fleet", "--api", &github.url()]);
        outcome(command.args(flags).env("GITHUB_TOKEN", "ghs_canary0123456789"))
    };
    let (status, stdout, stderr) = run(&fleet, &[]);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("\nopened https://"), "{stdout}");
    let asked = github.asked();
    assert_eq!(
        writes(&asked),
        ["POST /…/git/commits", "POST /…/git/refs", "POST /…/pulls", "POST /…/issues/1347/labels"]
    );
    let written: Vec<&Asked> = asked.iter().filter(|one| !one.what.starts_with("GET")).collect();
    assert_eq!((&written[0].body["tree"], &written[0].body["parents"]), (&json!(tree.trim()), &json!([tip, verified])));
    assert_eq!(written[1].body, json!({ "ref": "refs/heads/bellwether-promote-production", "sha": made }));
    let opened = written[2].body.clone();
    assert_eq!(
        (&opened["head"], &opened["base"], &opened["draft"]),
        (&json!("bellwether-promote-production"), &json!("production"), &json!(false))
    );
    assert!(
        opened["body"].as_str().is_some_and(|text| text.contains("0 devices exercised") && text.contains(&verified)),
        "{opened}"
    );

    // Again: the branch has that commit and the merge request says that. Nothing is written.
    let again = || {
        stage();
        told(&github, "GET /repos/acme/fleet/git/ref/heads%2Fbellwether", &json!({ "object": { "sha": made } }));
        told(&github, &format!("GET /repos/acme/fleet/git/commits/{made}"), &commit(repo, made));
    };
    let open = |body: &Value| {
        json!([{
            "number": 3, "state": "open", "html_url": "https://forge.example/3", "title": opened["title"], "body": body,
            "head": { "sha": made }, "base": { "ref": "production" },
        }])
    };
    let list = "GET /repos/acme/fleet/pulls?";
    let forget = || github.forget("GET /repos/acme/fleet/git/ref/heads%2Fbellwether");
    forget();
    again();
    told(&github, list, &open(&opened["body"]));
    let (status, stdout, stderr) = run(&fleet, &[]);
    assert_eq!((status, writes(&github.asked())), (Some(0), vec![]), "{stdout}{stderr}");
    assert!(stdout.contains("nothing: it is up to date https://forge.example/3"), "{stdout}");
    again();
    told(&github, list, &open(&json!("older words")));
    run(&fleet, &[]);
    assert_eq!(writes(&github.asked()), ["PATCH /…/pulls/3"]);

    // However it is merged, the stage has what was verified.
    for how in ["--no-ff", "--squash"] {
        repo.git(&["switch", "--quiet", "--detach", &tip]);
        repo.git(&["merge", "--quiet", how, "-m", "merged", made]);
        if how == "--squash" {
            repo.git(&["commit", "--quiet", "-m", "squashed"]);
        }
        assert_eq!(repo.git(&["rev-parse", "HEAD^{tree}"]), tree, "{how}");
    }
}

#[test]
fn a_stage_goes_back_to_a_tree_of_its_own() {
    let fleet = fleet("goes-back");
    fleet.push("production", "Break it", &[("host_vars/promoted-1.yml", "tags: { broken: 'yes' }\n")]);
    let repo = &fleet.repo;
    let tip = repo.tip("production");
    let earlier = repo.git(&["rev-parse", &format!("{tip}^")]);
    let earlier = earlier.trim();
    let github = GitHub::start("github-goes-back", |examples| {
        examples.of("post", "/repos/{owner}/{repo}/pulls", "201")["requested_teams"] = json!([]);
        *examples.of("get", "/repos/{owner}/{repo}/pulls", "200") = json!([]);
    });
    told(&github, "GET /repos/acme/fleet/git/ref/heads%2Fproduction", &json!({ "object": { "sha": tip } }));
    told(&github, &format!("GET /repos/acme/fleet/git/commits/{tip}"), &commit(repo, &tip));
    told(&github, &format!("GET /repos/acme/fleet/git/commits/{earlier}"), &commit(repo, earlier));
    github.rule("GET /repos/acme/fleet/git/ref/heads%2Fbellwether", Instead::Status(404));
    let mut command =
        fleet.cli(&["promote", "production", "--rollback", "--repository", "acme/fleet", "--api", &github.url()]);
    let (status, stdout, stderr) = outcome(command.env("GITHUB_TOKEN", "ghs_canary0123456789"));
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    let asked = github.asked();
    let made =
        asked.iter().find(|one| one.what.starts_with("POST /repos/acme/fleet/git/commits")).expect("a commit is made");
    assert_eq!((&made.body["tree"], &made.body["parents"]), (&commit(repo, earlier)["tree"]["sha"], &json!([tip])));
}

/// One device on canary, one on production, and what they run; the tags are for people.
const PAIR: &str = "all:\n  hosts:\n    tried-1: { branch: canary }\n    safe-1: { branch: production }\n";
const RELEASE: [(&str, &str); 2] = [
    ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
    ("releases/web/1.0.0/compose.yml", "services: { app: { image: registry.example/web:1 } }\n"),
];
const VERIFIED: &str = "stages: [main, canary, {name: production, promotion: verified}]\n";

fn variables(number: usize) -> String {
    format!("pins: {{ web: 1.0.0 }}\nvariables: {{ TRY: '{number}' }}\n")
}

/// What the controller holds production's newest commit for; `None` if it counts.
fn held(fleet: &Fleet) -> Option<String> {
    let status = fleet.seen("production");
    status.waiting.map(|waiting| bellwether::domain::plan::pass::show_waiting(&waiting.why))
}

/// The commit that `promote` would make, on a branch of its own that is pushed, as for a merge request.
fn carrier(repo: &FleetRepo) -> String {
    let (verified, tip) = (repo.tip("canary"), repo.tip("production"));
    let tree = repo.git(&["rev-parse", &format!("{verified}^{{tree}}")]);
    let made = repo.git(&["commit-tree", &tree, "-p", &tip, "-p", &verified, "-m", "promotion"]);
    repo.git(&["push", "--quiet", "--force", "origin", &format!("{made}:refs/heads/bellwether-promote-production")]);
    made
}

/// What a forge does when somebody presses the button.
fn merged(repo: &FleetRepo, how: &str, from: &str) {
    repo.git(&["switch", "--quiet", "production"]);
    match how {
        "merge" => repo.git(&["merge", "--quiet", "--no-ff", "-m", "merged", from]),
        "squash" => {
            repo.git(&["merge", "--quiet", "--squash", from]);
            repo.git(&["commit", "--quiet", "-m", "squashed"])
        }
        // Merge commits are left out, and what is left is put onto the branch one by one.
        _ => repo.git(&["cherry-pick", "--allow-empty", "--strategy-option=theirs", &format!("{from}^2")]),
    };
    repo.push("production");
}

#[test]
fn a_stage_takes_verified_trees_however_they_are_merged_and_holds_everything_else() {
    let first = variables(0);
    let files =
        [&[("fleet.yml", "name: acme\n"), ("inventory.yml", PAIR), ("group_vars/all.yml", &first)][..], &RELEASE]
            .concat();
    let mut fleet = Fleet::behind_http("verified", On::Simulated, VERIFIED, &files);
    fleet.enroll(&["tried-1", "safe-1"]);
    fleet.settled(&["tried-1", "safe-1"]);
    for (number, how) in ["merge", "squash"].into_iter().enumerate() {
        fleet.push("canary", "Try it", &[("group_vars/all.yml", &variables(number + 1))]);
        fleet.settled_on("canary", &["tried-1"]);
        let made = carrier(&fleet.repo);
        merged(&fleet.repo, how, &made);
        eventually(&format!("what was {how}d counts"), || held(&fleet).is_none().then_some(()));
        fleet.settled_on("production", &["safe-1"]);
    }
    let (good, before) = (fleet.repo.tip("production"), fleet.assigned("safe-1"));

    // Somebody edits on the way: the tree is no one's, and `plan` says so before it is merged.
    fleet.push("canary", "Try more", &[("group_vars/all.yml", &variables(3))]);
    fleet.settled_on("canary", &["tried-1"]);
    fleet.repo.switch("production");
    fleet.repo.git(&["switch", "--quiet", "--create", "edited"]);
    let edited = fleet.repo.commit("Edit it on the way", &[("group_vars/all.yml", &variables(4))]);
    let mut plan = fleet.cli(&["plan", "--base", "production", "--head", "edited", "-o", "md", "--repo"]);
    let (status, shown, stderr) = outcome(plan.arg(fleet.repo.work()));
    assert!(status == Some(0) && shown.contains("its tree was never what counted in canary"), "{shown}{stderr}");
    merged(&fleet.repo, "squash", &edited);
    let why = held(&fleet).expect("it is held");
    assert!(why.starts_with("its tree was never what counted in canary"), "{why}");
    assert_eq!(fleet.assigned("safe-1"), before, "nobody got it");
    let (_, shown, _) = outcome(&mut fleet.cli(&["status"]));
    assert!(shown.contains("bellwether approve"), "{shown}");

    // A controller that starts again knows as much: back to what it had is not held, nor is a promotion of what canary has.
    fleet.kill_controller();
    fleet.start_controller();
    let revert = {
        let (tip, tree) = (fleet.repo.tip("production"), fleet.repo.git(&["rev-parse", &format!("{good}^{{tree}}")]));
        fleet.repo.git(&["commit-tree", &tree, "-p", &tip, "-m", "back"])
    };
    merged(&fleet.repo, "merge", &revert);
    eventually("what it had counts", || held(&fleet).is_none().then_some(()));
    assert_eq!(
        fleet.device("safe-1").assignment.map(|one| one.commit.to_string()),
        before.as_ref().map(|_| good.clone())
    );
    let made = carrier(&fleet.repo);
    merged(&fleet.repo, "rebase", &made);
    // Put onto a branch that had other commits, it has the same files, which is all that counts.
    eventually("the same tree counts, whatever its commit", || held(&fleet).is_none().then_some(()));
    fleet.settled_on("production", &["safe-1"]);
}
