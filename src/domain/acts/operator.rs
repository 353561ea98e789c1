//! What operators ask: approve, reject, hold, resume, make tokens, set attributes, raise the epoch. Every act has an actor and leaves an event.

use crate::domain::digest::Digest;
use crate::domain::fleet::{
    Approval, CLONE, Change, Control, DeviceRecord, Event, FleetState, Hold, HoldScope, Identity, IdentityStatus,
    Listing, Registered, Registry, RegistryAttribute, TokenBound, TokenRecord, WaitingFor,
};
use crate::domain::generation::Epoch;
use crate::domain::ids::{Actor, AttributeName, DeviceId, StageName};
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The longest reason of a hold or of a raised epoch, in characters.
pub const MAX_REASON_CHARS: usize = 500;
/// How many tokens may be valid at once.
pub const MAX_TOKENS: usize = 10_000;
/// The longest life of a token, in seconds: 90 days.
pub const MAX_TOKEN_SECS: i64 = 90 * 86_400;
/// How many attributes operators may set on one device: facts for people and filters, not a database.
pub const MAX_REGISTRY_ATTRIBUTES: usize = 64;
/// The longest value of such an attribute, in characters.
pub const MAX_REGISTRY_CHARS: usize = 256;
/// The shortest prefix of a digest that `approve` takes, in hexadecimal digits.
pub const MIN_DIGEST_PREFIX: usize = 8;

/// Why an operator's request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// Nothing that waits has this digest.
    #[error("no held commit has the digest {digest}")]
    NothingHeld {
        /// What was asked for.
        digest: String,
    },
    /// More than one held commit begins with these digits.
    #[error("{digest} is the beginning of more than one held digest")]
    Ambiguous {
        /// What was asked for.
        digest: String,
    },
    /// No such device.
    #[error("device {0} is not known")]
    UnknownDevice(DeviceId),
    /// The device does not belong to the fleet.
    #[error("device {0} is not enrolled")]
    NotEnrolled(DeviceId),
    /// No action with this number is open.
    #[error("device {device} has no open action {number}")]
    NoOpenAction {
        /// The device.
        device: DeviceId,
        /// The number.
        number: u64,
    },
    /// Its assignment has no such service.
    #[error("nothing called {name} is assigned to device {device}")]
    NoSuchService {
        /// The device.
        device: DeviceId,
        /// The name, `app/service`.
        name: String,
    },
    /// The device does not wait for anybody.
    #[error("device {0} does not wait for approval")]
    NotPending(DeviceId),
    /// There is nothing to offer once more: nothing is assigned, or a person must look at the device first.
    #[error("device {0} has no assignment that could be offered once more")]
    NothingToRetry(DeviceId),
    /// No such stage.
    #[error("stage {0} is not configured")]
    UnknownStage(StageName),
    /// Nothing to resume.
    #[error("{0} is not held")]
    NotHeld(HoldScope),
    /// Somebody else raised the epoch in the meantime.
    #[error("the epoch is {current}, not {asked}")]
    EpochMoved {
        /// The one that was to be raised.
        asked: Epoch,
        /// The one that it is.
        current: Epoch,
    },
    /// A value is out of its range.
    #[error("{what} must be {range}")]
    OutOfRange {
        /// Which value.
        what: &'static str,
        /// Its range, in words.
        range: &'static str,
    },
}

/// Who acts, and when.
#[derive(Clone, Debug)]
pub struct Acting {
    /// Who.
    pub actor: Actor,
    /// When.
    pub now: Timestamp,
}

impl Acting {
    pub(super) fn event(&self, kind: &str, subject: impl std::fmt::Display, message: String) -> Change {
        Change::Event(Event {
            at: self.now,
            actor: self.actor.clone(),
            kind: kind.to_owned(),
            subject: subject.to_string(),
            message,
            rollout: None,
        })
    }
}

