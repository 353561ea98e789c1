//! Decrypting with age identities.

use crate::domain::secret::MAX_SECRET_BYTES;
use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor, Identity};
use std::io::Read as _;

/// Why something could not be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AgeError {
    /// None of the identities is among its recipients.
    #[error("it is not encrypted to the controller's identity")]
    NotForUs,
    /// It is damaged, or not of this form.
    #[error("it is damaged, or not encrypted with age")]
    Damaged,
    /// The content is longer than a secret may be.
    #[error("its content is longer than a secret may be")]
    TooLong,
}

/// Decrypts a text or binary file of age, with armor or without.
pub(super) fn decrypt(bytes: &[u8], identities: &[Box<dyn Identity + Send + Sync>]) -> Result<Vec<u8>, AgeError> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(|_| AgeError::Damaged)?;
    let identities = identities.iter().map(|identity| &**identity as &dyn Identity);
    let reader = decryptor.decrypt(identities).map_err(|error| match error {
        DecryptError::NoMatchingKeys => AgeError::NotForUs,
        _ => AgeError::Damaged,
    })?;
    let mut content = Vec::new();
    reader.take(MAX_SECRET_BYTES as u64 + 3).read_to_end(&mut content).map_err(|_| AgeError::Damaged)?;
    if content.len() > MAX_SECRET_BYTES + 2 {
        return Err(AgeError::TooLong);
    }
    Ok(content)
}
