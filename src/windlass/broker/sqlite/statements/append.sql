-- {rows} of: job, seq, kind, data, at, attempt, token, number. REPLACE: the index entry_latest lets a job have one progress and one checkpoint.
INSERT OR REPLACE INTO entry (job, seq, kind, data, at, attempt, token, number)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
