//! Devices, a line each; events, a line each.

use super::table::{Cell, Table, row};
use super::text::{Tone, age, age_or_never, phase, verdict};
use crate::domain::fleet::Event;
use crate::domain::generation::Order;
use crate::domain::overview::device::{DeviceDetail, DeviceRow};
use crate::domain::overview::query::{Folder, ViewRow};
use crate::domain::time::Timestamp;

/// How much of a listing is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// What fits most terminals.
    Usual,
    /// Everything.
    All,
}

/// A listing of devices.
pub fn table(rows: &[DeviceRow], columns: Columns, now: Timestamp) -> Table {
    let mut headers = vec!["NAME", "STAGE", "TYPE", "APPS", "OS", "STATE", "DRIFT", "SEEN"];
    match columns {
        Columns::Usual => headers.push("WAITS FOR"),
        Columns::All => headers.extend(["ASSIGNED", "OBSERVED", "GROUPS", "TAGS", "WAITS FOR"]),
    }
    let mut table = Table::new(&headers);
    for one in rows {
        table.row(cells(one, columns, now));
    }
    table
}

fn cells(one: &DeviceRow, columns: Columns, now: Timestamp) -> Vec<Cell> {
    let (state, state_tone) = phase(one.phase);
    let (drift, drift_tone) = verdict(one.drift);
    let mut cells = row![
        &one.device,
        &one.standing,
        optional(one.device_type.as_ref()),
        pairs(one.apps.iter().map(|(app, release)| format!("{app} {release}"))),
        optional(one.os.as_ref()),
        Cell::new(state, state_tone),
        Cell::new(drift, drift_tone),
        age_or_never(now, one.last_seen),
    ];
    match columns {
        Columns::Usual => {}
        Columns::All => cells.extend(row![
            order(one.assigned),
            order(one.observed),
            pairs(one.groups.iter().cloned()),
            pairs(one.tags.iter().map(|(key, value)| format!("{key}={value}"))),
        ]),
    }
    cells.push(one.waits_for.as_ref().map_or_else(Cell::default, |waits| Cell::new(waits, Tone::Unsure)));
    cells
}

/// A selection in the columns of a view.
pub fn view(rows: &[ViewRow], columns: &[String]) -> Table {
    let named = columns.iter().any(|column| column == "device");
    let mut headers: Vec<&str> = if named { Vec::new() } else { vec!["device"] };
    headers.extend(columns.iter().map(String::as_str));
    let upper: Vec<String> = headers.iter().map(|header| header.to_uppercase()).collect();
    let mut table = Table::new(&upper.iter().map(String::as_str).collect::<Vec<_>>());
    for one in rows {
        let cell = |header: &&str| match *header {
            "device" => Cell::from(&one.row.device),
            column => optional(one.values.get(column)),
        };
        table.row(headers.iter().map(cell).collect());
    }
    table
}

/// A folder of the tree of dynamic groups: what is below it, then its devices.
pub fn folder(folder: &Folder) -> Table {
    let mut table = Table::new(&["NAME", "DEVICES", "ABOUT"]);
    for group in &folder.groups {
        let count = match (group.devices, group.undetermined) {
            (None, _) => Cell::new("-", Tone::Quiet),
            (Some(devices), 0) => Cell::from(devices),
            (Some(devices), unknown) => Cell::new(format!("{devices}, {unknown} unknown"), Tone::Unsure),
        };
        let about = group.description.as_deref().unwrap_or_default();
        table.row(row![Cell::new(format!("{}/", group.name), Tone::Strong), count, about]);
    }
    for device in &folder.devices {
        table.row(row![device, "", ""]);
    }
    table
}

fn optional<T: std::fmt::Display>(value: Option<T>) -> Cell {
    value.map_or_else(|| Cell::new("-", Tone::Quiet), Cell::from)
}

fn order(order: Option<Order>) -> Cell {
    optional(order)
}

fn pairs(all: impl Iterator<Item = String>) -> Cell {
    let all: Vec<String> = all.collect();
    if all.is_empty() { Cell::new("-", Tone::Quiet) } else { Cell::from(all.join(", ")) }
}

/// Devices that wait for approval, with what they say of themselves.
pub fn pending(devices: &[DeviceDetail], now: Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "ASKED", "WAITS FOR", "SAYS OF ITSELF"]);
    for one in devices {
        let asked = one.identity.as_ref().map(|identity| age(now, identity.since));
        table.row(row![
            &one.row.device,
            optional(asked),
            one.row.waits_for.as_deref().unwrap_or_default(),
            pairs(one.attributes.iter().map(|(key, value)| format!("{key}={value}"))),
        ]);
    }
    table
}

