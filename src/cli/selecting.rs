//! Devices by a filter or a saved view, asked of a controller page by page.

use super::console::Console;
use super::fault::with_hint;
use super::remote::{Controller, encoded};
use super::render::text::{count, names};
use crate::domain::ids::DeviceId;
use crate::domain::overview::device::DeviceRow;
use crate::domain::overview::query::Undetermined;
use crate::protocol::v1::operator::{MAX_PAGE, SelectAnswer};
use anyhow::anyhow;
use std::collections::BTreeSet;

/// Which devices are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FilterArgs {
    /// Only devices that this filter means, such as `tags.site == "hk" && "kiosks" in groups`
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// Only devices of this view that fleet.yml names
    #[arg(long, value_name = "NAME")]
    pub view: Option<String>,
}

impl FilterArgs {
    /// Whether all devices are meant.
    pub fn is_empty(&self) -> bool {
        self.filter.is_none() && self.view.is_none()
    }

    /// As a part of a query, `?` included; empty if all devices are meant.
    pub fn query(&self) -> String {
        let both = [("filter", &self.filter), ("view", &self.view)];
        let said: Vec<String> =
            both.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?)))).collect();
        if said.is_empty() { String::new() } else { format!("?{}", said.join("&")) }
    }
}

/// How many of the devices that an act is about are named before it is done.
const NAMED: usize = 50;

/// Shows which devices an act is about, and asks whether they are meant.
pub fn agreed(
    controller: &Controller,
    args: &FilterArgs,
    act: &str,
    yes: bool,
    console: &Console,
) -> anyhow::Result<BTreeSet<DeviceId>> {
    let answer = select(controller, args.filter.as_deref(), args.view.as_deref())?;
    note_doubts(console, &answer.slips, &answer.undetermined);
    let devices: BTreeSet<DeviceId> = answer.devices.into_iter().map(|one| one.row.device).collect();
    if devices.is_empty() {
        return Err(with_hint(
            anyhow!("no device is meant, so there is nothing to {act}"),
            "`bellwether devices` with the same flags shows what is meant",
        ));
    }
    console.note(format!("to {act}: {}", names(&devices, NAMED)));
    if !yes {
        let meant = count(devices.len(), "device");
        console.confirm(&format!("this is about to {act} {meant}"), &devices.len().to_string())?;
    }
    Ok(devices)
}

/// Asks for all devices that a filter and a view mean.
pub fn select(controller: &Controller, filter: Option<&str>, view: Option<&str>) -> anyhow::Result<SelectAnswer> {
    let mut whole: Option<SelectAnswer> = None;
    loop {
        let from = whole.as_ref().map_or(0, |whole| whole.devices.len());
        let mut path = format!("/v1/select?limit={MAX_PAGE}&from={from}");
        for (name, value) in [("filter", filter), ("view", view)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        let page: SelectAnswer = controller.get(&path, "select devices")?;
        let (next, empty) = (page.next, page.devices.is_empty());
        match &mut whole {
            Some(whole) => whole.devices.extend(page.devices),
            None => whole = Some(page),
        }
        if let Some(whole) = whole.take_if(|_| next.is_none() || empty) {
            return Ok(whole);
        }
    }
}

/// The devices of a controller that a host pattern selects, in the order of their names.
pub fn limited(controller: &Controller, limit: &str) -> anyhow::Result<BTreeSet<DeviceId>> {
    let rows: Vec<DeviceRow> = controller.get("/v1/devices", "list the devices")?;
    super::inventory::devices_in_groups(rows.iter().map(|row| (&row.device, &row.groups)), limit)
}

/// Says what about a selection may not be as it was meant.
pub fn note_doubts(console: &Console, slips: &[(String, String)], undetermined: &Undetermined) {
    for (name, near) in slips {
        console.note(format!("no device has `{name}`; did you mean `{near}`?"));
    }
    note_undetermined(console, undetermined);
}

/// Says of how many devices it could not be told whether they are meant.
pub fn note_undetermined(console: &Console, undetermined: &Undetermined) {
    if undetermined.count == 0 {
        return;
    }
    let rest = undetermined.count - undetermined.devices.len().min(undetermined.count);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    console.note(format!(
        "of {} it cannot be told, because something that decides is not known: {}{more}",
        count(undetermined.count, "device"),
        names(&undetermined.devices, usize::MAX),
    ));
}
