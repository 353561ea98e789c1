//! RAUC, over D-Bus (`de.pengutronix.rauc`).
//!
//! What is believed: the boot loader's states and the primary slot. The status file of a slot is only what was written last:
//! after a crash it names the version from before, so a version counts only on a slot that the boot loader would boot.

use super::bus::{Bus, BusError, Target};
use super::images::Images;
use super::reboot::Rebooter;
use super::release;
use crate::domain::device::os::{FoundOs, Operation, pending};
use crate::domain::ids::Version;
use crate::domain::reported::{BootState, MAX_SLOTS, ObservedOs, ObservedSlot};
use crate::domain::spec::{OsSpec, Transfer};
use crate::ports::engine::Answer;
use crate::ports::os::{Os, OsError};
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;
use zbus::{MatchRule, MessageStream, OwnedVariant, Variant};

const RAUC: Target = Target { service: "de.pengutronix.rauc", path: "/", interface: "de.pengutronix.rauc.Installer" };
const PROPERTIES: Target = Target { interface: "org.freedesktop.DBus.Properties", ..RAUC };
/// How long RAUC may take to answer. Boot loaders are asked through programs, and flash may be slow.
const LIMIT: Duration = Duration::from_secs(25);
/// How long it may take to look into an image, whose signature covers the whole of a plain bundle.
const INFO_LIMIT: Duration = Duration::from_secs(600);
/// How long an installation is watched before services get their turn; RAUC goes on, and looks tell how far it is.
const WATCH: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile whether it is still there.
const PULSE: Duration = Duration::from_secs(1);
/// How many signals wait to be read; one ends an installation.
const SIGNALS: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

/// RAUC.
#[derive(Debug)]
pub struct Rauc {
    bus: Bus,
    images: Images,
    rebooter: Rebooter,
    /// What was seen last: RAUC does not tell of its slots while it installs.
    last: Mutex<Option<ObservedOs>>,
}

type Dictionary = BTreeMap<String, OwnedVariant>;

impl Rauc {
    /// RAUC on the system bus, with images that the agent downloads.
    pub fn new(images: Images, rebooter: Rebooter) -> Self {
        Self { bus: Bus::default(), images, rebooter, last: Mutex::new(None) }
    }

    async fn look_now(&self) -> Result<FoundOs, OsError> {
        let boot_id = self.rebooter.boot_id()?;
        let file = self.images.look().map_err(|error| OsError::Unavailable { reason: error.to_string() })?;
        let operation = self.operation().await?;
        let running = match &operation {
            Operation::Installing { percent: _ } => self.remembered(),
            Operation::Idle { last_error: _ } => None,
        };
        let running = match running {
            Some(running) => running,
            None => self.slots().await?,
        };
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(running.clone());
        let pending = pending(&running);
        Ok(FoundOs { running, operation, boot_id, file, pending })
    }

    fn remembered(&self) -> Option<ObservedOs> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn operation(&self) -> Result<Operation, OsError> {
        let answer = self.bus.call(PROPERTIES, "GetAll", &(RAUC.interface,), LIMIT).await.map_err(unavailable)?;
        let body = answer.body();
        let all: Dictionary = body.deserialize().map_err(|error| malformed(&error))?;
        let operation = text(&all, "Operation").unwrap_or_default();
        if operation == "idle" {
            return Ok(Operation::Idle { last_error: text(&all, "LastError").filter(|error| !error.is_empty()) });
        }
        let percent = all.get("Progress").and_then(|value| {
            let (percent, _, _): (i32, String, i32) = value.try_clone().ok()?.try_into().ok()?;
            u8::try_from(percent.clamp(0, 100)).ok()
        });
        Ok(Operation::Installing { percent })
    }

