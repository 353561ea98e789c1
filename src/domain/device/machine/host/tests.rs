//! Settings of the host: what the machine does about them, told as transcripts, and what holds whatever happens.

use crate::domain::device::host::{HostAsk, MAX_HOOK_TRIES};
use crate::domain::device::machine::bench::{Bench, held, web};
use crate::domain::device::machine::*;
use crate::domain::drift::Layer;
use crate::domain::ids::{FilePath, HookName};
use crate::domain::spec::{DeviceConfig, DeviceSpec, HostFile, Subject, Trigger};
use crate::ports::host::fake::{FakeEnding, FakeFile, FakeHost};
use proptest::prelude::*;
use std::fmt::Write as _;

fn subject(text: &str) -> Subject {
    text.parse().expect("a setting")
}

fn hook(name: &str) -> HookName {
    name.parse().expect("a hook")
}

fn file(content: &str) -> HostFile {
    HostFile { content: content.to_owned(), ..HostFile::default() }
}

/// A device with a name, one file and a hook that runs for files.
fn kiosk(content: &str) -> DeviceSpec {
    let trigger: Trigger = "files".parse().expect("a trigger");
    let config = DeviceConfig {
        hostname: Some("kiosk-1".parse().expect("a name")),
        files: [("motd".parse().expect("a path"), file(content))].into(),
        hooks: [(hook("reload"), [trigger].into())].into(),
        ..DeviceConfig::default()
    };
    DeviceSpec { config, ..DeviceSpec::default() }
}

fn settled(spec: DeviceSpec) -> Bench {
    let mut bench = Bench::new();
    bench.run();
    bench.offer(held(1, spec));
    bench.run();
    bench
}

fn motd(host: &FakeHost) -> Option<&str> {
    host.files.get("motd").map(|file| file.content.as_str())
}

#[test]
fn a_host_is_set_before_services_are_and_hooks_are_counted_before_they_run() {
    let mut bench = Bench::new();
    bench.run();
    bench.take_transcript();
    let config = kiosk("Hello\n").config;
    bench.offer(held(1, DeviceSpec { config, ..web("hello") }));
    bench.run();
    let told = bench.take_transcript();
    let lines = told.lines().filter(|line| !["wake", "look", "poll"].iter().any(|word| line.trim().starts_with(word)));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
    persist start 1, 1.1
    persist start 1, 1.1
    report 1.2 Applying
        HostConfigured False Applying: set hostname, write files/motd
        Ready False Applying: set hostname, write files/motd
    set hostname, write files/motd
    persist start 1, 1.1
    persist start 1, 1.1
    report 1.3 Applying
        HostConfigured False Applying: run hook reload (files/motd changed)
        Ready False Applying: run hook reload (files/motd changed)
    run hook reload (files/motd changed)
    persist start 1, 1.1
    report 1.4 Applying
        Ready False Applying: create network of web, and 6 more steps
    create network of web
    pull example/app:1
    pull example/db:1
    create web/db
    start web/db
    create web/app
    start web/app
    persist start 1, 1.1, reached
    report 1.5 Settled
    "#);
    assert_eq!((motd(&bench.host), bench.host.ran[&hook("reload")]), (Some("Hello\n"), 1));
    assert!(bench.disk.host.begun.is_empty() && bench.disk.host.hooks.is_empty());
}

