//! `x-bellwether` of a service: what the Compose specification has no words for.

use super::{Section, applied};

/// Every mapping of it.
pub const OWN: &[Section] = &[SERVICE_OWN, UPDATE, PROBE, PROBE_HTTP, PROBE_FILE];

/// `x-bellwether`.
pub const SERVICE_OWN: Section = Section {
    path: "services.*.x-bellwether",
    what: "`x-bellwether`",
    keys: &[
        applied("locks", "An absolute path in the container where the folder of the service's update lock is mounted."),
        applied("probes", "What the agent asks the service from outside, by name; at most 8."),
        applied("update", "How the service gives way to a newer version of itself."),
    ],
};

/// An update.
pub const UPDATE: Section = Section {
    path: "services.*.x-bellwether.update",
    what: "`update`",
    keys: &[
        applied("handover_timeout", "How long `hand-over` waits for the new container, up to an hour; `60s`."),
        applied(
            "strategy",
            "`download-then-kill` (usual), `kill-then-download`, `delete-then-download` or `hand-over`.",
        ),
    ],
};

/// A probe.
pub const PROBE: Section = Section {
    path: "services.*.x-bellwether.probes.*",
    what: "a probe",
    keys: &[
        applied("exec", "A program in the container, which must end with status 0: a list of words, or a line."),
        applied("file", "A file in the container, which must be there."),
        applied("http", "A request to the container, which must be answered with a status from 200 to 399."),
        applied("interval", "Between two tries, a second to a day; `30s`."),
        applied("threshold", "How many tries in a row must fail, 1 to 100; 3."),
        applied("timeout", "How long one try may take, a second to five minutes; `5s`."),
    ],
};

/// A request.
pub const PROBE_HTTP: Section = Section {
    path: "services.*.x-bellwether.probes.*.http",
    what: "`http`",
    keys: &[applied("path", "The path; `/`."), applied("port", "The container's port.")],
};

/// A file.
pub const PROBE_FILE: Section = Section {
    path: "services.*.x-bellwether.probes.*.file",
    what: "`file`",
    keys: &[
        applied("max_age", "How long ago it may have been written, up to four weeks; it does not matter."),
        applied("path", "Its absolute path."),
    ],
};
