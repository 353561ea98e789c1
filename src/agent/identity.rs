//! Who the device is: its name, its own key, and whom it believes. Kept in one private file.

use super::files::{StateDirectory, read_bounded, write_durably};
use crate::domain::digest::{hex, unhex};
use crate::domain::ids::{DeviceId, FleetName};
use crate::protocol::v1::envelope::Trust;
use crate::protocol::v1::messages::EnrollStatus;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::VerifyingKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// The longest identity file that is read, in bytes: a few certificates and names.
const MAX_IDENTITY_BYTES: usize = 1 << 20;

/// The file's name in the state directory.
pub(super) const FILE: &str = "identity.json";

/// Who the device is.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The controller's address, `https://host:port`.
    pub server: String,
    /// The device's name.
    pub device: DeviceId,
    /// The device's own key, 64 hexadecimal digits. Secret.
    key: String,
    /// The authorities that are believed, DER in base64; empty until the first connection by fingerprint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    authorities: Vec<String>,
    /// What the enrollment came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment: Option<Enrollment>,
}

/// What the controller answered to the enrollment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrollment {
    /// How it stands.
    pub status: EnrollStatus,
    /// The fleet.
    pub fleet: FleetName,
    /// The fleet's public key, 64 hexadecimal digits, pinned.
    pub public_key: String,
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file system refused.
    #[error("could not {attempted} the device's identity")]
    File {
        /// What was attempted.
        attempted: &'static str,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The file is not an identity.
    #[error(
        "the device's identity {path} cannot be used: {reason}; nothing was changed and everything keeps running. \
         Restore it, or move it away to have the device enroll anew"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said; never a value.
        reason: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for the device's key")]
    NoRandomness,
    /// The pinned key is no Ed25519 key.
    #[error("the fleet's public key is not 64 hexadecimal digits of an Ed25519 key")]
    BadPublicKey,
}

// The key is a secret.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("server", &self.server).field("device", &self.device).finish_non_exhaustive()
    }
}

/// So many random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
    Ok(bytes)
}

impl Identity {
    /// A new identity with a key of its own.
    pub fn new(server: String, device: DeviceId) -> Result<Self, IdentityError> {
        let key = hex(&random::<32>()?);
        Ok(Self { server, device, key, authorities: Vec::new(), enrollment: None })
    }

    /// Reads the identity of a state directory, if there is one.
    pub fn read(directory: &StateDirectory) -> Result<Option<Self>, IdentityError> {
        Self::read_from(directory, FILE)
    }

    /// Writes it durably.
    pub fn write(&self, directory: &StateDirectory) -> Result<(), IdentityError> {
        self.write_to(directory, FILE)
    }

    /// Reads an identity that is kept beside the one that counts.
    pub(super) fn read_from(directory: &StateDirectory, name: &str) -> Result<Option<Self>, IdentityError> {
        let path = directory.file(name);
        let bytes = read_bounded(&path, MAX_IDENTITY_BYTES)
            .map_err(|source| IdentityError::File { attempted: "read", source })?;
        let Some(bytes) = bytes else { return Ok(None) };
        // The parser's message may quote what it read, and that may be the key: only the place is told.
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let reason = format!("it is not of the expected shape at line {}, column {}", error.line(), error.column());
            IdentityError::Malformed { path, reason }
        })
    }

    /// Writes it durably beside the one that counts.
    pub(super) fn write_to(&self, directory: &StateDirectory, name: &str) -> Result<(), IdentityError> {
        let bytes = serde_json::to_vec_pretty(self).expect("an identity has only string keys");
        write_durably(&directory.file(name), &bytes)
            .map_err(|source| IdentityError::File { attempted: "write", source })
    }

    /// The same with another's key.
    pub(super) fn with_key_of(self, other: &Self) -> Self {
        Self { key: other.key.clone(), ..self }
    }

    /// The device's key, for the requests that prove it. Secret.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The authorities that are believed.
    pub(crate) fn authorities(&self) -> Vec<CertificateDer<'static>> {
        self.authorities.iter().filter_map(|text| BASE64.decode(text).ok()).map(CertificateDer::from).collect()
    }

    /// Pins the authorities from now on.
    pub(crate) fn pin(&mut self, authorities: &[CertificateDer<'static>]) {
        self.authorities = authorities.iter().map(|der| BASE64.encode(der)).collect();
    }

    /// Whom the device believes, once it belongs to the fleet.
    pub fn trust(&self) -> Result<Option<Trust>, IdentityError> {
        let Some(Enrollment { status: EnrollStatus::Enrolled, fleet, public_key }) = &self.enrollment else {
            return Ok(None);
        };
        let key = unhex(public_key)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
            .ok_or(IdentityError::BadPublicKey)?;
        Ok(Some(Trust { fleet: fleet.clone(), device: self.device.clone(), key }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_identity_is_private_and_survives() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = StateDirectory::open(place.path()).expect("not in use");
        assert!(Identity::read(&directory).expect("none yet").is_none());
        let device = DeviceId::new("kiosk-1").expect("a name");
        let mut identity = Identity::new("https://fleet.example:8443".to_owned(), device).expect("made");
        identity.pin(&[CertificateDer::from(vec![1, 2, 3])]);
        identity.write(&directory).expect("written");
        let again = Identity::read(&directory).expect("readable").expect("there");
        assert_eq!((again.key(), again.authorities()), (identity.key(), identity.authorities()));
        let mode = std::fs::metadata(directory.file(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{identity:?}").contains(identity.key()));
    }

    #[test]
    fn a_broken_identity_is_told_by_its_place_and_not_by_its_content() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = StateDirectory::open(place.path()).expect("not in use");
        std::fs::write(directory.file(FILE), "{\"server\": \"x\",\n \"key\": 12345678").expect("written");
        let error = Identity::read(&directory).expect_err("not an identity").to_string();
        assert!(!error.contains("12345678"), "{error}");
        assert!(error.contains("line 2"), "{error}");
    }
}