#[test]
fn what_somebody_changed_by_hand_is_reported_and_mended() {
    let mut bench = settled(kiosk("Hello\n"));
    bench.host.hostname = "mine".to_owned();
    bench
        .host
        .files
        .insert("motd".parse().expect("a path"), FakeFile { content: "Mine\n".to_owned(), mode: Default::default() });
    bench.take_transcript();
    bench.fire(Timer::Work);
    bench.run();
    insta::assert_snapshot!(bench.take_transcript(), @r#"
    look (0 images)
    persist start 1, 1.1, reached
    report 1.5 Applying
        found hostname: mine instead of kiosk-1
        found files/motd content: another one of 5 bytes instead of 66a045b45210
        HostConfigured False Applying: set hostname, write files/motd
        Ready False Applying: set hostname, write files/motd
    set hostname, write files/motd
    persist start 1, 1.1, reached
    look (0 images)
    persist start 1, 1.1, reached
    report 1.6 Applying
        found hostname: mine instead of kiosk-1
        found files/motd content: another one of 5 bytes instead of 66a045b45210
        HostConfigured False Applying: run hook reload (files/motd changed)
        Ready False Applying: run hook reload (files/motd changed)
    run hook reload (files/motd changed)
    persist start 1, 1.1, reached
    look (0 images)
    wake Work later
    report 1.7 Settled
        found hostname: mine instead of kiosk-1
        found files/motd content: another one of 5 bytes instead of 66a045b45210
    "#);
    assert_eq!((bench.host.hostname.as_str(), motd(&bench.host)), ("kiosk-1", Some("Hello\n")));
}

#[test]
fn what_is_no_longer_assigned_stays_unless_it_is_a_file_that_nobody_touched() {
    let mut bench = settled(kiosk("Hello\n"));
    bench.offer(held(2, DeviceSpec::default()));
    bench.run();
    assert_eq!((bench.host.hostname.as_str(), motd(&bench.host)), ("kiosk-1", None));
    insta::assert_snapshot!(condition(&bench), @r#"
    HostConfigured True Settled: no longer assigned, and left as it is: hostname
    Ready True Settled:
    "#);

    let mut touched = settled(kiosk("Hello\n"));
    touched
        .host
        .files
        .insert("motd".parse().expect("a path"), FakeFile { content: "Mine\n".to_owned(), mode: Default::default() });
    touched.offer(held(2, DeviceSpec::default()));
    touched.run();
    assert_eq!(motd(&touched.host), Some("Mine\n"));
    insta::assert_snapshot!(condition(&touched), @r#"
    HostConfigured True Settled: no longer assigned, and left as it is: hostname, files/motd
    Ready True Settled:
    "#);
}

fn condition(bench: &Bench) -> String {
    let all = bench.machine.conditions.all();
    let mut text = String::new();
    for one in all.iter().filter(|one| one.kind == conditions::HOST_CONFIGURED || one.kind == conditions::READY) {
        let _ = writeln!(text, "{} {:?} {}: {}", one.kind, one.status, one.reason, one.message);
    }
    text
}

#[test]
fn a_hook_that_fails_is_run_three_times_and_then_only_for_something_new() {
    let mut bench = Bench::new();
    bench.host.endings.insert(hook("reload"), FakeEnding::Failed);
    bench.run();
    bench.offer(held(1, kiosk("Hello\n")));
    bench.run();
    for _ in 0..200 {
        bench.fire(Timer::Work);
        bench.run();
    }
    assert_eq!(bench.host.ran[&hook("reload")], u64::from(MAX_HOOK_TRIES));
    assert_eq!(bench.machine.phase(), Phase::Failing);
    let failure = bench.machine.host_failure().expect("it failed for good");
    insta::assert_snapshot!(format!("{:?} attempt {}: {} {:?}", failure.phase, failure.attempt, failure.describe(), failure.log), @r#"Applying attempt 1: hook reload: it ended with 1 (HookFailed); there is nothing good to go back to ["cannot reload"]"#);
    // Another content is another reason to run it.
    bench.host.endings.clear();
    bench.offer(held(2, kiosk("Bye\n")));
    bench.run();
    assert_eq!(
        (bench.host.ran[&hook("reload")], bench.machine.phase()),
        (u64::from(MAX_HOOK_TRIES) + 1, Phase::Settled)
    );
}

/// The same with a hook of this name instead, and a setting of the kernel that is gone after each boot.
fn tuned(content: &str, name: &str) -> DeviceSpec {
    let mut spec = kiosk(content);
    let triggers = ["files", "sysctl"].map(|text| text.parse().expect("a trigger"));
    spec.config.hooks = [(hook(name), triggers.into())].into();
    spec.config.sysctl = [("vm.swappiness".parse().expect("a name"), "10".to_owned())].into();
    spec
}

fn soaking(generation: u64, spec: DeviceSpec) -> Held {
    Held { soak_secs: 300, ..held(generation, spec) }
}

/// A device on which a first assignment has proved itself, and whose hook `check` fails.
fn good_without_check(spec: DeviceSpec) -> Bench {
    let mut bench = Bench::new();
    bench.host.endings.insert(hook("check"), FakeEnding::Failed);
    bench.run();
    bench.offer(soaking(1, spec));
    bench.run();
    assert!(bench.fire(Timer::Soak));
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
    bench
}

fn turns(bench: &mut Bench, count: usize) {
    for _ in 0..count {
        bench.fire(Timer::Work);
        bench.run();
    }
}

fn end(bench: &Bench) -> String {
    let end = bench.disk.end().map_or("no failure".to_owned(), |end| format!("{} {:?}", end.describe(), end.log));
    format!(
        "{:?}, {}, OS {}: {end}",
        bench.machine.phase(),
        motd(&bench.host).unwrap_or_default().trim(),
        bench.os.running.version
    )
}

#[test]
fn a_hook_that_fails_within_the_soak_leads_back() {
    let mut bench = good_without_check(tuned("Hello\n", "reload"));
    bench.offer(soaking(2, tuned("Bye\n", "check")));
    bench.run();
    turns(&mut bench, 20);
    insta::assert_snapshot!(end(&bench), @r#"Failing, Hello, OS factory: hook check: it ended with 1 (HookFailed); went back to 920f1af6365b ["cannot reload"]"#);
    assert_eq!(bench.host.ran[&hook("check")], u64::from(MAX_HOOK_TRIES));
}

#[test]
fn a_hook_that_fails_on_a_new_os_leads_back_to_the_old_one() {
    let on_os = |version: &str, spec: DeviceSpec| {
        let version = version.parse().expect("a version");
        DeviceSpec { os: Some(crate::domain::spec::OsSpec::named("kiosk-os", version)), ..spec }
    };
    let mut bench = good_without_check(on_os("factory", tuned("Hello\n", "reload")));
    // It does well on the old one.
    bench.host.endings.clear();
    bench.offer(soaking(2, on_os("2026.11", tuned("Bye\n", "check"))));
    bench.run();
    assert_eq!((bench.os.boots, bench.host.ran[&hook("check")]), (1, 1));
    bench.host.endings.insert(hook("check"), FakeEnding::Failed);
    bench.host.reboot();
    turns(&mut bench, 1);
    assert_eq!((bench.os.running.version.as_str(), bench.machine.phase()), ("2026.11", Phase::Applying));
    turns(&mut bench, 20);
    insta::assert_snapshot!(end(&bench), @r#"Failing, Hello, OS factory: hook check: it ended with 1 (HookFailed); went back to ade848d17aba ["cannot reload"]"#);
    assert!(bench.disk.os.is_empty(), "the OS is not blamed: {:?}", bench.disk.os);
}

#[test]
fn a_higher_attempt_runs_a_failed_hook_again() {
    let mut bench = Bench::new();
    bench.host.endings.insert(hook("reload"), FakeEnding::Failed);
    bench.run();
    bench.offer(held(1, kiosk("Hello\n")));
    for _ in 0..200 {
        bench.run();
        bench.fire(Timer::Work);
    }
    bench.run();
    bench.host.endings.clear();
    let again =
        Held { attempt: crate::domain::generation::Attempt::new(2).expect("an attempt"), ..held(2, kiosk("Hello\n")) };
    bench.offer(again);
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
}

#[test]
fn a_reboot_that_a_hook_asks_for_waits_for_locks_and_comes_once() {
    let mut bench = Bench::new();
    bench.host.endings.insert(hook("reload"), FakeEnding::RebootRequired);
    let lock = crate::domain::device::locks::Lock::unreadable("somebody types".to_owned());
    bench.locks.held.push(lock);
    bench.run();
    bench.offer(held(1, kiosk("Hello\n")));
    bench.run();
    assert_eq!(bench.host.boots, 0);
    insta::assert_snapshot!(condition(&bench), @r#"
    HostConfigured False Locked: the device's lock is held by `somebody` (somebody types)
    Ready False Locked: the device's lock is held by `somebody` (somebody types)
    "#);
    bench.locks.held.clear();
    bench.fire(Timer::Work);
    bench.run();
    assert_eq!(bench.host.boots, 1);
    // The agent comes up again with the device.
    let mut next = Bench::with_host(bench.engine.clone(), bench.os.clone(), bench.host.clone(), bench.disk.clone());
    next.run();
    assert_eq!((next.host.boots, next.machine.phase(), &next.disk.host.reboot), (1, Phase::Settled, &None));
}

#[test]
fn what_a_device_does_not_allow_is_said_and_keeps_nothing_else_from_being_done() {
    let mut bench = Bench::new();
    bench.host.refused.insert(subject("files/motd"), "this device takes no files".to_owned());
    bench.run();
    let config = kiosk("Hello\n").config;
    let spec = DeviceSpec { config, ..web("hello") };
    bench.offer(held(1, spec.clone()));
    bench.run();
    assert_eq!((bench.host.hostname.as_str(), motd(&bench.host)), ("kiosk-1", None));
    assert!(crate::domain::drift::app_differences(&spec.apps, &bench.engine.apps).is_empty());
    insta::assert_snapshot!(condition(&bench), @r#"
    HostConfigured False NotAllowed: files/motd: this device takes no files
    Ready False NotAllowed: files/motd: this device takes no files
    "#);
}

#[test]
fn what_cannot_be_changed_is_tried_with_pauses_and_keeps_services_running() {
    let mut bench = Bench::new();
    bench.host.stuck.insert(subject("hostname"), "read-only file system".to_owned());
    bench.run();
    let config = kiosk("Hello\n").config;
    bench.offer(held(1, DeviceSpec { config, ..web("hello") }));
    bench.run();
    let actions = |bench: &mut Bench| bench.take_transcript().matches("set hostname").count();
    assert!(actions(&mut bench) > 0);
    insta::assert_snapshot!(condition(&bench), @r#"
    HostConfigured False HostNotChanged: hostname: read-only file system
    Ready False HostNotChanged: hostname: read-only file system
    "#);
    for _ in 0..100 {
        bench.fire(Timer::Work);
        bench.run();
    }
    let tried = actions(&mut bench);
    assert!((1..40).contains(&tried), "it is tried with growing pauses: {tried}");
    bench.host.stuck.clear();
    for _ in 0..100 {
        bench.fire(Timer::Work);
        bench.run();
    }
    assert_eq!((bench.host.hostname.as_str(), bench.machine.phase()), ("kiosk-1", Phase::Settled));
}

/// Out of few parts, so that two drawn ones often share some.
fn any_config() -> impl Strategy<Value = DeviceConfig> {
    let files = proptest::collection::btree_map(0u8..3, (0u8..3, any::<bool>()), 0..3);
    (proptest::option::of(0u8..2), proptest::option::of(0u8..3), files, any::<bool>()).prop_map(
        |(name, number, files, hooked)| {
            let path = |index: u8| -> FilePath { ["a", "b/c", "d"][usize::from(index)].parse().expect("a path") };
            let mode =
                |private: bool| if private { crate::domain::spec::FileMode::PRIVATE } else { Default::default() };
            let file = |(index, (content, private))| {
                (path(index), HostFile { mode: mode(private), ..file(&format!("{content}")) })
            };
            let trigger = |text: &str| -> Trigger { text.parse().expect("a trigger") };
            let number = number.map(|number| ("vm.swappiness".parse().expect("a name"), format!("{number}")));
            DeviceConfig {
                hostname: name.map(|name| format!("kiosk-{name}").parse().expect("a name")),
                sysctl: number.into_iter().collect(),
                files: files.into_iter().map(file).collect(),
                hooks: if hooked {
                    [(hook("reload"), [trigger("files"), trigger("hostname")].into())].into()
                } else {
                    Default::default()
                },
                ..DeviceConfig::default()
            }
        },
    )
}

fn asking(config: &DeviceConfig) -> HostAsk {
    HostAsk { subjects: config.subjects().into_iter().collect(), hooks: config.hooks.keys().cloned().collect() }
}

fn is_reached(config: &DeviceConfig, bench: &Bench) -> bool {
    let ask = asking(config);
    bench.host.look(&ask).differences(config).is_empty()
}

fn spec_of(config: &DeviceConfig) -> DeviceSpec {
    DeviceSpec { config: config.clone(), ..DeviceSpec::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_host_reaches_any_settings_and_then_rests(first in any_config(), second in any_config()) {
        let mut bench = settled(spec_of(&first));
        prop_assert!(is_reached(&first, &bench), "{}", bench.transcript);
        bench.offer(held(2, spec_of(&second)));
        bench.run();
        prop_assert!(is_reached(&second, &bench), "{}", bench.transcript);
        prop_assert_eq!(bench.machine.phase(), Phase::Settled);
        let left = |path: &FilePath| bench.host.files.contains_key(path) && !second.files.contains_key(path);
        prop_assert!(!first.files.keys().any(left), "files go with their keys");
        let (changes, ran) = (bench.host.changes, bench.host.ran.clone());
        bench.fire(Timer::Work);
        bench.run();
        prop_assert_eq!((bench.host.changes, &bench.host.ran), (changes, &ran), "a second turn changes nothing");
    }

    #[test]
    // Not more than two: a hook that was begun three times and never ended has failed.
    fn a_kill_at_any_moment_loses_no_change_and_no_hook(first in any_config(), second in any_config(), kills in proptest::collection::vec(0usize..8, 1..3)) {
        let mut bench = Bench::new();
        bench.run();
        bench.offer(held(1, spec_of(&first)));
        for (turn, kill) in kills.iter().enumerate() {
            for _ in 0..*kill {
                bench.perform_one();
            }
            if turn == 0 {
                bench.fire(Timer::Link);
                bench.offer(held(2, spec_of(&second)));
            }
            let (engine, os, host, disk) = (bench.engine.clone(), bench.os.clone(), bench.host.clone(), bench.disk.clone());
            bench = Bench::with_host(engine, os, host, disk);
        }
        bench.run();
        prop_assert!(is_reached(&second, &bench), "{}", bench.transcript);
        prop_assert_eq!(bench.machine.phase(), Phase::Settled);
        prop_assert!(bench.disk.host.begun.is_empty() && bench.disk.host.hooks.is_empty());
        // The hook ran after the last change that it runs for, if there was any.
        let changes_what_it_runs_for = second.hostname.is_some() || !second.files.is_empty();
        if second.hooks.len() == 1 && changes_what_it_runs_for && first.hooks.is_empty() && first == DeviceConfig::default() {
            prop_assert!(bench.host.ran.get("reload").copied().unwrap_or(0) >= 1);
        }
    }

    #[test]
    fn differences_are_of_the_host_alone_and_gone_when_it_is_as_wanted(config in any_config()) {
        let bench = settled(DeviceSpec::default());
        let found = bench.host.look(&asking(&config));
        let differences = found.differences(&config);
        prop_assert!(differences.iter().all(|one| one.layer == Layer::Host));
        prop_assert_eq!(differences.is_empty(), config.subjects().is_empty());
    }
}
