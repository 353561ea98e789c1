//! Container engines behind [`crate::ports::engine::Engine`].

pub mod docker;
pub mod simulated;
