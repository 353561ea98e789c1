//! Updates of the OS, with everything else that a device does around them.

use super::bench::{Bench, held, web};
use super::tests::settled;
use super::*;
use crate::domain::device::action::Failure;
use crate::domain::generation::Attempt;
use crate::domain::spec::{DeviceSpec, OsSpec};
use insta::assert_snapshot;

fn with_os(version: &str) -> DeviceSpec {
    let version = version.parse().expect("a version");
    DeviceSpec { os: Some(OsSpec::named("kiosk-os", version)), ..web("hello") }
}

/// A settled device that was told to run another OS, up to the reboot.
fn rebooted() -> Bench {
    let mut bench = settled();
    bench.offer(held(2, with_os("2026.11")));
    bench.run();
    bench.take_transcript();
    bench
}

/// The agent dies and starts again on the same device.
fn restarted(bench: &Bench) -> Bench {
    Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone())
}

fn stands(bench: &Bench) -> String {
    let update = bench.machine.os.told.as_ref().map_or("no update".to_owned(), ToString::to_string);
    format!("{:?}, OS {} runs, {update}", bench.machine.phase(), bench.os.running.version)
}

#[test]
fn the_os_comes_last_and_touches_no_service() {
    let mut bench = settled();
    bench.offer(held(2, with_os("2026.11")));
    bench.run();
    bench.since("the device comes up again");
    bench.fire(Timer::Work);
    bench.run();
    bench.since("the soak is over");
    bench.fire(Timer::OsSoak);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, 1.2
      look (2 images)
      poll 1.2.2b16 for 60s
      persist start 1, 1.2
      report 1.4 Applying
          OsUpdated False Installing: kiosk-os 2026.11 installing
          Ready False Applying: install OS kiosk-os 2026.11
      install OS kiosk-os 2026.11
      look (2 images)
      persist start 1, 1.2
      report 1.5 Applying
          OsUpdated False Rebooting: kiosk-os 2026.11 rebooting
          Ready False Applying: reboot into OS 2026.11
      reboot into OS 2026.11
      wake Work later
      report 1.6 Applying
          OsUpdated False Rebooting: kiosk-os 2026.11 rebooting
          Ready False Applying: reboot into OS 2026.11
    the device comes up again
      look (2 images)
      wake OsTrial later
      wake OsSoak later
      wake Work later
      persist start 1, 1.2
      report 1.7 Applying
          OsUpdated False Soaking: kiosk-os 2026.11 trial: the OS is kept once everything has been well for 60s (Soaking)
          Ready False Soaking: the OS is kept once everything has been well for 60s
    the soak is over
      look (2 images)
      report 1.8 Applying
          OsUpdated False Trial: kiosk-os 2026.11 trial
          Ready False Applying: keep OS 2026.11
      keep OS 2026.11
      persist start 1, 1.2
      look (2 images)
      wake Work later
      persist start 1, 1.2, reached
      report 1.9 Settled
    ");
    assert_eq!(stands(&bench), "Settled, OS 2026.11 runs, no update");
}

#[test]
fn an_image_that_does_not_start_is_told_and_not_tried_again_before_a_higher_attempt() {
    let mut bench = settled();
    bench.os.duds.insert("2026.11".parse().expect("a version"));
    bench.offer(held(2, with_os("2026.11")));
    bench.run();
    bench.fire(Timer::Work);
    bench.run();
    let fell_back = "Failing, OS factory runs, kiosk-os 2026.11 failed while rebooting: the device rebooted and slot A came up \
                     again: the image did not start (FellBack)";
    assert_eq!(stands(&bench), fell_back);
    // Neither time, nor a restart, nor other content that asks for the same image makes it try again.
    bench.fire(Timer::Work);
    bench.run();
    let mut bench = restarted(&bench);
    bench.run();
    assert_eq!((stands(&bench).as_str(), bench.os.installs), (fell_back, 1));
    let mut other = with_os("2026.11");
    other.config.poll_interval_secs = Some(30);
    bench.offer(held(3, other.clone()));
    bench.run();
    assert_eq!((stands(&bench).as_str(), bench.os.installs), (fell_back, 1));
    // Somebody says so.
    bench.os.duds.clear();
    bench.offer(Held { attempt: Attempt::FIRST.next(), ..held(4, other) });
    bench.run();
    bench.fire(Timer::Work);
    bench.run();
    bench.fire(Timer::OsSoak);
    bench.run();
    assert_eq!((stands(&bench).as_str(), bench.os.installs), ("Settled, OS 2026.11 runs, no update", 2));
    assert!(bench.disk.os.is_empty(), "{:?}", bench.disk.os);
}

