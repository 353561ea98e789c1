//! The signed envelope in which an assignment travels: DSSE with one Ed25519 signature.
//!
//! DSSE is described at <https://github.com/secure-systems-lab/dsse>: the signature covers the pre-authentication encoding of
//! payload type and payload bytes, so nothing has to be canonicalised before it is checked.

use crate::domain::assignment::{Assignment, Force, Mark};
use crate::domain::device::ledger::Held;
use crate::domain::digest::{Digest, hex};
use crate::domain::generation::{Attempt, Epoch, Generation, Order};
use crate::domain::ids::{CommitId, DeviceId, FleetName, StageName};
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::Refusal;
use crate::domain::secret::SecretValues;
use crate::domain::spec::{SealedSpec, SpecError};
use crate::domain::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The payload type of an assignment.
pub const PAYLOAD_TYPE: &str = "application/vnd.bellwether.assignment.v1+json";

/// How many seconds an envelope can be accepted after it was issued. The controller signs anew at each delivery, so this
/// only bounds how long a captured envelope is of use.
pub const ENVELOPE_LIFETIME_SECS: i64 = 24 * 3600;

/// The longest envelope that an agent reads, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 4 << 20;

/// A DSSE envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What the payload is, [`PAYLOAD_TYPE`].
    pub payload_type: String,
    /// The payload bytes in base64.
    pub payload: String,
    /// Signatures; one is enough.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// The key's name: the first 16 hexadecimal digits of the SHA-256 of the public key.
    pub keyid: String,
    /// The signature in base64.
    pub sig: String,
}

/// What an envelope states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The fleet.
    pub fleet: FleetName,
    /// For which device, and no other.
    pub device: DeviceId,
    /// The stage that owns the device.
    pub stage: StageName,
    /// The commit whose content this is.
    pub commit: CommitId,
    /// The epoch.
    pub epoch: Epoch,
    /// The generation.
    pub generation: Generation,
    /// How often this digest was offered.
    pub attempt: Attempt,
    /// When the envelope was signed.
    pub issued: Timestamp,
    /// Until when it can be accepted.
    pub expires: Timestamp,
    /// How many seconds the device must stay healthy before it counts as succeeded.
    #[serde(default)]
    pub soak_secs: u32,
    /// An operator's word that update locks do not count for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Force>,
    /// SHA-256 of the spec's bytes.
    pub spec_digest: Digest,
    /// The spec's bytes.
    pub spec: String,
    /// Values of the secrets that the spec refers to.
    #[serde(default, skip_serializing_if = "SecretValues::is_empty")]
    pub secrets: SecretValues,
}

impl Statement {
    /// What an assignment states when it is delivered at `now`.
    pub fn of(fleet: &FleetName, assignment: &Assignment, now: Timestamp) -> Self {
        Self {
            fleet: fleet.clone(),
            device: assignment.device.clone(),
            stage: assignment.stage.clone(),
            commit: assignment.commit.clone(),
            epoch: assignment.order.epoch,
            generation: assignment.order.generation,
            attempt: assignment.attempt,
            issued: now,
            expires: now.plus_secs(ENVELOPE_LIFETIME_SECS),
            soak_secs: assignment.soak_secs,
            force: assignment.force.clone(),
            spec_digest: assignment.spec.digest,
            spec: assignment.spec.payload.to_string(),
            secrets: SecretValues::default(),
        }
    }

    /// Its place and digest.
    pub fn mark(&self) -> Mark {
        Mark { order: Order { epoch: self.epoch, generation: self.generation }, digest: self.spec_digest }
    }
}

/// Why an envelope is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an envelope at all.
    #[error("the envelope is not of the expected shape: {reason}")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
    /// No signature by the pinned key fits.
    #[error("no signature by the fleet's pinned key fits the envelope")]
    BadSignature,
    /// Meant for another fleet.
    #[error("the envelope is for fleet {found}, this device belongs to {wanted}")]
    WrongFleet {
        /// The fleet that it names.
        found: FleetName,
        /// This device's.
        wanted: FleetName,
    },
    /// Meant for another device.
    #[error("the envelope is for device {found}, this is {wanted}")]
    WrongDevice {
        /// The device that it names.
        found: DeviceId,
        /// This one.
        wanted: DeviceId,
    },
    /// Too old to be accepted.
    #[error("the envelope expired at {expires}, it is now {now}")]
    Expired {
        /// When it expired.
        expires: Timestamp,
        /// Now, by the device's clock.
        now: Timestamp,
    },
    /// The digest that it states is not that of its spec.
    #[error("the envelope states digest {stated:?}, its spec has {actual:?}")]
    DigestMismatch {
        /// What it states.
        stated: Digest,
        /// What the bytes have.
        actual: Digest,
    },
    /// The spec cannot be run.
    #[error("the envelope's spec cannot be used")]
    Spec(#[source] SpecError),
}

impl EnvelopeError {
    /// One word for reports.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "Malformed",
            Self::BadSignature => "BadSignature",
            Self::WrongFleet { .. } => "WrongFleet",
            Self::WrongDevice { .. } => "WrongDevice",
            Self::Expired { .. } => "Expired",
            Self::DigestMismatch { .. } => "DigestMismatch",
            Self::Spec(SpecError::NewerSchema { .. }) => "NewerSchema",
            Self::Spec(SpecError::TooLong { .. } | SpecError::Malformed { .. }) => "Malformed",
        }
    }
}

/// The name of a public key.
pub fn key_id(key: &VerifyingKey) -> String {
    hex(&Digest::of(key.as_bytes()).bytes()[..8])
}

