//! What one source says, as text with its place.

use crate::domain::manifest::yaml::Span;
use crate::git::access::DEFAULT_USER;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How the names of environment variables begin.
const PREFIX: &str = "BELLWETHER_";
/// The variable with the token for https. It is neither a flag, which everybody on the machine could read, nor a key of the file,
/// which is copied about.
pub(super) const TOKEN_VARIABLE: &str = "BELLWETHER_GIT_TOKEN";

/// A setting that is one text. Lists of stages, names and operators are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the file; `tls.cert` is `cert` inside `tls`.
    pub key: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// What it is when nobody says; `None` where somebody must, or where it depends on others.
    pub default: Option<&'static str>,
}

const fn setting(key: &'static str, about: &'static str, default: Option<&'static str>) -> Setting {
    Setting { key, about, default }
}

/// Every setting that is one text. Flags and environment variables have the same names: `poll_secs` is `--poll-secs` and
/// `BELLWETHER_POLL_SECS`, `tls.cert` is `--tls-cert` and `BELLWETHER_TLS_CERT`.
pub const KEYS: &[Setting] = &[
    setting("fleet", "name of the fleet", None),
    setting("repo", "address of the fleet repo: https://…, ssh://…, host:path, a path or file://…", None),
    setting("data_dir", "folder for keys, store and mirror", Some(super::DEFAULT_DATA_DIR)),
    setting("listen", "address and port for devices and operators with keys", Some("0.0.0.0:8443")),
    setting("socket", "Unix socket for operators on this machine; bellwether.sock in data_dir", None),
    setting("tls.cert", "certificate with its chain, in PEM, instead of the controller's own", None),
    setting("tls.key", "its private key, in PEM", None),
    setting("git.user", "user whose token or password is used for https", Some(DEFAULT_USER)),
    setting("git.token_file", "file with a token or password for https, read anew at each fetch", None),
    setting("git.ca_file", "authorities of the https remote's certificate, in PEM, instead of this machine's", None),
    setting("git.ssh_key_file", "private key for ssh; with git.ssh_agent the public key of the agent's", None),
    setting("git.known_hosts_file", "keys that ssh hosts must have, as known_hosts of OpenSSH", None),
    setting("git.ssh_agent", "socket of an ssh agent", None),
    setting("git.timeout_secs", "seconds that one fetch may take", Some("600")),
    setting(
        "git.plain_http",
        "refused, or this-machine: http:// without TLS to this machine, for tests",
        Some("refused"),
    ),
    setting("poll_secs", "seconds between two looks at the fleet repo", Some("15")),
    setting("offline_after_secs", "seconds of silence after which a device counts as offline", Some("300")),
    setting(
        "secrets.env",
        "environment variables of the controller that may be secrets: names, or beginnings with `*`",
        None,
    ),
    setting("secrets.directory", "folder with one file for each secret", None),
    setting("secrets.identity", "age identity that decrypts the files below secrets/ of the fleet repo", None),
    setting("forge.repository", "OWNER/NAME on GitHub where people see how rollouts go", None),
    setting("forge.api", "API of GitHub; of an enterprise server https://HOST/api/v3", Some("https://api.github.com")),
    setting("forge.token_file", "file with a token for GitHub, read anew when it is refused", None),
    setting("forge.app_id", "id of the GitHub App that the controller is", None),
    setting("forge.app_key", "private key of the app, in PEM", None),
    setting("forge.stages", "stages whose progress is told, separated by commas; all if it is not set", None),
    setting("forge.link", "address that statuses link to, such as the controller's", None),
    setting("forge.webhook_secret_file", "file with the secret that webhooks are signed with", None),
    setting("log.format", "text or json", Some("text")),
    setting("log.level", "error, warn, info, debug or trace", Some("info")),
];

impl Setting {
    /// The setting with this key. Panics for a key that is not in [`KEYS`]: keys are constants of this module.
    pub(super) fn of(key: &str) -> &'static Self {
        KEYS.iter().find(|setting| setting.key == key).expect("settings are asked for by keys of the list")
    }

    /// The name of its environment variable.
    pub fn variable(&self) -> String {
        variable(self.key)
    }

    /// Its flag, with the dashes.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace(['_', '.'], "-"))
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// A value as somebody gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T = String> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path, the variable or the flag.
    pub(super) source: Arc<str>,
    /// Where in the file; zero for the others.
    pub(super) span: Span,
    /// What relative paths are relative to.
    pub(super) folder: Arc<Path>,
}

/// What one source says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    pub(super) texts: BTreeMap<&'static str, Given>,
    pub(super) stages: Option<Given<Vec<StageGiven>>>,
    pub(super) names: Option<Given<Vec<Given>>>,
    pub(super) operators: Option<Given<Vec<OperatorGiven>>>,
    pub(super) lists: Option<Given<Vec<ListGiven>>>,
    /// The token for https, from the environment. Its `Debug` hides it.
    pub(super) token: Option<Given<Hidden>>,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub(super) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

