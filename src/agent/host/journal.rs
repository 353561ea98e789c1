//! Where systemd's journal is kept, by its configuration, and how that is changed.

use crate::agent::os::bus::{Bus, Target};
use crate::domain::device::host::Logging;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

/// The part of the journal's configuration that Bellwether writes: after those of distributions, before those of people in a hurry.
pub(super) const DROP_IN: &str = "90-bellwether.conf";
/// Where parts of the configuration are, from the weakest to the strongest: a name in a later one replaces the same in an earlier.
const PLACES: [&str; 3] = ["usr/lib/systemd", "run/systemd", "etc/systemd"];
/// How much of one file is read, in bytes.
const MAX_READ: u64 = 64 << 10;
/// How many parts of the configuration are looked at in one place.
const MAX_PARTS: usize = 256;
/// How long the restart of the journal may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What the configuration below a root comes to; `None` without a journal.
pub(super) fn found(root: &Path) -> Option<Logging> {
    let storage = storage(root)?;
    Some(match storage.as_str() {
        "persistent" => Logging::Persistent,
        "volatile" | "none" => Logging::Volatile,
        // On disk, if somebody made the folder for it.
        _ if root.join("var/log/journal").is_dir() => Logging::Persistent,
        _ => Logging::Volatile,
    })
}

fn storage(root: &Path) -> Option<String> {
    let mut whole = None;
    let mut parts = BTreeMap::new();
    for place in PLACES {
        whole = read(&root.join(place).join("journald.conf")).or(whole);
        let Ok(folder) = std::fs::read_dir(root.join(place).join("journald.conf.d")) else { continue };
        for entry in
            folder.flatten().take(MAX_PARTS).filter(|entry| entry.file_name().to_string_lossy().ends_with(".conf"))
        {
            parts.insert(entry.file_name(), read(&entry.path()).unwrap_or_default());
        }
    }
    if whole.is_none() && parts.is_empty() {
        return None;
    }
    let texts = whole.iter().chain(parts.values());
    Some(texts.filter_map(|text| said(text)).next_back().unwrap_or_else(|| "auto".to_owned()))
}

/// The last `Storage=` of a file's `[Journal]` section.
fn said(text: &str) -> Option<String> {
    let mut section = "";
    let mut storage = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if let Some((key, value)) = line.split_once('=')
            && (section, key.trim()) == ("[Journal]", "Storage")
        {
            storage = Some(value.trim().to_ascii_lowercase()).filter(|value| !value.is_empty());
        }
    }
    storage
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is written to the part of the configuration that is Bellwether's.
pub(super) fn drop_in(logging: Logging) -> String {
    let storage = match logging {
        Logging::Persistent => "persistent",
        Logging::Volatile => "volatile",
    };
    format!(
        "# Written by bellwether-agent, from `persistent_logging` of the fleet repo.\n[Journal]\nStorage={storage}\n"
    )
}

/// Has the journal read its configuration anew. Nothing that services write meanwhile is lost.
pub(super) async fn restart() -> io::Result<()> {
    const SYSTEMD: Target = Target {
        service: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
    };
    let unit = ("systemd-journald.service", "replace");
    Bus::default().call(SYSTEMD, "RestartUnit", &unit, LIMIT).await.map(drop).map_err(io::Error::other)
}
