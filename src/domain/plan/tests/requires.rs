//! Releases that ask something of a device.

use super::super::gate::Lineage;
use super::world::{World, desired};
use crate::domain::desired::Desired;
use crate::domain::ids::{AppName, Version};
use crate::domain::manifest::release::requires::{FromRelease, FromVersions, Requirements, VersionRange};
use crate::domain::reported::ObservedOs;
use crate::domain::spec::{AppSpec, DeviceSpec, SealedSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// `kiosk` on main with this release of `web`, which asks for these things.
fn asking(version: &str, requires: Requirements) -> Desired {
    let app: AppName = "web".parse().unwrap();
    let release = AppSpec {
        release: Version::new(version).unwrap(),
        services: BTreeMap::new(),
        volumes: BTreeSet::new(),
        networks: BTreeMap::new(),
    };
    let spec = DeviceSpec { apps: BTreeMap::from([(app.clone(), release)]), ..DeviceSpec::default() };
    let mut desired = desired("kiosk:main:v1");
    for one in desired.devices.values_mut() {
        let one = Arc::make_mut(one);
        one.spec = Some(SealedSpec::seal(spec.clone()));
        one.requires = BTreeMap::from([(app.clone(), Arc::new(requires.clone()))]);
    }
    desired
}

#[test]
fn a_device_that_contradicts_what_a_release_requires_waits_and_says_why() {
    let mut world = World::with_devices("kiosk");
    world.push_desired("main", 1, asking("1.0.0", Requirements::default()), Lineage::Extends);
    let runs = |world: &World| world.state.devices["kiosk"].assignment.as_ref().map(|one| one.spec.digest);
    let applied = runs(&world);
    world.report_with("kiosk", |report| {
        report.applied = applied;
        report.attributes.insert("agent_version".to_owned(), "0.1.0".to_owned());
        report.os = Some(ObservedOs::running(None, Version::new("2025.10").unwrap()));
    });
    let range = |text: &str| VersionRange { text: text.to_owned(), range: text.parse().unwrap() };
    let requires = Requirements {
        min_agent: Some("0.2.0".parse().unwrap()),
        os: Some(range(">=2026.1")),
        from: vec![FromRelease { span: Default::default(), which: FromVersions::Exact("1.4.0".parse().unwrap()) }],
        ..Requirements::default()
    };
    insta::assert_snapshot!(world.push_desired("main", 2, asking("2.0.0", requires.clone()), Lineage::Extends), @"accept main 0002");
    insta::assert_snapshot!(world.waits("kiosk"), @r"
    requires-agent: release 2.0.0 of `web` needs agent 0.2.0, the device has 0.1.0
    requires-os: release 2.0.0 of `web` needs an OS in `>=2026.1`, the device runs 2025.10
    requires-from: release 2.0.0 of `web` is reached from 1.4.0, the device has 1.0.0
    not-acknowledged: assigned 1.1, not yet acknowledged by the device
    ");
    world.push_desired("main", 3, asking("1.4.0", Requirements::default()), Lineage::Extends);
    world.report_with("kiosk", |report| {
        report.attributes.insert("agent_version".to_owned(), "0.2.0".to_owned());
        report.os = Some(ObservedOs::running(None, Version::new("2026.2").unwrap()));
    });
    insta::assert_snapshot!(world.push_desired("main", 4, asking("2.0.0", requires), Lineage::Extends), @"accept main 0004");
    insta::assert_snapshot!(world.waits("kiosk"), @r"
    requires-proof: release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.4.0
    not-acknowledged: assigned 1.2, not yet acknowledged by the device
    ");
    let applied = runs(&world);
    world.report_with("kiosk", |report| report.applied = applied);
    insta::assert_snapshot!(world.pass(), @r"
    assign kiosk 1.3  from main
    ");
}

#[test]
fn what_a_device_has_not_said_keeps_nothing_back() {
    let mut world = World::with_devices("kiosk");
    let requires = Requirements { min_agent: Some("0.2.0".parse().unwrap()), ..Requirements::default() };
    insta::assert_snapshot!(world.push_desired("main", 1, asking("2.0.0", requires.clone()), Lineage::Extends), @r"
    accept main 0001
    control kiosk claims [main]
    assign kiosk 1.1  from main
    ");
    // It has the release: what it says afterwards does not keep back a change of something else.
    world.report_with("kiosk", |report| {
        report.attributes.insert("agent_version".to_owned(), "0.1.0".to_owned());
    });
    let mut other = asking("2.0.0", requires);
    for one in other.devices.values_mut() {
        let one = Arc::make_mut(one);
        let spec =
            DeviceSpec { device_type: Some("pi4".parse().unwrap()), ..(*one.spec.as_ref().unwrap().spec).clone() };
        one.spec = Some(SealedSpec::seal(spec));
    }
    insta::assert_snapshot!(world.push_desired("main", 2, other, Lineage::Extends), @r"
    accept main 0002
    assign kiosk 1.2  from main
    ");
}
