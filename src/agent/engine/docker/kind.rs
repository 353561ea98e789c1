//! Which engine answers: they speak one language with accents.

use bollard::models::SystemVersion;
use std::collections::BTreeMap;

/// How much of a version is told. What is longer says something else.
const MAX_VERSION_CHARS: usize = 64;

/// An engine that speaks the language of Docker's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Docker, or what cannot be told from it.
    Docker,
    /// Podman.
    Podman,
    /// balenaEngine, which is made from Docker.
    Balena,
}

/// An engine that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recognised {
    pub(super) kind: Kind,
    /// Its version, in its own words.
    pub(super) version: String,
}

impl Recognised {
    /// The same as attributes of the device.
    pub(super) fn attributes(&self) -> BTreeMap<String, String> {
        let pairs = [("engine", self.kind.name()), ("engine_version", self.version.as_str())];
        let said = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        said.map(|(name, value)| (name.to_owned(), value.chars().take(MAX_VERSION_CHARS).collect())).collect()
    }
}

impl Kind {
    /// Its name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Balena => "balena-engine",
        }
    }
}

/// What an engine says of itself.
pub(super) fn recognised(said: SystemVersion) -> Recognised {
    let components = said.components.unwrap_or_default();
    let platform = said.platform.map(|platform| platform.name);
    let names = components.iter().map(|one| one.name.as_str()).chain(platform.as_deref());
    let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    let version = said.version.unwrap_or_default();
    let says = |word: &str| names.iter().any(|name| name.contains(word)) || version.to_ascii_lowercase().contains(word);
    let kind = if says("podman") {
        Kind::Podman
    } else if says("balena") {
        Kind::Balena
    } else {
        Kind::Docker
    };
    Recognised { kind, version }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, expected: &str) {
        let said: SystemVersion = serde_json::from_str(said).expect("a version");
        let Recognised { kind, version } = recognised(said);
        assert_eq!(format!("{} {version}", kind.name()), expected);
    }

    #[test]
    fn engines_are_told_apart_by_what_they_say_of_themselves() {
        check(
            r#"{"Platform": {"Name": ""}, "Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}], "Version": "20.10.24+dfsg1"}"#,
            "docker 20.10.24+dfsg1",
        );
        check(
            r#"{"Platform": {"Name": "linux/amd64/debian-12"}, "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}], "Version": "4.3.1"}"#,
            "podman 4.3.1",
        );
        check(
            r#"{"Platform": {"Name": "balenaEngine"}, "Components": [{"Name": "Engine", "Version": "20.10.43"}], "Version": "20.10.43"}"#,
            "balena-engine 20.10.43",
        );
        check("{}", "docker ");
    }
}
