//! What is let in, recorded and refused.

use super::enroll::{EnrollError, EnrollRequest, EnrollStatus, admits, enroll, key_hash};
use super::operator::{
    ActError, Acting, MAX_TOKEN_SECS, NewToken, approve_commit, approve_device, hold, new_token, reject_device, resume,
    set_attributes,
};
use super::report::{Recorded, ReportError, report};
use crate::domain::digest::Digest;
use crate::domain::enrollment::{TokenId, TokenSecret, credential};
use crate::domain::fleet::{
    Change, FleetState, HeldReason, HoldScope, IdentityStatus, MAX_PENDING, StageRecord, TokenBound, Waiting,
    WaitingFor,
};
use crate::domain::ids::{Actor, CommitId, DeviceId, StageName};
use crate::domain::reported::{Phase, Report};
use crate::domain::time::Timestamp;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NOW: Timestamp = Timestamp::EPOCH;

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn acting() -> Acting {
    Acting { actor: Actor::new("ada").unwrap(), now: NOW }
}

fn key(number: u8) -> String {
    format!("{number:064x}")
}

fn ask(name: &str, key_number: u8, token: Option<String>) -> EnrollRequest {
    EnrollRequest { device: device(name), key: key(key_number), token, attributes: BTreeMap::new() }
}

/// A state with one token, and the token as a device sends it.
fn with_token(bound: TokenBound, uses: u32) -> (FleetState, String) {
    let (id, secret) = (TokenId::from_bytes([7; 6]), TokenSecret::from_bytes([9; 32]));
    let token = NewToken { id: id.to_string(), secret_hash: secret.digest(), uses, valid_secs: 60, bound };
    let mut state = FleetState::default();
    state.apply(&new_token(&state, token, &acting()).unwrap());
    (state, credential(id, &secret))
}

fn names(all: &[&str]) -> TokenBound {
    TokenBound::Names(all.iter().map(|name| device(name)).collect())
}

