//! What the running OS says of itself.

use crate::agent::files::read_bounded;
use crate::domain::ids::Version;
use std::path::Path;

/// The longest `os-release` that is read, in bytes.
const MAX_RELEASE_BYTES: usize = 64 << 10;
/// Where it is, as `os-release(5)` has it.
const FILES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// The version that runs: what the running image says of itself (`IMAGE_VERSION`), else what was installed into the booted
/// slot, else the distribution's version (`VERSION_ID`).
pub(super) fn running_version(installed: Option<Version>) -> Option<Version> {
    let text = FILES.iter().find_map(|path| read_bounded(Path::new(path), MAX_RELEASE_BYTES).ok().flatten());
    version_of(&String::from_utf8_lossy(&text.unwrap_or_default()), installed)
}

fn version_of(release: &str, installed: Option<Version>) -> Option<Version> {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Version::new(line.trim().trim_matches(['"', '\''])).ok()
    };
    value("IMAGE_VERSION").or(installed).or_else(|| value("VERSION_ID"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(release: &str, installed: Option<&str>) -> Option<String> {
        let installed = installed.map(|version| version.parse().expect("a version"));
        version_of(release, installed).map(|version| version.to_string())
    }

    #[test]
    fn the_running_image_is_believed_before_the_status_of_its_slot_and_the_distribution() {
        let both = "ID=lindenhof\nVERSION_ID=\"12\"\nIMAGE_VERSION=2026.11\n";
        assert_eq!(check(both, Some("2026.10")).as_deref(), Some("2026.11"));
        assert_eq!(check("VERSION_ID=\"12\"\n", Some("2026.10")).as_deref(), Some("2026.10"));
        assert_eq!(check("VERSION_ID=\"12\"\n", None).as_deref(), Some("12"));
        assert_eq!(check("", None), None);
    }
}
