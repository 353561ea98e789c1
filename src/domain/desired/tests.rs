//! What commits mean, shown as text.

mod host;
mod hostile;
mod inventories;
mod laws;
mod lists;
mod maintenance;
mod peers;
mod policies;
mod precedence;
mod releases;
mod sealed;
mod templates;
mod told;

use super::{Branch, Desired, Resolver};
use crate::domain::finding::{Affects, Severity};
use crate::domain::ids::DeviceId;
use crate::domain::snapshot::Snapshot;
use std::fmt::Write as _;

/// A snapshot of these files, and of what every fleet needs where they do not say otherwise.
pub(super) fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    let mut all = vec![
        ("inventory.yml", "all: {children: {kiosks: {hosts: {a: , b: }}, gateways: {hosts: {c: }}}}\n"),
        ("group_vars/all.yml", "branch: main\n"),
        ("releases/app/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/app/1.0.0/compose.yml", COMPOSE),
    ];
    all.retain(|(path, _)| files.iter().all(|(other, _)| other != path));
    all.extend_from_slice(files);
    Snapshot::of_files(all.into_iter().map(|(path, text)| (path, text.as_bytes())))
}

/// One service by digest with one variable.
pub(super) const COMPOSE: &str = "services:
  web:
    image: example.com/web@sha256:0000000000000000000000000000000000000000000000000000000000000000
    environment: {FROM: compose}
";

/// One line per finding and one per device.
pub(super) fn show(desired: &Desired) -> String {
    let mut text = String::new();
    for finding in &desired.findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let affects = match &finding.affects {
            Affects::Commit => " [commit]".to_owned(),
            Affects::Nothing => String::new(),
            Affects::Devices(devices) => {
                format!(" [{}]", devices.iter().map(DeviceId::as_str).collect::<Vec<_>>().join(" "))
            }
        };
        let hint = finding.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
        let (place, code, message) = (&finding.place, &finding.code, &finding.message);
        let _ = writeln!(text, "{place}: {severity} {code}: {message}{hint}{affects}");
    }
    for (name, device) in &desired.devices {
        let branch = match &device.branch {
            Branch::Stage(stage) => stage.to_string(),
            Branch::FromDevice { allowed } => format!("{allowed:?}"),
            Branch::Unset => "-".to_owned(),
            Branch::Unknown => "?".to_owned(),
        };
        let _ = write!(text, "{name}: {branch}");
        match &device.spec {
            None => text.push_str(" (keeps what it has)"),
            Some(sealed) => {
                if let Some(os) = &sealed.spec.os {
                    let _ = write!(text, " os {} {}", os.name, os.version);
                }
                for (app, app_spec) in &sealed.spec.apps {
                    let _ = write!(text, " {app} {}", app_spec.release);
                    for (service, spec) in &app_spec.services {
                        let variables: Vec<String> = spec.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
                        let _ = write!(text, " {service}[{}]", variables.join(" "));
                    }
                }
            }
        }
        text.push('\n');
    }
    text
}

pub(super) fn resolved(files: &[(&str, &str)]) -> String {
    show(&Resolver::default().resolve(&snapshot(files)))
}
