//! Releases, pins and tags: the commands that change a fleet repo, and the registry that releases are made with.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::git::FleetRepo;
use crate::harness::process::{BELLWETHER, eventually, program};
use crate::harness::run::run;
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::agent::faults::{Fault, Faults};
use bellwether::ports::engine::fake::Tamper;
use std::path::Path;
use std::process::Command;

const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";
const HOST: &str = "# the kiosk at the door\r\npins:\r\n  web: '1.0.0' # for now\r\n";

fn repo(name: &str) -> FleetRepo {
    let repo = FleetRepo::new(name);
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", "all:\n  hosts:\n    kiosk-1:\n    kiosk-2:\n"),
        ("group_vars/all.yml", "branch: main\npins: { web: latest }\n"),
        ("host_vars/kiosk-1.yml", HOST),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", COMPOSE),
        ("releases/web/1.1.0/release.yml", "version: 1.1.0 # the newest\n"),
        ("releases/web/1.1.0/compose.yml", COMPOSE),
    ];
    repo.commit("Begin the fleet", &files);
    repo
}

/// A command about a repo that must end with this status: what it writes to stdout and to stderr.
#[track_caller]
fn cli(mut command: Command, repo: &Path, arguments: &[&str], expected: i32) -> (String, String) {
    command.args(arguments).arg("--repo").arg(repo);
    let (status, stdout, stderr) = outcome(&mut command);
    assert_eq!(status, Some(expected), "{arguments:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

#[track_caller]
fn here(repo: &FleetRepo, arguments: &[&str], expected: i32) -> (String, String) {
    cli(program(BELLWETHER), repo.work(), arguments, expected)
}

fn read(repo: &FleetRepo, path: &str) -> String {
    std::fs::read_to_string(repo.work().join(path)).expect("read a file of the fleet repo")
}

#[test]
fn an_edit_shows_its_diff_and_writes_only_what_was_asked() {
    let repo = repo("edits");
    // Nobody can be asked, so nothing is written.
    let (_, error) = here(&repo, &["pin", "kiosk-1", "web", "1.1.0"], 2);
    assert!(error.contains("--yes"), "{error}");
    let (patch, _) = here(&repo, &["pin", "kiosk-1", "web", "1.1.0", "--dry-run"], 0);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    let (same, notes) = here(&repo, &["pin", "kiosk-1", "web", "1.1.0", "--yes"], 0);
    assert_eq!(patch, same);
    assert!(notes.contains("git") && notes.contains("host_vars/kiosk-1.yml"), "{notes}");
    assert_eq!(read(&repo, "host_vars/kiosk-1.yml"), HOST.replace("1.0.0", "1.1.0"));
    assert_eq!(repo.git(&["status", "--porcelain"]).trim(), "M host_vars/kiosk-1.yml", "nothing is committed");
    // The diff is one that git takes.
    let written = repo.git(&["diff"]);
    repo.git(&["checkout", "--quiet", "."]);
    repo.git_with(&["apply"], patch.as_bytes());
    assert_eq!(repo.git(&["diff"]), written);
    // A second time there is nothing to do.
    let (patch, notes) = here(&repo, &["pin", "kiosk-1", "web", "1.1.0", "--yes"], 0);
    assert!(patch.is_empty() && notes.contains("nothing changes"), "{notes}");
}

#[test]
fn tags_and_pins_of_groups_go_into_their_own_files() {
    let repo = repo("tags");
    here(&repo, &["tag", "kiosk-2", "site=harbour", "floor=02", "--yes"], 0);
    assert_eq!(read(&repo, "host_vars/kiosk-2.yml"), "tags:\n  site: harbour\n  floor: \"02\"\n");
    here(&repo, &["tag", "kiosk-2", "site-", "--yes"], 0);
    assert_eq!(read(&repo, "host_vars/kiosk-2.yml"), "tags:\n  floor: \"02\"\n");
    here(&repo, &["tag", "--group", "all", "owner=ops", "--yes"], 0);
    assert_eq!(read(&repo, "group_vars/all.yml"), "branch: main\npins: { web: latest }\ntags:\n  owner: ops\n");
    // What is inherited is covered.
    here(&repo, &["tag", "kiosk-2", "owner-", "--yes"], 0);
    assert_eq!(read(&repo, "host_vars/kiosk-2.yml"), "tags:\n  floor: \"02\"\n  owner: null\n");
    here(&repo, &["tag", "kiosk-2", "nothing-", "--yes"], 1);
    let (json, _) = here(&repo, &["pin", "--group", "all", "web", "^1.0", "--yes", "-o", "json"], 0);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["written"], &json["files"][0]["path"]), (&true.into(), &"group_vars/all.yml".into()));
    here(&repo, &["pin", "kiosk-1", "web", "--remove", "--yes"], 0);
    assert_eq!(read(&repo, "host_vars/kiosk-1.yml"), "# the kiosk at the door\r\n");
    let (_, error) = here(&repo, &["pin", "kiosk-1", "web", "7.0.0", "--yes"], 1);
    assert!(error.contains("no release 7.0.0"), "{error}");
}

