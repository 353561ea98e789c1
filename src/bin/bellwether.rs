//! The controller and the command line. Wiring only.

fn main() -> std::process::ExitCode {
    // Before anything can make a TLS client. A second installation would fail; there is none before this line.
    let _ = rustls::crypto::ring::default_provider().install_default();
    bellwether::cli::main()
}
