//! A real folder tree in the place of `/`.

use super::linux::{LinuxHost, LinuxSettings};
use crate::domain::device::host::{Change, FoundFile, FoundValue, HookEnd, HostAsk, Logging};
use crate::domain::digest::Digest;
use crate::domain::ids::{FilePath, HookName};
use crate::domain::spec::{DeviceConfig, FileMode, HostFile, Subject};
use crate::ports::host::Host as _;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

struct Place {
    root: tempfile::TempDir,
    host: LinuxHost,
}

impl Place {
    /// A machine with a name, a time zone and two settings of its kernel.
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let at = |path: &str| root.path().join(path);
        for folder in [
            "etc/systemd",
            "proc/sys/kernel",
            "proc/sys/net/ipv4",
            "proc/sys/vm",
            "usr/share/zoneinfo/Europe",
            "files",
            "hooks",
        ] {
            std::fs::create_dir_all(at(folder)).expect("a folder");
        }
        let files = [
            ("etc/hostname", "localhost\n"),
            ("etc/timezone", "Etc/UTC\n"),
            ("etc/systemd/journald.conf", "[Journal]\n#Storage=auto\n"),
            ("proc/sys/kernel/hostname", "localhost\n"),
            ("proc/sys/net/ipv4/ip_forward", "0\n"),
            ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
            ("proc/sys/vm/swappiness", "60\n"),
            ("usr/share/zoneinfo/Europe/Zurich", "TZif"),
            ("boot_id", "one\n"),
        ];
        for (path, text) in files {
            std::fs::write(at(path), text).expect("a file");
        }
        symlink("/usr/share/zoneinfo/Etc/UTC", at("etc/localtime")).expect("a link");
        let host = LinuxHost::new(LinuxSettings {
            root: root.path().to_owned(),
            files: Some(at("files")),
            hooks: Some(at("hooks")),
            sysctl: vec!["net.ipv4.".to_owned()],
            boot_id_file: at("boot_id"),
            reboot: Vec::new(),
        });
        Self { root, host }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap_or_else(|error| error.kind().to_string())
    }

    fn ask(subjects: &[&str]) -> HostAsk {
        HostAsk { subjects: subjects.iter().map(|text| subject(text)).collect(), hooks: BTreeSet::new() }
    }

    /// What is found of these, one line each.
    fn found(&self, subjects: &[&str]) -> String {
        let found = now(self.host.look(&Self::ask(subjects)));
        let line = |text: &&str| {
            let subject = subject(text);
            let value = match found.values.get(&subject) {
                Some(FoundValue::Text(text)) => text.clone(),
                Some(FoundValue::File(FoundFile { mode, bytes, .. })) => format!("{bytes} bytes {mode}"),
                None => "-".to_owned(),
            };
            let unread = found.unread.get(&subject).map(|failure| format!(" unread {failure}")).unwrap_or_default();
            let refused = found.refused.get(&subject).map(|failure| format!(" refused {failure}")).unwrap_or_default();
            format!("{text}: {value}{unread}{refused}\n")
        };
        self.shown(subjects.iter().map(line).collect())
    }

    fn change(&self, changes: &[Change]) -> String {
        let troubles = now(self.host.change(changes));
        self.shown(troubles.iter().map(|(subject, failure)| format!("{subject}: {failure}\n")).collect())
    }

    fn shown(&self, text: String) -> String {
        text.replace(&self.root.path().display().to_string(), "ROOT")
    }

    fn hook(&self, name: &str, script: &str, mode: u32) -> HookName {
        let path = self.at("hooks").join(name);
        // Written whole under another name: a program that is being written cannot be run.
        std::fs::write(path.with_extension("new"), script).expect("a file");
        std::fs::set_permissions(path.with_extension("new"), std::fs::Permissions::from_mode(mode)).expect("a mode");
        std::fs::rename(path.with_extension("new"), &path).expect("a name");
        name.parse().expect("a hook")
    }

    fn run(&self, hook: &HookName) -> String {
        let because = BTreeSet::from([subject("hostname"), subject("files/motd")]);
        let ended = now(self.host.run_hook(hook, &because));
        self.shown(match ended {
            Ok(end) => format!("{end:?}"),
            Err(why) => format!("{} {:?}", why.failure, why.log),
        })
    }
}

