//! The shell of every step of the reusable workflows and of the action, run as a runner would: with bash, in an environment that has nothing but
//! what a runner sets, against a real Git server, a real controller, and the forge's stand-in.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::forge::{Asked, GitHub, Instead, answer, folder as forge_folder};
use crate::harness::git::FleetRepo;
use crate::harness::git_servers::GitHttp;
use crate::harness::process::{BELLWETHER, eventually, output_of};
use crate::harness::run::run;
use bellwether::domain::digest::Digest;
use bellwether::domain::drift::Verdict;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEY: &str = "bwk_canary_0123456789abcdef0123456789abcdef";
const TOKEN: &str = "ghs_canary0123456789";
/// Every step that has a script, by its file. A new one must be run here too.
const SCRIPTS: [(&str, &[&str]); 6] = [
    ("action.yml", &[""]),
    (".github/workflows/fleet-drift.yml", &["Report it"]),
    (".github/workflows/fleet-follow.yml", &["Wait for what becomes of it"]),
    (".github/workflows/fleet-plan.yml", &["Plan what merging would change", "Check the files"]),
    (".github/workflows/fleet-post.yml", &["Post the plan on every open merge request of that commit"]),
    (".github/workflows/fleet-promote.yml", &["Open the merge requests, or bring them up to date"]),
];

/// A file of this repository's root, as JSON.
fn yaml(file: &str) -> Value {
    let script = "const y = require(process.argv[1] + '/node_modules/js-yaml'); \
                  process.stdout.write(JSON.stringify(y.load(require('fs').readFileSync(process.argv[2], 'utf8'))))";
    let mut node = run().command("node");
    node.arg("-e").arg(script).arg(forge_folder()).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
    serde_json::from_str(&output_of(&mut node).expect("node reads YAML")).expect("JSON")
}

/// The steps of a file that have a script.
fn scripts(file: &str) -> Vec<Value> {
    let file = yaml(file);
    let jobs = file["jobs"].as_object();
    let of_jobs = jobs.into_iter().flat_map(|jobs| jobs.values()).filter_map(|job| job["steps"].as_array());
    let steps = of_jobs.chain(file["runs"]["steps"].as_array()).flatten();
    steps.filter(|step| step["run"].is_string()).cloned().collect()
}

/// A job on a runner.
struct Job {
    folder: PathBuf,
    /// What expressions come to.
    expressions: BTreeMap<&'static str, String>,
    /// Where it runs.
    workspace: PathBuf,
    api: String,
    sha: String,
}

impl Job {
    fn new(name: &str, expressions: &[(&'static str, &str)]) -> Self {
        let folder = run().scratch(name);
        for part in ["bin", "home", "temp", "workspace"] {
            std::fs::create_dir_all(folder.join(part)).expect("make a folder");
        }
        std::os::unix::fs::symlink(BELLWETHER, folder.join("bin/bellwether")).expect("link the executable");
        let expressions = expressions.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let workspace = folder.join("workspace");
        Self { folder, expressions, workspace, api: "http://127.0.0.1:9".to_owned(), sha: "0".repeat(40) }
    }

    fn temp(&self, name: &str) -> PathBuf {
        self.folder.join("temp").join(name)
    }

    fn summary(&self) -> String {
        std::fs::read_to_string(self.folder.join("summary")).unwrap_or_default()
    }

    /// Runs the script of a step; its status, and everything that stands in the log.
    #[track_caller]
    fn step(&self, file: &str, name: &str) -> (Option<i32>, String) {
        let all = scripts(file);
        let found = all.iter().find(|step| step["name"].as_str().unwrap_or_default() == name);
        let step = found.unwrap_or_else(|| panic!("{file} has no step {name:?}"));
        let script = self.folder.join("script.sh");
        std::fs::write(&script, step["run"].as_str().expect("a script")).expect("write the script");
        let mut bash = run().command("bash");
        // As runners start it: with `shell: bash`, and where no shell is named.
        match step["shell"].as_str() {
            Some("bash") => bash.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(&script),
            _ => bash.arg("-e").arg(&script),
        };
        bash.env_clear().current_dir(&self.workspace);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.folder.join("bin").display());
        bash.env("PATH", path).env("HOME", self.folder.join("home")).env("RUNNER_TEMP", self.folder.join("temp"));
        for file in ["summary", "path", "output", "env"] {
            let variable = if file == "summary" {
                "GITHUB_STEP_SUMMARY".to_owned()
            } else {
                format!("GITHUB_{}", file.to_uppercase())
            };
            bash.env(variable, self.folder.join(file));
        }
        bash.env("GITHUB_REPOSITORY", "acme/fleet").env("GITHUB_API_URL", &self.api).env("GITHUB_SHA", &self.sha);
        for (variable, value) in step["env"].as_object().into_iter().flatten() {
            bash.env(variable, self.value(value));
        }
        let (status, stdout, stderr) = outcome(&mut bash);
        let log = format!("{stdout}{stderr}");
        assert!(!log.contains(KEY) && !log.contains(TOKEN), "a secret is in the log: {log}");
        (status, log)
    }

    /// What an expression comes to. Only whole values are expressions: nothing is put together from texts of strangers.
    #[track_caller]
    fn value(&self, value: &Value) -> String {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let Some(inner) = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) else { return text };
        let inner = inner.trim();
        self.expressions.get(inner).unwrap_or_else(|| panic!("nothing says what {inner} is")).clone()
    }
}

