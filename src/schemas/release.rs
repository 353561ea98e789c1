//! `release.yml` and OS images.

use super::text::{FromRelease, Mapping, Range, Semver, Sha256, Size, Text, Truth, WebAddress, Word};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// One released version of an app.
#[derive(JsonSchema)]
#[schemars(title = "release.yml", deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
pub(super) struct Release {
    /// The version: the name of the folder.
    version: Semver,
    /// Being tried: `latest` and ranges pass it over, an exact pin takes it.
    #[schemars(default)]
    draft: Truth,
    /// It turned out to be bad: `latest` and ranges pass it over.
    #[schemars(default)]
    invalidated: Invalidated,
    /// What changed, for people.
    #[schemars(default)]
    notes: Text,
    /// Free metadata.
    #[schemars(default)]
    tags: BTreeMap<String, Text>,
    /// What a device must be to run it.
    #[schemars(default)]
    requires: Requires,
    /// There is no way back from it to an earlier release.
    #[schemars(default)]
    irreversible: Truth,
}

/// Why a release is bad.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Invalidated {
    /// Why.
    reason: Text,
}

/// What a device must be.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Requires {
    /// Its type is one of these.
    #[schemars(default)]
    device_types: Vec<Word>,
    /// Its agent is at least this version.
    #[schemars(default)]
    min_agent: Semver,
    /// Its OS has a version in this range.
    #[schemars(default)]
    os: Range,
    /// It runs one of these earlier releases, or none of the app yet.
    #[schemars(default, length(min = 1))]
    from: Vec<FromRelease>,
}

/// One OS image for every device type that it was built for.
#[derive(JsonSchema)]
#[schemars(title = "os/<name>.yml", transparent)]
pub(super) struct OsImage(Mapping<Word, Image>);

/// The image for one device type.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct Image {
    /// The version that a device reports once it runs the image.
    version: Word,
    /// Where the image is fetched from.
    #[schemars(default)]
    url: WebAddress,
    /// The image's digest.
    #[schemars(default)]
    digest: Sha256,
    /// Its size in bytes, or a number with k, m or g: room is made sure of before anything is fetched.
    #[schemars(default)]
    size: Size,
    /// Whether the updater is given the address and reads only what it needs, in place of a file that the agent downloaded.
    #[schemars(default)]
    streaming: Truth,
}
