//! The values of secrets on the device: one file that only its owner reads, apart from the ledger.
//!
//! Values come in envelopes and go into containers. They are written before the ledger accepts what needs them, and dropped
//! once the ledger needs them no more.

use super::files::{StateDirectory, read_bounded, write_durably};
use crate::domain::device::canonical::conceal;
use crate::domain::device::steps::Observed;
use crate::domain::secret::{SecretRef, SecretValues};
use crate::domain::spec::DeviceSpec;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest file that is read, in bytes: two envelopes full, as while one assignment follows another.
const MAX_FILE_BYTES: usize = 8 << 20;

/// The file, and what is in it.
#[derive(Debug)]
pub struct SecretsFile {
    path: PathBuf,
    values: Mutex<SecretValues>,
}

impl SecretsFile {
    /// The file in a state directory. One that cannot be read counts as empty: its values are asked for again.
    pub fn open(directory: &StateDirectory) -> Self {
        let path = directory.file("secrets");
        let values = match read_bounded(&path, MAX_FILE_BYTES) {
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).unwrap_or_else(|_| {
                // What the parser says could quote a value.
                tracing::warn!("the file of secrets cannot be used; they are asked for again");
                SecretValues::default()
            }),
            Ok(None) => SecretValues::default(),
            Err(error) => {
                tracing::warn!(error = %error, "the file of secrets cannot be read; they are asked for again");
                SecretValues::default()
            }
        };
        Self { path, values: Mutex::new(values) }
    }

    fn lock(&self) -> MutexGuard<'_, SecretValues> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds values, durably.
    pub fn add(&self, more: SecretValues) -> io::Result<()> {
        let mut values = self.lock();
        let mut all = values.clone();
        all.extend(more);
        if all != *values {
            self.write(&all)?;
            *values = all;
        }
        Ok(())
    }

    /// Drops what is needed no more.
    pub fn keep(&self, wanted: &BTreeSet<SecretRef>) -> io::Result<()> {
        let mut values = self.lock();
        let mut kept = values.clone();
        kept.keep(wanted);
        if kept != *values {
            self.write(&kept)?;
            *values = kept;
        }
        Ok(())
    }

    fn write(&self, values: &SecretValues) -> io::Result<()> {
        let bytes = serde_json::to_vec(values).map_err(io::Error::other)?;
        write_durably(&self.path, &bytes)
    }

    /// The values as they are now.
    pub fn values(&self) -> SecretValues {
        self.lock().clone()
    }

    /// Whether every value is there that a spec needs.
    pub fn has_all(&self, spec: &DeviceSpec) -> bool {
        let values = self.lock();
        spec.secrets().iter().all(|reference| values.0.contains_key(reference))
    }

    /// Takes every secret out of what was found, before the machine, a report or a log sees it.
    pub fn conceal(&self, observed: &mut Observed, spec: Option<&DeviceSpec>) {
        let values = self.lock();
        for (app, found) in &mut observed.apps {
            let wanted = spec.and_then(|spec| spec.apps.get(app));
            for (name, service) in found.services.iter_mut().chain(&mut found.successors) {
                let wanted = wanted.and_then(|app| app.services.get(name));
                conceal(&mut service.content, &service.image_defaults, wanted, &values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::device::canonical::{ImageDefaults, canonical};
    use crate::domain::reported::{Changes, Health, ObservedApp, ObservedService, ServiceState};
    use crate::domain::spec::ServiceSpec;

    const VALUE: &str = "canary-7d1f-handed-over";

    #[test]
    fn secrets_are_taken_out_of_what_services_are_handed_over_to_as_well() {
        let place = tempfile::tempdir().expect("a directory");
        let file = SecretsFile::open(&StateDirectory::open(place.path()).expect("not in use"));
        let reference: SecretRef = "secret:TOKEN@00000000000000aa".parse().expect("a reference");
        file.add(SecretValues([(reference, VALUE.to_owned())].into())).expect("written");
        let spec = ServiceSpec {
            environment: [("TOKEN".parse().expect("a name"), VALUE.to_owned())].into(),
            ..ServiceSpec::of_image("web:2")
        };
        let image_defaults = ImageDefaults::default();
        let found = ObservedService {
            content: canonical(&spec, &image_defaults),
            image_defaults,
            state: ServiceState::Running,
            restarts: 0,
            health: Health::Starting,
            changes: Changes::InPlace,
        };
        let successors = [("app".parse().expect("a service"), found)].into();
        let web = ObservedApp { successors, ..ObservedApp::default() };
        let mut observed = Observed { apps: [("web".parse().expect("an app"), web)].into(), ..Observed::default() };
        file.conceal(&mut observed, None);
        let shown = format!("{observed:?}");
        assert!(!shown.contains(VALUE), "{shown}");
        assert!(shown.contains("secret:TOKEN"), "{shown}");
    }
}
