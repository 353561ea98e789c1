//! Updates of the OS by the real RAUC: the real agent tells it over D-Bus what to do, and reboots are played.

mod kills;
mod programs;
mod server;

use crate::harness::fleet::{Fleet, On};
use crate::harness::process::eventually;
use crate::harness::rauc::{COMPATIBLE, PARTS, Rauc};
use crate::harness::run::has_real_parts;
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::domain::digest::Digest;
use bellwether::domain::overview::device::DeviceDetail;
use bellwether::domain::reported::{OsStage, OsUpdate, Phase};
use server::{Manner, Server};
use std::process::Command;

const DEVICE: &str = "box-1";

/// A device with RAUC, an agent, and a controller above them.
struct Scene {
    fleet: Fleet,
    rauc: Rauc,
    server: Server,
}

const RELEASE: &str = "version: 1.0.0\n";
const COMPOSE: &str = "services:\n  front:\n    image: example/front:1\n";

impl Scene {
    /// A settled device with one service and no OS assigned.
    #[track_caller]
    fn start(name: &str) -> Option<Self> {
        if !has_real_parts(&PARTS) {
            return None;
        }
        let files = [
            ("fleet.yml", "name: acme\napps: {kiosk: {}}\n"),
            ("inventory.yml", "all:\n  hosts:\n    box-1:\n"),
            ("host_vars/box-1.yml", "branch: main\ndevice_type: box\npins: {kiosk: 1.0.0}\n"),
            ("releases/kiosk/1.0.0/release.yml", RELEASE),
            ("releases/kiosk/1.0.0/compose.yml", COMPOSE),
        ];
        let rauc = Rauc::start(name);
        let mut fleet = Fleet::configured(&format!("{name}-fleet"), On::Simulated, "stages: [main]\n", &files);
        fleet.agent_flags = rauc.agent_flags();
        let token = fleet.token(&[DEVICE]);
        let mut scene = Self { fleet, rauc, server: Server::start() };
        scene.start_agent(&["--token", &token]);
        scene.fleet.settled(&[DEVICE]);
        Some(scene)
    }

    #[track_caller]
    fn start_agent(&mut self, flags: &[&str]) {
        let mut command = self.agent();
        command.args(flags);
        let agent = crate::harness::process::Running::start(DEVICE, command);
        self.fleet.agents.insert(DEVICE.to_owned(), agent);
    }

    fn agent(&self) -> Command {
        let mut command = self.fleet.agent_command(DEVICE);
        // Whom to believe: a token at first, and the authority's file from then on.
        command.arg("--ca-file").arg(self.fleet.ca_file());
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.rauc.bus());
        command
    }

    fn kill_agent(&mut self) {
        self.fleet.agents.get_mut(DEVICE).expect("an agent").kill();
    }

    /// Merges a commit that asks for an image.
    #[track_caller]
    fn assign(&self, version: &str, bundle: &[u8]) {
        self.assign_with(version, bundle, "");
    }

    /// The same with one more line about the image.
    #[track_caller]
    fn assign_with(&self, version: &str, bundle: &[u8], line: &str) {
        let image = format!(
            "box:\n  version: {version}\n  url: {}\n  digest: {}\n  size: {}\n{line}",
            self.server.offer(bundle),
            Digest::of(bundle),
            bundle.len()
        );
        let vars = "branch: main\ndevice_type: box\npins: {kiosk: 1.0.0}\nos: lindenhof\n";
        self.fleet.push("main", version, &[("os/lindenhof.yml", &image), ("host_vars/box-1.yml", vars)]);
    }

    /// The device goes down and comes up in a slot.
    #[track_caller]
    fn reboot_into(&mut self, slot: &str) {
        self.rauc.until_asked_to_reboot();
        self.kill_agent();
        self.rauc.boot(slot);
        self.start_agent(&[]);
    }

    fn detail(&self) -> DeviceDetail {
        self.fleet.device(DEVICE)
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&OsUpdate) -> bool) -> OsUpdate {
        eventually(what, || {
            let update = self.detail().os_update?;
            holds(&update).then_some(update)
        })
    }

    #[track_caller]
    fn until_failed(&self) -> String {
        self.until("the update has failed", |update| update.stage == OsStage::Failed).to_string()
    }

    #[track_caller]
    fn until_settled_on(&self, version: &str) {
        eventually(&format!("OS {version} is kept"), || self.keeps(version).then_some(()));
    }

    fn keeps(&self, version: &str) -> bool {
        let detail = self.detail();
        let is_there = detail.runs.as_ref().is_some_and(|os| os.version.as_str() == version);
        is_there && detail.os_update.is_none() && detail.row.phase == Some(Phase::Settled)
    }

    /// How often each container of the device was made.
    fn creates(&self) -> Vec<u64> {
        let engine = SimulatedEngine::open(&self.fleet.state_dir(DEVICE).join("engine")).expect("the agent's engine");
        engine.contents().expect("readable").creates.into_values().collect()
    }
}

