//! Planning: from what commits want and what devices were assigned to what changes, and why not yet.
//!
//! [`pass`](pass::pass) is the whole decision of the controller. It reads the state and the commits of all stages and returns
//! changes; it does nothing. Reading order: [`policy`], [`ownership`], [`gate`], [`requires`], [`ways`], [`recovery`], [`pass`],
//! [`passes`], `verified`, [`waits`], [`suppose`].

mod along;
pub mod conflicts;
pub mod gate;
mod ground;
pub mod ownership;
pub mod pass;
pub mod passes;
pub mod policy;
pub mod recovery;
pub mod requires;
pub mod reroute;
pub mod rollouts;
pub mod staged;
pub mod suppose;
mod tally;
mod verified;
pub mod waits;
pub mod ways;

#[cfg(test)]
mod tests;
