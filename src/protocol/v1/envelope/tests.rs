use super::*;
use crate::domain::assignment::{AcceptError, accept};
use crate::domain::spec::{DeviceSpec, MAX_SPEC_BYTES};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn trust() -> Trust {
    Trust {
        fleet: "acme".parse().expect("a fleet"),
        device: "kiosk-1".parse().expect("a device"),
        key: key(1).verifying_key(),
    }
}

fn statement() -> Statement {
    let assignment = Assignment {
        device: trust().device,
        stage: "main".parse().expect("a stage"),
        commit: "0123456789012345678901234567890123456789".parse().expect("a commit"),
        order: Order { epoch: Epoch::FIRST, generation: Generation::new(7).expect("not zero") },
        attempt: Attempt::FIRST,
        spec: SealedSpec::seal(DeviceSpec::default()),
        rollout: None,
        assigned_at: NOW,
        soak_secs: 0,
        force: None,
    };
    Statement::of(&trust().fleet, &assignment, NOW)
}

fn bytes(envelope: &Envelope) -> Vec<u8> {
    serde_json::to_vec(envelope).expect("an envelope is JSON")
}

/// The statement of an envelope that the fleet's key signed after `change` was made to it.
fn signed_with(change: impl FnOnce(&mut Statement)) -> Vec<u8> {
    let mut statement = statement();
    change(&mut statement);
    bytes(&sign(&statement, &key(1)))
}

/// Any payload at all, signed by the fleet's key.
fn signed_payload(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let signature = key(1).sign(&pre_authentication_encoding(payload_type, payload));
    bytes(&Envelope {
        payload_type: payload_type.to_owned(),
        payload: BASE64.encode(payload),
        signatures: vec![EnvelopeSignature {
            keyid: key_id(&key(1).verifying_key()),
            sig: BASE64.encode(signature.to_bytes()),
        }],
    })
}

/// What a device makes of an envelope: the word that its report carries.
fn check(envelope: &[u8], expected: &str) {
    let answer = match offer(envelope, &trust(), Some(NOW)) {
        Ok(held) => format!("believed {}", held.mark.order),
        Err(refusal) => {
            assert!(!refusal.message.is_empty() && refusal.offered.is_none());
            refusal.reason
        }
    };
    assert_eq!(answer, expected);
}

#[test]
fn what_the_fleet_signed_for_this_device_is_believed() {
    check(&signed_with(|_| {}), "believed 1.7");
}

#[test]
fn what_was_signed_by_another_key_is_not_believed() {
    check(&bytes(&sign(&statement(), &key(2))), "BadSignature");
    // Nor if it says that it is the fleet's.
    let mut envelope = sign(&statement(), &key(2));
    envelope.signatures[0].keyid = key_id(&key(1).verifying_key());
    check(&bytes(&envelope), "BadSignature");
}

#[test]
fn one_good_signature_among_foreign_ones_is_enough_but_not_behind_too_many() {
    let good = sign(&statement(), &key(1)).signatures.remove(0);
    let foreign = sign(&statement(), &key(2)).signatures.remove(0);
    let with = |count: usize| {
        let mut envelope = sign(&statement(), &key(1));
        envelope.signatures = vec![foreign.clone(); count];
        envelope.signatures.push(good.clone());
        bytes(&envelope)
    };
    check(&with(1), "believed 1.7");
    check(&with(7), "believed 1.7");
    check(&with(8), "BadSignature");
}

#[test]
fn signatures_that_are_none_are_not_believed() {
    let with = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = sign(&statement(), &key(1));
        change(&mut envelope);
        bytes(&envelope)
    };
    check(&with(&|envelope| envelope.signatures.clear()), "BadSignature");
    check(&with(&|envelope| envelope.signatures[0].sig.clear()), "BadSignature");
    check(&with(&|envelope| envelope.signatures[0].sig = "not base64!".to_owned()), "BadSignature");
    check(&with(&|envelope| envelope.signatures[0].sig = BASE64.encode([0; 64])), "BadSignature");
    check(&with(&|envelope| envelope.signatures[0].sig = BASE64.encode([0; 63])), "BadSignature");
    check(&with(&|envelope| envelope.signatures[0].keyid = "0".repeat(16)), "BadSignature");
}

#[test]
fn a_payload_that_was_changed_after_signing_is_not_believed() {
    let mut envelope = sign(&statement(), &key(1));
    let mut newer = statement();
    newer.generation = Generation::new(8).expect("not zero");
    envelope.payload = BASE64.encode(serde_json::to_vec(&newer).expect("JSON"));
    check(&bytes(&envelope), "BadSignature");
}

