//! The parts of a device action, each something that a shell does in one go.

use super::action::Failure;
use super::locks::Deed;
use crate::domain::actions::DeviceAction;
use crate::domain::ids::{AppName, ServiceName, VolumeName};
use crate::domain::reported::ObservedApp;
use crate::domain::spec::DeviceSpec;
use std::collections::BTreeMap;

/// One part of a device action. Parts are done in order; the first that fails ends the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Stop a container and start it again.
    Restart {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// Stop a container and remove it; it is made anew once the action has ended.
    Remove {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// Remove a volume with its data.
    Purge {
        /// The app.
        app: AppName,
        /// The volume.
        volume: VolumeName,
    },
    /// Restart the machine.
    Reboot,
    /// Bring the newest lines of a log.
    Logs {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// How many.
        lines: u32,
    },
}

/// What is to be done for an action, given what is assigned and what is there.
pub fn errands(
    action: &DeviceAction,
    spec: &DeviceSpec,
    found: &BTreeMap<AppName, ObservedApp>,
) -> Result<Vec<Errand>, Failure> {
    let is_there =
        |app: &AppName, service: &ServiceName| found.get(app).is_some_and(|found| found.services.contains_key(service));
    let unknown = |app: &AppName, service: &ServiceName| Failure {
        reason: "UnknownService",
        message: format!("there is no container of {app}/{service}"),
    };
    match action {
        DeviceAction::RestartService { app, service } if is_there(app, service) => {
            Ok(vec![Errand::Restart { app: app.clone(), service: service.clone() }])
        }
        DeviceAction::CollectLogs { app, service, lines } if is_there(app, service) => {
            Ok(vec![Errand::Logs { app: app.clone(), service: service.clone(), lines: *lines }])
        }
        DeviceAction::RestartService { app, service } | DeviceAction::CollectLogs { app, service, .. } => {
            Err(unknown(app, service))
        }
        DeviceAction::RestartAll => {
            let assigned = spec.apps.iter().flat_map(|(app, one)| one.services.keys().map(move |name| (app, name)));
            let there = assigned.filter(|(app, service)| is_there(app, service));
            Ok(there.map(|(app, service)| Errand::Restart { app: app.clone(), service: service.clone() }).collect())
        }
        DeviceAction::Reboot => Ok(vec![Errand::Reboot]),
        DeviceAction::PurgeVolume { app, volume } => purge(app, volume, found),
        DeviceAction::Unknown => Err(not_supported()),
    }
}

/// What an errand does that a lock can be in the way of.
pub fn deed(errand: &Errand) -> Option<Deed<'_>> {
    match errand {
        Errand::Restart { app, service } | Errand::Remove { app, service } => Some(Deed::Stop(app, service)),
        Errand::Reboot => Some(Deed::Reboot),
        Errand::Purge { .. } | Errand::Logs { .. } => None,
    }
}

/// The same volume may be used by several services, and no engine removes one that is in use.
fn purge(app: &AppName, volume: &VolumeName, found: &BTreeMap<AppName, ObservedApp>) -> Result<Vec<Errand>, Failure> {
    let Some(there) = found.get(app).filter(|there| there.volumes.contains(volume)) else {
        let message = format!("{app} has no volume {volume} on this device");
        return Err(Failure { reason: "UnknownVolume", message });
    };
    let uses =
        there.services.iter().filter(|(_, one)| one.content.mounts.values().any(|mount| mount.volume == *volume));
    let mut all: Vec<Errand> =
        uses.map(|(service, _)| Errand::Remove { app: app.clone(), service: service.clone() }).collect();
    all.push(Errand::Purge { app: app.clone(), volume: volume.clone() });
    Ok(all)
}

/// The failure of an action that this build does not know.
pub fn not_supported() -> Failure {
    Failure { reason: "NotSupported", message: "this agent does not know the action; a newer one may".to_owned() }
}
