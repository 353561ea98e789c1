//! Saved views of `fleet.yml`: a filter, what to show of each device, and in which order.

use super::check::Column;
use super::{DynamicGroups, Filter};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many views a fleet may have.
pub const MAX_VIEWS: usize = 500;
/// How many columns a view may have. More does not fit any screen.
pub const MAX_COLUMNS: usize = 32;
/// How many columns a view may be sorted by.
pub const MAX_SORT: usize = 4;

/// What `fleet.yml` names for people: dynamic groups and views. Nothing of it gives a device content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Dynamic groups.
    pub groups: DynamicGroups,
    /// Views by name.
    pub views: BTreeMap<Arc<str>, View>,
}

/// A saved view.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// What it is for.
    pub description: Option<Arc<str>>,
    /// Which devices; `None` for all.
    pub filter: Option<Filter>,
    /// What is shown of each; empty for the usual columns.
    pub columns: Vec<Column>,
    /// The order; then by name.
    pub sort: Vec<SortKey>,
}

/// One key of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// What is compared.
    pub column: Column,
    /// Which way.
    pub direction: Direction,
}

/// Which way an order goes. Devices without a value come last either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The smallest first.
    Up,
    /// The largest first; written with `-` in front.
    Down,
}

/// Two filters are equal if they are written the same.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
