//! Settings of the host, by the real agent and controller, on a folder tree in the place of `/`.

use crate::harness::fleet::{Fleet, On};
use crate::harness::process::eventually;
use crate::harness::run::run;
use bellwether::domain::condition::{Condition, ConditionStatus};
use bellwether::domain::drift::{Layer, LayerStatus};
use bellwether::domain::overview::device::DeviceDetail;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

const DEVICE: &str = "kiosk-1";
/// The value of a secret that no output may show.
const SECRET: &str = "canary-4711-in-a-file";

struct Scene {
    fleet: Fleet,
    root: PathBuf,
}

impl Scene {
    /// A device that lets the repo write files, run hooks and set what begins with `net.`, with these settings.
    #[track_caller]
    fn start(name: &str, config: &str) -> Self {
        let root = run().scratch(&format!("{name}-root"));
        for folder in ["etc/systemd", "proc/sys/kernel", "proc/sys/net", "usr/share/zoneinfo/Europe", "files", "hooks"]
        {
            std::fs::create_dir_all(root.join(folder)).expect("make a folder");
        }
        let files = [
            ("etc/hostname", "factory\n"),
            ("etc/systemd/journald.conf", "[Journal]\n"),
            ("proc/sys/kernel/hostname", "factory\n"),
            ("proc/sys/net/forward", "0\n"),
            ("usr/share/zoneinfo/Europe/Zurich", "TZif"),
            ("boot_id", "first boot\n"),
            (
                "hooks/reload",
                "#!/bin/sh\nprintf '%s\\n' \"$(echo \"$BELLWETHER_CHANGED\" | tr '\\n' ' ')\" >> \"$BELLWETHER_FILES/../ran\"\n",
            ),
            ("hooks/fail", "#!/bin/sh\necho trying\necho 'no such unit' >&2\nexit 4\n"),
            ("hooks/reboot", "#!/bin/sh\nexit 10\n"),
            ("restart", "#!/bin/sh\necho asked >> \"$(dirname \"$0\")/asked\"\n"),
        ];
        for (path, text) in files {
            std::fs::write(root.join(path), text).expect("write a file");
        }
        for program in ["hooks/reload", "hooks/fail", "hooks/reboot", "restart"] {
            std::fs::set_permissions(root.join(program), std::fs::Permissions::from_mode(0o755))
                .expect("make a program");
        }
        symlink("../usr/share/zoneinfo/UTC", root.join("etc/localtime")).expect("make a link");
        let repo = [
            ("fleet.yml", "name: acme\n"),
            ("inventory.yml", "all:\n  hosts:\n    kiosk-1:\n"),
            ("host_vars/kiosk-1.yml", &format!("branch: main\n{config}")),
        ];
        let settings = "stages: [main]\nsecrets: {env: 'FLEET_*'}\n";
        let mut fleet = Fleet::configured(&format!("{name}-fleet"), On::Simulated, settings, &repo);
        let flag = |name: &str, path: &str| [name.to_owned(), root.join(path).display().to_string()];
        fleet.controller_environment.insert("FLEET_TOKEN".to_owned(), SECRET.to_owned());
        fleet.stop_controller();
        fleet.start_controller();
        fleet.agent_flags = [
            flag("--host-root", "."),
            flag("--host-files", "files"),
            flag("--host-hooks", "hooks"),
            flag("--boot-id-file", "boot_id"),
            flag("--reboot-command", "restart"),
            ["--allow-sysctl".to_owned(), "net.".to_owned()],
            ["--host".to_owned(), "linux".to_owned()],
        ]
        .concat();
        fleet.enroll(&[DEVICE]);
        Self { fleet, root }
    }

    /// Starts the agent again; it remembers who it is.
    #[track_caller]
    fn start_agent(&mut self) {
        let authority = self.fleet.ca_file().display().to_string();
        self.fleet.start_agent(DEVICE, &["--ca-file", &authority]);
    }

    fn push(&self, config: &str) {
        self.fleet.push("main", "Set the host", &[("host_vars/kiosk-1.yml", &format!("branch: main\n{config}"))]);
    }

