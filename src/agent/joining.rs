//! Going over to another controller, so that a crash at any point leaves either the old fleet or the new one.
//!
//! The new identity is written down beside the old one before anything is asked, because the controller remembers the key that
//! asked: a device that forgot it would be a stranger with a token that is used up. Once the answer is written there too, there is
//! no way back, and whoever starts next goes on from wherever it ended: every step can be done again.

use super::AgentError;
use super::enrolling::new_identity;
use super::files::{StateDirectory, rename_durably};
use super::identity::{FILE, Identity, IdentityError};
use super::ledger::LEDGER_FILE;
use super::link::enroll;
use super::settings::{JoinSettings, Settings};
use crate::protocol::v1::messages::EnrollStatus;
use std::collections::BTreeMap;
use std::io;

/// The identity that the device is about to have.
pub(super) const JOINING: &str = "identity.json.joining";

/// One request to another controller. The old identity and ledger are kept aside once the new one answered.
pub(super) async fn join(
    directory: &StateDirectory,
    settings: &Settings,
    attributes: &BTreeMap<String, String>,
) -> Result<Identity, AgentError> {
    finish(directory)?;
    let join = settings.enrollment.as_ref().ok_or(AgentError::NowhereToJoin)?;
    let old = Identity::read(directory)?;
    let named = match (&join.device, &old) {
        // A device keeps its name unless it is given another.
        (None, Some(old)) => JoinSettings { device: Some(old.device.clone()), ..join.clone() },
        (Some(_), _) | (None, None) => join.clone(),
    };
    let mut identity = begin(directory, &named)?;
    enroll(&mut identity, join.token.as_ref(), attributes).await?;
    identity.write_to(directory, JOINING)?;
    finish(directory)?;
    Ok(identity)
}

/// What came of it.
pub(super) fn told(identity: &Identity) -> String {
    let Identity { device, server, .. } = identity;
    let stands = match identity.enrollment.as_ref().map(|enrollment| enrollment.status) {
        Some(EnrollStatus::Enrolled) => format!("{device} belongs to the fleet of {server} now."),
        Some(EnrollStatus::Pending) | None => {
            format!(
                "{device} waits to be let into the fleet of {server}: `bellwether approve {device}` there lets it in."
            )
        }
    };
    format!("{stands}\nWhat it was before is kept as identity.json.previous and ledger.previous, for going back.\n")
}

/// The identity to ask with: the one of an attempt that was cut short, if that was the same request.
fn begin(directory: &StateDirectory, join: &JoinSettings) -> Result<Identity, AgentError> {
    let mut identity = new_identity(join)?;
    // One that cannot be read was never answered; its place is taken.
    if let Ok(Some(begun)) = Identity::read_from(directory, JOINING)
        && begun.server == identity.server
        && begun.device == identity.device
    {
        identity = identity.with_key_of(&begun);
    }
    identity.write_to(directory, JOINING)?;
    Ok(identity)
}

