//! Drift: the assignment compared with what the device reports, in content and layer by layer.

mod host;

pub use host::host_differences;

use super::assignment::Assignment;
use super::device::canonical::{canonical, differences};
use super::ids::{AppName, NetworkName};
use super::planted::{Bug, planted};
use super::reported::{Health, ObservedApp, ObservedService, Report, ServiceState};
use super::spec::{AppSpec, NetworkSpec, Restart, ServiceSpec};
use super::time::{Timestamp, show_secs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The layers in which drift is looked for, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Whether the device has the newest assignment.
    Spec,
    /// Containers, volumes and networks.
    Apps,
    /// The environment of services.
    Variables,
    /// The OS image.
    Os,
    /// Settings of the host.
    Host,
    /// Whether the device is heard from.
    Connectivity,
}

impl Layer {
    /// Every layer, in order.
    pub const ALL: [Self; 6] = [Self::Spec, Self::Apps, Self::Variables, Self::Os, Self::Host, Self::Connectivity];

    /// The layer's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Apps => "apps",
            Self::Variables => "variables",
            Self::Os => "os",
            Self::Host => "host",
            Self::Connectivity => "connectivity",
        }
    }
}

/// One difference between what is assigned and what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// In which layer.
    pub layer: Layer,
    /// What differs, from the outside in: `web/app`, `web/app environment.GREETING`, `os version`.
    pub subject: String,
    /// What is assigned; `None` if nothing should be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// What is there; `None` if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// How one layer stands. `Unknown` is never shown as in sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum LayerStatus {
    /// Compared, and equal.
    InSync,
    /// Compared, and different.
    Drifted {
        /// What differs, at least one.
        differences: Vec<Difference>,
    },
    /// Could not be compared.
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// How one device stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every layer is in sync.
    InSync,
    /// No layer is known to differ, but not all are known.
    Unknown,
    /// At least one layer differs.
    Drifted,
}

/// The layers of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Every layer, in the order of [`Layer::ALL`].
    pub layers: BTreeMap<Layer, LayerStatus>,
}

impl Drift {
    /// The worst of all layers: drifted before unknown before in sync.
    pub fn verdict(&self) -> Verdict {
        self.layers
            .values()
            .map(|status| match status {
                LayerStatus::InSync => Verdict::InSync,
                LayerStatus::Unknown { .. } => Verdict::Unknown,
                LayerStatus::Drifted { .. } => Verdict::Drifted,
            })
            .max()
            // No layers at all would mean that nothing was compared.
            .unwrap_or(Verdict::Unknown)
    }

    /// All differences, layer by layer.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.layers.values().flat_map(|status| match status {
            LayerStatus::Drifted { differences } => differences.as_slice(),
            LayerStatus::InSync | LayerStatus::Unknown { .. } => &[],
        })
    }
}

/// What drift is computed from.
#[derive(Clone, Copy, Debug)]
pub struct DriftInput<'a> {
    /// What the device was told to reach.
    pub assignment: Option<&'a Assignment>,
    /// Its newest report.
    pub report: Option<&'a Report>,
    /// When it was last heard from.
    pub last_seen: Option<Timestamp>,
    /// Seconds of silence after which a device counts as offline and its report as out of date.
    pub offline_after_secs: i64,
    /// Now.
    pub now: Timestamp,
}