/// Holds a report against the published schema of SARIF 2.1.0.
#[track_caller]
fn keeps_the_schema_of_sarif(text: &str) {
    let schema = std::fs::read_to_string(forge_folder().join("schemas/sarif.json")).expect("the schema of SARIF");
    // As published its pattern of languages is no regular expression: a bracket ends in it that never began.
    let schema: Value = serde_json::from_str(&schema.replace("{2}]?$", "{2}$")).expect("JSON");
    let report: Value = serde_json::from_str(text).expect("SARIF is JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

fn writes(asked: &[Asked]) -> Vec<String> {
    let all = asked.iter().map(|one| one.what.replace("repos/acme/fleet/", "…/"));
    all.filter(|one| !one.starts_with("GET")).collect()
}

#[test]
fn every_script_of_every_workflow_is_among_those_that_are_run_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let names = std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|one| one.file_name().into_string().expect("a name"));
    let mut files: Vec<String> =
        names.filter(|name| name.starts_with("fleet-")).map(|name| format!(".github/workflows/{name}")).collect();
    files.push("action.yml".to_owned());
    files.sort();
    let mut known: Vec<&str> = SCRIPTS.iter().map(|(file, _)| *file).collect();
    known.sort_unstable();
    assert_eq!(files, known);
    for (file, names) in SCRIPTS {
        let found: Vec<String> =
            scripts(file).iter().map(|step| step["name"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(found, names, "{file}");
    }
}

#[test]
fn workflows_and_the_action_keep_their_published_schemas_and_the_rules() {
    let mut check = run().command("node");
    check.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check-workflows")).arg(forge_folder());
    let (status, stdout, stderr) = outcome(&mut check);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
}

#[test]
fn a_merge_request_is_planned_checked_and_its_plan_posted() {
    let repo = FleetRepo::new("workflow-plan");
    let server = GitHttp::plain(repo.bare().parent().expect("a repository is in a folder"));
    repo.commit(
        "first",
        &[("fleet.yml", "name: acme\n"), ("inventory.yml", "all:\n  hosts:\n    kiosk: { branch: main }\n")],
    );
    repo.push("main");
    repo.git(&["switch", "--quiet", "-c", "$(touch${IFS}hacked)-topic"]);
    let head =
        repo.commit("`touch hacked`", &[("group_vars/all.yml", "tags: { '${{ github.token }}': $(touch hacked) }\n")]);
    repo.push("$(touch${IFS}hacked)-topic");

    let mut job = Job::new(
        "workflow-plan-job",
        &[
            ("github.event.pull_request.base.ref", "main"),
            ("github.event.pull_request.head.sha", &head),
            ("github.event.workflow_run.head_sha", &head),
            ("inputs.folder", "."),
            ("github.token", TOKEN),
        ],
    );
    // What the checkout does, with every branch.
    let mut clone = run().command("git");
    clone.args(["clone", "--quiet", &server.url("fleet.git")]).arg(&job.workspace).env_remove("http_proxy");
    output_of(&mut clone).expect("clone over HTTP");
    let file = ".github/workflows/fleet-plan.yml";
    let (status, log) = job.step(file, "Plan what merging would change");
    assert!(status == Some(0) && log.is_empty(), "{log}");
    assert!(job.summary().contains("## Plan for stage main"), "{}", job.summary());
    let (status, log) = job.step(file, "Check the files");
    assert!(status == Some(0) && log.starts_with("the files were checked"), "{log}");
    assert!(!job.workspace.join("hacked").exists());

    std::fs::create_dir_all(job.temp("plan")).expect("make a folder");
    std::fs::copy(job.temp("plan.json"), job.temp("plan/plan.json")).expect("what the artifact has");
    let github = GitHub::start("workflow-post", |examples| {
        let pulls = examples.of("get", "/repos/{owner}/{repo}/pulls", "200");
        let example = pulls[0].clone();
        let with = |mut one: Value, number: u64, head: &str| {
            one["number"] = json!(number);
            one["head"]["sha"] = json!(head);
            one["base"]["ref"] = json!("main");
            one["requested_teams"] = json!([]);
            one
        };
        *pulls = json!([with(example.clone(), 11, &"9".repeat(40)), with(example, 12, &head)]);
        *examples.of("get", "/repos/{owner}/{repo}/commits/{ref}/check-runs", "200") =
            json!({ "total_count": 0, "check_runs": [] });
    });
    job.api = github.url();
    let (status, log) =
        job.step(".github/workflows/fleet-post.yml", "Post the plan on every open merge request of that commit");
    assert_eq!(status, Some(0), "{log}");
    assert_eq!(writes(&github.asked()), ["POST /…/issues/12/comments", "POST /…/check-runs"]);
    // A commit that is nowhere open is nothing to say anything about.
    job.expressions.insert("github.event.workflow_run.head_sha", "7".repeat(40));
    let (status, log) =
        job.step(".github/workflows/fleet-post.yml", "Post the plan on every open merge request of that commit");
    assert!(status == Some(1) && log.contains("plan it again"), "{log}");
    assert_eq!(writes(&github.asked()), Vec::<String>::new());
}

/// A fleet whose controller a workflow can reach, and a job that knows it.
fn reachable(name: &str, more: &[(&'static str, &str)]) -> (Fleet, Job) {
    let settings = format!(
        "stages: [main, canary, production]\noperators:\n  - {{ name: ci, key_sha256: {} }}\n",
        Digest::of(KEY.as_bytes()).hex()
    );
    let inventory = format!("all:\n  hosts:\n    {name}: {{ branch: canary }}\n");
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", &*inventory),
        ("group_vars/all.yml", "pins: { web: 1.0.0 }\n"),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", "services: { app: { image: registry.example/web:1 } }\n"),
    ];
    let fleet = Fleet::configured(name, On::Simulated, &settings, &files);
    let mut openssl = run().command("openssl");
    openssl.args(["x509", "-noout", "-sha256", "-fingerprint", "-in"]).arg(fleet.ca_file());
    let shown = output_of(&mut openssl).expect("openssl reads the certificate");
    let fingerprint = shown.rsplit('=').next().unwrap_or_default().trim().replace(':', "").to_lowercase();
    let url = fleet.url();
    let mut job = Job::new(&format!("{name}-job"), more);
    job.expressions.insert("inputs.server", url);
    job.expressions.insert("inputs.ca-fingerprint", fingerprint);
    job.expressions.insert("secrets.operator-key", KEY.to_owned());
    job.expressions.insert("github.token", TOKEN.to_owned());
    (fleet, job)
}

#[test]
fn a_push_is_followed_until_devices_have_it() {
    let more = [("github.ref_name", "canary"), ("inputs.timeout", "2m"), ("inputs.link-only", "false")];
    let (mut fleet, mut job) = reachable("followed-1", &more);
    fleet.enroll(&["followed-1"]);
    fleet.settled(&["followed-1"]);
    fleet.push("canary", "Say more", &[("group_vars/all.yml", "tags: { more: 'yes' }\n")]);
    job.sha = fleet.repo.tip("canary");
    let (file, step) = (".github/workflows/fleet-follow.yml", "Wait for what becomes of it");
    let (status, log) = job.step(file, step);
    assert_eq!(status, Some(0), "{log}");
    assert!(job.summary().contains("done: 1 of 1 devices are there"), "{}", job.summary());
    assert!(job.summary().contains(&format!("<{}>", fleet.url())), "{}", job.summary());

    // One that never comes ends with the time, one that was overtaken at once; a link costs no wait.
    job.expressions.insert("inputs.timeout", "1s".to_owned());
    job.sha = "5".repeat(40);
    let (status, log) = job.step(file, step);
    assert!(status == Some(1) && log.contains("has not seen it yet"), "{log}");
    job.expressions.insert("inputs.timeout", "1h".to_owned());
    job.sha = fleet.repo.tip("canary~1");
    let (status, log) = job.step(file, step);
    assert!(status == Some(1) && log.contains("has taken its place"), "{log}");
    job.expressions.insert("inputs.link-only", "true".to_owned());
    assert_eq!(job.step(file, step).0, Some(0));
}

#[test]
fn drift_stands_in_one_issue_while_there_is_any() {
    let name = "drifts-away-1";
    let (mut fleet, mut job) = reachable(name, &[]);
    fleet.enroll(&[name]);
    fleet.settled(&[name]);
    let github = GitHub::start("workflow-drift", |examples| {
        *examples.of("get", "/repos/{owner}/{repo}/issues", "200") = json!([]);
    });
    job.api = github.url();
    fleet.agents.get_mut(name).expect("it runs").kill();
    let drifts = || fleet.drift().devices.values().any(|one| one.verdict == Verdict::Drifted);
    fleet.push("canary", "Say it otherwise", &[("host_vars/drifts-away-1.yml", "variables: { WORD: other }\n")]);
    eventually("it has not got there", || drifts().then_some(()));
    let (file, step) = (".github/workflows/fleet-drift.yml", "Report it");
    let (status, log) = job.step(file, step);
    assert_eq!(status, Some(0), "{log}");
    assert!(job.summary().contains("## Drift"), "{}", job.summary());
    let asked = github.asked();
    assert_eq!(writes(&asked), ["POST /…/issues"]);
    let opened = asked.iter().find(|one| one.what.starts_with("POST")).expect("it is opened").body.clone();
    assert_eq!(opened["labels"], json!(["bellwether-drift"]));
    for file in ["drift.html", "drift.sarif", "drift.md"] {
        let length = std::fs::metadata(job.temp(&format!("drift/{file}"))).expect("a file").len();
        assert!(length > 100, "{file}: {length}");
    }
    let sarif = std::fs::read_to_string(job.temp("drift/drift.sarif")).expect("the report");
    assert!(sarif.contains(name), "{sarif}");
    keeps_the_schema_of_sarif(&sarif);
    let issue = json!([{
        "number": 41, "html_url": "https://forge.example/41", "title": opened["title"], "body": opened["body"],
        "user": { "login": "github-actions[bot]" },
    }]);
    github.rule("GET /user", Instead::Status(403));
    github.rule("GET /repos/acme/fleet/issues", answer("200 OK", "", &issue));
    job.step(file, step);
    assert_eq!(writes(&github.asked()), Vec::<String>::new(), "the same again is no news");
}

#[test]
fn promotions_are_opened_by_a_schedule_once_they_are_ready() {
    let more = [("inputs.stages", "canary production"), ("inputs.when-ready", "true")];
    let (fleet, mut job) = reachable("scheduled-1", &more);
    let (file, step) = (".github/workflows/fleet-promote.yml", "Open the merge requests, or bring them up to date");
    let github = GitHub::start("workflow-promote", |examples| {
        *examples.of("get", "/repos/{owner}/{repo}/pulls", "200") = json!([]);
        examples.of("post", "/repos/{owner}/{repo}/pulls", "201")["requested_teams"] = json!([]);
    });
    job.api = github.url();
    // The device of canary has never been heard of, and is not there yet: for production it is not ready, for canary everything is the same.
    let told = |begins: &str, body: &Value| github.rule(begins, answer("200 OK", "", body));
    let repo = &fleet.repo;
    let commit = |id: &str| json!({ "sha": id, "tree": { "sha": repo.git(&["rev-parse", &format!("{id}^{{tree}}")]) }, "parents": [] });
    let same = |github_branch: &str| {
        let (from, to) = (repo.tip("main"), repo.tip(github_branch));
        told(&format!("GET /repos/acme/fleet/git/ref/heads%2F{github_branch}"), &json!({ "object": { "sha": to } }));
        told(&format!("GET /repos/acme/fleet/git/commits/{from}"), &commit(&from));
        told(&format!("GET /repos/acme/fleet/git/commits/{to}"), &commit(&to));
    };
    same("canary");
    let (status, log) = job.step(file, step);
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("not yet: 1 of 1 devices of the stage are not there yet"), "{log}");
    assert_eq!(writes(&github.asked()), Vec::<String>::new());
    // By button, a stage that is not ready is a failure, and says why.
    job.expressions.insert("inputs.stages", "production".to_owned());
    job.expressions.insert("inputs.when-ready", "false".to_owned());
    let (status, _) = job.step(file, step);
    assert!(status == Some(1) && job.summary().contains("### Not ready"), "{}", job.summary());
    let (status, log) = {
        job.expressions.insert("inputs.stages", "nowhere".to_owned());
        job.step(file, step)
    };
    assert!(status == Some(2) && log.contains("there is no stage nowhere"), "{log}");
}

#[test]
fn the_action_installs_what_is_signed_and_puts_it_into_the_path() {
    let job = Job::new("workflow-action", &[("inputs.version", "1.2.3")]);
    let release = run().scratch("workflow-release");
    let tree = release.join("tree/usr/bin");
    std::fs::create_dir_all(&tree).expect("make a folder");
    std::fs::write(tree.join("bellwether"), "#!/bin/sh\necho bellwether 1.2.3\n").expect("write it");
    let sh = |script: &str| {
        let mut command = run().command("sh");
        command.arg("-euc").arg(script).current_dir(&release);
        output_of(&mut command).unwrap_or_else(|error| panic!("{error}"))
    };
    sh("chmod 755 tree/usr/bin/bellwether
        case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=armhf ;; esac
        tar -c -z -f bellwether-1.2.3-$arch.tar.gz -C tree .
        sha256sum bellwether-1.2.3-$arch.tar.gz >SHA256SUMS
        openssl genpkey -algorithm ed25519 -out key.pem
        openssl pkey -in key.pem -pubout -out public.pem
        openssl pkeyutl -sign -inkey key.pem -rawin -in SHA256SUMS -out SHA256SUMS.sig");
    let mut job = job;
    let key = std::fs::read_to_string(release.join("public.pem")).expect("the key");
    job.expressions.insert("inputs.key", key.trim_end().to_owned());
    job.expressions.insert("inputs.from", release.display().to_string());
    job.expressions.insert("github.action_path", env!("CARGO_MANIFEST_DIR").to_owned());
    let (status, log) = job.step("action.yml", "");
    assert_eq!(status, Some(0), "{log}");
    let path = std::fs::read_to_string(job.folder.join("path")).expect("a path is added");
    let installed = Path::new(path.trim_end()).join("bellwether");
    assert_eq!(output_of(&mut Command::new(&installed)).expect("it runs"), "bellwether 1.2.3");
    // Another key, and nothing is installed.
    sh("openssl genpkey -algorithm ed25519 -out other.pem; openssl pkey -in other.pem -pubout -out public.pem");
    let mut stranger = Job::new("workflow-action-stranger", &[("inputs.version", "1.2.3")]);
    stranger.expressions.clone_from(&job.expressions);
    stranger.expressions.insert("inputs.key", std::fs::read_to_string(release.join("public.pem")).expect("the key"));
    let (status, log) = stranger.step("action.yml", "");
    assert!(status != Some(0) && log.contains("is not signed by"), "{log}");
    assert!(!stranger.folder.join("path").exists());
}

#[test]
fn what_check_finds_keeps_the_published_schema_of_sarif() {
    let folder = run().scratch("sarif");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make it");
        std::fs::write(path, text).expect("write a file");
    };
    write("fleet.yml", "name: acme\n");
    write("inventory.yml", "all:\n  hosts:\n    kiosk: { branch: main, varaibles: {} }\n");
    write("host_vars/kiosk.yml", "variables: [1\n");
    write("host_vars/<img src=x> $(reboot) \u{202e}.yml", "a: b\n");
    let mut check = run().command(BELLWETHER);
    let (status, stdout, stderr) = outcome(check.env_clear().arg("check").arg(&folder).args(["-o", "sarif"]));
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stdout.contains("host_vars/kiosk.yml"), "{stdout}");
    keeps_the_schema_of_sarif(&stdout);
    // Also where there is nothing to tell.
    std::fs::remove_dir_all(folder.join("host_vars")).expect("take it away");
    write("inventory.yml", "all:\n  hosts:\n    kiosk: { branch: main }\n");
    let mut check = run().command(BELLWETHER);
    let (status, stdout, _) = outcome(check.env_clear().arg("check").arg(&folder).args(["-o", "sarif"]));
    assert_eq!(status, Some(0));
    keeps_the_schema_of_sarif(&stdout);
}
