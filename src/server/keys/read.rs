//! Reading keys and certificates.

use super::{KeysError, Shown, files};
use crate::domain::digest::unhex;
use ed25519_dalek::SigningKey;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::de::DeserializeOwned;
use std::path::Path;

/// How many certificates of a file are read at most. Real chains have two to four.
const MAX_CHAIN: usize = 16;

/// The fleet's signing key; `None` if there is none.
pub(super) fn fleet_key(path: &Path) -> Result<Option<SigningKey>, KeysError> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    let seed = std::str::from_utf8(&bytes).ok().and_then(|text| unhex(text.trim_end()));
    match seed.and_then(|seed| <[u8; 32]>::try_from(seed).ok()) {
        Some(seed) => Ok(Some(SigningKey::from_bytes(&seed))),
        None => Err(malformed(path, "the fleet's key", "it must be 64 lower-case hexadecimal digits")),
    }
}

/// A document; `None` if there is none.
pub(super) fn json<T: DeserializeOwned>(path: &Path, wanted: &'static str) -> Result<Option<T>, KeysError> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    // The parser's message can quote what it found, and what it found may be a key: only the place is told.
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        malformed(path, wanted, &format!("unexpected content at line {}, column {}", error.line(), error.column()))
    })
}

/// The certificate in a text of our own.
pub(super) fn certificate(pem: &str, path: &Path) -> Result<CertificateDer<'static>, KeysError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| malformed(path, "a certificate in PEM", &error.to_string()))
}

/// The private key in a text of our own.
pub(super) fn private_key(pem: &str, path: &Path) -> Result<PrivateKeyDer<'static>, KeysError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| malformed(path, "a private key in PEM", &error.to_string()))
}

/// A certificate with its chain, and its key, from files that somebody else keeps. What devices pin is the last of the chain.
pub(super) fn files(certificate: &Path, key: &Path) -> Result<Shown, KeysError> {
    let bytes = existing(certificate)?;
    let wanted = "a chain of certificates in PEM";
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .take(MAX_CHAIN)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(certificate, wanted, &error.to_string()))?;
    let Some(ca) = chain.last().cloned() else {
        return Err(malformed(certificate, wanted, "it has none"));
    };
    let bytes = existing(key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| malformed(key, "a private key in PEM", &error.to_string()))?;
    Ok(Shown { chain, key, ca, expires: None })
}

fn existing(path: &Path) -> Result<Vec<u8>, KeysError> {
    let missing = || KeysError::Unreadable { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() };
    files::read(path)?.ok_or_else(missing)
}

fn malformed(path: &Path, wanted: &'static str, detail: &str) -> KeysError {
    KeysError::Malformed { path: path.to_owned(), wanted, detail: detail.to_owned() }
}
