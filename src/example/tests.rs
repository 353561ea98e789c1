//! The example is documentation and must stay right.

use super::{FILES, snapshot};
use crate::domain::desired::{Branch, Desired, Resolver};
use crate::domain::finding::render_findings;
use crate::domain::snapshot::Snapshot;
use std::fmt::Write as _;

#[test]
fn the_embedded_list_is_complete() {
    fn walk(folder: &std::path::Path, root: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the example can be listed") {
            let path = entry.expect("the example can be listed").path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).expect("inside the root").display().to_string());
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("example-fleet-repo");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    let listed: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
    assert_eq!(listed, found, "src/example.rs must list every file of example-fleet-repo/");
}

#[test]
fn the_example_has_no_findings() {
    let desired = Resolver::default().resolve(&snapshot());
    assert_eq!(render_findings(&desired.findings), "no findings\n");
}

/// Per device: branch, apps with their releases, OS, and the environment of each service.
fn show(desired: &Desired) -> String {
    let mut text = String::new();
    for (device, desired) in &desired.devices {
        let branch = match &desired.branch {
            Branch::Stage(stage) => stage.to_string(),
            other => format!("{other:?}"),
        };
        let groups: Vec<&str> = desired.groups.iter().map(String::as_str).collect();
        let _ = writeln!(text, "{device} follows {branch}, in {}", groups.join(" "));
        let Some(spec) = desired.spec.as_ref().map(|sealed| &sealed.spec) else { continue };
        let kind = spec.device_type.as_ref().map_or("no type", |kind| kind.as_str());
        let os = spec.os.as_ref().map_or("OS left alone".to_owned(), |os| format!("{} {}", os.name, os.version));
        let _ = writeln!(text, "  {kind}, {os}");
        for (app, app_spec) in &spec.apps {
            let _ = writeln!(text, "  {app} {}", app_spec.release);
            for (name, service) in &app_spec.services {
                let secret = service.secret_environment.iter().map(|(name, value)| format!("{name}={value}"));
                let plain = service.environment.iter().map(|(name, value)| format!("{name}={value}"));
                let variables: Vec<String> = plain.chain(secret).collect();
                let _ = writeln!(text, "    {name}: {}", variables.join(" "));
            }
        }
    }
    text
}

