//! The agent's decisions: canonical forms, differences, and the state machine that turns events into effects.

pub mod canonical;
