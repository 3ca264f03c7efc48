-- The number by which ready jobs stand in their line (order.py: rank), and whether it says anything but priority and due time.
ALTER TABLE job ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN shifted INTEGER NOT NULL DEFAULT 0;
UPDATE job SET rank = (9 - priority) * 600000000000000 + CAST(max(0, min(run_at, 1.19e10)) * 50000 AS INTEGER) WHERE state = 'ready';
DROP INDEX job_ready;
CREATE INDEX job_ready ON job (queue, lane, rank) WHERE state = 'ready';
CREATE INDEX job_shifted ON job (queue, run_at) WHERE shifted AND state = 'ready';

-- Fair shares (order.py: Share): of each line and priority that has groups the clock, and the place of each group's last job.
CREATE TABLE clock (
    queue TEXT NOT NULL,
    lane TEXT NOT NULL,
    priority INTEGER NOT NULL,
    place REAL NOT NULL,
    PRIMARY KEY (queue, lane, priority)
) STRICT, WITHOUT ROWID;

CREATE TABLE turn (
    queue TEXT NOT NULL,
    lane TEXT NOT NULL,
    priority INTEGER NOT NULL,
    owner TEXT NOT NULL,
    place REAL NOT NULL,
    PRIMARY KEY (queue, lane, priority, owner)
) STRICT, WITHOUT ROWID;

-- Until when the key of a job is taken at least (NULL: not by time); 1: another job took it, because its time was over; the id of the job
-- that it was replaced by last.
ALTER TABLE job ADD COLUMN held_until REAL;
ALTER TABLE job ADD COLUMN let_go INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN became TEXT;
DROP INDEX job_key;
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL AND NOT let_go AND (finished_at IS NULL OR held_until IS NOT NULL);
CREATE UNIQUE INDEX job_became ON job (became) WHERE became IS NOT NULL;