#[test]
fn a_device_whose_services_are_not_well_on_the_new_os_goes_back() {
    let mut bench = rebooted();
    bench.engine_answers = Err(Failure { reason: "EngineUnavailable", message: "no such file".to_owned() });
    bench.fire(Timer::Work);
    bench.run();
    assert_eq!(stands(&bench), "Failing, OS 2026.11 runs, kiosk-os 2026.11 trial: no such file (EngineUnavailable)");
    bench.fire(Timer::OsTrial);
    bench.run();
    bench.since("the device comes up again, and everything is well");
    bench.engine_answers = Ok(());
    bench.fire(Timer::Work);
    bench.run();
    assert_eq!(
        stands(&bench),
        "Failing, OS factory runs, kiosk-os 2026.11 failed on trial: the services were not well 15m after the reboot: \
         EngineUnavailable: no such file (HealthGate)"
    );
    assert_eq!((bench.os.installs, bench.os.boots), (1, 2));
}

/// A device without a battery learns what time it is on its first contact, which is often right after a boot.
#[test]
fn a_wall_clock_that_jumps_neither_ends_nor_stretches_the_trial_of_an_os() {
    for jumps in [[86_400_000, -2 * 86_400_000], [-86_400_000, 2 * 86_400_000]] {
        let mut well = rebooted();
        well.jump(jumps[0]);
        well.fire(Timer::Work);
        well.run();
        for jump in jumps {
            well.jump(jump);
            well.fire(Timer::Work);
            well.run();
            assert!(well.disk.os.underway.is_some(), "no jump is a soak");
        }
        assert!(well.fire(Timer::OsSoak), "and none makes it longer");
        well.run();
        assert_eq!(stands(&well), "Settled, OS 2026.11 runs, no update");

        let mut ill = rebooted();
        ill.engine_answers = Err(Failure { reason: "EngineUnavailable", message: "no such file".to_owned() });
        ill.fire(Timer::Work);
        ill.run();
        for jump in jumps {
            ill.jump(jump);
            ill.fire(Timer::Work);
            ill.run();
            assert_eq!(ill.os.running.version.as_str(), "2026.11", "no jump is an end of its time");
        }
        assert!(ill.fire(Timer::OsTrial));
        ill.run();
        assert_eq!(ill.os.boots, 2, "its time was up");
    }
}

#[test]
fn services_that_came_with_a_later_assignment_are_no_reason_to_leave_the_os() {
    let mut bench = rebooted();
    bench.fire(Timer::Work);
    bench.run();
    let mut broken = with_os("2026.11");
    broken.config.poll_interval_secs = Some(30);
    bench.offer(held(3, broken));
    bench.engine_answers = Err(Failure { reason: "EngineUnavailable", message: "no such file".to_owned() });
    bench.run();
    bench.fire(Timer::OsTrial);
    bench.run();
    assert_eq!(stands(&bench), "Failing, OS 2026.11 runs, kiosk-os 2026.11 trial: no such file (EngineUnavailable)");
    bench.engine_answers = Ok(());
    bench.fire(Timer::Work);
    bench.run();
    bench.fire(Timer::OsSoak);
    bench.run();
    assert_eq!(stands(&bench), "Settled, OS 2026.11 runs, no update");
}

