//! `x-bellwether` of a service: how it is updated, where its lock is, and what it is asked from outside.

use super::forms::{bad, parsed, text};
use super::service::command;
use super::table::{PROBE, PROBE_FILE, PROBE_HTTP, SERVICE_OWN, UPDATE};
use super::units::nanos;
use crate::domain::finding::codes;
use crate::domain::ids::{ServiceName, VolumeName};
use crate::domain::manifest::problems::Problems;
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Kind, Node, Span};
use crate::domain::spec::{
    MAX_HANDOVER_TIMEOUT_SECS, MAX_PROBES, Network, Probe, ProbeCheck, ServiceSpec, Strategy, Update,
};
use std::collections::BTreeMap;

/// The key under which it stands.
pub(super) const KEY: &str = "x-bellwether";
const DAY: u64 = 86_400;

/// Reads it from a service, if it is there.
pub(super) fn read(service: &Node, spec: &mut ServiceSpec, problems: &mut Problems) {
    let Kind::Map(map) = &service.kind else { return };
    let Some(node) = map.value(KEY) else { return };
    for field in SERVICE_OWN.fields(node, problems).unwrap_or_default() {
        let value = &field.value;
        match &*field.key.text {
            "update" => spec.update = update(value, problems),
            "locks" => spec.lock_folder = path(value, "`locks`", problems),
            _ => spec.probes = probes(value, problems),
        }
    }
}

fn update(node: &Node, problems: &mut Problems) -> Update {
    let mut update = Update::default();
    for field in UPDATE.fields(node, problems).unwrap_or_default() {
        let value = &field.value;
        match &*field.key.text {
            "strategy" => update.strategy = strategy(value, problems).unwrap_or_default(),
            _ => {
                let most = MAX_HANDOVER_TIMEOUT_SECS.into();
                update.handover_timeout_secs = secs(value, "`handover_timeout`", 1..=most, problems);
            }
        }
    }
    if update.strategy != Strategy::HandOver && update.handover_timeout_secs.take().is_some() {
        let message = "`handover_timeout` is of no use without `strategy: hand-over`";
        problems.error(node.span, codes::OPTION_CONFLICT, message.to_owned());
    }
    update
}

fn strategy(node: &Node, problems: &mut Problems) -> Option<Strategy> {
    let hint = "write `download-then-kill`, `kill-then-download`, `delete-then-download` or `hand-over`";
    parsed(node, "an update strategy", hint, problems, |text| match text {
        "download-then-kill" => Some(Strategy::DownloadThenKill),
        "kill-then-download" => Some(Strategy::KillThenDownload),
        "delete-then-download" => Some(Strategy::DeleteThenDownload),
        "hand-over" => Some(Strategy::HandOver),
        _ => None,
    })
}

fn path(node: &Node, what: &str, problems: &mut Problems) -> Option<String> {
    parsed(node, what, "write an absolute path", problems, |text| {
        let fits = text.starts_with('/') && text.len() <= 4096 && !text.chars().any(char::is_control);
        (fits && text != "/").then(|| text.to_owned())
    })
}

fn secs(node: &Node, what: &str, range: std::ops::RangeInclusive<u64>, problems: &mut Problems) -> Option<u32> {
    let hint = format!("write whole seconds, from {}s to {}s, such as 30s or 5m", range.start(), range.end());
    parsed(node, what, &hint, problems, |text| {
        let nanos = nanos(text)?;
        let secs = nanos / 1_000_000_000;
        (nanos % 1_000_000_000 == 0 && range.contains(&secs)).then(|| u32::try_from(secs).ok())?
    })
}

fn probes(node: &Node, problems: &mut Problems) -> BTreeMap<String, Probe> {
    let mut probes = BTreeMap::new();
    let Some(map) = read::map(node, "`probes`", problems) else { return probes };
    if map.entries.len() > MAX_PROBES {
        bad(node.span, format!("{} probes are too many", map.entries.len()), "a service has at most 8", problems);
    }
    for field in map.entries.iter().filter(|field| !field.key.text.starts_with("x-")) {
        // The rule of volumes' names suits those of probes.
        let name = read::parse_name::<VolumeName>(&field.key.text, field.key.span, problems);
        if let (Some(name), Some(probe)) = (name, probe(&field.value, problems)) {
            probes.insert(name.to_string(), probe);
        }
    }
    probes
}

