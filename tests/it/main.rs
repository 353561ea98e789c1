//! Bellwether's real executables against real parts: a container engine, an image registry, Git, and processes that get killed.
//!
//! One binary, so that one engine serves all tests. Tests run in parallel threads: each uses device names of its own, and a
//! test that must stop or crash an engine starts one for itself with [`harness::engine::Engine::start`].

mod documents;
mod engine;
mod harness;
mod kill;

mod real_parts;
mod refusals;
