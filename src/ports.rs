//! What the core needs from outside, as traits shaped by what a pass needs. Adapters implement them; honest in-memory fakes
//! stand beside them.

pub mod engine;
#[cfg(feature = "controller")]
pub mod forge;
pub mod host;
pub mod lists;
pub mod os;
pub mod repo;
#[cfg(feature = "controller")]
pub mod secrets;
pub mod store;