#[test]
fn what_is_meant_for_somebody_else_is_refused() {
    check(&signed_with(|statement| statement.device = "kiosk-2".parse().expect("a device")), "WrongDevice");
    check(&signed_with(|statement| statement.fleet = "other".parse().expect("a fleet")), "WrongFleet");
}

#[test]
fn an_envelope_is_accepted_until_it_expires_and_by_a_clock_that_is_trusted() {
    let envelope = signed_with(|_| {});
    let at = |secs: i64| verify(&envelope, &trust(), Some(NOW.plus_secs(secs))).map(|_| ());
    assert_eq!(at(ENVELOPE_LIFETIME_SECS), Ok(()));
    let expires = NOW.plus_secs(ENVELOPE_LIFETIME_SECS);
    let now = NOW.plus_secs(ENVELOPE_LIFETIME_SECS + 1);
    assert_eq!(at(ENVELOPE_LIFETIME_SECS + 1), Err(EnvelopeError::Expired { expires, now }));
    // A board that woke up in 1970 does not know what time it is; it still knows whose signature this is.
    assert!(verify(&envelope, &trust(), None).is_ok());
}

#[test]
fn the_spec_must_be_the_one_that_its_digest_names() {
    let other =
        SealedSpec::seal(DeviceSpec { device_type: Some("toaster".parse().expect("a type")), ..DeviceSpec::default() });
    check(&signed_with(|statement| statement.spec = other.payload.to_string()), "DigestMismatch");
    check(&signed_with(|statement| statement.spec_digest = other.digest), "DigestMismatch");
    check(&signed_with(|statement| statement.spec.push(' ')), "DigestMismatch");
}

#[test]
fn a_spec_that_cannot_be_run_is_refused_although_it_is_signed() {
    let with_spec = |spec: &str| {
        signed_with(|statement| {
            statement.spec = spec.to_owned();
            statement.spec_digest = Digest::of(spec.as_bytes());
        })
    };
    check(&with_spec(r#"{"schema":2}"#), "NewerSchema");
    check(&with_spec(r#"{"schema":4294967295,"unknown":true}"#), "NewerSchema");
    check(&with_spec("{"), "Malformed");
    check(&with_spec("[]"), "Malformed");
    check(&with_spec(&"[".repeat(200_000)), "Malformed");
    check(&with_spec(&" ".repeat(MAX_SPEC_BYTES + 1)), "Malformed");
}

#[test]
fn what_is_no_envelope_is_malformed() {
    check(b"", "Malformed");
    check(b"null", "Malformed");
    check(b"\xff\xfe", "Malformed");
    check("[".repeat(100_000).as_bytes(), "Malformed");
    check(&vec![b' '; MAX_ENVELOPE_BYTES + 1], "Malformed");
    check(&signed_payload(PAYLOAD_TYPE, b"not a statement"), "Malformed");
    check(&signed_payload(PAYLOAD_TYPE, b"{}"), "Malformed");
    // Signed by the fleet, for another purpose.
    let payload = serde_json::to_vec(&statement()).expect("JSON");
    check(&signed_payload("application/vnd.bellwether.something-else+json", &payload), "Malformed");
}

#[test]
fn counters_of_zero_are_malformed() {
    for field in ["epoch", "generation", "attempt"] {
        let mut value: Value = serde_json::to_value(statement()).expect("JSON");
        value[field] = json!(0);
        check(&signed_payload(PAYLOAD_TYPE, &serde_json::to_vec(&value).expect("JSON")), "Malformed");
    }
}

#[test]
fn a_captured_envelope_is_genuine_and_still_refused_by_its_place() {
    let older = offer(&signed_with(|_| {}), &trust(), Some(NOW)).expect("it is genuine");
    let newer = signed_with(|statement| statement.generation = Generation::new(8).expect("not zero"));
    let newer = offer(&newer, &trust(), Some(NOW)).expect("it is genuine");
    assert!(matches!(accept(Some(&newer.mark), &older.mark), Err(AcceptError::Outdated { .. })));
}

proptest! {
    /// No single byte of an envelope can be another and still give other content.
    #[test]
    fn an_envelope_with_any_byte_changed_gives_the_same_content_or_none(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut envelope = signed_with(|_| {});
        let genuine = offer(&envelope, &trust(), Some(NOW)).expect("it is genuine");
        let at = at.index(envelope.len());
        envelope[at] = byte;
        if let Ok(held) = offer(&envelope, &trust(), Some(NOW)) {
            prop_assert_eq!(held, genuine);
        }
    }

    #[test]
    fn no_bytes_make_a_device_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(offer(&bytes, &trust(), Some(NOW)).is_err());
    }
}
