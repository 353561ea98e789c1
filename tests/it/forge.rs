//! Plans of merge requests on a forge: every request is held against GitHub's own description of its API, and every answer is made from it.

use crate::harness::fleet::outcome;
use crate::harness::forge::{Asked, Examples, GitHub, Instead, answer};
use crate::harness::git::FleetRepo;
use crate::harness::process::BELLWETHER;
use crate::harness::run::run;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const PULL: &str = "/repos/{owner}/{repo}/pulls/{pull_number}";
const CHECKS: &str = "/repos/{owner}/{repo}/commits/{ref}/check-runs";
/// As whom the stand-in knows the token.
const ME: &str = "bellwether-of-acme";
const TOKEN: &str = "ghs_canary0123456789";

/// A merge request whose files have many findings, and its plan.
struct Request {
    repo: FleetRepo,
    folder: PathBuf,
    head: String,
}

impl Request {
    /// The files of the fleet repo: devices of which each has a finding, because their branch is misspelt.
    fn new(name: &str, devices: usize) -> Self {
        let repo = FleetRepo::new(name);
        let hosts: String =
            (0..devices).map(|number| format!("    d{number:03}: {{ branch: main, varaibles: {{}} }}\n")).collect();
        let before = [("fleet.yml", "name: acme\n"), ("inventory.yml", &*format!("all:\n  hosts:\n{hosts}"))];
        repo.commit("first", &before);
        repo.push("main");
        repo.git(&["switch", "--quiet", "-c", "topic"]);
        let compose = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";
        let head = repo.commit(
            "`<script>` @anna ${{ github.token }}",
            &[
                ("group_vars/all.yml", "pins: { web: latest }\nvariables: { T: '</details><img src=x> @anna' }\n"),
                ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
                ("releases/web/1.0.0/compose.yml", compose),
            ],
        );
        repo.push("topic");
        let folder = run().scratch(name);
        Self { repo, folder, head }
    }

    /// `bellwether` with nothing in its environment.
    fn bellwether(&self) -> Command {
        let mut command = run().command(BELLWETHER);
        command.env_clear().current_dir(&self.folder);
        command
    }

    /// Plans it, as the run of a fork would: there is no credential, and the clone is bare and only read.
    fn plan(&self) -> PathBuf {
        let plan = self.folder.join("plan.json");
        let mut command = self.bellwether();
        command.args(["plan", "--base", "main", "--head", "topic", "-o", "md", "--artifact"]).arg(&plan);
        let (status, markdown, stderr) = outcome(command.arg("--repo").arg(self.repo.bare()));
        assert_eq!(status, Some(0), "{stderr}");
        assert!(markdown.contains("## Plan for stage main"), "{markdown}");
        plan
    }

    /// `bellwether post` with a token in a file: its status, what it answered, what it said.
    fn post(&self, github: &GitHub, flags: &[&str]) -> (Option<i32>, String, String) {
        let token = self.folder.join("token");
        std::fs::write(&token, format!("{TOKEN}\n")).expect("write the token");
        let mut command = self.bellwether();
        command.args([
            "post",
            "plan.json",
            "--merge-request",
            "12",
            "--repository",
            "acme/fleet",
            "--api",
            &github.url(),
        ]);
        let (status, stdout, stderr) = outcome(command.arg("--token-file").arg(&token).args(flags));
        assert!(!stdout.contains(TOKEN) && !stderr.contains(TOKEN), "the token is shown: {stdout}{stderr}");
        (status, stdout, stderr)
    }

    /// GitHub's stand-in, with this merge request.
    fn github(&self, purpose: &str) -> GitHub {
        GitHub::start(purpose, |examples| {
            let pull = examples.of("get", PULL, "200");
            (pull["number"], pull["state"]) = (json!(12), json!("open"));
            (pull["head"]["sha"], pull["base"]["ref"]) = (json!(self.head), json!("main"));
            // Its team is not as the description itself says that teams are.
            pull["requested_teams"] = json!([]);
            examples.of("get", "/user", "200")["login"] = json!(ME);
            prepare(examples);
        })
    }
}

/// What both stand-ins have: no check yet, and a token that lives.
fn prepare(examples: &mut Examples) {
    *examples.of("get", CHECKS, "200") = json!({ "total_count": 0, "check_runs": [] });
    examples.of("post", "/app/installations/{installation_id}/access_tokens", "201")["expires_at"] =
        json!("2099-01-01T00:00:00Z");
}

/// Requests in words: method and path, without the query.
fn words(asked: &[Asked]) -> Vec<String> {
    let short = |one: &Asked| one.what.split('?').next().unwrap_or_default().replace("repos/acme/fleet/", "…/");
    asked.iter().map(short).collect()
}

