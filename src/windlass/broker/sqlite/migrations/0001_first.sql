-- A job's `place` is where it stands in the line. Every move but a claim and a success gives it a new, larger place, and no place is
-- ever given twice (AUTOINCREMENT): so it is the tie-break of the ready order, and the token of a claim.
CREATE TABLE job (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    lane TEXT NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    crash_limit INTEGER NOT NULL,
    releases INTEGER NOT NULL DEFAULT 0,
    cancelling INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    run_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    expires_at REAL,
    prune_at REAL,
    keep REAL NOT NULL,
    keep_failed REAL NOT NULL,
    key TEXT,
    worker TEXT,
    revived INTEGER NOT NULL DEFAULT 0, -- the number, in the journal, of its latest end that was taken back
    reason TEXT,
    error BLOB,
    result BLOB,
    body BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX job_id ON job (id);
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX job_ready ON job (queue, lane, priority DESC, run_at) WHERE state = 'ready';
CREATE INDEX job_scheduled ON job (run_at) WHERE state = 'scheduled';
CREATE INDEX job_expiring ON job (expires_at) WHERE expires_at IS NOT NULL AND started_at IS NULL AND finished_at IS NULL;
CREATE INDEX job_running ON job (worker) WHERE state = 'running';
CREATE INDEX job_cancelling ON job (worker) WHERE cancelling = 1;
CREATE INDEX job_finished ON job (prune_at) WHERE prune_at IS NOT NULL;
-- The states people look for among a million others; rare, so that the index costs the common way nothing.
CREATE INDEX job_rare ON job (state, id) WHERE state IN ('scheduled', 'parked', 'failed', 'cancelled');
CREATE INDEX job_keyed ON job (key, id) WHERE key IS NOT NULL;
-- What is walked when a queue's or a task's jobs are looked for: a fifth of the time that it takes to visit each job, for an index
-- that only grows at its end.
CREATE INDEX job_filed ON job (id, queue, task);

CREATE TABLE entry (
    job TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data BLOB NOT NULL,
    at REAL NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX entry_latest ON entry (job, kind) WHERE kind IN ('progress', 'checkpoint');

CREATE TABLE worker (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    card BLOB NOT NULL,
    until REAL NOT NULL,
    robbed INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE tally (
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (queue, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE paused (queue TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
