//! Actions of operators: begun at most once whatever crashes, in order, apart from the work.

use super::bench::{Bench, app, held, service, web};
use super::*;
use crate::domain::actions::{DeviceAction, LockRule, Outcome};
use crate::domain::device::errand::Errand;

fn asked(number: u64, action: DeviceAction) -> RequestedAction {
    RequestedAction {
        number,
        action,
        locks: LockRule::Respected,
        actor: "anna".parse().expect("an actor"),
        reason: "it hangs".to_owned(),
        requested_at: Timestamp::EPOCH,
        expires: Timestamp::EPOCH.plus_secs(3600),
    }
}

fn restart(number: u64) -> RequestedAction {
    asked(number, DeviceAction::RestartService { app: app("web"), service: service("app") })
}

/// A device that has reached its assignment and rests.
fn settled() -> Bench {
    let mut bench = Bench::new();
    bench.offer(held(1, web("hello")));
    bench.run();
    bench
}

fn list(bench: &mut Bench, actions: &[RequestedAction]) {
    bench.waiting.retain(|effect| !matches!(effect, Effect::Poll { .. }));
    bench.send(Event::ActionsListed(actions.to_vec()));
    bench.run();
}

/// Takes the errands that wait to be done; none, if none do.
fn errands(bench: &mut Bench) -> Vec<Errand> {
    let place = bench.waiting.iter().position(|effect| matches!(effect, Effect::Errands(_)));
    match place.map(|place| bench.waiting.remove(place)) {
        Some(Effect::Errands(all)) => all,
        _ => Vec::new(),
    }
}

fn end(bench: &mut Bench, ended: Result<Option<String>, Failure>) {
    bench.send(Event::ErrandsEnded(ended));
    bench.run();
}

/// What a report would say of actions.
fn told(bench: &Bench) -> String {
    let report = bench.machine.actions_report();
    let results = report.results.iter().map(|one| format!("{} {:?} {}", one.number, one.outcome, one.reason));
    let waiting = report.waiting.iter().map(|(number, why)| format!("{number} waits: {why}"));
    results.chain(waiting).collect::<Vec<_>>().join("; ")
}

/// The agent dies and starts again on the same device.
fn killed(bench: Bench) -> Bench {
    let mut next = Bench::on(bench.engine, bench.os, bench.disk);
    next.run();
    next
}

#[test]
fn an_action_is_done_once_told_and_forgotten_when_the_controller_has_heard() {
    let mut bench = settled();
    list(&mut bench, &[restart(1)]);
    assert_eq!(errands(&mut bench), [Errand::Restart { app: app("web"), service: service("app") }]);
    assert_eq!(told(&bench), "");
    end(&mut bench, Ok(None));
    assert_eq!(told(&bench), "1 Done Done");
    list(&mut bench, &[restart(1)]);
    assert_eq!(errands(&mut bench), [], "it was done");
    list(&mut bench, &[]);
    assert_eq!(told(&bench), "");
    assert_eq!((bench.disk.actions.last, bench.disk.actions.begun.clone()), (1, None));
    list(&mut bench, &[restart(1)]);
    assert_eq!(errands(&mut bench), [], "an old list that is played back does nothing");
}

#[test]
fn whatever_crashes_no_action_is_begun_twice() {
    // Before the ledger holds it: nothing was begun, so it is begun after.
    let mut bench = settled();
    bench.disk_works = Err(Failure { reason: "LedgerNotWritten", message: "no space".to_owned() });
    list(&mut bench, &[restart(1)]);
    assert_eq!(errands(&mut bench), [], "nothing is begun that the ledger does not hold");
    let mut bench = killed(bench);
    list(&mut bench, &[restart(1)]);
    assert_eq!(errands(&mut bench).len(), 1);
    // Once the ledger holds it, whether or not it was done: nobody knows, so it is not begun again.
    let mut bench = killed(bench);
    assert_eq!(told(&bench), "1 Interrupted Interrupted");
    list(&mut bench, &[restart(1), restart(2)]);
    assert_eq!(told(&bench), "1 Interrupted Interrupted");
    assert_eq!(errands(&mut bench).len(), 1, "the next one is");
    end(&mut bench, Ok(None));
    // A result that was lost is not made up.
    let mut bench = killed(bench);
    list(&mut bench, &[restart(1), restart(2)]);
    assert_eq!(told(&bench), "1 Interrupted Interrupted; 2 Interrupted Interrupted");
    assert_eq!(errands(&mut bench), []);
}

