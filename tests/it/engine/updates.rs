//! Update strategies, live changes, locks and probes against a real engine.

use super::{Device, app, name, spec, texts, wait_for, worker};
use crate::harness::engine::Engine as RealEngine;
use crate::harness::process::eventually;
use crate::harness::run::run;
use bellwether::agent::locks::LockFiles;
use bellwether::domain::device::action::Action;
use bellwether::domain::device::locks::{Locks, Respect};
use bellwether::domain::device::steps::{Situation, Turn, all_differences, app_turn};
use bellwether::domain::spec::{
    DeviceSpec, HealthCheck, HealthTest, Network, ProbeCheck, Restart, ServiceSpec, Strategy, Update,
};
use bellwether::domain::time::Timestamp;
use bellwether::ports::engine::{Engine, LogBound, perform};
use std::collections::BTreeSet;

/// A service that runs and says so.
fn with(real: &RealEngine, greeting: &str, strategy: Strategy) -> ServiceSpec {
    ServiceSpec {
        environment: [("GREETING".parse().expect("a variable name"), greeting.to_owned())].into(),
        update: Update { strategy, handover_timeout_secs: None },
        ..worker(real)
    }
}

/// One turn with these locks, and these services ripe; what was done, and what waits.
fn turn(device: &Device, spec: &DeviceSpec, locks: &Locks, ripe: bool) -> Vec<String> {
    let observed = device.look(spec);
    let ripe = if ripe { [(app(), name("app"))].into() } else { BTreeSet::new() };
    let situation = Situation { spec, observed: &observed, locks, respect: Respect::Locks, ripe: &ripe };
    let Turn { steps, waits } = app_turn(&situation);
    for step in &steps {
        wait_for(perform(&device.engine, step).expect("it concerns the engine"))
            .unwrap_or_else(|error| panic!("{step}: {error}"));
    }
    let waits = waits.into_iter().map(|wait| format!("{} waits for {}", wait.subject, wait.what));
    steps.iter().map(Action::to_string).chain(waits).collect()
}

#[test]
fn each_strategy_stops_and_fetches_in_its_own_order() {
    let Some(device) = Device::new("it-order") else { return };
    let [_, second] = &device.real.registry().worker;
    let image = second.by_digest();
    // No other test removes images; the tag has to be known under no name.
    let mut previous = spec([("app", worker(device.real))]);
    device.converge(&previous);
    for (strategy, middle) in [
        (Strategy::KillThenDownload, vec![]),
        (Strategy::DeleteThenDownload, vec![format!("remove image {}", device.real.registry().worker[0].by_digest())]),
    ] {
        let wanted = spec([("app", ServiceSpec { image: image.clone(), ..with(device.real, "x", strategy) })]);
        let mut observed = device.look(&wanted);
        // As on a device that does not have it.
        observed.images.clear();
        let steps: Vec<String> =
            app_turn(&Situation::of(&wanted, &observed)).steps.iter().map(Action::to_string).collect();
        let removal = "remove web/app (image and environment GREETING changed)".replace(" and", ",");
        let tail = [format!("pull {image}"), "create web/app".to_owned(), "start web/app".to_owned()];
        let expected: Vec<String> = [vec![removal], middle, tail.to_vec()].concat();
        assert_eq!(steps, expected);
        device.converge(&wanted);
        assert_eq!(device.apply(&wanted), [""; 0]);
        device.converge(&previous);
    }
    previous = DeviceSpec::default();
    device.converge(&previous);
}

#[test]
fn a_service_is_handed_over_without_a_moment_in_which_none_runs() {
    let Some(device) = Device::new("it-handover") else { return };
    let checked = |greeting: &str| {
        let test = Some(HealthTest::Shell("test -e /tmp/ready".to_owned()));
        let healthcheck = HealthCheck {
            test,
            interval_nanos: Some(300_000_000),
            start_period_nanos: Some(60_000_000_000),
            ..HealthCheck::default()
        };
        ServiceSpec { healthcheck: Some(healthcheck), ..with(device.real, greeting, Strategy::HandOver) }
    };
    device.apply(&spec([("app", checked("one"))]));
    let old = device.container("app");
    let wanted = spec([("app", checked("two"))]);
    let none = Locks::default();
    assert_eq!(turn(&device, &wanted, &none, false), ["create the next web/app", "start the next web/app"]);
    let waiting = ["web/app waits for the next container to take over"];
    assert_eq!(turn(&device, &wanted, &none, false), waiting);
    let both = device.container("app");
    assert_eq!(both.lines().count(), 2, "both run");
    let next = both.lines().find(|id| **id != old).expect("the next one").to_owned();
    device.real.docker(&["exec", &next, "/bin/busybox", "touch", "/tmp/ready"]);
    let handed = eventually("the next container is healthy", || {
        let done = turn(&device, &wanted, &none, false);
        (done != waiting).then_some(done)
    });
    assert_eq!(handed, ["hand over web/app (environment GREETING changed)"]);
    assert_eq!(device.container("app"), next);
    let observed = device.look(&wanted);
    assert_eq!(all_differences(&wanted, Some(&observed), None), []);
    // Its time is up, and then something else is wanted in the middle of the next one.
    let third = spec([("app", checked("three"))]);
    turn(&device, &third, &none, false);
    assert_eq!(turn(&device, &third, &none, true), ["hand over web/app (environment GREETING changed)"]);
    turn(&device, &wanted, &none, false);
    assert_eq!(device.container("app").lines().count(), 2);
    // Nobody has made the one that stays ready.
    let unready = "web/app waits for its health check";
    assert_eq!(turn(&device, &third, &none, false), ["remove the next web/app", unready]);
    assert_eq!(turn(&device, &third, &none, false), [unready]);
}

