//! The fleet repo behind https, and signed commits, through the real executables: what people see, and what nobody may see.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::git::FleetRepo;
use crate::harness::git_servers::{Behaviour, GitHttp};
use crate::harness::process::{BELLWETHER, Running, eventually, program};
use crate::harness::run::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Planted as the token, and looked for everywhere.
const CANARY: &str = "bw-canary-5d20c4e1";
/// `x-access-token:` and the canary in base64: how it travels.
const HEADER: &str = "Basic eC1hY2Nlc3MtdG9rZW46YnctY2FuYXJ5LTVkMjBjNGUx";
const FILES: [(&str, &str); 2] =
    [("fleet.yml", "name: acme\n"), ("inventory.yml", "all:\n  hosts:\n    kiosk: {branch: main}\n")];

/// A controller whose fleet repo is behind https, with the token in its environment.
struct Remote {
    repo: FleetRepo,
    server: GitHttp,
    folder: PathBuf,
    controller: Running,
    /// Everything that was printed to people.
    seen: String,
}

impl Remote {
    fn start(name: &str) -> Self {
        let repo = FleetRepo::new(&format!("{name}-repo"));
        repo.commit("Begin the fleet", &FILES);
        repo.push("main");
        let server = GitHttp::with_tls(repo.bare().parent().expect("a repository is in a folder"));
        server.behave(Behaviour::Wants(HEADER.to_owned()));
        let folder = run().scratch(name);
        std::fs::write(folder.join("ca.pem"), &server.ca_pem).expect("write the authority");
        let text = format!(
            "fleet: acme\nrepo: {}\ngit: {{ca_file: ca.pem}}\nstages: [main]\ndata_dir: data\nsocket: s\nlisten: 127.0.0.1:0\npoll_secs: 1\n\
             log: {{level: trace}}\n",
            server.url("fleet.git"),
        );
        std::fs::write(folder.join("bellwether.yml"), text).expect("write the controller's configuration");
        let mut command = program(BELLWETHER);
        command.arg("serve").arg("--config").arg(folder.join("bellwether.yml")).env("BELLWETHER_GIT_TOKEN", CANARY);
        let mut controller = Running::start(&format!("{name}-controller"), command);
        controller.line_with("serving");
        Self { repo, server, folder, controller, seen: String::new() }
    }

    fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = program(BELLWETHER);
        command.args(arguments).env("BELLWETHER_SERVER", format!("unix:{}", self.folder.join("s").display()));
        command
    }

    /// Waits until the status, in both forms, has these words; what it says then.
    fn status_with(&mut self, words: &str) -> String {
        let shown = eventually(&format!("the status says {words:?}"), || {
            let (_, table, _) = outcome(&mut self.cli(&["status"]));
            let (_, json, _) = outcome(&mut self.cli(&["status", "-o", "json"]));
            let both = format!("{table}\n{json}");
            both.contains(words).then_some(both)
        });
        self.seen.push_str(&shown);
        shown
    }
}

