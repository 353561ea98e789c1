//! Schemas are fresh, the example follows them, and they agree with what reads the files.

use super::{files, schemas};
use crate::domain::desired::Resolver;
use crate::domain::finding::Severity;
use crate::domain::manifest::yaml::{Kind, Node, Style, parse};
use crate::domain::snapshot::Snapshot;
use serde_json::Value;
use std::path::Path;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

#[test]
fn the_schemas_in_the_tree_are_fresh() {
    for (path, text) in files(&folder()) {
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{} is stale: `just schemas` writes it again", path.display());
    }
}

#[test]
#[ignore = "writes schemas/"]
fn write_schemas() {
    for (path, text) in files(&folder()) {
        std::fs::write(path, text).expect("schemas/ can be written to");
    }
}

/// A document as an editor's YAML server sees it: types of YAML 1.2.
fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Map(map) => map.entries.iter().map(|field| (field.key.text.to_string(), json(&field.value))).collect(),
        Kind::List(items) => items.iter().map(json).collect(),
        Kind::Scalar(scalar) if scalar.style != Style::Plain || node.tag.is_some() => Value::from(&*scalar.text),
        Kind::Scalar(_) if node.is_null() => Value::Null,
        Kind::Scalar(scalar) => match &*scalar.text {
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            text => text
                .parse::<i64>()
                .map(Value::from)
                .or_else(|_| text.parse::<f64>().map(Value::from))
                .unwrap_or_else(|_| Value::from(text)),
        },
    }
}

fn schema_for(path: &str) -> Option<&'static str> {
    match path {
        "fleet.yml" => Some("fleet"),
        "inventory.yml" => Some("inventory"),
        _ if path.ends_with("/release.yml") => Some("release"),
        _ if path.ends_with("/compose.yml") => Some("compose"),
        _ if path.starts_with("os/") => Some("os"),
        _ if path.starts_with("group_vars/") || path.starts_with("host_vars/") => Some("vars"),
        _ => None,
    }
}

/// What the schema has against a document; empty if nothing.
fn refused_by_schema(name: &str, text: &str) -> String {
    let schema = schemas().into_iter().find(|(known, _)| *known == name).expect("a schema of this name").1;
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let document = parse(text.as_bytes()).expect("YAML").map_or(Value::Null, |node| json(&node));
    validator.iter_errors(&document).map(|error| format!("{}: {error}\n", error.instance_path())).collect()
}

#[test]
fn the_example_follows_its_schemas() {
    for (path, text) in crate::example::FILES {
        let Some(name) = schema_for(path) else { continue };
        assert_eq!(refused_by_schema(name, text), "", "{path}");
        let up = "../".repeat(path.matches('/').count() + 1);
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first, format!("# yaml-language-server: $schema={up}schemas/{name}.json"), "{path}");
    }
}

/// The path at which a document of a kind stands in the sample below.
fn path_for(name: &str) -> &'static str {
    match name {
        "fleet" => "fleet.yml",
        "inventory" => "inventory.yml",
        "vars" => "host_vars/a.yml",
        "release" => "releases/app/1.0.0/release.yml",
        "compose" => "releases/app/1.0.0/compose.yml",
        _ => "os/image.yml",
    }
}

/// Whether reading the document finds an error in it.
fn refused_by_reader(name: &str, text: &str) -> bool {
    let path = path_for(name);
    let mut files = vec![
        ("inventory.yml", "all: {hosts: {a: }}\n"),
        ("releases/app/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/app/1.0.0/compose.yml", "services: {web: {image: 'web:1'}}\n"),
        ("os/image.yml", "pi: {version: 1}\n"),
    ];
    files.retain(|(other, _)| *other != path);
    files.push((path, text));
    let snapshot = Snapshot::of_files(files.into_iter().map(|(path, text)| (path, text.as_bytes())));
    let desired = Resolver::default().resolve(&snapshot);
    desired.findings.iter().any(|finding| finding.severity == Severity::Error && finding.place.file == path)
}