#[test]
fn an_edit_that_would_reach_another_device_is_refused_and_shown_as_advice() {
    let repo = repo("advice");
    let inventory = "all:\n  hosts:\n    kiosk-1: &same\n      pins: { web: 1.0.0 }\n    kiosk-2: *same\n";
    repo.write(&[("inventory.yml", inventory), ("host_vars/kiosk-1.yml", "tags: { a: b }\n")]);
    let (patch, error) = here(&repo, &["pin", "kiosk-1", "web", "1.1.0", "--yes"], 1);
    assert!(patch.is_empty() && error.contains("+      pins: { web: 1.1.0 }") && error.contains("by hand"), "{error}");
    assert_eq!(read(&repo, "inventory.yml"), inventory);
}

#[test]
fn links_and_bare_repositories_are_not_written_through() {
    let repo = repo("links");
    let outside = run().scratch("outside").join("kiosk-2.yml");
    std::fs::write(&outside, "tags: {}\n").expect("write a file outside");
    std::os::unix::fs::symlink(&outside, repo.work().join("host_vars/kiosk-2.yml")).expect("make a link");
    let (_, error) = here(&repo, &["tag", "kiosk-2", "a=b", "--yes"], 1);
    assert!(error.contains("link"), "{error}");
    assert_eq!(std::fs::read_to_string(&outside).expect("read it"), "tags: {}\n");
    repo.git(&["checkout", "--quiet", "."]);
    std::fs::remove_file(repo.work().join("host_vars/kiosk-2.yml")).expect("remove the link");
    std::fs::rename(repo.work().join("host_vars"), outside.with_file_name("vars")).expect("move a folder");
    std::os::unix::fs::symlink(outside.with_file_name("vars"), repo.work().join("host_vars")).expect("make a link");
    here(&repo, &["tag", "kiosk-2", "a=b", "--yes"], 1);
    assert!(!outside.with_file_name("vars").join("kiosk-2.yml").exists());
    let (_, error) = cli(program(BELLWETHER), repo.bare(), &["tag", "kiosk-2", "a=b", "--yes"], 1);
    assert!(error.contains("bare"), "{error}");
}

#[test]
fn an_invalidated_release_moves_its_trackers_and_can_be_taken_back() {
    let repo = repo("invalidate");
    let (show, _) = here(&repo, &["release", "show", "web", "1.1.0"], 0);
    assert!(show.contains("kiosk-2") && !show.contains("kiosk-1"), "{show}");
    let arguments = ["release", "invalidate", "web", "1.1.0", "--reason", "eats the disk", "--yes"];
    let (patch, notes) = here(&repo, &arguments, 0);
    assert!(patch.contains("+  reason: eats the disk"), "{patch}");
    assert!(notes.contains("kiosk-2: web 1.1.0 becomes 1.0.0"), "{notes}");
    let (list, _) = here(&repo, &["release", "list"], 0);
    assert!(list.contains("invalidated") && list.contains("eats the disk"), "{list}");
    here(&repo, &["release", "invalidate", "web", "1.1.0", "--undo", "--yes"], 0);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    let (_, error) = here(&repo, &["release", "show", "web", "9.0.0"], 1);
    assert!(error.contains("1.1.0, 1.0.0"), "the error names what there is: {error}");
}

