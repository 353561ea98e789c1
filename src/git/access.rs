//! How the controller may reach a remote over a network: credentials, whom it trusts, and how long it waits.

use super::secret::SecretSource;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one fetch may take unless somebody says otherwise. The first one of a large repo is the longest.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
/// The user whose password a token is, unless somebody says otherwise. The large forges take any name with a token.
pub const DEFAULT_USER: &str = "x-access-token";

/// What a fetch over a network may use. It comes from the controller's configuration alone: neither this machine's Git
/// configuration nor anybody's `~/.ssh` is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The user whose token or password [`Access::token`] is; `None` for [`DEFAULT_USER`].
    pub user: Option<String>,
    /// The token or password for https.
    pub token: Option<SecretSource>,
    /// Authorities that an https remote's certificate may come from, in PEM, instead of this machine's.
    pub ca_file: Option<PathBuf>,
    /// The private key for ssh, or with an agent the public one that chooses the agent's key.
    pub ssh_key: Option<PathBuf>,
    /// The keys that ssh remotes must have.
    pub known_hosts: Option<PathBuf>,
    /// An ssh agent's socket.
    pub ssh_agent: Option<PathBuf>,
    /// How long one fetch may take.
    pub timeout: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            user: None,
            token: None,
            ca_file: None,
            ssh_key: None,
            known_hosts: None,
            ssh_agent: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

/// Why a path cannot be handed to ssh: it reads its options as lists of words with escapes of their own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path {0:?} cannot be given to ssh: it has a quote, a `$`, a backslash or a control character")]
pub struct UnfitPath(pub PathBuf);

impl Access {
    /// The command by which `git` starts `ssh`. Git hands this text to a shell, so each word is quoted; it is made from the
    /// controller's configuration alone, and what comes from the remote's address is added by Git as arguments.
    pub(super) fn ssh_command(&self) -> Result<String, UnfitPath> {
        let mut words = vec!["ssh".to_owned(), "-F".to_owned(), "/dev/null".to_owned()];
        let none = Path::new("none");
        let mut options = vec![
            ("BatchMode", "yes".to_owned()),
            ("StrictHostKeyChecking", "yes".to_owned()),
            ("UserKnownHostsFile", ssh_path(self.known_hosts.as_deref().unwrap_or(Path::new("/dev/null")))?),
            ("GlobalKnownHostsFile", "/dev/null".to_owned()),
            ("UpdateHostKeys", "no".to_owned()),
            ("VerifyHostKeyDNS", "no".to_owned()),
            ("PreferredAuthentications", "publickey".to_owned()),
            ("IdentityAgent", ssh_path(self.ssh_agent.as_deref().unwrap_or(none))?),
            ("IdentityFile", ssh_path(self.ssh_key.as_deref().unwrap_or(none))?),
            // Without a key of its own only the agent's can be offered.
            ("IdentitiesOnly", if self.ssh_key.is_some() { "yes" } else { "no" }.to_owned()),
            ("AddKeysToAgent", "no".to_owned()),
            ("ForwardAgent", "no".to_owned()),
            ("ForwardX11", "no".to_owned()),
            ("ClearAllForwardings", "yes".to_owned()),
            ("PermitLocalCommand", "no".to_owned()),
            ("ControlMaster", "no".to_owned()),
            ("ControlPath", "none".to_owned()),
            ("ConnectTimeout", "30".to_owned()),
            ("ServerAliveInterval", "15".to_owned()),
            ("ServerAliveCountMax", "4".to_owned()),
            ("LogLevel", "ERROR".to_owned()),
        ];
        for (name, value) in options.drain(..) {
            words.push("-o".to_owned());
            words.push(format!("{name}={value}"));
        }
        Ok(words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "))
    }
}

/// A path as ssh reads it in an option: quoted, `%` escaped.
fn ssh_path(path: &Path) -> Result<String, UnfitPath> {
    let unfit = || UnfitPath(path.to_owned());
    let text = path.to_str().ok_or_else(unfit)?;
    if text.chars().any(|char| matches!(char, '"' | '\'' | '$' | '\\') || char.is_control()) || text.starts_with('~') {
        return Err(unfit());
    }
    let escaped = text.replace('%', "%%");
    Ok(if escaped.contains(' ') { format!("\"{escaped}\"") } else { escaped })
}

/// Whether ssh takes this path.
pub fn fits_ssh(path: &Path) -> Result<(), UnfitPath> {
    ssh_path(path).map(|_| ())
}
