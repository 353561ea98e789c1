//! A device's OS updater: the real RAUC on a bus of its own, with slots in files and a boot loader that is a script.

use super::process::{Running, eventually, output_of};
use super::run::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What these tests need beside root.
pub const PARTS: [&str; 6] = ["rauc", "dbus-daemon", "mksquashfs", "mke2fs", "openssl", "dbus-send"];
/// The device type of the bundles.
pub const COMPATIBLE: &str = "lindenhof-box";

/// RAUC on one device, and what people make bundles with.
pub struct Rauc {
    directory: PathBuf,
    bus: Running,
    service: Option<Running>,
    boots: u32,
}

impl Rauc {
    /// A device that booted slot A.
    #[track_caller]
    pub fn start(name: &str) -> Self {
        let directory = run().scratch(name);
        for folder in ["slots", "mnt", "pki", "state"] {
            std::fs::create_dir_all(directory.join(folder)).expect("make a folder");
        }
        for slot in ["A", "B"] {
            let file = std::fs::File::create(directory.join(format!("slots/{slot}.img"))).expect("make a slot");
            file.set_len(8 << 20).expect("give it a size");
            write(&directory, &format!("state/{slot}"), "good\n");
        }
        write(&directory, "state/primary", "A\n");
        write(&directory, "boot.sh", BOOT_LOADER);
        executable(&directory.join("boot.sh"));
        // Whoever has the file `hold` keeps an installation from going on.
        write(&directory, "before.sh", "#!/bin/sh\nwhile [ -e \"${0%/*}/hold\" ]; do sleep 0.05; done\n");
        executable(&directory.join("before.sh"));
        let at = directory.display();
        write(&directory, "system.conf", &SYSTEM.replace("@", &at.to_string()));
        write(&directory, "bus.conf", &BUS.replace("@", &at.to_string()));
        authority(&directory, "fleet");
        let mut bus = run().command("dbus-daemon");
        bus.arg(format!("--config-file={at}/bus.conf")).args(["--nofork", "--nopidfile", "--print-address"]);
        let mut bus = Running::start(&format!("{name}-bus"), bus);
        bus.line_with("unix:path");
        let mut rauc = Self { directory, bus, service: None, boots: 0 };
        rauc.boot("A");
        rauc
    }

    /// Where a device's programs find the bus.
    pub fn bus(&self) -> String {
        format!("unix:path={}/bus", self.directory.display())
    }

    /// The device comes up in a slot, whoever chose it.
    #[track_caller]
    pub fn boot(&mut self, slot: &str) {
        self.stop();
        self.boots += 1;
        write(&self.directory, "state/boot-id", &format!("boot-{}\n", self.boots));
        let _ = std::fs::remove_file(self.asked_file());
        self.start_service(slot);
    }

    /// RAUC alone is started again, as after a crash.
    #[track_caller]
    pub fn start_service(&mut self, slot: &str) {
        let mut service = run().command("rauc");
        service.arg(format!("--conf={}/system.conf", self.directory.display()));
        service.arg(format!("--override-boot-slot={slot}")).arg("service").env("DBUS_SYSTEM_BUS_ADDRESS", self.bus());
        self.service = Some(Running::start("rauc", service));
        eventually("RAUC answers on the bus", || {
            let mut ask = Command::new("dbus-send");
            ask.arg(format!("--bus={}", self.bus())).args(["--print-reply", "--dest=de.pengutronix.rauc", "/"]);
            ask.arg("org.freedesktop.DBus.Properties.Get");
            output_of(ask.args(["string:de.pengutronix.rauc.Installer", "string:Operation"])).ok()
        });
    }