/// One stage as somebody gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageGiven {
    pub(super) name: Given,
    pub(super) max_unstaged: Option<Given>,
    pub(super) deletion_budget: Option<Given>,
    /// The files of `signers`.
    pub(super) allowed_signers: Option<Given>,
    pub(super) keyring: Option<Given>,
    /// Paths of the host that services may mount.
    pub(super) host_paths: Vec<Given>,
    /// Whether services may have all rights.
    pub(super) privileged: Option<Given>,
    /// How long devices must be well with new content.
    pub(super) soak_secs: Option<Given>,
    /// Whether only verified trees count.
    pub(super) promotion: Option<Given>,
}

impl StageGiven {
    /// A stage of which only the name was said.
    pub(super) fn named(name: Given) -> Self {
        Self {
            name,
            max_unstaged: None,
            deletion_budget: None,
            allowed_signers: None,
            keyring: None,
            host_paths: Vec::new(),
            privileged: None,
            soak_secs: None,
            promotion: None,
        }
    }
}

/// One operator as somebody gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorGiven {
    pub(super) name: Given,
    pub(super) key_sha256: Given,
}

/// One source of lists of devices as somebody gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListGiven {
    pub(super) url: Given,
    pub(super) signature: Option<Given>,
    /// The file with the keys that sign.
    pub(super) signed_by: Option<Given>,
    pub(super) ca: Option<Given>,
    pub(super) cert: Option<Given>,
    pub(super) key: Option<Given>,
}

impl Fragment {
    /// Lays a later fragment over this one.
    pub(super) fn overlaid_with(mut self, later: Self) -> Self {
        let Self { texts, stages, names, operators, lists, token } = later;
        self.texts.extend(texts);
        Self {
            texts: self.texts,
            stages: stages.or(self.stages),
            names: names.or(self.names),
            operators: operators.or(self.operators),
            lists: lists.or(self.lists),
            token: token.or(self.token),
        }
    }

    /// Stages and names from the words of one source.
    pub(super) fn set_lists(&mut self, stages: Option<(Place, Vec<String>)>, names: Option<(Place, Vec<String>)>) {
        let given = |place: &Place, value| Given { value, place: place.clone() };
        self.stages = stages.map(|(place, words)| {
            let stage = |word| StageGiven::named(given(&place, word));
            Given { value: words.into_iter().map(stage).collect(), place: place.clone() }
        });
        self.names = names.map(|(place, words)| {
            let words = words.into_iter().map(|word| given(&place, word)).collect();
            Given { value: words, place: place.clone() }
        });
    }
}

/// The environment variables that begin with `BELLWETHER_`. One of them is a secret, so only their names are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Those of this process.
    #[allow(clippy::disallowed_methods, reason = "this is the fence's gate: the environment is read once, at start")]
    pub fn of_process() -> Self {
        // Names and values that are not UTF-8 are none of ours.
        let text =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::of(text)
    }

    /// Those among these.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }

    /// The value of a variable; an empty one counts as not set, as usual.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What the environment says. Lists are separated by commas.
    pub(super) fn fragment(&self, folder: &Arc<Path>) -> Fragment {
        let place = |name: &str| Place { source: Arc::from(name), span: Span::default(), folder: folder.clone() };
        let mut fragment = Fragment::default();
        for setting in KEYS {
            let name = setting.variable();
            if let Some(value) = self.value(&name) {
                fragment.texts.insert(setting.key, Given { value: value.to_owned(), place: place(&name) });
            }
        }
        let list = |name: &str| {
            let words = self.value(name)?.split(',').map(|word| word.trim().to_owned()).collect();
            Some((place(name), words))
        };
        fragment.set_lists(list(&variable("stages")), list(&variable("names")));
        fragment.token = self
            .value(TOKEN_VARIABLE)
            .map(|value| Given { value: Hidden(value.to_owned()), place: place(TOKEN_VARIABLE) });
        fragment
    }

    /// Names that are spelled almost like one of ours, and the one that was probably meant. Others are left alone: they may be
    /// another program's, or the agent's.
    pub(super) fn misspelled(&self) -> Vec<(&str, String)> {
        let mut known: Vec<String> = KEYS.iter().map(Setting::variable).collect();
        known.extend(["stages", "names", "config", "server", "key_file", "ca_file", "ca_fingerprint"].map(variable));
        known.push(TOKEN_VARIABLE.to_owned());
        let near = |name: &String| {
            crate::domain::manifest::near::nearest(name, known.iter().map(String::as_str)).map(str::to_owned)
        };
        let unknown = self.0.keys().filter(|name| !known.contains(name));
        unknown.filter_map(|name| Some((name.as_str(), near(name)?))).collect()
    }
}
