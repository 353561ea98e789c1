//! A fleet repo of any size: twenty groups, a file for each device, two apps.

use bellwether::domain::ids::{DeviceId, FleetName, StageName};
use bellwether::domain::plan::policy::{Limit, StagePolicy};
use serde_json::{Value, json};

/// How many groups there are.
const GROUPS: usize = 20;

/// The one stage.
pub fn stage() -> StageName {
    StageName::new("main").expect("a stage's name")
}

/// The fleet's name.
pub fn name() -> FleetName {
    FleetName::new("bench").expect("a fleet's name")
}

/// A policy that holds nothing: the gate's work is measured, a person's is not.
pub fn policies() -> Vec<StagePolicy> {
    let all = Limit { at_least: usize::MAX, per_ten_thousand: 10_000 };
    vec![StagePolicy {
        name: stage(),
        max_unstaged: all,
        deletion_budget: all,
        host: Default::default(),
        soak_secs: 0,
        promotion: Default::default(),
    }]
}

/// The name of a device.
pub fn device_name(number: usize) -> String {
    format!("device-{number:05}")
}

/// The same, as a name.
pub fn device(number: usize) -> DeviceId {
    DeviceId::new(&device_name(number)).expect("a device's name")
}

/// Every file: path and content.
pub fn files(devices: usize) -> impl Iterator<Item = (String, Value)> {
    files_in(devices, GROUPS)
}

/// The same with so many groups.
pub fn files_in(devices: usize, groups: usize) -> impl Iterator<Item = (String, Value)> {
    let common = [
        ("fleet.yml".to_owned(), fleet_file()),
        ("inventory.yml".to_owned(), inventory(devices, groups)),
        ("group_vars/all.yml".to_owned(), all(0)),
        ("os/bench-os.yml".to_owned(), os()),
    ];
    let groups = (0..groups).map(|group| (format!("group_vars/group_{group:02}.yml"), group_vars(group)));
    let hosts = (0..devices).map(|number| host_file(number, 0));
    common.into_iter().chain(groups).chain(releases()).chain(hosts)
}

/// The devices of [`files_of_groups`] one by one, as `ansible-inventory --list` would say it.
pub fn listing(devices: usize) -> Value {
    let each = devices / GROUPS;
    let group = |group: usize| {
        let hosts: Vec<String> = (group * each..(group + 1) * each).map(|number| format!("unit-{number:07}")).collect();
        (format!("group_{group:02}"), json!({ "hosts": hosts }))
    };
    Value::Object((0..GROUPS).map(group).collect())
}

/// Every file of a fleet whose devices are listed elsewhere: what its groups say, and nothing of any device.
pub fn files_without_devices(inventory: &Value) -> impl Iterator<Item = (String, Value)> {
    files(0).filter(|(path, _)| path != "inventory.yml").map(move |(path, mut content)| {
        if path == "fleet.yml" {
            content["inventory"] = inventory.clone();
        }
        (path, content)
    })
}

/// Every file of a fleet about whose devices nothing is said beyond their groups. The inventory names them as ranges.
pub fn files_of_groups(devices: usize) -> impl Iterator<Item = (String, Value)> {
    let each = devices / GROUPS;
    let group = move |group: usize| {
        let hosts = json!({ format!("unit-[{:07}:{:07}]", group * each, (group + 1) * each - 1): null });
        (format!("group_{group:02}"), json!({ "hosts": hosts }))
    };
    let groups: serde_json::Map<String, Value> = (0..GROUPS).map(group).collect();
    let inventory = json!({ "all": { "children": groups } });
    files(0).map(move |(path, content)| match path.as_str() {
        "inventory.yml" => (path, inventory.clone()),
        _ => (path, content),
    })
}

/// `group_vars/all.yml`; another round changes every device.
pub fn all(round: usize) -> Value {
    json!({
        "device_type": "raspberrypi4",
        "os": "bench-os",
        "config": { "persistent_logging": true },
        "variables": { "TZ": "Europe/Zurich", "LOG_LEVEL": "info", "FLEET_ROUND": format!("round-{round}") },
    })
}

