//! Update locks: how an app, or a person on the device, says "not now".
//!
//! A lock is a file: one per service and one for the whole device, in a directory of the host. That it is there is what counts;
//! what it says ([`LockText`]) only makes it narrower and tells people whose it is. So a shell can take one with `set -C; >
//! update.lock`, and a file that nobody can read holds everything. Nothing here breaks a lock because of its age: only its
//! owner, a restart of the machine (the directory is in memory), or an operator with a reason.

use super::action::{Action, Failure};
use super::host::HostAction;
use super::steps::Observed;
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::ServiceState;
use crate::domain::spec::Transfer;
use crate::domain::time::{Timestamp, show_secs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The longest lock file that is read, in bytes: an owner, a reason and a few words.
pub const MAX_LOCK_BYTES: usize = 4096;
/// How many locks of a device are looked at: one for each service of the largest spec that anybody runs. With more, the device
/// counts as locked.
pub const MAX_LOCKS: usize = 1024;
/// The longest owner or reason that is shown, in bytes. Longer ones are cut.
const MAX_SHOWN_BYTES: usize = 200;

/// What a lock keeps from happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Running services are stopped: this one by a service's lock, every one by the device's.
    Service,
    /// Images and OS bundles are downloaded, whoever holds the lock.
    Download,
    /// The device restarts, whoever holds the lock.
    Reboot,
}

/// Whose lock it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The whole device's.
    Device,
    /// A service's.
    Service {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
}

/// What a lock file says. Everything may be left out; an empty file is a lock too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockText {
    /// Who took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it keeps from happening. `None`: a service's keeps the service running and the device from restarting, the
    /// device's keeps everything from happening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<BTreeSet<Scope>>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Whose.
    pub place: Place,
    /// Who took it, as the file says, else the service or `somebody`.
    pub owner: String,
    /// What it keeps from happening.
    pub scope: BTreeSet<Scope>,
    /// When the file was last written, by the device's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it was taken, in the owner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is wrong with the file. It holds everything then: nobody knows what it meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// The locks of a device, as one look found them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// Those that are held, in order of their places.
    pub held: Vec<Lock>,
    /// Services whose successors said that they have taken over.
    pub handed_over: BTreeSet<(AppName, ServiceName)>,
}

/// Something that a lock can be in the way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed<'a> {
    /// Stopping a service that runs.
    Stop(&'a AppName, &'a ServiceName),
    /// Bringing an image or a bundle.
    Download,
    /// Restarting the device.
    Reboot,
}

/// Whether locks count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Respect {
    /// They do.
    #[default]
    Locks,
    /// An operator said that they do not, for one assignment.
    Nothing,
}

impl Lock {
    /// The lock that a file is. `bytes` are its content, or what kept it from being read.
    pub fn of_file(place: Place, since: Option<Timestamp>, bytes: Result<&[u8], String>) -> Self {
        let text = bytes.and_then(LockText::parse);
        let trouble = text.as_ref().err().cloned();
        let LockText { owner, scope, reason } = text.unwrap_or_default();
        let everything = [Scope::Service, Scope::Download, Scope::Reboot];
        let usual = || match (&place, &trouble) {
            (Place::Service { .. }, None) => [Scope::Service, Scope::Reboot].into(),
            (Place::Device, _) | (_, Some(_)) => everything.into(),
        };
        let owner = owner.map(|owner| shown(&owner)).filter(|owner| !owner.is_empty());
        let owner = owner.unwrap_or_else(|| match &place {
            Place::Service { service, .. } => service.to_string(),
            Place::Device => "somebody".to_owned(),
        });
        Self {
            owner,
            scope: scope.unwrap_or_else(usual),
            since,
            reason: reason.map(|reason| shown(&reason)).filter(|reason| !reason.is_empty()),
            trouble,
            place,
        }
    }

    /// The lock that stands for a directory of locks that cannot be read: it might hold anything.
    pub fn unreadable(reason: String) -> Self {
        Self::of_file(Place::Device, None, Err(reason))
    }

    /// Seconds for which it has been held. A clock that was set back makes that nothing, not less.
    pub fn age_secs(&self, now: Timestamp) -> Option<i64> {
        self.since.map(|since| now.secs_since(since).max(0))
    }

    /// The lock in words, with its age.
    pub fn describe(&self, now: Timestamp) -> String {
        let age = self.age_secs(now).map(|secs| format!(" for {}", show_secs(secs))).unwrap_or_default();
        format!("{self}{age}{}", self.details())
    }

    /// The lock in words that stay the same as it ages: what changed with every look would be reported with every look.
    pub fn told(&self) -> String {
        format!("{self}{}", self.details())
    }

    /// The lock as something that is waited for.
    pub fn awaited(&self) -> String {
        format!("{}, held by `{}`{}", self.place, self.owner, self.details())
    }

