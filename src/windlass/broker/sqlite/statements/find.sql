-- {source}: nothing, or the index to walk
SELECT
    id, task, queue, lane, state, priority, attempt, crashes, created_at, run_at, started_at, finished_at, expires_at, key, worker,
    cancelling, reason, error, (SELECT data FROM entry WHERE entry.job = job.id AND kind = 'progress'), body, result, letters, awaited, terms
FROM job {source}
WHERE {where}