const TAGGED: &str = "# the shop window\nservices:\n  page: # what people see\n    image: \"127.0.0.1:PORT/web:1.0.0\" # newest\n    ports: [\"8080:8080\"]\n  job:\n    image: 127.0.0.1:PORT/worker:1.1.0\n";

/// Makes a release beside the registry at a port.
#[track_caller]
fn make(
    engine: &Engine,
    repo: &FleetRepo,
    port: u16,
    version: &str,
    flags: &[&str],
    expected: i32,
) -> (String, String) {
    make_of(TAGGED, engine, repo, port, version, flags, expected)
}

/// Makes a release of a Compose file in which `PORT` stands for the registry's.
#[track_caller]
fn make_of(
    compose: &str,
    engine: &Engine,
    repo: &FleetRepo,
    port: u16,
    version: &str,
    flags: &[&str],
    expected: i32,
) -> (String, String) {
    let text = compose.replace("PORT", &port.to_string());
    let compose = run().scratch("compose").join("compose.yml");
    std::fs::write(&compose, text).expect("write a Compose file");
    let (compose, registry) = (compose.display().to_string(), format!("127.0.0.1:{port}"));
    let command = ["release", "new", "shop", version, "--compose", &compose, "--yes", "--plain-http", &registry];
    let mut inside = engine.inside(BELLWETHER);
    // Nobody's own logins.
    inside.env("DOCKER_CONFIG", run().scratch("no-logins"));
    cli(inside, repo.work(), &[&command, flags].concat(), expected)
}

#[test]
fn a_release_names_every_image_by_the_digest_that_the_real_registry_gives() {
    let Some(engine) = Engine::shared() else { return };
    let repo = repo("release-new");
    let (web, worker) = (&engine.registry().web[0], &engine.registry().worker[1]);
    make(engine, &repo, 5000, "1.0.0", &["--notes", "The first.", "--tag", "build=0017", "--draft"], 0);
    let compose = TAGGED
        .replace("PORT/web:1.0.0", &format!("5000/web:1.0.0@{}", web.digest))
        .replace("PORT/worker:1.1.0", &format!("5000/worker:1.1.0@{}", worker.digest));
    assert_eq!(read(&repo, "releases/shop/1.0.0/compose.yml"), compose, "comments, quotes and order stay");
    let release = "version: 1.0.0\nnotes: The first.\ntags:\n  build: \"0017\"\ndraft: true\n";
    assert_eq!(read(&repo, "releases/shop/1.0.0/release.yml"), release);
    let (list, _) = here(&repo, &["release", "list", "shop"], 0);
    assert!(list.contains("draft"), "{list}");
    let (_, error) = make(engine, &repo, 5000, "1.0.0", &[], 1);
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(read(&repo, "releases/shop/1.0.0/release.yml"), release);
    // What the registry does not have, or nobody answers for, writes nothing.
    let missing = TAGGED.replace("worker:1.1.0", "worker:9.9.9").replace("PORT", "5000");
    let path = run().scratch("missing").join("c.yml");
    std::fs::write(&path, missing).expect("write a Compose file");
    let path = path.display().to_string();
    let arguments = ["release", "new", "shop", "2.0.0", "--compose", &path, "--yes", "--plain-http", "127.0.0.1:5000"];
    let (_, error) = cli(engine.inside(BELLWETHER), repo.work(), &arguments, 1);
    assert!(error.contains("127.0.0.1:5000 has no image"), "{error}");
    let (_, error) = cli(engine.inside(BELLWETHER), repo.work(), &arguments[..7], 1);
    assert!(error.contains("cannot be reached") && error.contains("--plain-http"), "{error}");
    let (_, error) = make(engine, &repo, 5999, "2.0.0", &[], 1);
    assert!(error.contains("cannot be reached"), "{error}");
    assert!(!repo.work().join("releases/shop/2.0.0").exists());
}

