//! When the device may fetch what it will need, and when it may change what it runs.

use crate::domain::time::Timestamp;
use crate::domain::window::{Opening, Windows};
use serde::{Deserialize, Serialize};

/// The maintenance windows of a device.
///
/// The windows of the newest assignment that the device accepted count, so that a commit can open one at once. They restrict
/// what changes the device; what runs is kept running at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// When images may be fetched. None: at any time.
    #[serde(default, skip_serializing_if = "Windows::is_empty")]
    pub download: Windows,
    /// When containers, the host and the OS may be changed. None: at any time.
    #[serde(default, skip_serializing_if = "Windows::is_empty")]
    pub apply: Windows,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Fetching.
    Download,
    /// Changing.
    Apply,
}

impl Purpose {
    /// The word for it, as in the fleet repo.
    pub fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Apply => "apply",
        }
    }
}

impl Maintenance {
    /// The windows for a purpose.
    pub fn windows(&self, purpose: Purpose) -> &Windows {
        match purpose {
            Purpose::Download => &self.download,
            Purpose::Apply => &self.apply,
        }
    }

    /// Whether something may be done at a moment.
    pub fn allows(&self, purpose: Purpose, at: Timestamp) -> bool {
        self.windows(purpose).is_open(at)
    }

    /// One sentence for people on why something cannot be done now; `None` if it can.
    pub fn closed(&self, purpose: Purpose, at: Timestamp) -> Option<String> {
        match self.windows(purpose).opening(at) {
            Opening::Unrestricted | Opening::Open { .. } => None,
            Opening::Closed { opens: Some(opens) } => {
                let there = self
                    .windows(purpose)
                    .local_clock(opens)
                    .map_or_else(String::new, |clock| format!("{clock} there, "));
                Some(format!("the {} window is closed until {there}{opens}", purpose.name()))
            }
            Opening::Closed { opens: None } => {
                Some(format!("the {} window is closed and does not open for years", purpose.name()))
            }
        }
    }
}
