//! Everything that decides. Pure: values in, values out, `now` an argument.

pub mod acts;
pub mod assignment;
pub mod condition;
#[cfg(feature = "repo")]
pub mod desired;
pub mod device;
pub mod digest;
pub mod drift;
#[cfg(feature = "repo")]
pub mod edits;
pub mod enrollment;
pub mod finding;
pub mod fleet;
pub mod generation;
pub mod ids;
#[cfg(feature = "repo")]
pub mod manifest;
#[cfg(feature = "repo")]
pub mod overview;
#[cfg(feature = "repo")]
pub mod plan;
pub mod planted;
pub mod reported;
pub mod snapshot;
pub mod spec;
pub mod time;
