//! The layer of the host's settings.

use super::{Difference, Layer, LayerStatus, compared};
use crate::domain::reported::{ObservedFile, ObservedHost, ObservedValue, wanted_text};
use crate::domain::spec::{DeviceConfig, HostFile, Subject};

/// Every difference between the wanted settings and what was read from the host, in a fixed order. What could not be read is
/// not known to differ.
pub fn host_differences(wanted: &DeviceConfig, found: &ObservedHost) -> Vec<Difference> {
    let mut all = Vec::new();
    let readable = wanted.subjects().into_iter().filter(|subject| !found.unread.contains_key(subject));
    for subject in readable {
        let value = found.values.get(&subject);
        match (&subject, value) {
            (Subject::File(path), Some(ObservedValue::File(file))) => {
                all.extend(wanted.files.get(path).into_iter().flat_map(|wanted| of_file(&subject, wanted, file)));
            }
            (Subject::File(_), Some(ObservedValue::Text(_)) | None) => {
                all.push(difference(subject.to_string(), Some("present".to_owned()), None));
            }
            (_, found) => {
                let found = found.map(|value| match value {
                    ObservedValue::Text(text) => text.clone(),
                    ObservedValue::File(_) => "a file".to_owned(),
                });
                let want = wanted_text(wanted, &subject);
                if want != found {
                    all.push(difference(subject.to_string(), want, found));
                }
            }
        }
    }
    all
}

fn of_file(subject: &Subject, wanted: &HostFile, found: &ObservedFile) -> Vec<Difference> {
    let mut all = Vec::new();
    if found.content != Some(wanted.key()) {
        let other = format!("another one of {} bytes", found.bytes);
        all.push(difference(format!("{subject} content"), Some(wanted.key().short().to_owned()), Some(other)));
    }
    if found.mode != wanted.mode {
        let (wanted, found) = (wanted.mode.to_string(), found.mode.to_string());
        all.push(difference(format!("{subject} mode"), Some(wanted), Some(found)));
    }
    all
}

fn difference(subject: String, wanted: Option<String>, found: Option<String>) -> Difference {
    Difference { layer: Layer::Host, subject, wanted, found }
}

pub(super) fn layer(wanted: &DeviceConfig, found: Option<&ObservedHost>) -> LayerStatus {
    if wanted.subjects().is_empty() {
        return LayerStatus::InSync;
    }
    let Some(found) = found else {
        return LayerStatus::Unknown { reason: "the device says nothing of its host".to_owned() };
    };
    let differences = host_differences(wanted, found);
    let is_wanted = wanted.subjects();
    match found.unread.iter().find(|(subject, _)| is_wanted.contains(subject)) {
        Some((subject, why)) if differences.is_empty() => LayerStatus::Unknown { reason: format!("{subject}: {why}") },
        Some(_) | None => compared(differences),
    }
}