/// Decides, applies, and says how it went.
fn told(state: &mut FleetState, request: &EnrollRequest, now: Timestamp) -> String {
    match enroll(state, request, now) {
        Ok((changes, status)) => {
            state.apply(&changes);
            let wrote = if changes.is_empty() { ", nothing new" } else { "" };
            match status {
                EnrollStatus::Enrolled => format!("enrolled{wrote}"),
                EnrollStatus::Pending => format!("pending{wrote}"),
            }
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_token_lets_in_the_names_that_it_is_bound_to_as_often_as_it_says() {
    let (mut state, token) = with_token(names(&["a", "b"]), 2);
    let mut told = |request, now| told(&mut state, &request, now);
    assert_eq!(told(ask("c", 1, Some(token.clone())), NOW), "the enrollment token is not valid for device c");
    assert_eq!(told(ask("a", 1, Some(token.clone())), NOW), "enrolled");
    // A lost answer: the same key asks again, and no use is spent.
    assert_eq!(told(ask("a", 1, Some(token.clone())), NOW), "enrolled, nothing new");
    assert_eq!(told(ask("b", 2, Some(token.clone())), NOW), "enrolled");
    assert!(state.tokens.is_empty());
    assert_eq!(
        enroll(&state, &ask("a", 9, Some(token)), NOW),
        Err(EnrollError::BadToken { device: device("a") }),
        "a token that is used up lets nobody in"
    );
}

#[test]
fn a_token_ends_with_its_time_and_with_a_wrong_secret() {
    let (mut state, token) = with_token(TokenBound::Selector("kiosk-*".to_owned()), 5);
    let wrong = token.replace("0909", "0908");
    for (request, now, expected) in [
        (ask("kiosk-1", 1, Some(wrong)), NOW, "the enrollment token is not valid for device kiosk-1"),
        (ask("kiosk-1", 1, Some("bwt1_x".to_owned())), NOW, "the enrollment token is not valid for device kiosk-1"),
        (ask("gateway", 1, Some(token.clone())), NOW, "the enrollment token is not valid for device gateway"),
        (
            ask("kiosk-1", 1, Some(token.clone())),
            NOW.plus_secs(60),
            "the enrollment token is not valid for device kiosk-1",
        ),
        (ask("kiosk-1", 1, Some(token)), NOW.plus_secs(59), "enrolled"),
    ] {
        assert_eq!(told(&mut state, &request, now), expected);
    }
}

#[test]
fn a_device_without_a_token_waits_for_a_person() {
    let mut state = FleetState::default();
    assert_eq!(told(&mut state, &ask("a", 1, None), NOW), "pending");
    assert_eq!(told(&mut state, &ask("a", 1, None), NOW), "pending, nothing new");
    // A second stranger does not push the first one out.
    assert_eq!(told(&mut state, &ask("a", 2, None), NOW), "the enrollment token is not valid for device a");
    state.apply(&approve_device(&state, &device("a"), &acting()).unwrap());
    assert_eq!(told(&mut state, &ask("a", 1, None), NOW), "enrolled, nothing new");
    assert_eq!(approve_device(&state, &device("a"), &acting()), Err(ActError::NotPending(device("a"))));
}

#[test]
fn a_rejected_device_stays_out_until_it_is_approved() {
    let mut state = FleetState::default();
    told(&mut state, &ask("a", 1, None), NOW);
    state.apply(&reject_device(&state, &device("a"), &acting()).unwrap());
    assert_eq!(told(&mut state, &ask("a", 1, None), NOW), "device a was rejected");
    assert_eq!(told(&mut state, &ask("a", 2, None), NOW), "device a was rejected");
    state.apply(&approve_device(&state, &device("a"), &acting()).unwrap());
    assert_eq!(told(&mut state, &ask("a", 1, None), NOW), "enrolled, nothing new");
}

#[test]
fn enrolling_a_name_again_with_another_key_needs_approval_even_with_a_token() {
    let (mut state, token) = with_token(names(&["a"]), 5);
    assert_eq!(told(&mut state, &ask("a", 1, Some(token.clone())), NOW), "enrolled");
    assert_eq!(told(&mut state, &ask("a", 2, Some(token)), NOW), "pending");
    let identity = |state: &FleetState| state.devices["a"].identity.clone().unwrap();
    // The first key goes on speaking for the device.
    assert_eq!(identity(&state).key_hash, key_hash(&key(1)).unwrap());
    assert_eq!(identity(&state).status, IdentityStatus::Enrolled);
    let mut rejected = state.clone();
    rejected.apply(&reject_device(&rejected, &device("a"), &acting()).unwrap());
    assert_eq!(identity(&rejected).contender, None);
    state.apply(&approve_device(&state, &device("a"), &acting()).unwrap());
    assert_eq!(identity(&state).key_hash, key_hash(&key(2)).unwrap());
}

#[test]
fn strangers_cannot_fill_the_list_of_pending_devices() {
    let mut state = FleetState::default();
    for number in 0..MAX_PENDING {
        told(&mut state, &ask(&format!("stranger-{number}"), 1, None), NOW);
    }
    assert_eq!(told(&mut state, &ask("one-more", 1, None), NOW), "1000 devices wait for approval already");
}

#[test]
fn malformed_requests_are_refused() {
    let state = FleetState::default();
    for bad in ["", "zz", &"A".repeat(64), &"0".repeat(63), &"0".repeat(66)] {
        let request = EnrollRequest { key: bad.to_owned(), ..ask("a", 1, None) };
        assert!(matches!(enroll(&state, &request, NOW), Err(EnrollError::Malformed(_))), "{bad:?}");
    }
    let attributes = (0..65).map(|number| (format!("k{number}"), String::new())).collect();
    let request = EnrollRequest { attributes, ..ask("a", 1, None) };
    assert!(matches!(enroll(&state, &request, NOW), Err(EnrollError::Malformed(_))));
}

#[test]
fn a_selector_stands_for_any_text_at_each_star() {
    for (pattern, name, expected) in [
        ("*", "anything", true),
        ("kiosk-*", "kiosk-7", true),
        ("kiosk-*", "akiosk-7", false),
        ("*-hb", "zurich-hb", true),
        ("*-hb", "zurich-hb-2", false),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("exact", "exact", true),
        ("exact", "exactly", false),
    ] {
        let bound = TokenBound::Selector(pattern.to_owned());
        assert_eq!(admits(&bound, &device(name)), expected, "{pattern} {name}");
    }
}

fn said(start: u64, start_id: char, seq: u64) -> Report {
    Report {
        start,
        start_id: start_id.to_string().repeat(32),
        seq,
        observed: None,
        applied: None,
        phase: Phase::Waiting,
        conditions: Vec::new(),
        apps: None,
        os: None,
        os_update: None,
        host: None,
        found: Vec::new(),
        refused: None,
        failure: None,
        locks: Vec::new(),
        actions: None,
        branch: None,
        attributes: BTreeMap::new(),
    }
}

/// Tells reports one after the other and says what became of each.
fn hear(reports: &[(u64, char, u64)]) -> String {
    let mut state = FleetState::default();
    let outcome =
        reports.iter().map(|(start, id, seq)| match report(&state, &device("a"), said(*start, *id, *seq), NOW) {
            Ok(Recorded::Newer(changes)) => {
                state.apply(&changes);
                if state.devices["a"].control.conflict.is_some() { "clone" } else { "newer" }
            }
            Ok(Recorded::Stale) => "stale",
            Err(_) => "refused",
        });
    outcome.collect::<Vec<_>>().join(" ")
}

#[test]
fn replayed_and_reordered_reports_are_stale_and_a_clone_is_noticed() {
    assert_eq!(hear(&[(1, 'a', 1), (1, 'a', 2), (1, 'a', 1), (1, 'a', 2)]), "newer newer stale stale");
    // A restart counts from one again; a late packet of the start before is stale.
    assert_eq!(hear(&[(1, 'a', 5), (2, 'b', 1), (1, 'a', 6), (2, 'b', 2)]), "newer newer stale newer");
    // Two agents took the same ledger: one start number, two names.
    assert_eq!(hear(&[(1, 'a', 1), (2, 'b', 1), (2, 'c', 1)]), "newer newer clone");
    // The original starts again after its clone did.
    assert_eq!(hear(&[(2, 'a', 1), (3, 'b', 1), (4, 'a', 1)]), "newer newer clone");
    assert_eq!(hear(&[(1, 'g', 1)]), "refused");
}

/// A state in which device `a` is enrolled with key 1 and has reported so.
fn heard(start: u64, start_id: char, seq: u64) -> FleetState {
    let mut state = FleetState::default();
    told(&mut state, &ask("a", 1, None), NOW);
    state.apply(&approve_device(&state, &device("a"), &acting()).unwrap());
    assert_eq!(hear_in(&mut state, start, start_id, seq), "newer");
    state
}

fn hear_in(state: &mut FleetState, start: u64, start_id: char, seq: u64) -> &'static str {
    match report(state, &device("a"), said(start, start_id, seq), NOW).unwrap() {
        Recorded::Stale => "stale",
        Recorded::Newer(changes) => {
            state.apply(&changes);
            if state.devices["a"].control.conflict.is_some() { "conflict" } else { "newer" }
        }
    }
}

#[test]
fn other_hardware_that_a_person_approved_is_heard_from_its_first_report_on() {
    let mut state = heard(5, 'a', 3);
    told(&mut state, &ask("a", 2, None), NOW);
    state.apply(&approve_device(&state, &device("a"), &acting()).unwrap());
    assert_eq!(hear_in(&mut state, 1, 'b', 1), "newer");
    assert_eq!(hear_in(&mut state, 1, 'b', 1), "stale");
}

#[test]
fn after_a_person_has_looked_at_a_clone_whoever_reports_next_goes_on() {
    let mut state = heard(5, 'a', 3);
    assert_eq!(hear_in(&mut state, 5, 'b', 1), "conflict");
    state.apply(&resume(&state, &HoldScope::Device(device("a")), &acting()).unwrap());
    assert_eq!(hear_in(&mut state, 5, 'b', 2), "newer");
}

#[test]
fn a_report_beyond_its_bounds_is_refused_whole() {
    let mut long = said(1, 'a', 1);
    long.attributes = (0..300).map(|number| (number.to_string(), String::new())).collect();
    let refused = report(&FleetState::default(), &device("a"), long, NOW);
    assert_eq!(refused, Err(ReportError::TooMany { what: "attributes", count: 300, most: 256 }));
}

/// Sets (`name=value`) and removes (`name-`) attributes of device `a`, and says what is recorded and what is there then.
fn set(state: &mut FleetState, actor: &str, edits: &[&str]) -> String {
    let acting = Acting { actor: Actor::new(actor).unwrap(), now: NOW };
    let sets = edits.iter().filter_map(|edit| edit.split_once('='));
    let sets = sets.map(|(name, value)| (name.parse().unwrap(), value.to_owned())).collect();
    let removes = edits.iter().filter_map(|edit| edit.strip_suffix('-')).map(|name| name.parse().unwrap()).collect();
    match set_attributes(state, &device("a"), &sets, &removes, &acting) {
        Err(error) => error.to_string(),
        Ok(changes) => {
            state.apply(&changes);
            let message = changes.iter().find_map(|change| match change {
                Change::Event(event) => Some(event.message.clone()),
                _ => None,
            });
            let registry = state.devices["a"].registry.clone().unwrap_or_default();
            let now = registry.attributes.iter().map(|(name, one)| format!("{name}={} by {}", one.value, one.actor));
            format!("{} -> {}", message.unwrap_or_default(), now.collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn operators_set_attributes_and_what_is_there_already_keeps_its_author() {
    let mut state = FleetState::default();
    assert_eq!(set(&mut state, "ada", &["rack=4"]), "device a is not known");
    state.devices.insert(device("a"), crate::domain::fleet::DeviceRecord::default());
    assert_eq!(
        set(&mut state, "ada", &["rack=4", "owner=it"]),
        "set owner=it; set rack=4 -> owner=it by ada, rack=4 by ada"
    );
    assert_eq!(set(&mut state, "bob", &["rack=4"]), " -> owner=it by ada, rack=4 by ada");
    assert_eq!(
        set(&mut state, "bob", &["rack=5", "owner-", "nothing-"]),
        "removed owner=it; set rack=5, was 4 -> rack=5 by bob"
    );
    assert_eq!(set(&mut state, "bob", &[]), "the attributes must be at least one to set or remove");
    assert_eq!(set(&mut state, "bob", &["rack="]), "a value must be 1 to 256 characters on one line");
    assert_eq!(set(&mut state, "bob", &["rack=a\nb"]), "a value must be 1 to 256 characters on one line");
    let many: Vec<String> = (0..64).map(|number| format!("a{number}=1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(set(&mut state, "bob", &many), "the number of attributes of a device must be at most 64");
}

fn with_held(digests: &[Digest]) -> FleetState {
    let mut state = FleetState::default();
    let commit = CommitId::new(&"0".repeat(40)).unwrap();
    for (number, digest) in digests.iter().enumerate() {
        let why = WaitingFor::Approval { digest: *digest, reasons: vec![HeldReason::LastDevice], changes: Vec::new() };
        let waiting = Some(Waiting { commit: commit.clone(), tree: commit.clone(), inventory: None, since: NOW, why });
        let record = StageRecord {
            accepted: None,
            inventory: None,
            waiting,
            unmanaged: BTreeSet::new(),
            baseline: 0,
            staged: None,
            trees: Vec::new(),
        };
        state.apply(&[Change::Stage(StageName::new(&format!("s{number}")).unwrap(), record)]);
    }
    state
}

#[test]
fn an_approval_names_one_held_digest() {
    let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
    let state = with_held(&[one, other]);
    let approve = |digits: &str| approve_commit(&state, digits, &acting());
    for digits in [one.to_string(), one.hex(), one.short(), one.hex()[..8].to_uppercase()] {
        assert!(approve(&digits).is_ok(), "{digits}");
    }
    assert!(matches!(approve(&one.hex()[..7]), Err(ActError::OutOfRange { .. })));
    assert!(matches!(approve("zzzzzzzzz"), Err(ActError::OutOfRange { .. })));
    assert!(matches!(approve(&Digest::of(b"none").hex()), Err(ActError::NothingHeld { .. })));
    let twice = with_held(&[one, one]);
    assert!(matches!(approve_commit(&twice, &one.short(), &acting()), Err(ActError::Ambiguous { .. })));
}

#[test]
fn holds_are_bounded_and_name_things_that_exist() {
    let state = FleetState::default();
    let stages = [StageName::new("main").unwrap()];
    let try_hold = |scope: HoldScope, reason: &str, until| {
        hold(&state, &stages, &scope, reason, until, &acting())
            .map(|changes| changes.len())
            .map_err(|error| error.to_string())
    };
    let stage = |name: &str| HoldScope::Stage(StageName::new(name).unwrap());
    assert_eq!(try_hold(stage("main"), "storm", None), Ok(2));
    assert_eq!(try_hold(stage("mian"), "storm", None), Err("stage mian is not configured".to_owned()));
    assert_eq!(try_hold(HoldScope::Device(device("a")), "storm", None), Err("device a is not known".to_owned()));
    assert_eq!(
        try_hold(HoldScope::Fleet, "two\nlines", None),
        Err("the reason must be 1 to 500 characters on one line".to_owned())
    );
    assert_eq!(
        try_hold(HoldScope::Fleet, "storm", Some(NOW)),
        Err("the end of the hold must be in the future".to_owned())
    );
    assert_eq!(resume(&state, &HoldScope::Fleet, &acting()), Err(ActError::NotHeld(HoldScope::Fleet)));
}

#[test]
fn tokens_are_bounded_and_old_ones_are_swept() {
    let (mut state, _) = with_token(names(&["a"]), 1);
    let make = |uses, valid_secs, bound| NewToken {
        id: "b".repeat(12),
        secret_hash: Digest::of(b"b"),
        uses,
        valid_secs,
        bound,
    };
    for bad in [
        make(0, 60, names(&["a"])),
        make(1, 0, names(&["a"])),
        make(1, MAX_TOKEN_SECS + 1, names(&["a"])),
        make(1, 60, names(&[])),
        make(1, 60, TokenBound::Selector(String::new())),
    ] {
        assert!(matches!(new_token(&state, bad, &acting()), Err(ActError::OutOfRange { .. })));
    }
    let later = Acting { now: NOW.plus_secs(3600), ..acting() };
    state.apply(&new_token(&state, make(1, 60, names(&["a"])), &later).unwrap());
    assert_eq!(state.tokens.keys().collect::<Vec<_>>(), ["bbbbbbbbbbbb"]);
}

proptest! {
    #[test]
    fn a_report_that_was_recorded_is_stale_when_it_comes_again(
        reports in proptest::collection::vec((1..4u64, proptest::char::range('a', 'd'), 1..5u64), 1..10)
    ) {
        let mut state = FleetState::default();
        for (start, id, seq) in reports {
            let tell = |state: &FleetState| report(state, &device("a"), said(start, id, seq), NOW).unwrap();
            if let Recorded::Newer(changes) = tell(&state) {
                state.apply(&changes);
                prop_assert_eq!(tell(&state), Recorded::Stale);
            }
        }
    }
}
