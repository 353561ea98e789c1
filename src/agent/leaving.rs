//! Leaving the fleet: from then on nobody manages the device. What runs goes on, unless it is to go as well.
//!
//! Volumes stay in any case, and so does everything that does not carry this device's labels. The identity is set aside last:
//! whatever is cut short before can be done again.

use super::AgentError;
use super::files::{StateDirectory, rename_durably};
use super::identity::{FILE, Identity};
use super::joining::JOINING;
use super::ledger::LEDGER_FILE;
use super::settings::Settings;
use crate::ports::engine::Engine;
use std::collections::BTreeSet;
use std::io;

/// What becomes of the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containers {
    /// They keep running.
    Keep,
    /// They are stopped and removed, with their networks. Volumes stay.
    Remove,
}

/// What becomes of identity, ledger and values of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// They are set aside, for going back. Values of secrets are deleted: they would come again.
    SetAside,
    /// They are deleted.
    Delete,
}

/// Leaves the fleet. The agent must not run; the state directory's lock says so.
pub async fn leave(settings: &Settings, containers: Containers, memory: Memory) -> Result<String, AgentError> {
    let directory = StateDirectory::open(&settings.state_dir)?;
    super::joining::finish(&directory)?;
    let Some(identity) = Identity::read(&directory)? else {
        return Ok("This device belongs to no fleet; there is nothing to leave.\n".to_owned());
    };
    let mut told = match containers {
        Containers::Keep => "Containers keep running; nobody looks after them any more.\n".to_owned(),
        Containers::Remove => match identity.trust()? {
            Some(trust) => {
                let engine = super::open_engine(settings, &directory, &trust.fleet, &identity.device)?;
                remove_all(engine.as_ref()).await?
            }
            None => "The device was never let in, so it has no containers.\n".to_owned(),
        },
    };
    forget(&directory, memory).map_err(|source| AgentError::Part { part: "state directory", source: source.into() })?;
    told.push_str(match memory {
        Memory::SetAside => "Identity and ledger are set aside as identity.json.previous and ledger.previous.\n",
        Memory::Delete => "Identity and ledger are deleted; to come back, the device must enroll anew.\n",
    });
    told.push_str("Disable the agent's service, or it enrolls again when its settings name a controller.\n");
    Ok(told)
}

/// Removes every container and network of this device, and nothing else.
async fn remove_all(engine: &dyn Engine) -> Result<String, AgentError> {
    let failed = |source: crate::ports::engine::EngineError| AgentError::Part {
        part: "container engine",
        source: source.into(),
    };
    let found = engine.look(&BTreeSet::new()).await.map_err(failed)?;
    let mut told = String::new();
    for (app, there) in &found.apps {
        for service in there.services.keys() {
            engine.remove_service(app, service).await.map_err(failed)?;
            told.push_str(&format!("Removed {app}/{service}.\n"));
        }
        for network in there.network_names() {
            engine.remove_network(app, &network).await.map_err(failed)?;
        }
        for volume in &there.volumes {
            told.push_str(&format!("Kept volume {volume} of {app} with its data.\n"));
        }
    }
    Ok(told)
}

fn forget(directory: &StateDirectory, memory: Memory) -> io::Result<()> {
    remove(directory, "secrets")?;
    if memory == Memory::Delete {
        // The key of an attempt to join another fleet that nobody answered.
        remove(directory, JOINING)?;
    }
    // The identity goes last: as long as it is there, leaving can be done again.
    for name in [LEDGER_FILE, FILE] {
        match memory {
            Memory::SetAside => rename_durably(&directory.file(name), &directory.file(&format!("{name}.previous")))?,
            Memory::Delete => {
                remove(directory, &format!("{name}.previous"))?;
                remove(directory, name)?;
            }
        }
    }
    Ok(())
}

fn remove(directory: &StateDirectory, name: &str) -> io::Result<()> {
    match std::fs::remove_file(directory.file(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
