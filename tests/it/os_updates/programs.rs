//! The examples of `docs/os-command.md`, run as a device's agent runs them.

use super::server::Server;
use crate::harness::fleet::{Fleet, On};
use crate::harness::process::{eventually, output_of};
use crate::harness::run::{has_real_parts, run};
use bellwether::domain::digest::Digest;
use bellwether::domain::reported::{OsStage, Phase};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A device whose OS is in the hands of one of the examples.
struct Scene {
    fleet: Fleet,
    server: Server,
    device: &'static str,
}

impl Scene {
    #[track_caller]
    fn start(device: &'static str, words: &[&str]) -> Self {
        let inventory = format!("all:\n  hosts:\n    {device}:\n");
        let files = [
            ("fleet.yml", "name: acme\napps: {}\n".to_owned()),
            ("inventory.yml", inventory),
            (&*format!("host_vars/{device}.yml"), "branch: main\ndevice_type: box\n".to_owned()),
        ]
        .map(|(path, text)| (path.to_owned(), text));
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let mut fleet = Fleet::configured(&format!("{device}-fleet"), On::Simulated, "stages: [main]\n", &files);
        let words = serde_json::to_string(&words).expect("a list");
        fleet.agent_flags =
            ["--os", "command", "--disk-reserve-mb", "1", "--os-command", &words].map(str::to_owned).into();
        fleet.enroll(&[device]);
        fleet.settled(&[device]);
        Self { fleet, server: Server::start(), device }
    }

    #[track_caller]
    fn assign(&self, version: &str, image: &[u8]) {
        let url = self.server.offer(image);
        let catalog = format!("box:\n  version: {version}\n  url: {url}\n  digest: {}\n", Digest::of(image));
        let vars = "branch: main\ndevice_type: box\nos: site\n";
        let host = format!("host_vars/{}.yml", self.device);
        self.fleet.push("main", version, &[("os/site.yml", &catalog), (&host, vars)]);
    }

    #[track_caller]
    fn until_settled_on(&self, version: &str) {
        eventually(&format!("{version} runs"), || {
            let detail = self.fleet.device(self.device);
            let runs = detail.runs.as_ref().is_some_and(|os| os.version.as_str() == version);
            (runs && detail.row.phase == Some(Phase::Settled)).then_some(())
        });
    }

    #[track_caller]
    fn until_failed(&self) -> String {
        eventually("the update has failed", || {
            self.fleet.device(self.device).os_update.filter(|update| update.stage == OsStage::Failed)
        })
        .to_string()
    }
}

fn example(name: &str) -> String {
    format!("{}/docs/os-command/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn archive(folder: &Path, text: &str) -> Vec<u8> {
    std::fs::create_dir_all(folder).expect("make a folder");
    std::fs::write(folder.join("player.conf"), text).expect("write a file");
    let file = folder.with_extension("tar");
    let mut tar = Command::new("tar");
    output_of(tar.arg("-cf").arg(&file).arg("-C").arg(folder).arg("player.conf")).expect("an archive");
    std::fs::read(file).expect("the archive")
}

#[test]
fn a_device_without_images_is_updated_by_archives_of_files() {
    if !has_real_parts(&["tar"]) {
        return;
    }
    let place: PathBuf = run().scratch("os-files");
    let scene = Scene::start("site-files", &[&example("files"), place.to_str().expect("UTF-8")]);
    scene.assign("2026.11", &archive(&place.join("made-1"), "volume=5\n"));
    scene.until_settled_on("2026.11");
    assert_eq!(std::fs::read_to_string(place.join("current/player.conf")).expect("laid down"), "volume=5\n");
    scene.assign("2026.12", b"this is no archive");
    let told = scene.until_failed();
    assert!(told.contains("this is no archive (it ended with 2) (ImageRefused)"), "{told}");
    assert_eq!(std::fs::read_to_string(place.join("current/player.conf")).expect("kept"), "volume=5\n");
}

#[test]
fn a_device_is_updated_by_menders_client() {
    if !has_real_parts(&["mender", "mender-artifact", "unshare"]) {
        return;
    }
    let place: PathBuf = run().scratch("os-mender");
    let at = |file: &str| place.join(file).to_str().expect("UTF-8").to_owned();
    std::fs::create_dir_all(place.join("data")).expect("make a folder");
    std::fs::write(place.join("data/device_type"), "device_type=box\n").expect("write a file");
    std::fs::write(place.join("mender.conf"), "{\"ServerURL\": \"https://localhost\"}\n").expect("write a file");
    let script = at("update");
    std::fs::write(&script, format!("#!/bin/sh\necho done >> {}\n", at("ran"))).expect("write a file");
    let artifact = |name: &str| {
        let file = at(&format!("{name}.mender"));
        let mut make = Command::new("mender-artifact");
        make.args(["write", "module-image", "-T", "script", "-n", name, "-t", "box", "-o", &file, "-f", &script]);
        output_of(&mut make).unwrap_or_else(|error| panic!("{error}"));
        std::fs::read(file).expect("the artifact")
    };
    // The client wants one file at a fixed place; it gets a place of its own.
    let wrap = "#!/bin/sh\nset -e\nmount -t tmpfs none /etc/mender\necho artifact_name=none > /etc/mender/artifact_info\nexec \"$@\"\n";
    std::fs::write(at("apart"), wrap).expect("write a file");
    std::fs::set_permissions(at("apart"), std::fs::Permissions::from_mode(0o755)).expect("make it a program");
    let (apart, data, config) = (at("apart"), at("data"), at("mender.conf"));
    let words = ["/usr/bin/unshare", "-m", &apart, &example("mender"), "--data", &data, "--config", &config];
    let scene = Scene::start("site-mender", &words);
    scene.assign("2026.11", &artifact("2026.11"));
    scene.until_settled_on("2026.11");
    scene.assign("2026.12", &artifact("2026.12"));
    scene.until_settled_on("2026.12");
    assert_eq!(std::fs::read_to_string(at("ran")).expect("it ran"), "done\ndone\n");
}
