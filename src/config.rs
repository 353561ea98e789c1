//! The controller's configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Where the controller's TLS certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// The controller makes its own authority and certificate for these names (DNS names and addresses), besides the
    /// names of this machine. Devices pin the authority at enrollment.
    SelfMade {
        /// Under which names devices and people reach the controller.
        names: BTreeSet<String>,
    },
    /// Files in PEM that somebody else renews.
    Files {
        /// The certificate, followed by those that lead to its authority.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}
