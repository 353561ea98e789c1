//! A device asks to belong to the fleet.

use crate::domain::digest::{Digest, unhex};
use crate::domain::enrollment::parse_credential;
use crate::domain::fleet::{
    Change, Contender, Event, FleetState, Identity, IdentityStatus, MAX_PENDING, TokenBound, TokenRecord,
};
use crate::domain::ids::{Actor, DeviceId};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many attributes a device may state when it asks.
const MAX_ATTRIBUTES: usize = 64;
/// The longest name and value of such an attribute, in bytes.
const MAX_ATTRIBUTE_BYTES: usize = 1024;

/// A device asks to belong to the fleet. Asking again with the same key is harmless and tells how the request stands.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// The name that the device wants: one that the token is bound to, or that an operator will approve.
    pub device: DeviceId,
    /// The device's own key, 64 hexadecimal digits of 32 random bytes. Only its SHA-256 is stored.
    pub key: String,
    /// An enrollment token; without one the device waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Facts that the device states of itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

// The key and the token are secrets.
impl std::fmt::Debug for EnrollRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrollRequest").field("device", &self.device).finish_non_exhaustive()
    }
}

/// How an enrollment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnrollStatus {
    /// The device belongs to the fleet.
    Enrolled,
    /// A person must approve it first; ask again later.
    Pending,
}

/// Why a device is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrollError {
    /// The request is not of the expected shape.
    #[error("{0}")]
    Malformed(&'static str),
    /// Unknown, expired, used up, or not for this name: which one is not told to strangers.
    #[error("the enrollment token is not valid for device {device}")]
    BadToken {
        /// The name that was asked for.
        device: DeviceId,
    },
    /// A person said no.
    #[error("device {device} was rejected")]
    Rejected {
        /// The name.
        device: DeviceId,
    },
    /// Too many devices wait already.
    #[error("{MAX_PENDING} devices wait for approval already")]
    TooManyPending,
}

/// The hash under which a device's key is kept and looked up.
pub fn key_hash(key: &str) -> Option<Digest> {
    unhex(key).filter(|bytes| bytes.len() == 32).map(|bytes| Digest::of(&bytes))
}

/// Decides an enrollment. Asking again with the same key changes nothing.
pub fn enroll(
    state: &FleetState,
    request: &EnrollRequest,
    now: Timestamp,
) -> Result<(Vec<Change>, EnrollStatus), EnrollError> {
    let device = &request.device;
    let Some(key) = key_hash(&request.key) else {
        return Err(EnrollError::Malformed("the device's key is not 64 lower-case hexadecimal digits"));
    };
    if request.attributes.len() > MAX_ATTRIBUTES
        || request.attributes.iter().any(|(name, value)| name.len().max(value.len()) > MAX_ATTRIBUTE_BYTES)
    {
        return Err(EnrollError::Malformed("too many or too long attributes"));
    }
    let known = state.devices.get(device).and_then(|record| record.identity.as_deref());
    let same_key = known.is_some_and(|known| known.key_hash == key);
    if let Some(known) = known.filter(|_| same_key) {
        match known.status {
            IdentityStatus::Enrolled => return Ok((Vec::new(), EnrollStatus::Enrolled)),
            IdentityStatus::Rejected => return Err(EnrollError::Rejected { device: device.clone() }),
            IdentityStatus::Pending => {}
        }
    }
    let token = request.token.as_deref().map(|token| valid_token(state, token, device, now)).transpose()?;
    // A name that belongs to another key needs a person, token or not.
    if let Some(known) = known.filter(|known| !same_key && known.status == IdentityStatus::Enrolled) {
        return contend(state, device, known, key, now);
    }
    match token {
        Some((id, record)) => Ok((let_in(request, key, id, record, now), EnrollStatus::Enrolled)),
        None if same_key => Ok((Vec::new(), EnrollStatus::Pending)),
        None => wait_for_approval(state, request, known, key, now),
    }
}

