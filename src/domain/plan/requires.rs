//! Whether a device can take the releases that it shall go on to, as far as it has said.
//!
//! What a device has not said keeps nothing back: a device that never reported gets its first assignment, and says then.

use super::ways::way;
use crate::domain::desired::DesiredDevice;
use crate::domain::fleet::DeviceRecord;
use crate::domain::ids::{AppName, Version};
use crate::domain::manifest::release::requires::{Requirements, comparable};
use crate::domain::rollout::machine::Reversal;
use crate::domain::spec::DeviceSpec;

/// The attribute in which an agent reports its version.
pub const AGENT_VERSION: &str = "agent_version";

/// One thing that a release asks for and that the device contradicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// One word for programs, in kebab case.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// What keeps a device from the releases that a commit wants on it, app by app. A release that it was assigned already asks for
/// nothing more, or a change of a variable would be kept back too.
pub fn unmet(listed: &DesiredDevice, record: &DeviceRecord) -> Vec<Unmet> {
    let mut all = contradicted(listed, record);
    if !listed.requires.is_empty() {
        all.extend(way(listed, Some(record)).err().unwrap_or_default());
    }
    all
}

/// The same for a device that is on its way already, from wherever it came.
pub fn contradicted(listed: &DesiredDevice, record: &DeviceRecord) -> Vec<Unmet> {
    let mut all = Vec::new();
    let Some(spec) = listed.spec.as_ref().filter(|_| !listed.requires.is_empty()) else { return all };
    let assigned = record.assignment.as_ref();
    for (app, requires) in &listed.requires {
        let Some(wanted) = spec.spec.apps.get(app).map(|app| &app.release) else { continue };
        let current = assigned.and_then(|assignment| assignment.spec.spec.apps.get(app)).map(|app| &app.release);
        if current != Some(wanted) {
            all.extend(contradictions(app, wanted, requires, record));
        }
    }
    all
}

/// Whether a device that has the content of a commit can go back to what it had. It cannot go back before an irreversible release.
pub fn reversal(listed: &DesiredDevice, previous: &DeviceSpec) -> Reversal {
    let crosses = |(app, irreversible): (&AppName, &semver::Version)| {
        let had = previous.apps.get(app).map(|app| comparable(app.release.as_str()));
        // What cannot be compared may be older.
        had.is_some_and(|had| had.is_none_or(|had| had < *irreversible))
    };
    if listed.no_way_back.iter().any(crosses) { Reversal::Impossible } else { Reversal::Possible }
}

/// What a release asks for that the device itself says it has not.
pub(super) fn contradictions(
    app: &AppName,
    wanted: &Version,
    requires: &Requirements,
    record: &DeviceRecord,
) -> Vec<Unmet> {
    let Requirements { device_types: _, min_agent, os, from: _ } = requires;
    let mut all = Vec::new();
    let report = record.reported.as_ref().map(|reported| &reported.report);
    let agent = report.and_then(|report| report.attributes.get(AGENT_VERSION));
    let old = |least: &semver::Version| agent.and_then(|text| comparable(text)).is_some_and(|version| version < *least);
    if let (Some(least), Some(agent)) = (min_agent.as_ref().filter(|least| old(least)), agent) {
        all.push(Unmet {
            code: "requires-agent",
            message: format!("release {wanted} of `{app}` needs agent {least}, the device has {agent}"),
            hint: "update the agent",
        });
    }
    let running = report.and_then(|report| report.os.as_ref()).map(|os| &os.version);
    if let (Some(os), Some(running)) = (os, running)
        && comparable(running.as_str()).is_some_and(|version| !os.range.matches(&version))
    {
        all.push(Unmet {
            code: "requires-os",
            message: format!("release {wanted} of `{app}` needs an OS in `{}`, the device runs {running}", os.text),
            hint: "update the OS first: set `os` in one commit, and the pin in a later one",
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::desired::Resolver;
    use crate::domain::snapshot::Snapshot;

    const COMPOSE: &str = "services: {web: {image: \
         example.com/web@sha256:0000000000000000000000000000000000000000000000000000000000000000}}";

    #[test]
    fn there_is_no_way_back_across_an_irreversible_release() {
        let mut files = vec![
            ("inventory.yml".to_owned(), "all: {hosts: {h1: , h2: , h3: , h4: }}\n".to_owned()),
            ("fleet.yml".to_owned(), "name: test\napps: {web: {}}\n".to_owned()),
        ];
        let releases = [("1.0.0", ""), ("2.0.0", "irreversible: true\n"), ("2.1.0", ""), ("10.0.0", "")];
        for (number, (version, more)) in releases.iter().enumerate() {
            let host = format!("branch: main\npins: {{web: {version}}}\n");
            files.push((format!("host_vars/h{}.yml", number + 1), host));
            files.push((format!("releases/web/{version}/release.yml"), format!("version: {version}\n{more}")));
            files.push((format!("releases/web/{version}/compose.yml"), COMPOSE.to_owned()));
        }
        let files = Snapshot::of_files(files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())));
        let desired = Resolver::default().resolve(&files);
        let devices: Vec<&DesiredDevice> = desired.devices.values().map(AsRef::as_ref).collect();
        let spec = |device: &DesiredDevice| device.spec.clone().unwrap_or_else(|| panic!("{:?}", desired.findings));
        let version = |device: &DesiredDevice| {
            spec(device).spec.apps.values().next().map(|app| app.release.to_string()).unwrap_or_default()
        };
        let mut ways = Vec::new();
        for to in &devices {
            for from in &devices {
                let way = reversal(to, &spec(from).spec);
                ways.push(format!("{} after {}: {way:?}", version(from), version(to)));
            }
        }
        insta::assert_snapshot!(ways.join("\n"), @r#"
        1.0.0 after 1.0.0: Possible
        2.0.0 after 1.0.0: Possible
        2.1.0 after 1.0.0: Possible
        10.0.0 after 1.0.0: Possible
        1.0.0 after 2.0.0: Impossible
        2.0.0 after 2.0.0: Possible
        2.1.0 after 2.0.0: Possible
        10.0.0 after 2.0.0: Possible
        1.0.0 after 2.1.0: Impossible
        2.0.0 after 2.1.0: Possible
        2.1.0 after 2.1.0: Possible
        10.0.0 after 2.1.0: Possible
        1.0.0 after 10.0.0: Impossible
        2.0.0 after 10.0.0: Possible
        2.1.0 after 10.0.0: Possible
        10.0.0 after 10.0.0: Possible
        "#);
        assert_eq!(reversal(devices[3], &DeviceSpec::default()), Reversal::Possible, "it did not have the app");
    }
}
