//! A controller whose memory is older than its devices' finds its way by listening to them.

use crate::harness::fleet::{Fleet, On, copy_directory};
use crate::harness::process::eventually;
use bellwether::domain::device::ledger::Ledger;
use bellwether::domain::generation::Order;

fn step(word: &str) -> String {
    format!("pins: {{ web: latest }}\nvariables: {{ STEP: {word} }}\n")
}

/// The place in a device's ledger, read from its file, which is replaced whole.
fn ledger(fleet: &Fleet, device: &str) -> Order {
    let text = std::fs::read_to_string(fleet.state_dir(device).join("ledger")).expect("the device has a ledger");
    Ledger::parse(&text).expect("the ledger is whole").accepted.expect("something was accepted").mark.order
}

#[test]
fn a_restored_older_database_converges_without_a_person() {
    const DEVICES: [&str; 2] = ["ahead-1", "ahead-2"];
    let inventory = "all:\n  hosts:\n    ahead-1: { branch: main }\n    ahead-2: { branch: main }\n";
    let compose = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";
    let mut fleet = Fleet::start(
        "ahead",
        On::Simulated,
        &[
            ("fleet.yml", "name: acme\n"),
            ("inventory.yml", inventory),
            ("group_vars/all.yml", &step("zero")),
            ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
            ("releases/web/1.0.0/compose.yml", compose),
        ],
    );
    fleet.enroll(&DEVICES);
    fleet.settled(&DEVICES);

    fleet.stop_controller();
    let backup = fleet.data_dir().with_extension("backup");
    copy_directory(&fleet.data_dir(), &backup);
    fleet.start_controller();
    for word in ["one", "two", "three"] {
        fleet.push("main", word, &[("group_vars/all.yml", &step(word))]);
        fleet.settled_on("main", &DEVICES);
    }
    let before = DEVICES.map(|device| ledger(&fleet, device));

    fleet.stop_controller();
    std::fs::remove_dir_all(fleet.data_dir()).expect("lose the data");
    copy_directory(&backup, &fleet.data_dir());
    fleet.start_controller();
    // Nobody does anything.
    for (device, before) in DEVICES.iter().zip(before) {
        let mut last = before;
        eventually(&format!("{device} has a newer place"), || {
            let place = ledger(&fleet, device);
            assert!(place >= last, "{device} went back from {last} to {place}");
            last = place;
            let detail = fleet.device(device);
            let assigned = detail.row.assigned?;
            (assigned > before && detail.row.observed == Some(assigned)).then_some(())
        });
    }
    fleet.settled_on("main", &DEVICES);
    assert!(fleet.status().status.conflicts.is_empty());
    // And it goes on as ever.
    fleet.push("main", "four", &[("group_vars/all.yml", &step("four"))]);
    fleet.settled_on("main", &DEVICES);
    for (device, before) in DEVICES.iter().zip(before) {
        assert!(ledger(&fleet, device) > before);
    }
}
