//! What services may ask of the host. The controller's own configuration says it, stage by stage; a repo cannot.

use crate::domain::finding::codes;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::yaml::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What services of one stage may have of the host. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostRights {
    /// Paths that may be mounted, with everything below them.
    pub host_paths: BTreeSet<String>,
    /// Whether services may have all rights.
    pub privileged: Privileged,
}

/// Whether services may have all rights on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privileged {
    /// They may not.
    #[default]
    Refused,
    /// They may.
    Allowed,
}

impl HostRights {
    /// Whether nothing of the host is allowed.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// What any of these stages allow, for explaining values to people.
    pub fn of_any<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut any = Self::default();
        for Self { host_paths, privileged } in all {
            any.host_paths.extend(host_paths.iter().cloned());
            any.privileged = any.privileged.max(*privileged);
        }
        any
    }

    /// Whether a path may be mounted: it is one of those that are allowed, or below one.
    pub fn allows_path(&self, path: &str) -> bool {
        self.host_paths.iter().any(|allowed| {
            let allowed = allowed.trim_end_matches('/');
            path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    pub(super) fn check_path(&self, path: &str, span: Span, problems: &mut Problems) {
        if !self.allows_path(path) {
            let message = format!("`{}` would give the service a part of the host", show(path));
            let hint = "use a named volume; or let the controller's configuration allow it: `host_paths` of the stage";
            problems.error_hint(span, codes::BIND_MOUNT, message, hint);
        }
    }

    pub(super) fn check_privileged(&self, span: Span, problems: &mut Problems) {
        if self.privileged == Privileged::Refused {
            let message = "the service asks for all rights on the host";
            let hint = "name what it needs with `cap_add` and `devices`; or let the controller's configuration allow it: \
                        `privileged` of the stage";
            problems.error_hint(span, codes::PRIVILEGED, message, hint);
        }
    }
}
