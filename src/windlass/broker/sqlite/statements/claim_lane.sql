SELECT * FROM (
    SELECT rank, run_at, place, id, task, lane, attempt, crashes, crash_limit, created_at, started_at, body, key, gate, terms
    FROM job
    WHERE state = 'ready' AND queue = ?3 AND lane = ? AND (expires_at IS NULL OR expires_at > ?2 OR started_at IS NOT NULL)
    ORDER BY rank, place
    LIMIT ?
)
