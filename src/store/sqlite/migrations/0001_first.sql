-- Documents are JSON in the form in which the domain writes them; keys are columns. STRICT keeps a column to its type.

-- Small things of which there is one.
CREATE TABLE meta (
    name     TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per device. The parts change at different times and are written apart; NULL is "none yet".
CREATE TABLE devices (
    device     TEXT NOT NULL PRIMARY KEY,
    identity   TEXT,
    control    TEXT,
    assignment TEXT,
    reported   TEXT
) STRICT;

CREATE TABLE stages (
    stage    TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    token    TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE approvals (
    digest   TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The scope is a JSON document too: it is an enum with data.
CREATE TABLE holds (
    scope    TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id is never used twice, so ids order events for ever and trimming can count by them.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_subject ON events (subject);

-- Documents that could not be read, kept when something newer took their place.
CREATE TABLE quarantine (
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    document TEXT NOT NULL
) STRICT;