    #[track_caller]
    fn settled(&self) {
        self.fleet.settled_on("main", &[DEVICE]);
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| error.kind().to_string())
    }

    /// Waits until the device says something of its host.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Condition) -> bool) -> Condition {
        eventually(what, || {
            // At first it is not known at all.
            let detail: DeviceDetail = self.fleet.try_get(&format!("/v1/devices/{DEVICE}")).ok()?;
            detail.conditions.into_iter().find(|one| one.kind == "HostConfigured" && holds(one))
        })
    }
}

const CONFIG: &str = "config:
  persistent_logging: true
  hostname: '{{ inventory_hostname }}'
  time_zone: Europe/Zurich
  sysctl: {net.forward: 1}
  files:
    app/motd: {content: \"Hello\\n\"}
    notes: {content: \"Mine to keep\\n\", mode: 600}
  hooks: {reload: [files/app, sysctl]}
";

#[test]
fn a_host_is_set_mended_and_left() {
    let mut scene = Scene::start("host-set", CONFIG);
    scene.settled();
    let found = ["etc/hostname", "proc/sys/kernel/hostname", "proc/sys/net/forward", "files/app/motd", "ran"]
        .map(|path| scene.text(path));
    insta::assert_debug_snapshot!(found, @r#"
[
    "kiosk-1\n",
    "kiosk-1",
    "1",
    "Hello\n",
    "sysctl/net.forward files/app/motd \n",
]
"#);
    assert!(scene.text("etc/systemd/journald.conf.d/90-bellwether.conf").contains("Storage=persistent"));
    assert!(std::fs::read_link(scene.root.join("etc/localtime")).expect("a link").ends_with("Europe/Zurich"));

    // Somebody changes it by hand: it is told, then mended, and the hook runs once more.
    std::fs::write(scene.root.join("files/app/motd"), "by hand\n").expect("written");
    std::fs::write(scene.root.join("proc/sys/kernel/hostname"), "by-hand\n").expect("written");
    eventually("it is mended", || {
        (scene.text("files/app/motd") == "Hello\n" && scene.text("proc/sys/kernel/hostname") == "kiosk-1").then_some(())
    });
    eventually("what was found is told", || {
        let found = scene.fleet.device(DEVICE).found;
        let subjects: Vec<&str> = found.iter().map(|one| one.difference.subject.as_str()).collect();
        let hidden =
            found.iter().all(|one| one.difference.found.as_deref().is_none_or(|found| !found.contains("by hand\n")));
        (subjects.contains(&"files/app/motd content") && subjects.contains(&"hostname") && hidden).then_some(())
    });
    eventually("the hook ran again", || (scene.text("ran").lines().count() == 2).then_some(()));

    // A file that somebody changed is left when its key goes; one that nobody touched goes with it.
    scene.settled();
    // The agent does not look by itself from here on, and has looked once when it has something new.
    scene.fleet.agents.get_mut(DEVICE).expect("an agent").kill();
    scene.fleet.agent_flags.extend(["--look-interval-secs", "600"].map(str::to_owned));
    scene.start_agent();
    scene.push(&CONFIG.replace("Hello", "Hello again"));
    eventually("it has something new", || (scene.text("files/app/motd") == "Hello again\n").then_some(()));
    scene.settled();
    std::fs::write(scene.root.join("files/notes"), "My own\n").expect("written");
    scene.push("config: {poll_interval_secs: 2}\n");
    scene.settled();
    let left =
        scene.until("what is left is told", |one| one.status == ConditionStatus::True && !one.message.is_empty());
    insta::assert_snapshot!(left.message, @"no longer assigned, and left as it is: hostname, time_zone, persistent_logging, sysctl/net.forward, files/notes");
    assert_eq!(
        (scene.text("files/app/motd").as_str(), scene.text("files/notes").as_str()),
        ("entity not found", "My own\n")
    );
    assert_eq!(scene.text("etc/hostname"), "kiosk-1\n");
}

#[test]
fn what_the_device_does_not_allow_is_told_with_a_hint_and_is_drift() {
    let scene =
        Scene::start("host-refused", "config: {hostname: kiosk-1, sysctl: {kernel.hostname: other, net.forward: 1}}\n");
    let refused = scene.until("the refusal is told", |one| one.reason == "NotAllowed");
    insta::assert_snapshot!(refused.message, @"sysctl/kernel.hostname: this device does not let `kernel.hostname` be set; see `allow_sysctl` in its agent's configuration");
    assert_eq!(scene.text("proc/sys/net/forward"), "1");
    let drift = scene.fleet.drift();
    let (_, device) = drift.devices.iter().find(|(name, _)| name.as_str() == DEVICE).expect("it is listed");
    let Some(LayerStatus::Drifted { differences }) = device.drift.layers.get(&Layer::Host) else {
        panic!("the host differs: {:?}", device.drift)
    };
    let subjects: Vec<&str> = differences.iter().map(|one| one.subject.as_str()).collect();
    assert_eq!(subjects, ["sysctl/kernel.hostname"]);
}

#[test]
fn a_file_holds_a_secret_that_nothing_else_shows() {
    let config = "config: {files: {app/token: {content: \"token={{ secret('FLEET_TOKEN') }}\\n\"}}}\n";
    let mut scene = Scene::start("host-secret", config);
    scene.settled();
    assert_eq!(scene.text("files/app/token"), format!("token={SECRET}\n"));
    let mode = std::fs::metadata(scene.root.join("files/app/token")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(scene.root.join("files/app/token"), format!("other={SECRET}\n")).expect("written");
    eventually("it is mended", || (scene.text("files/app/token") == format!("token={SECRET}\n")).then_some(()));
    eventually("it is told", || (!scene.fleet.device(DEVICE).found.is_empty()).then_some(()));
    scene.settled();
    let shown = [
        serde_json::to_string(&scene.fleet.device(DEVICE)).expect("it can be written"),
        serde_json::to_string(&scene.fleet.drift()).expect("it can be written"),
        serde_json::to_string(&scene.fleet.why(DEVICE)).expect("it can be written"),
        std::fs::read_to_string(scene.fleet.state_dir(DEVICE).join("ledger")).expect("a ledger"),
        scene.fleet.agents.get_mut(DEVICE).expect("an agent").log(),
        scene.fleet.controller_log(),
    ];
    assert!(shown.iter().all(|text| !text.contains(SECRET)), "{shown:?}");
}

#[test]
fn a_failing_hook_ends_and_says_why() {
    let scene = Scene::start("host-hook", "config: {files: {motd: {content: x}}, hooks: {fail: [files]}}\n");
    let failure = scene.until("the hook has failed for good", |one| one.message.contains("run 3 times"));
    insta::assert_snapshot!(format!("{}: {}", failure.reason, failure.message), @"HookFailed: hook fail: it ended with 4: no such unit (run 3 times)");
    scene.push("config: {files: {motd: {content: x}}}\n");
    scene.settled();
}

#[test]
fn a_reboot_that_a_hook_asks_for_is_over_with_the_next_boot() {
    let mut scene = Scene::start("host-reboot", "config: {files: {motd: {content: x}}, hooks: {reboot: [files]}}\n");
    // A device with a simulated OS has a second to go down; one that stays up is asked again, a few times.
    eventually("a reboot is asked for", || scene.text("asked").starts_with("asked\n").then_some(()));
    scene.fleet.agents.get_mut(DEVICE).expect("an agent").kill();
    // A program that it had just started may still say so.
    let mut last = None;
    let asked = eventually("nobody asks any more", || {
        let now = scene.text("asked");
        let is_same = last.as_ref() == Some(&now);
        last = Some(now.clone());
        is_same.then_some(now)
    });
    std::fs::write(scene.root.join("boot_id"), "second boot\n").expect("written");
    scene.start_agent();
    scene.settled();
    assert_eq!(scene.text("asked"), asked);
}

#[test]
fn an_agent_that_is_killed_while_it_sets_the_host_ends_at_the_same() {
    let mut scene = Scene::start("host-kill", CONFIG);
    for round in 0..6 {
        let config = CONFIG.replace("Hello", &format!("Round {round}"));
        scene.push(&config);
        // Struck as soon as anything of it is seen.
        let sought = format!("Round {round}\n");
        if round % 2 == 0 {
            eventually("it has begun", || (scene.text("files/app/motd") == sought).then_some(()));
        }
        scene.fleet.agents.get_mut(DEVICE).expect("an agent").kill();
        scene.start_agent();
    }
    scene.settled();
    assert_eq!(scene.text("files/app/motd"), "Round 5\n");
    let ran = scene.text("ran");
    assert!(ran.lines().last().is_some_and(|line| line.contains("files/app/motd")), "the last change was told: {ran}");
}
