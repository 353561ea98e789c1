//! The controller and the command line. Wiring only.

fn main() {}