fn let_in(request: &EnrollRequest, key: Digest, id: &str, record: &TokenRecord, now: Timestamp) -> Vec<Change> {
    let actor = Actor::new(&format!("token {id}")).unwrap_or_else(|_| record.actor.clone());
    let identity = Identity {
        key_hash: key,
        status: IdentityStatus::Enrolled,
        since: now,
        actor: Some(actor.clone()),
        attributes: request.attributes.clone(),
        contender: None,
    };
    let uses_left = record.uses_left - 1;
    let token = match uses_left {
        0 => Change::TokenGone(id.to_owned()),
        _ => Change::Token(id.to_owned(), TokenRecord { uses_left, ..record.clone() }),
    };
    let message = format!("enrolled with a token made by {}", record.actor);
    vec![
        Change::Identity(request.device.clone(), Arc::new(identity)),
        token,
        Change::Event(Event {
            at: now,
            actor,
            kind: "Enrolled".to_owned(),
            subject: request.device.to_string(),
            message,
            rollout: None,
        }),
    ]
}

fn wait_for_approval(
    state: &FleetState,
    request: &EnrollRequest,
    known: Option<&Identity>,
    key: Digest,
    now: Timestamp,
) -> Result<(Vec<Change>, EnrollStatus), EnrollError> {
    let device = &request.device;
    match known.map(|known| known.status) {
        Some(IdentityStatus::Rejected) => return Err(EnrollError::Rejected { device: device.clone() }),
        // Whoever asked first waits; a second stranger must not push the first one out.
        Some(IdentityStatus::Pending) => {
            return Err(EnrollError::BadToken { device: device.clone() });
        }
        Some(IdentityStatus::Enrolled) | None => {}
    }
    let pending = state
        .devices
        .values()
        .filter(|record| record.identity.as_ref().is_some_and(|identity| identity.status == IdentityStatus::Pending));
    if pending.count() >= MAX_PENDING {
        return Err(EnrollError::TooManyPending);
    }
    let identity = Identity {
        key_hash: key,
        status: IdentityStatus::Pending,
        since: now,
        actor: None,
        attributes: request.attributes.clone(),
        contender: None,
    };
    Ok((vec![Change::Identity(device.clone(), Arc::new(identity))], EnrollStatus::Pending))
}

fn contend(
    _state: &FleetState,
    device: &DeviceId,
    known: &Identity,
    key: Digest,
    now: Timestamp,
) -> Result<(Vec<Change>, EnrollStatus), EnrollError> {
    match &known.contender {
        Some(contender) if contender.key_hash == key => Ok((Vec::new(), EnrollStatus::Pending)),
        Some(_) => Err(EnrollError::BadToken { device: device.clone() }),
        None => {
            let contender = Some(Contender { key_hash: key, since: now });
            let identity = Identity { contender, ..known.clone() };
            Ok((vec![Change::Identity(device.clone(), Arc::new(identity))], EnrollStatus::Pending))
        }
    }
}

/// A token as it is sent, `bwt1_<id>_<secret>`, if it is valid for a device.
fn valid_token<'a>(
    state: &'a FleetState,
    token: &str,
    device: &DeviceId,
    now: Timestamp,
) -> Result<(&'a str, &'a TokenRecord), EnrollError> {
    let bad = || EnrollError::BadToken { device: device.clone() };
    let (id, secret) = parse_credential(token).map_err(|_| bad())?;
    let (id, record) = state.tokens.get_key_value(&id.to_string()).ok_or_else(bad)?;
    // Digests of 32 random bytes: comparing them tells nothing about the secret.
    let fits = record.secret_hash == secret.digest()
        && record.uses_left > 0
        && now < record.expires
        && admits(&record.bound, device);
    if fits { Ok((id, record)) } else { Err(bad()) }
}

/// Whether a token's binding admits a name.
pub fn admits(bound: &TokenBound, device: &DeviceId) -> bool {
    match bound {
        TokenBound::Names(names) => names.contains(device),
        TokenBound::Selector(pattern) => matches(pattern, device.as_str()),
    }
}

/// Whether a text matches a pattern in which `*` stands for any text. Linear in both lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    // Without a `*` the whole text must have been the prefix.
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Devices by the hash of their key, for looking up who speaks.
pub fn by_key(state: &FleetState) -> BTreeMap<Digest, DeviceId> {
    let identities = state.devices.iter().filter_map(|(device, record)| Some((record.identity.as_ref()?, device)));
    identities.map(|(identity, device)| (identity.key_hash, device.clone())).collect()
}
