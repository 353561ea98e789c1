//! What the controller proves itself with: the fleet's signing key, and a certificate for TLS.
//!
//! | file | what it is |
//! |---|---|
//! | `fleet.key` | the Ed25519 key that signs assignments, 64 hexadecimal digits; devices pin its public part |
//! | `ca.json` | the authority that the controller made for itself, with its key; devices pin its certificate |
//! | `ca.crt` | the authority's certificate alone, for people: `curl --cacert …` |
//! | `server.json` | the certificate that the server shows, with its key; renewed at start |
//!
//! They are made at the first start, in this order, each in one atomic write. What devices pin is never made a second time:
//! a file that cannot be read, or that is gone while a later one is there, stops the controller.

mod files;
mod make;
mod read;

use crate::config::CertificateSource;
use crate::domain::digest::Digest;
use crate::domain::time::Timestamp;
use ed25519_dalek::SigningKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Twenty years: devices in the field outlive every plan to visit them.
const CA_DAYS: i64 = 20 * 365;
/// One year, which is what clients have come to accept at most.
const SERVER_DAYS: i64 = 365;
/// A certificate with less left is made anew at start: with a restart every other month it never runs out.
const RENEW_DAYS: i64 = 60;
/// Certificates count from the day before, because devices' clocks are not always right.
const EARLY_DAYS: i64 = 1;
/// 2025-01-01T00:00:00Z. A clock before that has not been set, and certificates made by it would have run out by the time it is.
const EARLIEST_CLOCK: Timestamp = Timestamp::from_millis(1_735_689_600_000);

/// The keys, read or made.
pub struct Keys {
    /// Signs assignments.
    pub signing: SigningKey,
    /// Makes the digests of secrets. It comes from the signing key, so there is no second file that a backup could lack.
    pub secrets: [u8; 32],
    /// What the server speaks: HTTP/2 and HTTP/1.1.
    pub tls: Arc<rustls::ServerConfig>,
    /// SHA-256 of the certificate that devices pin, in DER.
    pub ca_fingerprint: Digest,
    /// The certificate that devices pin, in PEM.
    pub ca_pem: String,
    /// Until when the server's certificate is good; `None` where somebody else renews it.
    pub expires: Option<Timestamp>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The clock was never set.
    #[error("keys cannot be made while this machine's clock says {now}")]
    ClockNotSet {
        /// What it says.
        now: Timestamp,
    },
    /// A file is gone that must be there.
    #[error("{path} is missing, and devices trust what it held")]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("{path} could not be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is not {wanted}: {detail}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// A file could not be written.
    #[error("{path} could not be written")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// The authority has run out.
    #[error("the authority in {path} ran out at {expired}")]
    AuthorityExpired {
        /// Its file.
        path: PathBuf,
        /// When.
        expired: Timestamp,
    },
    /// A certificate cannot be made for this name.
    #[error("{name:?} is neither a DNS name nor an address, so no certificate can be made for it")]
    BadName {
        /// The name.
        name: String,
    },
    /// Certificate and key do not fit together, or cannot be used.
    #[error("the TLS certificate cannot be used")]
    Unusable(#[source] rustls::Error),
    /// Making a key or certificate failed.
    #[error("{what} could not be made: {detail}")]
    NotMade {
        /// Of which.
        what: &'static str,
        /// What failed.
        detail: String,
    },
}

impl KeysError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::ClockNotSet { .. } => Some("set the clock first"),
            Self::Missing { .. } | Self::Malformed { .. } | Self::Unreadable { .. } => {
                Some("restore it from a backup; without it devices have to be enrolled again")
            }
            Self::AuthorityExpired { .. } => Some("remove the TLS files of the keys folder and enroll devices again"),
            Self::BadName { .. } => Some("correct `names` in the configuration"),
            Self::Unwritable { .. } | Self::Unusable(_) | Self::NotMade { .. } => None,
        }
    }
}

impl Keys {
    /// Whether the fleet's key was made already. A controller that knows devices and finds none must not make another: no device
    /// would believe it.
    pub fn exist(folder: &Path) -> Result<bool, KeysError> {
        files::read(&Paths::of(folder).fleet).map(|key| key.is_some())
    }