#[test]
fn a_hand_over_that_was_cut_off_before_the_new_name_is_carried_on() {
    let Some(device) = Device::new("it-cut") else { return };
    let spec_of = |greeting: &str| spec([("app", with(device.real, greeting, Strategy::HandOver))]);
    device.converge(&spec_of("one"));
    let old = device.container("app");
    let (two, none) = (spec_of("two"), Locks::default());
    turn(&device, &two, &none, false);
    // Killed between the removal of the old one and the new name.
    device.real.docker(&["rm", "--force", &old]);
    assert_eq!(device.apply(&two), [""; 0], "whatever its name, it is the service");
    let three = spec_of("three");
    turn(&device, &three, &none, false);
    turn(&device, &three, &none, true);
    let taken = device.real.docker(&["inspect", "--format", "{{.Name}}", &device.container("app")]);
    assert!(!taken.ends_with("-next"), "{taken}");
    assert_eq!(device.apply(&three), [""; 0]);
}

#[test]
fn what_the_engine_can_change_while_it_runs_makes_nothing_anew() {
    let Some(device) = Device::new("it-adjust") else { return };
    let limited = |megabytes: u64, restart| {
        let mut service = worker(device.real);
        service.options.mem_limit = Some(megabytes << 20);
        service.options.pids_limit = Some(100);
        spec([("app", ServiceSpec { restart, ..service })])
    };
    device.converge(&limited(64, Restart::Always));
    let container = device.container("app");
    let wanted = limited(96, Restart::OnFailure(3));
    assert_eq!(device.converge(&wanted), ["adjust web/app (restart, mem_limit changed)"]);
    assert_eq!(device.container("app"), container);
    assert_eq!(device.apply(&wanted), [""; 0]);
}

#[test]
fn a_service_takes_its_lock_by_a_file_and_is_not_stopped() {
    let Some(mut device) = Device::new("it-lock") else { return };
    let locks = LockFiles::at(&run().scratch("it-lock-files"));
    device.engine = super::engine_of(device.real, "it-lock").with_locks(locks.clone());
    let locked = |greeting: &str| {
        let service = with(device.real, greeting, Strategy::DownloadThenKill);
        spec([("app", ServiceSpec { lock_folder: Some("/run/bellwether".to_owned()), ..service })])
    };
    device.converge(&locked("one"));
    assert_eq!(device.apply(&locked("one")), [""; 0], "the folder is no difference");
    let container = device.container("app");
    let take = "set -C; > /run/bellwether/update.lock";
    device.real.docker(&["exec", &container, "/bin/sh", "-c", take]);
    assert!(device.real.try_docker(&["exec", &container, "/bin/sh", "-c", take]).is_err(), "of two takers one gets it");
    let wanted = locked("two");
    let waits = ["web/app waits for the lock of web/app, held by `app`"];
    assert_eq!(turn(&device, &wanted, &locks.look(), false), waits);
    assert_eq!(device.container("app"), container);
    device.real.docker(&["exec", &container, "/bin/busybox", "rm", "/run/bellwether/update.lock"]);
    assert_eq!(turn(&device, &wanted, &locks.look(), false)[0], "remove web/app (environment GREETING changed)");
}

