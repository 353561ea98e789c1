//! Version 1 of the device plane: HTTPS and JSON.

pub mod actions;
pub mod envelope;
pub mod messages;
#[cfg(feature = "repo")]
pub mod operator;
