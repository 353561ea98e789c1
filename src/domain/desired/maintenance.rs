//! The maintenance windows of one device, put together from its layers.

use super::device::{Rendering, lay};
use super::layers::Layers;
use super::world::Asked;
use crate::domain::finding::codes;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::vars::{MaintenanceKey, MaintenanceValue, WrittenWindow, parse_zone};
use crate::domain::manifest::zones::Zone;
use crate::domain::spec::Maintenance;
use crate::domain::window::Window;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `zone`, `download` and `apply` are laid over each other one by one; a list replaces a list. So a group can say when, and each
/// site where.
pub(super) fn maintenance(layers: &Layers<'_>, rendering: &mut Rendering<'_>) -> Maintenance {
    let mut said: BTreeMap<MaintenanceKey, Asked<MaintenanceValue>> = BTreeMap::new();
    layers.entries(|keys| keys.maintenance.as_ref(), |key, written| lay(&mut said, key, super::device::asked(written)));
    let mut zone = None;
    let mut found = Maintenance::default();
    // The zone comes first: it is the smallest key.
    for (key, Asked { value, file, span }) in said {
        match (key, value) {
            (MaintenanceKey::Zone, MaintenanceValue::Zone(value)) => {
                zone = rendering.asked(Asked { value, file, span }, "`zone`", parse_zone);
                if zone.is_none() {
                    // Said already; windows without a zone are not worth a word each.
                    return Maintenance::default();
                }
            }
            (_, MaintenanceValue::Zone(_)) => {}
            (key, MaintenanceValue::Windows(windows)) => {
                let list = match key {
                    MaintenanceKey::Download => &mut found.download,
                    MaintenanceKey::Apply | MaintenanceKey::Zone => &mut found.apply,
                };
                let own = zone.as_ref().map(|asked: &Asked<Zone>| &asked.value);
                *list = windows.iter().filter_map(|window| placed(window, own, &file, rendering)).collect();
            }
        }
    }
    found
}

/// A window with its zone's rule; without a zone it would open at hours that nobody meant.
fn placed(
    window: &WrittenWindow,
    zone: Option<&Zone>,
    file: &Arc<str>,
    rendering: &mut Rendering<'_>,
) -> Option<Window> {
    let Some(zone) = window.zone.as_ref().or(zone) else {
        let message = format!("the window `{window}` has no time zone");
        let draft = Draft::error(file, window.span, codes::NO_TIME_ZONE, message);
        rendering.add(draft.hint("write `zone` in it, or in `maintenance` for all windows"));
        return None;
    };
    Some(Window { opens: window.opens, minutes: window.minutes, zone: zone.rule.clone() })
}
