//! Names and labels of what belongs to one device in an engine that others may use too.

use crate::domain::digest::Digest;
use crate::domain::ids::{AppName, DeviceId, FleetName, NetworkName, ServiceName, VolumeName};
use std::collections::BTreeMap;

/// How the names of Bellwether's labels begin.
pub(super) const LABEL_PREFIX: &str = "bellwether.";
/// The fleet.
pub(super) const OWNER: &str = "bellwether.owner";
/// The device.
pub(super) const DEVICE: &str = "bellwether.device";
/// The app.
pub(super) const APP: &str = "bellwether.app";
/// The service, on containers.
pub(super) const SERVICE: &str = "bellwether.service";
/// The image's reference, on containers whose image has another name in the engine.
pub(super) const IMAGE: &str = "bellwether.image";
/// Names of the variables that hold secrets, on containers, separated by commas.
pub(super) const SECRETS: &str = "bellwether.secrets";
/// The volume's own name, on volumes.
pub(super) const VOLUME: &str = "bellwether.volume";

/// The network's own name, on networks. Those of older agents have none: they are the default one.
pub(super) const NETWORK: &str = "bellwether.network";
/// What was said, among the things that an engine fills in by itself when nobody says them.
pub(super) const SAID: &str = "bellwether.said";

/// The longest readable part of a name, in bytes. Engines accept more; people's terminals do not.
const MAX_READABLE: usize = 96;

/// Whose things these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) fleet: FleetName,
    pub(super) device: DeviceId,
}

impl Owner {
    pub(super) fn container(&self, app: &AppName, service: &ServiceName) -> String {
        self.name("container", app, service.as_str())
    }

    /// The name of the container that a service is being handed over to.
    pub(super) fn successor(&self, app: &AppName, service: &ServiceName) -> String {
        format!("{}-next", self.container(app, service))
    }

    pub(super) fn volume(&self, app: &AppName, volume: &VolumeName) -> String {
        self.name("volume", app, volume.as_str())
    }

    pub(super) fn network(&self, app: &AppName, network: &NetworkName) -> String {
        match network.as_str() {
            // As it was named before an app could have others.
            "default" => self.name("network", app, ""),
            network => self.name("network", app, network),
        }
    }

    /// Readable, and told apart by a hash: names may contain the `-` that joins them, and fleets may share an engine.
    fn name(&self, kind: &str, app: &AppName, part: &str) -> String {
        let parts = [self.fleet.as_str(), self.device.as_str(), kind, app.as_str(), part];
        let digest = Digest::of_parts(parts.map(str::as_bytes));
        let mut readable = format!("bw-{}-{app}", self.device);
        if !part.is_empty() {
            readable = format!("{readable}-{part}");
        }
        // All names are ASCII.
        readable.truncate(MAX_READABLE);
        format!("{readable}-{}", &digest.hex()[..8])
    }

    /// The labels that everything of this device carries.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let pairs = [(OWNER, self.fleet.as_str()), (DEVICE, self.device.as_str())];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether something carries these labels and those of this device. Filters of engines are not enough: on some, several labels
    /// find what carries one of them.
    pub(super) fn owns<'a>(
        &self,
        found: Option<impl IntoIterator<Item = (&'a String, &'a String)>>,
        more: &[(&str, &str)],
    ) -> bool {
        let found: BTreeMap<&str, &str> =
            found.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let labels = self.labels();
        let own = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(more.iter().copied()).all(|(name, value)| found.get(name) == Some(&value))
    }

    /// The labels of a volume.
    pub(super) fn labels_of_volume(&self, app: &AppName, volume: &VolumeName) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.extend([(APP.to_owned(), app.to_string()), (VOLUME.to_owned(), volume.to_string())]);
        labels
    }

    /// Filters of the Docker API by these labels and more.
    pub(super) fn filter(&self, more: &[(&str, &str)]) -> Vec<String> {
        let own = self.labels().into_iter().map(|(name, value)| format!("{name}={value}"));
        own.chain(more.iter().map(|(name, value)| format!("{name}={value}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(fleet: &str, device: &str) -> Owner {
        Owner { fleet: fleet.parse().expect("a fleet"), device: device.parse().expect("a device") }
    }

    fn container(fleet: &str, device: &str, app: &str, service: &str) -> String {
        owner(fleet, device).container(&app.parse().expect("an app"), &service.parse().expect("a service"))
    }

    #[test]
    fn names_can_be_read_and_never_meet() {
        assert!(container("acme", "kiosk-1", "web", "app").starts_with("bw-kiosk-1-web-app-"));
        assert_ne!(container("acme", "a-b", "c", "d"), container("acme", "a", "b-c", "d"));
        assert_ne!(container("acme", "a", "web", "app"), container("other", "a", "web", "app"));
        let app: AppName = "web".parse().expect("an app");
        let volume = owner("acme", "a").volume(&app, &"app".parse().expect("a volume"));
        assert_ne!(volume, container("acme", "a", "web", "app"));
    }

    #[test]
    fn long_names_are_cut_and_still_differ() {
        let long = "x".repeat(128);
        let one = container("acme", &long, "web", "one");
        assert!(one.len() <= MAX_READABLE + 9);
        assert_ne!(one, container("acme", &long, "web", "two"));
    }
}
