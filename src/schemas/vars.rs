//! `fleet.yml`, `inventory.yml` and files of variables.

use super::rollouts;
use super::text::{
    Attribute, Cron, HookText, HostnameText, Length, ListAddress, Mapping, Mode, Moment, PathText, Pin, Prefix,
    Service, Stage, Sysctl, Text, TimeOfDay, TimeZone, TriggerText, Truth, Variable, Weekdays, Word, ZoneName,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Variables of a group or a device. Some keys have a meaning to Bellwether; all others are free.
#[derive(Default, JsonSchema)]
#[schemars(title = "Variables of a group or a device", extend("not" = {"required": ["branch", "subscribed_branch"]}))]
pub(super) struct Vars {
    /// The branch that the device follows.
    branch: Option<Branch>,
    /// Another name of `branch`.
    subscribed_branch: Option<Branch>,
    /// The kind of hardware, as the OS catalog and releases name it.
    device_type: Option<Word>,
    /// Which release of each app the device runs.
    pins: Option<Mapping<Word, Option<Pin>>>,
    /// Environment of all services of the device. `null` removes a variable.
    variables: Option<Mapping<Variable, Option<Text>>>,
    /// Environment of one service: `service`, or `app/service` where two apps share a name.
    services: Option<Mapping<Service, Option<ServiceVars>>>,
    /// Settings of the host and the agent.
    config: Option<Config>,
    /// The image of the OS catalog; the entry for the device's type is chosen. `null` leaves the OS alone.
    os: Option<Text>,
    /// Free metadata for people, filters and selectors.
    tags: Option<BTreeMap<String, Option<Text>>>,
    /// What disruption budgets and site groups go by.
    labels: Option<BTreeMap<String, Option<Text>>>,
    /// Assign nothing new.
    hold: Option<Hold>,
    /// Services with one of these `profiles` run, besides those without any.
    profiles: Option<Vec<Word>>,
    /// When the device may fetch and change.
    maintenance: Option<Maintenance>,
}

/// Which branch a device follows.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Branch {
    /// This one.
    Named(Stage),
    /// The one that the device chooses.
    FromDevice(FromDevice),
}

/// The device chooses its branch. Each key is inherited by itself.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1))]
struct FromDevice {
    /// Always `device`.
    #[schemars(extend("enum" = ["device", null]))]
    from: Option<String>,
    /// The branches that it may choose.
    #[schemars(length(min = 1))]
    allowed: Option<Vec<Stage>>,
}

/// What is for one service alone.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ServiceVars {
    /// Its environment.
    variables: Option<Mapping<Variable, Option<Text>>>,
}

/// Settings of the host and the agent. Keys that begin with `x-` are handed on.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": {"type": ["string", "number", "boolean", "null"]}}))]
struct Config {
    /// Seconds between polls when the agent does not long-poll.
    #[schemars(range(min = 1, max = 86400))]
    poll_interval_secs: Option<u32>,
    /// Whether the host keeps its logs over a reboot.
    persistent_logging: Option<Truth>,
    /// The host's name.
    hostname: Option<HostnameText>,
    /// The host's time zone, such as `Europe/Zurich`.
    time_zone: Option<TimeZone>,
    /// Settings of the kernel, of those that the device allows.
    sysctl: Option<Mapping<Sysctl, Option<Text>>>,
    /// Files below the directory that the device gives to them, by path.
    files: Option<Mapping<PathText, Option<HostFile>>>,
    /// Programs of the device by name, each with the settings that it runs for when they have changed.
    hooks: Option<Mapping<HookText, Option<Triggers>>>,
}

/// A file of the host. Each key is inherited by itself.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct HostFile {
    /// Its content; it may be a template, and hold secrets.
    content: Option<Text>,
    /// Its permissions in octal, such as `644`; 0644 without it, 0600 if a secret is in it.
    mode: Option<Mode>,
}

/// What a hook runs for.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Triggers(#[schemars(length(min = 1))] Vec<TriggerText>);

/// When the device may fetch and change. Each key is inherited by itself.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Maintenance {
    /// The time zone of windows that name none, such as `Europe/Zurich`.
    zone: Option<TimeZone>,
    /// When things may be fetched. Without this, at any time.
    #[schemars(length(min = 1, max = 32))]
    download: Option<Vec<Window>>,
    /// When containers and the OS may be changed. Without this, at any time.
    #[schemars(length(min = 1, max = 32))]
    apply: Option<Vec<Window>>,
}

/// A window: by `time` and `days`, or by `cron`.
#[derive(Default, JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("oneOf" = [{"required": ["time"], "not": {"required": ["cron"]}}, {"required": ["cron"], "not": {"anyOf": [{"required": ["days"]}, {"required": ["time"]}]}}])
)]
pub(super) struct Window {
    /// The time of the day at which it opens, such as `02:00`. Without `days` every day.
    #[schemars(default)]
    time: TimeOfDay,
    /// The weekdays: `mon`, `mon-fri`, or a list.
    #[schemars(default)]
    days: Days,
    /// Minute, hour, day of the month, month and weekday, such as `30 2 * * mon-fri`.
    #[schemars(default)]
    cron: Cron,
    /// How long it is open, such as `90m`, `2h` or `1d`.
    duration: Length,
    /// Its own time zone.
    #[schemars(default)]
    zone: ZoneName,
}

/// Weekdays.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Days {
    /// One, a range, or several with commas.
    One(Weekdays),
    /// Several.
    Several(#[schemars(length(min = 1))] Vec<Weekdays>),
}