/// Events, as they were answered: newest first.
pub fn events(events: &[Event], now: Timestamp) -> Table {
    let mut table = Table::new(&["WHEN", "WHO", "WHAT", "ABOUT", "MESSAGE"]);
    for Event { at, actor, kind, subject, message, rollout: _ } in events {
        table.row(row![age(now, *at), actor, kind, subject, message]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::bare;
    use super::*;
    use crate::domain::drift::Verdict;
    use crate::domain::plan::ownership::Standing;
    use crate::domain::reported::Phase;
    use std::collections::{BTreeMap, BTreeSet};

    fn rows() -> Vec<DeviceRow> {
        let name = "kiosk-1".parse().expect("a device");
        let unknown = DeviceRow {
            device: "kiosk-9".parse().expect("a device"),
            standing: Standing::InTransit,
            device_type: None,
            apps: BTreeMap::new(),
            os: None,
            assigned: None,
            observed: None,
            phase: None,
            drift: Verdict::Unknown,
            last_seen: None,
            waits_for: Some("the device has never enrolled".to_owned()),
            groups: BTreeSet::new(),
            tags: BTreeMap::new(),
        };
        let settled = DeviceRow {
            device: name,
            standing: Standing::Owned("canary".parse().expect("a stage")),
            device_type: Some("raspberrypi4".parse().expect("a type")),
            apps: BTreeMap::from([("signage".parse().expect("an app"), "2.0.0".parse().expect("a version"))]),
            os: Some("2026.10".parse().expect("a version")),
            assigned: Some(Order::FIRST),
            observed: Some(Order::FIRST),
            phase: Some(Phase::Settled),
            drift: Verdict::InSync,
            last_seen: Some(Timestamp::from_millis(0)),
            waits_for: None,
            groups: BTreeSet::from(["kiosks".to_owned(), "pi4".to_owned()]),
            tags: BTreeMap::from([("site".to_owned(), "campus".to_owned())]),
        };
        vec![settled, unknown]
    }

    #[test]
    fn a_listing_has_a_line_for_each_device() {
        insta::assert_snapshot!(bare(&table(&rows(), Columns::Usual, Timestamp::from_millis(42_000)).text(None)), @"
        NAME      STAGE        TYPE           APPS            OS        STATE     DRIFT       SEEN      WAITS FOR
        kiosk-1   canary       raspberrypi4   signage 2.0.0   2026.10   settled   ✔ in sync   42s ago
        kiosk-9   in transit   -              -               -         unknown   ? unknown   never     the device has never enrolled
        ");
    }

    #[test]
    fn a_view_shows_its_columns_and_a_dash_for_what_is_not_there() {
        let row = |row: DeviceRow, site: Option<&str>| {
            let values = site.map(|site| ("tags.site".to_owned(), site.to_owned())).into_iter().collect();
            ViewRow { row, values }
        };
        let rows: Vec<ViewRow> =
            rows().into_iter().zip([Some("campus"), None]).map(|(one, site)| row(one, site)).collect();
        insta::assert_snapshot!(bare(&view(&rows, &["tags.site".to_owned()]).text(None)), @r"
        DEVICE    TAGS.SITE
        kiosk-1   campus
        kiosk-9   -
        ");
    }

    #[test]
    fn a_folder_shows_groups_with_counts_and_then_its_devices() {
        let group = |name: &str, devices, undetermined| crate::domain::overview::query::Subgroup {
            name: name.to_owned(),
            devices,
            undetermined,
            description: None,
        };
        let shown = folder(&Folder {
            groups: vec![group("cisco", Some(12), 3), group("more", None, 0)],
            devices: vec!["kiosk-1".parse().expect("a device")],
            ..Folder::default()
        });
        insta::assert_snapshot!(bare(&shown.text(None)), @r"
        NAME      DEVICES         ABOUT
        cisco/    12, 3 unknown
        more/     -
        kiosk-1
        ");
    }

    #[test]
    fn the_wide_listing_adds_generations_groups_and_tags() {
        insta::assert_snapshot!(bare(&table(&rows(), Columns::All, Timestamp::from_millis(42_000)).text(None)), @"
        NAME      STAGE        TYPE           APPS            OS        STATE     DRIFT       SEEN      ASSIGNED   OBSERVED   GROUPS        TAGS          WAITS FOR
        kiosk-1   canary       raspberrypi4   signage 2.0.0   2026.10   settled   ✔ in sync   42s ago   1.1        1.1        kiosks, pi4   site=campus
        kiosk-9   in transit   -              -               -         unknown   ? unknown   never     -          -          -             -             the device has never enrolled
        ");
    }
}
