//! What a crashed process leaves on a device reaches those who look for the reason, and nobody else.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use bellwether::domain::overview::device::DeviceDetail;
use std::os::unix::fs::PermissionsExt as _;

const DEVICE: &str = "crashes-loudly";
const STAGES: &str = "stages: [{name: main, soak_secs: 30}, canary, production]\n";
/// More than two parts of what is sent at a time.
const DUMP_BYTES: usize = 600_000;

fn files(image: &str, line: &str) -> Vec<(String, String)> {
    let compose =
        format!("services:\n  app:\n    image: {image}\n    restart: 'no'\n    command: [/bin/sh, -c, \"{line}\"]\n");
    [
        ("fleet.yml", "name: acme\n".to_owned()),
        ("inventory.yml", format!("all:\n  hosts:\n    {DEVICE}:\n")),
        ("group_vars/all.yml", "branch: main\npins: { web: 1.0.0 }\n".to_owned()),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n".to_owned()),
        ("releases/web/1.0.0/compose.yml", compose),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .to_vec()
}

#[test]
fn a_core_dump_comes_with_the_failure_and_is_brought_by_an_operator() {
    let Some(engine) = Engine::shared() else { return };
    let image = engine.registry().worker[0].by_digest();
    let good = files(&image, "trap 'exit 0' TERM; sleep 86400 & wait");
    let borrowed: Vec<(&str, &str)> = good.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut fleet = Fleet::configured("core-dumps", On::Engine(engine), STAGES, &borrowed);
    let folder = fleet.state_dir("coredump");
    std::fs::create_dir_all(&folder).expect("make the folder of dumps");
    std::fs::write(folder.join("core.before.1"), "of another life").expect("write an old dump");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let file = std::fs::File::options().write(true).open(folder.join("core.before.1")).expect("open the old dump");
    file.set_modified(old).expect("make it old");
    fleet.agent_flags = vec!["--core-dumps".to_owned(), folder.display().to_string()];
    fleet.enroll(&[DEVICE]);
    fleet.settled(&[DEVICE]);

    let to = fleet.state_dir("brought.core");
    let bring = ["device", "core-dump", DEVICE, "--to", &to.display().to_string()].map(str::to_owned);
    let bring = bring.each_ref().map(String::as_str);
    let (status, _, stderr) = outcome(&mut fleet.cli(&bring));
    assert_eq!(status, Some(1));
    assert!(stderr.contains("it has sent none") && stderr.contains("core_dumps"), "{stderr}");

    let bad = files(&image, "until test -e /go; do sleep 0.1; done; exit 139");
    let borrowed: Vec<(&str, &str)> = bad.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    fleet.push("main", "Break it", &borrowed);
    let ledger = fleet.state_dir(DEVICE).join("ledger");
    eventually("the device has accepted the broken release", || {
        std::fs::read_to_string(&ledger).ok()?.contains("exit 139").then_some(())
    });
    // As systemd leaves them: under another name while they are written.
    let content: Vec<u8> = (0..DUMP_BYTES).map(|byte| u8::try_from(byte % 251).expect("small")).collect();
    std::fs::write(folder.join(".core.app"), &content).expect("write a dump");
    std::fs::rename(folder.join(".core.app"), folder.join("core.app.0.4711")).expect("put it in its place");

    eventually("the service crashes", || {
        let id = fleet.containers(DEVICE).remove("web/app")?;
        engine.try_docker(&["exec", &id, "touch", "/go"]).ok()?;
        engine.docker(&["inspect", "--format", "{{join .Config.Cmd \" \"}}", &id]).contains("/go").then_some(())
    });

    let detail = eventually("the controller hears of the failure", || {
        let detail: DeviceDetail = fleet.try_get(&format!("/v1/devices/{DEVICE}")).ok()?;
        detail.failure.is_some().then_some(detail)
    });
    let dump = detail.failure.and_then(|failure| failure.core_dump).expect("the failure names a dump");
    assert_eq!((dump.name.as_str(), dump.bytes), ("core.app.0.4711", DUMP_BYTES as u64));
    let (_, shown, _) = outcome(&mut fleet.cli(&["device", DEVICE]));
    let line = "core dump core.app.0.4711 (600.0 kB): `bellwether device core-dump crashes-loudly --to FILE`";
    assert!(shown.contains(line), "{shown}");
    eventually("the dump has come", || (outcome(&mut fleet.cli(&bring)).0 == Some(0)).then_some(()));
    assert_eq!(std::fs::read(&to).expect("read what was brought"), content);
    let mode = std::fs::metadata(&to).expect("look at it").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it is for whoever asked");
    let (status, _, stderr) = outcome(&mut fleet.cli(&bring));
    assert!(status == Some(1) && stderr.contains("could not write"), "nothing is overwritten: {stderr}");

    // It outlives the controller, and the device does not send it again.
    fleet.kill_controller();
    fleet.start_controller();
    std::fs::remove_file(&to).expect("forget what was brought");
    assert_eq!(outcome(&mut fleet.cli(&bring)).0, Some(0));
    assert_eq!(std::fs::read(&to).expect("read what was brought"), content);
}