    /// RAUC dies as in a power cut.
    pub fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill();
        }
    }

    /// RAUC ends.
    pub fn stop(&mut self) {
        self.kill();
    }

    /// What RAUC logged since its last start.
    pub fn log(&self) -> String {
        self.service.as_ref().map(Running::log).unwrap_or_default()
    }

    /// The slot that the boot loader would boot.
    pub fn primary(&self) -> String {
        self.read("state/primary")
    }

    /// What the boot loader thinks of a slot.
    pub fn state_of(&self, slot: &str) -> String {
        self.read(&format!("state/{slot}"))
    }

    /// The flags of an agent on this device.
    pub fn agent_flags(&self) -> Vec<String> {
        let at = |file: &str| self.directory.join(file).display().to_string();
        // A script, not a shell: what it does stands in its file.
        write(&self.directory, "reboot.sh", "#!/bin/sh\nexec touch \"${0%/*}/state/reboot-asked\"\n");
        executable(&self.directory.join("reboot.sh"));
        let flags = [
            ("--os", "rauc".to_owned()),
            ("--reboot-command", at("reboot.sh")),
            ("--boot-id-file", at("state/boot-id")),
            ("--os-soak-secs", "1".to_owned()),
            ("--os-trial-secs", "900".to_owned()),
            ("--disk-reserve-mb", "1".to_owned()),
        ];
        flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    /// Waits until the agent has asked for a reboot.
    #[track_caller]
    pub fn until_asked_to_reboot(&self) {
        eventually("the agent asks for a reboot", || self.is_asked_to_reboot().then_some(()));
    }

    /// Whether the agent has asked for a reboot since the last one.
    pub fn is_asked_to_reboot(&self) -> bool {
        self.asked_file().exists()
    }

    /// From now on it has not asked.
    pub fn forget_asked(&self) {
        let _ = std::fs::remove_file(self.asked_file());
    }

    /// Holds up the next installation, until [`Rauc::release`].
    pub fn hold(&self) {
        write(&self.directory, "hold", "");
    }

    /// Lets a held installation go on.
    pub fn release(&self) {
        std::fs::remove_file(self.directory.join("hold")).expect("it was held");
    }

    /// How often an image was copied into a slot, as the log of the boot loader tells.
    pub fn activations(&self) -> usize {
        self.read("state/calls").lines().filter(|line| line.starts_with("set-primary")).count()
    }

    /// Makes a bundle of a version; `signer` is `fleet`, or somebody whom the device does not know.
    #[track_caller]
    pub fn bundle(&self, version: &str, compatible: &str, signer: &str) -> Vec<u8> {
        let pki = self.directory.join("pki");
        if !pki.join(format!("{signer}.key")).exists() {
            authority(&self.directory, signer);
        }
        let name = format!("{signer}-{compatible}-{version}");
        let content = self.directory.join(&name);
        std::fs::create_dir_all(&content).expect("make a folder");
        // What cannot be compressed, so that a download has a middle.
        let noise: Vec<u8> = (0u32..(1 << 20)).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        std::fs::write(content.join("rootfs.img"), noise).expect("write an image");
        let manifest = format!(
            "[update]\ncompatible={compatible}\nversion={version}\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=rootfs.img\n"
        );
        std::fs::write(content.join("manifest.raucm"), manifest).expect("write a manifest");
        let file = self.directory.join(format!("{name}.raucb"));
        let mut make = Command::new("rauc");
        make.arg("--cert").arg(pki.join(format!("{signer}-leaf.pem")));
        make.arg("--key").arg(pki.join(format!("{signer}-leaf.key"))).arg("bundle").arg(&content).arg(&file);
        output_of(&mut make).unwrap_or_else(|error| panic!("{error}"));
        std::fs::read(file).expect("the bundle")
    }

    fn asked_file(&self) -> PathBuf {
        self.directory.join("state/reboot-asked")
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.join(file)).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Rauc {
    fn drop(&mut self) {
        self.kill();
        self.bus.kill();
        // A service that was killed in the middle leaves its bundle mounted.
        let _ = Command::new("umount").arg(self.directory.join("mnt/bundle")).output();
    }
}

fn write(directory: &Path, file: &str, text: &str) {
    std::fs::write(directory.join(file), text).expect("write a file");
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("make it a program");
}

/// An authority and a certificate to sign with.
#[track_caller]
fn authority(directory: &Path, name: &str) {
    let pki = directory.join("pki");
    write(&pki, "leaf.conf", "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n");
    let steps = [
        format!("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /O={name}/CN=ca -keyout {name}.key -out {name}.pem"),
        format!("req -newkey rsa:2048 -nodes -subj /O={name}/CN=release -keyout {name}-leaf.key -out {name}.csr"),
        format!(
            "x509 -req -in {name}.csr -CA {name}.pem -CAkey {name}.key -CAcreateserial -days 30 -extfile leaf.conf \
             -out {name}-leaf.pem"
        ),
    ];
    for step in steps {
        let mut openssl = Command::new("openssl");
        openssl.args(step.split_ascii_whitespace()).current_dir(&pki);
        output_of(&mut openssl).unwrap_or_else(|error| panic!("{error}"));
    }
}

const BOOT_LOADER: &str = r#"#!/bin/sh
S="${0%/*}/state"; echo "$*" >> "$S/calls"
case "$1" in
  get-primary) cat "$S/primary" ;;
  set-primary) echo "$2" > "$S/primary"; echo good > "$S/$2" ;;
  get-state) cat "$S/$2" ;;
  set-state) echo "$3" > "$S/$2" ;;
  *) exit 1 ;;
esac
"#;

const SYSTEM: &str = "\
[system]
compatible=lindenhof-box
bootloader=custom
bundle-formats=plain verity
mountprefix=@/mnt
statusfile=@/state/central.raucs
max-bundle-download-size=1073741824
[handlers]
bootloader-custom-backend=@/boot.sh
pre-install=@/before.sh
[keyring]
path=@/pki/fleet.pem
[slot.rootfs.0]
device=@/slots/A.img
type=raw
bootname=A
[slot.rootfs.1]
device=@/slots/B.img
type=raw
bootname=B
";

// A policy of the kind that session buses have: the system's own would keep answers from a service without a file for it.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=@/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"#;