/// A device's own file; another round changes that device alone.
pub fn host_file(number: usize, round: usize) -> (String, Value) {
    let name = device_name(number);
    let content = json!({
        "variables": { "DEVICE_NAME": name, "ROUND": format!("round-{round}") },
        "services": { "player": { "variables": { "SCREEN": format!("screen-{}", number % 7) } } },
        "tags": { "site": format!("site-{:03}", number % 400), "rack": format!("rack-{}", number % 9) },
        "address_on_site": format!("floor {}, room {}", number % 5, number % 113),
    });
    (format!("host_vars/{name}.yml"), content)
}

fn fleet_file() -> Value {
    json!({
        "name": name().as_str(),
        "apps": {
            "signage": { "description": "Menu screens" },
            "telemetry": { "description": "Temperatures and health" },
        },
        "defaults": { "branch": stage().as_str(), "variables": { "REGION": "europe" } },
    })
}

fn inventory(devices: usize, groups: usize) -> Value {
    let group = |group: usize| {
        let hosts = (group..devices).step_by(groups).map(|number| (device_name(number), Value::Null));
        (format!("group_{group:02}"), json!({ "hosts": hosts.collect::<serde_json::Map<_, _>>() }))
    };
    json!({ "all": { "children": (0..groups).map(group).collect::<serde_json::Map<_, _>>() } })
}

fn group_vars(group: usize) -> Value {
    json!({
        "pins": { "signage": if group.is_multiple_of(2) { "^1.4" } else { "1.5.0" }, "telemetry": "latest" },
        "variables": { "GROUP": format!("group-{group}"), "UPSTREAM": format!("https://up-{group}.fleet.example") },
        "services": { "collector": { "variables": { "INTERVAL_SECS": format!("{}", 10 + group) } } },
    })
}

fn releases() -> impl Iterator<Item = (String, Value)> {
    let apps = [("signage", ["1.4.0", "1.4.2", "1.5.0"]), ("telemetry", ["0.9.0", "0.9.3", "1.0.0"])];
    apps.into_iter().flat_map(|(app, versions)| {
        versions.into_iter().flat_map(move |version| {
            let folder = format!("releases/{app}/{version}");
            [
                (format!("{folder}/release.yml"), json!({ "version": version, "notes": "Better than before." })),
                (format!("{folder}/compose.yml"), compose(app, version)),
            ]
        })
    })
}

fn compose(app: &str, version: &str) -> Value {
    use bellwether::domain::digest::Digest;
    let image = |service: &str| {
        let digest = Digest::of(format!("{service} {version}").as_bytes());
        format!("registry.example.com/{app}-{service}@{digest}")
    };
    match app {
        "signage" => json!({
            "services": {
                "player": {
                    "image": image("player"),
                    "environment": { "CONTENT_DIR": "/content" },
                    "volumes": ["content:/content:ro"],
                    "depends_on": ["sync"],
                },
                "sync": {
                    "image": image("sync"),
                    "environment": { "SOURCE": "https://menus.fleet.example" },
                    "volumes": ["content:/content"],
                },
            },
            "volumes": { "content": null },
        }),
        _ => json!({ "services": { "collector": { "image": image("collector"), "environment": { "DEPTH": "3" } } } }),
    }
}

fn os() -> Value {
    json!({ "raspberrypi4": { "version": "2026.10.2", "url": "https://images.fleet.example/pi4.raucb" } })
}

/// A value as people write it in YAML: block style, plain scalars where they are safe.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, indent: usize, text: &mut String) {
    let start = format!("\n{}", "  ".repeat(indent));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (position, (key, field)) in fields.iter().enumerate() {
                // The first key of a document stands at its very beginning.
                text.push_str(if position == 0 && text.is_empty() { "" } else { &start });
                // A range begins like a list.
                text.push_str(&if key.contains('[') { format!("{key:?}") } else { key.clone() });
                text.push(':');
                text.push_str(if is_block(field) || field.is_null() { "" } else { " " });
                block(field, indent + 1, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                text.push_str(&start);
                text.push_str("- ");
                block(item, indent + 1, text);
            }
        }
        Value::Null => {}
        Value::String(plain) if is_plain(plain) => text.push_str(plain),
        other => text.push_str(&other.to_string()),
    }
}

/// Whether a value begins on a line of its own.
fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

/// Whether a text means itself without quotes, in any version of YAML.
fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.contains(['-', '/'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '_' | '.'))
}
