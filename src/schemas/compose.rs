//! The schema of `compose.yml`, made from the table of its keys: what is refused there is no property here.

use crate::domain::manifest::compose::table::{self, Fate, Section};
use crate::domain::spec::MAX_PROBES;
use serde_json::{Map, Value, json};

/// The schema.
pub(super) fn schema() -> Value {
    let mut file = object(&table::FILE);
    let service = object(&table::SERVICE);
    let mut short = service.clone();
    for one in [&mut file, &mut short] {
        // Lines of the other form are its business.
        one["required"] = json!([]);
    }
    file["required"] = json!(["services"]);
    short["required"] = json!(["image"]);
    let mut definitions = Map::new();
    definitions.insert("file".to_owned(), file);
    definitions.insert("service".to_owned(), service);
    definitions.insert("short".to_owned(), short);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "compose.yml",
        "description": "The services of a release, or the keys of its only service.",
        "type": "object",
        "if": { "required": ["services"] },
        "then": { "$ref": "#/definitions/file" },
        "else": { "$ref": "#/definitions/short" },
        "definitions": definitions,
    })
}

/// A mapping with the keys of a section that are not refused.
fn object(section: &Section) -> Value {
    let mut properties = Map::new();
    for key in section.keys {
        let about = match key.fate {
            Fate::Applied(about) | Fate::Allowed(about) => about.to_owned(),
            Fate::Idle(about) => format!("No effect. {about}"),
            Fate::Refused { .. } => continue,
        };
        let is_idle = matches!(key.fate, Fate::Idle(_));
        let mut shape = if is_idle { json!({}) } else { shape(section.path, key.name) };
        shape["description"] = Value::from(about);
        properties.insert(key.name.to_owned(), shape);
    }
    let required: &[&str] = match section.path {
        "services.*" => &["image"],
        "services.*.ports[]" | "services.*.volumes[]" => &["target"],
        "services.*.devices[]" => &["source"],
        "services.*.ulimits.*" => &["soft", "hard"],
        "networks.*.ipam.config[]" => &["subnet"],
        "services.*.x-bellwether.probes.*.http" => &["port"],
        "services.*.x-bellwether.probes.*.file" => &["path"],
        _ => &[],
    };
    if section.path == table::SERVICE.path {
        properties.insert("x-bellwether".to_owned(), object(&table::SERVICE_OWN));
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
        "patternProperties": { "^x-": {} },
    })
}

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]*$";
const TEXT: [&str; 3] = ["string", "number", "boolean"];

fn pattern(pattern: &str) -> Value {
    json!({ "type": ["string", "number"], "pattern": pattern })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": TEXT } })
}

fn text_or_texts() -> Value {
    json!({ "anyOf": [{ "type": TEXT }, texts()] })
}

