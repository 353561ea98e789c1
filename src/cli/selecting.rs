//! Devices by a filter or a saved view, asked of a controller page by page.

use super::console::Console;
use super::remote::{Controller, encoded};
use super::render::text::{count, names};
use crate::domain::overview::query::Undetermined;
use crate::protocol::v1::operator::{MAX_PAGE, SelectAnswer};

/// Which devices are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FilterArgs {
    /// Only devices that this filter means, such as `tags.site == "hk" && "kiosks" in groups`
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
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
