//! Maintenance windows. A device knows the rule of its time zone; the repo names a zone that has this rule.

use super::fields::Fields;
use crate::domain::manifest::zones::Zone;
use crate::domain::spec::Maintenance;
use crate::domain::window::{Window, Windows, ZoneRule};
use serde_json::Value;

/// The windows for one purpose, or why they cannot be said.
pub(super) fn windows(windows: &Windows) -> Result<Vec<Value>, String> {
    windows.0.iter().map(window).collect()
}

/// What `maintenance` has under its names.
pub(super) fn purposes(maintenance: &Maintenance) -> [(&'static str, &Windows); 2] {
    let Maintenance { download, apply } = maintenance;
    [("download", download), ("apply", apply)]
}

fn window(window: &Window) -> Result<Value, String> {
    let Window { opens, minutes, zone } = window;
    let mut fields = Fields::default();
    fields.some("cron", Some(opens.to_string()));
    fields.some("duration", Some(minutes.to_string()));
    fields.some("zone", Some(zone_named(zone)?));
    Ok(fields.into())
}

fn zone_named(rule: &ZoneRule) -> Result<&'static str, String> {
    Zone::with_rule(rule).ok_or_else(|| format!("no time zone has the rule `{rule}`"))
}