#[test]
fn an_image_is_downloaded_in_pieces_installed_tried_and_kept_and_services_stay_as_they_are() {
    let Some(mut scene) = Scene::start("os-kept") else { return };
    let bundle = scene.rauc.bundle("2026.11.1", COMPATIBLE, "fleet");
    scene.server.behave(&[Manner::Cut(bundle.len() / 3), Manner::Cut(bundle.len() / 3)]);
    scene.assign("2026.11.1", &bundle);
    scene.rauc.until_asked_to_reboot();
    assert_eq!((scene.rauc.primary().as_str(), scene.rauc.activations()), ("B", 1));
    let asked = scene.server.asked();
    assert!(asked.len() >= 3 && asked[1..].iter().all(|range| range != "all"), "it goes on in the middle: {asked:?}");
    scene.reboot_into("B");
    scene.until_settled_on("2026.11.1");
    let os = scene.detail().runs.expect("it tells of its OS");
    assert_eq!((os.booted.as_deref(), os.primary.as_deref()), (Some("rootfs.1"), Some("rootfs.1")));
    assert_eq!(scene.creates(), [1], "the service was left alone");
    assert!(!scene.fleet.state_dir(DEVICE).join("os-image").read_dir().expect("a folder").any(|_| true));
}

#[test]
fn an_image_that_does_not_come_up_is_reported_and_not_tried_again() {
    let Some(mut scene) = Scene::start("os-fallback") else { return };
    let bundle = scene.rauc.bundle("2026.11.1", COMPATIBLE, "fleet");
    scene.assign("2026.11.1", &bundle);
    scene.reboot_into("A");
    insta::assert_snapshot!(scene.until_failed(), @"lindenhof 2026.11.1 failed while rebooting: the device rebooted and slot rootfs.0 came up again: the image did not start (FellBack)");
    // Another commit that asks for the same image does not make it better.
    let vars = "branch: main\ndevice_type: box\npins: {kiosk: 1.0.0}\nos: lindenhof\nvariables: {A: b}\n";
    scene.fleet.push("main", "Change a variable", &[("host_vars/box-1.yml", vars)]);
    eventually("the service has its variable", || (scene.creates() == [1, 1]).then_some(()));
    scene.until_failed();
    assert_eq!(scene.rauc.activations(), 1);
}

