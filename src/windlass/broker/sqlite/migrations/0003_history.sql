-- What happened in the `step` seconds from `at` on (measures.py: a list of Rollup, as msgpack).
CREATE TABLE span (
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    rollups BLOB NOT NULL,
    PRIMARY KEY (step, at)
) STRICT;

-- The number of each writer's latest report, and when it came.
CREATE TABLE writer (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    told_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Failures that look alike (measures.py: Fault, as msgpack).
CREATE TABLE fault (
    fingerprint TEXT PRIMARY KEY,
    last_seen REAL NOT NULL,
    data BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX fault_seen ON fault (last_seen, fingerprint);

CREATE TABLE leaf (
    shelf TEXT NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (shelf, name)
) STRICT;
