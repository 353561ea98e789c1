//! What locks say, and what they keep from happening.

use super::*;
use insta::assert_snapshot;
use proptest::prelude::*;

fn app() -> AppName {
    "web".parse().expect("an app name")
}

fn service(name: &str) -> ServiceName {
    name.parse().expect("a service name")
}

fn place(name: &str) -> Place {
    Place::Service { app: app(), service: service(name) }
}

/// A lock file, in words, and what it keeps from happening.
fn check(place: Place, content: &str) -> String {
    let since = Timestamp::from_millis(1_000_000);
    let lock = Lock::of_file(place, Some(since), Ok(content.as_bytes()));
    let locks = Locks { held: vec![lock], ..Locks::default() };
    let (web, nav, video) = (app(), service("nav"), service("video"));
    let deeds = [
        ("stop nav", Deed::Stop(&web, &nav)),
        ("stop video", Deed::Stop(&web, &video)),
        ("download", Deed::Download),
        ("reboot", Deed::Reboot),
    ];
    let kept = deeds.into_iter().filter(|(_, deed)| locks.in_the_way(*deed, Respect::Locks).is_some());
    let kept: Vec<&str> = kept.map(|(name, _)| name).collect();
    format!("{}: no {}", locks.held[0].describe(since.plus_secs(10_800)), kept.join(", no "))
}

#[test]
fn an_empty_file_is_a_lock_and_what_it_says_makes_it_narrower() {
    let shown = [
        check(place("nav"), ""),
        check(place("nav"), r#"{"owner": "route guidance", "reason": "on the road"}"#),
        check(place("nav"), r#"{"scope": ["download"]}"#),
        check(Place::Device, "\n"),
        check(Place::Device, r#"{"owner": "anna", "scope": ["reboot"], "reason": "measuring"}"#),
    ];
    assert_snapshot!(shown.join("\n"), @"
    the lock of web/nav is held by `nav` for 3h: no stop nav, no reboot
    the lock of web/nav is held by `route guidance` for 3h (on the road): no stop nav, no reboot
    the lock of web/nav is held by `nav` for 3h: no download
    the device's lock is held by `somebody` for 3h: no stop nav, no stop video, no download, no reboot
    the device's lock is held by `anna` for 3h (measuring): no reboot
    ");
}

#[test]
fn a_lock_that_cannot_be_read_holds_and_says_why() {
    let long = " ".repeat(MAX_LOCK_BYTES + 1);
    let shown = [
        check(place("nav"), "locked!"),
        check(place("nav"), r#"{"scope": ["everything"]}"#),
        check(place("nav"), r#"{"until": "tomorrow"}"#),
        check(place("nav"), &long),
        Lock::unreadable("permission denied".to_owned()).describe(Timestamp::EPOCH),
    ];
    assert_snapshot!(shown.join("\n"), @"
    the lock of web/nav is held by `nav` for 3h (the file is neither empty nor a lock): no stop nav, no download, no reboot
    the lock of web/nav is held by `nav` for 3h (the file is neither empty nor a lock): no stop nav, no download, no reboot
    the lock of web/nav is held by `nav` for 3h (the file is neither empty nor a lock): no stop nav, no download, no reboot
    the lock of web/nav is held by `nav` for 3h (the file is longer than 4096 bytes): no stop nav, no download, no reboot
    the device's lock is held by `somebody` (permission denied)
    ");
}

#[test]
fn an_operator_goes_over_every_lock() {
    let locks = Locks { held: vec![Lock::unreadable("permission denied".to_owned())], ..Locks::default() };
    assert_eq!(locks.in_the_way(Deed::Reboot, Respect::Nothing), None);
    assert!(locks.in_the_way(Deed::Reboot, Respect::Locks).is_some());
}

#[test]
fn what_an_app_writes_is_cut_and_holds_no_control_characters() {
    let text = LockText { owner: Some(format!("a\u{1b}[31m{}", "ü".repeat(300))), ..LockText::default() };
    let lock = Lock::of_file(place("nav"), None, Ok(text.to_text().as_bytes()));
    assert!(lock.owner.starts_with("a [31mü") && lock.owner.len() <= MAX_SHOWN_BYTES, "{}", lock.owner);
}

#[test]
fn a_clock_that_was_set_back_makes_no_lock_younger_than_new() {
    let lock = Lock::of_file(Place::Device, Some(Timestamp::from_millis(5_000)), Ok(b""));
    assert_eq!(lock.age_secs(Timestamp::EPOCH), Some(0));
}

proptest! {
    #[test]
    fn whatever_is_in_a_file_it_is_a_lock(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let lock = Lock::of_file(place("nav"), None, Ok(&bytes));
        prop_assert!(lock.trouble.is_none() || lock.scope.len() == 3);
        prop_assert!(!lock.owner.is_empty());
    }

    #[test]
    fn what_was_written_is_read(owner in proptest::option::of("[a-z]{1,9}"), reboot: bool) {
        let scope = reboot.then(|| BTreeSet::from([Scope::Reboot]));
        let text = LockText { owner, scope, reason: None };
        prop_assert_eq!(LockText::parse(text.to_text().as_bytes()), Ok(text));
    }
}
