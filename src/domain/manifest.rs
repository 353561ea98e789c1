//! Files of the fleet repo as written: every value knows its file, line and column.
//!
//! Each file is read on its own into a value that depends on nothing else, so that it can be kept as long as its bytes stay the
//! same. What files mean together is decided in [`super::desired`].

pub mod ansible_value;
pub mod compose;
pub mod edit;
pub mod fleet_file;
pub mod inventory;
pub mod json;
pub mod listed_by;
pub mod near;
pub mod os;
pub mod problems;
pub mod read;
pub mod release;
pub mod rollouts;
pub mod saved;
pub mod scalar;
pub mod sealed;
pub mod template;
pub mod vars;
pub mod vars_folder;
pub mod yaml;
pub mod zones;