/// Compares what a device was told to reach with what it reports.
pub fn drift(input: &DriftInput<'_>) -> Drift {
    let silence = input.last_seen.map(|seen| input.now.secs_since(seen));
    let connectivity = match silence {
        None => LayerStatus::Unknown { reason: "never heard from".to_owned() },
        Some(secs) if secs > input.offline_after_secs => LayerStatus::Drifted {
            differences: vec![Difference {
                layer: Layer::Connectivity,
                subject: "contact".to_owned(),
                wanted: Some(format!("within {}", show_secs(input.offline_after_secs))),
                found: Some(format!("silent for {}", show_secs(secs))),
            }],
        },
        Some(_) => LayerStatus::InSync,
    };
    let unknown = |reason: &str| LayerStatus::Unknown { reason: reason.to_owned() };
    let mut layers = BTreeMap::new();
    let content = match (input.assignment, input.report, silence) {
        (None, _, _) => Err("nothing is assigned".to_owned()),
        (Some(_), None, _) => Err("the device has not reported yet".to_owned()),
        (Some(_), Some(_), None) => Err("never heard from".to_owned()),
        (Some(_), Some(_), Some(secs)) if secs > input.offline_after_secs => {
            Err(format!("silent for {}; the last report may no longer be true", show_secs(secs)))
        }
        (Some(assignment), Some(report), Some(_)) => Ok((assignment, report)),
    };
    match content {
        Err(reason) => {
            for layer in [Layer::Spec, Layer::Apps, Layer::Variables, Layer::Os, Layer::Host] {
                layers.insert(layer, unknown(&reason));
            }
        }
        Ok((assignment, report)) => {
            layers.insert(Layer::Spec, spec_layer(assignment, report));
            match &report.apps {
                None => {
                    layers.insert(Layer::Apps, unknown("the container engine could not be asked"));
                    layers.insert(Layer::Variables, unknown("the container engine could not be asked"));
                }
                Some(apps) => {
                    let all = app_differences(&assignment.spec.spec.apps, apps);
                    let (variables, apps) = all.into_iter().partition(|one| one.layer == Layer::Variables);
                    layers.insert(Layer::Apps, compared(apps));
                    layers.insert(Layer::Variables, compared(variables));
                }
            }
            layers.insert(Layer::Os, os_layer(assignment, report));
            layers.insert(Layer::Host, host::layer(&assignment.spec.spec.config, report.host.as_ref()));
        }
    }
    layers.insert(Layer::Connectivity, connectivity);
    Drift { layers }
}

fn compared(differences: Vec<Difference>) -> LayerStatus {
    if differences.is_empty() { LayerStatus::InSync } else { LayerStatus::Drifted { differences } }
}

fn spec_layer(assignment: &Assignment, report: &Report) -> LayerStatus {
    let difference = |subject: &str, found: String| Difference {
        layer: Layer::Spec,
        subject: subject.to_owned(),
        wanted: Some(format!("{} {}", assignment.order, assignment.spec.digest.short())),
        found: Some(found),
    };
    match &report.observed {
        None => compared(vec![difference("generation", "none accepted".to_owned())]),
        Some(mark) if *mark != assignment.mark() => {
            compared(vec![difference("generation", format!("{} {}", mark.order, mark.digest.short()))])
        }
        Some(_) => LayerStatus::InSync,
    }
}

fn os_layer(assignment: &Assignment, report: &Report) -> LayerStatus {
    match (&assignment.spec.spec.os, &report.os) {
        (None, _) => LayerStatus::InSync,
        (Some(_), None) => LayerStatus::Unknown { reason: "the OS updater could not be asked".to_owned() },
        (Some(wanted), Some(found)) if wanted.version != found.version => LayerStatus::Drifted {
            differences: vec![Difference {
                layer: Layer::Os,
                subject: "os version".to_owned(),
                wanted: Some(wanted.version.to_string()),
                found: Some(found.version.to_string()),
            }],
        },
        (Some(_), Some(_)) => LayerStatus::InSync,
    }
}

/// Every difference between the wanted apps and what the engine has, in a fixed order.
///
/// The agent decides with this same function what to mend, so that the report and the repair cannot disagree.
pub fn app_differences(wanted: &BTreeMap<AppName, AppSpec>, found: &BTreeMap<AppName, ObservedApp>) -> Vec<Difference> {
    let mut all = Vec::new();
    let empty = ObservedApp::default();
    for (app, spec) in wanted {
        let observed = found.get(app).unwrap_or(&empty);
        network_differences(app, Some(spec), observed, &mut all);
        for volume in spec.volumes.difference(&observed.volumes) {
            all.push(apps_difference(format!("{app} volume {volume}"), Some("present"), None));
        }
        for (service, want) in &spec.services {
            let subject = format!("{app}/{service}");
            match observed.services.get(service) {
                None => all.push(apps_difference(subject, Some("present"), None)),
                Some(have) => service_differences(&subject, want, have, &mut all),
            }
        }
        for service in observed.successors.keys() {
            all.push(apps_difference(format!("{app}/{service} next container"), None, Some("present")));
        }
        for service in observed.services.keys().filter(|name| !spec.services.contains_key(*name)) {
            all.push(apps_difference(format!("{app}/{service}"), None, Some("present")));
        }
    }
    for (app, observed) in found.iter().filter(|(app, _)| !wanted.contains_key(*app)) {
        for service in observed.services.keys() {
            all.push(apps_difference(format!("{app}/{service}"), None, Some("present")));
        }
        network_differences(app, None, observed, &mut all);
    }
    all
}