#[test]
fn the_example_means_what_it_says() {
    insta::assert_snapshot!(show(&Resolver::default().resolve(&snapshot())), @"
    board-workshop follows main, in boards imx8m_nano workshop
      variscite-mx8m-nano, lindenhof-os 2026.11.0-rc1
      telemetry 1.0.0
        collector: INTAKE_URL=https://intake.lindenhof.example INTERVAL_SECS=60 LOG_LEVEL=debug TZ=Europe/Zurich
    gateway-harbour follows production, in boards gateways iot_gate
      compulab-iot-gate, lindenhof-os 2026.10.1
      telemetry 1.0.0
        collector: INTAKE_URL=https://intake.lindenhof.example INTERVAL_SECS=30 LABEL=gateway-harbour in Zurich LOG_LEVEL=info TZ=Europe/Zurich
    kiosk-campus follows canary, in boards kiosks pi4
      raspberrypi4, lindenhof-os 2026.10.2
      signage 1.5.0
        player: CONTENT_DIR=/content INTAKE_URL=https://intake.lindenhof.example LOG_LEVEL=info SCREEN=menu-campus TZ=Europe/Zurich
        sync: INTAKE_URL=https://intake.lindenhof.example LOG_LEVEL=info SOURCE=https://menus.lindenhof.example TZ=Europe/Zurich
      telemetry 1.0.0
        collector: INTAKE_URL=https://intake.lindenhof.example INTERVAL_SECS=60 LOG_LEVEL=info TZ=Europe/Zurich
    kiosk-harbour follows production, in boards kiosks pi4
      raspberrypi4, lindenhof-os 2026.10.2
      signage 1.5.0
        player: CONTENT_DIR=/content INTAKE_URL=https://intake.lindenhof.example LOG_LEVEL=info SCREEN=menu TZ=Europe/Zurich
        sync: INTAKE_URL=https://intake.lindenhof.example LOG_LEVEL=info SOURCE=https://menus.lindenhof.example TZ=Europe/Zurich
      telemetry 1.0.0
        collector: INTAKE_URL=https://intake.lindenhof.example INTERVAL_SECS=60 LOG_LEVEL=info TZ=Europe/Zurich
    kiosk-station follows production, in boards canaries kiosks pi5
      raspberrypi5, lindenhof-os 2026.10.2
      signage 1.5.0
        player: CONTENT_DIR=/content INTAKE_URL=https://intake.lindenhof.example LOG_LEVEL=info SCREEN=menu-to-go TZ=Europe/Zurich
        sync: INTAKE_URL=https://intake.lindenhof.example LOG_LEVEL=info SOURCE=https://menus.lindenhof.example TZ=Europe/Zurich
      telemetry 1.0.0
        collector: INTAKE_URL=https://intake.lindenhof.example INTERVAL_SECS=60 LOG_LEVEL=info TZ=Europe/Zurich
    runner-workshop follows main, in boards pi5 workshop
      raspberrypi5, lindenhof-os 2026.10.2
      telemetry 1.0.0
        collector: INTAKE_URL=https://intake.lindenhof.example INTERVAL_SECS=300 LOG_LEVEL=debug TZ=Europe/Zurich
    scale-roastery follows production, in beaglebone boards sensors
      beaglebone-black, OS left alone
      telemetry 0.9.3
        collector: INTAKE_URL=https://intake.lindenhof.example INTERVAL_SECS=60 LOG_LEVEL=info TZ=Europe/Zurich
    ");
}

#[test]
fn resolving_twice_gives_the_same() {
    let mut warm = Resolver::default();
    let first = warm.resolve(&snapshot());
    assert_eq!(first, warm.resolve(&snapshot()));
    assert_eq!(first, Resolver::default().resolve(&snapshot()));
}

#[test]
fn every_value_of_the_example_can_be_explained() {
    let device = "kiosk-campus".parse().expect("a device name");
    let explanation = Resolver::default().explain(&snapshot(), &device).expect("the device is there");
    let mut text = String::new();
    for value in explanation.values {
        let _ = writeln!(text, "{} = {}  [{}]", value.key, value.value, value.place);
        for overridden in value.overridden {
            let _ = writeln!(text, "    over {}  [{}]", overridden.value, overridden.place);
        }
    }
    insta::assert_snapshot!(text, @r#"
    branch = canary  [host_vars/kiosk-campus.yml:2:9]
        over production  [fleet.yml:10:11]
    config.persistent_logging = true  [group_vars/kiosks.yml:6:3]
    device_type = raspberrypi4  [inventory.yml:38:32]
    maintenance.zone = Europe/Zurich  [fleet.yml:13:18]
    os = lindenhof-os  [group_vars/all.yml:5:5]
    os.digest = sha256:7e97a7b27ed83c5959fca1acd89ab2ff540ca643e7654e53d14bd8a85929320b  [os/lindenhof-os.yml:9:3]
    os.url = https://images.lindenhof.example/2026.10.2/pi4.raucb  [os/lindenhof-os.yml:8:3]
    os.version = 2026.10.2  [os/lindenhof-os.yml:7:3]
    pins.signage = ^1.4  [group_vars/kiosks.yml:3:3]
    pins.telemetry = latest  [group_vars/all.yml:3:3]
    signage.release = 1.5.0  [releases/signage/1.5.0/release.yml:2:10]
    signage.volumes.content = {}  [releases/signage/1.5.0/compose.yml:18:3]
    signage/player.depends_on = ["sync"]  [releases/signage/1.5.0/compose.yml:9:5]
    signage/player.environment.CONTENT_DIR = /content  [releases/signage/1.5.0/compose.yml:6:7]
    signage/player.environment.INTAKE_URL = https://intake.lindenhof.example  [group_vars/all.yml:8:3]
    signage/player.environment.LOG_LEVEL = info  [group_vars/all.yml:9:3]
    signage/player.environment.SCREEN = menu-campus  [host_vars/kiosk-campus.yml:10:7]
        over menu  [group_vars/kiosks.yml:12:7]
    signage/player.environment.TZ = Europe/Zurich  [fleet.yml:12:5]
    signage/player.image = registry.example.com/signage-player@sha256:1f0c6a9be31f208bb72943089c65433421f55667a53579e33ef83ce8e4655ad1  [releases/signage/1.5.0/compose.yml:4:5]
    signage/player.volumes = ["content:/content:ro"]  [releases/signage/1.5.0/compose.yml:7:5]
    signage/sync.environment.INTAKE_URL = https://intake.lindenhof.example  [group_vars/all.yml:8:3]
    signage/sync.environment.LOG_LEVEL = info  [group_vars/all.yml:9:3]
    signage/sync.environment.SOURCE = https://menus.lindenhof.example  [releases/signage/1.5.0/compose.yml:13:7]
    signage/sync.environment.TZ = Europe/Zurich  [fleet.yml:12:5]
    signage/sync.image = registry.example.com/signage-sync@sha256:3bdd3ad85f76d7bd54d1b379f206bff7f022a8f23c0e7b81c256805f495d559a  [releases/signage/1.5.0/compose.yml:11:5]
    signage/sync.volumes = ["content:/content"]  [releases/signage/1.5.0/compose.yml:14:5]
    tags.site = campus  [host_vars/kiosk-campus.yml:5:3]
    telemetry.release = 1.0.0  [releases/telemetry/1.0.0/release.yml:2:10]
    telemetry.volumes.buffer = {}  [releases/telemetry/1.0.0/compose.yml:11:3]
    telemetry/collector.environment.INTAKE_URL = https://intake.lindenhof.example  [group_vars/all.yml:8:3]
    telemetry/collector.environment.INTERVAL_SECS = 60  [releases/telemetry/1.0.0/compose.yml:6:7]
    telemetry/collector.environment.LOG_LEVEL = info  [group_vars/all.yml:9:3]
    telemetry/collector.environment.TZ = Europe/Zurich  [fleet.yml:12:5]
    telemetry/collector.image = registry.example.com/telemetry-collector@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06  [releases/telemetry/1.0.0/compose.yml:4:5]
    telemetry/collector.volumes = ["buffer:/var/lib/collector"]  [releases/telemetry/1.0.0/compose.yml:7:5]
    "#);
}

/// The example with the lines that are left out, which begin with `#:`.
fn with_lines_left_out() -> Snapshot {
    let whole: Vec<(&str, String)> = FILES.iter().map(|(path, text)| (*path, text.replace("\n#:", "\n"))).collect();
    Snapshot::of_files(whole.iter().map(|(path, text)| (*path, text.as_bytes())))
}

#[test]
fn what_the_example_leaves_out_is_right_too() {
    let desired = Resolver::default().resolve(&with_lines_left_out());
    assert_eq!(render_findings(&desired.findings), "no findings\n");
    let mut text = String::new();
    for line in show(&desired).lines().filter(|line| line.contains("INTAKE_TOKEN=")) {
        let _ = writeln!(text, "{}", line.trim());
    }
    for (device, desired) in &desired.devices {
        let Some(spec) = desired.spec.as_ref().map(|sealed| &sealed.spec) else { continue };
        if !spec.maintenance.apply.is_empty() {
            let maintenance = &spec.maintenance;
            let _ = writeln!(text, "{device} fetches {}, changes {}", maintenance.download, maintenance.apply);
        }
    }
    insta::assert_snapshot!(text, @"
    collector: INTAKE_URL=https://intake.lindenhof.example INTERVAL_SECS=30 LABEL=gateway-harbour in Zurich LOG_LEVEL=info TZ=Europe/Zurich INTAKE_TOKEN=secret:INTAKE_TOKEN
    kiosk-campus fetches 0 20 * * * for 10h (STD-1DST,M3.5.0,M10.5.0/3), changes 0 1 * * 0 for 4h (STD-1DST,M3.5.0,M10.5.0/3); 0 2 * * 1-6 for 2h (STD-1DST,M3.5.0,M10.5.0/3)
    kiosk-harbour fetches 0 20 * * * for 10h (STD-1DST,M3.5.0,M10.5.0/3), changes 0 1 * * 0 for 4h (STD-1DST,M3.5.0,M10.5.0/3); 0 2 * * 1-6 for 2h (STD-1DST,M3.5.0,M10.5.0/3)
    kiosk-station fetches 0 20 * * * for 10h (STD-1DST,M3.5.0,M10.5.0/3), changes 0 1 * * 0 for 4h (STD-1DST,M3.5.0,M10.5.0/3); 0 2 * * 1-6 for 2h (STD-1DST,M3.5.0,M10.5.0/3)
    ");
}