fn subject(text: &str) -> Subject {
    text.parse().expect("a setting")
}

fn path(text: &str) -> FilePath {
    text.parse().expect("a path")
}

fn write(name: &str, content: &str) -> Change {
    Change::Write(path(name), Box::new(HostFile { content: content.to_owned(), ..HostFile::default() }))
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn a_host_is_read_where_every_program_reads_it() {
    let place = Place::new();
    let all = [
        "hostname",
        "time_zone",
        "persistent_logging",
        "sysctl/net.ipv4.tcp_rmem",
        "sysctl/vm.swappiness",
        "sysctl/net.ipv4.nothing",
        "files/motd",
    ];
    insta::assert_snapshot!(place.found(&all), @r#"
    hostname: localhost
    time_zone: Etc/UTC
    persistent_logging: false
    sysctl/net.ipv4.tcp_rmem: 4096 131072 6291456
    sysctl/vm.swappiness: 60 refused NotAllowed: this device does not let `vm.swappiness` be set; see `allow_sysctl` in its agent's configuration
    sysctl/net.ipv4.nothing: -
    files/motd: -
    "#);
    std::fs::create_dir_all(place.at("var/log/journal")).expect("a folder");
    std::fs::write(place.at("etc/hostname"), "other\n").expect("written");
    std::fs::remove_file(place.at("etc/localtime")).expect("gone");
    insta::assert_snapshot!(place.found(&all[..3]), @r#"
    hostname: localhost until the next boot, then other
    time_zone: UTC
    persistent_logging: true
    "#);
}

#[test]
fn a_host_is_set_so_that_it_is_found_so() {
    let place = Place::new();
    let changes = [
        Change::Hostname("kiosk-1.bern".parse().expect("a name")),
        Change::TimeZone("Europe/Zurich".parse().expect("a zone")),
        Change::PersistentLogging(Logging::Persistent),
        Change::Sysctl("net.ipv4.ip_forward".parse().expect("a name"), "1".to_owned()),
        write("app/motd", "Hello\n"),
    ];
    assert_eq!(place.change(&changes), "");
    insta::assert_snapshot!(place.found(&["hostname", "time_zone", "persistent_logging", "sysctl/net.ipv4.ip_forward", "files/app/motd"]), @r#"
    hostname: kiosk-1.bern
    time_zone: Europe/Zurich
    persistent_logging: true
    sysctl/net.ipv4.ip_forward: 1
    files/app/motd: 6 bytes 0644
    "#);
    assert_eq!(
        (place.text("etc/hostname").as_str(), place.text("etc/timezone").as_str()),
        ("kiosk-1.bern\n", "Europe/Zurich\n")
    );
    let link = std::fs::read_link(place.at("etc/localtime")).expect("a link");
    assert_eq!(link, Path::new("../usr/share/zoneinfo/Europe/Zurich"));
    assert!(place.text("etc/systemd/journald.conf.d/90-bellwether.conf").ends_with("[Journal]\nStorage=persistent\n"));
    let mode = std::fs::metadata(place.at("etc/hostname")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(place.change(&[Change::PersistentLogging(Logging::Volatile)]), "");
    assert_eq!(place.found(&["persistent_logging"]), "persistent_logging: false\n");
}

#[test]
fn what_is_not_allowed_or_not_there_is_not_touched() {
    let place = Place::new();
    let changes = [
        Change::Sysctl("vm.swappiness".parse().expect("a name"), "1".to_owned()),
        Change::Sysctl("net.ipv4.nothing.at.all".parse().expect("a name"), "1".to_owned()),
        Change::TimeZone("Europe/Bern".parse().expect("a zone")),
    ];
    insta::assert_snapshot!(place.change(&changes), @r#"
    time_zone: UnknownTimeZone: this host has no time zone Europe/Bern in /usr/share/zoneinfo; its OS has to bring it
    sysctl/net.ipv4.nothing.at.all: HostNotChanged: No such file or directory (os error 2)
    sysctl/vm.swappiness: NotAllowed: this device does not let `vm.swappiness` be set; see `allow_sysctl` in its agent's configuration
    "#);
    assert_eq!(place.text("proc/sys/vm/swappiness"), "60\n");
}

#[test]
fn no_link_is_followed_and_nothing_but_a_file_is_replaced() {
    let place = Place::new();
    std::fs::create_dir(place.at("outside")).expect("a folder");
    std::fs::write(place.at("outside/secret"), "theirs").expect("a file");
    symlink(place.at("outside"), place.at("files/folder")).expect("a link");
    symlink(place.at("outside/secret"), place.at("files/link")).expect("a link");
    std::fs::create_dir(place.at("files/taken")).expect("a folder");
    insta::assert_snapshot!(place.found(&["files/folder/secret", "files/link", "files/taken"]), @r#"
    files/folder/secret: - unread NotReadable: it cannot be read: `folder` on the way to it is no folder
    files/link: - unread NotReadable: it cannot be read: it is a symbolic link, which is never followed
    files/taken: - unread NotReadable: it cannot be read: it is no file
    "#);
    let changes = [
        write("folder/secret", "mine"),
        write("link", "mine"),
        write("taken", "mine"),
        Change::Remove(path("folder/secret")),
    ];
    insta::assert_snapshot!(place.change(&changes), @r#"
    files/folder/secret: HostNotChanged: `folder` on the way to it is no folder
    files/link: HostNotChanged: something else than a file is there
    files/taken: HostNotChanged: something else than a file is there
    "#);
    assert_eq!(place.text("outside/secret"), "theirs");
}

#[test]
fn a_write_that_was_cut_short_is_never_seen_and_goes_with_the_next() {
    let place = Place::new();
    assert_eq!(place.change(&[write("motd", "old")]), "");
    std::fs::write(place.at("files/.motd.bellwether-new"), "ne").expect("what a crash leaves");
    assert_eq!(place.found(&["files/motd"]), "files/motd: 3 bytes 0644\n");
    let private = HostFile { content: "newer".to_owned(), mode: FileMode::PRIVATE, ..HostFile::default() };
    assert_eq!(place.change(&[Change::Write(path("motd"), Box::new(private))]), "");
    assert_eq!(
        (place.text("files/motd").as_str(), place.found(&["files/motd"]).as_str()),
        ("newer", "files/motd: 5 bytes 0600\n")
    );
    assert!(!place.at("files/.motd.bellwether-new").exists());
    assert_eq!(place.change(&[Change::Remove(path("motd")), Change::Remove(path("motd"))]), "");
    assert_eq!(place.found(&["files/motd"]), "files/motd: -\n");
}

#[test]
fn a_hook_gets_the_documented_environment_and_its_end_counts() {
    let place = Place::new();
    let script = "#!/bin/sh\necho \"$1 $# $BELLWETHER_HOOK_CONTRACT $BELLWETHER_HOOK $BELLWETHER_FILES\"\necho \"$BELLWETHER_CHANGED\" >&2\nenv | cut -d= -f1 | sort | tr '\\n' ' '\nexit 7\n";
    let show = place.hook("show", script, 0o755);
    insta::assert_snapshot!(place.run(&show), @r#"HookFailed: it ended with 7: files/motd ["changed 1 1 show ROOT/files", "BELLWETHER_CHANGED BELLWETHER_FILES BELLWETHER_HOOK BELLWETHER_HOOK_CONTRACT PATH PWD files/motd", "hostname", "files/motd"]"#);
    assert_eq!(place.run(&place.hook("well", "#!/bin/sh\nexit 0\n", 0o755)), format!("{:?}", HookEnd::Done));
    assert_eq!(
        place.run(&place.hook("reboot", "#!/bin/sh\nexit 10\n", 0o700)),
        format!("{:?}", HookEnd::RebootRequired)
    );
    let loud = place.hook(
        "loud",
        "#!/bin/sh\ni=0\nwhile [ $i -lt 20000 ]; do echo line $i of many; i=$((i+1)); done\nexit 1\n",
        0o755,
    );
    let told = place.run(&loud);
    assert!(told.len() < 2000 && told.contains("line 19999 of many"), "{told}");
}

#[test]
fn programs_that_others_can_change_are_not_run() {
    let place = Place::new();
    let open = place.hook("open", "#!/bin/sh\nexit 0\n", 0o777);
    let plain = place.hook("plain", "no program\n", 0o644);
    symlink("/bin/true", place.at("hooks/link")).expect("a link");
    let all: Vec<String> = [open, plain, "link".parse().expect("a hook"), "missing".parse().expect("a hook")]
        .iter()
        .map(|hook| place.run(hook))
        .collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    HookNotSafe: ROOT/hooks/open can be changed by others than its owner, or is not root's []
    HookNotThere: ROOT/hooks/plain is no program []
    HookNotThere: ROOT/hooks/link is no program []
    HookNotThere: ROOT/hooks/missing: No such file or directory (os error 2) []
    "#);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_applied_does_not_differ(
        files in proptest::collection::btree_map("[a-c]{1,2}(/[d-f]{1,2}){0,2}", ("[ -~\n]{0,64}", 0u32..0o1000), 0..6),
        forward in proptest::option::of("[01]"),
        name in proptest::option::of("[a-z][a-z0-9]{0,8}(\\.[a-z]{1,4})?"),
        logging in proptest::option::of(any::<bool>()),
    ) {
        let place = Place::new();
        let file = |(name, (content, mode)): (String, (String, u32))| {
            let mode = FileMode::of_bits(mode | 0o400);
            (path(&name), HostFile { content, mode, ..HostFile::default() })
        };
        let mut files: BTreeMap<FilePath, HostFile> = files.into_iter().map(file).collect();
        let names: Vec<FilePath> = files.keys().cloned().collect();
        files.retain(|path, _| !names.iter().any(|other| other.as_str().starts_with(&format!("{path}/"))));
        let config = DeviceConfig {
            hostname: name.map(|name| name.parse().expect("a name")),
            persistent_logging: logging,
            sysctl: forward.map(|value| ("net.ipv4.ip_forward".parse().expect("a name"), value)).into_iter().collect(),
            files,
            ..DeviceConfig::default()
        };
        let mut changes: Vec<Change> = Vec::new();
        changes.extend(config.hostname.clone().map(Change::Hostname));
        changes.extend(config.persistent_logging.map(|flag| Change::PersistentLogging(Logging::of_flag(flag))));
        changes.extend(config.sysctl.iter().map(|(name, value)| Change::Sysctl(name.clone(), value.clone())));
        changes.extend(config.files.iter().map(|(path, file)| Change::Write(path.clone(), Box::new(file.clone()))));
        prop_assert_eq!(place.change(&changes), "");
        let ask = HostAsk { subjects: config.subjects().into_iter().collect(), hooks: BTreeSet::new() };
        let found = now(place.host.look(&ask));
        prop_assert_eq!(found.differences(&config), Vec::new());
        for (path, file) in &config.files {
            let Some(FoundValue::File(found)) = found.values.get(&Subject::File(path.clone())) else { panic!("{path} is there") };
            prop_assert_eq!(found.digest, Digest::of(file.content.as_bytes()));
        }
        // Applying it once more changes no byte.
        prop_assert_eq!(place.change(&changes), "");
        prop_assert_eq!(now(place.host.look(&ask)), found);
    }
}
