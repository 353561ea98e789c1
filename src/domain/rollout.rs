//! Rollouts: how a change reaches many devices without breaking many of them.
//!
//! A rollout is a policy applied to the changes of one commit. All of it is pure and in integers: time, what is known of devices
//! and what people ask for go in, and what is to be done comes out. Reading order: [`share`], [`spread`], [`clock`], [`rate`],
//! [`gate`], [`budget`], [`freeze`], [`path`] are what it decides with, [`policy`] and [`ready`] what people ask for,
//! [`forecast`] what that comes to, [`machine`] is one rollout, [`eta`] when it will be done, and [`simulate`] lets one run in
//! virtual time.

pub mod budget;
pub mod clock;
pub mod eta;
pub mod forecast;
pub mod freeze;
pub mod gate;
pub mod machine;
pub mod path;
pub mod policy;
pub mod rate;
pub mod ready;
pub mod share;
pub mod simulate;
pub mod spread;