/// Approves a held commit by its digest, or by the first digits of it.
pub fn approve_commit(state: &FleetState, digest: &str, acting: &Acting) -> Result<Vec<Change>, ActError> {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    if digits.len() < MIN_DIGEST_PREFIX || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ActError::OutOfRange { what: "a digest", range: "at least 8 hexadecimal digits" });
    }
    let mut fitting = held_digests(state).filter(|(_, held)| held.hex().starts_with(&digits.to_ascii_lowercase()));
    let Some((stage, held)) = fitting.next() else {
        return Err(ActError::NothingHeld { digest: digest.to_owned() });
    };
    if fitting.next().is_some() {
        return Err(ActError::Ambiguous { digest: digest.to_owned() });
    }
    let approval = Approval { actor: acting.actor.clone(), at: acting.now, stage: stage.clone() };
    let event = acting.event("Approved", stage, format!("approved the held changes {}", held.short()));
    Ok(vec![Change::Approval(*held, approval), event])
}

/// Digests that wait for a person.
pub fn held_digests(state: &FleetState) -> impl Iterator<Item = (&StageName, &Digest)> {
    state.stages.iter().filter_map(|(stage, record)| match &record.waiting.as_ref()?.why {
        WaitingFor::Approval { digest, .. } => Some((stage, digest)),
        WaitingFor::Repair { .. } => None,
    })
}

/// Lets a waiting device in. A second key that asks for an enrolled name replaces the first.
pub fn approve_device(state: &FleetState, device: &DeviceId, acting: &Acting) -> Result<Vec<Change>, ActError> {
    let identity = identity(state, device)?;
    let key_hash = match (&identity.contender, identity.status) {
        (Some(contender), _) => contender.key_hash,
        (None, IdentityStatus::Pending | IdentityStatus::Rejected) => identity.key_hash,
        (None, IdentityStatus::Enrolled) => return Err(ActError::NotPending(device.clone())),
    };
    let replaced = identity.contender.is_some();
    let approved = Identity {
        key_hash,
        status: IdentityStatus::Enrolled,
        since: acting.now,
        actor: Some(acting.actor.clone()),
        contender: None,
        attributes: identity.attributes.clone(),
    };
    let mut changes = vec![Change::Identity(device.clone(), Arc::new(approved))];
    if replaced {
        // Other hardware counts its starts from the beginning: by what the old one said, all its reports would be stale.
        changes.push(Change::Unreported(device.clone()));
    }
    changes.push(acting.event("Enrolled", device, "approved by a person".to_owned()));
    Ok(changes)
}

/// Turns a waiting device away. An enrolled device only loses the second key that asked for its name.
pub fn reject_device(state: &FleetState, device: &DeviceId, acting: &Acting) -> Result<Vec<Change>, ActError> {
    let identity = identity(state, device)?;
    let rejected = match (&identity.contender, identity.status) {
        (Some(_), status) => Identity { contender: None, status, ..identity.clone() },
        (None, IdentityStatus::Pending) => Identity {
            status: IdentityStatus::Rejected,
            since: acting.now,
            actor: Some(acting.actor.clone()),
            ..identity.clone()
        },
        (None, IdentityStatus::Enrolled | IdentityStatus::Rejected) => {
            return Err(ActError::NotPending(device.clone()));
        }
    };
    Ok(vec![
        Change::Identity(device.clone(), Arc::new(rejected)),
        acting.event("Rejected", device, "turned away by a person".to_owned()),
    ])
}

fn identity<'a>(state: &'a FleetState, device: &DeviceId) -> Result<&'a Identity, ActError> {
    let record = state.devices.get(device).ok_or_else(|| ActError::UnknownDevice(device.clone()))?;
    record.identity.as_deref().ok_or_else(|| ActError::NotPending(device.clone()))
}

/// Pauses a scope: nothing new is assigned until it is resumed or the hold ends by itself.
pub fn hold(
    state: &FleetState,
    stages: &[StageName],
    scope: &HoldScope,
    reason: &str,
    until: Option<Timestamp>,
    acting: &Acting,
) -> Result<Vec<Change>, ActError> {
    check_scope(state, stages, scope)?;
    check_reason(reason)?;
    if until.is_some_and(|until| until <= acting.now) {
        return Err(ActError::OutOfRange { what: "the end of the hold", range: "in the future" });
    }
    let hold = Hold { reason: reason.to_owned(), actor: acting.actor.clone(), since: acting.now, until };
    Ok(vec![Change::Hold(scope.clone(), hold), acting.event("Held", scope, reason.to_owned())])
}