impl Default for Days {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// A pause. Each key is inherited by itself.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1))]
struct Hold {
    /// Why.
    reason: Option<Text>,
    /// Until when; without it, until the line goes.
    until: Option<Moment>,
}

/// Typed keys below every group: those of variables, and no others.
#[derive(Default)]
struct Defaults;

impl JsonSchema for Defaults {
    fn schema_name() -> Cow<'static, str> {
        "Defaults".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Vars::json_schema(generator);
        schema.insert("title".to_owned(), Value::from("Defaults"));
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
        schema
    }
}

/// What holds for the whole fleet.
#[derive(JsonSchema)]
#[schemars(title = "fleet.yml", deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
pub(super) struct Fleet {
    /// The fleet's name.
    #[schemars(default)]
    name: Word,
    /// The apps. Without this, every folder of `releases/` is an app.
    #[schemars(default)]
    apps: Mapping<Word, Option<App>>,
    /// What holds unless a group or a device says otherwise.
    #[schemars(default)]
    defaults: Defaults,
    /// What typed keys begin with, where a repo uses their names for something else.
    #[schemars(default)]
    key_prefix: Prefix,
    /// Refuse what is otherwise a warning: keys without a meaning, images by tag.
    #[schemars(default)]
    strict: Truth,
    /// Limits. They can only be tighter than the controller's own.
    #[schemars(default)]
    limits: Limits,
    /// Dynamic groups: paths such as `co/cisco` with a filter in CEL. Each refines the one above it.
    #[schemars(default)]
    groups: Mapping<Text, DynamicGroup>,
    /// Saved views.
    #[schemars(default)]
    views: Mapping<Text, View>,
    /// Where the devices are listed, if not in `inventory.yml`.
    #[schemars(default)]
    inventory: ListedBy,
    /// Rollout policies by name: in which steps a change goes out, and what must hold before it goes on.
    #[schemars(default)]
    rollouts: rollouts::Policies,
    /// Which devices of which stage follow which policy.
    #[schemars(default)]
    rollout: rollouts::Rules,
    /// When nothing new is offered.
    #[schemars(default, length(max = 64))]
    freezes: Vec<rollouts::Freeze>,
}

/// Where the devices are listed.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum ListedBy {
    /// A place that needs no more to be said.
    Named(ListedPlace),
    /// The controller's registry, or a list that the controller fetches.
    Place(ListedAt),
}

impl Default for ListedBy {
    fn default() -> Self {
        Self::Named(ListedPlace::Commit)
    }
}

/// `commit` for `inventory.yml`, `registry` for devices that are enrolled or registered with the controller.
#[derive(JsonSchema, Default)]
#[schemars(rename_all = "lowercase")]
enum ListedPlace {
    /// `inventory.yml`.
    #[default]
    Commit,
    /// Devices that are enrolled or registered with the controller.
    Registry,
}

/// Where the devices are listed, with more about it.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum ListedAt {
    /// JSON of the shape of `ansible-inventory --list`; the controller's configuration must know the address.
    Http(ListAddress),
    /// Devices that are enrolled or registered with the controller.
    Registry(Option<RegistryRules>),
}

/// What of the registry counts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RegistryRules {
    /// Attributes that are variables of their device, besides `branch`.
    #[schemars(default)]
    vars: Vec<Attribute>,
}

/// A dynamic group: its filter alone, or with more about it.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum DynamicGroup {
    /// A filter in CEL, such as `reported.cpu == "MIPS" && "kiosks" in groups`.
    Filter(Text),
    /// The filter with more about it.
    Whole(WholeGroup),
}

/// A dynamic group with more about it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct WholeGroup {
    /// A filter in CEL. Without one this is a folder for the groups below.
    #[schemars(default)]
    filter: Text,
    /// What it is for.
    #[schemars(default)]
    description: Text,
    /// Groups below it, each refining it.
    #[schemars(default)]
    groups: Mapping<Text, DynamicGroup>,
}

/// A view: its filter alone, or with what is shown.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum View {
    /// A filter in CEL.
    Filter(Text),
    /// The filter with what is shown.
    Whole(WholeView),
}

/// A view with what is shown.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct WholeView {
    /// A filter in CEL. Without one it shows all devices.
    #[schemars(default)]
    filter: Text,
    /// What is shown of each device: attributes such as `tags.site`.
    #[schemars(default, length(max = 32))]
    columns: Vec<Text>,
    /// Attributes to sort by, with `-` in front for the largest first.
    #[schemars(default)]
    sort: Sort,
    /// What it is for.
    #[schemars(default)]
    description: Text,
}

/// One attribute to sort by, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Sort {
    /// One.
    One(Text),
    /// Several, the most important first.
    Several(#[schemars(length(max = 4))] Vec<Text>),
}

impl Default for Sort {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// An app.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct App {
    /// What it is for.
    #[schemars(default)]
    description: Text,
}

/// Limits of one commit.
#[derive(Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// How many devices may get other content at once without a rollout.
    #[schemars(default, range(min = 0, max = 1_000_000_000))]
    max_unstaged: u32,
}

/// Hosts and groups, in Ansible's YAML inventory format.
#[derive(JsonSchema)]
#[schemars(title = "inventory.yml", extend("minProperties" = 1))]
pub(super) struct Inventory {
    /// Groups by name; `all` contains every other.
    #[schemars(flatten)]
    groups: BTreeMap<String, Option<Group>>,
}

/// A group of hosts.
#[derive(Default, JsonSchema)]
struct Group {
    /// Variables of every host in it.
    vars: Option<Vars>,
    /// Groups that it contains.
    children: Option<BTreeMap<String, Option<Group>>>,
    /// Hosts that it contains, each with its own variables.
    hosts: Option<Hosts>,
}

/// Hosts of a group.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Hosts {
    /// By name.
    Named(BTreeMap<String, Option<Vars>>),
    /// Only one.
    One(String),
}
