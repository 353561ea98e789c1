//! The real parts that the tests drive. Everything is started lazily, belongs to one test process, lives in one temporary
//! directory, and is gone soon after that process, however it ended (see [`run`]).

#![allow(dead_code, reason = "a harness offers a whole vocabulary; not each word is in use at every moment")]

pub mod canary;
pub mod engine;
pub mod fleet;
pub mod forge;
pub mod git;
pub mod git_servers;
pub mod lists;
pub mod podman;
pub mod process;
pub mod proxy;
pub mod rauc;
pub mod registry;
pub mod requests;
pub mod run;
pub mod text;