/// `key: value`, or `- key=value`.
fn pairs() -> Value {
    json!({ "anyOf": [
        { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean", "null"] } },
        texts(),
        { "type": "null" },
    ] })
}

fn size() -> Value {
    json!({ "type": ["string", "number"], "pattern": "^([0-9.]+ ?([kKmMgGtTpP]?[iI]?[bB]?)|\\$.*)$" })
}

fn duration() -> Value {
    json!({ "anyOf": [
        { "const": 0 },
        { "type": "string", "pattern": "^(0|([0-9.]+(ns|us|µs|ms|s|m|h|d|w))+)$" },
    ] })
}

fn names() -> Value {
    json!({ "type": "array", "items": { "type": ["string", "number", "boolean"], "pattern": NAME } })
}

fn one_of(values: &[&str]) -> Value {
    json!({ "enum": values })
}

fn by_name(section: &Section) -> Value {
    let entry = json!({ "anyOf": [object(section), { "type": "null" }] });
    json!({ "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": entry })
}

fn short_or(short: Value, section: &Section) -> Value {
    json!({ "type": "array", "items": { "anyOf": [short, object(section)] } })
}

/// What the value of a key looks like. Editors help with it; the reader is what decides.
fn shape(path: &str, key: &str) -> Value {
    match path {
        "" => top(key),
        "services.*" => service(key),
        "services.*.healthcheck" => match key {
            "disable" => json!({ "type": "boolean" }),
            "retries" => json!({ "type": ["integer", "string"], "minimum": 0 }),
            "test" => text_or_texts(),
            _ => duration(),
        },
        "services.*.depends_on.*" => match key {
            "condition" => one_of(&["service_started", "service_healthy", "service_completed_successfully"]),
            _ => json!({ "type": "boolean" }),
        },
        "services.*.deploy" => match key {
            "mode" => one_of(&["replicated"]),
            "replicas" => json!({ "enum": [1, "1"] }),
            _ => object(&table::RESOURCES),
        },
        "services.*.deploy.resources" => object(if key == "limits" { &table::LIMITS } else { &table::RESERVATIONS }),
        "services.*.logging" if key == "options" => pairs(),
        "services.*.networks.*" if key == "aliases" => names(),
        "services.*.ports[]" => port(key),
        "services.*.volumes[]" => volume(key),
        "services.*.volumes[].bind" if key == "create_host_path" => json!({ "type": "boolean" }),
        "services.*.volumes[].volume" => json!({ "type": "boolean" }),
        "networks.*" => match key {
            "driver" => one_of(&["bridge"]),
            "ipam" => object(&table::IPAM),
            _ => json!({ "type": "boolean" }),
        },
        "networks.*.ipam" => match key {
            "config" => json!({ "type": "array", "items": object(&table::IPAM_CONFIG) }),
            _ => one_of(&["default"]),
        },
        path if path.starts_with(table::SERVICE_OWN.path) => own(key),
        "volumes.*" => one_of(&["local"]),
        _ => json!({ "type": TEXT }),
    }
}

fn top(key: &str) -> Value {
    match key {
        "services" => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": { "pattern": NAME },
            "additionalProperties": { "$ref": "#/definitions/service" },
        }),
        "networks" => json!({ "anyOf": [by_name(&table::NETWORK), { "type": "null" }] }),
        _ => json!({ "anyOf": [by_name(&table::VOLUME_DEFINITION), { "type": "null" }] }),
    }
}

fn port(key: &str) -> Value {
    match key {
        "protocol" => one_of(&["tcp", "udp"]),
        "mode" => one_of(&["host", "ingress"]),
        "target" | "published" => {
            json!({ "type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": 65535 })
        }
        _ => json!({ "type": "string" }),
    }
}

fn volume(key: &str) -> Value {
    match key {
        "type" => one_of(&["volume", "tmpfs", "bind"]),
        "target" => json!({ "type": "string", "pattern": "^/" }),
        "read_only" => json!({ "type": "boolean" }),
        "bind" => object(&table::BIND),
        "tmpfs" => object(&table::TMPFS),
        "volume" => object(&table::VOLUME_OPTIONS),
        _ => json!({ "type": "string" }),
    }
}

