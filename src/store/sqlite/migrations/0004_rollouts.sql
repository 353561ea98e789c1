-- A rollout is a head, a row per device, and the content that its devices get and had. The version grows with each write of the head.
CREATE TABLE rollouts (
    rollout  TEXT NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rollout_members (
    rollout  TEXT NOT NULL REFERENCES rollouts (rollout) ON DELETE CASCADE,
    device   TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (rollout, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollout_contents (
    rollout  TEXT NOT NULL REFERENCES rollouts (rollout) ON DELETE CASCADE,
    digest   TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (rollout, digest)
) STRICT;
