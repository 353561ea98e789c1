//! The JSON Schema of `bellwether.yml`, for editors. The reader in [`super::file`] is what decides.

use crate::domain::plan::policy::MAX_SOAK_SECS;
use serde_json::{Value, json};

/// The schema.
pub fn schema() -> Value {
    let limit = |about: &str| {
        json!({
            "description": about,
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": 1_000_000 },
                { "type": "string", "pattern": r"^[0-9]{1,4}(\.[0-9]{1,2})?%$" },
            ],
        })
    };
    let stage_name = json!({ "type": "string", "minLength": 1, "maxLength": 128 });
    let stage = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": stage_name,
            "max_unstaged": limit("How many devices may get other content at once without a rollout."),
            "deletion_budget": limit("How many devices may become unmanaged since the last approval."),
            "signers": {
                "description": "Who may sign the branch's newest commit; without it no signature is asked for.",
                "type": "object",
                "additionalProperties": false,
                "minProperties": 1,
                "properties": {
                    "ssh": { "type": "string", "description": "A file of allowed signers, as ssh-keygen(1) describes it." },
                    "openpgp": { "type": "string", "description": "A file with the public keys of those who may sign." },
                },
            },
            "host_paths": {
                "type": "array",
                "items": { "type": "string", "pattern": "^/" },
                "description": "Paths of devices that services of the stage may mount, with what is below them.",
            },
            "privileged": {
                "type": "boolean",
                "description": "Whether services of the stage may have all rights on their device.",
            },
            "soak_secs": {
                "type": "integer",
                "minimum": 0,
                "maximum": MAX_SOAK_SECS,
                "description": "How many seconds devices must be well with new content; until then they go back by themselves when they are not.",
            },
            "promotion": {
                "enum": ["any", "verified"],
                "description": "What the branch may bring: whatever is merged into it, or only trees that have finished in the stage before.",
            },
        },
    });
    let operator = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "key_sha256"],
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 128, "description": "Recorded with every act." },
            "key_sha256": {
                "type": "string",
                "pattern": "^(sha256:)?[0-9a-f]{64}$",
                "description": "SHA-256 of the operator's key; the key itself is never written down here.",
            },
        },
    });
    let file = |about: &str| json!({ "type": "string", "description": about });
    let address = |about: &str| json!({ "type": "string", "pattern": "^https://[^\\s@]+$", "description": about });
    let list = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["url"],
        "anyOf": [{ "required": ["signed_by"] }, { "required": ["ca", "cert", "key"] }],
        "properties": {
            "url": address("Where the list is, as fleet repos write it."),
            "signed_by": file("A file with the public keys that sign the list: Ed25519 in PEM, or SSH keys, one a line."),
            "signature": address("Where the signature is (default: the list's address with `.sig` behind it)."),
            "ca": file("A file with the authorities that vouch for the server (default: those of this machine)."),
            "cert": file("The certificate that the controller shows, in PEM."),
            "key": file("Its private key, in PEM."),
        },
    });
    let text = |key: &str| json!({ "type": "string", "description": describe(key) });
    let positive = |key: &str| json!({ "type": "integer", "minimum": 1, "description": describe(key) });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Bellwether's controller",
        "type": "object",
        "additionalProperties": false,
        "patternProperties": { "^x-": {} },
        "properties": {
            "fleet": text("fleet"),
            "repo": text("repo"),
            "stages": {
                "description": "Branches that devices follow, least gated first.",
                "type": "array",
                "minItems": 1,
                "maxItems": super::file::MAX_STAGES,
                "items": { "anyOf": [stage_name, stage] },
            },
            "data_dir": text("data_dir"),
            "listen": text("listen"),
            "names": {
                "description": "DNS names and addresses for the controller's own certificate.",
                "type": "array",
                "items": { "type": "string" },
            },
            "tls": {
                "type": "object",
                "additionalProperties": false,
                "required": ["cert", "key"],
                "properties": { "cert": text("tls.cert"), "key": text("tls.key") },
            },
            "socket": text("socket"),
            "operators": { "type": "array", "items": operator },
            "inventories": {
                "description": "Lists of devices that fleet repos may name with `inventory: {http: URL}`.",
                "type": "array",
                "maxItems": super::lists::MAX_LISTS,
                "items": list,
            },
            "git": {
                "description": "How a fleet repo behind https or ssh is reached.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "user": text("git.user"),
                    "token_file": text("git.token_file"),
                    "ca_file": text("git.ca_file"),
                    "ssh_key_file": text("git.ssh_key_file"),
                    "known_hosts_file": text("git.known_hosts_file"),
                    "ssh_agent": text("git.ssh_agent"),
                    "timeout_secs": positive("git.timeout_secs"),
                    "plain_http": { "enum": ["refused", "this-machine"], "description": describe("git.plain_http") },
                },
            },
            "poll_secs": positive("poll_secs"),
            "offline_after_secs": positive("offline_after_secs"),
            "secrets": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "env": text("secrets.env"),
                    "directory": text("secrets.directory"),
                    "identity": text("secrets.identity"),
                },
            },
            "forge": {
                "type": "object",
                "additionalProperties": false,
                "required": ["repository"],
                "properties": {
                    "repository": { "type": "string", "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", "description": describe("forge.repository") },
                    "api": text("forge.api"),
                    "token_file": text("forge.token_file"),
                    "app_id": positive("forge.app_id"),
                    "app_key": text("forge.app_key"),
                    "stages": text("forge.stages"),
                    "link": text("forge.link"),
                    "webhook_secret_file": text("forge.webhook_secret_file"),
                },
            },
            "log": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "format": { "enum": ["text", "json"], "description": describe("log.format") },
                    "level": { "enum": ["error", "warn", "info", "debug", "trace"], "description": describe("log.level") },
                },
            },
        },
    })
}

fn describe(key: &str) -> String {
    let setting = super::Setting::of(key);
    match setting.default {
        Some(default) => format!("{} (default: {default})", setting.about),
        None => setting.about.to_owned(),
    }
}