#[test]
fn a_release_is_made_of_the_short_form_of_anchors_and_of_defaults_too() {
    let Some(engine) = Engine::shared() else { return };
    let repo = repo("release-forms");
    let web = &engine.registry().web[0];
    let forms = [
        ("1.0.0", "image: 127.0.0.1:PORT/web:1.0.0 # ours\nrestart: always\n"),
        ("1.1.0", "services:\n  a: &a { image: 127.0.0.1:PORT/web:1.0.0 }\n  b: *a\n  c: { <<: *a }\n"),
        ("1.2.0", "x-a: &a\n  image: 127.0.0.1:PORT/web:1.0.0\nservices:\n  b:\n    <<: *a\n    init: true\n"),
        ("1.3.0", "services: { a: { image: \"127.0.0.1:PORT/web:${TAG:-1.0.0}\" } }\n"),
    ];
    for (version, text) in forms {
        let (_, notes) = make_of(text, engine, &repo, 5000, version, &[], 0);
        let plain = text.replace("${TAG:-1.0.0}", "1.0.0");
        assert_eq!(notes.contains("their defaults count"), plain != text, "{notes}");
        let expected = plain.replace("PORT/web:1.0.0", &format!("5000/web:1.0.0@{}", web.digest));
        assert_eq!(read(&repo, &format!("releases/shop/{version}/compose.yml")), expected);
    }
    make_of(forms[0].1, engine, &repo, 5000, "2.0.0", &["--keep-tags"], 0);
    let (_, error) = make_of(&forms[3].1.replace(":-1.0.0", ""), engine, &repo, 5000, "3.0.0", &[], 1);
    assert!(error.contains("`TAG` is not set") && error.contains("hint: ") && error.contains("${TAG:-1.0}"), "{error}");
}

#[test]
fn a_device_runs_an_image_that_is_named_by_tag_and_digest() {
    let Some(engine) = Engine::shared() else { return };
    let image = &engine.registry().web[0];
    let compose = format!("services:\n  app:\n    image: {}@{}\n", image.by_tag(), image.digest);
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", "all:\n  hosts:\n    both-1: { branch: main }\n"),
        ("group_vars/all.yml", "pins: { web: latest }\n"),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", &compose),
    ];
    let mut fleet = Fleet::start("tag-and-digest", On::Engine(engine), &files);
    fleet.enroll(&["both-1"]);
    fleet.settled(&["both-1"]);
    let (status, report, _) = outcome(&mut fleet.cli(&["drift", "both-1", "--exit-code"]));
    assert_eq!(status, Some(0), "{report}");
    assert!(fleet.show("both-1", "web/app").contains("running"), "{}", fleet.show("both-1", "web/app"));
}

#[test]
fn a_registry_that_wants_a_password_gets_the_one_that_is_for_it() {
    let Some(engine) = Engine::shared() else { return };
    let repo = repo("release-auth");
    let guarded = engine.registry().with_password(engine);
    let (_, error) = make(engine, &repo, guarded.port, "1.0.0", &[], 1);
    assert!(error.contains("without credentials") && error.contains("docker login"), "{error}");
    let config = run().scratch("logins").join("config.json");
    let flags = |auth: &str| {
        let text = format!("{{\"auths\": {{\"127.0.0.1:{}\": {{\"auth\": \"{auth}\"}}}}}}", guarded.port);
        std::fs::write(&config, text).expect("write credentials");
        ["--registry-config".to_owned(), config.display().to_string()]
    };
    // ada:wrong
    let wrong = flags("YWRhOndyb25n");
    let (_, error) = make(engine, &repo, guarded.port, "1.0.0", &[&wrong[0], &wrong[1]], 1);
    assert!(error.contains("asked as ada") && !error.contains("YWRhOndyb25n"), "{error}");
    let right = flags(guarded.auth);
    make(engine, &repo, guarded.port, "1.0.0", &[&right[0], &right[1]], 0);
    assert!(read(&repo, "releases/shop/1.0.0/compose.yml").contains(&engine.registry().web[0].digest));
}

const BY_HAND: [(&str, &str); 5] = [
    ("fleet.yml", "name: acme\n"),
    ("inventory.yml", "all:\n  hosts:\n    hand-1: { branch: main }\n"),
    ("group_vars/all.yml", "pins: { web: latest } # ours\nvariables: { GREETING: hello }\n"),
    ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
    ("releases/web/1.0.0/compose.yml", COMPOSE),
];

