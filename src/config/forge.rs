//! The settings about the forge: what it is told after a merge, and which webhooks are taken.

use super::settings::{Check, number, wrong};
use crate::domain::finding::codes;
use crate::domain::ids::StageName;
use crate::domain::manifest::problems::show;
use crate::domain::plan::policy::StagePolicy;
use crate::forge::settings::{ForgeSettings, LoginFiles};
use std::path::PathBuf;

/// What the controller has to do with the forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgePart {
    /// OWNER/NAME: of which repository webhooks are taken.
    pub repository: String,
    /// How it is asked; `None` if it is told nothing.
    pub settings: Option<ForgeSettings>,
    /// The stages that it is told about, least gated first.
    pub stages: Vec<StageName>,
    /// Where people read more.
    pub link: Option<String>,
    /// The file with the secret that webhooks are signed with; `None` if none are taken.
    pub webhook_secret: Option<PathBuf>,
}

impl Check<'_> {
    /// What the controller has to do with the forge; nothing unless a repository is named.
    pub(super) fn forge(&mut self, known: &[StagePolicy]) -> Option<Option<ForgePart>> {
        let Some(repository) = self.given("forge.repository") else {
            let keys =
                ["forge.token_file", "forge.app_id", "forge.app_key", "forge.webhook_secret_file", "forge.stages"];
            let Some(given) = keys.into_iter().find_map(|key| self.given(key)) else { return Some(None) };
            let problem = wrong(codes::MISSING_KEY, "`forge.repository` is not set")
                .hint("name the repository on the forge: OWNER/NAME");
            self.tell(&given.place, problem);
            return None;
        };
        let name = self.parse(&repository, is_repository);
        let api = self.text("forge.api", is_address);
        let token = self.path("forge.token_file");
        let id = match self.given("forge.app_id") {
            Some(given) => Some(self.parse(&given, |text| number(text, 1..=u64::MAX))?),
            None => None,
        };
        let key = self.path("forge.app_key");
        let webhook_secret = self.path("forge.webhook_secret_file");
        let login = match (token, id, key) {
            (Some(path), None, None) => Some(LoginFiles::Token(path)),
            (None, Some(id), Some(key)) => Some(LoginFiles::App { id, key }),
            (None, None, None) if webhook_secret.is_some() => None,
            (None, None, None) => {
                let problem = wrong(codes::MISSING_KEY, "it is not said as whom the forge is asked")
                    .hint("set `forge.token_file`, or `forge.app_id` and `forge.app_key`; for webhooks alone `forge.webhook_secret_file`");
                self.tell(&repository.place, problem);
                return None;
            }
            (Some(_), _, _) | (None, Some(_), None) | (None, None, Some(_)) => {
                let problem = wrong(codes::BAD_VALUE, "it is not clear as whom the forge is asked")
                    .hint("set either `forge.token_file`, or both `forge.app_id` and `forge.app_key`");
                self.tell(&repository.place, problem);
                return None;
            }
        };
        let stages = match self.given("forge.stages") {
            Some(given) => self.parse(&given, |text| listed(text, known))?,
            None => known.iter().map(|stage| stage.name.clone()).collect(),
        };
        let link = match self.given("forge.link") {
            Some(given) => Some(self.parse(&given, is_address)?),
            None => None,
        };
        let (repository, api) = (name?, api?);
        let settings = login.map(|login| ForgeSettings { api, repository: repository.clone(), login });
        Some(Some(ForgePart { repository, settings, stages, link, webhook_secret }))
    }
}

fn is_repository(text: &str) -> Result<String, super::settings::Wrong> {
    let is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    match text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name)) {
        true => Ok(text.to_owned()),
        false => Err(wrong(codes::BAD_VALUE, format!("`{}` is no repository", show(text))).hint("write OWNER/NAME")),
    }
}

fn is_address(text: &str) -> Result<String, super::settings::Wrong> {
    let fits = text.len() <= 2048 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|start| text.starts_with(start));
    match fits && (text.starts_with("https://") || local) {
        true => Ok(text.to_owned()),
        false => Err(wrong(codes::BAD_VALUE, format!("`{}` is no address", show(text))).hint("write `https://…`")),
    }
}

/// Stages by name, in the order in which they are configured.
fn listed(text: &str, known: &[StagePolicy]) -> Result<Vec<StageName>, super::settings::Wrong> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(stranger) = names.iter().find(|name| !known.iter().any(|stage| stage.name.as_str() == **name)) {
        let message = format!("there is no stage `{}`", show(stranger));
        return Err(wrong(codes::BAD_VALUE, message).hint("name stages of `stages`, separated by commas"));
    }
    let is_meant = |stage: &&StagePolicy| names.contains(&stage.name.as_str());
    Ok(known.iter().filter(is_meant).map(|stage| stage.name.clone()).collect())
}
