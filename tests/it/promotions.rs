//! Promotions: evidence from a running controller, a commit with exactly the verified tree, and a merge request on a forge whose
//! requests are held against GitHub's own description.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::forge::{Asked, GitHub, Instead, answer};
use crate::harness::git::FleetRepo;
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
