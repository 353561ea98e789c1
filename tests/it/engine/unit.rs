//! The packaged service of the agent under a real systemd, closed as it is handed out.

use super::places::image_with_systemd;
use crate::harness::engine::Engine as RealEngine;
use crate::harness::process::{BELLWETHER_AGENT, eventually};
use std::path::Path;

/// The unit as it is packaged.
const UNIT: &str = include_str!("../../../packaging/systemd/bellwether-agent.service");

#[test]
fn the_packaged_service_waits_to_be_let_in_and_comes_back_when_it_is_killed() {
    let Some(real) = RealEngine::shared() else { return };
    // Nobody answers there, as on a device that comes up before its network.
    let (id, secret, fingerprint) = ("0".repeat(12), "1".repeat(64), "2".repeat(64));
    let settings = format!(
        "BELLWETHER_AGENT_SERVER=https://127.0.0.1:9\nBELLWETHER_AGENT_TOKEN=bwt1_{id}_{secret}_{fingerprint}\n\
         BELLWETHER_AGENT_DEVICE=unit-1\n"
    );
    let files = [
        ("etc/systemd/system/bellwether-agent.service", UNIT),
        (
            "etc/systemd/system/default.target",
            "[Unit]\nRequires=bellwether-agent.service\nAfter=bellwether-agent.service\n",
        ),
        ("etc/default/bellwether-agent", &settings),
        ("var/lib/empty", ""),
        ("var/tmp/empty", ""),
        ("root/empty", ""),
    ];
    let agent = (Path::new(BELLWETHER_AGENT), "usr/bin/bellwether-agent");
    let image = image_with_systemd(real, "it-unit:1", &[agent], &files);
    // systemd closes its services in with rights of its own, which a container has to be given.
    let rights = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--cgroupns", "private"];
    let places = ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"];
    let run = ["run", "--detach", "--tty", "--name", "it-unit"];
    let container = real.docker(&[&run[..], &rights, &places, &[image.as_str()]].concat());
    let show = |property: &str| {
        let words = ["exec", &container, "systemctl", "show", "bellwether-agent", "--value", "--property", property];
        real.try_docker(&words).unwrap_or_default()
    };
    let is = |property: &str, wanted: &str| {
        eventually(&format!("its {property} is {wanted}"), || (show(property) == wanted).then_some(()));
    };
    // A start that waited for the controller would block whoever starts the service, and fail.
    is("ActiveState", "active");
    assert_eq!(show("StatusText"), "waits until the fleet lets this device in");
    assert_eq!((show("NRestarts"), show("WatchdogUSec")), ("0".to_owned(), "2min".to_owned()));
    let state = real.docker(&["exec", &container, "/bin/busybox", "ls", "/var/lib/bellwether-agent"]);
    assert!(state.contains("identity.json"), "it made its key: {state}");
    real.docker(&["exec", &container, "systemctl", "kill", "--signal=KILL", "bellwether-agent"]);
    is("NRestarts", "1");
    is("ActiveState", "active");
    real.docker(&["rm", "--force", &container]);
}
