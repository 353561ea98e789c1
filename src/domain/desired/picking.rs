//! Which release a pin picked, and why none of the newer ones.

use super::world::World;
use crate::domain::ids::{AppName, Version};
use crate::domain::manifest::release::{Release, ReleaseStatus};
use crate::domain::manifest::vars::Pin;
use serde::{Deserialize, Serialize};

/// How many newer releases are told, newest first. Whoever wonders looks at the newest ones.
pub const MAX_PASSED_OVER: usize = 20;

/// What a range or `latest` came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PickedRelease {
    /// The release; `None` if none fits.
    pub release: Option<Version>,
    /// Newer ones that were not picked, newest first, at most [`MAX_PASSED_OVER`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
}

/// A release that was not picked although it is newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// The release.
    pub release: Version,
    /// Why, in words.
    pub why: String,
}

impl World {
    /// What a pin that leaves a choice comes to; `None` for an exact one, and for an app that has no releases.
    pub(super) fn picked(&self, app: &AppName, pin: &Pin) -> Option<PickedRelease> {
        if matches!(pin, Pin::Exact(_)) {
            return None;
        }
        let mut picked = PickedRelease { release: None, passed_over: Vec::new() };
        for release in self.releases.get(app)?.iter().rev() {
            match passed_over(release, pin) {
                None => {
                    picked.release = Some(release.version.clone());
                    break;
                }
                Some(why) if picked.passed_over.len() < MAX_PASSED_OVER => {
                    picked.passed_over.push(PassedOver { release: release.version.clone(), why });
                }
                Some(_) => {}
            }
        }
        Some(picked)
    }
}

/// Why a pin that leaves a choice does not pick a release; `None` if it may. An exact pin leaves none.
pub(super) fn passed_over(release: &Release, pin: &Pin) -> Option<String> {
    match &release.status {
        ReleaseStatus::Final => {}
        ReleaseStatus::Draft => return Some("a draft".to_owned()),
        ReleaseStatus::Invalidated { reason } => return Some(format!("invalidated: {reason}")),
    }
    match pin {
        Pin::Latest if !release.precedence.pre.is_empty() => Some("a pre-release".to_owned()),
        // It takes a pre-release only if it names one of the same version itself.
        Pin::Range { text, range } if !range.matches(&release.precedence) => Some(format!("not in `{text}`")),
        Pin::Latest | Pin::Range { .. } | Pin::Exact(_) => None,
    }
}
