//! Whom a client believes to be the controller: exactly the authority that it was told of, and nobody of the world's. Agents and
//! the command line use the same rules.

use crate::domain::digest::Digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::{Arc, OnceLock};

/// The largest file of authorities that is read, in bytes: a handful of certificates.
pub const MAX_CA_FILE_BYTES: usize = 256 << 10;

/// Why an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The text is not PEM.
    #[error("the authority's file is not PEM: {reason}")]
    NotPem {
        /// What the parser said.
        reason: String,
    },
    /// There is no certificate in it.
    #[error("the authority's file holds no certificate")]
    NoCertificate,
    /// A certificate cannot be an anchor, or the TLS library refuses the configuration.
    #[error("the authority's certificate cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// The certificates of a PEM file.
pub fn parse_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| TrustError::NotPem { reason: error.to_string() })?;
    if certificates.is_empty() { Err(TrustError::NoCertificate) } else { Ok(certificates) }
}

/// A TLS configuration that believes these authorities alone.
pub fn by_authorities(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(TrustError::Unusable)?;
    }
    let config = builder()?.with_root_certificates(roots).with_no_client_auth();
    Ok(with_protocols(config))
}

/// A TLS configuration that believes these authorities alone, and shows a certificate of its own. Both are in PEM.
pub fn with_certificate(
    authorities: &[CertificateDer<'static>],
    certificate: &[u8],
    key: &[u8],
) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(TrustError::Unusable)?;
    }
    let chain = parse_pem(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| TrustError::NotPem { reason: "there is no private key in it".to_owned() })?;
    let config = builder()?.with_root_certificates(roots).with_client_auth_cert(chain, key);
    Ok(with_protocols(config.map_err(TrustError::Unusable)?))
}

/// A TLS configuration that believes the authorities of a bundle, as distributions have them. What is no authority is left out.
pub fn by_bundle(text: &[u8]) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(text).filter_map(Result::ok));
    if roots.is_empty() {
        return Err(TrustError::NoCertificate);
    }
    let config = builder()?.with_root_certificates(roots).with_no_client_auth();
    Ok(with_protocols(config))
}

/// A TLS configuration that believes the authority with this fingerprint, and where that authority's certificate is once it
/// was met.
pub fn by_fingerprint(
    fingerprint: Digest,
) -> Result<(ClientConfig, Arc<OnceLock<CertificateDer<'static>>>), TrustError> {
    let met = Arc::new(OnceLock::new());
    let verifier = FingerprintVerifier { fingerprint, met: Arc::clone(&met), provider: provider() };
    let config = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    Ok((with_protocols(config), met))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TrustError> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(TrustError::Unusable)
}

/// One connection carries polls and reports side by side where the server speaks HTTP/2.
fn with_protocols(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Believes a server whose chain contains the authority with the wanted fingerprint, and whose own certificate that very
/// authority vouches for, name and dates included.
#[derive(Debug)]
struct FingerprintVerifier {
    fingerprint: Digest,
    met: Arc<OnceLock<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for FingerprintVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // A server may also show a single certificate that vouches for itself, and its fingerprint be the one that was told.
        let authority = std::iter::once(end_entity)
            .chain(intermediates)
            .find(|certificate| Digest::of(certificate) == self.fingerprint)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let verified = verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        // Only after everything held; a second connection meets the same authority.
        let _ = self.met.set(authority.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(all(test, feature = "controller"))]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};

    struct Authority {
        certificate: Certificate,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    fn leaf(of: &Authority, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        params.signed_by(&key, &of.issuer).expect("a certificate").der().clone()
    }

    /// What a client that was told of `wanted` says to a server `fleet.example` with this chain.
    fn check(
        wanted: &Authority,
        leaf: &CertificateDer<'static>,
        presented: &Authority,
        name: &str,
    ) -> Result<(), rustls::Error> {
        let met = Arc::new(OnceLock::new());
        let fingerprint = Digest::of(wanted.certificate.der());
        let verifier = FingerprintVerifier { fingerprint, met: Arc::clone(&met), provider: provider() };
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        // The certificates of the test are valid from 1975 to 4096.
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_763_600_000));
        let answer =
            verifier.verify_server_cert(leaf, &[presented.certificate.der().clone()], &name, &[], now).map(drop);
        assert_eq!(met.get().is_some(), answer.is_ok(), "an authority is kept only if everything held");
        answer
    }

    #[test]
    fn only_the_authority_with_the_fingerprint_and_only_for_the_right_name() {
        let (ours, theirs) = (authority(), authority());
        let good = leaf(&ours, "fleet.example");
        let forged = leaf(&theirs, "fleet.example");
        assert!(check(&ours, &good, &ours, "fleet.example").is_ok());
        assert!(check(&ours, &good, &ours, "other.example").is_err(), "another host");
        assert!(check(&ours, &forged, &theirs, "fleet.example").is_err(), "another authority");
        assert!(check(&ours, &forged, &ours, "fleet.example").is_err(), "ours beside a leaf that it never signed");
    }
}
