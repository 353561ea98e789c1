//! Detached signatures of lists: Ed25519 as `openssl pkeyutl -sign -rawin` makes them, or SSH signatures of `ssh-keygen -Y sign`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use ssh_key::public::KeyData;
use ssh_key::{PublicKey, SshSig};

/// What an SSH signature must be for: a signature of a commit is none of a list.
pub const NAMESPACE: &str = "bellwether-inventory";
/// What stands before the 32 bytes of an Ed25519 key (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// How many keys a file may have. A handful is in use at once, while one is replaced by the next.
const MAX_KEYS: usize = 32;

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing that is a key.
    #[error("the file holds no Ed25519 key in PEM (`openssl pkey -pubout`) and no SSH key (`ssh-ed25519 AAAA…`)")]
    NoKey,
    /// A line is no key, or of a kind that is not supported.
    #[error("line {line} is no SSH public key that can be used: {reason}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// More than 32 keys.
    #[error("the file holds more than {MAX_KEYS} keys")]
    TooMany,
}

/// The keys whose signatures count.
#[derive(Clone, Debug)]
pub struct Signers {
    ed25519: Vec<VerifyingKey>,
    ssh: Vec<PublicKey>,
}

impl Signers {
    /// Reads the text of a file: PEM, or one SSH public key a line.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let mut signers = Self { ed25519: Vec::new(), ssh: Vec::new() };
        for key in SubjectPublicKeyInfoDer::pem_slice_iter(text).flatten() {
            let bytes = key.strip_prefix(&ED25519_PREFIX).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            signers.ed25519.extend(bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()));
        }
        let text = String::from_utf8_lossy(text);
        let is_pem = text.contains("-----BEGIN");
        for (index, line) in text.lines().enumerate().filter(|_| !is_pem) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = PublicKey::from_openssh(line)
                .map_err(|error| KeyError::Line { line: index + 1, reason: error.to_string() })?;
            if let KeyData::Ed25519(key) = key.key_data() {
                signers.ed25519.extend(VerifyingKey::from_bytes(&key.0).ok());
            }
            signers.ssh.push(key);
        }
        match signers.ed25519.len().max(signers.ssh.len()) {
            0 => Err(KeyError::NoKey),
            number if number > MAX_KEYS => Err(KeyError::TooMany),
            _ => Ok(signers),
        }
    }

    /// Why a signature does not count, if it does not.
    pub fn check(&self, content: &[u8], signature: &[u8]) -> Result<(), String> {
        let trimmed = signature.trim_ascii();
        if trimmed.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
            return self.check_ssh(content, trimmed);
        }
        let decoded = STANDARD.decode(trimmed).ok();
        // Sixty-four bytes are the signature itself; so many characters of Base64 would be 48 bytes.
        let raw = if signature.len() == Signature::BYTE_SIZE { Some(signature) } else { decoded.as_deref() };
        let Some(signature) = raw.and_then(|bytes| Signature::from_slice(bytes).ok()) else {
            return Err("the signature is neither one of Ed25519, raw or in Base64, nor an SSH signature".to_owned());
        };
        match self.ed25519.iter().any(|key| key.verify_strict(content, &signature).is_ok()) {
            true => Ok(()),
            false => {
                Err("the signature is by none of the keys of the configuration, or the list was altered".to_owned())
            }
        }
    }

    fn check_ssh(&self, content: &[u8], signature: &[u8]) -> Result<(), String> {
        let Ok(signature) = SshSig::from_pem(signature) else {
            return Err("the SSH signature cannot be read".to_owned());
        };
        if signature.namespace() != NAMESPACE {
            let namespace: String = signature.namespace().chars().filter(|char| !char.is_control()).take(40).collect();
            return Err(format!("the SSH signature is for the namespace `{namespace}`, not for `{NAMESPACE}`"));
        }
        let Some(key) = self.ssh.iter().find(|key| key.key_data() == signature.public_key()) else {
            return Err("the SSH signature is by none of the keys of the configuration".to_owned());
        };
        key.verify(NAMESPACE, content, &signature)
            .map_err(|_| "the SSH signature does not fit; was the list altered?".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    fn pem(key: &SigningKey) -> String {
        let der = [&ED25519_PREFIX[..], key.verifying_key().as_bytes()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    #[test]
    fn only_the_signature_of_a_known_key_over_exactly_this_list_counts() {
        let (ours, theirs) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let signers = Signers::parse(pem(&ours).as_bytes()).unwrap();
        let list = b"{}";
        let raw = ours.sign(list).to_bytes();
        assert_eq!(signers.check(list, &raw), Ok(()));
        assert_eq!(signers.check(list, format!("{}\n", STANDARD.encode(raw)).as_bytes()), Ok(()));
        let refused = |list: &[u8], signature: &[u8]| signers.check(list, signature).unwrap_err();
        insta::assert_snapshot!(refused(b"{ }", &raw), @"the signature is by none of the keys of the configuration, or the list was altered");
        insta::assert_snapshot!(refused(list, &theirs.sign(list).to_bytes()), @"the signature is by none of the keys of the configuration, or the list was altered");
        insta::assert_snapshot!(refused(list, b""), @"the signature is neither one of Ed25519, raw or in Base64, nor an SSH signature");
        insta::assert_snapshot!(refused(list, b"-----BEGIN SSH SIGNATURE-----\nx"), @"the SSH signature cannot be read");
        assert_eq!(Signers::parse(b"hello").unwrap_err().to_string().get(..6), Some("line 1"));
        assert_eq!(Signers::parse(b"").unwrap_err(), KeyError::NoKey);
    }
}
