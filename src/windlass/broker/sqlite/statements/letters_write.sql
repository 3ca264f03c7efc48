-- {rows} of: job, seq, name, data, at, and of the latest entry before it the token and the number (append_last).
-- REPLACE: the index entry_name lets a job have one letter of a name.
INSERT OR REPLACE INTO entry (job, seq, kind, name, data, at, attempt, token, number)
SELECT column1, column2, 'letter', column3, column4, column5, 0, column6, column7 FROM (VALUES {rows}) WHERE column1 IS NOT NULL
