//! The example fleet repo, embedded, so that the demo works from any folder and tests need no path.

use crate::domain::snapshot::Snapshot;

macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../example-fleet-repo/", $path)))),*]
    };
}

/// Every file by its path from the root of the repo, in byte order.
pub const FILES: &[(&str, &str)] = files![
    ".github/workflows/drift.yml",
    ".github/workflows/follow.yml",
    ".github/workflows/plan.yml",
    ".github/workflows/post.yml",
    ".github/workflows/promote.yml",
    "README.md",
    "fleet.yml",
    "group_vars/all.yml",
    "group_vars/gateways.yml",
    "group_vars/kiosks.yml",
    "group_vars/workshop.yml",
    "host_vars/board-workshop.yml",
    "host_vars/gateway-harbour.yml",
    "host_vars/kiosk-campus.yml",
    "host_vars/kiosk-harbour.yml",
    "host_vars/kiosk-station.yml",
    "host_vars/runner-workshop.yml",
    "host_vars/scale-roastery.yml",
    "inventory.yml",
    "os/lindenhof-os.yml",
    "releases/signage/1.4.2/compose.yml",
    "releases/signage/1.4.2/release.yml",
    "releases/signage/1.5.0/compose.yml",
    "releases/signage/1.5.0/release.yml",
    "releases/signage/1.5.1/compose.yml",
    "releases/signage/1.5.1/release.yml",
    "releases/signage/2.0.0/compose.yml",
    "releases/signage/2.0.0/release.yml",
    "releases/telemetry/0.9.3/compose.yml",
    "releases/telemetry/0.9.3/release.yml",
    "releases/telemetry/1.0.0/compose.yml",
    "releases/telemetry/1.0.0/release.yml",
];

/// The example as a snapshot.
pub fn snapshot() -> Snapshot {
    Snapshot::of_files(FILES.iter().map(|(path, text)| (*path, text.as_bytes())))
}

#[cfg(test)]
mod tests;
