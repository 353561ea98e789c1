//! What differs from run to run, and how it reads in a snapshot.

/// Asserts snapshots inside `assertions` with everything that differs from run to run replaced by a word for it.
pub fn redacted(assertions: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    // Longest first: a digest holds what looks like an id.
    settings.add_filter(r"sha256:[0-9a-f]{64}", "sha256:[digest]");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[digest]");
    settings.add_filter(r"\b[0-9a-f]{40}\b", "[commit]");
    settings.add_filter(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", "[time]");
    settings.add_filter(r"\b(127\.0\.0\.1|localhost|\[::1\]):\d{4,5}\b", "$1:[port]");
    settings.add_filter(r"(/[^\s/:]+)*/bellwether-it-[^\s:,;'\x22]+", "[path]");
    settings.add_filter(r"\b\d+(\.\d+)?(ms|µs|ns)\b", "[duration]");
    settings.bind(assertions);
}
