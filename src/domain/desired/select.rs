//! Finding the values that a person means by a key.

use super::{Explained, Explanation};
use crate::domain::manifest::compose::table::SERVICE;
use crate::domain::manifest::near::nearest;
use std::collections::BTreeSet;

/// A Compose file of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The app.
    pub app: String,
    /// The version that the device gets.
    pub version: String,
    /// The file.
    pub file: String,
}

impl Explanation {
    /// The values that a key names: itself and what is below it; a variable of the environment as `URL`, `variables.URL`,
    /// `services.web.variables.URL` or `app/web.environment.URL`; what a Compose file says as `image`, `services.web.image` or
    /// `app/web.image`; a free variable by its name, with or without `vars.`.
    pub fn selected(&self, key: &str) -> Vec<&Explained> {
        let key = match key {
            "subscribed_branch" => "branch",
            // Those that services get go by that name.
            "variables" => "environment",
            key => key,
        };
        let exact: Vec<&Explained> = self.values.iter().filter(|one| is_or_is_below(&one.key, key)).collect();
        if !exact.is_empty() {
            return exact;
        }
        self.values.iter().filter(|one| names(&one.key).iter().any(|name| is_or_is_below(name, key))).collect()
    }

    /// The Compose file that could say what a key such as `signage/main.restart` or `services.main.restart` is, and does not.
    /// `None` if Compose has no such key, or the device no such service.
    pub fn composed(&self, key: &str) -> Option<Composed> {
        let named = key.strip_prefix("services.").or_else(|| key.contains('/').then_some(key))?;
        let (service, rest) = named.split_once('.')?;
        let first = rest.split('.').next().unwrap_or(rest);
        if first == "environment" || !SERVICE.keys.iter().any(|key| key.name == first) {
            return None;
        }
        let releases = || self.values.iter().filter_map(|one| Some((one.key.strip_suffix(".release")?, one)));
        let releases = || releases().filter(|(app, one)| one.place.file.starts_with(&format!("releases/{app}/")));
        let gives = |service: &str| self.values.iter().any(|one| is_or_is_below(&one.key, service));
        let (app, release) = match service.split_once('/') {
            Some((app, _)) => releases().find(|(name, _)| *name == app && gives(service))?,
            None => releases().find(|(app, _)| gives(&format!("{app}/{service}")))?,
        };
        let (folder, _) = release.place.file.rsplit_once('/')?;
        Some(Composed { app: app.to_owned(), version: release.value.clone(), file: format!("{folder}/compose.yml") })
    }

    /// A key that is spelled almost like this one.
    pub fn near(&self, key: &str) -> Option<String> {
        let mut known: BTreeSet<String> = BTreeSet::new();
        for one in &self.values {
            known.extend(names(&one.key));
            known.insert(one.key.clone());
            // What stands above it can be asked for too.
            known.extend(one.key.match_indices('.').map(|(end, _)| one.key[..end].to_owned()));
        }
        nearest(key, known.iter().map(String::as_str)).map(str::to_owned)
    }
}

fn is_or_is_below(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
}

/// Other names of a key, as people write them in the files.
fn names(key: &str) -> Vec<String> {
    if let Some(free) = key.strip_prefix("vars.") {
        return vec![free.to_owned()];
    }
    if let Some(unused) = key.strip_prefix("variables.") {
        return vec![unused.to_owned(), format!("environment.{unused}")];
    }
    let Some((service, variable)) = key.split_once(".environment.") else {
        let mut names: Vec<String> = key.rsplit('.').next().map(str::to_owned).into_iter().collect();
        let is_of_device = ["config.", "labels.", "os.", "pins.", "tags."].iter().any(|above| key.starts_with(above));
        if let Some((_, of_service)) = key.split_once('/').filter(|_| !is_of_device) {
            names.extend([format!("services.{of_service}"), format!("services.{key}")]);
            // `healthcheck` as well as `test`.
            names.extend(of_service.split_once('.').map(|(_, below)| below.to_owned()));
        }
        // `networks` of whatever app.
        let declared = key.split_once('.').map(|(_, below)| below);
        let is_declared = |below: &&str| ["networks.", "volumes."].iter().any(|above| below.starts_with(above));
        names.extend(declared.filter(|_| !is_of_device && !key.contains('/')).filter(is_declared).map(str::to_owned));
        return names;
    };
    let plain = service.rsplit('/').next().unwrap_or(service);
    vec![
        variable.to_owned(),
        format!("environment.{variable}"),
        format!("variables.{variable}"),
        format!("services.{plain}.variables.{variable}"),
        format!("services.{service}.variables.{variable}"),
    ]
}
