-- ?1: now, ?2: limit
SELECT place FROM job
WHERE expires_at <= ?1 AND expires_at IS NOT NULL AND started_at IS NULL AND finished_at IS NULL
ORDER BY expires_at, place LIMIT ?2