fn writes(asked: &[Asked]) -> Vec<String> {
    words(asked).into_iter().filter(|one| !one.starts_with("GET")).collect()
}

#[test]
fn a_plan_stands_in_one_comment_and_one_check_and_posting_it_again_changes_nothing() {
    let request = Request::new("posting", 120);
    request.plan();
    let github = request.github("github-posting");

    let (status, stdout, stderr) = request.post(&github, &[]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.starts_with("comment written https://") && stdout.contains("\ncheck written https://"), "{stdout}");
    let asked = github.asked();
    let head = &request.head;
    assert_eq!(
        words(&asked),
        [
            "GET /…/pulls/12".to_owned(),
            "GET /user".to_owned(),
            "GET /…/issues/12/comments".to_owned(),
            "POST /…/issues/12/comments".to_owned(),
            format!("GET /…/commits/{head}/check-runs"),
            "POST /…/check-runs".to_owned(),
            "PATCH /…/check-runs/4".to_owned(),
            "PATCH /…/check-runs/4".to_owned(),
        ]
    );
    for one in &asked {
        let header = |name: &str| one.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        assert_eq!(header("authorization"), Some(&*format!("Bearer {TOKEN}")));
        assert_eq!(header("x-github-api-version"), Some("2022-11-28"));
    }
    let body = asked[3].body["body"].as_str().expect("a text").to_owned();
    assert!(body.starts_with("<!-- bellwether:plan:") && body.contains("### Retarget 120 devices"), "{body}");
    assert!(body.len() <= 65_536, "{}", body.len());
    let check = &asked[5].body;
    assert_eq!((&check["conclusion"], &check["head_sha"]), (&json!("neutral"), &json!(head)));
    let beside: usize =
        asked[5..].iter().map(|one| one.body["output"]["annotations"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(beside, 120, "each finding stands beside its line once");
    assert_eq!(check["output"]["annotations"][0]["path"], json!("inventory.yml"));

    // What is there is found, and left alone.
    let mark = check["external_id"].clone();
    let comment = |body: &str, author: &str| json!([{ "id": 7, "body": body, "html_url": "https://forge.example/7", "user": { "login": author } }]);
    let run_of = json!({ "total_count": 1, "check_runs": [{ "id": 4, "external_id": mark, "html_url": "https://forge.example/4" }] });
    github.rule("GET /repos/acme/fleet/issues/12/comments", answer("200 OK", "", &comment(&body, ME)));
    github.rule("GET /repos/acme/fleet/commits/", answer("200 OK", "", &run_of));
    let (status, stdout, _) = request.post(&github, &[]);
    assert_eq!((status, writes(&github.asked())), (Some(0), vec![]));
    assert_eq!(stdout, "comment is up to date https://forge.example/7\ncheck is up to date https://forge.example/4\n");

    // An older plan in our comment is written anew; the same words of somebody else are not ours.
    let older = body.replace("120 devices", "119 devices");
    github.rule("GET /repos/acme/fleet/issues/12/comments", answer("200 OK", "", &comment(&older, ME)));
    request.post(&github, &["--only", "comment"]);
    assert_eq!(writes(&github.asked()), ["PATCH /…/issues/comments/7"]);
    github.rule("GET /repos/acme/fleet/issues/12/comments", answer("200 OK", "", &comment(&older, "mallory")));
    request.post(&github, &["--only", "comment"]);
    assert_eq!(writes(&github.asked()), ["POST /…/issues/12/comments"]);
}

#[test]
fn nothing_is_written_twice_and_waiting_has_an_end() {
    let request = Request::new("trouble", 1);
    request.plan();
    let github = request.github("github-trouble");
    let only = &["--only", "comment"];

    // A server that fails is asked again for what can be read; the token of a workflow may not ask who it is.
    let failure = json!({ "message": "Bad Gateway" });
    github.rule("GET /repos/acme/fleet/pulls/12", answer("502 Bad Gateway", "", &failure));
    github.rule("GET /user", Instead::Status(403));
    let (status, _, stderr) = request.post(&github, only);
    assert_eq!(status, Some(0), "{stderr}");
    assert_eq!(words(&github.asked())[..2], ["GET /…/pulls/12", "GET /…/pulls/12"]);

    // A limit is waited for if it ends soon, and told if it does not.
    let limit = json!({ "message": "API rate limit exceeded" });
    github.rule("POST /repos/acme/fleet/issues/12/comments", answer("403 Forbidden", "retry-after: 1\r\n", &limit));
    let (status, _, stderr) = request.post(&github, only);
    assert_eq!(status, Some(0), "{stderr}");
    assert_eq!(writes(&github.asked()).len(), 2);
    github.rule("GET /repos/acme/fleet/pulls/12", answer("403 Forbidden", "retry-after: 3600\r\n", &limit));
    let (status, _, stderr) = request.post(&github, only);
    assert!(status == Some(1) && stderr.contains("answers no more requests for 3600 seconds"), "{stderr}");
    assert_eq!(words(&github.asked()), ["GET /…/pulls/12"]);

    // Whether a comment whose answer was lost is there, nobody knows: it is not written again without looking.
    github.rule("POST /repos/acme/fleet/issues/12/comments", Instead::Lost);
    let (status, _, stderr) = request.post(&github, only);
    assert!(status == Some(1) && stderr.contains("run it again: what was written is found again"), "{stderr}");
    assert_eq!(writes(&github.asked()), ["POST /…/issues/12/comments"]);

    // Somebody has pushed since.
    let other = json!({
        "number": 12, "state": "open", "html_url": "https://forge.example/12", "title": "x", "body": null,
        "head": { "sha": "99887766".repeat(5) }, "base": { "ref": "main" },
    });
    github.rule("GET /repos/acme/fleet/pulls/12", answer("200 OK", "", &other));
    let (status, _, stderr) = request.post(&github, &[]);
    assert!(status == Some(1) && stderr.contains("and the merge request is at 99887766"), "{stderr}");
    let moved = "location: https://elsewhere.example/\r\n";
    github
        .rule("GET /repos/acme/fleet/pulls/12", answer("301 Moved Permanently", moved, &json!({ "message": "Moved" })));
    let (status, _, stderr) = request.post(&github, &[]);
    assert!(status == Some(1) && stderr.contains("has moved"), "{stderr}");
    assert_eq!(writes(&github.asked()), Vec::<String>::new());
}

#[test]
fn an_app_asks_for_a_token_for_this_repository_and_writes_under_its_own_name() {
    let request = Request::new("app", 1);
    request.plan();
    let github = request.github("github-app");
    let key = request.folder.join("app.pem");
    openssl_key(&key);
    let mut command = request.bellwether();
    command.args(["post", "plan.json", "--merge-request", "12", "--repository", "acme/fleet", "--only", "comment"]);
    command.args(["--api", &github.url(), "--app-id", "7", "--app-key"]).arg(&key);
    let (status, _, stderr) = outcome(&mut command);
    assert_eq!(status, Some(0), "{stderr}");
    let asked = github.asked();
    assert_eq!(
        words(&asked),
        [
            "GET /…/installation",
            "POST /app/installations/1/access_tokens",
            "GET /…/pulls/12",
            "GET /app",
            "GET /…/issues/12/comments",
            "POST /…/issues/12/comments",
        ]
    );
    assert_eq!(asked[1].body, json!({ "repositories": ["fleet"] }));
    let bearer =
        |one: &Asked| one.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.clone());
    assert_eq!(bearer(&asked[5]).as_deref(), Some("Bearer ghs_16C7e42F292c6912E7710c838347Ae178B4a"));
    assert!(
        bearer(&asked[0]).is_some_and(|text| text.matches('.').count() == 2),
        "an app speaks for itself with a token of its own"
    );
}

fn openssl_key(path: &Path) {
    let made = run().command("openssl").args(["genrsa", "-traditional", "-out"]).arg(path).arg("2048").output();
    assert!(made.expect("openssl").status.success());
}

#[test]
fn the_same_commits_give_the_same_bytes() {
    let request = Request::new("bytes", 3);
    let one = std::fs::read(request.plan()).expect("a plan");
    let other = std::fs::read(request.plan()).expect("a plan");
    assert_eq!(one, other);
    let plan: Value = serde_json::from_slice(&one).expect("JSON");
    assert_eq!((&plan["commit"], plan["groups"].as_array().map(Vec::len)), (&json!(request.head), Some(1)));
}

/// What no text of a stranger may become in Markdown that a forge shows.
#[track_caller]
fn is_harmless(text: &str) {
    for bad in ["\u{1b}", "\u{202e}", "\u{7}"] {
        assert!(!text.contains(bad), "{bad:?} in {text}");
    }
    // Behind a backslash they are text.
    for bad in ["<script", "<img", "<!-- bellwether:plan:00000000", "](javascript"] {
        let bare = text.match_indices(bad).any(|(at, _)| !text[..at].ends_with('\\'));
        assert!(!bare, "{bad:?} in {text}");
    }
    assert!(text.len() <= 65_536, "{}", text.len());
}

#[test]
fn a_merge_request_of_an_enemy_is_only_text() {
    let request = Request::new("enemy", 2);
    let repo = &request.repo;
    repo.git(&["switch", "--quiet", "-c", "evil/$(touch${IFS}hacked)`id`;&<img>"]);
    let head = repo.commit(
        "</details><script>alert(1)</script> \u{1b}[2J ::error::x ${{ secrets.KEY }}",
        &[
            ("host_vars/$(touch hacked).yml", "variables: { A: '{{ 7 * 7 }}' }\n"),
            ("host_vars/<img src=x onerror=alert(1)>.yml", "variables: [\n"),
            (
                "host_vars/d000.yml",
                "variables: { A: \"{{ lookup('pipe', 'touch hacked') }}\", B: '[x](javascript:alert(1)) @anna' }\n",
            ),
            ("host_vars/d001.yml", "variables: { A: \"{{ lookup('file', '/etc/passwd') }}\", C: \"\\e[2J\\u202e\" }\n"),
            ("fleet.yml", "name: acme\nlimits: { max_unstaged: 1000000 }\n"),
            (
                ".github/workflows/post.yml",
                "on: pull_request_target\njobs: { x: { runs-on: x, steps: [{ run: touch hacked }] } }\n",
            ),
        ],
    );
    repo.push("HEAD");
    let plan = request.folder.join("enemy.json");
    let mut command = request.bellwether();
    command.args(["plan", "--stage", "main", "--base", "main", "--head", &head, "-o", "md", "--artifact"]).arg(&plan);
    let (status, markdown, stderr) = outcome(command.arg("--repo").arg(repo.bare()));
    assert_eq!(status, Some(0), "{stderr}");
    assert!(markdown.contains("## Plan for stage main"), "{markdown}");
    is_harmless(&markdown);
    let whole = std::fs::read_to_string(&plan).expect("the plan");
    assert!(!whole.contains("root:x:"), "no file is read");
    for folder in [repo.work(), repo.bare(), request.folder.as_path()] {
        assert!(!folder.join("hacked").exists(), "nothing of it is run");
    }
}

#[test]
fn a_plan_that_a_stranger_wrote_is_shown_and_not_obeyed() {
    let request = Request::new("stranger", 1);
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/plan/hostile.json");
    let mut plan: Value = serde_json::from_slice(&std::fs::read(hostile).expect("the plan")).expect("JSON");
    plan["commit"] = json!(request.head);
    std::fs::write(request.folder.join("plan.json"), plan.to_string()).expect("write the plan");
    let github = request.github("github-stranger");
    let (status, stdout, stderr) = request.post(&github, &[]);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    let asked = github.asked();
    let comment = asked.iter().find(|one| one.what.ends_with("issues/12/comments") && one.what.starts_with("POST"));
    let text = comment.and_then(|one| one.body["body"].as_str()).expect("a comment");
    is_harmless(text);
    let check =
        asked.iter().find(|one| one.what.ends_with("/check-runs") && one.what.starts_with("POST")).expect("a check");
    let annotation = check.body["output"]["annotations"][0].to_string();
    assert!(!annotation.contains("\\u001b") && !annotation.contains('\u{202e}'), "{annotation}");
    // For another branch, or another commit, it is nothing.
    for (key, value) in [("stage", json!("production")), ("commit", json!("7".repeat(40)))] {
        let mut other = plan.clone();
        other[key] = value;
        std::fs::write(request.folder.join("plan.json"), other.to_string()).expect("write the plan");
        let (status, _, _) = request.post(&github, &[]);
        assert_eq!((status, writes(&github.asked())), (Some(1), Vec::<String>::new()), "{key}");
    }
}

#[test]
fn fifty_megabytes_are_a_finding_and_not_a_burden() {
    let request = Request::new("fifty", 1);
    let repo = &request.repo;
    repo.git(&["switch", "--quiet", "-c", "fifty"]);
    let line = format!("k: '{}'\n", "x".repeat(1000));
    let text: String = line.repeat(50_000_000 / line.len() + 1);
    let head = repo.commit("fifty megabytes", &[("group_vars/all.yml", &text), ("unread/blob.txt", &text)]);
    repo.push("fifty");
    let plan = request.folder.join("fifty.json");
    let mut command = request.bellwether();
    command.args(["plan", "--stage", "main", "--base", "main", "--head", &head, "-o", "md", "--artifact"]).arg(&plan);
    let (status, markdown, stderr) = outcome(command.arg("--repo").arg(repo.bare()));
    assert_eq!(status, Some(0), "{stderr}");
    is_harmless(&markdown);
    assert!(markdown.contains("group\\_vars/all.yml: the file is 50000"), "the file is named: {markdown}");
    let length = std::fs::metadata(&plan).expect("the plan").len();
    assert!(length < 1_000_000, "{length}");
}
