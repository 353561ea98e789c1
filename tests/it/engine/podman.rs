//! The same laws on a second engine that speaks the language of Docker's API.

use super::keys::{KEPT, check_refused, compose, spec as of_compose};
use super::places::{SYSTEMD_WITH_ALL_RIGHTS, boot_systemd};
use super::{Device, find_each_other, foreign, hold_to_the_law, images, keep_data, leave_others_alone};
use super::{repeat_each_step, respect_a_name};
use crate::harness::engine::Engine as RealEngine;
use bellwether::domain::reported::ServiceState;

fn device(name: &str) -> Option<Device> {
    RealEngine::podman().map(|real| Device::on(real, name))
}

/// Keys that Podman drops, refuses, or does not show, and a part of what is said then. docs/engines.md lists them.
const REFUSED: &[(&str, &str)] = &[
    ("annotations: {a: b}", "the engine does not keep annotations.a"),
    ("cap_add: [NO_SUCH_RIGHT]", "NO_SUCH_RIGHT"),
    ("cgroup: private", "the engine does not keep cgroup"),
    ("cgroup: host", "the engine does not keep cgroup"),
    ("device_cgroup_rules: ['c 188:* rmw']", "the engine does not keep device_cgroup_rules"),
    ("domainname: example.com", "the engine does not keep domainname"),
    ("healthcheck: {test: [CMD, /bin/sh, -c, 'exit 0']}", "the engine does not keep healthcheck.test.command"),
    ("healthcheck: {test: 'true', start_interval: 1s}", "the engine does not keep healthcheck.start_interval_nanos"),
    ("ipc: host", "the engine does not keep ipc"),
    ("logging: {driver: json-file, options: {max-size: 1m, max-file: 2}}", "the engine does not keep logging.options"),
    ("logging: {options: {max-size: 1m}}", "the engine does not keep logging.options"),
    ("runtime: runc", "the engine does not keep runtime"),
    ("sysctls: {net.core.somaxconn: 1024}", "the engine does not keep sysctls.net.core.somaxconn"),
];

#[test]
fn what_was_applied_is_what_is_read_back_on_podman() {
    let Some(device) = device("pm-law") else { return };
    hold_to_the_law(&device);
}

#[test]
fn every_key_is_kept_by_podman_or_refused_with_its_name() {
    let Some(device) = device("pm-keys") else { return };
    let kept = KEPT.iter().copied().filter(|(body, _)| !REFUSED.iter().any(|(refused, _)| refused == body));
    for (body, _) in kept {
        let wanted = of_compose(&compose(&device, body));
        if body.starts_with("ulimits:") {
            // Beside one that is asked for, Podman sets another one as high as only a machine with all rights can.
            assert_eq!(device.make(&wanted), ["start web/app"]);
            continue;
        }
        let actions = device.converge(&wanted);
        // Its API cannot change a container.
        assert!(actions.contains(&"create web/app".to_owned()), "{body}: {actions:#?}");
        assert_eq!(device.apply(&wanted), [""; 0], "{body}: a second turn changes nothing");
    }
    check_refused(&device, REFUSED);
}

#[test]
fn a_privileged_service_runs_on_podman_and_stays_as_it_is() {
    let Some(device) = device("pm-rights") else { return };
    let wanted = of_compose(&compose(&device, "privileged: true"));
    device.converge(&wanted);
    assert_eq!(device.state(&wanted, "app"), ServiceState::Running);
    let container = device.container("app");
    assert_eq!(device.real.docker(&["inspect", "--format", "{{.HostConfig.Privileged}}", &container]), "true");
    assert_eq!(device.apply(&wanted), [""; 0]);
    assert_eq!(device.container("app"), container);
}

/// The engine of other tests cannot give all rights on a machine that lacks one itself; this one gives those that there are.
#[test]
fn systemd_runs_in_a_privileged_service_on_podman_and_shuts_down_in_order() {
    let Some(device) = device("pm-systemd") else { return };
    // With the right to halt the machine systemd does so at the end, and the kernel ends its namespace as if by an interrupt.
    boot_systemd(&device, SYSTEMD_WITH_ALL_RIGHTS, "130");
}

#[test]
fn data_survives_changes_on_podman() {
    let Some(device) = device("pm-data") else { return };
    keep_data(&device);
}

#[test]
fn services_find_each_other_on_podman_and_ports_are_published() {
    let Some(device) = device("pm-names") else { return };
    find_each_other(&device);
}

#[test]
fn what_belongs_to_others_is_not_touched_on_podman() {
    let (Some(one), Some(other)) = (device("pm-mine"), device("pm-other")) else { return };
    leave_others_alone(&one, &other);
}

#[test]
fn foreign_things_and_data_survive_everything_on_podman() {
    let Some(one) = device("pm-foreign") else { return };
    foreign::spare_what_is_foreign(&one);
    let Some(one) = device("pm-purge") else { return };
    foreign::purge(&one);
}

#[test]
fn a_name_that_somebody_took_is_not_taken_from_him_on_podman() {
    let Some(device) = device("pm-taken") else { return };
    respect_a_name(&device);
}

#[test]
fn an_operation_that_was_cut_off_is_safe_to_repeat_on_podman() {
    let Some(device) = device("pm-twice") else { return };
    repeat_each_step(&device);
}

#[test]
fn images_come_from_mirrors_and_only_ours_go_on_podman() {
    let Some(real) = RealEngine::podman() else { return };
    images::tidy_up(real);
    images::use_a_mirror(real);
}
