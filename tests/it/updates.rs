//! Updates on devices of a whole fleet: what is not well goes back by itself, and a lock is waited for until an operator goes over it.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::{BELLWETHER_AGENT, eventually, program};
use bellwether::domain::overview::device::DeviceDetail;
use bellwether::domain::reported::Phase;

/// Longer than the engine takes to start something five times that ends at once.
const STAGES: &str = "stages: [{name: main, soak_secs: 15}, canary, production]\n";
const GOOD: &str = "trap 'exit 0' TERM; sleep 86400 & wait";
const CRASHING: &str = "echo the token is $TOKEN; echo there is no such display; exit 3";

/// The files of a fleet with one device, whose service runs a line.
fn files(image: &str, device: &str, line: &str, own: &str) -> Vec<(String, String)> {
    let compose = format!("services:\n  app:\n    image: {image}\n    command: [/bin/sh, -c, \"{line}\"]\n    {own}\n");
    [
        ("fleet.yml", "name: acme\n".to_owned()),
        ("inventory.yml", format!("all:\n  hosts:\n    {device}:\n")),
        (
            "group_vars/all.yml",
            "branch: main\npins: { web: 1.0.0 }\nvariables: { TOKEN: \"{{ secret('TOKEN') }}\" }\n".to_owned(),
        ),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n".to_owned()),
        ("releases/web/1.0.0/compose.yml", compose),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .to_vec()
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}

#[test]
fn a_crash_loop_within_the_soak_leads_back_on_the_device_without_the_controller() {
    let Some(engine) = Engine::shared() else { return };
    let device = "goes-back";
    let image = engine.registry().worker[0].by_digest();
    let good = files(&image, device, GOOD, "");
    let settings = format!("{STAGES}secrets: {{env: TOKEN}}\n");
    let mut fleet = Fleet::configured("goes-back", On::Engine(engine), &settings, &borrowed(&good));
    fleet.stop_controller();
    fleet.controller_environment.insert("TOKEN".to_owned(), "canary-token-91bc".to_owned());
    fleet.start_controller();
    fleet.enroll(&[device]);
    fleet.settled(&[device]);
    // Containers come and go meanwhile, so one that is listed may be gone when it is looked at.
    let shown = |id: &str| {
        let what = "{{.State.Status}} {{.Config.Image}}{{range .Config.Env}} {{.}}{{end}} {{json .Config.Cmd}}";
        engine.try_docker(&["inspect", "--format", what, id]).ok()
    };
    let first = fleet.containers(device)["web/app"].clone();
    let before = shown(&first).expect("it is there");

    let bad = files(&image, device, &CRASHING.replace('$', "$$"), "");
    fleet.push("main", "Break it", &borrowed(&bad));
    let state = fleet.state_dir(device);
    eventually("the device has accepted the broken release", || {
        let text = std::fs::read_to_string(state.join("ledger")).ok()?;
        text.contains("no such display").then_some(())
    });
    fleet.kill_controller();
    eventually("the device runs what was good, anew", || {
        let containers = fleet.containers(device);
        let id = containers.get("web/app").filter(|id| containers.len() == 1 && **id != first)?;
        (shown(id)? == before).then_some(())
    });

    fleet.start_controller();
    let detail = eventually("the controller hears of it", || {
        // Whoever has waited for long does not wait for its back-off.
        let mut check = program(BELLWETHER_AGENT);
        outcome(check.arg("check").arg("--state-dir").arg(fleet.state_dir(device)));
        let detail: DeviceDetail = fleet.try_get(&format!("/v1/devices/{device}")).ok()?;
        detail.failure.is_some().then_some(detail)
    });
    let failure = detail.failure.clone().expect("it failed for good");
    assert_eq!((failure.component.as_str(), failure.reason.as_str()), ("web/app", "CrashLoop"));
    assert!(failure.log.iter().any(|line| line.ends_with(" there is no such display")), "{failure:?}");
    assert!(failure.log.iter().all(|line| !line.contains("canary-token")), "{failure:?}");
    assert_eq!(detail.row.phase, Some(Phase::Failing));
    let (_, shown, _) = outcome(&mut fleet.cli(&["why", device]));
    assert!(shown.contains("went back to") && shown.contains("bellwether retry"), "{shown}");
    let generation = fleet.assigned(device);
    fleet.refresh();
    assert_eq!(fleet.assigned(device), generation, "the controller does not fight it");
    let (status, _, stderr) = outcome(&mut fleet.cli(&["retry", device, "--reason", "look again"]));
    assert_eq!(status, Some(0), "{stderr}");
    eventually("the second attempt fails as well", || {
        let failure = fleet.try_get::<DeviceDetail>(&format!("/v1/devices/{device}")).ok()?.failure?;
        (failure.attempt.to_string() == "2").then_some(())
    });
    let good_again = files(&image, device, &GOOD.replace("86400", "86401"), "");
    fleet.push("main", "Repair it", &borrowed(&good_again));
    fleet.settled_on("main", &[device]);
}

#[test]
fn a_lock_is_waited_for_and_an_operator_goes_over_it() {
    let Some(engine) = Engine::shared() else { return };
    let device = "locked-one";
    let image = engine.registry().worker[0].by_digest();
    let own = "x-bellwether: {locks: /run/bellwether}";
    let mut fleet = Fleet::configured(
        "locked",
        On::Engine(engine),
        "stages: [main, canary, production]\nsecrets: {env: TOKEN}\n",
        &borrowed(&files(&image, device, GOOD, own)),
    );
    fleet.stop_controller();
    fleet.controller_environment.insert("TOKEN".to_owned(), "canary-token-28de".to_owned());
    fleet.start_controller();
    fleet.enroll(&[device]);
    fleet.settled(&[device]);
    let container = fleet.containers(device)["web/app"].clone();
    let lock = r#"echo '{"owner": "route guidance", "reason": "on the road"}' > /run/bellwether/update.lock"#;
    engine.docker(&["exec", &container, "/bin/sh", "-c", lock]);
    let other = files(&image, device, &GOOD.replace("86400", "86402"), own);
    fleet.push("main", "Change it", &borrowed(&other));
    let why = eventually("the device waits for the lock", || {
        let (_, shown, _) = outcome(&mut fleet.cli(&["why", device]));
        shown.contains("[locked]").then_some(shown)
    });
    assert!(why.contains("route guidance") && why.contains("on the road"), "{why}");
    assert_eq!(fleet.containers(device)["web/app"], container);
    let (_, shown, _) = outcome(&mut fleet.cli(&["device", device]));
    assert!(shown.contains("update locks") && shown.contains("service, reboot"), "{shown}");
    let (status, _, stderr) = outcome(&mut fleet.cli(&["retry", device, "--force", "--reason", "the road is closed"]));
    assert_eq!(status, Some(0), "{stderr}");
    fleet.settled(&[device]);
    assert_ne!(fleet.containers(device)["web/app"], container);
    let (_, events, _) = outcome(&mut fleet.cli(&["events", device]));
    assert!(events.contains("over its update locks: the road is closed"), "{events}");
}