fn greeted() -> Tamper {
    Tamper::SetVariable {
        app: "web".parse().expect("an app"),
        service: "app".parse().expect("a service"),
        name: "GREETING".parse().expect("a variable"),
        value: "grüezi: #1".to_owned(),
    }
}

/// Agents mend at once: what they found is offered for as long as they tell it.
#[test]
fn a_suggestion_offers_what_an_agent_has_mended_already_if_asked_for() {
    let mut fleet = Fleet::start("mended", On::Simulated, &BY_HAND);
    fleet.enroll(&["hand-1"]);
    fleet.settled(&["hand-1"]);
    let engine = SimulatedEngine::open(&fleet.state_dir("hand-1").join("engine")).expect("open the engine");
    assert!(engine.tamper(&greeted()).expect("tamper"));
    eventually("it is found", || (!fleet.device("hand-1").found.is_empty()).then_some(()));
    eventually("it is mended", || {
        let (status, _, _) = outcome(&mut fleet.cli(&["drift", "hand-1", "--exit-code"]));
        (status == Some(0)).then_some(())
    });
    let work = fleet.repo.work().display().to_string();
    // Nobody is offered what is mended unless they ask for it.
    let (status, patch, notes) = outcome(&mut fleet.cli(&["drift", "--suggest", "--repo", &work]));
    assert_eq!((status, patch.as_str()), (Some(0), ""), "{notes}");
    assert!(notes.contains("`--mended` offers what they found"), "{notes}");
    let (status, patch, notes) = outcome(&mut fleet.cli(&["drift", "--suggest", "--mended", "--repo", &work]));
    assert_eq!(status, Some(0), "{notes}");
    assert!(notes.contains("(was mended at "), "{notes}");
    fleet.repo.git_with(&["apply"], patch.as_bytes());
    fleet.push("main", "Accept what was found", &[]);
    fleet.settled_on("main", &["hand-1"]);
    let (_, why, _) = outcome(&mut fleet.cli(&["why", "hand-1", "GREETING"]));
    assert!(why.contains("grüezi: #1"), "{why}");
    // What was found before is no news about what is assigned now.
    let (_, patch, notes) = outcome(&mut fleet.cli(&["drift", "--suggest", "--mended", "--repo", &work]));
    assert!(patch.is_empty() && notes.contains("nothing to suggest"), "{patch}{notes}");
}

#[test]
fn a_suggestion_accepts_what_was_changed_by_hand() {
    let mut fleet = Fleet::start("suggest", On::Simulated, &BY_HAND);
    fleet.enroll(&["hand-1"]);
    fleet.settled(&["hand-1"]);
    // Somebody changes a variable by hand, and the agent cannot mend it.
    let engine = SimulatedEngine::open(&fleet.state_dir("hand-1").join("engine")).expect("open the engine");
    let fail = |operation: &str| Fault {
        operation: operation.to_owned(),
        after: 0,
        times: 1_000_000,
        message: "read-only file system".to_owned(),
    };
    engine.set_faults(&Faults { rules: ["stop", "remove", "create"].map(fail).to_vec() }).expect("write faults");
    assert!(engine.tamper(&greeted()).expect("tamper"));
    eventually("the drift is reported", || {
        let (status, _, _) = outcome(&mut fleet.cli(&["drift", "hand-1", "--exit-code"]));
        (status == Some(3)).then_some(())
    });
    let work = fleet.repo.work().display().to_string();
    let (status, patch, notes) = outcome(&mut fleet.cli(&["drift", "hand-1", "--suggest", "--repo", &work]));
    assert_eq!(status, Some(0), "{notes}");
    assert_eq!(fleet.repo.git(&["status", "--porcelain"]), "", "a suggestion writes nothing");
    fleet.repo.git_with(&["apply"], patch.as_bytes());
    engine.set_faults(&Faults::default()).expect("write faults");
    fleet.push("main", "Accept what was found", &[]);
    fleet.settled_on("main", &["hand-1"]);
    let (status, report, _) = outcome(&mut fleet.cli(&["drift", "hand-1", "--exit-code"]));
    assert_eq!(status, Some(0), "{report}");
    let (_, why, _) = outcome(&mut fleet.cli(&["why", "hand-1", "GREETING"]));
    assert!(why.contains("grüezi: #1"), "{why}");
}
