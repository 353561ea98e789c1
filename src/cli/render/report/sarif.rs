//! SARIF 2.1.0, which forges show beside the lines of a repo: findings, and drift where a device is written down.
//!
//! The format: OASIS, *Static Analysis Results Interchange Format Version 2.1.0*. What GitHub needs of it, and how much of it
//! GitHub takes: its documentation on "SARIF support for code scanning".

use super::{PRODUCT, VERSION, sentence};
use crate::cli::remote::encoded;
use crate::cli::render::drift::{Line, lines};
use crate::cli::render::text::plain;
use crate::domain::digest::Digest;
use crate::domain::drift::Layer;
use crate::domain::finding::{Finding, Place, Severity, codes};
use crate::domain::ids::DeviceId;
use crate::domain::overview::drift::DriftReport;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How many results GitHub takes from one run.
pub const MAX_RESULTS: usize = 25_000;

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    column_kind: &'static str,
    results: Vec<Outcome>,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
struct Driver<'a> {
    name: &'static str,
    version: &'static str,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    id: String,
    short_description: Text<'a>,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: String,
    level: &'static str,
    message: Message,
    locations: [Location; 1],
    /// What makes a result the same one in the next run.
    partial_fingerprints: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Physical,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<Logical>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    region: Region,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_column: Option<u32>,
}

#[derive(Serialize)]
struct Logical {
    name: String,
    kind: &'static str,
}

/// The findings of a repo. `prefix` is its folder in the checkout.
pub fn findings(findings: &[Finding], prefix: &str) -> serde_json::Result<String> {
    let used: BTreeSet<&str> = findings.iter().map(|finding| &*finding.code).collect();
    let rules = codes::ALL.iter().filter(|code| used.contains(code.name));
    let rules = rules.map(|code| rule(code.name.to_owned(), code.about)).collect();
    let results = findings.iter().take(MAX_RESULTS).map(|finding| {
        let Finding { place, severity, code, message, hint, .. } = finding;
        let level = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let hint = hint.as_ref().map(|hint| format!("\nhint: {}", plain(hint))).unwrap_or_default();
        let same = fingerprint([code, &place.file, message]);
        let location = Location { physical_location: physical(prefix, place), logical_locations: Vec::new() };
        outcome(code.clone(), level, format!("{}{hint}", plain(message)), location, same)
    });
    log(rules, results.collect())
}

/// A drift report. `place` says where in the repo a device is written down.
pub fn drift(report: &DriftReport, place: impl Fn(&DeviceId) -> Place) -> serde_json::Result<String> {
    let rules = Layer::ALL.map(|layer| rule(format!("drift/{}", layer.name()), about(layer)));
    let unknown = rule("drift/unknown".to_owned(), "It is not known whether the device is as it was told.");
    let mut results = Vec::new();
    for (device, one) in &report.devices {
        for line in lines(&one.drift).into_iter().take(MAX_RESULTS - results.len()) {
            let location = Location {
                physical_location: physical("", &place(device)),
                logical_locations: vec![Logical { name: device.to_string(), kind: "resource" }],
            };
            results.push(match line {
                Line::Differs(difference) => {
                    let id = format!("drift/{}", difference.layer.name());
                    let same = fingerprint([device.as_str(), difference.layer.name(), &difference.subject]);
                    outcome(id, "error", format!("{device}: {}", sentence(difference)), location, same)
                }
                Line::Unknown { layers, reason } => {
                    let same = fingerprint([device.as_str(), "unknown", &layers]);
                    let text = format!("{device}: {layers}: unknown: {}", plain(reason));
                    outcome("drift/unknown".to_owned(), "warning", text, location, same)
                }
            });
        }
    }
    log(rules.into_iter().chain([unknown]).collect(), results)
}

fn about(layer: Layer) -> &'static str {
    match layer {
        Layer::Spec => "The device does not have the newest assignment.",
        Layer::Apps => "Containers, volumes or networks are not as they were told.",
        Layer::Variables => "The environment of a service is not as it was told.",
        Layer::Os => "The OS image is not the one that was told.",
        Layer::Host => "Settings of the host are not as they were told.",
        Layer::Connectivity => "The device is not heard from.",
    }
}

fn rule(id: String, about: &str) -> Rule<'_> {
    Rule { id, short_description: Text { text: about } }
}

fn outcome(rule_id: String, level: &'static str, text: String, location: Location, same: String) -> Outcome {
    let partial_fingerprints = [("bellwether/v1", same)].into();
    Outcome { rule_id, level, message: Message { text }, locations: [location], partial_fingerprints }
}

fn fingerprint<const N: usize>(parts: [&str; N]) -> String {
    Digest::of(parts.join("\n").as_bytes()).to_string()
}

fn physical(prefix: &str, place: &Place) -> Physical {
    let path = format!("{prefix}{}", place.file);
    let uri = path.split('/').map(encoded).collect::<Vec<String>>().join("/");
    // Forges show nothing that has no line.
    let region = Region { start_line: place.line.max(1), start_column: (place.column > 0).then_some(place.column) };
    Physical { artifact_location: Artifact { uri }, region }
}

fn log(rules: Vec<Rule<'_>>, results: Vec<Outcome>) -> serde_json::Result<String> {
    let tool = Tool { driver: Driver { name: PRODUCT, version: VERSION, rules } };
    let runs = [Run { tool, column_kind: "unicodeCodePoints", results }];
    let log = Log { schema: "https://json.schemastore.org/sarif-2.1.0.json", version: "2.1.0", runs };
    serde_json::to_string_pretty(&log).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::super::super::drift::tests::report;
    use super::*;

    #[test]
    fn drift_is_shown_where_the_device_is_written_down() {
        let place = |device: &DeviceId| Place { file: format!("host_vars/{device} é.yml"), line: 3, column: 0 };
        let log: serde_json::Value = serde_json::from_str(&drift(&report(), place).expect("a log")).expect("JSON");
        let results = log["runs"][0]["results"].as_array().expect("results");
        let shown: Vec<String> = results
            .iter()
            .map(|one| {
                let physical = &one["locations"][0]["physicalLocation"];
                let uri = physical["artifactLocation"]["uri"].as_str().unwrap_or_default();
                let line = &physical["region"]["startLine"];
                format!("{} {uri}:{line} {} {}", one["level"], one["ruleId"], one["message"]["text"])
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        "error" host_vars/kiosk-2%20%C3%A9.yml:3 "drift/apps" "kiosk-2: apps signage/player: nothing instead of present"
        "error" host_vars/kiosk-2%20%C3%A9.yml:3 "drift/variables" "kiosk-2: variables signage/web environment.URL: c instead of a|b"
        "warning" host_vars/kiosk-3%20%C3%A9.yml:3 "drift/unknown" "kiosk-3: spec, apps, variables, os, host: unknown: the device has not reported yet"
        "warning" host_vars/kiosk-3%20%C3%A9.yml:3 "drift/unknown" "kiosk-3: connectivity: unknown: never heard from"
        "#);
    }
}
