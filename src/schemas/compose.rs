//! `compose.yml`: the keys that agents apply. Every other key is refused, here as in `bellwether check`.

use super::text::{AbsolutePath, ImageName, Mapping, Nothing, Refused, Text, Truth, Variable, Word};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// The services of a release.
#[derive(JsonSchema)]
#[schemars(title = "compose.yml", deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
pub(super) struct Compose {
    /// Services by name.
    #[schemars(extend("minProperties" = 1))]
    services: Mapping<Word, Service>,
    /// Named volumes. They persist over updates.
    volumes: Option<Mapping<Word, Option<Empty>>>,
    /// Only `default`, which every app has anyway.
    networks: Option<Networks>,
    /// Not used: the app has a name.
    #[schemars(default)]
    name: Text,
    /// Not used: the version of the old Compose format.
    #[schemars(default)]
    version: Text,
}

/// Nothing to say.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct Empty {}

/// The app's own network.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct Networks {
    /// The network where services find each other by name.
    default: Option<Network>,
}

/// A network.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct Network {
    /// Not used.
    #[schemars(default)]
    name: Text,
}

/// One service: one container.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct Service {
    /// The image, best by digest: `name@sha256:…`.
    image: ImageName,
    /// Replaces the image's entry point.
    entrypoint: Option<Words>,
    /// Replaces the image's command.
    command: Option<Words>,
    /// The environment. Vars files can override and extend it.
    environment: Option<Environment>,
    /// What happens when the service ends; `always` unless it is said otherwise.
    #[schemars(default)]
    restart: Restart,
    /// Published ports.
    #[schemars(default)]
    ports: Vec<Port>,
    /// Named volumes. Paths of the host are refused.
    #[schemars(default)]
    volumes: Vec<Volume>,
    /// Labels of the container.
    labels: Option<Labels>,
    /// User, or user and group.
    #[schemars(default)]
    user: Text,
    /// Working directory.
    #[schemars(default)]
    working_dir: AbsolutePath,
    /// `host` or `none` instead of the app's own network.
    #[schemars(default)]
    network_mode: NetworkMode,
    /// Only `default`.
    #[schemars(default)]
    networks: ServiceNetworks,
    /// Services that are started before this one.
    #[schemars(default)]
    depends_on: DependsOn,
    /// Refused.
    #[schemars(default)]
    privileged: Refused,
}

macro_rules! either {
    ($(#[doc = $about:literal])* $name:ident { $($(#[$meta:meta])* $variant:ident($inner:ty),)* }) => {
        $(#[doc = $about])*
        #[derive(JsonSchema)]
        #[schemars(untagged)]
        enum $name { $($(#[$meta])* $variant($inner),)* }

        impl Default for $name {
            fn default() -> Self {
                either!(@first $($variant)*)
            }
        }
    };
    (@first $first:ident $($rest:ident)*) => { Self::$first(Default::default()) };
}

either! {
    /// A command line, or its words.
    Words {
        /// Split like a shell does, without running one.
        Line(Text),
        /// Word by word.
        List(Vec<Text>),
    }
}

either! {
    /// Variables.
    Environment {
        /// `NAME: value`
        Map(Mapping<Variable, Text>),
        /// `NAME=value`
        List(Vec<Assignment>),
    }
}

either! {
    /// Labels.
    Labels {
        /// `key: value`
        Map(BTreeMap<String, Option<Text>>),
        /// `key=value`
        List(Vec<Text>),
    }
}

either! {
    /// A published port.
    Port {
        /// `[[ip:]published:]target[/udp]`
        Short(ShortPort),
        /// Key by key.
        Long(LongPort),
    }
}

either! {
    /// A mounted volume.
    Volume {
        /// `name:/path[:ro]`
        Short(ShortVolume),
        /// Key by key.
        Long(LongVolume),
    }
}

either! {
    /// Networks of a service.
    ServiceNetworks {
        /// By name.
        List(Vec<DefaultNetwork>),
        /// With nothing to say.
        Map(Mapping<DefaultNetwork, Nothing>),
    }
}

either! {
    /// Dependencies.
    DependsOn {
        /// By name.
        List(Vec<Word>),
        /// With a condition.
        Map(Mapping<Word, Option<Dependency>>),
    }
}

macro_rules! pattern {
    ($($name:ident $about:literal $schema:tt)*) => {$(
        #[doc = $about]
        #[derive(Default)]
        struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )*};
}

pattern! {
    Assignment "NAME=value" { "type": "string", "pattern": "^(?!BELLWETHER_)[A-Za-z_][A-Za-z0-9_]*=" }
    Restart "A restart policy." { "type": "string", "pattern": "^(always|unless-stopped|no|on-failure(:[0-9]+)?)$" }
    NetworkMode "A network mode." { "enum": ["host", "none"] }
    DefaultNetwork "The app's own network." { "const": "default" }
    Started "The only condition that is supported." { "const": "service_started" }
    ShortPort "A port in one word." {
        "type": ["string", "integer"], "pattern": "^(\\[?[0-9a-fA-F.:]+\\]?:)?([0-9]*:)?[0-9]+(/(tcp|udp))?$", "minimum": 1, "maximum": 65535
    }
    ShortVolume "A volume in one word." { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*:/[^:]+(:(ro|rw))?$" }
    PortNumber "A port." { "type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": 65535 }
    Transport "TCP or UDP." { "enum": ["tcp", "udp"] }
    VolumeType "Only named volumes." { "const": "volume" }
}

/// A port, key by key.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct LongPort {
    /// The container's port.
    target: PortNumber,
    /// The host's port; without it the engine chooses one.
    #[schemars(default)]
    published: PortNumber,
    /// TCP unless it is said otherwise.
    #[schemars(default)]
    protocol: Transport,
    /// The host's address; without it, every address.
    #[schemars(default)]
    host_ip: String,
}

/// A volume, key by key.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct LongVolume {
    /// Only `volume`.
    #[schemars(default)]
    r#type: VolumeType,
    /// The volume's name.
    source: Word,
    /// Where it is mounted.
    target: AbsolutePath,
    /// Whether it can only be read.
    #[schemars(default)]
    read_only: Truth,
}

/// A dependency.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Dependency {
    /// When the other one counts as there.
    #[schemars(default)]
    condition: Started,
}
