//! The order in which layers of variables are laid over each other: Ansible's, in one place, for every part that needs it.
//!
//! Low to high: inline `all`, inline groups, files of `all`, files of groups, and then what belongs to the host itself: inline,
//! files. So a file for `all` beats what the inventory says inline for a smaller group. Groups go by depth, priority and name.
//! Where there are several folders with `group_vars`, all groups of one folder come before those of the next.

/// One layer that a set of groups gives to the hosts in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupLayer {
    /// What the inventory says inline of a group.
    Inline {
        /// The group.
        group: usize,
    },
    /// What one folder's files say of a group.
    Files {
        /// The folder.
        folder: usize,
        /// The group.
        group: usize,
    },
}

/// Folders that hold `group_vars` and `host_vars`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folders {
    /// How many belong to the inventory. They come first.
    pub inventory: usize,
    /// How many belong to the play. They beat all of the inventory.
    pub play: usize,
}

/// The layers of a set of groups from low to high. `groups` are in the order of precedence; `all` is the first.
pub fn group_layers(all: usize, groups: &[usize], folders: Folders) -> Vec<GroupLayer> {
    let others = || groups.iter().copied().filter(move |&group| group != all);
    let of_inventory = 0..folders.inventory;
    let of_play = folders.inventory..folders.inventory + folders.play;
    let mut layers = vec![GroupLayer::Inline { group: all }];
    layers.extend(others().map(|group| GroupLayer::Inline { group }));
    layers.extend(of_inventory.clone().chain(of_play.clone()).map(|folder| GroupLayer::Files { folder, group: all }));
    for folder in of_inventory.chain(of_play) {
        layers.extend(others().map(|group| GroupLayer::Files { folder, group }));
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_beat_inline_groups_and_folders_go_one_after_the_other() {
        let show = |layer: &GroupLayer| match layer {
            GroupLayer::Inline { group } => format!("inline {group}"),
            GroupLayer::Files { folder, group } => format!("folder {folder} group {group}"),
        };
        let layers = group_layers(0, &[0, 1, 2], Folders { inventory: 2, play: 1 });
        insta::assert_snapshot!(layers.iter().map(show).collect::<Vec<_>>().join("\n"), @"
        inline 0
        inline 1
        inline 2
        folder 0 group 0
        folder 1 group 0
        folder 2 group 0
        folder 0 group 1
        folder 0 group 2
        folder 1 group 1
        folder 1 group 2
        folder 2 group 1
        folder 2 group 2
        ");
    }
}