/// Everything in a folder, names and contents.
fn everything_in(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("read a folder").flatten() {
        let path = entry.path();
        text.push_str(&format!("{}\n", path.display()));
        if path.is_dir() {
            text.push_str(&everything_in(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    text
}

/// The arguments of every process of this machine, as `ps` shows them to everybody.
fn process_list() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let arguments = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    arguments.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ")).collect()
}

#[test]
fn a_token_is_seen_nowhere_whatever_goes_wrong() {
    let mut remote = Remote::start("canary");
    let tip = remote.repo.tip("main");
    remote.status_with(&tip);
    for (behaviour, words) in [
        (Behaviour::Wants("Basic bm90IHRoaXM=".to_owned()), "the remote wants other credentials"),
        (Behaviour::Answers(404), "is the address right"),
        (Behaviour::Answers(500), "error: 500"),
        (Behaviour::ShowsPage, "shows no branch at all"),
        (
            Behaviour::Redirects("https://elsewhere.example/fleet.git/info/refs".to_owned()),
            "redirects are not followed",
        ),
    ] {
        remote.server.behave(behaviour);
        let shown = remote.status_with(words);
        assert!(shown.contains(&tip), "the commit goes on counting: {shown}");
    }
    remote.server.behave(Behaviour::GoesAway);
    remote.repo.commit("Go on", &[("group_vars/all.yml", &format!("# {}\n", "x".repeat(50_000)))]);
    remote.repo.push("main");
    remote.status_with("could not be fetched from");

    // While a fetch hangs its arguments can be read by everybody on the machine.
    remote.server.behave(Behaviour::Hangs);
    let url = remote.server.url("fleet.git");
    let is_fetch = |line: &String| line.contains("git") && line.contains(&url) && !line.contains("serve");
    let running = eventually("git runs", || {
        let list = process_list();
        list.iter().any(is_fetch).then_some(list)
    });
    for line in running.iter().filter(|line| line.contains(&url) || line.contains("bellwether")) {
        assert!(!line.contains(CANARY) && !line.contains(HEADER), "{line}");
    }
    // Stopping gives the fetch up, and leaves no program behind.
    assert!(remote.controller.terminate().success());
    assert!(!process_list().iter().any(is_fetch));

    let log = remote.controller.log();
    assert!(log.contains("the fleet repo is unavailable"), "{log}");
    let secret = HEADER.trim_start_matches("Basic ");
    for (what, text) in [("status", &remote.seen), ("log", &log), ("data", &everything_in(&remote.folder))] {
        assert!(!text.contains(CANARY) && !text.contains(secret), "the {what} shows the token");
    }
}

#[test]
fn a_kill_in_the_middle_of_a_fetch_keeps_nothing_from_going_on() {
    let mut remote = Remote::start("killed-fetch");
    let tip = remote.repo.tip("main");
    remote.status_with(&tip);
    let url = remote.server.url("fleet.git");
    remote.server.behave(Behaviour::Hangs);
    eventually("git runs", || {
        process_list().iter().any(|line| line.contains("ls-remote") && line.contains(&url)).then_some(())
    });
    remote.controller.kill();
    std::fs::write(remote.folder.join("data/mirror.git/packed-refs.lock"), "").expect("leave a lock");
    remote.server.behave(Behaviour::Serves);
    let next = remote.repo.commit("Go on", &[("group_vars/all.yml", "a: 1\n")]);
    remote.repo.push("main");
    let mut command = program(BELLWETHER);
    command.arg("serve").arg("--config").arg(remote.folder.join("bellwether.yml"));
    remote.controller = Running::start("killed-fetch-again", command);
    remote.controller.line_with("serving");
    remote.status_with(&next);
}

#[test]
fn an_unsigned_commit_waits_until_somebody_signs_who_may() {
    let keys = run().scratch("signers");
    let key = keys.join("ada");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key).status();
    assert!(made.expect("the tests need ssh-keygen").success());
    let public = std::fs::read_to_string(keys.join("ada.pub")).expect("a public key");
    let allowed = keys.join("allowed_signers");
    std::fs::write(&allowed, format!("ada@fleet.example namespaces=\"git\" {public}")).expect("write the signers");
    let settings = format!("stages: [main, {{name: canary, signers: {{ssh: {}}}}}]\n", allowed.display());
    let mut fleet = Fleet::configured("signed", On::Simulated, &settings, &FILES);

    let unsigned = fleet.seen("canary");
    let waiting = unsigned.waiting.expect("nobody signed it");
    let message = format!("{:?}", waiting.why);
    assert!(message.contains("it is not signed; this stage takes commits signed by ada@fleet.example"), "{message}");
    assert!(unsigned.accepted.is_none());
    assert!(fleet.seen("main").accepted.is_some(), "this stage asks for no signature");
    let (_, shown, _) = outcome(&mut fleet.cli(&["status"]));
    assert!(shown.contains("it is not signed"), "{shown}");

    fleet.repo.switch("canary");
    let sign = format!("user.signingKey={}", key.display());
    fleet.repo.git(&["-c", "gpg.format=ssh", "-c", &sign, "commit", "-q", "--allow-empty", "-S", "-m", "Sign"]);
    fleet.repo.push("canary");
    let signed = fleet.seen("canary");
    assert_eq!(signed.accepted.map(|commit| commit.to_string()), Some(fleet.repo.tip("canary")));

    // Once nobody may sign any more the next one waits; once she may again it counts, without a push.
    std::fs::write(&allowed, format!("ada@fleet.example valid-before=\"20200101\" {public}"))
        .expect("write the signers");
    fleet.repo.git(&["-c", "gpg.format=ssh", "-c", &sign, "commit", "-q", "--allow-empty", "-S", "-m", "Sign"]);
    fleet.repo.push("canary");
    let late = fleet.seen("canary").waiting.expect("her key is no longer valid");
    assert!(format!("{:?}", late.why).contains("whose key is no longer valid"), "{:?}", late.why);
    std::fs::write(&allowed, format!("ada@fleet.example {public}")).expect("write the signers");
    let tip = fleet.repo.tip("canary");
    eventually("the commit counts", || {
        fleet.refresh();
        let status = fleet.stage(&"canary".parse().expect("a stage"));
        (status.accepted.is_some_and(|commit| commit.as_str() == tip)).then_some(())
    });
    fleet.stop_controller();
}