    async fn slots(&self) -> Result<ObservedOs, OsError> {
        let answer = self.bus.call(RAUC, "GetSlotStatus", &(), LIMIT).await.map_err(unavailable)?;
        let body = answer.body();
        let all: Vec<(String, Dictionary)> = body.deserialize().map_err(|error| malformed(&error))?;
        let mut slots = BTreeMap::new();
        let (mut booted, mut installed) = (None, None);
        // Data and boot loader slots have no name for the boot loader.
        let bootable = all.iter().filter(|(_, about)| text(about, "bootname").is_some_and(|name| !name.is_empty()));
        for (name, about) in bootable.take(MAX_SLOTS) {
            let version = text(about, "bundle.version").and_then(|version| Version::new(&version).ok());
            if text(about, "state").as_deref() == Some("booted") {
                (booted, installed) = (Some(name.clone()), version.clone());
            }
            let boot = match text(about, "boot-status").as_deref() {
                Some("good") => BootState::Good,
                Some("bad") => BootState::Bad,
                Some(_) | None => BootState::Unknown,
            };
            slots.insert(name.clone(), ObservedSlot { version, boot });
        }
        if booted.is_none() {
            let reason = "RAUC does not know which slot was booted".to_owned();
            return Err(OsError::Unavailable { reason });
        }
        let primary = match self.bus.call(RAUC, "GetPrimary", &(), LIMIT).await {
            Ok(answer) => answer.body().deserialize::<String>().ok().filter(|primary| slots.contains_key(primary)),
            // Not every boot loader can be asked.
            Err(BusError::Refused(_)) => None,
            Err(error) => return Err(unavailable(error)),
        };
        let version = release::running_version(installed).ok_or_else(|| OsError::Unavailable {
            reason: "neither /etc/os-release nor RAUC knows the version that runs".to_owned(),
        })?;
        Ok(ObservedOs { name: None, version, booted, primary, slots })
    }

    async fn install_now(&self, os: &OsSpec) -> Result<(), OsError> {
        let bundle = match os.transfer {
            Transfer::Stream => os.url.clone(),
            Transfer::Download => self.images.whole(os).and_then(|path| Some(path.to_str()?.to_owned())),
        };
        let (name, version) = (os.name.clone(), os.version.clone());
        let Some(bundle) = bundle else {
            return Err(OsError::NoAddress { name, version, reason: "the catalog has no `url` for it".to_owned() });
        };
        self.examine(os, &bundle).await?;
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(RAUC.service)
            .interface(RAUC.interface)
            .member("Completed")
            .build()
            .map_err(|error| OsError::Unavailable { reason: error.to_string() })?;
        let connection = self.bus.connection().await.map_err(unavailable)?;
        let mut signals = MessageStream::for_match_rule(rule, &connection, Some(SIGNALS))
            .await
            .map_err(|error| OsError::Unavailable { reason: error.to_string() })?;
        let options: BTreeMap<&str, Variant<'_>> = BTreeMap::new();
        self.bus.call(RAUC, "InstallBundle", &(bundle.as_str(), options), LIMIT).await.map_err(
            |error| match error {
                BusError::Unavailable(reason) => OsError::Unavailable { reason },
                BusError::Refused(reason) if is_busy(&reason) => OsError::Busy { reason },
                BusError::Refused(reason) => OsError::Install { name, version, reason },
            },
        )?;
        self.watch(os, &mut signals).await
    }

    /// Refuses what would be refused after it was copied: a foreign signature, another device type, another version.
    async fn examine(&self, os: &OsSpec, bundle: &str) -> Result<(), OsError> {
        let refused = |reason: String| {
            let (name, version) = (os.name.clone(), os.version.clone());
            OsError::Refused { name, version, reason }
        };
        let answer = match self.bus.call(RAUC, "Info", &(bundle,), INFO_LIMIT).await {
            Ok(answer) => answer,
            Err(BusError::Unavailable(reason)) => return Err(OsError::Unavailable { reason }),
            Err(BusError::Refused(reason)) if is_busy(&reason) => return Err(OsError::Busy { reason }),
            // It says no more than that. The installation says why, before it touches a slot.
            Err(BusError::Refused(_)) => return Ok(()),
        };
        let (compatible, version): (String, String) = answer.body().deserialize().map_err(|error| malformed(&error))?;
        let own =
            self.bus.call(PROPERTIES, "Get", &(RAUC.interface, "Compatible"), LIMIT).await.map_err(unavailable)?;
        let own = own.body().deserialize::<OwnedVariant>().ok().and_then(|own| String::try_from(own).ok());
        if own.as_ref().is_some_and(|own| *own != compatible) {
            return Err(refused(format!(
                "it is made for {compatible:?}, this device is {:?}",
                own.unwrap_or_default()
            )));
        }
        if version != os.version.as_str() {
            return Err(refused(format!("it calls itself version {version:?}")));
        }
        Ok(())
    }

