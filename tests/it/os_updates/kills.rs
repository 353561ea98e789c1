//! The agent dies at every step of an update of the OS with the real RAUC: the same image is kept in the end, copied once.
//!
//! A step is a call by which the agent changes a file, tells RAUC something on the bus, or starts a program. The kernel has it die
//! right before one of them: so each boundary between two effects has its turn, whatever the effects are. `just kill-os` goes on
//! until no step of any kind is left; otherwise it is a sample.

use super::{DEVICE, Scene};
use crate::harness::process::{Running, eventually, was_killed};
use crate::harness::rauc::COMPATIBLE;
use crate::harness::run::run;
use crate::kill::{say, setting};
use std::path::PathBuf;

/// Kinds of steps, each with the calls of the kernel that are counted for it. On the bus the agent speaks with `sendmsg`, with the
/// controller it does not.
const KINDS: [(&str, &str); 4] = [
    ("a file is renamed", "rename,renameat,renameat2"),
    ("a file is synced", "fsync,fdatasync"),
    ("it speaks on the bus", "sendmsg"),
    ("a program is started", "clone,clone3,vfork"),
];
/// Kind and number of the steps at which it dies in the sample.
const SAMPLE: [(usize, usize); 4] = [(0, 3), (1, 8), (2, 14), (3, 2)];
/// How many steps of a kind there are at most: far more than an update has.
const MAX_STEPS: usize = 100;

/// One of the two lives of the agent in an update: until it asks for the reboot, and until the image is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    BeforeTheReboot,
    OnTrial,
}

impl Scene {
    /// Starts an agent that dies right before a step; the file tells which steps it made.
    fn start_doomed(&mut self, (kind, number): (usize, usize)) -> PathBuf {
        let file = run().scratch("os-steps").join("steps");
        let agent = self.agent();
        let mut command = run().command("strace");
        // The agent is the process that is started and stopped; the tracer stands aside.
        let calls = KINDS[kind].1;
        command.args(["-D", "-f", "-y", "-e", &format!("trace={calls}"), "-e", "signal=none"]);
        command.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={number}"), "-o"]).arg(&file).arg("--");
        command.arg(agent.get_program()).args(agent.get_args()).env("DBUS_SYSTEM_BUS_ADDRESS", self.rauc.bus());
        self.fleet.agents.insert(DEVICE.to_owned(), Running::start(DEVICE, command));
        file
    }

    /// Lives until it is killed or has come to the end of this life; before which step it was killed, if it was.
    fn live_and_die(&mut self, step: (usize, usize), is_over: impl Fn(&Self) -> bool) -> Option<String> {
        let steps = self.start_doomed(step);
        let status = eventually("the agent dies or is done", || {
            let status = self.fleet.agents.get_mut(DEVICE).expect("an agent").try_status();
            (status.is_some() || is_over(self)).then_some(status)
        });
        let died = status.map(|status| {
            assert!(was_killed(status), "it ended by itself: {status}");
            last_step(&std::fs::read_to_string(&steps).unwrap_or_default())
        });
        self.kill_agent();
        died
    }
}

/// The step that was not made any more, in words.
fn last_step(trace: &str) -> String {
    let is_call = |line: &&str| line.contains('(') && !line.contains("+++");
    let Some(line) = trace.lines().rfind(is_call) else { return "nothing was told of it".to_owned() };
    let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
    let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
    if name == "sendmsg" {
        return "a message on the bus".to_owned();
    }
    let file = arguments.split(['"', '<', '>']).rfind(|part| part.contains('/')).unwrap_or_default();
    format!("{name} {}", file.rsplit('/').next().unwrap_or_default())
}

#[test]
fn an_agent_that_is_killed_at_any_step_of_an_update_with_rauc_reaches_the_same_end() {
    let Some(mut scene) = Scene::start("os-kills") else { return };
    let steps: Vec<(usize, usize)> = match setting("BELLWETHER_KILL_OS") {
        Some(_) => (0..KINDS.len()).flat_map(|kind| (1..MAX_STEPS).map(move |number| (kind, number))).collect(),
        None => SAMPLE.to_vec(),
    };
    let (mut table, mut exhausted, mut round) = (Vec::new(), None, 0);
    for step in steps {
        if exhausted == Some(step.0) {
            continue;
        }
        round += 1;
        let version = format!("2026.11.{round}");
        let bundle = scene.rauc.bundle(&version, COMPATIBLE, "fleet");
        scene.kill_agent();
        // What the killed one had just started may have asked after the boot.
        scene.rauc.forget_asked();
        scene.assign(&version, &bundle);
        let installed = scene.rauc.activations();
        let free = if scene.rauc.primary() == "A" { "B" } else { "A" };

        let first = scene.live_and_die(step, |scene| scene.rauc.is_asked_to_reboot());
        scene.start_agent(&[]);
        scene.rauc.until_asked_to_reboot();
        assert_eq!(scene.rauc.primary(), free, "killed at {step:?}: {first:?}");
        assert_eq!(scene.rauc.activations(), installed + 1, "copied once, killed at {step:?}: {first:?}");
        scene.kill_agent();
        scene.rauc.boot(free);

        let second = scene.live_and_die(step, |scene| scene.keeps(&version));
        scene.start_agent(&[]);
        scene.until_settled_on(&version);
        assert_eq!(scene.rauc.activations(), installed + 1, "nothing is copied again, killed at {step:?}: {second:?}");
        assert_eq!((scene.rauc.primary().as_str(), scene.rauc.state_of(free).as_str()), (free, "good"));
        assert_eq!(scene.creates(), [1], "the service was left alone, killed at {step:?}");
        assert!(!scene.fleet.state_dir(DEVICE).join("os-image").read_dir().expect("a folder").any(|_| true));

        let died = |life: Life, at: &Option<String>| at.clone().map(|at| (life, step, at));
        let rows = [died(Life::BeforeTheReboot, &first), died(Life::OnTrial, &second)];
        if rows.iter().all(Option::is_none) {
            exhausted = Some(step.0);
        }
        table.extend(rows.into_iter().flatten());
    }
    for (life, (kind, number), at) in &table {
        say(&format!("{life:?} killed when {}, number {number} ({at}): same end", KINDS[*kind].0));
    }
    assert!(table.len() >= SAMPLE.len(), "too few kills to prove anything: {}", table.len());
}