fn probe(node: &Node, problems: &mut Problems) -> Option<Probe> {
    let mut checks = Vec::new();
    let mut probe = Probe::of(ProbeCheck::Exec(Vec::new()));
    for field in PROBE.fields(node, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "exec" => checks.push(command(value, "`exec`", problems).map(ProbeCheck::Exec)),
            "http" => checks.push(http(value, problems)),
            "file" => checks.push(file(value, problems)),
            "interval" => probe.interval_secs = secs(value, "`interval`", 1..=DAY, problems)?,
            "timeout" => probe.timeout_secs = secs(value, "`timeout`", 1..=300, problems)?,
            _ => {
                let threshold = read::number(value, "`threshold`", 1..=100, problems)?;
                probe.threshold = u32::try_from(threshold).unwrap_or(probe.threshold);
            }
        }
    }
    match checks.len() {
        1 => probe.check = checks.pop()??,
        _ => {
            bad(node.span, "a probe asks one thing".to_owned(), "write one of `exec`, `http` and `file`", problems);
            return None;
        }
    }
    if probe.check == ProbeCheck::Exec(Vec::new()) {
        bad(node.span, "`exec` names no program".to_owned(), "write a list of words, or a line", problems);
        return None;
    }
    Some(probe)
}

fn http(node: &Node, problems: &mut Problems) -> Option<ProbeCheck> {
    let (mut port, mut path) = (None, "/".to_owned());
    for field in PROBE_HTTP.fields(node, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "port" => port = read::number(value, "`port`", 1..=65_535, problems),
            _ => {
                path = text(value, "`path`", problems)?;
                if !path.starts_with('/') || path.bytes().any(|byte| !byte.is_ascii_graphic()) {
                    bad(value.span, "this is not the path of a request".to_owned(), "begin it with `/`", problems);
                }
            }
        }
    }
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
        read::missing(node.span, "`http`", "port", problems);
        return None;
    };
    Some(ProbeCheck::Http { port, path })
}

fn file(node: &Node, problems: &mut Problems) -> Option<ProbeCheck> {
    let (mut file, mut max_age_secs) = (None, None);
    for field in PROBE_FILE.fields(node, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "path" => file = path(value, "`path`", problems),
            _ => max_age_secs = secs(value, "`max_age`", 1..=28 * DAY, problems),
        }
    }
    if file.is_none() && problems.errors() == 0 {
        read::missing(node.span, "`file`", "path", problems);
    }
    Some(ProbeCheck::File { path: file?, max_age_secs })
}

/// A hand-over needs two containers of the service side by side.
pub(super) fn check_hand_over(
    name: &ServiceName,
    span: Span,
    services: &[(&ServiceName, &ServiceSpec)],
    problems: &mut Problems,
) {
    let Some((_, spec)) = services.iter().find(|(other, _)| *other == name) else { return };
    if spec.update.strategy != Strategy::HandOver {
        return;
    }
    let mut conflict = |why: String| {
        let message = format!("the service `{name}` cannot be handed over: {why}");
        let hint =
            "two containers of it run side by side meanwhile; take the conflict away, or choose another strategy";
        problems.error_hint(span, codes::HANDOVER_CONFLICT, message, hint);
    };
    if let Some(port) = spec.ports.iter().find_map(|port| port.published) {
        conflict(format!("it publishes port {port} of the host, which only one container can have"));
    }
    if spec.networks.values().any(|one| one.ipv4_address.is_some() || one.ipv6_address.is_some()) {
        conflict("it has an address of its own, which only one container can have".to_owned());
    }
    if let Some((other, _)) = services.iter().find(|(_, other)| other.joined().contains(name)) {
        conflict(format!("`{other}` is in its namespace, which goes with the old container"));
    }
    if let Network::Service(other) = &spec.network {
        conflict(format!("it is in the network of `{other}`, where two containers would have the same ports"));
    }
}
