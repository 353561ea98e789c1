//! Signatures with SSH keys, in the format that OpenSSH calls SSHSIG.

use super::Judged;
use super::allowed::{Signer, Unfit};
use crate::domain::time::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

/// What a signature must be for. Git signs commits and tags with it; a signature of a file is none of a commit.
pub(super) const NAMESPACE: &str = "git";

pub(super) fn judge(signature: &[u8], content: &[u8], allowed: &[Signer], now: Timestamp) -> Judged {
    let refused = |why: String| Judged::Refused(why);
    // Signatures of RSA keys with SHA-1 cannot be read at all.
    let Ok(signature) = SshSig::from_pem(signature.trim_ascii()) else {
        return refused("its SSH signature cannot be read, or uses SHA-1".to_owned());
    };
    if signature.namespace() != NAMESPACE {
        let namespace: String = signature.namespace().chars().filter(|char| !char.is_control()).take(40).collect();
        return refused(format!("its SSH signature is for the namespace `{namespace}`, not for `{NAMESPACE}`"));
    }
    let key = PublicKey::new(signature.public_key().clone(), "");
    let fingerprint = key.fingerprint(HashAlg::Sha256);
    if !is_genuine(&key, content, &signature) {
        return refused(format!("its SSH signature by {fingerprint} does not fit it; was the commit altered?"));
    }
    let mut unfit = None;
    for signer in allowed.iter().filter(|signer| signer.key == *signature.public_key()) {
        match signer.may_sign(NAMESPACE, now) {
            Ok(()) => return Judged::By(signer.name.clone()),
            Err(why) => unfit = Some((signer, why)),
        }
    }
    refused(match unfit {
        None => format!("it is signed by {fingerprint}, which is not an allowed signer"),
        Some((signer, Unfit::Namespace)) => format!("it is signed by {}, whose key is not for commits", signer.name),
        Some((signer, Unfit::NotYet)) => format!("it is signed by {}, whose key is not valid yet", signer.name),
        Some((signer, Unfit::NoMore)) => format!("it is signed by {}, whose key is no longer valid", signer.name),
    })
}

fn is_genuine(key: &PublicKey, content: &[u8], signature: &SshSig) -> bool {
    match key.key_data() {
        KeyData::Rsa(rsa) => {
            let algorithm = match signature.signature().algorithm() {
                Algorithm::Rsa { hash: Some(HashAlg::Sha256) } => &RSA_PKCS1_2048_8192_SHA256,
                Algorithm::Rsa { hash: Some(HashAlg::Sha512) } => &RSA_PKCS1_2048_8192_SHA512,
                _ => return false,
            };
            let Ok(data) = SshSig::signed_data(NAMESPACE, signature.hash_alg(), content) else { return false };
            let (Some(n), Some(e)) = (rsa.n.as_positive_bytes(), rsa.e.as_positive_bytes()) else { return false };
            RsaPublicKeyComponents { n, e }.verify(algorithm, &data, signature.signature_bytes()).is_ok()
        }
        _ => key.verify(NAMESPACE, content, signature).is_ok(),
    }
}
