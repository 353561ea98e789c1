//! The flags of `bellwether serve`.

use super::fragment::{Fragment, Given, Place, Setting};
use crate::domain::manifest::yaml::Span;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings on the command line. Each wins over its environment variable (`--poll-secs`, `BELLWETHER_POLL_SECS`), which wins over
/// the file. They are read as text here and checked with the rest, so that all problems are told together.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct ServeFlags {
    /// Configuration file [env: BELLWETHER_CONFIG] [default: ./bellwether.yml, then /etc/bellwether/bellwether.yml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the fleet
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// Address of the fleet repo: https://…, ssh://…, host:path, a path or file://…
    #[arg(long, value_name = "ADDRESS")]
    pub repo: Option<String>,
    /// A stage's branch, with the default limits; once for each, least gated first
    #[arg(long = "stage", value_name = "BRANCH")]
    pub stages: Vec<String>,
    /// Folder for keys, store and mirror [default: bellwether-data]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Address and port for devices, and for operators with keys [default: 0.0.0.0:8443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// A DNS name or address under which the controller is reached, for its certificate; once for each
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// Unix socket for operators on this machine [default: bellwether.sock in the data folder]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,
    /// Certificate with its chain, in PEM, instead of the controller's own
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// User whose token is used for https; the token itself comes from --git-token-file or BELLWETHER_GIT_TOKEN
    #[arg(long, value_name = "USER")]
    pub git_user: Option<String>,
    /// File with a token or password for https, read anew at each fetch
    #[arg(long, value_name = "FILE")]
    pub git_token_file: Option<String>,
    /// Authorities of the https remote's certificate, in PEM, instead of this machine's
    #[arg(long, value_name = "FILE")]
    pub git_ca_file: Option<String>,
    /// Private key for ssh
    #[arg(long, value_name = "FILE")]
    pub git_ssh_key_file: Option<String>,
    /// Keys that ssh hosts must have, as known_hosts of OpenSSH
    #[arg(long, value_name = "FILE")]
    pub git_known_hosts_file: Option<String>,
    /// Socket of an ssh agent
    #[arg(long, value_name = "SOCKET")]
    pub git_ssh_agent: Option<String>,
    /// Seconds that one fetch may take [default: 600]
    #[arg(long, value_name = "SECS")]
    pub git_timeout_secs: Option<String>,
    /// refused, or this-machine: http:// without TLS to this machine, for tests [default: refused]
    #[arg(long, value_name = "WHERE", hide = true)]
    pub git_plain_http: Option<String>,
    /// Seconds between two looks at the fleet repo [default: 15]
    #[arg(long, value_name = "SECS")]
    pub poll_secs: Option<String>,
    /// Seconds of silence after which a device counts as offline [default: 300]
    #[arg(long, value_name = "SECS")]
    pub offline_after_secs: Option<String>,
    /// Environment variables that may be secrets: names, or beginnings with `*`, separated by commas
    #[arg(long, value_name = "NAMES")]
    pub secrets_env: Option<String>,
    /// Folder with one file for each secret
    #[arg(long, value_name = "FOLDER")]
    pub secrets_directory: Option<String>,
    /// age identity that decrypts the files below secrets/ of the fleet repo
    #[arg(long, value_name = "FILE")]
    pub secrets_identity: Option<String>,
    /// OWNER/NAME on GitHub where people see how rollouts go
    #[arg(long, value_name = "OWNER/NAME")]
    pub forge_repository: Option<String>,
    /// API of GitHub; of an enterprise server https://HOST/api/v3 [default: that of github.com]
    #[arg(long, value_name = "URL")]
    pub forge_api: Option<String>,
    /// File with a token for GitHub, read anew when it is refused
    #[arg(long, value_name = "FILE")]
    pub forge_token_file: Option<String>,
    /// Id of the GitHub App that the controller is
    #[arg(long, value_name = "ID")]
    pub forge_app_id: Option<String>,
    /// Private key of the app, in PEM
    #[arg(long, value_name = "FILE")]
    pub forge_app_key: Option<String>,
    /// Stages whose progress is told, separated by commas [default: all]
    #[arg(long, value_name = "NAMES")]
    pub forge_stages: Option<String>,
    /// Address that statuses link to, such as the controller's
    #[arg(long, value_name = "URL")]
    pub forge_link: Option<String>,
    /// File with the secret that webhooks are signed with
    #[arg(long, value_name = "FILE")]
    pub forge_webhook_secret_file: Option<String>,
    /// Form of log lines: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// How much is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl ServeFlags {
    /// What the flags say.
    pub(super) fn fragment(&self, folder: &Arc<Path>) -> Fragment {
        let Self {
            config: _,
            fleet,
            repo,
            stages,
            data_dir,
            listen,
            names,
            socket,
            tls_cert,
            tls_key,
            git_user,
            git_token_file,
            git_ca_file,
            git_ssh_key_file,
            git_known_hosts_file,
            git_ssh_agent,
            git_timeout_secs,
            git_plain_http,
            poll_secs,
            offline_after_secs,
            secrets_env,
            secrets_directory,
            secrets_identity,
            forge_repository,
            forge_api,
            forge_token_file,
            forge_app_id,
            forge_app_key,
            forge_stages,
            forge_link,
            forge_webhook_secret_file,
            log_format,
            log_level,
        } = self;
        let place = |flag: &str| Place { source: Arc::from(flag), span: Span::default(), folder: folder.clone() };
        let mut fragment = Fragment::default();
        for (key, text) in [
            ("fleet", fleet),
            ("repo", repo),
            ("data_dir", data_dir),
            ("listen", listen),
            ("socket", socket),
            ("tls.cert", tls_cert),
            ("tls.key", tls_key),
            ("git.user", git_user),
            ("git.token_file", git_token_file),
            ("git.ca_file", git_ca_file),
            ("git.ssh_key_file", git_ssh_key_file),
            ("git.known_hosts_file", git_known_hosts_file),
            ("git.ssh_agent", git_ssh_agent),
            ("git.timeout_secs", git_timeout_secs),
            ("git.plain_http", git_plain_http),
            ("poll_secs", poll_secs),
            ("offline_after_secs", offline_after_secs),
            ("secrets.env", secrets_env),
            ("secrets.directory", secrets_directory),
            ("secrets.identity", secrets_identity),
            ("forge.repository", forge_repository),
            ("forge.api", forge_api),
            ("forge.token_file", forge_token_file),
            ("forge.app_id", forge_app_id),
            ("forge.app_key", forge_app_key),
            ("forge.stages", forge_stages),
            ("forge.link", forge_link),
            ("forge.webhook_secret_file", forge_webhook_secret_file),
            ("log.format", log_format),
            ("log.level", log_level),
        ] {
            if let Some(text) = text {
                let setting = Setting::of(key);
                fragment.texts.insert(setting.key, Given { value: text.clone(), place: place(&setting.flag()) });
            }
        }
        let list = |flag, words: &Vec<String>| (!words.is_empty()).then(|| (place(flag), words.clone()));
        fragment.set_lists(list("--stage", stages), list("--name", names));
        fragment
    }
}