    /// Waits for the end of an installation, but not for ever.
    async fn watch(&self, os: &OsSpec, signals: &mut MessageStream) -> Result<(), OsError> {
        // The installation goes on in RAUC either way; only the watching ends.
        let until = Instant::now() + WATCH;
        let failed = |reason: String| {
            let (name, version) = (os.name.clone(), os.version.clone());
            if is_final(&reason) {
                OsError::Refused { name, version, reason }
            } else {
                OsError::Install { name, version, reason }
            }
        };
        let mut was_idle = false;
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Some(Ok(signal)) => {
                        let code: i32 = signal.body().deserialize().map_err(|error| malformed(&error))?;
                        if code == 0 {
                            return Ok(());
                        }
                        return Err(failed(self.last_error().await));
                    }
                    Some(Err(_)) => {}
                    None => return Err(failed("the system bus went away in the middle".to_owned())),
                },
                () = tokio::time::sleep(PULSE) => match self.operation().await {
                    // The signal and the answer may cross; twice means that nobody will say any more.
                    Ok(Operation::Idle { .. }) if was_idle => return Err(failed(self.last_error().await)),
                    Ok(Operation::Idle { .. }) => was_idle = true,
                    Ok(Operation::Installing { .. }) if Instant::now() >= until => return Ok(()),
                    Ok(Operation::Installing { .. }) => {}
                    Err(error) => return Err(failed(format!("RAUC went away in the middle: {error}"))),
                },
            }
        }
    }

    async fn last_error(&self) -> String {
        match self.operation().await {
            Ok(Operation::Idle { last_error: Some(error) }) => error,
            Ok(Operation::Idle { last_error: None }) => "RAUC was restarted in the middle".to_owned(),
            Ok(Operation::Installing { .. }) => "RAUC says nothing about it".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    async fn mark(&self, attempted: &'static str, state: &str, slot: &str) -> Result<(), OsError> {
        self.bus.call(RAUC, "Mark", &(state, slot), LIMIT).await.map(drop).map_err(|error| match error {
            BusError::Unavailable(reason) => OsError::Unavailable { reason },
            BusError::Refused(reason) if is_busy(&reason) => OsError::Busy { reason },
            BusError::Refused(reason) => OsError::Mark { attempted, reason },
        })
    }

    async fn fall_back_now(&self) -> Result<(), OsError> {
        // This order: a power cut between the two boots the old slot already.
        self.mark("have the slot from before booted", "active", "other").await?;
        self.mark("mark the running slot bad", "bad", "booted").await
    }
}

/// RAUC does one thing at a time.
fn is_busy(reason: &str) -> bool {
    reason.contains("already processing")
}

/// Whether RAUC would say the same of this bundle again: it is signed by nobody whom the device knows, or made for another.
fn is_final(reason: &str) -> bool {
    ["signature verification failed", "ompatible mismatch"].iter().any(|words| reason.contains(words))
}

fn unavailable(error: BusError) -> OsError {
    match error {
        BusError::Refused(reason) if is_busy(&reason) => OsError::Busy { reason },
        BusError::Refused(reason) | BusError::Unavailable(reason) => OsError::Unavailable { reason },
    }
}

fn malformed(error: &dyn std::fmt::Display) -> OsError {
    OsError::Unavailable { reason: format!("RAUC's answer cannot be read: {error}") }
}

fn text(all: &Dictionary, key: &str) -> Option<String> {
    String::try_from(all.get(key)?.try_clone().ok()?).ok()
}

impl Os for Rauc {
    fn look(&self) -> Answer<'_, Option<FoundOs>, OsError> {
        Box::pin(async { self.look_now().await.map(Some) })
    }

    fn fetch<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError> {
        Box::pin(self.images.fetch(os))
    }

    fn install<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError> {
        Box::pin(self.install_now(os))
    }

    fn confirm(&self) -> Answer<'_, (), OsError> {
        Box::pin(self.mark("mark the running slot good", "good", "booted"))
    }

    fn fall_back(&self) -> Answer<'_, (), OsError> {
        Box::pin(self.fall_back_now())
    }

    fn keep(&self) -> Answer<'_, (), OsError> {
        Box::pin(self.mark("have the running slot booted next", "active", "booted"))
    }

    fn discard(&self) -> Answer<'_, (), OsError> {
        Box::pin(async { self.images.discard().map_err(|error| OsError::Unavailable { reason: error.to_string() }) })
    }

    fn reboot(&self) -> Answer<'_, (), OsError> {
        Box::pin(self.rebooter.reboot())
    }
}
