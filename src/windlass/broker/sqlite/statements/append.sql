-- {rows} of: job, seq, kind, data, at, attempt. REPLACE: the index entry_latest lets a job have one progress and one checkpoint.
INSERT OR REPLACE INTO entry (job, seq, kind, data, at, attempt)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
