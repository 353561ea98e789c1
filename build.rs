//! Has the agent that ships linked without tables for unwinding.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a build script reads the environment and prints")]

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=packaging/agent.ld");
    // Of all profiles only `agent` is made for size, and it aborts on a panic. The compiler's own switch,
    // `-C force-unwind-tables=no`, changes nothing about the standard library and what is made of its generics.
    let is_for_size = var("OPT_LEVEL").is_ok_and(|level| level == "z");
    if let (true, Ok(root)) = (is_for_size, var("CARGO_MANIFEST_DIR")) {
        println!("cargo::rustc-link-arg-bin=bellwether-agent=-Wl,--script={root}/packaging/agent.ld,--no-eh-frame-hdr");
    }
}
