//! Making keys and certificates.

use super::{CA_DAYS, EARLIEST_CLOCK, EARLY_DAYS, KeysError, RENEW_DAYS, SERVER_DAYS};
use crate::domain::digest::Digest;
use crate::domain::time::Timestamp;
use ed25519_dalek::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Names by which every machine can call itself.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const DAY_SECS: i64 = 24 * 3600;

/// The authority that the controller made for itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authority {
    /// Its common name. Kept, because certificates name their issuer by it.
    pub(super) subject: String,
    pub(super) expires: Timestamp,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// The certificate that the server shows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) names: Vec<String>,
    pub(super) expires: Timestamp,
    /// Digest of the authority's certificate, as it was when this was made.
    pub(super) issuer: Digest,
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Server {
    /// Whether it can be shown until the next start, most likely.
    pub(super) fn is_good(&self, ca: &Authority, names: &[String], now: Timestamp) -> bool {
        let enough_left = self.expires.secs_since(now) >= RENEW_DAYS * DAY_SECS || self.expires >= ca.expires;
        self.names == names && self.issuer == Digest::of(ca.certificate.as_bytes()) && enough_left && self.expires > now
    }
}

/// The configured names and those of this machine, sorted.
pub(super) fn all_names(configured: &BTreeSet<String>) -> Result<Vec<String>, KeysError> {
    let mut names = BTreeSet::from(LOCAL_NAMES.map(str::to_owned));
    // A machine may call itself something that is no DNS name; then it is not reached by it either.
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    names.extend(Some(host).filter(|host| ServerName::try_from(host.as_str()).is_ok()));
    for name in configured {
        if ServerName::try_from(name.as_str()).is_err() {
            return Err(KeysError::BadName { name: name.chars().take(80).collect() });
        }
        names.insert(name.to_ascii_lowercase());
    }
    Ok(names.into_iter().collect())
}

/// A new signing key.
pub(super) fn fleet_key(now: Timestamp) -> Result<SigningKey, KeysError> {
    check_clock(now)?;
    let mut seed = [0; 32];
    let failed = |_| KeysError::NotMade { what: "the fleet's key", detail: "the system has no randomness".to_owned() };
    SystemRandom::new().fill(&mut seed).map_err(failed)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// A new authority.
pub(super) fn authority(now: Timestamp) -> Result<Authority, KeysError> {
    check_clock(now)?;
    let failed = not_made("the controller's authority");
    let key = KeyPair::generate().map_err(&failed)?;
    // Named after its key, so that two controllers' authorities in one list of trusted ones are told apart.
    let subject = format!("Bellwether authority {}", Digest::of(key.public_key_raw()).short());
    let expires = now.plus_secs(CA_DAYS * DAY_SECS);
    let mut params = authority_params(&subject);
    set_validity(&mut params, now, expires);
    let certificate = params.self_signed(&key).map_err(&failed)?.pem();
    Ok(Authority { subject, expires, certificate, key: key.serialize_pem() })
}

fn authority_params(subject: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A new certificate for the server, with a new key.
pub(super) fn server(ca: &Authority, names: &[String], now: Timestamp) -> Result<Server, KeysError> {
    check_clock(now)?;
    let failed = not_made("the server's certificate");
    let ca_key = KeyPair::from_pem(&ca.key).map_err(&failed)?;
    let issuer = Issuer::new(authority_params(&ca.subject), ca_key);
    let key = KeyPair::generate().map_err(&failed)?;
    let expires = now.plus_secs(SERVER_DAYS * DAY_SECS).min(ca.expires);
    let mut params = CertificateParams::new(names).map_err(&failed)?;
    params.distinguished_name = common_name("Bellwether controller");
    set_validity(&mut params, now, expires);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).map_err(&failed)?.pem();
    let issuer = Digest::of(ca.certificate.as_bytes());
    Ok(Server { names: names.to_vec(), expires, issuer, certificate, key: key.serialize_pem() })
}

fn check_clock(now: Timestamp) -> Result<(), KeysError> {
    if now < EARLIEST_CLOCK { Err(KeysError::ClockNotSet { now }) } else { Ok(()) }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Sets from when to when a certificate counts, in whole seconds.
fn set_validity(params: &mut CertificateParams, now: Timestamp, expires: Timestamp) {
    let from = now.plus_secs(-EARLY_DAYS * DAY_SECS);
    // After 1970, because the clock was checked.
    let since_1970 = |at: Timestamp| Duration::from_secs(u64::try_from(at.secs_since(Timestamp::EPOCH)).unwrap_or(0));
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(from);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(expires);
}

fn not_made(what: &'static str) -> impl Fn(rcgen::Error) -> KeysError {
    move |error| KeysError::NotMade { what, detail: error.to_string() }
}
