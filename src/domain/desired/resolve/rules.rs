//! Rules of `rollout` that select nobody by a slip: their devices would follow no policy.

use crate::domain::desired::findings::Gathered;
use crate::domain::finding::codes;
use crate::domain::manifest::fleet_file::FleetFile;
use crate::domain::manifest::inventory::Inventory;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Draft, show};
use crate::domain::rollout::policy::Selector;
use std::sync::Arc;

/// Tells of rules whose group nobody knows. An empty group is fine: it may fill.
pub(super) fn unknown_groups(file: &Arc<str>, fleet: &FleetFile, inventory: &Inventory, gathered: &mut Gathered) {
    let known = || inventory.groups.iter().map(|group| &*group.name);
    for rule in &fleet.rollouts.rules {
        let Selector::Group(group) = &rule.devices else { continue };
        let is_dynamic =
            fleet.saved.groups.paths().any(|path| path.trim_start_matches('/') == group.trim_start_matches('/'));
        if is_dynamic || known().any(|name| name == group) {
            continue;
        }
        let message = format!(
            "this rule selects nobody: there is no group `{}`, and its devices follow another rule or none",
            show(group)
        );
        let hint = match nearest(group, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a group of the inventory, or take the rule away".to_owned(),
        };
        gathered.nothing(Draft::warning(file, rule.span, codes::NO_SUCH_GROUP, message).hint(hint));
    }
}