const GOOD: &[(&str, &str)] = &[
    ("fleet", "name: x\nx-note: {a: 1}\nlimits: {max_unstaged: 3}\nstrict: false\nkey_prefix: bw_\n"),
    ("fleet", "defaults: {branch: main, variables: {A: 1}}\napps: {app: {description: An app}}\n"),
    ("fleet", "inventory: registry\n"),
    ("fleet", "rollout: cautious\n"),
    (
        "fleet",
        "rollouts:\n  careful:\n    approvals: 1\n    on_error: rollback\n    lost_after: 15m\n    late: {catchup_rate: 60, max_failures: 5%}\n    \
         budgets: [{label: site, max_unavailable: 1}]\n    steps:\n    - {name: canaries, group: canaries, min_success: 100%, soak: 30m}\n    \
         - {filter: 'reported.cpu == \"MIPS\"', take: 10%, window: 6h, rate: {per_minute: 10, factor: 2, after: 100, max_per_minute: 100},\n       \
         abort: [{failure: lost, threshold: 5%, min_executed: 20}], retry: {max: 1, backoff: 10m}, allow_empty: true}\n    \
         final: {window: 1d, retry: 2, on_insufficient_reports: error}\n\
         rollout:\n- {stage: production, policy: careful}\n- {group: lab, policy: immediate}\n",
    ),
    (
        "fleet",
        "freezes:\n- {reason: end of year, from: 2026-12-18T00:00:00Z, until: 2027-01-04T00:00:00Z}\n\
         - {reason: no change on Fridays, window: {days: fri, time: 12:00, duration: 36h, zone: Europe/Zurich}}\n",
    ),
    ("fleet", "inventory: {registry: {vars: [site, rack]}}\n"),
    ("inventory", "all: {vars: {motd: [1]}, children: {g: {hosts: {a: {x: 1}, b: }}, h: }}\nroot: {hosts: c}\n"),
    ("vars", "branch: main\ndevice_type: pi\npins: {app: latest}\nvariables: {A: 1, B: null, C: true}\n"),
    ("vars", "subscribed_branch: {from: device, allowed: [main]}\nmotd: {a: [1]}\n"),
    (
        "vars",
        "services: {web: {variables: {A: x}}, app/web: null}\nconfig: {poll_interval_secs: 5, x-a: b}\nos: null\n",
    ),
    (
        "vars",
        "hold: {reason: tour, until: 2026-12-01T00:00:00Z}\ntags: {a: 1.10}\nlabels: {site: null}\npins: {app: ^1.0}\n",
    ),
    (
        "vars",
        "v: 1.0.0\nsite: bern\nimage: image\ndevice_type: pi\npins: {app: '{{ v }}'}\nos: '{{ image }}'\n\
         variables: {A: '{{ site | upper }}', B: \"{{ secret('T') }}\", C: '{% if v %}x{% endif %}'}\n\
         services: {web: {variables: {D: '{{ inventory_hostname }}:{{ v }}'}}}\n\
         config: {x-note: '{{ site }}'}\ntags: {site: '{{ site }}'}\nlabels: {site: '{{ site }}-hb'}\n\
         maintenance: {zone: \"Europe/{{ 'Zurich' }}\"}\n",
    ),
    (
        "vars",
        "maintenance:\n  zone: Europe/Zurich\n  download: null\n  apply:\n  - {time: 02:00, duration: 90m}\n\
         \x20 - {days: mon-fri, time: '3:05', duration: 1h30m, zone: UTC}\n  - {days: [sat, sun], time: 00:00, duration: 1d}\n\
         \x20 - {cron: '*/30 1-3 1,15 jan-jun mon', duration: 10m}\n",
    ),
    (
        "vars",
        "config:\n  hostname: kiosk-7.example\n  time_zone: Europe/Zurich\n  sysctl: {net.ipv4.ip_forward: 1, vm.swappiness: null}\n  \
         files:\n    motd: {content: 'Hello {{ inventory_hostname }}', mode: 644}\n    a/b.conf: {content: 5, mode: '0600'}\n    gone: null\n  \
         hooks: {reload: [files/a, sysctl/net.ipv4.ip_forward, hostname], other: null}\n",
    ),
    (
        "vars",
        "config: {hostname: '{{ inventory_hostname }}', time_zone: null, sysctl: null, files: null, hooks: null}\n",
    ),
    (
        "release",
        "version: 1.0.0\ndraft: true\nnotes: x\ntags: {a: b}\nrequires: {device_types: [pi]}\nirreversible: true\n",
    ),
    ("release", "version: 1.0.0\ninvalidated: {reason: bad}\n"),
    ("release", "version: 1.0.0\nrequires: {min_agent: 0.2.0, os: '>=2.3, <4', from: [0.9.0, ^0.8]}\n"),
    ("compose", "services: {web: {image: 'web:1', ports: ['80:80', 81, {target: 5}], restart: on-failure:3}}\n"),
    ("compose", "services: {web: {image: 'web:1', volumes: ['d:/d:ro', {source: d, target: /e}]}}\nvolumes: {d: }\n"),
    (
        "compose",
        "services: {web: {image: 'web:1', environment: [A=1], command: run, depends_on: [db]}, db: {image: 'db:1'}}\n",
    ),
    ("compose", "services: {web: {image: 'web:1', network_mode: host, labels: [a=b], x-y: 1, privileged: false}}\n"),
    ("compose", "image: 'web:1'\nrestart: always\nx-note: short\n"),
    (
        "compose",
        "services: {web: {image: 'web:1', healthcheck: {test: [CMD, x], interval: 1m30s, retries: 2}, mem_limit: 64m, cpus: 0.5}}\n",
    ),
    (
        "compose",
        "services: {web: {image: 'web:1', networks: {back: {aliases: [api]}}, ulimits: {nofile: {soft: 1, hard: 2}}}}\nnetworks: {back: {internal: true}}\n",
    ),
    ("os", "pi: {version: 1.10, url: 'https://example.com/x'}\nx-note: {version: 1}\n"),
];