/// Ends a hold; for a device, ends its conflict as well.
pub fn resume(state: &FleetState, scope: &HoldScope, acting: &Acting) -> Result<Vec<Change>, ActError> {
    let mut changes = Vec::new();
    if state.holds.contains_key(scope) {
        changes.push(Change::HoldGone(scope.clone()));
    }
    if let HoldScope::Device(device) = scope
        && let Some(record) = state.devices.get(device)
        && let Some(conflict) = &record.control.conflict
    {
        // A person has looked: the device's place is believed, however far ahead it is.
        let floor = record.control.floor.max(conflict.device.map(|mark| mark.order));
        let control = Control { conflict: None, reissues: 0, floor, ..Control::clone(&record.control) };
        changes.push(Change::Control(device.clone(), Arc::new(control)));
        if conflict.reason == CLONE {
            // Which of the two agents goes on is not known: whichever reports next.
            changes.push(Change::Unreported(device.clone()));
        }
    }
    if changes.is_empty() {
        return Err(ActError::NotHeld(scope.clone()));
    }
    changes.push(acting.event("Resumed", scope, "resumed by a person".to_owned()));
    Ok(changes)
}

fn check_scope(state: &FleetState, stages: &[StageName], scope: &HoldScope) -> Result<(), ActError> {
    match scope {
        HoldScope::Fleet => Ok(()),
        HoldScope::Stage(stage) if stages.contains(stage) => Ok(()),
        HoldScope::Stage(stage) => Err(ActError::UnknownStage(stage.clone())),
        HoldScope::Device(device) if state.devices.contains_key(device) => Ok(()),
        HoldScope::Device(device) => Err(ActError::UnknownDevice(device.clone())),
    }
}

/// A token that somebody wants to make.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its public id, 12 hexadecimal digits.
    pub id: String,
    /// SHA-256 of its secret.
    pub secret_hash: Digest,
    /// How many devices it lets in, 1 to 100000.
    pub uses: u32,
    /// Seconds for which it is valid, at most [`MAX_TOKEN_SECS`].
    pub valid_secs: i64,
    /// Which names it lets in.
    pub bound: TokenBound,
}

/// Makes an enrollment token.
pub fn new_token(state: &FleetState, token: NewToken, acting: &Acting) -> Result<Vec<Change>, ActError> {
    let NewToken { id, secret_hash, uses, valid_secs, bound } = token;
    if !(1..=100_000).contains(&uses) {
        return Err(ActError::OutOfRange { what: "the number of uses", range: "1 to 100000" });
    }
    if !(1..=MAX_TOKEN_SECS).contains(&valid_secs) {
        return Err(ActError::OutOfRange { what: "the token's life", range: "1 second to 90 days" });
    }
    match &bound {
        TokenBound::Names(names) if names.is_empty() => {
            return Err(ActError::OutOfRange { what: "the names", range: "at least one" });
        }
        TokenBound::Selector(pattern) if pattern.is_empty() || pattern.len() > 256 => {
            return Err(ActError::OutOfRange { what: "the pattern", range: "1 to 256 characters" });
        }
        TokenBound::Names(_) | TokenBound::Selector(_) => {}
    }
    // Expired tokens are swept when new ones are made, so that nothing has to wake up for them.
    let mut changes: Vec<Change> = state
        .tokens
        .iter()
        .filter(|(_, record)| record.expires <= acting.now)
        .map(|(id, _)| Change::TokenGone(id.clone()))
        .collect();
    if state.tokens.len() - changes.len() >= MAX_TOKENS {
        return Err(ActError::OutOfRange { what: "the number of valid tokens", range: "at most 10000" });
    }
    let record = TokenRecord {
        secret_hash,
        uses_left: uses,
        expires: acting.now.plus_secs(valid_secs),
        bound,
        actor: acting.actor.clone(),
    };
    let message = format!("made an enrollment token for {uses} devices, valid until {}", record.expires);
    changes.push(acting.event("TokenMade", &id, message));
    changes.push(Change::Token(id, record));
    Ok(changes)
}

/// Raises the epoch from the one that the operator saw: every assignment made from now on is newer than everything before,
/// wherever it was made.
pub fn raise_epoch(state: &FleetState, from: Epoch, reason: &str, acting: &Acting) -> Result<Vec<Change>, ActError> {
    check_reason(reason)?;
    let current = state.epoch();
    if from != current {
        return Err(ActError::EpochMoved { asked: from, current });
    }
    let epoch = current.next();
    let message = format!("the epoch is {epoch} from now on: {reason}");
    Ok(vec![Change::Epoch(epoch), acting.event("EpochRaised", "fleet", message)])
}

