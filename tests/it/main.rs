//! Bellwether's real executables against real parts: a container engine, an image registry, Git, and processes that get killed.
//!
//! One binary, so that one engine serves all tests. Tests run in parallel threads: each uses device names of its own, and a
//! test that must stop or crash an engine starts one for itself with [`harness::engine::Engine::start`].

mod ansible;
mod bad_input;
mod branches;
mod core_dumps;
mod demo;
mod device_actions;
mod documents;
mod engine;
mod enrollment;
mod faults;
mod filters;
mod forge;
mod forge_following;
mod forge_webhooks;
mod git_remotes;
mod harness;
mod host;
mod hostile_http;
mod import;
mod import_running;
mod kill;
mod lists;
mod local_api;
mod main_job;
mod os_updates;
mod ownership;
mod peers;
mod people;
mod power;
mod promotions;
mod real_parts;
mod refusals;
mod registries;
mod releases;
mod restored;
mod rollouts;
mod rollouts_asked;
mod rollouts_by_hand;
mod secrets;
mod secrets_repo;
mod simulate;
mod strangers;
mod updates;
mod windows;
mod workflows;
