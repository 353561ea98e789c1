//! The agent's decisions: canonical forms, differences, and the state machine that turns events into effects.

pub mod action;
pub mod backoff;
pub mod canonical;
pub mod concealing;
pub mod dump;
pub mod errand;
pub mod health;
pub mod host;
pub mod ledger;
pub mod local;
pub mod locks;
pub mod machine;
pub mod os;
pub mod progress;
pub mod steps;
pub mod terminal;
