//! Bellwether: GitOps for fleets of Linux devices.
//!
//! ```text
//!    Git ──► snapshot ──► manifest ──► desired ──┐
//!                                                ├─► plan ──► assignment ──► store ──► device plane ──► agent
//!    devices ◄──────────────── report ◄──────────┘                            ▲                          │
//!                                                drift ◄── reported ◄─────────┴──────── report ◄─────────┘
//! ```
//!
//! Everything that decides is in [`domain`], and pure. [`protocol`] is what travels. [`ports`] are what the core needs from
//! outside. The rest are shells and adapters that fetch, store, send and log, and contain no choices.

pub mod domain;
#[cfg(any(feature = "controller", test))]
pub mod example;
#[cfg(all(feature = "repo", any(test, feature = "testing")))]
pub mod fuzzing;
pub mod ports;
pub mod protocol;

#[cfg(feature = "controller")]
pub mod cli;
#[cfg(any(feature = "controller", feature = "agent"))]
pub mod clock;
#[cfg(feature = "controller")]
pub mod config;
#[cfg(feature = "controller")]
pub mod controller;
#[cfg(feature = "controller")]
pub mod daemon;
#[cfg(feature = "controller")]
pub mod forge;
#[cfg(feature = "controller")]
pub mod git;
#[cfg(feature = "controller")]
pub mod lists;
#[cfg(any(feature = "controller", feature = "agent"))]
pub mod logins;
#[cfg(feature = "controller")]
pub mod registry;
#[cfg(feature = "controller")]
pub mod schemas;
#[cfg(feature = "controller")]
pub mod secrets;
#[cfg(feature = "controller")]
pub mod server;

#[cfg(feature = "controller")]
pub mod store;
#[cfg(feature = "controller")]
pub mod threads;
#[cfg(any(feature = "controller", feature = "agent"))]
pub mod trust;

#[cfg(feature = "agent")]
pub mod agent;
