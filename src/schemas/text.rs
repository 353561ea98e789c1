//! Kinds of text. Typed keys take a scalar as it is written, so an editor must accept what YAML reads as a number or a boolean.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::marker::PhantomData;

macro_rules! text {
    ($($name:ident $about:literal $schema:tt)*) => {$(
        #[doc = $about]
        #[derive(Default)]
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

text! {
    Text "Text as written." { "type": ["string", "number", "boolean"] }
    Word "Letters, digits, `_`, `.` and `-`." {
        "type": ["string", "number", "boolean"], "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "maxLength": 128
    }
    Stage "A branch of this repo." {
        "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_./-]*$", "maxLength": 128
    }
    Variable "The name of a variable." {
        "type": "string", "pattern": "^(?!BELLWETHER_)[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 256
    }
    Service "A service, or `app/service`." {
        "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?$"
    }
    Semver "A semantic version." {
        "type": "string",
        "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?(\\+[0-9A-Za-z.-]+)?$"
    }
    Pin "`latest`, a version, a range, or a template of one." {
        "type": "string",
        "pattern": "^(latest|[0-9]+\\.[0-9]+\\.[0-9]+([-+][0-9A-Za-z.+-]+)?|[\\^~><=*].*|.*\\.[*x])$|\\{[{%#]"
    }
    ZoneName "A time zone of the IANA database, such as `Europe/Zurich`." {
        "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
    }
    TimeZone "A time zone of the IANA database, such as `Europe/Zurich`, or a template of one." {
        "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$|\\{[{%#]"
    }
    HostnameText "The name of a host, or a template of one." {
        "type": ["string", "number"], "pattern": "^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$|\\{[{%#]"
    }
    Sysctl "The name of a kernel setting." {
        "type": "string", "pattern": "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)+$", "maxLength": 128
    }
    PathText "A relative path." {
        "type": "string",
        "pattern": "^[A-Za-z0-9_@+][A-Za-z0-9_.@+-]{0,99}(/[A-Za-z0-9_@+][A-Za-z0-9_.@+-]{0,99}){0,7}$"
    }
    HookText "The name of a program of the device." {
        "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "maxLength": 64
    }
    TriggerText "What a hook runs for." {
        "type": "string", "pattern": "^(hostname|time_zone|persistent_logging|sysctl(/.+)?|files(/.+)?)$"
    }
    Mode "Three octal digits." { "type": ["string", "integer"], "maximum": 777, "pattern": "^0?[0-7]{3}$" }
    TimeOfDay "Hours and minutes, such as `02:00`." {
        "type": ["string", "number"], "pattern": "^([01]?[0-9]|2[0-3]):[0-5][0-9]$"
    }
    Weekdays "`mon`, `mon-fri`, or several with commas." {
        "type": "string",
        "pattern": "^(?:(?:^|,)(?:[Ss]un|[Mm]on|[Tt]ue|[Ww]ed|[Tt]hu|[Ff]ri|[Ss]at)(?:-(?:[Ss]un|[Mm]on|[Tt]ue|[Ww]ed|[Tt]hu|[Ff]ri|[Ss]at))?)+$"
    }
    Cron "The five fields of cron." { "type": "string", "pattern": "^\\S+ +\\S+ +\\S+ +\\S+ +\\S+$" }
    Length "A number of minutes, hours or days: `90m`, `2h`, `1h30m`." {
        "type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(s|m|h|d|w))+$"
    }
    Range "A range of versions, such as `>=2.3, <4`." {
        "type": "string", "pattern": "^([\\^~><=*].*|.*\\.[*x])$"
    }
    FromRelease "An earlier version, or a range." {
        "type": "string",
        "pattern": "^([0-9]+\\.[0-9]+\\.[0-9]+([-+][0-9A-Za-z.+-]+)?|[\\^~><=*].*|.*\\.[*x])$"
    }
    Moment "A point in time, such as 2026-12-01T18:00:00Z." { "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]" }
    WebAddress "A web address." { "type": "string", "pattern": "^https?://[^\\s]+$" }
    ListAddress "The address of a list of devices, without credentials." {
        "type": "string", "pattern": "^https://[^\\s@]+$", "maxLength": 2048
    }
    Attribute "The name of an attribute." { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 64 }
    Sha256 "`sha256:` and 64 hexadecimal digits." { "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" }
    Prefix "What variables begin with." { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 32 }
    Size "Bytes, or a number with a unit such as `512m`." { "type": ["integer", "string"], "minimum": 1 }
    PolicyText "The name of a rollout policy." { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "maxLength": 128 }
    LabelText "The name of a label." { "type": "string", "minLength": 1 }
    Percentage "A percentage such as `99.5%`." {
        "type": "string", "pattern": "^(100(\\.0{1,2})?|[0-9]{1,2}(\\.[0-9]{1,2})?)%$"
    }
    Amount "A number, or a percentage." {
        "type": ["integer", "string"], "minimum": 0, "pattern": "^([0-9]+|(100(\\.0{1,2})?|[0-9]{1,2}(\\.[0-9]{1,2})?)%)$"
    }
    Truth "true or false." { "type": "boolean" }
}

/// A mapping whose keys are of one kind and whose values are of another.
pub(super) struct Mapping<K, V>(PhantomData<(K, V)>);

impl<K, V> Default for Mapping<K, V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K: JsonSchema, V: JsonSchema> JsonSchema for Mapping<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}To{}", K::schema_name(), V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = generator.subschema_for::<K>();
        let values = generator.subschema_for::<V>();
        json_schema!({ "type": "object", "propertyNames": keys, "additionalProperties": values })
    }
}
