//! Every key of the Compose specification, and what becomes of it here.
//!
//! One list from which follow the findings of `bellwether check`, `docs/compose.md` and the JSON Schema. A test compares the names
//! with those of the specification's own schema, so that no key can be dropped in silence.

mod nested;
mod own;
mod service;

pub use nested::{
    ATTACHMENT, BIND, DEPENDENCY, DEPLOY, DEVICE, HEALTHCHECK, INSIDE_REFUSED, IPAM, IPAM_CONFIG, LIMITS, LOGGING,
    NETWORK, PORT, RESERVATIONS, RESOURCES, TMPFS, ULIMIT, VOLUME, VOLUME_DEFINITION, VOLUME_OPTIONS,
};
pub use own::{OWN, PROBE, PROBE_FILE, PROBE_HTTP, SERVICE_OWN, UPDATE};
pub use service::SERVICE;

use crate::domain::finding::codes;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Field, Node};

/// A key with what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Devices apply it. How, in a sentence.
    Applied(&'static str),
    /// Devices apply it where the controller's configuration allows it. How, in a sentence.
    Allowed(&'static str),
    /// It may stand there and does nothing. Why, in a sentence.
    Idle(&'static str),
    /// It is an error.
    Refused {
        /// Why, as the end of "… is not supported: ".
        why: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

/// A mapping of the specification.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Where it stands, such as `services.*.healthcheck`; empty for the whole file.
    pub path: &'static str,
    /// What it is, for messages.
    pub what: &'static str,
    /// Its keys, sorted.
    pub keys: &'static [Key],
}

const fn applied(name: &'static str, about: &'static str) -> Key {
    Key { name, fate: Fate::Applied(about) }
}

const fn allowed(name: &'static str, about: &'static str) -> Key {
    Key { name, fate: Fate::Allowed(about) }
}

const fn idle(name: &'static str, about: &'static str) -> Key {
    Key { name, fate: Fate::Idle(about) }
}

const fn refused(name: &'static str, why: &'static str, instead: &'static str) -> Key {
    Key { name, fate: Fate::Refused { why, instead } }
}

/// A Compose file.
pub const FILE: Section = Section {
    path: "",
    what: "a Compose file",
    keys: &[
        refused(
            "configs",
            "files are not handed to services this way",
            "put the file into the image, or its content into a variable",
        ),
        refused(
            "include",
            "a release is one file, so that what it runs can be read in one place",
            "copy the services into this file",
        ),
        refused("models", "agents run no language models", "run the model as a service"),
        idle("name", "Apps have names in the fleet repo."),
        applied("networks", "Networks of the app. Without them there is one, `default`."),
        refused("secrets", "secrets do not belong into a release", "set a variable to `secret('NAME')` in vars files"),
        applied("services", "The services by name."),
        idle("version", "The version of an old format; Compose ignores it too."),
        applied(
            "volumes",
            "Named volumes of the app. They persist over updates and are never removed by deleting a line.",
        ),
    ],
};

/// Every mapping that is read.
pub const SECTIONS: &[Section] = &[
    FILE,
    SERVICE,
    DEPENDENCY,
    DEPLOY,
    RESOURCES,
    LIMITS,
    RESERVATIONS,
    DEVICE,
    HEALTHCHECK,
    LOGGING,
    ATTACHMENT,
    PORT,
    ULIMIT,
    VOLUME,
    BIND,
    TMPFS,
    VOLUME_OPTIONS,
    NETWORK,
    IPAM,
    IPAM_CONFIG,
    VOLUME_DEFINITION,
];

impl Section {
    /// A key of the section.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The fields of a mapping that mean something; each key that is refused or unknown becomes an error.
    pub(super) fn fields<'a>(&self, node: &'a Node, problems: &mut Problems) -> Option<Vec<&'a Field>> {
        let map = read::map(node, self.what, problems)?;
        let mut fields = Vec::with_capacity(map.entries.len());
        for field in map.entries.iter().filter(|field| !field.key.text.starts_with("x-")) {
            match self.key(&field.key.text).map(|key| key.fate) {
                Some(Fate::Applied(_) | Fate::Allowed(_)) => fields.push(field),
                Some(Fate::Idle(_)) => {}
                Some(Fate::Refused { why, instead }) => {
                    let message = format!("`{}` is not supported: {why}", field.key.text);
                    problems.error_hint(field.key.span, codes::UNSUPPORTED_KEY, message, instead);
                }
                None => self.unknown(field, problems),
            }
        }
        Some(fields)
    }

    fn unknown(&self, field: &Field, problems: &mut Problems) {
        let message = format!("{} has no key `{}`", self.what, show(&field.key.text));
        let supported = |key: &&Key| !matches!(key.fate, Fate::Refused { .. });
        let names = || self.keys.iter().filter(supported).map(|key| key.name);
        let hint = match nearest(&field.key.text, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.keys.len() > 12 => "docs/compose.md lists the keys".to_owned(),
            None => format!("known keys: {}", names().collect::<Vec<_>>().join(", ")),
        };
        problems.error_hint(field.key.span, codes::UNKNOWN_KEY, message, hint);
    }
}

/// The text of `docs/compose.md`.
pub fn document() -> String {
    let mut text = String::from(include_str!("table/head.md"));
    for section in SECTIONS.iter().chain(OWN) {
        let title = if section.path.is_empty() { "The file" } else { section.path };
        let title = if section.path.is_empty() { title.to_owned() } else { format!("`{title}`") };
        text.push_str(&format!("\n## {title}\n\n| key | | |\n|---|---|---|\n"));
        for Key { name, fate } in section.keys {
            let (mark, about) = match fate {
                Fate::Applied(about) => ("applied", (*about).to_owned()),
                Fate::Allowed(about) => ("where allowed", (*about).to_owned()),
                Fate::Idle(about) => ("no effect", (*about).to_owned()),
                Fate::Refused { why, instead } => ("refused", format!("{}. Instead: {instead}.", capital(why))),
            };
            text.push_str(&format!("| `{name}` | {mark} | {} |\n", about.replace('|', "\\|")));
        }
    }
    text
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests;