fn network_differences(app: &AppName, spec: Option<&AppSpec>, observed: &ObservedApp, all: &mut Vec<Difference>) {
    let wanted = spec.map(AppSpec::used_networks).unwrap_or_default();
    let subject = |name: &NetworkName| match name.as_str() {
        "default" => format!("{app} network"),
        name => format!("{app} network {name}"),
    };
    for (name, want) in &wanted {
        match observed.network_as_found(name) {
            None => all.push(apps_difference(subject(name), Some("present"), None)),
            Some(have) if have != *want => {
                all.push(apps_difference(subject(name), Some(&show_network(want)), Some(&show_network(&have))));
            }
            Some(_) => {}
        }
    }
    for name in surplus_networks(spec, observed) {
        all.push(apps_difference(subject(&name), None, Some("present")));
    }
}

fn show_network(spec: &NetworkSpec) -> String {
    serde_json::to_string(spec).expect("a network has only string keys, so it can be written as JSON")
}

/// Networks that no service uses, to be removed. The default one of an app that is assigned may stay: it costs nothing, and a
/// later release mostly wants it back.
pub fn surplus_networks(spec: Option<&AppSpec>, observed: &ObservedApp) -> BTreeSet<NetworkName> {
    let mut names = observed.network_names();
    if let Some(spec) = spec {
        let used = spec.used_networks();
        names.retain(|name| !used.contains_key(name) && *name != NetworkName::default_of_app());
    }
    names
}

fn apps_difference(subject: String, wanted: Option<&str>, found: Option<&str>) -> Difference {
    Difference { layer: Layer::Apps, subject, wanted: wanted.map(str::to_owned), found: found.map(str::to_owned) }
}

fn service_differences(subject: &str, want: &ServiceSpec, have: &ObservedService, all: &mut Vec<Difference>) {
    for field in differences(&canonical(want, &have.image_defaults), &have.content) {
        let layer = if field.field.starts_with("environment.") { Layer::Variables } else { Layer::Apps };
        if layer == Layer::Variables && planted(Bug::OverlookVariables) {
            continue;
        }
        all.push(Difference {
            layer,
            subject: format!("{subject} {}", field.field),
            wanted: field.wanted,
            found: field.found,
        });
    }
    if let Some(found) = wrong_state(want, have) {
        all.push(apps_difference(format!("{subject} state"), Some("running"), Some(&found)));
    }
}

/// What is wrong with a container's state, if anything is.
///
/// A service with `restart: no` may have run to its end, and one with `on-failure` may have ended well.
pub fn wrong_state(want: &ServiceSpec, have: &ObservedService) -> Option<String> {
    match (have.state, want.restart) {
        (ServiceState::Running, _) => (have.health == Health::Unhealthy).then(|| "unhealthy".to_owned()),
        (ServiceState::Exited(_), Restart::No) | (ServiceState::Exited(0), Restart::OnFailure(_)) => None,
        (ServiceState::Exited(status), _) => Some(format!("exited with status {status}")),
        (ServiceState::Created, _) => Some("created, never started".to_owned()),
        (ServiceState::Restarting, _) => Some("restarting".to_owned()),
        (ServiceState::Paused, _) => Some("paused".to_owned()),
        (ServiceState::Dead, _) => Some("dead".to_owned()),
    }
}