/// DSSE's pre-authentication encoding.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Signs a statement.
pub fn sign(statement: &Statement, key: &SigningKey) -> Envelope {
    let payload =
        serde_json::to_vec(statement).expect("a statement has only string keys, so it can be written as JSON");
    sign_payload(&payload, key)
}

/// Signs a payload, whatever it is: what a controller with a bug might sign is what fuzzing asks about.
pub fn sign_payload(payload: &[u8], key: &SigningKey) -> Envelope {
    sign_as(PAYLOAD_TYPE, payload, key)
}

/// Signs a payload of a type.
pub fn sign_as(payload_type: &str, payload: &[u8], key: &SigningKey) -> Envelope {
    let signature = key.sign(&pre_authentication_encoding(payload_type, payload));
    Envelope {
        payload_type: payload_type.to_owned(),
        payload: BASE64.encode(payload),
        signatures: vec![EnvelopeSignature {
            keyid: key_id(&key.verifying_key()),
            sig: BASE64.encode(signature.to_bytes()),
        }],
    }
}

/// Who a device is and whom it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Its fleet.
    pub fleet: FleetName,
    /// Its name.
    pub device: DeviceId,
    /// The fleet's public key, pinned at enrollment.
    pub key: VerifyingKey,
}

/// Checks an envelope: signature first, then fleet, device, expiry and digest. The order of assignments is checked by
/// [`crate::domain::assignment::accept`].
///
/// `clock` is the device's wall clock; pass `None` while the device does not trust it, and expiry is not checked.
pub fn verify(
    envelope: &[u8],
    trust: &Trust,
    clock: Option<Timestamp>,
) -> Result<(Statement, SealedSpec), EnvelopeError> {
    let malformed = |reason: String| EnvelopeError::Malformed { reason };
    let payload = opened(envelope, trust, PAYLOAD_TYPE)?;
    let statement: Statement = serde_json::from_slice(&payload).map_err(|error| malformed(error.to_string()))?;
    checked(statement, trust, clock)
}

/// The payload of an envelope of this type that the pinned key signed. Nothing that it says is checked.
pub fn opened(envelope: &[u8], trust: &Trust, payload_type: &str) -> Result<Vec<u8>, EnvelopeError> {
    let malformed = |reason: String| EnvelopeError::Malformed { reason };
    if envelope.len() > MAX_ENVELOPE_BYTES {
        return Err(malformed(format!("{} bytes; at most {MAX_ENVELOPE_BYTES} are read", envelope.len())));
    }
    let envelope: Envelope = serde_json::from_slice(envelope).map_err(|error| malformed(error.to_string()))?;
    let payload = BASE64.decode(&envelope.payload).map_err(|error| malformed(error.to_string()))?;
    if envelope.payload_type != payload_type {
        return Err(malformed(format!("its payload type is not {payload_type}")));
    }
    let signed = pre_authentication_encoding(&envelope.payload_type, &payload);
    let wanted = key_id(&trust.key);
    let fits = envelope.signatures.iter().take(8).filter(|one| one.keyid == wanted).any(|one| {
        BASE64
            .decode(&one.sig)
            .ok()
            .and_then(|bytes| Signature::from_slice(&bytes).ok())
            .is_some_and(|signature| trust.key.verify_strict(&signed, &signature).is_ok())
    });
    if !fits && !planted(Bug::BelieveAnySignature) {
        return Err(EnvelopeError::BadSignature);
    }
    Ok(payload)
}

fn checked(
    statement: Statement,
    trust: &Trust,
    clock: Option<Timestamp>,
) -> Result<(Statement, SealedSpec), EnvelopeError> {
    if statement.fleet != trust.fleet {
        return Err(EnvelopeError::WrongFleet { found: statement.fleet, wanted: trust.fleet.clone() });
    }
    if statement.device != trust.device && !planted(Bug::BelieveAnyDevice) {
        return Err(EnvelopeError::WrongDevice { found: statement.device, wanted: trust.device.clone() });
    }
    if let Some(now) = clock
        && statement.expires < now
    {
        return Err(EnvelopeError::Expired { expires: statement.expires, now });
    }
    let actual = Digest::of(statement.spec.as_bytes());
    if actual != statement.spec_digest {
        return Err(EnvelopeError::DigestMismatch { stated: statement.spec_digest, actual });
    }
    let spec = SealedSpec::open(&statement.spec).map_err(EnvelopeError::Spec)?;
    Ok((statement, spec))
}

/// What an envelope comes to on a device: an assignment that can be believed, or the refusal to report.
pub fn offer(envelope: &[u8], trust: &Trust, clock: Option<Timestamp>) -> Result<Held, Refusal> {
    offered(envelope, trust, clock).map(|(held, _)| held)
}

/// The same with the values of the secrets that came along. An envelope that lacks one that its spec needs is refused: a
/// service must never start with a gap in its place.
pub fn offered(envelope: &[u8], trust: &Trust, clock: Option<Timestamp>) -> Result<(Held, SecretValues), Refusal> {
    let (statement, spec) = verify(envelope, trust, clock).map_err(|error| Refusal {
        offered: None,
        reason: error.reason().to_owned(),
        message: match &error {
            EnvelopeError::Spec(source) => format!("{error}: {source}"),
            other => other.to_string(),
        },
    })?;
    let mark = statement.mark();
    let Statement { stage, commit, attempt, soak_secs, force, secrets, .. } = statement;
    if let Some(missing) = spec.spec.secrets().iter().find(|reference| !secrets.0.contains_key(*reference)) {
        let message = format!("the envelope does not have the value of {missing}");
        return Err(Refusal { offered: Some(mark), reason: "SecretMissing".to_owned(), message });
    }
    Ok((Held { mark, stage, commit, attempt, soak_secs, force, spec }, secrets))
}

#[cfg(test)]
mod tests;
