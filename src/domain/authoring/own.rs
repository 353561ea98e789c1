//! `x-bellwether` of a service: how it gives way, where its lock is, and what it is asked.

use super::compose::{text, texts};
use super::fields::Fields;
use crate::domain::spec::{Probe, ProbeCheck, ServiceSpec};
use serde_json::Value;

/// What stands under the key; nothing where everything is as usual.
pub(super) fn own(spec: &ServiceSpec) -> Fields {
    let mut update = Fields::default();
    // A strategy is written as it is in a spec.
    let strategy = (spec.update.strategy != Default::default()).then_some(spec.update.strategy);
    update.some("strategy", strategy.map(|strategy| serde_json::to_value(strategy).unwrap_or_default()));
    update.some("handover_timeout", spec.update.handover_timeout_secs.map(seconds));
    let mut own = Fields::default();
    own.nested("update", update);
    own.some("locks", spec.lock_folder.as_deref().map(text));
    own.map("probes", spec.probes.iter().map(|(name, one)| (name.clone(), probe(one).into())));
    own
}

fn probe(probe: &Probe) -> Fields {
    let mut fields = Fields::default();
    match &probe.check {
        ProbeCheck::Exec(words) => fields.some("exec", Some(texts(words))),
        ProbeCheck::Http { port, path } => {
            let mut http = Fields::default();
            http.some("port", Some(*port));
            http.some("path", Some(text(path)));
            fields.nested("http", http);
        }
        ProbeCheck::File { path, max_age_secs } => {
            let mut file = Fields::default();
            file.some("path", Some(text(path)));
            file.some("max_age", max_age_secs.map(seconds));
            fields.nested("file", file);
        }
    }
    fields.some("interval", Some(seconds(probe.interval_secs)));
    fields.some("timeout", Some(seconds(probe.timeout_secs)));
    fields.some("threshold", Some(probe.threshold));
    fields
}

fn seconds(secs: u32) -> Value {
    Value::from(format!("{secs}s"))
}
