//! The forge that flags name, and as whom it is asked.

use super::fault::{Hint as _, usage, with_hint};
use crate::forge::github::{GitHub, Login, Token};
use crate::ports::forge::{Forge, ForgeError};
use anyhow::Context as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest file with a token or a key, in bytes. Keys of apps have two kilobytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Which repository on which forge, and as whom.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Forge")]
pub struct ForgeArgs {
    /// The repository on the forge
    #[arg(long, value_name = "OWNER/NAME", env = "GITHUB_REPOSITORY")]
    pub repository: Option<String>,
    /// The API of the forge; of an enterprise server `https://HOST/api/v3`
    #[arg(long, value_name = "URL", env = "GITHUB_API_URL", default_value = "https://api.github.com")]
    pub api: String,
    /// File with a token [default: the variable GITHUB_TOKEN]
    #[arg(long, value_name = "FILE", conflicts_with = "app_id")]
    pub token_file: Option<PathBuf>,
    /// Ask as this GitHub App
    #[arg(long, value_name = "ID", requires = "app_key")]
    pub app_id: Option<u64>,
    /// File with the private key of the app (PEM)
    #[arg(long, value_name = "FILE", requires = "app_id")]
    pub app_key: Option<PathBuf>,
}

impl ForgeArgs {
    /// The forge. Nothing is sent yet.
    pub fn open(&self) -> anyhow::Result<Box<dyn Forge>> {
        Ok(Box::new(self.open_github()?))
    }

    /// The same, for what not every forge does.
    pub fn open_github(&self) -> anyhow::Result<GitHub> {
        let Self { repository, api, token_file, app_id, app_key } = self;
        let missing =
            || with_hint(usage("no repository on a forge is named"), "name it with `--repository OWNER/NAME`");
        let repository = repository.as_ref().ok_or_else(missing)?;
        let login = match (app_id, app_key, token_file) {
            (Some(id), Some(key), _) => Login::App { id: *id, key: read(key)? },
            (_, _, Some(path)) => {
                let text = String::from_utf8(read(path)?).unwrap_or_default();
                let token = Token::new(&text).with_context(|| format!("{} holds no token", path.display()));
                Login::Token(token.hint("the file holds the token and nothing else")?)
            }
            (_, _, None) => {
                let missing = || usage("there is no token for the forge");
                let hint =
                    "set GITHUB_TOKEN, or name a file with `--token-file`, or an app with `--app-id` and `--app-key`";
                Login::Token(Token::of_workflow().ok_or_else(missing).hint(hint)?)
            }
        };
        GitHub::new(api, repository, login).context("cannot use the forge")
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reading = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(reading)?;
    file.take(MAX_SECRET_BYTES).read_to_end(&mut bytes).with_context(reading)?;
    Ok(bytes)
}

/// A forge's error, with what to do about it.
pub fn hinted(error: ForgeError) -> anyhow::Error {
    let hint = match &error {
        ForgeError::Denied { .. } => {
            "the token needs `pull-requests: write`, `checks: write` for checks, which only apps and workflows may write, and `contents: write` for promotions"
        }
        ForgeError::NotFound { .. } => {
            "look at `--repository` and the number, and at which repositories the token may see"
        }
        ForgeError::RateLimited { .. } => "run it again then: what was written is found again and not written twice",
        ForgeError::Unavailable { .. } => "run it again: what was written is found again and not written twice",
        ForgeError::Refused { .. } | ForgeError::Answer { .. } => return error.into(),
    };
    with_hint(error.into(), hint)
}
