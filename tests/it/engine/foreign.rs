//! What does not carry the device's labels survives everything, and a volume's data goes only when somebody asked for it.

use super::{Device, app, name, spec, volume, wait_for, worker};
use bellwether::domain::spec::{Access, DeviceSpec, Mount, Seeding, ServiceSpec};
use bellwether::ports::engine::{Engine as _, EngineError};
use std::collections::BTreeMap;

/// A service that has a volume at `/data`.
fn keeper(device: &Device, of: &str) -> ServiceSpec {
    let mount = Mount { volume: volume(of), access: Access::ReadWrite, seeding: Seeding::FromImage };
    ServiceSpec { mounts: BTreeMap::from([("/data".to_owned(), mount)]), ..worker(device.real) }
}

fn write(device: &Device, service: &str, text: &str) {
    let line = format!("echo {text} > /data/file");
    device.real.docker(&["exec", &device.container(service), "/bin/sh", "-c", &line]);
}

fn read(device: &Device, service: &str) -> Result<String, String> {
    device.real.try_docker(&["exec", &device.container(service), "/bin/cat", "/data/file"])
}

#[test]
fn a_volume_goes_with_its_data_only_when_it_is_purged() {
    let Some(device) = Device::new("it-purge") else { return };
    purge(&device);
}

pub(super) fn purge(device: &Device) {
    let spec =
        spec([("app", keeper(device, "data")), ("reader", keeper(device, "data")), ("other", keeper(device, "notes"))]);
    device.converge(&spec);
    write(device, "app", "kept");
    write(device, "other", "noted");
    assert_eq!(read(device, "reader").expect("it is there"), "kept", "services share a volume by its name");
    let untouched = device.container("other");
    wait_for(device.engine.purge_volume(&app(), &volume("data"))).expect("purged");
    assert!(!device.look(&spec).apps[&app()].services.contains_key(&name("app")));
    let again =
        ["create volume data of web", "create web/app", "start web/app", "create web/reader", "start web/reader"];
    assert_eq!(device.converge(&spec), again);
    read(device, "app").expect_err("its data is gone");
    assert_eq!(read(device, "other").expect("it is there"), "noted");
    assert_eq!(device.container("other"), untouched, "what does not use the volume runs on");
    wait_for(device.engine.purge_volume(&app(), &volume("absent"))).expect("none there is success");
}

#[test]
fn foreign_things_survive_everything() {
    let Some(device) = Device::new("it-foreign") else { return };
    spare_what_is_foreign(&device);
}

pub(super) fn spare_what_is_foreign(device: &Device) {
    let real = device.real;
    let image = real.registry().worker[0].by_digest();
    let spec = spec([("app", keeper(device, "data"))]);
    device.converge(&spec);
    let volume_name =
        real.docker(&["volume", "ls", "--quiet", "--filter", &format!("label=bellwether.device={}", device.name)]);
    // Labels that look like ours, of another device; and none at all.
    let labels = ["bellwether.owner=acme", "bellwether.device=it-foreign-2", "bellwether.app=web"];
    let labels = labels.iter().flat_map(|label| ["--label", *label]).collect::<Vec<_>>();
    let make = |words: &[&str], name: &[&str]| real.docker(&[words, &labels, name].concat());
    make(&["volume", "create"], &["it-foreign-volume"]);
    make(&["network", "create"], &["it-foreign-network"]);
    let run = ["run", "--detach", "--name", "it-foreign-container", "--network", "it-foreign-network"];
    make(&[&run[..], &["--volume", "it-foreign-volume:/data"]].concat(), &[&image]);
    real.docker(&["tag", &image, "it-foreign-image:1"]);

    let ours = app();
    wait_for(device.engine.purge_volume(&ours, &volume("it-foreign-volume"))).expect("there is none of that name");
    device.converge(&DeviceSpec::default());
    device.converge(&spec);
    // A stranger uses our volume: then nothing is stopped, and nobody is told that it is gone.
    let guest = ["run", "--detach", "--name", "it-foreign-guest", "--volume", &format!("{volume_name}:/data"), &image];
    real.docker(&guest);
    let running = device.container("app");
    let answer = wait_for(device.engine.purge_volume(&ours, &volume("data"))).expect_err("a stranger uses it");
    let stranger = EngineError::NotOwned { kind: "container", name: "it-foreign-guest".to_owned() };
    assert_eq!(answer, stranger);
    assert_eq!(device.container("app"), running);
    device.converge(&DeviceSpec::default());
    wait_for(device.engine.purge_volume(&ours, &volume("data"))).expect_err("he still does");
    real.docker(&["rm", "--force", "it-foreign-guest"]);
    wait_for(device.engine.purge_volume(&ours, &volume("data"))).expect("purged");
    real.try_docker(&["volume", "inspect", &volume_name]).expect_err("it is gone");

    let state = real.docker(&["inspect", "--format", "{{.State.Running}}", "it-foreign-container"]);
    assert_eq!(state, "true");
    for kind in ["volume", "network", "image"] {
        let name = format!("it-foreign-{kind}");
        real.docker(&[kind, "inspect", if kind == "image" { "it-foreign-image:1" } else { &name }]);
    }
    real.docker(&["rm", "--force", "it-foreign-container"]);
    real.docker(&["network", "rm", "it-foreign-network"]);
    real.docker(&["volume", "rm", "it-foreign-volume"]);
    real.docker(&["rmi", "it-foreign-image:1"]);
}
