-- What was said on the forge: about what, and what.
CREATE TABLE told (
    topic    TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
