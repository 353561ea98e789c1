//! Forges: the sites where people meet the fleet repo.

pub mod github;
pub mod settings;