#[test]
fn what_cannot_be_begun_says_why() {
    let mut bench = settled();
    let expired = RequestedAction { expires: Timestamp::EPOCH, ..restart(1) };
    let stranger = asked(3, DeviceAction::RestartService { app: app("web"), service: service("none") });
    list(&mut bench, &[expired, asked(2, DeviceAction::Unknown), stranger]);
    assert_eq!(errands(&mut bench), []);
    assert_eq!(told(&bench), "1 Refused Expired; 2 Refused NotSupported; 3 Failed UnknownService");
    let mut bench = settled();
    bench.engine_answers = Err(Failure { reason: "EngineUnavailable", message: "no such socket".to_owned() });
    assert!(bench.fire(Timer::Work));
    bench.run();
    list(&mut bench, &[restart(1)]);
    assert_eq!(told(&bench), "1 waits: EngineUnavailable: no such socket");
    list(&mut bench, &[]);
    bench.engine_answers = Ok(());
    assert!(bench.fire(Timer::Work));
    bench.run();
    assert_eq!((told(&bench).as_str(), errands(&mut bench).len()), ("", 0), "it was taken back");
}

#[test]
fn a_lock_is_waited_for_unless_an_operator_says_otherwise() {
    use crate::domain::device::locks::{Lock, Place};
    let mut bench = settled();
    let place = Place::Service { app: app("web"), service: service("app") };
    bench.locks.held = vec![Lock::of_file(place, None, Ok(b""))];
    assert!(bench.fire(Timer::Work));
    bench.run();
    let logs = asked(2, DeviceAction::CollectLogs { app: app("web"), service: service("app"), lines: 5 });
    list(&mut bench, &[restart(1), logs, asked(3, DeviceAction::Reboot)]);
    assert!(matches!(errands(&mut bench)[..], [Errand::Logs { .. }]), "a log is read whoever holds a lock");
    end(&mut bench, Ok(Some("a line".to_owned())));
    let told_now = told(&bench);
    assert!(told_now.starts_with("2 Done Done; 1 waits: ") && told_now.contains("3 waits: "), "{told_now}");
    assert_eq!(bench.disk.actions.open, BTreeSet::from([1, 3]), "they are still to be done");
    let forced = RequestedAction { locks: LockRule::Overridden, ..restart(4) };
    list(&mut bench, &[restart(1), forced]);
    assert_eq!(errands(&mut bench).len(), 1);
    end(&mut bench, Ok(None));
    bench.locks.held.clear();
    assert!(bench.fire(Timer::Work));
    bench.run();
    assert_eq!(errands(&mut bench).len(), 1, "the lock was given back");
}

#[test]
fn nothing_is_looked_at_or_mended_while_an_action_changes_the_device() {
    let mut bench = settled();
    list(&mut bench, &[asked(1, DeviceAction::RestartAll)]);
    assert_eq!(errands(&mut bench).len(), 2);
    bench.fire(Timer::Work);
    assert!(!bench.waiting.iter().any(|effect| matches!(effect, Effect::Look { .. } | Effect::Act(_))));
    end(&mut bench, Err(Failure { reason: "EngineRefused", message: "it will not stop".to_owned() }));
    assert_eq!(told(&bench), "1 Failed EngineRefused");
    assert_eq!(bench.machine.phase(), Phase::Settled, "and the device is looked at again");
}

#[test]
fn a_reboot_is_done_when_the_machine_has_another_boot() {
    let start = |ledger: Ledger, boot: &str| {
        let about = About {
            device: "kiosk-1".parse().expect("a device"),
            branch: None,
            attributes: BTreeMap::from([("boot_id".to_owned(), boot.to_owned())]),
        };
        Machine::start(about, Pace::default(), ledger, "0".repeat(32), Moment::at(Timestamp::EPOCH)).0
    };
    let begun = |from: &str| {
        let begun = Some(crate::domain::device::ledger::Begun { number: 1, reboot_from: Some(from.to_owned()) });
        let actions = crate::domain::device::ledger::ActionLedger { last: 1, open: BTreeSet::new(), begun };
        Ledger { starts: 1, actions, ..Ledger::default() }
    };
    let outcome = |machine: &Machine| machine.actions_report().results[0].outcome;
    assert_eq!(outcome(&start(begun("a"), "b")), Outcome::Done);
    assert_eq!(outcome(&start(begun("a"), "a")), Outcome::Interrupted);
}

#[test]
fn a_volume_is_purged_after_what_uses_it_is_gone() {
    let mut spec = web("hello");
    let apps = spec.apps.get_mut(&app("web")).expect("it is there");
    let volume: crate::domain::ids::VolumeName = "cache".parse().expect("a volume");
    apps.volumes.insert(volume.clone());
    let mount = serde_json::from_str(r#"{"volume": "cache"}"#).expect("a mount");
    apps.services.get_mut(&service("db")).expect("it is there").mounts.insert("/cache".to_owned(), mount);
    let mut bench = Bench::new();
    bench.offer(held(1, spec));
    bench.run();
    list(&mut bench, &[asked(1, DeviceAction::PurgeVolume { app: app("web"), volume: volume.clone() })]);
    let wanted =
        [Errand::Remove { app: app("web"), service: service("db") }, Errand::Purge { app: app("web"), volume }];
    assert_eq!(errands(&mut bench), wanted);
}