#[test]
fn a_silent_controller_is_no_reason_to_leave_the_os() {
    let mut bench = rebooted();
    bench.fire(Timer::Work);
    for _ in 0..5 {
        let failure = Failure { reason: "Unreachable", message: "no route".to_owned() };
        bench.send(Event::LinkFailed { failure, retry_after_secs: None });
        bench.fire(Timer::Link);
    }
    bench.run();
    bench.fire(Timer::OsSoak);
    bench.run();
    assert_eq!(stands(&bench), "Settled, OS 2026.11 runs, no update");
}

#[test]
fn an_installation_is_counted_before_it_begins() {
    let mut bench = settled();
    bench.offer(held(2, with_os("2026.11")));
    while !bench.waiting.iter().any(|effect| matches!(effect, Effect::Act(Action::InstallOs { .. }))) {
        assert!(bench.perform_one(), "it comes to the installation");
    }
    let tries = bench.disk.os.underway.as_ref().map(|one| one.tries);
    assert_eq!((tries, bench.os.installs), (Some(1), 0));
    // The agent dies before the updater hears of it, again and again: each counts, and three are enough.
    for _ in 0..2 {
        bench = restarted(&bench);
        while bench.perform_one() {
            if bench.waiting.iter().any(|effect| matches!(effect, Effect::Act(Action::InstallOs { .. }))) {
                break;
            }
            bench.fire(Timer::Work);
        }
    }
    assert_eq!(bench.disk.os.underway.as_ref().map(|one| one.tries), Some(3));
    bench = restarted(&bench);
    bench.run();
    assert_eq!(
        stands(&bench),
        "Failing, OS factory runs, kiosk-os 2026.11 failed while installing, attempt 1, installation 3: the installation was \
         begun, and the updater knows nothing of it (InstallFailed)"
    );
    assert_eq!(bench.os.installs, 0);
}

#[test]
fn a_power_cut_in_the_trial_is_told_once_the_old_os_is_back() {
    let mut bench = rebooted();
    bench.fire(Timer::Work);
    bench.run();
    bench.os.reboot();
    let mut bench = restarted(&bench);
    bench.run();
    assert_eq!(
        stands(&bench),
        "Failing, OS factory runs, kiosk-os 2026.11 failed on trial: the device rebooted before the image had proved \
         itself, and slot A came up (FellBack)"
    );
}

#[test]
fn an_os_that_is_no_longer_wanted_is_not_rebooted_into() {
    let mut bench = settled();
    bench.offer(held(2, with_os("2026.11")));
    while !bench.waiting.iter().any(|effect| matches!(effect, Effect::Act(Action::Reboot { .. }))) {
        assert!(bench.perform_one(), "it comes to the reboot");
    }
    let mut bench = restarted(&bench);
    bench.offer(held(3, with_os("factory")));
    bench.run();
    assert_eq!(stands(&bench), "Settled, OS factory runs, no update");
    assert_eq!(bench.os.running.primary.as_deref(), Some("A"));
}

#[test]
fn an_os_is_installed_and_rebooted_into_when_the_window_is_open_and_kept_at_any_time() {
    let mut bench = settled();
    // These benches begin at midnight of the first of January 1970.
    let windows = r#"{"apply": [{"opens": "0 2 * * *", "minutes": 60, "zone": "UTC0"}]}"#;
    let maintenance = serde_json::from_str(windows).expect("windows");
    bench.offer(held(2, DeviceSpec { maintenance, ..with_os("2026.11") }));
    bench.run();
    let waits = "Applying, OS factory runs, kiosk-os 2026.11 installing: the apply window is closed until Thu 02:00 there, \
                 1970-01-01T02:00:00Z (WindowClosed)";
    assert_eq!((stands(&bench).as_str(), bench.os.installs), (waits, 0));
    bench.pass(2 * 3_600_000);
    bench.fire(Timer::Work);
    bench.run();
    assert_eq!((bench.os.installs, bench.os.boots), (1, 1));
    // What has been begun is ended: a trial that ends after the window has closed is none.
    bench.pass(2 * 3_600_000);
    bench.fire(Timer::Work);
    bench.run();
    bench.fire(Timer::OsSoak);
    bench.run();
    assert_eq!(stands(&bench), "Settled, OS 2026.11 runs, no update");
}
