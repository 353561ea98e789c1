//! Taking the values of secrets out of what is found on a device and said of it, before anybody else sees it.
//!
//! A value belongs into the environment of one container. Somebody may have copied it elsewhere by hand: into a label, a command,
//! an option, the name of a path. What is reported shows a reference in its place.

use super::canonical::CanonicalService;
use crate::domain::reported::{ObservedValue, Report};
use crate::domain::secret::SecretValues;
use serde_json::Value;
use std::collections::BTreeMap;

/// What stands for a value where only a name can stand: of a volume, a network, a part of a path.
const HIDDEN_NAME: &str = "hidden";
/// Parts of a service that are numbers, addresses and fixed words, which hold nobody's text.
const CLOSED: [&str; 3] = ["ports", "restart", "network"];
/// Parts of a service whose texts must stay names.
const NAMES: [&str; 2] = ["mounts", "networks"];

/// Conceals in every text of a service but its environment, which has rules of its own. What is wanted literally in the same
/// place stays: the repo has it, and a text that only happens to hold the same letters must not look changed.
pub(super) fn conceal_service(found: &mut CanonicalService, wanted: Option<&CanonicalService>, values: &SecretValues) {
    if values.is_empty() {
        return;
    }
    let object = |service: &CanonicalService| match serde_json::to_value(service) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    let literal = wanted.map(object).unwrap_or_default();
    let mut fields = object(found);
    for (name, value) in &mut fields {
        let literal = literal.get(name).unwrap_or(&Value::Null);
        match name.as_str() {
            "environment" => {}
            closed if CLOSED.contains(&closed) => {}
            names if NAMES.contains(&names) => {
                conceal_in(value, literal, &|text| values.conceal_as(text, |_| HIDDEN_NAME.to_owned()));
            }
            _ => conceal_in(value, literal, &|text| values.conceal(text)),
        }
    }
    *found = serde_json::from_value(Value::Object(fields)).unwrap_or_else(|_| bare(found));
}

/// What is left of a service that cannot be written without a value in it.
fn bare(found: &CanonicalService) -> CanonicalService {
    let hidden = || super::canonical::HIDDEN.to_owned();
    CanonicalService {
        image: hidden(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        labels: BTreeMap::new(),
        user: hidden(),
        working_dir: hidden(),
        mounts: BTreeMap::new(),
        networks: BTreeMap::new(),
        binds: BTreeMap::new(),
        healthcheck: None,
        stop_signal: None,
        options: Default::default(),
        ..found.clone()
    }
}

/// Every text of a value, keys included, apart from those that stand at the same place in another.
fn conceal_in(value: &mut Value, literal: &Value, conceal: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => {
            if literal.as_str() != Some(text) {
                *text = conceal(text);
            }
        }
        Value::Array(items) => {
            let literals = literal.as_array().map(Vec::as_slice).unwrap_or_default();
            for item in items.iter_mut().filter(|item| !literals.contains(item)) {
                conceal_in(item, &Value::Null, conceal);
            }
        }
        Value::Object(fields) => {
            let found = std::mem::take(fields);
            fields.extend(found.into_iter().map(|(name, mut value)| {
                let own = literal.get(&name);
                conceal_in(&mut value, own.unwrap_or(&Value::Null), conceal);
                (if own.is_some() { name } else { conceal(&name) }, value)
            }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Conceals in what a report says in words: conditions, differences that were found, refusals, attributes. What it says of
/// containers has been looked through when they were looked at.
pub fn conceal_report(report: &mut Report, values: &SecretValues) {
    if values.is_empty() {
        return;
    }
    let conceal = |text: &mut String| *text = values.conceal(text);
    for condition in &mut report.conditions {
        conceal(&mut condition.message);
    }
    for found in &mut report.found {
        let difference = &mut found.difference;
        conceal(&mut difference.subject);
        difference.wanted.iter_mut().chain(&mut difference.found).for_each(conceal);
    }
    report.attributes.values_mut().for_each(conceal);
    if let Some(host) = &mut report.host {
        for value in host.values.values_mut() {
            match value {
                ObservedValue::Text(text) => conceal(text),
                ObservedValue::File(_) => {}
            }
        }
        host.unread.values_mut().chain(host.refused.values_mut()).for_each(conceal);
    }
    if let Some(refusal) = &mut report.refused {
        conceal(&mut refusal.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::device::canonical::{ImageDefaults, canonical, conceal};
    use crate::domain::secret::SecretRef;
    use crate::domain::spec::{Options, ServiceSpec};

    const VALUE: &str = "hunter2-canary";

    fn values() -> SecretValues {
        let reference: SecretRef = "secret:TOKEN".parse().expect("a reference");
        SecretValues([(reference, VALUE.to_owned())].into())
    }

    /// A service with the value in every text that its type has room for.
    fn everywhere() -> CanonicalService {
        let plain = serde_json::to_value(canonical(&ServiceSpec::of_image("web:1"), &ImageDefaults::default()));
        let mut service = plain.expect("it can be written");
        let fields = service.as_object_mut().expect("an object");
        for name in ["image", "user", "working_dir", "stop_signal"] {
            fields.insert(name.to_owned(), format!("{VALUE}:1").into());
        }
        for name in ["entrypoint", "command"] {
            fields.insert(name.to_owned(), serde_json::json!(["run", format!("--token={VALUE}")]));
        }
        fields.insert("labels".to_owned(), serde_json::json!({ VALUE: VALUE }));
        fields.insert("environment".to_owned(), serde_json::json!({ "A": VALUE, "B": "plain" }));
        fields.insert(
            "options".to_owned(),
            serde_json::json!({
                "annotations": { "note": VALUE },
                "extra_hosts": [format!("{VALUE}:10.0.0.1")],
                "hostname": VALUE,
                "dns_search": [VALUE],
                "cgroup_parent": VALUE,
            }),
        );
        serde_json::from_value(service).expect("a service")
    }

    #[test]
    fn no_text_of_a_found_service_keeps_a_value() {
        let mut found = everywhere();
        conceal(&mut found, &ImageDefaults::default(), None, &values());
        let shown = serde_json::to_string(&found).expect("it can be written");
        assert!(!shown.contains(VALUE), "{shown}");
        assert_eq!(found.options.hostname.as_deref(), Some("secret:TOKEN"));
        assert_eq!(found.environment["B"], "plain");
    }

    #[test]
    fn what_is_wanted_literally_stays_as_it_is() {
        let options = Options { hostname: Some(VALUE.to_owned()), ..Options::default() };
        let wanted = ServiceSpec { command: Some(vec![VALUE.to_owned()]), options, ..ServiceSpec::of_image("web:1") };
        let mut found = canonical(&wanted, &ImageDefaults::default());
        let before = found.clone();
        conceal(&mut found, &ImageDefaults::default(), Some(&wanted), &values());
        assert_eq!(found, before);
    }

    #[test]
    fn without_secrets_nothing_is_touched() {
        let mut found = everywhere();
        conceal(&mut found, &ImageDefaults::default(), None, &SecretValues::default());
        assert_eq!(found, everywhere());
    }
}
