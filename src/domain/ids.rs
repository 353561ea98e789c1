//! Names of things. Each is parsed once at the edge into a type that cannot be wrong.

use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not a name of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: {rule}")]
pub struct NameError {
    /// What the text was meant to be, as the glossary calls it.
    pub kind: &'static str,
    /// The text, cut to 80 characters.
    pub text: String,
    /// The rule that it breaks, in words.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name, or says which rule it breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(NameError { kind: $kind, text: text.chars().take(80).collect(), rule: $rule })
                }
            }

            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn starts_alphanumeric(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn plain_word(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && starts_alphanumeric(text)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

name!(
    /// One device of the fleet, as the inventory calls it.
    DeviceId,
    "device name",
    "1 to 128 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 128)
);

name!(
    /// The name of the fleet, from `fleet.yml` and the controller's configuration.
    FleetName,
    "fleet name",
    "1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 64)
);

name!(
    /// A branch of the fleet repo that devices follow.
    StageName,
    "stage name",
    "a branch name of 1 to 128 letters, digits, `_`, `.`, `/` or `-`, without `..`, `//` or `.lock`",
    |text| {
        text.len() <= 128
            && starts_alphanumeric(text)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/'))
            && !text.contains("..")
            && !text.contains("//")
            && !text.contains("/.")
            && !text.ends_with(['/', '.'])
            && !text.ends_with(".lock")
    }
);

name!(
    /// One rollout: it salts the order of devices, so it never changes.
    RolloutName,
    "rollout name",
    "1 to 128 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 128)
);

name!(
    /// The name of a rollout policy in `fleet.yml`.
    PolicyName,
    "name of a rollout policy",
    "1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 64)
);

name!(
    /// The key of a label of devices: what budgets and site groups go by.
    LabelName,
    "label",
    "1 to 63 letters, digits, `_`, `.`, `/` or `-`, with a letter or digit at both ends",
    |text| {
        text.len() <= 63
            && starts_alphanumeric(text)
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/'))
    }
);

name!(
    /// An app: a set of services that is released as one.
    AppName,
    "app name",
    "1 to 63 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 63)
);

name!(
    /// A service of an app, as its `compose.yml` calls it.
    ServiceName,
    "service name",
    "1 to 63 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 63)
);

name!(
    /// A named volume of an app.
    VolumeName,
    "volume name",
    "1 to 63 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 63)
);

name!(
    /// A network of an app.
    NetworkName,
    "network name",
    "1 to 63 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 63)
);

impl NetworkName {
    /// The network that services join when they name none.
    pub fn default_of_app() -> Self {
        Self::new("default").expect("a fixed text that keeps the rule")
    }
}

name!(
    /// A kind of hardware, as the OS catalog and releases name it.
    DeviceType,
    "device type",
    "1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 64)
);

name!(
    /// The version of a release or of an OS image, exactly as written.
    Version,
    "version",
    "1 to 64 letters, digits, `_`, `.`, `+` or `-`, beginning with a letter or digit",
    |text| {
        text.len() <= 64
            && starts_alphanumeric(text)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'+'))
    }
);

name!(
    /// The name of a variable of a service's environment.
    VariableName,
    "variable name",
    "a letter or `_`, then letters, digits or `_`, at most 256 in all",
    |text| {
        text.len() <= 256
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    }
);

name!(
    /// The name of an attribute that operators set on a device: a word that filters can write after a dot.
    AttributeName,
    "attribute name",
    "a letter or `_`, then letters, digits or `_`, at most 64 in all",
    |text| {
        text.len() <= 64
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    }
);

name!(
    /// A secret, as templates and providers call it.
    SecretName,
    "secret name",
    "a letter or `_`, then letters, digits, `_`, `.` or `-`, at most 128 in all",
    |text| {
        text.len() <= 128
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    }
);

name!(
    /// The id of a Git object: 40 or 64 lower-case hexadecimal digits.
    ObjectId,
    "object id",
    "40 or 64 lower-case hexadecimal digits",
    |text| {
        matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
);

/// The id of a commit of the fleet repo.
pub type CommitId = ObjectId;

impl ObjectId {
    /// The first eight digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

name!(
    /// Who did something: a person, a key or a part of Bellwether.
    Actor,
    "actor",
    "1 to 128 characters without control characters",
    |text| !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control)
);

impl Actor {
    /// The controller itself, where it acts without being asked.
    pub fn controller() -> Self {
        Self::new("controller").expect("a fixed text that keeps the rule")
    }
}

name!(
    /// The name of a host, as Linux takes it.
    Hostname,
    "host name",
    "1 to 64 letters, digits and `-` in parts of at most 63 with dots between them, no part beginning or ending with `-`",
    |text| {
        let part = |part: &str| {
            (1..=63).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        text.len() <= 64 && text.split('.').all(part)
    }
);

name!(
    /// A time zone of the IANA database. Whether there is one of that name is another question.
    ZoneName,
    "time zone",
    "a name of the IANA database, such as `Europe/Zurich`",
    |text| {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-'))
        };
        text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.split('/').all(part)
    }
);

name!(
    /// A setting of the kernel, with dots between its parts.
    SysctlName,
    "kernel setting",
    "2 or more names of letters, digits, `_` and `-` with dots between them, such as `net.ipv4.ip_forward`",
    |text| {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        text.len() <= 128 && text.contains('.') && text.split('.').all(part)
    }
);

name!(
    /// A file below the directory that a device gives to files of the fleet repo. It cannot lead out of it.
    FilePath,
    "path of a file",
    "1 to 8 names with `/` between them, relative, each of 1 to 100 letters, digits, `_`, `.`, `@`, `+` or `-`, not beginning with `.` or `-`",
    |text| {
        let part = |part: &str| {
            (1..=100).contains(&part.len())
                && !part.starts_with(['.', '-'])
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'@' | b'+' | b'-'))
        };
        text.split('/').count() <= 8 && text.split('/').all(part)
    }
);

name!(
    /// A program that a device's owner placed where the agent finds it.
    HookName,
    "hook name",
    "1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit",
    |text| plain_word(text, 64)
);
