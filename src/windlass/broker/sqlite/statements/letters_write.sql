-- {rows} of: job, seq, name, data, at. REPLACE: the index entry_name lets a job have one letter of a name.
INSERT OR REPLACE INTO entry (job, seq, kind, name, data, at, attempt)
SELECT column1, column2, 'letter', column3, column4, column5, 0 FROM (VALUES {rows}) WHERE column1 IS NOT NULL
