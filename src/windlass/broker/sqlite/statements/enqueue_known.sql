-- ?1: id, ?2: key. The job that is in the way of a new one; its own id counts first.
SELECT id, state FROM job WHERE id = ?1
UNION ALL
SELECT id, state FROM job WHERE key = ?2 AND key IS NOT NULL AND finished_at IS NULL
LIMIT 1