fn service(key: &str) -> Value {
    match key {
        "image" => pattern("^[A-Za-z0-9$][A-Za-z0-9._/:${}-]*(@sha256:[0-9a-f]{64})?$"),
        "command" | "entrypoint" => json!({ "anyOf": [{ "type": TEXT }, texts(), { "type": "null" }] }),
        "environment" => json!({ "anyOf": [
            {
                "type": "object",
                "propertyNames": { "pattern": "^(?!BELLWETHER_)[A-Za-z_][A-Za-z0-9_]*$" },
                "additionalProperties": { "type": TEXT },
            },
            { "type": "array", "items": { "type": "string", "pattern": "^(?!BELLWETHER_)[A-Za-z_][A-Za-z0-9_]*=" } },
            { "type": "null" },
        ] }),
        "restart" => pattern("^(always|unless-stopped|no|on-failure(:[0-9]+)?)$"),
        "ports" => short_or(
            json!({
                "type": ["string", "integer"], "minimum": 1, "maximum": 65535,
                "pattern": "^(\\[?[0-9a-fA-F.:]+\\]?:)?([0-9-]*:)?[0-9]+(-[0-9]+)?(/(tcp|udp))?$",
            }),
            &table::PORT,
        ),
        "volumes" => short_or(json!({ "type": "string", "pattern": "^[^:]+:/[^:]+(:[a-z,]+)?$" }), &table::VOLUME),
        "devices" => short_or(json!({ "type": "string", "pattern": "^/[^:]+(:[^:]+){0,2}$" }), &table::DEVICE),
        "network_mode" => pattern("^(host|none|service:.+)$"),
        "networks" => json!({ "anyOf": [names(), by_name(&table::ATTACHMENT), { "type": "null" }] }),
        "depends_on" => json!({ "anyOf": [names(), by_name(&table::DEPENDENCY)] }),
        "healthcheck" => object(&table::HEALTHCHECK),
        "logging" => object(&table::LOGGING),
        "deploy" => json!({ "anyOf": [object(&table::DEPLOY), { "type": "null" }] }),
        "ulimits" => json!({
            "type": "object",
            "additionalProperties": { "anyOf": [{ "type": ["integer", "string"] }, object(&table::ULIMIT)] },
        }),
        "annotations" | "labels" | "sysctls" => pairs(),
        "extra_hosts" => json!({ "anyOf": [{ "type": "object" }, texts(), { "type": "null" }] }),
        "dns" | "dns_search" | "tmpfs" => text_or_texts(),
        "cap_add" | "cap_drop" | "device_cgroup_rules" | "dns_opt" | "group_add" | "security_opt" => texts(),
        "profiles" => names(),
        "init" | "oom_kill_disable" | "privileged" | "read_only" | "stdin_open" | "tty" => json!({ "type": "boolean" }),
        "mem_limit" | "mem_reservation" | "shm_size" => size(),
        "cpus" => json!({ "type": ["string", "number"], "pattern": "^[0-9.]+$", "minimum": 0 }),
        "mem_swappiness" => json!({ "type": ["integer", "string"], "minimum": 0, "maximum": 100 }),
        "oom_score_adj" => json!({ "type": ["integer", "string"], "minimum": -1000, "maximum": 1000 }),
        "cpu_period" | "cpu_quota" | "cpu_shares" => json!({ "type": ["integer", "string"], "minimum": 0 }),
        "pids_limit" => json!({ "type": ["integer", "string"], "minimum": -1 }),
        "stop_grace_period" => duration(),
        "cgroup" => one_of(&["host", "private"]),
        "ipc" => pattern("^(host|none|private|shareable|service:.+)$"),
        "pid" => json!({ "type": ["string", "null"], "pattern": "^(host|service:.+)$" }),
        "userns_mode" | "uts" => one_of(&["host"]),
        "scale" => json!({ "enum": [1, "1"] }),
        "pull_policy" => one_of(&["missing", "if_not_present"]),
        "working_dir" => json!({ "type": "string", "pattern": "^/" }),
        _ => json!({ "type": TEXT }),
    }
}

/// What stands below `x-bellwether`.
fn own(key: &str) -> Value {
    match key {
        "update" => object(&table::UPDATE),
        "probes" => {
            json!({ "type": "object", "maxProperties": MAX_PROBES, "additionalProperties": object(&table::PROBE) })
        }
        "strategy" => one_of(&["download-then-kill", "kill-then-download", "delete-then-download", "hand-over"]),
        "exec" => text_or_texts(),
        "http" => object(&table::PROBE_HTTP),
        "file" => object(&table::PROBE_FILE),
        "threshold" => json!({ "type": ["integer", "string"], "minimum": 1, "maximum": 100 }),
        "port" => json!({ "type": ["integer", "string"], "minimum": 1, "maximum": 65535 }),
        "locks" | "path" => json!({ "type": "string", "pattern": "^[/$]" }),
        _ => duration(),
    }
}
