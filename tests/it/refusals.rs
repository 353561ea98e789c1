//! What controller and agent do with a folder that is damaged, or that somebody else uses: they say so and touch nothing.

use crate::harness::git::FleetRepo;
use crate::harness::process::{BELLWETHER, BELLWETHER_AGENT, Running, program};
use crate::harness::run::run;
use crate::harness::text::redacted;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An address at which nobody answers: the port is never given to anybody.
const NOBODY: &str = "https://127.0.0.1:1";

fn agent(state: &Path) -> Command {
    let mut command = program(BELLWETHER_AGENT);
    command.arg("run").arg("--state-dir").arg(state);
    command.args(["--server", NOBODY, "--device", "kiosk", "--engine", "simulated", "--os", "simulated"]);
    command.args(["--token", &format!("bwt1_010203040506_{}_{}", "11".repeat(32), "22".repeat(32))]);
    command
}

/// What a command says that must end by itself with a failure.
fn refusal(name: &str, command: Command) -> String {
    let mut process = Running::start(name, command);
    assert_eq!(process.status().code(), Some(1), "{}", process.log());
    process.log()
}

/// An agent that finds this content in a file of its state directory stops at once and leaves the file as it is.
fn check_agent(file: &str, content: &[u8]) -> String {
    let state = run().scratch("damaged-agent").join("state");
    std::fs::create_dir_all(&state).expect("make a state directory");
    std::fs::write(state.join(file), content).expect("write a damaged file");
    let said = refusal("refusing-agent", agent(&state));
    assert_eq!(std::fs::read(state.join(file)).expect("still there"), content, "it is left for people to look at");
    assert!(!state.join("engine").exists(), "the engine was not even opened");
    said
}

#[test]
fn an_agent_with_a_damaged_ledger_stops_before_it_does_anything() {
    let said = check_agent("ledger", b"bellwether-ledger 1 sha256:0");
    redacted(|| {
        insta::assert_snapshot!(said, @"bellwether-agent: the ledger [path] cannot be used; nothing was changed and everything keeps running. Restore it, or move it away to have the device take its assignment anew: it does not begin with a ledger's first line");
    });
    for content in [b"".as_slice(), b"\xff\xfe\x00", b"bellwether-ledger 7 sha256:00\n{}\n", &[b'x'; 1 << 20]] {
        assert!(check_agent("ledger", content).contains("nothing was changed and everything keeps running"));
    }
}

#[test]
fn an_agent_with_a_damaged_identity_stops_and_does_not_make_another() {
    let said = check_agent("identity.json", b"{\"server\": \"https://a\", \"device\": \"kiosk\", \"key\": 12}");
    redacted(|| {
        insta::assert_snapshot!(said, @"bellwether-agent: the device's identity [path] cannot be used: it is not of the expected shape at line 1, column 52; nothing was changed and everything keeps running. Restore it, or move it away to have the device enroll anew");
    });
    for content in [b"".as_slice(), b"{}", b"[[[[[[[[[[", &[b'['; 1 << 19], &[b' '; (1 << 20) + 1]] {
        assert!(check_agent("identity.json", content).contains("identity"));
    }
}

#[test]
fn a_second_agent_in_one_state_directory_is_refused() {
    let state = run().scratch("shared-agent").join("state");
    let mut first = Running::start("first-agent", agent(&state));
    first.line_with("could not enroll");
    let said = refusal("second-agent", agent(&state));
    redacted(|| {
        insta::assert_snapshot!(said, @"bellwether-agent: another agent uses the state directory [path]");
    });
    assert_eq!(first.try_status(), None, "the first one is not disturbed");
    assert!(first.terminate().success(), "it stops when it is asked: {}", first.log());
}

/// A controller's folder, and the command that serves from it.
struct Place {
    folder: PathBuf,
    repo: FleetRepo,
}

impl Place {
    fn new(name: &str) -> Self {
        let repo = FleetRepo::new(&format!("{name}-repo"));
        repo.commit("Begin", &[("fleet.yml", "name: acme\n"), ("inventory.yml", "all:\n  hosts:\n    kiosk:\n")]);
        repo.push("main");
        Self { folder: run().scratch(name), repo }
    }

    fn serve(&self, socket: &str) -> Command {
        let mut command = program(BELLWETHER);
        command.args(["serve", "--fleet", "acme", "--stage", "main", "--listen", "127.0.0.1:0"]);
        command.args(["--repo", &self.repo.url()]).arg("--data-dir").arg(self.folder.join("data"));
        command.arg("--socket").arg(self.folder.join(socket));
        command
    }

    fn database(&self) -> PathBuf {
        self.folder.join("data/bellwether.db")
    }

    /// Serves until everything is made, and stops in order.
    fn serve_once(&self) {
        let mut controller = Running::start("controller", self.serve("first.sock"));
        controller.line_with("serving");
        assert!(controller.terminate().success(), "{}", controller.log());
    }
}

#[test]
fn a_controller_with_a_damaged_database_does_not_start_and_says_what_to_do() {
    let place = Place::new("damaged-controller");
    place.serve_once();
    let whole = std::fs::read(place.database()).expect("a database");
    let damage = |from: usize, bytes: &[u8]| {
        let mut damaged = whole.clone();
        damaged[from..from + bytes.len()].copy_from_slice(bytes);
        std::fs::write(place.database(), &damaged).expect("write a database");
        let before = std::fs::read(place.database()).expect("a database");
        let said = refusal("refusing-controller", place.serve("other.sock"));
        assert_eq!(std::fs::read(place.database()).expect("still there"), before, "it is left for people to look at");
        said
    };
    let said = damage(0, b"This is no database at all.");
    redacted(|| {
        insta::assert_snapshot!(said, @r"
        error: cannot start the controller
          because: could not open the controller's store
          because: the database is damaged: file is not a database
        hint: restore the newest backup; devices tell the controller what it missed since then
        ");
    });
    for page in 1..whole.len() / 4096 {
        let said = damage(page * 4096, &[0xa5; 512]);
        assert!(said.contains("the database is damaged") && said.contains("hint: restore the newest backup"), "{said}");
    }
}

#[test]
fn a_second_controller_with_one_data_folder_is_refused() {
    let place = Place::new("shared-controller");
    let mut first = Running::start("first-controller", place.serve("first.sock"));
    first.line_with("serving");
    let said = refusal("second-controller", place.serve("second.sock"));
    redacted(|| {
        insta::assert_snapshot!(said, @r"
        error: cannot start the controller
          because: could not open the controller's store
          because: another controller has the database open
        hint: stop the other controller, or give this one a data_dir of its own
        ");
    });
    assert_eq!(first.try_status(), None, "the first one is not disturbed");
    assert!(place.folder.join("first.sock").exists(), "its socket is still its own");
}
