//! Core dumps: what the kernel, or systemd for it, keeps of a process that crashed.
//!
//! A dump holds the memory of its process, and so may hold what is secret. A device names one in a failure only if its owner
//! configured where they are, and sends it to its controller and nobody else.

use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest name of a dump, in bytes. systemd's are about 100 long.
pub const MAX_DUMP_NAME_BYTES: usize = 160;
/// The largest dump that is sent, in bytes. systemd compresses them; one of a small service then has a few hundred kilobytes.
pub const MAX_DUMP_BYTES: u64 = 32 << 20;
/// How many of the newest dumps of a device are looked at.
pub const MAX_DUMPS: usize = 16;

/// The name of a dump's file: 1 to [`MAX_DUMP_NAME_BYTES`] printable ASCII characters without `/`, not beginning with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DumpName(String);

/// A text that no dump is called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a core dump's name has 1 to {MAX_DUMP_NAME_BYTES} printable ASCII characters, none of them `/`, and no dot at its beginning"
)]
pub struct DumpNameError;

impl TryFrom<String> for DumpName {
    type Error = DumpNameError;

    fn try_from(text: String) -> Result<Self, DumpNameError> {
        let fits = (1..=MAX_DUMP_NAME_BYTES).contains(&text.len()) && !text.starts_with('.');
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if fits && plain { Ok(Self(text)) } else { Err(DumpNameError) }
    }
}

impl From<DumpName> for String {
    fn from(name: DumpName) -> Self {
        name.0
    }
}

impl DumpName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A dump, as a failure names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreDump {
    /// Its file's name, which mostly says which process it was.
    pub name: DumpName,
    /// How large it is.
    pub bytes: u64,
    /// When it was written, by the device's clock.
    pub at: Timestamp,
}

impl CoreDump {
    /// Whether it is sent to the controller: not if it is too large, or empty.
    pub fn is_sent(&self) -> bool {
        (1..=MAX_DUMP_BYTES).contains(&self.bytes)
    }

    /// The newest that was written in an attempt that began then: what crashed before has another cause.
    pub fn of_attempt(found: &[Self], since: Timestamp) -> Option<&Self> {
        found
            .iter()
            .filter(|dump| dump.at >= since)
            .max_by(|one, other| one.at.cmp(&other.at).then_with(|| one.name.cmp(&other.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(name: &str, at: i64) -> CoreDump {
        CoreDump { name: name.to_owned().try_into().expect("a name"), bytes: 10, at: Timestamp::from_millis(at) }
    }

    #[test]
    fn the_newest_dump_since_the_attempt_began_is_its_own() {
        let check = |found: &[(&str, i64)], expected: Option<&str>| {
            let found: Vec<CoreDump> = found.iter().map(|(name, at)| dump(name, *at)).collect();
            let chosen = CoreDump::of_attempt(&found, Timestamp::from_millis(100));
            assert_eq!(chosen.map(|dump| dump.name.as_str()), expected, "{found:?}");
        };
        check(&[], None);
        check(&[("core.old", 99)], None);
        check(&[("core.now", 100)], Some("core.now"));
        check(&[("core.b", 120), ("core.a", 110), ("core.old", 5)], Some("core.b"));
        check(&[("core.a", 120), ("core.b", 120)], Some("core.b"));
    }

    #[test]
    fn a_name_is_a_plain_name_of_a_file() {
        let is_name = |text: &str| DumpName::try_from(text.to_owned()).is_ok();
        assert!(is_name("core.player.0.6c1f.4711.1790000000000000.zst"));
        for wrong in ["", ".core", "a/b", "..", "a b", "a\u{1b}[2J", "ä", &"x".repeat(MAX_DUMP_NAME_BYTES + 1)] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }
}