#[test]
fn foreign_bundles_and_full_disks_are_refused_with_a_reason() {
    let Some(mut scene) = Scene::start("os-refused") else { return };
    let foreign = scene.rauc.bundle("2026.11.1", COMPATIBLE, "mallory");
    scene.assign("2026.11.1", &foreign);
    // What follows are the words of whoever checks signatures.
    let told = scene.until_failed();
    assert!(told.contains("was refused: ") && told.contains("signature verification failed"), "{told}");
    let other = scene.rauc.bundle("2026.11.2", "somebody-elses-box", "fleet");
    scene.assign("2026.11.2", &other);
    let told = scene.until("the other type is refused", |update| {
        update.stage == OsStage::Failed && update.version.as_str() == "2026.11.2"
    });
    insta::assert_snapshot!(told, @r#"lindenhof 2026.11.2 failed while installing: OS lindenhof 2026.11.2 was refused: it is made for "somebody-elses-box", this device is "lindenhof-box" (ImageRefused)"#);
    // No device has so much: everything is kept for emergencies.
    scene.kill_agent();
    scene.start_agent(&["--disk-reserve-mb", "4000000000"]);
    let good = scene.rauc.bundle("2026.11.3", COMPATIBLE, "fleet");
    scene.assign("2026.11.3", &good);
    eventually("the disk is called too small", || {
        scene.detail().conditions.iter().find(|one| one.reason == "NoRoom").map(drop)
    });
    assert_eq!((scene.rauc.primary().as_str(), scene.rauc.activations()), ("A", 0));
    scene.kill_agent();
    scene.start_agent(&[]);
    scene.rauc.until_asked_to_reboot();
    assert_eq!(scene.rauc.primary(), "B");
}

/// Whether RAUC streams what it is given the address of, or fetches it first, hangs on how it was built and on the kernel.
#[test]
fn an_image_that_is_to_be_streamed_is_left_to_rauc_to_fetch() {
    let Some(mut scene) = Scene::start("os-streamed") else { return };
    let bundle = scene.rauc.bundle("2026.11.1", COMPATIBLE, "fleet");
    scene.assign_with("2026.11.1", &bundle, "  streaming: true\n");
    scene.reboot_into("B");
    scene.until_settled_on("2026.11.1");
    let folder = scene.fleet.state_dir(DEVICE).join("os-image");
    assert!(!folder.exists(), "the agent itself fetched nothing");
    assert!(scene.server.asked().iter().any(|range| range == "all"), "{:?}", scene.server.asked());
    let foreign = scene.rauc.bundle("2026.11.2", COMPATIBLE, "mallory");
    scene.assign_with("2026.11.2", &foreign, "  streaming: true\n");
    let told = scene.until_failed();
    assert!(told.contains("signature verification failed"), "what RAUC refuses is told in its words: {told}");
}

#[test]
fn an_agent_that_is_killed_while_rauc_copies_finds_the_installation_when_it_comes_back() {
    let Some(mut scene) = Scene::start("os-agent-killed") else { return };
    let bundle = scene.rauc.bundle("2026.11.1", COMPATIBLE, "fleet");
    scene.rauc.hold();
    scene.assign("2026.11.1", &bundle);
    scene.until("RAUC is at work", |update| update.stage == OsStage::Installing && update.tries == 1);
    scene.kill_agent();
    scene.start_agent(&[]);
    scene.rauc.release();
    scene.rauc.until_asked_to_reboot();
    assert_eq!(scene.rauc.activations(), 1, "it was installed once");
    scene.reboot_into("B");
    scene.until_settled_on("2026.11.1");
}

#[test]
fn an_installation_in_which_rauc_is_killed_is_counted_and_begun_again() {
    let Some(mut scene) = Scene::start("os-rauc-killed") else { return };
    let bundle = scene.rauc.bundle("2026.11.1", COMPATIBLE, "fleet");
    scene.rauc.hold();
    scene.assign("2026.11.1", &bundle);
    scene.until("RAUC is at work", |update| update.stage == OsStage::Installing && update.tries == 1);
    scene.rauc.kill();
    eventually("the agent misses RAUC", || {
        scene
            .detail()
            .conditions
            .iter()
            .find(|one| one.kind == "OsUpdaterAvailable" && one.reason != "Answers")
            .map(drop)
    });
    scene.rauc.release();
    scene.rauc.start_service("A");
    scene.rauc.until_asked_to_reboot();
    // What a device says comes by another way than its wish to start anew, and later.
    scene.until("the second try is told", |update| update.tries == 2);
    assert_eq!(scene.rauc.activations(), 1);
}