    fn details(&self) -> String {
        let words: Vec<&str> = [&self.reason, &self.trouble].into_iter().flatten().map(String::as_str).collect();
        if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) }
    }

    fn is_in_the_way_of(&self, deed: Deed<'_>) -> bool {
        match deed {
            Deed::Stop(app, service) => {
                let is_its = match &self.place {
                    Place::Device => true,
                    Place::Service { app: its_app, service: its_service } => (its_app, its_service) == (app, service),
                };
                is_its && self.scope.contains(&Scope::Service)
            }
            Deed::Download => self.scope.contains(&Scope::Download),
            Deed::Reboot => self.scope.contains(&Scope::Reboot),
        }
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is held by `{}`", self.place, self.owner)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("the device's lock"),
            Self::Service { app, service } => write!(f, "the lock of {app}/{service}"),
        }
    }
}

impl Scope {
    /// The word for it in files and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Download => "download",
            Self::Reboot => "reboot",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let all = [Self::Service, Self::Download, Self::Reboot];
        all.into_iter().find(|scope| scope.name() == text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// The word names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of service, download and reboot")]
pub struct UnknownScope(pub String);

impl LockText {
    /// Reads a lock file's content. An error says what is wrong with it, without quoting it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_LOCK_BYTES {
            return Err(format!("the file is longer than {MAX_LOCK_BYTES} bytes"));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        // The parser's own words could quote the file, and an app decides what is in it.
        serde_json::from_slice(bytes).map_err(|_| "the file is neither empty nor a lock".to_owned())
    }

    /// The text to write.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a lock has only string keys, so it can be written as JSON");
        text.push('\n');
        text
    }
}

impl Locks {
    /// The lock that keeps something from happening now; `None` if it may happen.
    pub fn in_the_way(&self, deed: Deed<'_>, respect: Respect) -> Option<&Lock> {
        match respect {
            Respect::Nothing => None,
            Respect::Locks if planted(Bug::IgnoreLocks) => None,
            Respect::Locks => self.held.iter().find(|lock| lock.is_in_the_way_of(deed)),
        }
    }

    /// The lock that keeps an action from happening now. It is asked for once more right before an action: an app may have taken
    /// its lock since the look that the action follows from.
    pub fn against(&self, action: &Action, observed: Option<&Observed>, respect: Respect) -> Option<&Lock> {
        deeds(action, observed).into_iter().find_map(|deed| self.in_the_way(deed, respect))
    }
}

/// What an action does that a lock can be in the way of. Removing a container that does not run stops nothing: a service that
/// crashed with its lock held must not keep its own mending from coming.
pub fn deeds<'a>(action: &'a Action, observed: Option<&Observed>) -> Vec<Deed<'a>> {
    match action {
        Action::Pull { image: _ } => vec![Deed::Download],
        Action::RemoveService { app, service, why: _ } | Action::Promote { app, service, why: _ }
            if observed.is_none_or(|found| runs(found, app, service)) =>
        {
            vec![Deed::Stop(app, service)]
        }
        Action::FetchOs { os: _, from_bytes: _ } => vec![Deed::Download],
        Action::InstallOs { os } => match os.transfer {
            Transfer::Stream => vec![Deed::Download],
            Transfer::Download => Vec::new(),
        },
        Action::Reboot { why: _ } | Action::Host(HostAction::Reboot { hook: _ }) => vec![Deed::Reboot],
        Action::Host(HostAction::Change(_) | HostAction::RunHook { .. }) => Vec::new(),
        Action::RemoveService { .. }
        | Action::Promote { .. }
        | Action::AdjustService { .. }
        | Action::CreateSuccessor { .. }
        | Action::StartSuccessor { .. }
        | Action::RemoveSuccessor { .. }
        | Action::RemoveImage { .. }
        | Action::CreateNetwork { .. }
        | Action::CreateVolume { .. }
        | Action::CreateService { .. }
        | Action::StartService { .. }
        | Action::RemoveNetwork { .. }
        | Action::ConfirmOs { .. }
        | Action::FallBackOs { .. }
        | Action::KeepOs
        | Action::DiscardOs => Vec::new(),
    }
}

/// Whether a service has a process that would be stopped.
pub fn runs(observed: &Observed, app: &AppName, service: &ServiceName) -> bool {
    let found = observed.apps.get(app).and_then(|app| app.services.get(service));
    found.is_some_and(|found| match found.state {
        ServiceState::Running | ServiceState::Paused => true,
        ServiceState::Created | ServiceState::Restarting | ServiceState::Exited(_) | ServiceState::Dead => false,
    })
}

/// A lock in the way, as conditions tell it.
pub fn locked(lock: &Lock) -> Failure {
    Failure { reason: "Locked", message: lock.told() }
}

/// What an app wrote, fit to be shown.
fn shown(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let plain = plain.trim();
    plain[..plain.floor_char_boundary(MAX_SHOWN_BYTES)].to_owned()
}

#[cfg(test)]
mod tests;