#[test]
fn probes_of_every_kind_tell_what_is_well_and_what_is_wrong() {
    let Some(device) = Device::new("it-probes") else { return };
    let web = ServiceSpec::of_image(&device.real.registry().web[0].by_digest());
    device.converge(&spec([
        ("app", worker(device.real)),
        ("web", web),
        ("alone", ServiceSpec { network: Network::None, ..worker(device.real) }),
    ]));
    let now = || device.real.docker(&["exec", &device.container("app"), "/bin/busybox", "date", "+%s"]);
    let now = Timestamp::from_millis(now().parse::<i64>().expect("seconds") * 1000);
    let ask = |service: &str, check: ProbeCheck, now: Timestamp| {
        wait_for(device.engine.probe(&app(), &name(service), &check, now)).expect("the engine answers")
    };
    let exec = |line: &str| ProbeCheck::Exec(texts(&["/bin/sh", "-c", line]).expect("words"));
    assert_eq!(ask("app", exec("exit 0"), now), Ok(()));
    assert_eq!(ask("app", exec("echo wrong; exit 3"), now), Err("the program ended with status 3".to_owned()));
    let missing = ask("app", ProbeCheck::Exec(vec!["/no/such/program".to_owned()]), now).expect_err("it is not there");
    assert!(!missing.is_empty(), "{missing}");
    let file = |path: &str, max_age_secs| ProbeCheck::File { path: path.to_owned(), max_age_secs };
    device.real.docker(&["exec", &device.container("app"), "/bin/busybox", "touch", "/tmp/alive"]);
    assert_eq!(ask("app", file("/tmp/alive", None), now), Ok(()));
    assert_eq!(ask("app", file("/tmp/alive", Some(300)), now), Ok(()));
    let later = ask("app", file("/tmp/alive", Some(300)), now.plus_secs(3600));
    assert_eq!(later, Err("/tmp/alive was written more than 5m ago".to_owned()));
    assert_eq!(ask("app", file("/tmp/dead", None), now), Err("/tmp/dead is not there".to_owned()));
    let http = |port, path: &str| ProbeCheck::Http { port, path: path.to_owned() };
    let unreachable = ask("alone", http(80, "/"), now);
    assert_eq!(unreachable, Err("the container has no address that the agent could reach".to_owned()));
}

/// Asks over HTTP from within the engine's network namespace, where its containers can be reached: this program runs itself there.
#[test]
fn probes_over_http_tell_statuses_and_silence() {
    let Some(device) = Device::new("it-http") else { return };
    let web = ServiceSpec::of_image(&device.real.registry().web[0].by_digest());
    device.converge(&spec([("web", web)]));
    let own = std::env::current_exe().expect("this program has a path");
    let asked = eventually("the web server answers", || {
        let mut inside = device.real.inside(own.to_str().expect("a path of text"));
        inside.args(["--exact", "engine::updates::asks_from_inside", "--ignored", "--nocapture"]);
        inside.env("BELLWETHER_TEST_SOCKET", device.real.docker_socket());
        let text = String::from_utf8_lossy(&inside.output().expect("start").stdout).into_owned();
        let lines: Vec<String> = text.lines().filter(|line| line.starts_with("asked ")).map(str::to_owned).collect();
        (lines.first().is_some_and(|line| line.ends_with("Ok(())"))).then_some(lines)
    });
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[1].ends_with("Err(\"/nothing answers with status 404\")"), "{asked:?}");
    assert!(asked[2].contains("port 81 does not answer"), "{asked:?}");
}

#[test]
#[ignore = "run by another test, inside the engine's network namespace"]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the other test hands it a socket and reads what it prints"
)]
fn asks_from_inside() {
    let Some(socket) = std::env::var_os("BELLWETHER_TEST_SOCKET") else { return };
    let device = "it-http".parse().expect("a device name");
    let fleet = "acme".parse().expect("a fleet name");
    let engine =
        bellwether::agent::engine::docker::DockerEngine::connect(socket.as_ref(), &fleet, &device).expect("a socket");
    for (port, path) in [(8080, "/version"), (8080, "/nothing"), (81, "/")] {
        let check = ProbeCheck::Http { port, path: path.to_owned() };
        let answer =
            wait_for(engine.probe(&app(), &name("web"), &check, Timestamp::EPOCH)).expect("the engine answers");
        println!("asked {port} {path}: {answer:?}");
    }
}

#[test]
fn the_last_lines_of_a_container_are_read() {
    let Some(device) = Device::new("it-tail") else { return };
    let line = "for i in 1 2 3 4 5; do echo line $i; done; echo wrong >&2; exit 3";
    let service = ServiceSpec { command: texts(&["/bin/sh", "-c", line]), restart: Restart::No, ..worker(device.real) };
    device.apply(&spec([("app", service)]));
    // What it said on both of its outputs comes through two pipes, so only the whole is in a known state.
    let read = |lines| {
        let bound = LogBound { lines, bytes: 1000 };
        let text = wait_for(device.engine.logs(&app(), &name("app"), bound)).expect("the engine answers");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = eventually("it has written", || Some(read(100)).filter(|lines| lines.len() == 6));
    assert!(whole.iter().any(|line| line.ends_with(" wrong")), "{whole:?}");
    assert_eq!(read(3), whole[3..], "the last three of {whole:?}");
}
