//! Rollouts: how a change reaches many devices without breaking many of them.
//!
//! A rollout is a policy applied to the changes of one commit. All of it is pure and in integers: time, what is known of devices
//! and what people ask for go in, and what is to be done comes out. Reading order: [`share`], [`spread`], [`clock`], [`rate`],
//! [`gate`], [`budget`], [`freeze`], [`path`].

pub mod budget;
pub mod clock;
pub mod freeze;
pub mod gate;
pub mod path;
pub mod rate;
pub mod share;
pub mod spread;