const BAD: &[(&str, &str)] = &[
    ("fleet", "nmae: x\n"),
    ("fleet", "name: two words\n"),
    ("fleet", "strict: maybe\n"),
    ("fleet", "limits: {max_unstaged: -1}\n"),
    ("fleet", "defaults: {motd: x}\n"),
    ("fleet", "rollout: {}\n"),
    ("fleet", "rollout: [{stage: main}]\n"),
    ("fleet", "rollouts: {a: {steps: [{group: x, filter: 'true'}]}}\n"),
    ("fleet", "rollouts: {a: {steps: [{min_success: 101%}]}}\n"),
    ("fleet", "rollouts: {a: {steps: [{windwo: 1h}]}}\n"),
    ("fleet", "rollouts: {a: {final: {group: x}}}\n"),
    ("fleet", "rollouts: {a: {budgets: [{label: site}]}}\n"),
    ("fleet", "freezes: [{from: 2026-12-18T00:00:00Z, until: 2027-01-04T00:00:00Z}]\n"),
    ("fleet", "freezes: [{reason: x}]\n"),
    ("inventory", "- a\n"),
    ("inventory", "all: {hosts: [a]}\n"),
    ("inventory", "all: {children: 5}\n"),
    ("vars", "branch: [main]\n"),
    ("vars", "branch: {from: nowhere, allowed: [main]}\n"),
    ("vars", "branch: {from: device, allowed: []}\n"),
    ("vars", "branch: main\nsubscribed_branch: main\n"),
    ("vars", "device_type: two words\n"),
    ("vars", "pins: [app]\n"),
    ("vars", "pins: {app: newest}\n"),
    ("vars", "variables: {A: [1]}\n"),
    ("vars", "variables: {1A: x}\n"),
    ("vars", "variables: {BELLWETHER_A: x}\n"),
    ("vars", "services: {web: {image: x}}\n"),
    ("vars", "config: {colour: red}\n"),
    ("vars", "config: {poll_interval_secs: 0}\n"),
    ("vars", "config: {persistent_logging: 'yes'}\n"),
    ("vars", "config: {hostname: two words}\n"),
    ("vars", "config: {sysctl: {forward: 1}}\n"),
    ("vars", "config: {files: {../up: {content: x}}}\n"),
    ("vars", "config: {files: {/etc/passwd: {content: x}}}\n"),
    ("vars", "config: {files: {a: {content: x, owner: root}}}\n"),
    ("vars", "config: {files: {a: {content: x, mode: 4755}}}\n"),
    ("vars", "config: {hooks: {reload: []}}\n"),
    ("vars", "config: {hooks: {reload: [everything]}}\n"),
    ("vars", "hold: {}\n"),
    ("vars", "branch: {}\n"),
    ("vars", "hold: {reason: x, until: tomorrow}\n"),
    ("vars", "tags: {a: {b: c}}\n"),
    ("vars", "maintenance: [02:00]\n"),
    ("vars", "maintenance: {aply: [{time: 02:00, duration: 1h, zone: UTC}]}\n"),
    ("vars", "maintenance: {apply: []}\n"),
    ("vars", "maintenance: {apply: [{time: 25:00, duration: 1h, zone: UTC}]}\n"),
    ("vars", "maintenance: {apply: [{time: 02:00, days: someday, duration: 1h, zone: UTC}]}\n"),
    ("vars", "maintenance: {apply: [{cron: 0 2 * *, duration: 1h, zone: UTC}]}\n"),
    ("vars", "maintenance: {apply: [{time: 02:00, zone: UTC}]}\n"),
    ("vars", "maintenance: {apply: [{time: 02:00, duration: long, zone: UTC}]}\n"),
    ("vars", "maintenance: {apply: [{time: 02:00, cron: 0 2 * * *, duration: 1h, zone: UTC}]}\n"),
    ("vars", "maintenance: {apply: [{duration: 1h, zone: UTC}]}\n"),
    ("vars", "maintenance: {zone: Not A Zone}\n"),
    ("release", "draft: true\n"),
    ("release", "version: banana\n"),
    ("release", "version: 1.0.0\ninvalidated: {}\n"),
    ("release", "version: 1.0.0\nrequires: {moon: full}\n"),
    ("release", "version: 1.0.0\nrequires: {min_agent: new}\n"),
    ("release", "version: 1.0.0\nrequires: {os: 2.3.4}\n"),
    ("release", "version: 1.0.0\nrequires: {from: []}\n"),
    ("release", "version: 1.0.0\nrequires: {from: [banana]}\n"),
    ("compose", "services: {}\n"),
    ("compose", "services: {web: {command: x}}\n"),
    ("compose", "services: {web: {image: 'web:1', build: .}}\n"),
    ("compose", "services: {web: {image: 'web:1', healthcheck: {tset: x}}}\n"),
    ("compose", "services: {web: {image: 'web:1', healthcheck: {interval: 30}}}\n"),
    ("compose", "services: {web: {image: 'web:1', cpus: many}}\n"),
    ("compose", "services: {web: {image: 'web:1', mem_limit: lots}}\n"),
    ("compose", "services: {web: {image: 'web:1', depends_on: {web: {condition: soon}}}}\n"),
    ("compose", "image: 'web:1'\nbuild: .\n"),
    ("compose", "services: {web: {image: 'web:1', volumes: ['/etc']}}\n"),
    ("compose", "services: {web: {image: 'web:1', ports: ['x']}}\n"),
    ("compose", "services: {web: {image: 'web:1', restart: sometimes}}\n"),
    ("compose", "services: {web: {image: 'web:1', network_mode: bridge}}\n"),
    ("compose", "services: {web: {image: 'Not An Image'}}\n"),
    ("os", "pi: {url: 'https://example.com/x'}\n"),
    ("os", "pi: {version: 1, digest: abc}\n"),
    ("os", "pi: {version: 1, url: 'ftp://x'}\n"),
    ("os", "pi: 5\n"),
];

#[test]
fn schema_and_reader_agree() {
    for (name, text) in GOOD {
        assert_eq!(refused_by_schema(name, text), "", "the schema of {name} refuses\n{text}");
        assert!(!refused_by_reader(name, text), "the reader of {name} refuses\n{text}");
    }
    for (name, text) in BAD {
        assert!(!refused_by_schema(name, text).is_empty(), "the schema of {name} takes\n{text}");
        assert!(refused_by_reader(name, text), "the reader of {name} takes\n{text}");
    }
}
