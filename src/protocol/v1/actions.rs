//! The signed list of device actions: a DSSE envelope of its own payload type, in answer to a poll.
//!
//! An agent that knows actions says which list it has in [`ACTIONS_HEADER`]; one that does not say it never gets any. The answer
//! names its list in the same header, which tells it apart from an assignment.

use super::envelope::{Envelope, EnvelopeError, Trust, opened, sign_as};
use crate::domain::actions::RequestedAction;
use crate::domain::ids::{DeviceId, FleetName};
use crate::domain::time::Timestamp;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

/// The header of polls and answers that names a list of open actions: their numbers with dots between them, or `none`.
pub const ACTIONS_HEADER: &str = "bellwether-actions";
/// The payload type of a list of actions.
pub const PAYLOAD_TYPE: &str = "application/vnd.bellwether.actions.v1+json";
/// How many seconds a list can be taken after it was signed. It is signed anew at each delivery.
pub const LIFETIME_SECS: i64 = 3600;

/// What the envelope of a list states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionsStatement {
    /// The fleet.
    pub fleet: FleetName,
    /// For which device, and no other.
    pub device: DeviceId,
    /// When it was signed.
    pub issued: Timestamp,
    /// Until when it can be taken.
    pub expires: Timestamp,
    /// All open actions, by number.
    pub actions: Vec<RequestedAction>,
}

impl ActionsStatement {
    /// The list of a device when it is delivered at `now`.
    pub fn of(fleet: &FleetName, device: &DeviceId, actions: Vec<RequestedAction>, now: Timestamp) -> Self {
        let expires = now.plus_secs(LIFETIME_SECS);
        Self { fleet: fleet.clone(), device: device.clone(), issued: now, expires, actions }
    }
}

/// Signs a list.
pub fn sign(statement: &ActionsStatement, key: &SigningKey) -> Envelope {
    let payload =
        serde_json::to_vec(statement).expect("a statement has only string keys, so it can be written as JSON");
    sign_as(PAYLOAD_TYPE, &payload, key)
}

/// Checks a list as an assignment's envelope is checked: signature first, then fleet, device and expiry.
///
/// `clock` is the device's wall clock; with `None` the expiry is not checked.
pub fn verify(bytes: &[u8], trust: &Trust, clock: Option<Timestamp>) -> Result<Vec<RequestedAction>, EnvelopeError> {
    let payload = opened(bytes, trust, PAYLOAD_TYPE)?;
    let statement: ActionsStatement =
        serde_json::from_slice(&payload).map_err(|error| EnvelopeError::Malformed { reason: error.to_string() })?;
    if statement.fleet != trust.fleet {
        return Err(EnvelopeError::WrongFleet { found: statement.fleet, wanted: trust.fleet.clone() });
    }
    if statement.device != trust.device {
        return Err(EnvelopeError::WrongDevice { found: statement.device, wanted: trust.device.clone() });
    }
    match clock {
        Some(now) if statement.expires < now => Err(EnvelopeError::Expired { expires: statement.expires, now }),
        Some(_) | None => Ok(statement.actions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actions::{DeviceAction, LockRule};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn trust() -> Trust {
        let (fleet, device) = ("acme".parse().expect("a fleet"), "kiosk-1".parse().expect("a device"));
        Trust { fleet, device, key: key(7).verifying_key() }
    }

    fn statement(device: &str) -> ActionsStatement {
        let action = RequestedAction {
            number: 3,
            action: DeviceAction::Reboot,
            locks: LockRule::Respected,
            actor: "anna".parse().expect("an actor"),
            reason: "it hangs".to_owned(),
            requested_at: NOW,
            expires: NOW.plus_secs(60),
        };
        let fleet = "acme".parse().expect("a fleet");
        ActionsStatement::of(&fleet, &device.parse().expect("a device"), vec![action], NOW)
    }

    fn check(envelope: &Envelope, clock: Timestamp) -> String {
        let bytes = serde_json::to_vec(envelope).expect("an envelope");
        match verify(&bytes, &trust(), Some(clock)) {
            Ok(actions) => actions.iter().map(|one| format!("{} {}", one.number, one.action)).collect(),
            Err(error) => error.reason().to_owned(),
        }
    }

    #[test]
    fn only_the_fleets_own_fresh_list_for_this_device_is_taken() {
        let good = sign(&statement("kiosk-1"), &key(7));
        assert_eq!(check(&good, NOW), "3 reboot");
        assert_eq!(check(&good, NOW.plus_secs(LIFETIME_SECS + 1)), "Expired");
        assert_eq!(check(&sign(&statement("kiosk-1"), &key(8)), NOW), "BadSignature");
        assert_eq!(check(&sign(&statement("kiosk-2"), &key(7)), NOW), "WrongDevice");
        let retyped = Envelope { payload_type: super::super::envelope::PAYLOAD_TYPE.to_owned(), ..good };
        assert_eq!(check(&retyped, NOW), "Malformed", "an assignment is no list of actions");
    }

    #[test]
    fn an_action_that_this_build_does_not_know_is_kept_apart_from_the_others() {
        let mut value = serde_json::to_value(statement("kiosk-1")).expect("a statement");
        value["actions"][0]["action"] = serde_json::json!({ "kind": "dance", "tempo": 120 });
        let payload = serde_json::to_vec(&value).expect("bytes");
        assert_eq!(check(&sign_as(PAYLOAD_TYPE, &payload, &key(7)), NOW), "3 something unknown");
    }
}
