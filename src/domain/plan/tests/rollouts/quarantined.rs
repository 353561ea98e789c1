//! Content that went wrong, and devices that had nothing to do with it then.

use super::*;
use crate::domain::plan::tests::world::stage;

/// Only the canary gets v2, and cannot do it.
fn failed_on_the_canary() -> World {
    let mut world = running();
    let mut one = gated("v1", CAREFUL);
    let wanted = gated("v2", CAREFUL).devices[&device("canary")].clone();
    one.devices.insert(device("canary"), wanted);
    world.push_desired("main", 2, one, Lineage::Extends);
    world.goes_back("canary");
    assert!(world.stands().contains("main-00000000 ERROR"), "{}", world.stands());
    world
}

fn got_v2(world: &World) -> usize {
    ["kiosk-1", "kiosk-2"].iter().filter(|name| world.place(name).contains("v2")).count()
}

#[test]
fn what_failed_on_one_device_goes_to_no_other_by_the_next_commit() {
    let mut world = failed_on_the_canary();
    push(&mut world, 3, "v2");
    world.later(60);
    world.later(86_400);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(86_400);
    assert_eq!(got_v2(&world), 0, "{}", world.stands());
    // A person who looked lets it go.
    world.ask("main-00000000", Act::Lift);
    for _ in 0..20 {
        world.later(300);
        for name in ["canary", "kiosk-1", "kiosk-2"] {
            world.is_well(name);
        }
    }
    assert_eq!(got_v2(&world), 2, "{}", world.stands());
}

#[test]
fn what_failed_is_no_reason_to_keep_what_is_new() {
    let mut world = failed_on_the_canary();
    push(&mut world, 3, "v3");
    for _ in 0..20 {
        world.later(300);
        for name in ["canary", "kiosk-1", "kiosk-2"] {
            world.is_well(name);
        }
    }
    assert!(world.place("kiosk-2").contains("v3"), "{}", world.stands());
}

#[test]
fn what_devices_had_before_is_not_in_quarantine() {
    let mut world = failed_on_the_canary();
    // It went back by itself; a commit with what it had finds it there, and a new device gets it.
    world.enroll("kiosk-3");
    world.report_with("kiosk-3", |_| {});
    let mut back = gated("v1", CAREFUL);
    let new = super::super::world::desired("kiosk-3:main:v1");
    back.devices.extend(new.devices.iter().map(|(device, one)| (device.clone(), one.clone())));
    world.push_desired("main", 3, back, Lineage::Extends);
    for _ in 0..20 {
        world.later(300);
        for name in ["canary", "kiosk-1", "kiosk-2", "kiosk-3"] {
            if world.state.devices[name].assignment.is_some() {
                world.is_well(name);
            } else {
                world.report_with(name, |_| {});
            }
        }
    }
    assert!(world.place("kiosk-3").contains("v1"), "{}", world.stands());
    assert_eq!(world.state.stages[&stage("main")].accepted, Some(commit_id(3)));
}
