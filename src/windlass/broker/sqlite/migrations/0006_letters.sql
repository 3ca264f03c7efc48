-- How many letters have come that count, and how many the job awaits in all, if that is not what its terms say.
ALTER TABLE job ADD COLUMN letters INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN awaited INTEGER;
-- Of a letter, its name.
ALTER TABLE entry ADD COLUMN name TEXT;
CREATE UNIQUE INDEX entry_name ON entry (job, name) WHERE name IS NOT NULL;
-- The workflow that it belongs to, by its terms.
ALTER TABLE job ADD COLUMN root TEXT;
CREATE INDEX job_root ON job (root, id) WHERE root IS NOT NULL;
DROP INDEX job_rare;
-- No IN: SQLite would fill a table with its values whenever a job moves, and that took a tenth of what a job costs.
CREATE INDEX job_rare ON job (state, id) WHERE state <> 'ready' AND state <> 'running' AND state <> 'succeeded';
