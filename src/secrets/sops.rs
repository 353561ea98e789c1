//! Files that SOPS encrypted: YAML whose values are encrypted one by one with a data key, and the data key with age.
//!
//! The format is described at <https://github.com/getsops/sops>. Each value is AES-256-GCM with a nonce of 32 bytes, and its path
//! as additional data, so values cannot change places. A code over all values (the MAC) makes sure that none was taken away; a
//! file whose MAC does not fit is not used at all.

use super::age::{AgeError, decrypt};
use crate::domain::manifest::scalar::{Typed, typed};
use crate::domain::manifest::yaml::{Kind, Node, Scalar, parse};
use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{AesGcm, aes::Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;

/// SOPS has nonces of 32 bytes, unlike everybody else.
type Cipher = AesGcm<Aes256, U32>;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SopsError {
    /// Not YAML with a part `sops`.
    #[error("it is not a file that SOPS encrypted")]
    NotSops,
    /// Encrypted in a way that is not supported.
    #[error("{0} is not supported; encrypt it to an age recipient")]
    Unsupported(&'static str),
    /// The data key cannot be had.
    #[error("its data key cannot be decrypted: {0}")]
    Key(AgeError),
    /// A value was changed or moved.
    #[error("the value of `{0}` was changed after it was encrypted")]
    Changed(String),
    /// A value was added, removed or changed.
    #[error("its MAC does not fit: a value was added, removed or changed after it was encrypted")]
    BadMac,
}

/// The values of a file, by their keys joined with dots.
pub(super) fn values(
    bytes: &[u8],
    identities: &[Box<dyn ::age::Identity + Send + Sync>],
) -> Result<BTreeMap<String, String>, SopsError> {
    let Ok(Some(Node { kind: Kind::Map(root), .. })) = parse(bytes) else { return Err(SopsError::NotSops) };
    let Some(Kind::Map(meta)) = root.value("sops").map(|node| &node.kind) else { return Err(SopsError::NotSops) };
    let text = |key: &str| meta.value(key).and_then(scalar).map(|scalar| &*scalar.text);
    if meta.value("key_groups").is_some() || meta.value("shamir_threshold").is_some() {
        return Err(SopsError::Unsupported("a key shared between groups"));
    }
    if text("mac_only_encrypted") == Some("true") {
        return Err(SopsError::Unsupported("`mac_only_encrypted`"));
    }
    let Some(Kind::List(recipients)) = meta.value("age").map(|node| &node.kind) else {
        return Err(SopsError::Unsupported("a file without age recipients"));
    };
    let key = data_key(recipients, identities)?;
    let cipher = Cipher::new_from_slice(&key).map_err(|_| SopsError::Key(AgeError::Damaged))?;
    let mut reading = Reading { cipher: &cipher, values: BTreeMap::new(), plain: Vec::new(), path: Vec::new() };
    for field in root.entries.iter().filter(|field| &*field.key.text != "sops") {
        reading.path.push(field.key.text.to_string());
        reading.node(&field.value)?;
        reading.path.pop();
    }
    let Reading { values, plain, .. } = reading;
    let (mac, modified) = (text("mac").ok_or(SopsError::BadMac)?, text("lastmodified").ok_or(SopsError::BadMac)?);
    let (wanted, _) = open(&cipher, mac, modified).ok_or(SopsError::BadMac)?;
    let found: String = sha512(&plain).iter().map(|byte| format!("{byte:02X}")).collect();
    // Both are codes of what the file says; comparing them tells nothing to whoever wrote the file.
    if wanted != found.as_bytes() { Err(SopsError::BadMac) } else { Ok(values) }
}

fn sha512(bytes: &[u8]) -> [u8; 64] {
    let mut code = [0; 64];
    code.copy_from_slice(ring::digest::digest(&ring::digest::SHA512, bytes).as_ref());
    code
}

fn scalar(node: &Node) -> Option<&Scalar> {
    match &node.kind {
        Kind::Scalar(scalar) => Some(scalar),
        Kind::List(_) | Kind::Map(_) => None,
    }
}

fn data_key(recipients: &[Node], identities: &[Box<dyn ::age::Identity + Send + Sync>]) -> Result<Vec<u8>, SopsError> {
    let mut last = AgeError::NotForUs;
    for recipient in recipients {
        let Kind::Map(recipient) = &recipient.kind else { continue };
        let Some(encrypted) = recipient.value("enc").and_then(scalar) else { continue };
        match decrypt(encrypted.text.trim().as_bytes(), identities) {
            Ok(key) => return Ok(key),
            Err(error) => last = error,
        }
    }
    Err(SopsError::Key(last))
}

struct Reading<'a> {
    cipher: &'a Cipher,
    values: BTreeMap<String, String>,
    /// Every value one after the other, as the MAC covers them.
    plain: Vec<u8>,
    path: Vec<String>,
}

impl Reading<'_> {
    /// The items of a list have the path of their list.
    fn node(&mut self, node: &Node) -> Result<(), SopsError> {
        match &node.kind {
            Kind::List(items) => items.iter().try_for_each(|item| self.node(item)),
            Kind::Map(map) => map.entries.iter().try_for_each(|field| {
                self.path.push(field.key.text.to_string());
                let read = self.node(&field.value);
                self.path.pop();
                read
            }),
            Kind::Scalar(_) if node.is_null() => Ok(()),
            Kind::Scalar(scalar) => self.scalar(scalar),
        }
    }

    fn scalar(&mut self, scalar: &Scalar) -> Result<(), SopsError> {
        let name = self.path.join(".");
        if !scalar.text.starts_with("ENC[") {
            self.plain.extend_from_slice(unencrypted(scalar).as_bytes());
            self.values.insert(name, scalar.text.to_string());
            return Ok(());
        }
        let path: String = self.path.iter().map(|part| format!("{part}:")).collect();
        let changed = || SopsError::Changed(name.clone());
        let (bytes, kind) = open(self.cipher, &scalar.text, &path).ok_or_else(changed)?;
        self.plain.extend_from_slice(&bytes);
        let text = String::from_utf8(bytes).map_err(|_| changed())?;
        // SOPS keeps booleans as Python spells them.
        let text = if kind == "bool" { text.to_ascii_lowercase() } else { text };
        self.values.insert(name, text);
        Ok(())
    }
}

/// A value that was left as it is, as the MAC covers it.
fn unencrypted(scalar: &Scalar) -> String {
    match typed(scalar) {
        // SOPS reads YAML 1.2, where `yes` and the like are text.
        Typed::Bool(value) if matches!(&*scalar.text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") => {
            if value { "True" } else { "False" }.to_owned()
        }
        Typed::Int(value) => value.to_string(),
        Typed::Float(value) => value.to_string(),
        _ => scalar.text.to_string(),
    }
}

/// `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` with its additional data: the plain bytes, and their type.
fn open<'a>(cipher: &Cipher, text: &'a str, additional: &str) -> Option<(Vec<u8>, &'a str)> {
    let inner = text.strip_prefix("ENC[AES256_GCM,")?.strip_suffix(']')?;
    let part = |name: &str| inner.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix(':'));
    let decoded = |name: &str| BASE64.decode(part(name)?).ok();
    let (mut sealed, nonce, tag) = (decoded("data")?, decoded("iv")?, decoded("tag")?);
    sealed.extend(tag);
    let nonce: [u8; 32] = nonce.try_into().ok()?;
    let payload = Payload { msg: &sealed, aad: additional.as_bytes() };
    Some((cipher.decrypt(&nonce.into(), payload).ok()?, part("type")?))
}