/// Does what is left of a change of controllers that was cut short after the answer.
pub(super) fn finish(directory: &StateDirectory) -> Result<(), IdentityError> {
    match Identity::read_from(directory, JOINING) {
        Ok(Some(joining)) if joining.enrollment.is_some() => {}
        // Not answered, as far as anybody knows: the device stays where it is.
        Ok(_) | Err(IdentityError::Malformed { .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    STEPS.iter().try_for_each(|step| step(directory))
}

/// One part of what is left. It can be done again.
type Step = fn(&StateDirectory) -> Result<(), IdentityError>;

/// What is left once the answer is written, in this order. The identity that counts is replaced last, so that until then
/// everybody sees that there is something to finish.
const STEPS: [Step; 3] = [keep_identity, keep_ledger, take_over];

fn keep_identity(directory: &StateDirectory) -> Result<(), IdentityError> {
    // A copy: a device without any identity would ask for one of its own.
    match Identity::read(directory) {
        Ok(Some(old)) => old.write_to(directory, &previous(FILE)),
        Ok(None) => Ok(()),
        // Whatever it is, it is not lost.
        Err(IdentityError::Malformed { .. }) => set_aside(directory, FILE),
        Err(error) => Err(error),
    }
}

/// The old fleet's order means nothing to the new one.
fn keep_ledger(directory: &StateDirectory) -> Result<(), IdentityError> {
    set_aside(directory, LEDGER_FILE)
}

fn take_over(directory: &StateDirectory) -> Result<(), IdentityError> {
    rename_durably(&directory.file(JOINING), &directory.file(FILE)).map_err(failed)
}

fn set_aside(directory: &StateDirectory, name: &str) -> Result<(), IdentityError> {
    rename_durably(&directory.file(name), &directory.file(&previous(name))).map_err(failed)
}

fn previous(name: &str) -> String {
    format!("{name}.previous")
}

fn failed(source: io::Error) -> IdentityError {
    IdentityError::File { attempted: "set aside", source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::identity::Enrollment;

    fn identity(server: &str) -> Identity {
        Identity::new(format!("https://{server}:8443"), "kiosk-1".parse().expect("a name")).expect("made")
    }

    fn answered(mut identity: Identity) -> Identity {
        identity.enrollment = Some(Enrollment {
            status: EnrollStatus::Enrolled,
            fleet: "acme".parse().expect("a name"),
            public_key: "ab".repeat(32),
        });
        identity
    }

    fn server_of(directory: &StateDirectory, name: &str) -> String {
        Identity::read_from(directory, name).expect("readable").map_or("nothing".to_owned(), |one| one.server)
    }

    #[test]
    fn a_crash_after_the_answer_ends_with_the_new_fleet_wherever_it_was() {
        for done in 0..=STEPS.len() {
            let place = tempfile::tempdir().expect("a directory");
            let directory = StateDirectory::open(place.path()).expect("not in use");
            answered(identity("old")).write(&directory).expect("written");
            std::fs::write(directory.file(LEDGER_FILE), "old").expect("written");
            let new = answered(identity("new"));
            new.write_to(&directory, JOINING).expect("written");
            for step in &STEPS[..done] {
                step(&directory).expect("done before the crash");
            }
            finish(&directory).expect("done after it");
            finish(&directory).expect("nothing is left to do");
            let now = Identity::read(&directory).expect("readable").expect("there");
            assert_eq!((now.server.as_str(), now.key()), ("https://new:8443", new.key()), "after {done} steps");
            assert_eq!(server_of(&directory, "identity.json.previous"), "https://old:8443", "after {done} steps");
            assert_eq!(server_of(&directory, JOINING), "nothing", "after {done} steps");
            assert!(!directory.file(LEDGER_FILE).exists(), "after {done} steps");
            assert_eq!(std::fs::read(directory.file("ledger.previous")).expect("kept"), b"old", "after {done} steps");
        }
    }

    #[test]
    fn a_crash_before_the_answer_leaves_the_device_where_it_is_and_the_next_attempt_has_the_same_key() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = StateDirectory::open(place.path()).expect("not in use");
        answered(identity("old")).write(&directory).expect("written");
        let settings = |server: &str| JoinSettings {
            server: format!("https://{server}:8443"),
            device: Some("kiosk-1".parse().expect("a name")),
            token: None,
            ca_file: None,
        };
        let first = begin(&directory, &settings("new")).expect("written");
        finish(&directory).expect("nothing was answered");
        assert_eq!(server_of(&directory, FILE), "https://old:8443");
        let again = begin(&directory, &settings("new")).expect("written");
        assert_eq!(again.key(), first.key(), "the controller may know it already");
        let elsewhere = begin(&directory, &settings("other")).expect("written");
        assert_ne!(elsewhere.key(), first.key(), "one fleet's key is nothing to another");
    }

    #[test]
    fn half_an_attempt_that_cannot_be_read_is_no_obstacle() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = StateDirectory::open(place.path()).expect("not in use");
        answered(identity("old")).write(&directory).expect("written");
        std::fs::write(directory.file(JOINING), "{").expect("written");
        finish(&directory).expect("it was not answered");
        assert_eq!(server_of(&directory, FILE), "https://old:8443");
    }
}