    /// Reads the keys in this folder, or makes them.
    pub fn open(folder: &Path, source: &CertificateSource, now: Timestamp) -> Result<Self, KeysError> {
        files::private_folder(folder)?;
        let paths = Paths::of(folder);
        let signing = fleet_key(&paths, now)?;
        let shown = match source {
            CertificateSource::SelfMade { names } => self_made(&paths, &make::all_names(names)?, now)?,
            CertificateSource::Files { certificate, key } => read::files(certificate, key)?,
        };
        let Shown { chain, key, ca, expires } = shown;
        Ok(Self {
            secrets: *Digest::of_parts([b"bellwether digests of secrets v1".as_slice(), signing.as_bytes()]).bytes(),
            signing,
            tls: Arc::new(server_config(chain, key)?),
            ca_fingerprint: Digest::of(&ca),
            ca_pem: files::pem("CERTIFICATE", &ca),
            expires,
        })
    }
}

/// What the server shows to clients.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca: CertificateDer<'static>,
    expires: Option<Timestamp>,
}

struct Paths {
    fleet: PathBuf,
    ca: PathBuf,
    ca_certificate: PathBuf,
    server: PathBuf,
}

impl Paths {
    fn of(folder: &Path) -> Self {
        Self {
            fleet: folder.join("fleet.key"),
            ca: folder.join("ca.json"),
            ca_certificate: folder.join("ca.crt"),
            server: folder.join("server.json"),
        }
    }
}

fn fleet_key(paths: &Paths, now: Timestamp) -> Result<SigningKey, KeysError> {
    if let Some(key) = read::fleet_key(&paths.fleet)? {
        return Ok(key);
    }
    // Later files are made after it, so if one is there it was there too.
    if files::read(&paths.ca)?.is_some() {
        return Err(KeysError::Missing { path: paths.fleet.clone() });
    }
    let key = make::fleet_key(now)?;
    files::write_new(&paths.fleet, format!("{}\n", crate::domain::digest::hex(key.as_bytes())).as_bytes())?;
    Ok(key)
}

fn self_made(paths: &Paths, names: &[String], now: Timestamp) -> Result<Shown, KeysError> {
    let ca = authority(paths, now)?;
    if ca.expires <= now {
        return Err(KeysError::AuthorityExpired { path: paths.ca.clone(), expired: ca.expires });
    }
    let server = match read::json::<make::Server>(&paths.server, "the server's certificate")? {
        Some(server) if server.is_good(&ca, names, now) => server,
        _ => {
            let server = make::server(&ca, names, now)?;
            files::write(&paths.server, &files::json(&server))?;
            server
        }
    };
    let certificate = read::certificate(&server.certificate, &paths.server)?;
    let ca_certificate = read::certificate(&ca.certificate, &paths.ca)?;
    Ok(Shown {
        chain: vec![certificate, ca_certificate.clone()],
        key: read::private_key(&server.key, &paths.server)?,
        ca: ca_certificate,
        expires: Some(server.expires),
    })
}

fn authority(paths: &Paths, now: Timestamp) -> Result<make::Authority, KeysError> {
    let ca = match read::json::<make::Authority>(&paths.ca, "the controller's authority")? {
        Some(ca) => ca,
        None if files::read(&paths.server)?.is_some() => {
            return Err(KeysError::Missing { path: paths.ca.clone() });
        }
        None => {
            let ca = make::authority(now)?;
            files::write_new(&paths.ca, &files::json(&ca))?;
            ca
        }
    };
    // A copy for people; the certificate that counts is beside its key.
    if files::read(&paths.ca_certificate)?.as_deref() != Some(ca.certificate.as_bytes()) {
        files::write(&paths.ca_certificate, ca.certificate.as_bytes())?;
    }
    Ok(ca)
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<rustls::ServerConfig, KeysError> {
    // The provider is named rather than taken from the process, so that nothing has to be installed first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(KeysError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
