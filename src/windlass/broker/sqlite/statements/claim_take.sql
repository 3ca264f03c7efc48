-- ?1: worker, ?2: now, ?3: places
UPDATE job SET state = 'running', attempt = attempt + 1, worker = ?1, started_at = ?2
WHERE place IN (SELECT value FROM json_each(?3))
