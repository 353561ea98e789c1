//! One of the targets of `bellwether::fuzzing`, chosen by `BELLWETHER_FUZZ_TARGET`.

#![no_main]

use bellwether::fuzzing::{Target, target};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static CHOSEN: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("BELLWETHER_FUZZ_TARGET").expect("BELLWETHER_FUZZ_TARGET names a target");
    target(&name).unwrap_or_else(|| panic!("there is no target {name}"))
});

fuzz_target!(|bytes: &[u8]| CHOSEN(bytes));