/// A reason says something, and not too much.
pub fn check_reason(reason: &str) -> Result<(), ActError> {
    let length = reason.chars().count();
    if length == 0 || length > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
        return Err(ActError::OutOfRange { what: "the reason", range: "1 to 500 characters on one line" });
    }
    Ok(())
}

/// Says whether the registry lists a device, and sets and removes attributes of it. A device that is not known becomes known by
/// being listed; it gets nothing before it has enrolled.
pub fn register(
    state: &FleetState,
    device: &DeviceId,
    listing: Listing,
    set: &BTreeMap<AttributeName, String>,
    remove: &BTreeSet<AttributeName>,
    acting: &Acting,
) -> Result<Vec<Change>, ActError> {
    let record = match (state.devices.get(device), listing) {
        (Some(record), _) => record.clone(),
        (None, Listing::Listed) => DeviceRecord::default(),
        (None, Listing::Unlisted) => return Err(ActError::UnknownDevice(device.clone())),
    };
    let mut registry = record.registry.as_deref().cloned().unwrap_or_default();
    let mut changes = Vec::new();
    if registry.registered.as_ref().map(|known| known.listing) != Some(listing) {
        registry.registered = Some(Registered { listing, actor: acting.actor.clone(), since: acting.now });
        let (kind, message) = match listing {
            Listing::Listed => ("Registered", "the registry lists it from now on"),
            Listing::Unlisted => ("Unregistered", "the registry does not list it any more"),
        };
        changes.push(acting.event(kind, device, message.to_owned()));
    }
    let done = edit_attributes(&mut registry, set, remove, acting)?;
    if !done.is_empty() {
        changes.push(acting.event("AttributesSet", device, done.join("; ")));
    }
    if !changes.is_empty() {
        changes.insert(0, Change::Registry(device.clone(), Arc::new(registry)));
    }
    Ok(changes)
}

/// Sets and removes attributes of a device. What is there already is left as it is, its author included.
pub fn set_attributes(
    state: &FleetState,
    device: &DeviceId,
    set: &BTreeMap<AttributeName, String>,
    remove: &BTreeSet<AttributeName>,
    acting: &Acting,
) -> Result<Vec<Change>, ActError> {
    let record = state.devices.get(device).ok_or_else(|| ActError::UnknownDevice(device.clone()))?;
    if set.is_empty() && remove.is_empty() {
        return Err(ActError::OutOfRange { what: "the attributes", range: "at least one to set or remove" });
    }
    let mut registry = record.registry.as_deref().cloned().unwrap_or_default();
    let done = edit_attributes(&mut registry, set, remove, acting)?;
    if done.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![
        Change::Registry(device.clone(), Arc::new(registry)),
        acting.event("AttributesSet", device, done.join("; ")),
    ])
}

/// Edits attributes; answers with what changed, for people.
fn edit_attributes(
    registry: &mut Registry,
    set: &BTreeMap<AttributeName, String>,
    remove: &BTreeSet<AttributeName>,
    acting: &Acting,
) -> Result<Vec<String>, ActError> {
    let fits = |value: &String| (1..=MAX_REGISTRY_CHARS).contains(&value.chars().count());
    if !set.values().all(|value| fits(value) && !value.chars().any(char::is_control)) {
        return Err(ActError::OutOfRange { what: "a value", range: "1 to 256 characters on one line" });
    }
    let mut done = Vec::new();
    for name in remove.iter().filter(|name| !set.contains_key(*name)) {
        if let Some(attribute) = registry.attributes.remove(name) {
            done.push(format!("removed {name}={}", attribute.value));
        }
    }
    for (name, value) in set {
        if registry.attributes.get(name).is_some_and(|known| known.value == *value) {
            continue;
        }
        let attribute = RegistryAttribute { value: value.clone(), actor: acting.actor.clone(), since: acting.now };
        let old = registry.attributes.insert(name.clone(), attribute);
        let before = old.map(|old| format!(", was {}", old.value)).unwrap_or_default();
        done.push(format!("set {name}={value}{before}"));
    }
    if registry.attributes.len() > MAX_REGISTRY_ATTRIBUTES {
        return Err(ActError::OutOfRange { what: "the number of attributes of a device", range: "at most 64" });
    }
    Ok(done)
}
